"""sample() and resume(): chains, threads, warm-up, progress, interruption and checkpoints."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import checks, pages, starts, storage, workers
from . import progress as progress_bar
from .chains import TICK, ChainJob
from .density import Density
from .errors import InputError, InputTypeError, SamplingWarning, TraceWriteError, outside
from .protocol import Kernel
from .trace import Trace

BACKENDS = ("auto", "c", "numba", "python", "cuda")
CHECKPOINT_PERIOD = 60.0
GRACE = 0.5  # seconds for a step that nobody waits for to end


def sample(
    density: Density,
    kernel: Kernel | None = None,
    *,
    draws: int = 1000,
    warmup: int = 1000,
    chains: int = 4,
    init: ArrayLike | Mapping[str, Any] | None = None,
    seed: Any = None,
    threads: int | None = None,
    thin: int = 1,
    progress: bool | None = None,
    backend: str = "auto",
    dtype: DTypeLike = "float64",
    store: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trace:
    """Run Markov chains on a density.

    Parameters
    ----------
    density : Density
    kernel : Kernel, optional
        Default ``NUTS()``.
    draws, warmup : int
        Kept draws and warm-up draws per chain, 0 or more.
    chains : int
        Number of chains, at least 1; each has its own random stream, spawned from `seed`.
    init : None, array (dim,) or (chains, dim), or mapping
        Initial points on the unconstrained scale, or ``{name: value}`` on the constrained one. None: uniform on
        (-2, 2) in every coordinate, drawn again until the log density is finite; a kernel that finds its step size
        in warm-up then leaves places where the log density climbs steeply, by some ten evaluations uphill.
    seed : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Draws are the same for any number of threads.
    threads : int, optional
        Chains run at once; default one per available core. Chains of a Python function run one after another.
    thin : int
        Steps per kept draw.
    progress : bool, optional
        Show a progress bar (needs tqdm). None: in a terminal or notebook, for runs of more than half a second.
    backend : "auto", "c", "numba", "python" or "cuda"
        "auto" is "c". The others run the readable source of the kernel: compiled by Numba, interpreted, or one chain
        per CUDA thread.
    dtype : "float64" or "float32", or a NumPy type of this name
        Of the stored draws; chains always run in float64.
    store : path, optional
        Keep the draws in this memory-mapped ``.npy`` file.
    checkpoint : path, optional
        Write what is there to this file every minute and at the end, for `resume`.

    Returns
    -------
    Trace
        After Ctrl-C with the draws that were complete.

    Raises
    ------
    InputError, InputTypeError
        Before anything runs, naming the argument.
    DensityError
        The log density failed; ``error.trace`` holds the draws made until then.

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Gaussian([0.0, 0.0]), draws=100, warmup=100, seed=1)
    >>> trace.draws.shape
    (4, 100, 2)
    """
    if not isinstance(density, Density):
        raise InputTypeError(
            f"density: expected a Density, got {type(density).__name__}; wrap a function by Density.from_numpy"
        )
    if kernel is None:
        from .hamiltonian.nuts import NUTS

        kernel = NUTS()
    if not isinstance(kernel, Kernel):
        raise InputTypeError(f"kernel: expected a kernel such as NUTS(), got {checks.kind(kernel)}")
    plan: dict[str, Any] = {
        "draws": checks.integer("draws", draws, least=0),
        "warmup": checks.integer("warmup", warmup, least=0),
        "threads": None if threads is None else checks.integer("threads", threads, least=1),
        "thin": checks.integer("thin", thin, least=1, most=2**31 - 1),
        "backend": _backend(backend),
    }
    chains = checks.integer("chains", chains, least=1)
    sink = storage.sink(dtype, store, checkpoint, density.files)
    progress_bar.check(progress)
    storage.check((chains, plan["draws"], density.dim), plan["warmup"], kernel.INFO, sink.dtype, sink.store)
    points = starts.initial_points(density, chains, init)
    streams = starts.streams(seed, chains)
    try:
        jobs = [ChainJob(i, kernel, density, streams[i], plan["warmup"], plan["backend"]) for i in range(chains)]
        for job in jobs:
            starts.start(job, points)
    except MemoryError as error:
        raise InputError(f"kernel: no memory for {chains} chains of dimension {density.dim}: {error}") from error
    return _Run(jobs, density, plan, plan["warmup"], sink, progress).go()


def resume(
    trace: Trace,
    draws: int | None = None,
    density: Density | None = None,
    *,
    threads: int | None = None,
    progress: bool | None = None,
    store: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Trace:
    """Go on where a run stopped.

    Parameters
    ----------
    trace : Trace
        Of `sample`, `resume`, `Trace.load`, or a checkpoint. A chain that was interrupted in warm-up finishes it first.
    draws : int, optional
        Draws per chain after those in ``trace.draws``. None: what an interrupted run still owed.
    density : Density, optional
        The density of the first run; library densities are rebuilt from the trace.
    threads, progress, store, checkpoint
        As in `sample`. Both files will hold the new draws alone: give other ones than those of the first run.

    Returns
    -------
    Trace
        The new draws alone: bit for bit what one longer run would have given.

    Raises
    ------
    InputError
        If the density is missing or is not the one the trace was made with, or if `store` or `checkpoint` is the file
        that the trace's own draws are in.

    Examples
    --------
    >>> import micropolis as mp
    >>> d = mp.densities.Gaussian([0.0, 0.0])
    >>> trace = mp.sample(d, draws=10, warmup=20, chains=1, seed=1)
    >>> more = mp.resume(trace, draws=10)
    >>> bool((more.draws == mp.sample(d, draws=20, warmup=20, chains=1, seed=1).draws[:, 10:]).all())
    True
    """
    if not isinstance(trace, Trace):
        raise InputTypeError(f"trace: expected a Trace, got {type(trace).__name__}; load a file by Trace.load")
    settings = trace.settings
    if trace.adaptation is None or not {"draws", "warmup", "backend"} <= settings.keys():
        raise InputError("trace: expected one that sample or resume made, got one without what a resumed run needs")
    if draws is None:
        draws = int(settings["draws"]) - trace.n_draws
        if draws <= 0:
            raise InputError("draws: the run was complete; say how many more draws to make")
    plan: dict[str, Any] = {
        "draws": checks.integer("draws", draws, least=0),
        "warmup": int(settings["warmup"]),
        "threads": None if threads is None else checks.integer("threads", threads, least=1),
        "thin": trace.thin,
        "backend": settings["backend"],
    }
    if density is None:
        if trace.recipe is None:
            raise InputError("density: the trace cannot rebuild its density; pass the one it was made with")
        from .densities import from_recipe

        density = from_recipe(*trace.recipe)
    if not isinstance(density, Density) or density.dim != trace.dim:
        raise InputError(f"density: expected a Density of dimension {trace.dim}, got {density!r}")
    for i, extra in enumerate(trace.ragged):
        if len(extra["draws"]) > plan["draws"]:
            raise InputError(f"draws: chain {i} already has {len(extra['draws'])} more draws; ask for at least these")
    sink = storage.sink(trace.draws.dtype.name, store, checkpoint, density.files)
    storage.check_other(sink, trace.draws, trace.file)
    warmup = plan["warmup"] if trace.warmup_done < plan["warmup"] else 0
    progress_bar.check(progress)
    storage.check((trace.n_chains, plan["draws"], trace.dim), warmup, trace.stats.dtype, sink.dtype, sink.store)
    jobs = []
    for i, (kernel, state, rng, tuning) in enumerate(
        zip(trace.kernels, trace.states, trace.rng_states, trace.adaptation, strict=True)
    ):
        stream: np.random.BitGenerator = getattr(np.random, rng["bit_generator"])()
        stream.state = rng
        job = ChainJob(i, kernel, density, stream, int(tuning["warmup"]), plan["backend"])
        job.restore(state, tuning)
        starts.check_fingerprint(density, state, i)
        jobs.append(job)
    run = _Run(jobs, density, plan, warmup, sink, progress)
    for job, extra in zip(jobs, trace.ragged, strict=False):
        done = len(extra["draws"])
        run.draws[job.index, :done], run.stats[job.index, :done] = extra["draws"], extra["stats"]
        job.position = done if not job.warm else job.position
    run.warmup_stats[:] = trace.warmup_stats[:, :warmup]
    return run.go()


def _backend(backend: Any) -> str:
    checks.choice("backend", backend, BACKENDS)
    if backend in ("numba", "cuda"):
        checks.extra("numba", "numba", f"backend={backend!r}")
    return "c" if backend == "auto" else str(backend)


class _Run:
    """One call of sample or resume: the arrays, the workers, and what the main thread does meanwhile."""

    def __init__(
        self, jobs: list[ChainJob], density: Density, plan: dict[str, Any], warmup: int, sink: storage.Sink,
        progress: bool | None,
    ) -> None:  # fmt: skip
        self.jobs, self.density, self.plan, self.checkpoint = jobs, density, plan, sink.checkpoint
        if plan["backend"] == "cuda":  # before a store is replaced
            from .cuda import check

            check(density, jobs[0].kernel)
        shape = (len(jobs), plan["draws"], density.dim)
        self.draws, self.stats, self.warmup_stats = storage.allocate(
            shape, warmup, jobs[0].kernel.INFO, sink.dtype, sink.store
        )
        threads = workers.available() if plan["threads"] is None else plan["threads"]
        serial = density.holds_gil or plan["backend"] == "python"
        self.workers = 1 if serial else min(threads, len(jobs))
        self.warm = [job for job in jobs if job.warm]
        self.bar = progress_bar.Bar(progress, sum(job.warmup for job in self.warm) + len(jobs) * plan["draws"])
        self.saves: list[Future[None]] = []
        self.began = time.monotonic()

    def go(self) -> Trace:
        if self.plan["backend"] == "cuda":
            from .cuda import run_jobs

            work: list[Callable[[], None]] = [
                lambda: run_jobs(self.jobs, self.draws, self.stats, self.warmup_stats, self.plan["thin"])
            ]
        else:
            work = [self._task(job) for job in self.jobs]
        interrupted = False
        futures: list[Future[None]] = []
        ahead = pages.made_ready(self.draws, lambda: [0 if job.warm else int(job.progress[0]) for job in self.jobs])
        with ahead, workers.pool(self.workers) as pool:
            try:
                for task in work:
                    futures.append(pool.submit(task))
                self._watch(futures)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                self._cancel()
                self._settle(futures)
            if interrupted:
                workers.give_up(pool)
        try:
            for future in futures:
                future.result()
            trace = self.trace([job.snapshot() for job in self.jobs])
        except KeyboardInterrupt:  # it came when all was done: hand that over
            interrupted = True
            trace = self.trace([job.snapshot() for job in self.jobs])
        failed = next((job for job in self.jobs if job.error is not None), None)
        try:
            self._save(trace)
            if failed is None and not interrupted and self.plan["draws"] > 1:
                for sentence in trace.diagnose():
                    warnings.warn(sentence, SamplingWarning, stacklevel=outside())
        except KeyboardInterrupt:
            pass  # what was drawn is there to return
        if failed is not None:
            self._fail(failed, trace)
        return trace

    def _task(self, job: ChainJob) -> Callable[[], None]:
        i, thin = job.index, self.plan["thin"]

        def run() -> None:
            job.run(self.draws[i], self.stats[i], self.warmup_stats[i], thin)
            if job.error is not None:
                self._cancel()

        return run

    def _settle(self, futures: list[Future[None]]) -> None:
        """Wait until no worker runs, however often Ctrl-C is pressed: each stops before its next step."""
        settled = False
        while not settled:
            with contextlib.suppress(KeyboardInterrupt):
                if wait(futures, GRACE).not_done:
                    for job in self.jobs:
                        job.break_off()
                wait(futures)
                # a Ctrl-C inside submit() leaves a worker that the pool does not know
                settled = all(job.idle.wait() for job in self.jobs)

    def _cancel(self) -> None:
        for job in self.jobs:
            job.cancel()

    def _watch(self, futures: list[Future[None]]) -> None:
        """Wait for the workers; show progress and write checkpoints."""
        saved = time.monotonic()
        try:
            while wait(futures, timeout=TICK).not_done:
                self._show()
                for job in self.jobs:
                    job.mark_soon()
                if self.checkpoint is not None and time.monotonic() - saved > CHECKPOINT_PERIOD:
                    self._save(self.trace([job.record() for job in self.jobs]))
                    saved = time.monotonic()
            self._show()
        finally:
            self.bar.close()

    def _show(self) -> None:
        warm = sum(job.warmup for job in self.warm if not job.warm)
        done = warm + sum(int(job.progress[0]) for job in self.jobs)
        self.bar.update(done, sum(int(job.progress[1]) for job in self.jobs))

    def _save(self, trace: Trace) -> None:
        """Write the checkpoint; a full disk is no reason to lose the run."""
        if self.checkpoint is not None:
            wait(self.saves)  # one that a Ctrl-C left behind must not replace this one
            try:
                with workers.pool(1) as pool:  # not here: a Ctrl-C would meet the file's writer anywhere
                    self.saves = [pool.submit(trace.save, self.checkpoint)]
                    self.saves[0].result()
            except TraceWriteError as error:
                message = f"checkpoint: {error}; the run goes on without"
                warnings.warn(message, SamplingWarning, stacklevel=outside())

    def trace(self, records: list[dict[str, Any]]) -> Trace:
        """What is complete: chains cut to a common length, the rest in `ragged`."""
        counts = [record["position"] for record in records]
        common = min(counts)
        cut = common < self.plan["draws"]
        # a memory map may be larger than memory
        keep = np.asarray if isinstance(self.draws, np.memmap) else np.array
        ragged = [
            {"draws": keep(self.draws[i, common:n]), "stats": self.stats[i, common:n].copy()}
            for i, n in enumerate(counts)
        ]
        warmup_stats = self.warmup_stats
        if any(record["warmup_done"] < warmup_stats.shape[1] for record in records):
            warmup_stats = warmup_stats.copy()
            for i, record in enumerate(records):
                warmup_stats[i, record["warmup_done"] :] = np.zeros((), warmup_stats.dtype)
        elapsed = time.monotonic() - self.began
        return Trace(
            draws=keep(self.draws[:, :common]) if cut else self.draws[:, :common],
            stats=self.stats[:, :common] if not cut else self.stats[:, :common].copy(),
            warmup_stats=warmup_stats,
            kernels=tuple(record["kernel"] for record in records),
            names=self.density.names,
            parameters=self.density.parameters,
            states=[record["state"] for record in records],
            rng_states=[record["rng"] for record in records],
            thin=self.plan["thin"],
            recipe=getattr(self.density, "recipe", None),
            ragged=ragged if any(n > common for n in counts) else [],
            warmup_done=min(record["warmup_done"] for record in records),
            seconds=(elapsed,),
            settings={**self.plan, "likelihood": getattr(self.density, "_likelihood", None)},
            adaptation=[record["adaptation"] for record in records],
        )

    def _fail(self, job: ChainJob, trace: Trace) -> None:
        error = job.error
        assert error is not None
        if not job.fatal:  # memory, a missing extra: not the density
            vars(error)["trace"] = trace
            raise error
        phase = "warm-up draw" if job.warm else "draw"
        wrapped = starts.density_error(job, error, f"at {phase} {job.position}")
        wrapped.trace = trace
        raise wrapped from error
