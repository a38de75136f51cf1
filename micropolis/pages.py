"""Memory of long draws made ready by a thread of its own, a little ahead of the chains that will write there.

The first write to a page makes Linux clear it, in a virtual machine at times at half a gigabyte a second: for a draw of
a large network up to a third of the whole sample. A chain that finds the page in place does not wait for that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

POPULATE_WRITE = 23  # madvise(2), since Linux 5.14: pages as after a write that changes nothing
LONG_DRAW = 1 << 18  # bytes; clearing less takes microseconds
AHEAD = (
    32 << 20
)  # bytes of each chain: a third of a second of the fastest such chains, and no burden when a run is stopped
AT_ONCE = 2 << 20  # a huge page
PAUSE = 0.01  # seconds


@contextlib.contextmanager
def made_ready(draws: NDArray[Any], made: Callable[[], Sequence[int]]) -> Iterator[None]:
    """Make pages of draws (chains, draws, dim) ready; `made()` is how many draws each chain has by now."""
    if isinstance(draws, np.memmap) or draws.shape[1] == 0 or draws[0, 0].nbytes < LONG_DRAW:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_run_ahead, args=(draws, made, done), name="micropolis pages", daemon=True)
    try:
        thread.start()
        yield
    finally:
        done.set()  # and no join, which a Ctrl-C could break off: the thread holds the draws until it has seen this


def _run_ahead(draws: NDArray[Any], made: Callable[[], Sequence[int]], done: threading.Event) -> None:
    import ctypes
    import mmap

    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    starts = [chain.ctypes.data for chain in draws]
    ready = [start // mmap.PAGESIZE * mmap.PAGESIZE for start in starts]
    chain_size, draw_size = draws[0].nbytes, draws[0, 0].nbytes
    while not done.is_set():
        waiting = True
        for i, (start, n) in enumerate(zip(starts, made(), strict=True)):
            wanted = start + min(n * draw_size + AHEAD, chain_size)
            if ready[i] < wanted and not done.is_set():
                if madvise(ready[i], min(AT_ONCE, start + chain_size - ready[i]), POPULATE_WRITE):
                    return  # a kernel that does not know this, or no memory: the chains will see to it
                ready[i] += AT_ONCE
                waiting = False
        if all(place >= start + chain_size for place, start in zip(ready, starts, strict=True)):
            return
        if waiting:
            done.wait(PAUSE)
