"""What MH and MMH share: a network, a random stream, schedules, data that are recognised, and states that are kept."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import checks, trace_files
from .. import progress as progress_bar
from .._metropolis import STEP_RECORD
from .._metropolis import WeightWalk as CWeightWalk
from .._neural import CData, CLoss, CNetwork
from ..errors import InputError, InputTypeError, KernelError
from ..neural.losses import Loss, as_loss
from ..neural.network import Sequential
from .history import History, Schedule, Scheduled, Step
from .runs import Run, drive

REDUCTIONS = ("mean", "sum")
Result = TypeVar("Result")


class WeightWalk(ABC):
    """Base of the optimisers: theta' = theta + lr * Normal(0, I), and a test that subclasses choose."""

    name: ClassVar[str]

    def __init__(
        self, net: Sequential, lr: Scheduled, T: Scheduled, *, seed: Any, loss: Loss, tau: float | None, tau_out: float,
        reduction: str, zero: bool = True, why: str = "",
    ) -> None:  # fmt: skip
        if not isinstance(net, Sequential):
            raise InputTypeError(f"net: expected a micropolis.neural.Sequential, got {type(net).__name__}")
        self.net = net
        self._lr, self._T = Schedule("lr", lr), Schedule("T", T, zero, why)
        self.loss, self.tau_out = loss, checks.real("tau_out", tau_out, above=0)
        if isinstance(loss, str) or not callable(loss):
            as_loss(loss, self.tau_out)
        self.tau = None if tau is None else checks.real("tau", tau, above=0)
        self.reduction = checks.choice("reduction", reduction, REDUCTIONS)
        self._bit_generator = _stream(seed)
        self._position = 0
        self._user: dict[str, object] = {}
        self._forget()

    def _forget(self) -> None:
        self._loop: Any = None
        self._X: Any = None
        self._y: Any = None
        self._shapes: Any = None

    @property
    def lr(self) -> Scheduled:
        """Standard deviation of the proposals; what is assigned counts from the next step on."""
        return self._lr.value

    @lr.setter
    def lr(self, value: Scheduled) -> None:
        self._lr = Schedule("lr", value)

    @property
    def T(self) -> Scheduled:
        """Temperature; what is assigned counts from the next step on."""
        return self._T.value

    @T.setter
    def T(self, value: Scheduled) -> None:
        self._T = Schedule("T", value, self._T.zero, self._T.why)

    @property
    def steps(self) -> int:
        """Steps made since the optimiser was built; schedules go by it."""
        return self._position

    # -- what subclasses say -----------------------------------------------------------------------------------------

    @abstractmethod
    def _make_loop(self, network: CNetwork, loss: CLoss, data: CData) -> CWeightWalk:
        """The compiled loop, without a place yet."""

    @abstractmethod
    def _started(self, loop: Any, same_data: bool) -> None:
        """Called when `loop` has been placed at the network's weights."""

    @abstractmethod
    def _work(self, run: Run) -> None:
        """The steps of a run, in a worker thread."""

    @abstractmethod
    def _best(self, run: Run) -> tuple[float, NDArray[Any] | None]:
        """(loss, weights) of the best model."""

    @abstractmethod
    def _memory(self) -> dict[str, Any]:
        """What the next step needs besides weights and random stream."""

    @abstractmethod
    def _recall(self, memory: dict[str, Any]) -> None:
        """Take over what `_memory` gave."""

    def _options(self, **options: Any) -> dict[str, Any]:
        """The arguments of a run that only the subclass has, checked."""
        if options:
            raise InputTypeError(f"{self.name}: unexpected argument {next(iter(options))!r}")
        return {}

    # -- runs --------------------------------------------------------------------------------------------------------

    def _attach(self, X: Any, y: Any, shared: dict[Any, CData] | None) -> None:
        """Have a loop for these data at the network's present weights.

        Data are those of the last step if they are the same objects with the same shapes: then nothing is checked or
        computed again.
        """
        if not self.net.parameters.flags.writeable:
            raise InputError("net: expected parameters that can be written to, these are read-only")
        shapes = (getattr(X, "shape", None), getattr(y, "shape", None))
        same = self._loop is not None and X is self._X and y is self._y and shapes == self._shapes
        if same and np.array_equal(self._loop.theta, self.net.parameters):
            return
        if not np.all(np.isfinite(self.net.parameters)):
            raise InputError("net: expected finite parameters")
        with np.errstate(over="ignore"):
            squares = np.sum(np.square(self.net.parameters, dtype=np.float64))
        if self.tau is not None and not np.isfinite(self.tau * squares):
            raise InputError(f"net: expected parameters whose squares times tau={self.tau!r} are finite numbers")
        loop = self._loop
        if not same:
            data = self._data(X, y, shared)
            if data.n == 0:
                raise InputError("X: expected at least one row")
            network = self.net.bind()
            loss = as_loss(self.loss, self.tau_out, network.n_outputs, gradient=False)
            loop = self._make_loop(network, loss, data)
        loop.place(self.net.parameters)
        self._started(loop, same)
        self._loop, self._X, self._y, self._shapes = loop, X, y, shapes

    def _data(self, X: Any, y: Any, shared: dict[Any, CData] | None) -> CData:
        if y is None:
            raise InputTypeError("y: expected the labels or targets of the rows of X, got None")
        if shared is None:
            return self.net.data(X, y, self.loss, pack=False)
        if self.net.input_shape is None:
            self.net.data(X)
        network = self.net.bind()
        key = (network.engine, network.dtype, self.net.input_shape, network.n_outputs, self.loss)
        if key not in shared:
            shared[key] = self.net.data(X, y, self.loss, pack=False)
        return shared[key]

    def _begin(self, X: Any, y: Any, steps: int, shared: dict[Any, CData] | None = None, **options: Any) -> Run:
        steps = checks.integer("steps", steps, least=0)
        # asked of the machine, since Linux hands out more memory than there is and kills the process that uses it
        if steps * STEP_RECORD.itemsize > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
            raise InputError(f"steps: no memory for the history of {steps} steps; make several runs")
        self._attach(X, y, shared)
        checked = self._options(**options)
        self._loop.schedule(*self._lr.table(self._position, steps), *self._T.table(self._position, steps))
        return Run(self._work, np.empty(steps, STEP_RECORD), checked)

    def _finish(self, run: Run, interrupted: bool) -> History:
        best, weights = self._best(run)
        evaluated: list[tuple[int, float]] = run.options.get("evaluated", [])
        return History(
            run.records[: int(run.progress[0])],
            best,
            weights,
            self.net,
            np.array([step for step, _ in evaluated], dtype=np.int64),
            np.array([nll for _, nll in evaluated], dtype=np.float64),
            interrupted,
        )

    def _leave(self, user: object) -> None:
        """Take over what the loop has done, and let others in; does nothing for who is not the user."""
        if self._user.get("now") is user:
            if self._loop is not None and self._position != self._loop.step:
                self.net.parameters[:] = self._loop.theta
                self._position = self._loop.step
            del self._user["now"]

    def _step(self, X: Any, y: Any, **options: Any) -> Step:
        def work() -> Run:
            run = self._begin(X, y, 1, **options)
            self._work(run)
            return run

        record = _alone([self], work).records[0]
        return Step(*(record[name].item() for name in Step._fields))

    def _run(self, X: Any, y: Any, steps: int, progress: bool | None, **options: Any) -> History:
        progress_bar.check(progress)

        def work() -> History:
            run = self._begin(X, y, steps, **options)
            return self._finish(run, drive([run], 1, progress))

        return _alone([self], work)

    # -- states ------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            return {
                "format": f"micropolis.{self.name}",
                "step": self._position,
                "parameters": self.net.parameters.copy(),
                "rng": self._bit_generator.state,
                "memory": self._memory(),
            }

        return _alone([self], work)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, random stream, position and memory to an .npz file, for `restore`.

        Parameters
        ----------
        path : path
            An existing file is replaced.

        Raises
        ------
        TraceWriteError
            The file cannot be written.
        """
        trace_files.write(path, self._state())

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Take over the state in a file made by `save`: with the same options and data the chain goes on bit for bit.

        Parameters
        ----------
        path : path

        Raises
        ------
        TraceFileError
            The file is missing or damaged.
        InputError
            It was made by another kind of optimiser, or for another network.
        KernelError
            The optimiser is running in another thread.
        """
        state = trace_files.read(path)
        if state.get("format") != f"micropolis.{self.name}":
            raise InputError(f"path: {os.fspath(path)}: not a saved {self.name}")
        weights = np.asarray(state["parameters"])
        if weights.shape != self.net.parameters.shape or weights.dtype != self.net.dtype:
            raise InputError(
                f"path: {os.fspath(path)}: made for {weights.size} parameters of {weights.dtype}, "
                f"this network has {self.net.n_parameters} of {self.net.dtype}"
            )
        _alone([self], lambda: self._resume(state))

    def _resume(self, state: dict[str, Any]) -> None:
        self._forget()
        self.net.parameters[:] = state["parameters"]
        self._position = int(state["step"])
        self._bit_generator.state = state["rng"]
        self._recall(state["memory"])

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in self.__dict__.items() if name not in PRIVATE}
        return {"own": own, "state": self._state()}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self.__dict__.update(saved["own"])
        self._bit_generator, self._user = np.random.SFC64(0), {}
        self._resume(saved["state"])

    def __repr__(self) -> str:
        return f"{self.name}(lr={self.lr!r}, T={self.T!r}, loss={self.loss!r}): {self._position} steps"


PRIVATE = frozenset(("_loop", "_X", "_y", "_shapes", "_user", "_bit_generator", "_position"))


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
    if isinstance(optimizers, WeightWalk):
        raise InputTypeError(f"optimizers: expected a sequence of MH or MMH, got one {optimizers.name}")
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

    def work() -> list[History]:
        runs = [optimizer._begin(X, y, steps, shared, **options) for optimizer in optimizers]
        interrupted = drive(runs, threads, progress)
        return [optimizer._finish(run, interrupted) for optimizer, run in zip(optimizers, runs, strict=True)]

    return _alone(optimizers, work)


def _alone(walks: Sequence[WeightWalk], work: Callable[[], Result]) -> Result:
    """What `work` returns, other threads kept off; each walk is then where its loop is, however often Ctrl-C comes.

    One frame, because Ctrl-C between those of a context manager would leave the walks to the garbage collector.
    """
    user, left = object(), list(walks)
    trouble: BaseException | None = None
    try:
        for walk in walks:
            if walk._user.setdefault("now", user) is not user:
                raise KernelError(f"{walk.name}: this optimiser is running in another thread")
        return work()
    finally:
        while left:
            try:
                while left:  # its jump back looks for signals, and is inside
                    left[-1]._leave(user)
                    left.pop()
            except KeyboardInterrupt as error:
                trouble = error
            except Exception as error:  # parameters that were made read-only: the walk goes on from these
                trouble, walk = error, left.pop()
                walk._forget()
                del walk._user["now"]
        if trouble is not None:
            raise trouble


def _stream(seed: Any) -> np.random.BitGenerator:
    """SFC64 of a seed, the generator that kernels draw from inline."""
    try:
        if isinstance(seed, np.random.Generator):
            seed = seed.bit_generator.seed_seq.spawn(1)[0]  # type: ignore[attr-defined]
        return np.random.SFC64(seed)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"seed: expected None, a non-negative integer, a SeedSequence or a NumPy Generator, got {seed!r}"
        ) from error
