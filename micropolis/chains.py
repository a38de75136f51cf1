"""One chain of a run: its arrays, its random stream, and the two phases that a worker thread drives."""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import protocol
from .density import Density
from .protocol import CANCEL, DENSE, DIAGONAL, OPTIONS_HEAD, RUN, Kernel, Tuning

PAUSE, MARK = 2, 3  # as RUN and CANCEL: write a snapshot, a mark, and go on
MARK_PERIOD = 0.25  # seconds: the most that is made again after a draw that was broken off, if a draw is not longer;
# of a Python density also 256 evaluations, which may take longer than they did (csrc/_density.pyx)
TICK = 0.05  # seconds between two looks of the main thread at its workers; also the answer time to Ctrl-C
START_TRIES = 100  # random initial points tried before giving up, as in Stan
ASCENT_EVALUATIONS = 200  # at most; posteriordb's worst starts, at a log density of -1e8, take 50


@functools.cache
def _compiled(family: str) -> ModuleType:
    return importlib.import_module(f"micropolis._{family}")


def compiled_chain(
    kernel: Kernel, options: NDArray[Any], density: Any, bit_generator: np.random.BitGenerator, buffers: list[Any],
    adaptation: NDArray[Any] | None, memory: NDArray[np.float64] | None,
) -> Any:  # fmt: skip
    """The C chain of a kernel."""
    return _compiled(kernel.family).Chain(kernel.name, options, density, bit_generator, buffers, adaptation, memory)


def ascend(handle: Any, point: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Move a point uphill, in place, off where the log density climbs steeply; where the density failed, or None."""
    recording = handle.recording()
    return recording.where if _compiled("hamiltonian").ascend(recording, ASCENT_EVALUATIONS, point) else None


class Mark(NamedTuple):
    """A chain between two draws, as its own worker goes back to."""

    position: int
    started: bool
    stream: Mapping[str, Any]
    arrays: list[NDArray[Any]]


class ChainJob:
    """Everything one chain owns, from its initial point to its last draw.

    `position` counts finished draws of the current phase; a chain is in warm-up as long as `warm` is true. Between two
    draws everything needed to go on is in `snapshot`.
    """

    def __init__(
        self, index: int, kernel: Kernel, density: Density, bit_generator: np.random.BitGenerator, warmup: int,
        backend: str,
    ) -> None:  # fmt: skip
        density = density.compile() if backend == "numba" else density
        self.index, self.kernel, self.density, self.backend = index, kernel, density, backend
        self.bit_generator = bit_generator
        kernel.prepare(density)
        self.handle = density._bind()
        dim = density.dim
        self.rule = kernel.adaptation(dim, warmup)
        tuning = kernel.tuning(dim)
        dense = tuning.metric == DENSE or (self.rule is not None and self.rule[0]["metric_rule"] in (2, 4))
        self.scale = np.zeros(dim * dim if dense else dim)
        self.options = np.zeros(1, dtype=kernel.OPTIONS)
        self.keep_alive = kernel.fill_options(self.options[0], dim)
        self.buffers = {b.name: np.zeros(b.shape(dim), dtype=b.dtype) for b in kernel.BUFFERS}
        self.set_tuning(tuning)
        self.control = np.zeros(16, dtype=np.int32)  # one cache line a chain
        for target in self.handle.targets:
            target.watch(self.control)
        self.progress = np.zeros(8, dtype=np.int64)
        self.memory: NDArray[np.float64] | None = None
        self.warm = warmup > 0 or self.rule is not None
        self.started = False
        self.warmup, self.warmup_done, self.position = warmup, 0, 0
        self.error: BaseException | None = None
        self.fatal = False  # whether `error` came from the density
        self.where: NDArray[np.float64] | None = None  # the point of an `error` that does not name it
        self.marked = 0.0  # when a mark was last asked for
        self.cancelled = self.broken_off = False
        self.idle = threading.Event()  # not between begin and end of `run`
        self.idle.set()
        self.gate = threading.Lock()  # a chain does not begin while its snapshot is taken
        self.paused = threading.Event()
        self.pending: dict[str, Any] | None = None

    # -- tuning --------------------------------------------------------------------------------------------------

    def set_tuning(self, tuning: Tuning) -> None:
        self.scale[: tuning.scale.size] = tuning.scale.ravel()
        self.options[0]["step_size"], self.options[0]["metric"] = tuning.step_size, tuning.metric
        self.options[0]["scale"] = self.scale.ctypes.data

    @property
    def tuning(self) -> Tuning:
        dim, metric = self.density.dim, int(self.options[0]["metric"])
        scale = self.scale[:dim].copy() if metric == DIAGONAL else self.scale.reshape(dim, dim).copy()
        return Tuning(float(self.options[0]["step_size"]), metric, scale)

    @property
    def tuned_kernel(self) -> Kernel:
        """The kernel that this chain samples with; before the end of warm-up the one it was given."""
        return self.kernel if self.warm or self.rule is None else self.kernel.tuned(self.tuning)

    # -- the start -----------------------------------------------------------------------------------------------

    def evaluate_start(self, point: NDArray[np.float64]) -> int:
        """Put the chain at a point. An mp_status."""
        self.buffers["x"][:] = point
        grad = self.buffers.get("grad")
        scratch = np.empty(self.density.dim) if grad is None else grad
        return int(self._chain(None, None).init_state(scratch))

    def random_start(self) -> int:
        """A point uniform on (-2, 2) in each coordinate with a finite log density and gradient. An mp_status.

        A chain that is to find its own step size then leaves it uphill, where the log density climbs steeply.
        """
        rng = np.random.Generator(self.bit_generator)
        status = protocol.BAD_START
        for _ in range(START_TRIES):
            status = self.evaluate_start(rng.uniform(-2.0, 2.0, self.density.dim))
            if status != protocol.BAD_START:
                break
        if status == protocol.OK and self.warmup > 0 and self.rule is not None and self.rule[0]["find_step"]:
            # off the cliff first: a metric learned there may not recover before warm-up ends
            point = self.buffers["x"].copy()
            failed_at = ascend(self.handle, point)
            if failed_at is not None:
                self.buffers["x"][:] = failed_at
                return protocol.DENSITY_FATAL
            return self.evaluate_start(point)
        return status

    def failure(self, point: NDArray[np.float64] | None = None, exact: bool = True) -> BaseException:
        """The exception behind a fatal status at a point, or in a step from it; by default at where the chain is."""
        if self.handle.target is not None:
            self.where = self.handle.target.where
        x = self.buffers["x"] if point is None else point
        error: BaseException = self.handle.failure(protocol.DENSITY_FATAL, x, exact)
        return error

    # -- the run -------------------------------------------------------------------------------------------------

    def _chain(self, rule: NDArray[Any] | None, memory: NDArray[np.float64] | None) -> Any:
        buffers = list(self.buffers.values())
        if self.backend in ("c", "cuda"):  # what comes before the first draw of a CUDA chain happens on the host
            return compiled_chain(self.kernel, self.options, self.handle, self.bit_generator, buffers, rule, memory)
        from .readable import ReadableChain

        return ReadableChain(
            self.kernel, self.options, self.scale, self.density, self.handle, self.bit_generator, buffers, rule, memory,
            compiler=self.backend,
        )  # fmt: skip

    def run(self, draws: NDArray[Any], stats: NDArray[Any], warmup_stats: NDArray[Any], thin: int) -> None:
        """Warm-up, then sampling, until done, cancelled or failed; the outcome is in `position` and `error`."""
        with self.gate:
            if self.cancelled:
                return
            self.idle.clear()
        try:
            if self.warm and not self._phase(None, warmup_stats, self.warmup, 1):
                return
            self.warm = False
            self._phase(draws, stats, len(stats), thin)
        except BaseException as error:  # handed to the main thread, which raises it with the draws
            self.error = error
        finally:
            self.idle.set()

    def cancel(self) -> None:
        """Stop before the next draw, or the next step of a thinned one."""
        with self.gate:
            self.cancelled = True  # what stays when a pause takes the flag
            self.control[0] = CANCEL

    def break_off(self) -> None:
        """Do not wait for the end of a step either."""
        if self.backend != "cuda" and not self.broken_off:
            self.broken_off = True
            self.handle.stop()

    def mark_soon(self) -> None:
        """Every MARK_PERIOD, have a running chain note where it is; from another thread."""
        if self.backend == "cuda" or time.monotonic() - self.marked < MARK_PERIOD:
            return
        with self.gate:
            if self.control[0] == RUN:
                self.control[0] = MARK
        self.marked = time.monotonic()

    def record(self) -> dict[str, Any]:
        """`snapshot` from another thread: a running chain stops between two draws to write it."""
        with self.gate:
            if self.idle.is_set():
                return self.snapshot()
            self.paused.clear()
            self.control[0] = CANCEL if self.cancelled else PAUSE
        while not self.paused.wait(TICK):
            if self.idle.is_set():
                return self.snapshot()
        record, self.pending = self.pending, None
        assert record is not None
        return record

    def _phase(self, draws: NDArray[Any] | None, stats: NDArray[Any], stop: int, thin: int) -> bool:
        chain = self._phase_chain(self.handle)
        if self.warm:
            self.memory = chain.memory
        mark = self._mark()
        status = self._start(chain)
        self.progress[0] = self.position
        while status == protocol.OK:
            status = chain.run_block(self.position, stop, draws, stats, self.control, self.progress, thin)
            self.position = int(self.progress[0])
            if status != protocol.CANCELLED:
                break
            with self.gate:
                request = int(self.control[0])
                if request == CANCEL:
                    break
                self.control[0] = CANCEL if self.cancelled else RUN
            mark = self._mark()
            if request == PAUSE:
                self.pending = self.snapshot()
                self.paused.set()
            status = protocol.OK
        if self.warm:
            self.warmup_done = self.position
        if status != protocol.OK:
            self.broken_off = True  # what is made again from here on is waited for
        if self.handle.stopped:
            self.handle.go()
            if status == protocol.DENSITY_FATAL and all(target.error is None for target in self.handle.targets):
                status = protocol.BROKEN_OFF
        if status == protocol.DENSITY_FATAL:
            self._fail(chain, mark, stats, thin)
        elif status == protocol.BROKEN_OFF:
            self._rewind(mark, stats, thin)
        if status != protocol.OK:
            return False
        if self.warm:
            self.position, self.memory = 0, None
            self.progress[0] = 0
        return True

    def _phase_chain(self, handle: Any, compiled: bool = False) -> Any:
        """A chain of the present phase."""
        # the work area is sized by the user's options, not by what a warm-up that goes on has lowered
        lowered = self._own_options()
        self.keep_alive = self.kernel.fill_options(self.options[0], self.density.dim)
        rule, memory = (self.rule, self.memory) if self.warm else (None, None)
        if compiled:
            buffers = list(self.buffers.values())
            chain = compiled_chain(self.kernel, self.options, handle, self.bit_generator, buffers, rule, memory)
        else:
            chain = self._chain(rule, memory)
        self._set_options(lowered)
        return chain

    def _start(self, chain: Any) -> int:
        """What warm-up does before its first draw. An mp_status."""
        status = protocol.OK
        if self.warm and self.rule is not None and not self.started:
            status = chain.start_adaptation()
        self.started = self.started or (self.warm and status == protocol.OK)
        return int(status)

    # -- a draw that was broken off ------------------------------------------------------------------------------

    def _mark(self) -> Mark:
        for target in self.handle.targets:
            target.calls = 0
        arrays = [array.copy() for array in self._arrays()]
        return Mark(self.position, self.started, self.bit_generator.state, arrays)

    def _arrays(self) -> list[NDArray[Any]]:
        """All that a step or the warm-up after it writes to, but the random stream."""
        arrays = [self.options, self.scale, *self.buffers.values()]
        return arrays if self.memory is None else [*arrays, self.memory]

    def _return_to(self, mark: Mark) -> None:
        self.started, self.bit_generator.state = mark.started, mark.stream
        for array, then in zip(self._arrays(), mark.arrays, strict=True):
            array[...] = then

    def _rewind(self, mark: Mark, stats: NDArray[Any], thin: int) -> bool:
        """Back to the end of the last finished draw, from where the stream and a thinned state have moved on.

        The draws since the mark are made again. A log density that then gives something else, because it is not a
        function of its argument alone, leaves the chain as it was: False.
        """
        now = self._mark()
        self._return_to(mark)
        if self.position == mark.position and self.started == mark.started:
            return True
        chain = self._phase_chain(self.handle)
        status = self._start(chain)
        if status == protocol.OK:
            status = self._again(chain, mark.position, self.position, stats, thin)
        same = self.position == 0 or self.buffers["logp"][0] == stats[self.position - 1]["logp"]
        if status != protocol.OK or not same:
            self._return_to(now)
            return False
        return True

    def _again(self, chain: Any, start: int, stop: int, stats: NDArray[Any], thin: int) -> int:
        """Draws start .. stop - 1, kept nowhere. An mp_status."""
        control, progress = np.zeros_like(self.control), np.zeros_like(self.progress)
        status = chain.run_block(start, stop, None, np.empty(stop, stats.dtype), control, progress, thin)
        return int(status)

    def _fail(self, chain: Any, mark: Mark, stats: NDArray[Any], thin: int) -> None:
        """Settle a fatal status: the error, where it happened, and the chain at its last finished draw."""
        self.fatal = True
        raised: BaseException | None = getattr(chain, "error", None)
        if self.handle.target is not None:
            self.error = raised or self.failure()
            self._rewind(mark, stats, thin)
            return
        point = self._failing_point(stats, thin) if self._rewind(mark, stats, thin) else None
        self.error, self.where = raised or self.failure(point, exact=point is not None), point if raised else None

    def _failing_point(self, stats: NDArray[Any], thin: int) -> NDArray[np.float64] | None:
        """The point of the fatal call in the draw that comes next: that draw is made again, every call looked at."""
        mark, recording = self._mark(), self.handle.recording()
        chain = self._phase_chain(recording, compiled=True)
        status = self._start(chain)
        if status == protocol.OK:
            status = self._again(chain, self.position, self.position + 1, stats, thin)
        self._return_to(mark)
        return recording.where if status == protocol.DENSITY_FATAL else None

    # -- what a later run needs ----------------------------------------------------------------------------------

    def _own_options(self) -> dict[str, Any]:
        """The kernel's own options, less pointers: warm-up may have changed them for a while."""
        names = (self.options.dtype.names or ())[len(OPTIONS_HEAD) :]
        return {name: self.options[0][name].item() for name in names if self.options.dtype[name].kind != "u"}

    def _set_options(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.options[0][name] = value

    def snapshot(self) -> dict[str, Any]:
        """State, random stream, tuning and warm-up memory, copied."""
        tuning = self.tuning
        return {
            "state": {name: buffer.copy() for name, buffer in self.buffers.items()},
            "rng": self.bit_generator.state,
            "kernel": self.tuned_kernel,
            "warmup_done": self.position if self.warm else self.warmup,
            "position": 0 if self.warm else self.position,
            "adaptation": {
                "step_size": tuning.step_size,
                "metric": tuning.metric,
                "scale": tuning.scale,
                "options": self._own_options(),
                "warm": self.warm,
                "started": self.started,
                "warmup": self.warmup,
                "warmup_done": self.position if self.warm else self.warmup,
                "memory": None if self.memory is None else self.memory.copy(),
            },
        }

    def restore(self, state: dict[str, NDArray[Any]], adaptation: dict[str, Any]) -> None:
        """Take over what `snapshot` recorded; the random stream is set by the caller."""
        for name, buffer in self.buffers.items():
            buffer[...] = state[name]
        self.set_tuning(Tuning(adaptation["step_size"], adaptation["metric"], np.asarray(adaptation["scale"])))
        self._set_options(adaptation["options"])
        self.warm, self.started = bool(adaptation["warm"]), bool(adaptation["started"])
        self.position = self.warmup_done = int(adaptation["warmup_done"])
        if not self.warm:
            self.position = 0
        self.memory = None if adaptation["memory"] is None else np.array(adaptation["memory"])
