"""Clocks of the benchmarks: the least of several runs, and the cost of one call through a density's C pointer."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

LOGP_GRAD = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def least_seconds(function: Callable[[], Any], repeats: int = 7) -> float:
    """Wall time of the fastest of `repeats` calls: on a shared machine noise only adds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def worth_of_two_cores(function: Callable[[], Any], repeats: int = 9) -> float:
    """How many times the calls two threads make at once that one makes alone: 2 on two cores that nobody else uses.

    Two processors of a virtual machine may be two halves of one core, or shared with a neighbour: 1.3 has been seen.
    The median of `repeats` pairs; the function has to be one that runs without the GIL.
    """
    ratios = []
    with ThreadPoolExecutor(2) as pool:

        def seconds(threads: int) -> float:
            begin = time.perf_counter()
            list(pool.map(lambda _: [function() for _ in range(5)], range(threads)))
            return time.perf_counter() - begin

        for _ in range(repeats):
            ratios.append(2 * seconds(1) / seconds(2))
    return statistics.median(ratios)


def pointer_loop(density: Any) -> Callable[[int], float]:
    """`loop(n)` makes n calls, one after another, of the density's logp_grad through its C pointer, all in L1.

    Each call waits for the value of the one before it, as in a chain.
    """
    handle = density._c
    call = LOGP_GRAD(handle.functions["logp_grad"])
    user_data = handle.functions["user_data"]
    dim = density.dim
    x, grad, logp = np.linspace(-1, 1, dim), np.empty(dim), np.zeros(1)

    @numba.njit
    def evaluate(n, x, grad, logp):
        for _ in range(n):
            call(dim, x.ctypes, grad.ctypes, logp.ctypes, user_data)
            x[0] += 1e-300 * logp[0]
        return logp[0]

    def loop(n: int) -> float:
        keep_alive = handle
        value = float(evaluate(n, x, grad, logp))
        del keep_alive
        return value

    loop(1)
    return loop


def pointer_seconds(density: Any, calls: int) -> float:
    """Seconds of one call through the density's C pointer."""
    loop = pointer_loop(density)
    return least_seconds(lambda: loop(calls)) / calls
