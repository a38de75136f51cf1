"""A jittered number of steps, as csrc/hamiltonian/length.h draws it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..jit import Random


@functools.lru_cache(maxsize=64)
def make_length(jit: Callable[..., Any], random: Random) -> Any:
    """length(n_steps, jitter, rng): drawn from the integers in n_steps (1 -+ jitter)."""
    uniform = random.uniform

    @jit
    def length(n_steps, jitter, rng):  # type: ignore[no-untyped-def]
        if jitter == 0.0:
            return n_steps
        least = max(1, math.ceil(n_steps * (1.0 - jitter) - 1e-9))  # 10 * (1 - 0.7) is 3.0000000000000004
        most = math.floor(n_steps * (1.0 + jitter) + 1e-9)
        return least + int(uniform(rng) * (most - least + 1))

    return length
