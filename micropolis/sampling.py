"""sample() and resume(): chains, threads, warm-up, progress, interruption and checkpoints."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks, protocol
from .chains import CANCEL, PAUSE, ChainJob
from .density import Density
from .errors import DensityError, InputError, InputTypeError, MicropolisError, SamplingWarning
from .protocol import Kernel
from .trace import Trace

BACKENDS = ("auto", "c", "numba", "python", "cuda")
TICK = 0.05  # seconds between two looks of the main thread at its workers; also the answer time to Ctrl-C
CHECKPOINT_PERIOD = 60.0


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
    dtype: str = "float64",
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
        (-2, 2) in every coordinate, drawn again until the log density is finite.
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
    dtype : "float64" or "float32"
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
        raise InputTypeError(f"kernel: expected a kernel such as NUTS(), got {type(kernel).__name__}")
    plan = {
        "draws": checks.integer("draws", draws, least=0),
        "warmup": checks.integer("warmup", warmup, least=0),
        "threads": None if threads is None else checks.integer("threads", threads, least=1),
        "thin": checks.integer("thin", thin, least=1),
        "backend": _backend(backend),
    }
    chains = checks.integer("chains", chains, least=1)
    streams = _streams(seed, chains)
    jobs = [ChainJob(i, kernel, density, streams[i], plan["warmup"], plan["backend"]) for i in range(chains)]
    _start(jobs, density, init)
    return _Run(jobs, density, plan, dtype, store, checkpoint, progress).go()


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
        As in `sample`.

    Returns
    -------
    Trace
        The new draws alone: bit for bit what one longer run would have given.

    Raises
    ------
    InputError
        If the density is missing or is not the one the trace was made with.

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
    if draws is None:
        draws = int(settings["draws"]) - trace.n_draws
        if draws <= 0:
            raise InputError("draws: the run was complete; say how many more draws to make")
    plan = {
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
    jobs = []
    for i, (kernel, state, rng, tuning) in enumerate(
        zip(trace.kernels, trace.states, trace.rng_states, trace.adaptation or [], strict=True)
    ):
        stream: np.random.BitGenerator = getattr(np.random, rng["bit_generator"])()
        stream.state = rng
        job = ChainJob(i, kernel, density, stream, int(tuning["warmup"]), plan["backend"])
        job.restore(state, tuning)
        _check_fingerprint(density, state, i)
        jobs.append(job)
    run = _Run(jobs, density, plan, trace.draws.dtype.name, store, checkpoint, progress)
    for job, extra in zip(jobs, trace.ragged or [], strict=False):
        done = min(len(extra["draws"]), plan["draws"])
        if len(extra["draws"]) > plan["draws"]:
            raise InputError(f"draws: chain {job.index} already has {len(extra['draws'])} more draws; ask for at least these")
        run.draws[job.index, :done], run.stats[job.index, :done] = extra["draws"], extra["stats"]
        job.position = done if not job.warm else job.position
    if trace.warmup_done < plan["warmup"]:
        run.warmup_stats[:, : trace.warmup_stats.shape[1]] = trace.warmup_stats
    else:
        run.warmup_stats = run.warmup_stats[:, :0]
    return run.go()


def _check_fingerprint(density: Density, state: dict[str, NDArray[Any]], chain: int) -> None:
    """The density must give the value that the trace recorded; another machine's libm may differ in the last bits."""
    recorded, now = float(state["logp"][0]), float(density(state["x"]))
    if not np.isclose(recorded, now, rtol=1e-9, atol=1e-9):
        raise InputError(
            f"density: not the one the trace was made with: at the last point of chain {chain} it is {now!r}, "
            f"the trace has {recorded!r}"
        )


def _backend(backend: Any) -> str:
    if backend not in BACKENDS:
        raise InputError(f"backend: expected one of {', '.join(map(repr, BACKENDS))}, got {backend!r}")
    if backend in ("numba", "cuda"):
        checks.extra("numba", "numba", f"backend={backend!r}")
    return "c" if backend == "auto" else str(backend)


def _streams(seed: Any, chains: int) -> list[np.random.BitGenerator]:
    """One SFC64 stream per chain: the fastest of NumPy's generators, and one that CUDA threads can run."""
    if isinstance(seed, np.random.Generator):
        seed = seed.bit_generator
    try:
        sequence: Any = seed.seed_seq if isinstance(seed, np.random.BitGenerator) else seed
        if not isinstance(sequence, np.random.SeedSequence):
            sequence = np.random.SeedSequence(sequence)
    except (TypeError, ValueError) as error:
        raise InputError(f"seed: expected None, a non-negative integer or a NumPy generator, got {seed!r}") from error
    return [np.random.SFC64(child) for child in sequence.spawn(chains)]


def _start(jobs: list[ChainJob], density: Density, init: Any) -> None:
    """Put every chain at its initial point, or say which one cannot start and why."""
    points: NDArray[np.float64] | None = None
    if isinstance(init, Mapping):
        if density.parameters is None:
            raise InputTypeError("init: a mapping needs a density with named parameters")
        points = np.tile(density.parameters.unconstrain(init), (len(jobs), 1))
    elif init is not None:
        points = checks.points("init", init, density.dim)
        if points.ndim > 2 or (points.ndim == 2 and len(points) != len(jobs)):
            raise InputError(
                f"init: expected shape ({density.dim},) or ({len(jobs)}, {density.dim}), got {points.shape}"
            )
        points = np.broadcast_to(points, (len(jobs), density.dim))
    for job in jobs:
        if points is not None and not np.all(np.isfinite(points[job.index])):
            raise InputError(f"init: expected finite numbers, got {points[job.index]} for chain {job.index}")
        status = job.random_start() if points is None else job.evaluate_start(points[job.index])
        if status == protocol.DENSITY_FATAL:
            cause = job.failure()
            raise _density_error(job, cause, "at its initial point") from cause
        if status == protocol.BAD_START:
            x, logp = job.buffers["x"], float(job.buffers["logp"][0])
            where = np.array2string(x, threshold=10)
            if points is None:
                raise InputError(
                    f"init: no point with a finite log density and gradient found for chain {job.index} in 100 tries "
                    f"on (-2, 2); the last was {where}, where the log density is {logp}. Pass init="
                )
            problem = "its gradient is not finite" if np.isfinite(logp) else "outside the support"
            raise InputError(
                f"init: chain {job.index} cannot start at {where}, where the log density is {logp}: {problem}"
            )


def _density_error(job: ChainJob, cause: BaseException, where: str) -> DensityError:
    point = getattr(job.handle.target, "where", None) if job.handle.target is not None else None
    at = "" if point is None else f" at x = {np.array2string(np.asarray(point), threshold=10)}"
    return DensityError(f"the log density failed in chain {job.index} {where}{at}: {type(cause).__name__}: {cause}")


class _Run:
    """One call of sample or resume: the arrays, the workers, and what the main thread does meanwhile."""

    def __init__(
        self, jobs: list[ChainJob], density: Density, plan: dict[str, Any], dtype: str, store: Any, checkpoint: Any,
        progress: bool | None,
    ) -> None:  # fmt: skip
        self.jobs, self.density, self.plan, self.progress = jobs, density, plan, progress
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        if dtype not in ("float64", "float32"):
            raise InputError(f"dtype: expected 'float64' or 'float32', got {dtype!r}")
        if self.checkpoint is not None and not self.checkpoint.parent.is_dir():
            raise InputError(f"checkpoint: the folder of {self.checkpoint} does not exist")
        shape = (len(jobs), plan["draws"], density.dim)
        info = jobs[0].kernel.INFO
        try:
            self.draws: NDArray[Any] = (
                np.empty(shape, dtype)
                if store is None
                else np.lib.format.open_memmap(store, mode="w+", dtype=dtype, shape=shape)  # type: ignore[no-untyped-call]
            )
            # not zeroed: fresh pages from calloc cost ten times as much as what the chain does to fill them
            self.stats = np.empty(shape[:2], info)
            self.warmup_stats = np.empty((shape[0], plan["warmup"]), info)
        except (OSError, ValueError, MemoryError) as error:
            where = "in memory" if store is None else f"in {store}"
            raise InputError(f"draws, store: no room for {shape} {dtype} numbers {where}: {error}") from error
        workers = len(jobs) if plan["threads"] is None else plan["threads"]
        if plan["threads"] is None:
            workers = min(workers, len(os.sched_getaffinity(0)))
        serial = density.holds_gil or plan["backend"] == "python"
        self.workers = 1 if serial else min(workers, len(jobs))
        self.began = time.monotonic()

    def go(self) -> Trace:
        if self.plan["backend"] == "cuda":
            from .cuda import run_jobs

            work: list[Callable[[], None]] = [lambda: run_jobs(self.jobs, self.draws, self.stats, self.warmup_stats, self.plan["thin"])]
        else:
            work = [self._task(job) for job in self.jobs]
        interrupted = False
        with ThreadPoolExecutor(self.workers, thread_name_prefix="micropolis") as pool:
            futures = [pool.submit(task) for task in work]
            futures *= len(self.jobs) // len(futures)  # one for each chain, also where one worker drives all
            try:
                interrupted = self._watch(futures)
            finally:
                if not all(future.done() for future in futures):
                    self._raise_flag(CANCEL)
                    wait(futures)
        for future in futures:
            future.result()
        trace = self.trace([job.snapshot() for job in self.jobs])
        failed = next((job for job in self.jobs if job.error is not None), None)
        if self.checkpoint is not None:
            trace.save(self.checkpoint)
        if failed is not None:
            self._fail(failed, trace)
        if not interrupted and self.plan["draws"] > 1:
            for sentence in trace.diagnose():
                warnings.warn(sentence, SamplingWarning, stacklevel=3)
        return trace

    def _task(self, job: ChainJob) -> Callable[[], None]:
        i, thin = job.index, self.plan["thin"]

        def run() -> None:
            if job.control[0] != CANCEL:
                job.run(self.draws[i], self.stats[i], self.warmup_stats[i], thin)
            if job.error is not None:
                self._raise_flag(CANCEL)

        return run

    def _raise_flag(self, flag: int) -> None:
        for job in self.jobs:
            job.control[0] = flag

    def _watch(self, futures: list[Future[None]]) -> bool:
        """Wait for the workers; show progress, write checkpoints, take Ctrl-C. True: interrupted."""
        from .progress import Bar

        steps = sum(job.warmup * job.warm + self.plan["draws"] for job in self.jobs)
        bar, saved = Bar(self.progress, steps), time.monotonic()
        try:
            while wait(futures, timeout=TICK).not_done:
                done = sum(int(job.progress[0]) + (0 if job.warm else job.warmup) for job in self.jobs)
                bar.update(done, sum(int(job.progress[1]) for job in self.jobs))
                if self.checkpoint is not None and time.monotonic() - saved > CHECKPOINT_PERIOD:
                    self.trace(self._snapshots(futures)).save(self.checkpoint)
                    saved = time.monotonic()
            return False
        except KeyboardInterrupt:
            self._raise_flag(CANCEL)
            wait(futures)
            return True
        finally:
            bar.close()

    def _snapshots(self, futures: list[Future[None]]) -> list[dict[str, Any]]:
        """A consistent record of every chain: running ones stop between two draws to write theirs."""
        records = []
        for job, future in zip(self.jobs, futures, strict=True):
            if future.running():
                job.paused.clear()
                job.control[0] = PAUSE
                while not job.paused.wait(TICK) and not future.done():
                    pass
            records.append(job.snapshot() if job.pending is None or future.done() else job.pending)
            job.pending = None
        return records

    def trace(self, records: list[dict[str, Any]]) -> Trace:
        """What is complete: chains cut to a common length, the rest in `ragged`."""
        counts = [record["position"] for record in records]
        common = min(counts)
        cut = common < self.plan["draws"]
        ragged = [
            {"draws": np.array(self.draws[i, common:n]), "stats": self.stats[i, common:n].copy()}
            for i, n in enumerate(counts)
        ]
        warmup_stats = self.warmup_stats
        if any(record["warmup_done"] < warmup_stats.shape[1] for record in records):
            warmup_stats = warmup_stats.copy()
            for i, record in enumerate(records):
                warmup_stats[i, record["warmup_done"] :] = np.zeros((), warmup_stats.dtype)
        elapsed = time.monotonic() - self.began
        return Trace(
            draws=self.draws[:, :common] if not cut else self.draws[:, :common].copy(),
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
            settings=dict(self.plan),
            adaptation=[record["adaptation"] for record in records],
        )

    def _fail(self, job: ChainJob, trace: Trace) -> None:
        error = job.error
        assert error is not None
        phase = "warm-up draw" if job.warm else "draw"
        if isinstance(error, MicropolisError) and not isinstance(error, DensityError):
            raise error
        wrapped = _density_error(job, error, f"at {phase} {job.position}")
        wrapped.trace = trace
        raise wrapped from error
