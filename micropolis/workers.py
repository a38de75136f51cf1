"""Worker threads, kept between runs: starting one costs more than a short run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

_idle: dict[int, list[ThreadPoolExecutor]] = {}  # pools that no run holds, by their number of threads

# a forked child has the pools but not their threads
os.register_at_fork(after_in_child=_idle.clear)


@contextlib.contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `threads` threads that no other run uses; an exception inside gives it up."""
    pools = _idle.setdefault(threads, [])
    try:
        executor = pools.pop()
    except IndexError:
        executor = ThreadPoolExecutor(threads, thread_name_prefix="micropolis")
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False)
        raise
    pools.append(executor)
