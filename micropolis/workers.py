"""Worker threads, kept between runs: starting one costs more than a short run."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

# A run holds a pool of its size, one for the checks behind it and, with a checkpoint, one of a single thread: two runs
# at once come back to six.
MOST_IDLE = 6
_given_up: set[ThreadPoolExecutor] = set()
_idle: list[tuple[int, ThreadPoolExecutor]] = []  # pools that no run holds and their sizes, the last used last
_lock = threading.Lock()


def _after_fork() -> None:
    """A forked child has the pools but not their threads, and perhaps the lock of a thread that it has not."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_after_fork)


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `threads` threads that no other run uses; an exception inside gives it up.

    When more than MOST_IDLE are left idle, the one that was used longest ago ends.
    """
    with _lock:
        found = next((i for i in reversed(range(len(_idle))) if _idle[i][0] == threads), None)
        executor = None if found is None else _idle.pop(found)[1]
    if executor is None:
        executor = ThreadPoolExecutor(threads, thread_name_prefix="micropolis")
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False)
        raise
    if executor in _given_up:
        _given_up.discard(executor)
        return
    with _lock:
        _idle.append((threads, executor))
        oldest = _idle.pop(0)[1] if len(_idle) > MOST_IDLE else None
    if oldest is not None:
        oldest.shutdown(wait=False)


def give_up(executor: ThreadPoolExecutor) -> None:
    """Do not use this pool again: a Ctrl-C may have left it with a thread that it does not know."""
    executor.shutdown(wait=False)
    _given_up.add(executor)
