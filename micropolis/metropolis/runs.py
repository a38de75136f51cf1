"""Runs of weight walks in worker threads: progress, and Ctrl-C that keeps what was done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import progress as progress_bar
from .. import workers

TICK = 0.05  # seconds between two looks of the main thread at its workers; also the answer time to Ctrl-C


class Run:
    """One run of a walk: its records, and the switches that its worker thread shares with the main one."""

    def __init__(self, task: Callable[[Run], None], records: NDArray[Any], options: dict[str, Any]) -> None:
        self.task, self.records, self.options = task, records, options
        self.control = np.zeros(1, dtype=np.int32)
        self.progress = np.zeros(2, dtype=np.int64)  # steps made, accepted ones among them
        self.idle = threading.Event()
        self.idle.set()

    def cancel(self) -> None:
        """Stop before the next step."""
        self.control[0] = 1

    def work(self) -> None:
        """What the worker does."""
        self.idle.clear()
        try:
            if not self.control[0]:
                self.task(self)
        finally:
            self.idle.set()


def drive(runs: Sequence[Run], threads: int, progress: bool | None) -> bool:
    """Bring every run to its end, or to where Ctrl-C meets it; whether it came, which may have been at the very end."""
    bar = progress_bar.Bar(progress, sum(len(run.records) for run in runs), unit="step", event="accepted")
    futures: list[Future[None]] = []
    interrupted = False
    with workers.pool(min(threads, len(runs))) as pool:
        try:
            for run in runs:
                futures.append(pool.submit(run.work))
            try:
                while wait(futures, timeout=TICK).not_done:
                    bar.update(*_total(runs))
                bar.update(*_total(runs))
            finally:
                bar.close()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            for run in runs:
                run.cancel()
            settled = False
            while not settled:  # however often Ctrl-C is pressed
                try:
                    wait(futures)
                    # a Ctrl-C inside submit() leaves a worker that the pool does not know
                    settled = all(run.idle.wait() for run in runs)
                except KeyboardInterrupt:
                    interrupted = True
        if interrupted:
            workers.give_up(pool)
    for future in futures:
        future.result()
    return interrupted


def _total(runs: Sequence[Run]) -> tuple[int, int]:
    return sum(int(run.progress[0]) for run in runs), sum(int(run.progress[1]) for run in runs)
