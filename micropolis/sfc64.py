"""Readable SFC64 and ziggurat normals: the stream of numpy.random.SFC64 for a CUDA thread, bit for bit.

A stream is a uint64 array (4,), what ``numpy.random.SFC64(seed).state["state"]["state"]`` holds. SFC64 is by Chris
Doty-Humphrey (PractRand); the ziggurat is that of Marsaglia & Tsang (2000) with NumPy's tables.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._metropolis import ziggurat
from .jit import Random

ALL_BITS = 0xFFFFFFFFFFFFFFFF
MANTISSA = 0x000FFFFFFFFFFFFF
UNIT = 1.0 / 9007199254740992.0  # 2^-53


@functools.lru_cache(maxsize=8)
def sfc64_random(jit: Callable[..., Any]) -> Random:
    """normal(stream) and uniform(stream) under the compiler `jit`."""
    k, w = ziggurat()
    edges = w * 2.0**52  # right ends of the layers
    f = np.array([1.0] + [math.exp(-0.5 * x * x) for x in edges[1:]])
    r = float(edges[255])
    inverse_r = 1.0 / r

    # Interpreted, int() makes Python integers, which the masks hold to 64 bits; compiled, both do nothing.
    @jit
    def next_uint64(s):  # type: ignore[no-untyped-def]
        a, b, c, counter = int(s[0]), int(s[1]), int(s[2]), int(s[3])
        total = (a + b + counter) & ALL_BITS
        s[0] = b ^ (b >> 11)
        s[1] = (c + (c << 3)) & ALL_BITS
        s[2] = ((((c << 24) & ALL_BITS) | (c >> 40)) + total) & ALL_BITS
        s[3] = (counter + 1) & ALL_BITS
        return total

    @jit
    def uniform(s):  # type: ignore[no-untyped-def]
        return (next_uint64(s) >> 11) * UNIT

    @jit
    def tail(s, negative):  # type: ignore[no-untyped-def]
        """Beyond the last layer: Marsaglia (1964)."""
        while True:
            excess = -math.log1p(-uniform(s)) * inverse_r
            height = -math.log1p(-uniform(s))
            if height + height > excess * excess:
                return -(r + excess) if negative else r + excess

    @jit
    def normal(s):  # type: ignore[no-untyped-def]
        while True:
            raw = next_uint64(s)
            layer, negative, bits = raw & 0xFF, (raw >> 8) & 1, (raw >> 9) & MANTISSA
            x = bits * w[layer]
            if negative:
                x = -x
            if bits < k[layer]:
                return x
            if layer == 0:
                return tail(s, (bits >> 8) & 1)
            if (f[layer - 1] - f[layer]) * uniform(s) + f[layer] < math.exp(-0.5 * x * x):
                return x

    return Random(normal, uniform)
