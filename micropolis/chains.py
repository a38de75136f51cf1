"""One chain of a run: its arrays, its random stream, and the two phases that a worker thread drives."""

from __future__ import annotations

import functools
import importlib
import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import protocol
from .density import Density
from .protocol import DENSE, DIAGONAL, OPTIONS_HEAD, Kernel, Tuning

RUN, CANCEL, PAUSE = 0, 1, 2
TICK = 0.05  # seconds between two looks of the main thread at its workers; also the answer time to Ctrl-C
START_TRIES = 100  # random initial points tried before giving up, as in Stan
ASCENT_STEPS = 200  # evaluations at most; posteriordb's worst starts, at a log density of -1e8, take 50


@functools.cache
def _compiled(family: str) -> ModuleType:
    return importlib.import_module(f"micropolis._{family}")


def compiled_chain(
    kernel: Kernel, options: NDArray[Any], density: Any, bit_generator: np.random.BitGenerator, buffers: list[Any],
    adaptation: NDArray[Any] | None, memory: NDArray[np.float64] | None,
) -> Any:  # fmt: skip
    """The C chain of a kernel."""
    return _compiled(kernel.family).Chain(kernel.name, options, density, bit_generator, buffers, adaptation, memory)


class ChainJob:
    """Everything one chain owns, from its initial point to its last draw.

    `position` counts finished draws of the current phase; a chain is in warm-up as long as `warm` is true. Between two
    draws everything needed to go on is in `snapshot`.
    """

    def __init__(
        self, index: int, kernel: Kernel, density: Density, bit_generator: np.random.BitGenerator, warmup: int,
        backend: str,
    ) -> None:  # fmt: skip
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
        self.progress = np.zeros(8, dtype=np.int64)
        self.memory: NDArray[np.float64] | None = None
        self.warm = warmup > 0 or self.rule is not None
        self.started = False
        self.warmup, self.warmup_done, self.position = warmup, 0, 0
        self.error: BaseException | None = None
        self.fatal = False  # whether `error` came from the density
        self.cancelled = False
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
            status = _compiled("hamiltonian").ascend(self.handle, ASCENT_STEPS, point)
            return protocol.DENSITY_FATAL if status else self.evaluate_start(point)
        return status

    def failure(self) -> BaseException:
        """The exception behind a fatal status."""
        error: BaseException = self.handle.failure(protocol.DENSITY_FATAL, self.buffers["x"])
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
        """Stop before the next draw."""
        with self.gate:
            self.cancelled = True  # what stays when a pause takes the flag
        self.control[0] = CANCEL

    def record(self) -> dict[str, Any]:
        """`snapshot` from another thread: a running chain stops between two draws to write it."""
        with self.gate:
            if self.idle.is_set():
                return self.snapshot()
            self.paused.clear()
            self.control[0] = PAUSE
        if self.cancelled:
            self.control[0] = CANCEL
        while not self.paused.wait(TICK):
            if self.idle.is_set():
                return self.snapshot()
        record, self.pending = self.pending, None
        assert record is not None
        return record

    def _phase(self, draws: NDArray[Any] | None, stats: NDArray[Any], stop: int, thin: int) -> bool:
        # the work area is sized by the user's options, not by what a warm-up that goes on has lowered
        lowered = self._own_options()
        self.keep_alive = self.kernel.fill_options(self.options[0], self.density.dim)
        chain = self._chain(self.rule if self.warm else None, self.memory if self.warm else None)
        self._set_options(lowered)
        status = protocol.OK
        if self.warm:
            self.memory = chain.memory
            if self.rule is not None and not self.started:
                status = chain.start_adaptation()
            self.started = status == protocol.OK
        self.progress[0] = self.position
        while status == protocol.OK:
            status = chain.run_block(self.position, stop, draws, stats, self.control, self.progress, thin)
            self.position = int(self.progress[0])
            if status != protocol.CANCELLED or self.control[0] != PAUSE:
                break
            self.pending = self.snapshot()
            self.control[0] = RUN
            if self.cancelled:
                self.control[0] = CANCEL
            self.paused.set()
            status = protocol.OK
        if self.warm:
            self.warmup_done = self.position
        if status == protocol.DENSITY_FATAL:
            self.error, self.fatal = getattr(chain, "error", None) or self.failure(), True
        if status != protocol.OK:
            return False
        if self.warm:
            self.position, self.memory = 0, None
            self.progress[0] = 0
        return True

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
