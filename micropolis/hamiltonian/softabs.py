"""The readable SoftAbs map and its divided differences, the same bits as csrc/common/softabs.h."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any


@functools.lru_cache(maxsize=16)
def make_softabs(jit: Callable[..., Any]) -> tuple[Any, Any]:
    """(softabs, slope) under the compiler `jit`.

    ``softabs(alpha, l)`` is s(l) = l coth(alpha l); ``slope(alpha, l, k, s(l), s(k))`` is (s(l) - s(k)) / (l - k), and
    s'(l) where they are equal. With x = alpha l, y = alpha k the identity
    J = (coth x + coth y) / 2 - (x + y) / 2 * sinh(x - y) / ((x - y) sinh x sinh y) does not cancel; a series covers
    small x and y, and beyond 20 coth is +-1.
    """

    @jit
    def softabs(alpha, value):  # type: ignore[no-untyped-def]
        size = abs(value)
        x = alpha * size
        if x > 20.0:
            return size
        return 1.0 / alpha if x < 1e-8 else size / math.tanh(x)

    @jit
    def slope(alpha, l, k, softabs_l, softabs_k):  # type: ignore[no-untyped-def]  # noqa: E741
        x, y = alpha * l, alpha * k
        larger, smaller = max(abs(x), abs(y)), min(abs(x), abs(y))
        if smaller > 20.0:
            if (l > 0.0) == (k > 0.0):
                return 1.0 if l > 0.0 else -1.0
            return (abs(l) - abs(k)) / (l - k)
        if larger < 0.08:  # x coth x = 1 + x^2 / 3 - x^4 / 45 + 2 x^6 / 945 - x^8 / 4725 + ...
            a, b = x * x, y * y
            square = a + b
            cube = square * a + b * b
            fourth = cube * a + b * b * b
            return (x + y) * (((1.0 / 3.0 - square / 45.0) + cube * (2.0 / 945.0)) - fourth / 4725.0)
        gap = x - y
        if smaller < 0.04 or (larger > 20.0 and abs(gap) > 1.0):
            return (softabs_l - softabs_k) / (l - k)
        ratio = 1.0 if gap == 0.0 else math.sinh(gap) / gap
        return 0.5 * (1.0 / math.tanh(x) + 1.0 / math.tanh(y)) - 0.5 * (x + y) * (ratio / (math.sinh(x) * math.sinh(y)))

    return softabs, slope
