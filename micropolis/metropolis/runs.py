"""Runs of optimisers in worker threads: progress, Ctrl-C, and many independent chains at once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import checks, workers
from .. import progress as progress_bar
from ..errors import InputError, InputTypeError
from ..neural.network import Sequential

if TYPE_CHECKING:
    from .._neural import CData
    from .weight_walk import History, WeightWalk

TICK = 0.05  # seconds between two looks of the main thread at its workers; also the answer time to Ctrl-C


class Run:
    """One call of an optimiser's run: its records, and the switches that its worker thread shares with the main one."""

    def __init__(self, optimizer: WeightWalk, records: NDArray[Any], options: dict[str, Any]) -> None:
        self.optimizer, self.records, self.options = optimizer, records, options
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
                self.optimizer._work(self)
        finally:
            self.idle.set()


def drive(runs: Sequence[Run], threads: int, progress: bool | None) -> None:
    """Bring every run to its end, or to where Ctrl-C meets it."""
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
                with contextlib.suppress(KeyboardInterrupt):
                    wait(futures)
                    # a Ctrl-C inside submit() leaves a worker that the pool does not know
                    settled = all(run.idle.wait() for run in runs)
        if interrupted:
            workers.give_up(pool)
    for future in futures:
        future.result()


def _total(runs: Sequence[Run]) -> tuple[int, int]:
    return sum(int(run.progress[0]) for run in runs), sum(int(run.progress[1]) for run in runs)


def run_chains(
    optimizers: Sequence[WeightWalk],
    X: Any,
    y: Any,
    steps: int,
    *,
    workers: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> list[History]:
    """Run independent chains at once, one thread each.

    Parameters
    ----------
    optimizers : sequence of MH or MMH
        Each with a network of its own; give each its own seed.
    X, y : array_like
        Data, shared by all.
    steps : int
        Steps of every chain.
    workers : int, optional
        Chains at a time; default one per available core. What they do does not depend on it.
    progress : bool, optional
        As for `micropolis.sample`.
    **options
        Further arguments of the optimisers' ``run``, such as ``batch_size``.

    Returns
    -------
    list of History
        After Ctrl-C with the steps that were made.

    Raises
    ------
    InputError, InputTypeError
        Before anything runs.

    Examples
    --------
    >>> import numpy as np
    >>> import micropolis as mp
    >>> from micropolis.neural import Linear, Sequential
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> chains = [mp.MH(Sequential(Linear(1, 2), seed=i), lr=0.1, T=0.05, seed=i) for i in range(3)]
    >>> [len(history) for history in run_chains(chains, X, X[:, 0] > 0, steps=50)]
    [50, 50, 50]
    """
    from .weight_walk import WeightWalk

    optimizers = list(optimizers)
    for number, optimizer in enumerate(optimizers):
        if not isinstance(optimizer, WeightWalk):
            raise InputTypeError(f"optimizers: expected MH or MMH, number {number} is {type(optimizer).__name__}")
    if len({id(optimizer.net) for optimizer in optimizers}) < len(optimizers):
        raise InputError("optimizers: expected a network of its own for each, two share one")
    threads = len(os.sched_getaffinity(0)) if workers is None else checks.integer("workers", workers, least=1)
    progress_bar.check(progress)
    if not optimizers:
        return []
    shared: dict[Any, CData] = {}
    runs = [optimizer._begin(X, y, steps, shared=shared, **options) for optimizer in optimizers]
    drive(runs, threads, progress)
    return [run.optimizer._finish(run) for run in runs]


def stream(seed: Any) -> np.random.BitGenerator:
    """SFC64 of a seed, the generator that kernels draw from inline."""
    try:
        if isinstance(seed, np.random.Generator):
            seed = seed.bit_generator.seed_seq.spawn(1)[0]  # type: ignore[attr-defined]
        return np.random.SFC64(seed)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"seed: expected None, a non-negative integer, a SeedSequence or a NumPy Generator, got {seed!r}"
        ) from error


def network(net: Any) -> Sequential:
    """`net`, a Sequential."""
    if not isinstance(net, Sequential):
        raise InputTypeError(f"net: expected a micropolis.neural.Sequential, got {type(net).__name__}")
    return net
