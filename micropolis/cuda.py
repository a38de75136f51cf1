"""backend="cuda": one chain per CUDA thread, from the readable source of the kernels.

Step, warm-up, loop over draws and random stream are the sources that the other backends run, compiled by
``numba.cuda.jit(device=True)``. This module has been run in Numba's CUDA simulator, where chains equal those on the CPU
bit for bit, and compiled to PTX; it has not been run on hardware. There, products and sums may be fused and CUDA's exp
and log round differently, so chains follow the same law but not the same bits.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .adaptation.rule import ADAPTATION
from .adaptation.windows import work_size
from .chains import PAUSE, ChainJob
from .density import Density
from .errors import KernelError
from .jit import compile_readable
from .protocol import CANCEL, OK, RUN, Kernel
from .readable import make_chain, with_code
from .sfc64 import sfc64_random

# Kernels find `cuda` among the globals of this module: the simulator replaces it there while they run.
checks.extra("numba_cuda", "cuda", "backend='cuda'")
cuda: Any = checks.extra("numba.cuda", "cuda", "backend='cuda'")

THREADS_PER_BLOCK = 64
FIRST_BLOCK = 16  # draws of the first launch; later ones take SHORT to LONG seconds, so that Ctrl-C is answered
SHORT, LONG = 0.1, 0.5


def check(density: Density, kernel: Kernel) -> None:
    """Raise where the pair cannot run on this machine's CUDA device.

    Raises
    ------
    KernelError
        Without a device (or the simulator, ``NUMBA_ENABLE_CUDASIM=1``), or for a density or kernel that exists in
        compiled form only.
    """
    if kernel.make_step is None:
        raise KernelError(f"backend='cuda': {type(kernel).__name__} has no readable source; use backend='c'")
    kernel.check_backend("cuda")
    if density.readable is None:
        raise KernelError(
            f"backend='cuda': {type(density).__name__} exists as compiled CPU code only; give its source with "
            "Density.from_numba, or use backend='c'"
        )
    if not cuda.is_available():
        raise KernelError("backend='cuda': no CUDA device or driver found on this machine; use backend='c'")


def make_kernel(kernel: type[Kernel], function: Any, jit: Any = None) -> tuple[Any, Any]:
    """The CUDA kernels (warm-up draws, draws) of a kernel class and a readable density ``f(x, grad, data)``."""
    device = functools.partial(cuda.jit, device=True)
    density = with_code(device, compile_readable(function, device, device=True))
    chain = make_chain(device, device, kernel, density, sfc64_random(device))
    rows = _row_of(device, len(kernel.BUFFERS))

    def make(run: Any) -> Any:
        def kernel(  # type: ignore[no-untyped-def]
            options, scale, table, data, rng, state, work, rule, memory, warmup_work, thin, draws, stats, start, stop,
            control, progress, status,
        ):  # fmt: skip
            i = cuda.grid(1)
            if i < status.size and status[i] == OK:
                status[i] = run(
                    options[i], scale[i], table, data, rng[i], rows(state, i), work[i], rule[0], memory[i],
                    warmup_work[i], thin, draws[i], stats[i], start[i], start[i], stop[i], control[i], progress[i],
                )  # fmt: skip

        return (jit or cuda.jit)(kernel)

    return make(chain.warm), make(chain.sample)


_compiled = functools.lru_cache(maxsize=32)(make_kernel)


def _row_of(device: Any, n_buffers: int) -> Any:
    """rows(state, i): the tuple of row i of every buffer."""
    last = n_buffers - 1
    if last == 0:
        return device(lambda state, i: (state[0][i],))
    before, single = _row_of(device, last), device(lambda state, i: (state[last][i],))
    return device(lambda state, i: before(state, i) + single(state, i))


def run_jobs(
    jobs: list[ChainJob], draws: NDArray[Any], stats: NDArray[Any], warmup_stats: NDArray[Any], thin: int
) -> None:
    """Run all chains to their end, warm-up first; what became of each is in its job, as `ChainJob.run` leaves it.

    Parameters
    ----------
    jobs : list of ChainJob
    draws : array (chains, n, dim), float64 or float32
    stats, warmup_stats : structured arrays (chains, n) and (chains, warmup)
    thin : int
    """
    check(jobs[0].density, jobs[0].kernel)
    for job in jobs:
        if not isinstance(job.bit_generator, np.random.SFC64):
            raise KernelError(f"backend='cuda': needs SFC64 streams, got {type(job.bit_generator).__name__}")
    try:
        for job in jobs:
            with job.gate:
                if job.cancelled:
                    return
                job.idle.clear()
        warm = [job for job in jobs if job.warm]
        if warm and not _Phase(warm, None, warmup_stats, 1).go():
            return
        for job in warm:
            job.warm, job.position, job.memory = False, 0, None
            job.progress[0] = 0
        _Phase(jobs, draws, stats, thin).go()
    except BaseException as error:  # handed to the main thread, which raises it with the draws
        for job in jobs:
            job.error = error
    finally:
        for job in jobs:
            job.idle.set()


class _Phase:
    """Warm-up or sampling of some chains: their arrays stacked on the device, and the launches."""

    def __init__(self, jobs: list[ChainJob], draws: NDArray[Any] | None, stats: NDArray[Any], thin: int) -> None:
        self.jobs, self.draws, self.stats, self.thin, first = jobs, draws, stats, thin, jobs[0]
        self.dim, self.stop = first.density.dim, stats.shape[1]
        self.adapting = draws is None and first.rule is not None
        for job in jobs:
            self._start(job)
        assert first.density.readable is not None
        function, data = first.density.readable
        kernels = _compiled(type(first.kernel), function)
        self.kernel, n = kernels[0 if self.adapting else 1], len(jobs)
        rule = first.rule if self.adapting else np.zeros(1, dtype=ADAPTATION)
        memory = [np.zeros(1) if job.memory is None else job.memory for job in jobs]
        self.data = 0.0 if data is None else _on_device(data)
        self.table, self.rule = cuda.to_device(_nonempty(first.kernel.table())), cuda.to_device(rule)
        self.options = cuda.to_device(np.concatenate([job.options for job in jobs]))
        self.scale = cuda.to_device(np.stack([job.scale for job in jobs]))
        self.rng = cuda.to_device(np.stack([_words(job) for job in jobs]))
        self.state = tuple(
            cuda.to_device(np.stack(rows)) for rows in zip(*(job.buffers.values() for job in jobs), strict=True)
        )
        self.memory = cuda.to_device(np.stack(memory))
        self.work = cuda.device_array((n, first.kernel.work_rows(self.dim), self.dim))
        self.warmup_work = cuda.device_array((n, work_size(self.dim) if self.adapting else 1))
        self.control = cuda.to_device(np.zeros((n, 1), dtype=np.int32))

    def _start(self, job: ChainJob) -> None:
        """Warm-up before the first draw, on the host."""
        job.progress[0] = job.position
        if not (self.adapting and not job.started):
            return
        chain = job._chain(job.rule, job.memory)
        job.memory = chain.memory
        if chain.start_adaptation() != OK:
            raise job.failure(exact=False)
        job.started = True

    def go(self) -> bool:
        """Launch blocks of draws until all chains are done: True, or False where one failed or all were cancelled."""
        block = FIRST_BLOCK
        while any(job.position < self.stop for job in self.jobs):
            began = time.perf_counter()
            start = np.array([job.position for job in self.jobs])
            stop = np.minimum(start + block, self.stop)
            failed = self._launch(start, stop, block)
            requests = [int(job.control[0]) for job in self.jobs]
            if failed is not None or any(request != RUN for request in requests):
                self._fetch()
                for job in self.jobs:
                    if job.control[0] == PAUSE:
                        job.pending = job.snapshot()
                        job.control[0] = CANCEL if job.cancelled else RUN
                        job.paused.set()
            if failed is not None:
                self.jobs[failed].error, self.jobs[failed].fatal = self.jobs[failed].failure(exact=False), True
            if failed is not None or CANCEL in requests:
                return False
            seconds = time.perf_counter() - began
            block = 2 * block if seconds < SHORT else max(1, block // 2) if seconds > LONG else block
        self._fetch()
        return True

    def _launch(self, start: NDArray[np.int64], stop: NDArray[np.int64], block: int) -> int | None:
        """Draws start .. stop - 1 of every chain; the first chain that failed."""
        n = len(self.jobs)
        kept = np.zeros((n, 1, 0)) if self.draws is None else np.zeros((n, block, self.dim), self.draws.dtype)
        stats = np.zeros((n, block), dtype=self.stats.dtype)
        progress, status = np.zeros((n, 2), dtype=np.int64), np.zeros(n, dtype=np.int64)
        arrays = [cuda.to_device(array) for array in (kept, stats, start, stop, progress, status)]
        threads = min(n, THREADS_PER_BLOCK)
        self.kernel[(n + threads - 1) // threads, threads](
            self.options, self.scale, self.table, self.data, self.rng, self.state, self.work, self.rule, self.memory,
            self.warmup_work, self.thin, *arrays[:4], self.control, *arrays[4:],
        )  # fmt: skip
        kept, stats, _, _, progress, status = (array.copy_to_host() for array in arrays)
        failed = None
        for i, job in enumerate(self.jobs):
            done = int(progress[i, 0]) - int(start[i]) if progress[i, 0] else 0
            rows = slice(int(start[i]), int(start[i]) + done)
            self.stats[job.index, rows] = stats[i, :done]
            if self.draws is not None:
                self.draws[job.index, rows] = kept[i, :done]
            job.position = int(start[i]) + done
            if job.warm:
                job.warmup_done = job.position
            job.progress[0], job.progress[1] = job.position, job.progress[1] + progress[i, 1]
            if status[i] < 0 and failed is None:
                failed = i
        return failed

    def _fetch(self) -> None:
        """State, tuning, stream and warm-up memory back into the jobs."""
        options, scale, rng, memory = (a.copy_to_host() for a in (self.options, self.scale, self.rng, self.memory))
        state = [buffer.copy_to_host() for buffer in self.state]
        for i, job in enumerate(self.jobs):
            job.options[0], job.scale[:] = options[i], scale[i]
            for buffer, rows in zip(job.buffers.values(), state, strict=True):
                buffer[...] = rows[i]
            if self.adapting and job.memory is not None:
                job.memory[:] = memory[i]
            stream = job.bit_generator.state
            stream["state"]["state"] = rng[i]
            job.bit_generator.state = stream


def _words(job: ChainJob) -> NDArray[np.uint64]:
    words: NDArray[np.uint64] = job.bit_generator.state["state"]["state"]
    return words


def _nonempty(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array if array.size else np.zeros(1)


def _on_device(data: Any) -> Any:
    """The density's data with its arrays on the device."""
    if isinstance(data, tuple):
        entries = [_on_device(entry) for entry in data]
        return type(data)(*entries) if hasattr(data, "_fields") else tuple(entries)
    return cuda.to_device(np.ascontiguousarray(data)) if isinstance(data, np.ndarray) else data
