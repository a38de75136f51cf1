"""Worker threads, kept between runs: starting one costs more than a short run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

MOST_IDLE = 4  # pools kept; more are wanted only where runs of many sizes follow one another
_given_up: set[ThreadPoolExecutor] = set()
_idle: dict[int, list[ThreadPoolExecutor]] = {}  # pools that no run holds, by their number of threads

# a forked child has the pools but not their threads
os.register_at_fork(after_in_child=_idle.clear)


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


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
    if executor in _given_up:
        _given_up.discard(executor)
    elif sum(map(len, _idle.values())) < MOST_IDLE:
        pools.append(executor)
    else:
        executor.shutdown(wait=False)


def give_up(executor: ThreadPoolExecutor) -> None:
    """Do not use this pool again: a Ctrl-C may have left it with a thread that it does not know."""
    executor.shutdown(wait=False)
    _given_up.add(executor)
