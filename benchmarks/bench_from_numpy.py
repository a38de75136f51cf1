"""`Density.from_numpy` against what a good user would write by hand in Numba, and against PyMC and JAX.

    pytest benchmarks/bench_from_numpy.py                                    # nanoseconds, and the ratio as a figure
    python -P benchmarks/bench_from_numpy.py                                 # the table: ratios, build times
    python -P benchmarks/bench_from_numpy.py --models schools nes --pymc --jax
    python -P benchmarks/bench_from_numpy.py --nuts                          # NUTS end to end against PyMC with nutpie

All but JAX are called through the same C pointer, in one process, in short batches in turns; a ratio is that of the
least batches of a turn, and the median over turns is reported. PyMC's is the function that nutpie compiles of the model
(PyTensor's gradient through Numba); without nutpie it is PyTensor's own compiled function, called from Python as JAX's
is. Build is from the call of from_numpy to the end of the first evaluation, the median of five builds after the first
one. A machine that others use shows as a wide spread; it moves both sides of a ratio.

Floor. What no way of writing a model avoids, with n rows, k columns (madd: multiply-add, 2 flops; a vector unit of 256
bits does 8 in a cycle, loads 64 bytes from L1, and with vectorised functions takes 4-5 cycles for an exp, 5-7 for a
log, of one element; a scalar libm call is 15-25 cycles). Constants are read once, except where X is used from both
sides and does not stay in L1: twice, or once if value and gradient share the pass.

| model | operations | bytes read |
|---|---|---|
| schools | 8 rows of 8 flops; 1 exp, 1 log1p, 2 divisions, in a chain of some 60 cycles; the call itself 2-3 ns | 300 |
| kidiq, nes, earnings, ark, blr, mesquite | 2 n k + 2 n madd; 1 exp | 8 n (k + 1): 17 kB, 56 kB, 48 kB, .. |
| logistic, logistic_large | 2 n k madd; n exp, n log1p, n divisions | 8 n (k + 1): 0.2 MB from L2; 8.2 MB from L3 |
| nes_logit | 4 n madd; n exp, n log1p, n divisions (5 n with five different incomes) | 16 n: 19 kB |
| poisson | 2 n k madd; n exp | 8 n (k + 1): 44 kB |
| robust | 2 n k madd; n log1p, n divisions; 2 gammaln and 2 digamma, some 200 ns | 8 n (k + 1): 10 kB |
| radon, radon_slopes | 4 n (6 n) madd, a gather and a scatter of n for each group; 2 exp | 24 n: 22 kB |
| groups | 8 n flops; 1 exp, 1 log1p | 16 n of data, 8 n of x, 8 n of gradient written: 32 kB |
| election | 12 n madd, three gathers and scatters of n; n exp, n log1p, n divisions | 48 n: 96 kB |
| mixture, mixture_logsumexp | 20 n flops; n exp, n log1p, n divisions (logsumexp: one exp more) | 8 n: 8 kB |
| mixture3 | 35 n flops; 3 n exp, n log, n divisions | 8 n: 8 kB |
| garch | 15 n flops, n logs, n divisions; a chain of n times one madd (4 cycles), the rest beside it | 8 n: 1.6 kB |
| hmm, hmm100 | 30 n flops; n exp, n log, n divisions; two chains of n times 2 madd and a division (25 cycles) | 8 n |
| gp11, gp100, .. | n^2 / 2 exp; n^3 / 6 madd each for factor, inverse factor and inverse | 16 n^2: 160 kB at 100 |
| gp_poisson | n^2 / 2 exp; n^3 / 2 madd for factor and adjoint, n square roots and divisions in a chain | 8 n^2: 1 kB |
| dugongs | 8 n flops; n exp | 16 n: 432 |
| dogs | 4 n madd; n exp, n log1p, n divisions | 17 n: 12 kB |
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one chain has one core
sys.path.insert(0, str(Path(__file__).resolve().parent))  # `python -P` leaves the script's folder out

import numpy as np
import pytest
from numpy_models import MODELS, TEN, THIRTEEN, NumpyModel, agree, check
from timing import pointer_loop

import micropolis as mp

BATCH = 1e-3  # seconds of calls on one side at a time
BATCHES = 7  # of each side in a turn: on a shared machine noise only adds
THREADS = 2


# -- as benchmarks of pytest ------------------------------------------------------------------------------------------


def built(model: NumpyModel) -> Any:
    try:
        return model.from_numpy()
    except mp.errors.MissingExtraError as error:
        pytest.skip(str(error))


def calls_for(loop: Callable[[int], Any], seconds: float = BATCH) -> int:
    """Calls of `loop` that take about that long."""
    calls = 1
    while True:
        begin = time.perf_counter()
        loop(calls)
        if (spent := time.perf_counter() - begin) > seconds / 8:
            return max(1, round(calls * seconds / spent))
        calls *= 8


@pytest.mark.parametrize("way", ["from_numpy", "from_numba"])
@pytest.mark.parametrize("name", MODELS)
def test_value_and_gradient(benchmark, figure, name, way):
    model = MODELS[name]()
    loop = pointer_loop(built(model) if way == "from_numpy" else model.from_numba())
    calls = calls_for(loop)
    benchmark.pedantic(loop, args=(calls,), rounds=7, warmup_rounds=1)
    if benchmark.stats is not None:
        figure(f"{model.title}, {way}", 1e9 * benchmark.stats.stats.min / calls, "ns")


@pytest.mark.parametrize("name", MODELS)
def test_ratio(benchmark, figure, name):
    model = MODELS[name]()
    density = built(model)
    check(model, density)
    loops = {"from_numpy": pointer_loop(density), "Numba": pointer_loop(model.from_numba())}
    times = benchmark.pedantic(in_turns, args=(loops, 9), rounds=1)
    figure(f"{model.title}, from_numpy / Numba", median_ratio(times, "from_numpy", "Numba"), "")


@pytest.mark.parametrize("name", MODELS)
def test_build(benchmark, name):
    model = MODELS[name]()
    built(model)
    benchmark.pedantic(ready, args=(model,), rounds=5)


# -- the table --------------------------------------------------------------------------------------------------------


def in_turns(loops: dict[str, Callable[[int], Any]], turns: int) -> dict[str, list[float]]:
    """Seconds of one call on each side, in each of `turns`: the least of BATCHES, the sides taken in turns."""
    calls = {side: calls_for(loop) for side, loop in loops.items()}
    times: dict[str, list[float]] = {side: [] for side in loops}
    for _ in range(turns):
        least = dict.fromkeys(loops, np.inf)
        for batch in range(BATCHES):
            for side in list(loops)[:: 1 if batch % 2 else -1]:
                begin = time.perf_counter()
                loops[side](calls[side])
                least[side] = min(least[side], (time.perf_counter() - begin) / calls[side])
        for side, seconds in least.items():
            times[side].append(seconds)
    return times


def median_ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    """Median over turns of one side's time over another's."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def ready(model: NumpyModel) -> Any:
    """A new density from NumPy, evaluated once."""
    density = model.from_numpy()
    density.value_and_grad(np.linspace(-1, 1, model.dim))
    return density


def build_seconds(model: NumpyModel, builds: int) -> float:
    """Median time from the call of from_numpy to the end of the first evaluation."""
    times = []
    for _ in range(builds):
        begin = time.perf_counter()
        ready(model)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class Peer(NamedTuple):
    """Another library's form of a model: `loop(n)` makes n calls."""

    loop: Callable[[int], Any]
    value_and_grad: Callable[[Any], Any]


def nutpie_model(model: NumpyModel) -> Any:
    """The PyMC model as nutpie compiles it."""
    import nutpie

    assert model.pymc is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nutpie.compile_pymc_model(model.pymc(), default_initialization_strategy="support_point")


def pymc_peer(model: NumpyModel) -> Peer:
    """PyMC's log density and gradient, by nutpie's C function where nutpie is installed."""
    try:
        import nutpie  # noqa: F401
    except ImportError:
        return pytensor_peer(model)
    compiled = nutpie_model(model)
    density = mp.Density.from_pointer(
        compiled.compiled_logp_func.address, model.dim, user_data=compiled.user_data.ctypes.data, keep_alive=compiled
    )
    return Peer(pointer_loop(density), density.value_and_grad)


def pytensor_peer(model: NumpyModel) -> Peer:
    """PyMC's log density and gradient as one function of the raveled coordinates, called from Python."""
    import pytensor
    from pymc.pytensorf import join_nonshared_inputs

    assert model.pymc is not None
    pymc_model = model.pymc()
    (logp,), joined = join_nonshared_inputs(pymc_model.initial_point(), [pymc_model.logp()], pymc_model.value_vars)
    try:
        function = pytensor.function([joined], [logp, pytensor.grad(logp, joined)], mode="NUMBA")
    except Exception as error:
        print(f"{model.name}: PyTensor's Numba mode does not compile it ({type(error).__name__})", file=sys.stderr)
        function = pytensor.function([joined], [logp, pytensor.grad(logp, joined)])
    function.trust_input = True
    return from_python(model, function)


def jax_peer(model: NumpyModel) -> Peer:
    """The same code under jax.numpy, jitted, float64 on the CPU; the time includes JAX's dispatch."""
    import jax

    jax.config.update("jax_enable_x64", True)
    function = jax.jit(jax.value_and_grad(model.jax_logp()))
    return from_python(model, lambda x: jax.block_until_ready(function(x)))


def from_python(model: NumpyModel, function: Callable[[Any], Any]) -> Peer:
    x = np.linspace(-1, 1, model.dim)
    function(x)

    def loop(n: int) -> None:
        for _ in range(n):
            function(x)

    return Peer(loop, function)


PEERS: dict[str, Callable[[NumpyModel], Peer]] = {"PyMC": pymc_peer, "JAX": jax_peer}


def row(model: NumpyModel, peers: Sequence[str], turns: int, builds: int) -> tuple[str, float]:
    """A line of the table, and the ratio of from_numpy to Numba."""
    density = model.from_numpy()
    check(model, density)
    seconds = build_seconds(model, builds)
    loops: dict[str, Callable[[int], Any]] = {
        "from_numpy": pointer_loop(density),
        "Numba": pointer_loop(model.from_numba()),
    }
    for name in peers:
        if name == "PyMC" and model.pymc is None:
            continue
        try:
            peer = PEERS[name](model)
            agree(model, name, peer.value_and_grad, tolerance=1e-6)
            loops[name] = peer.loop
        except Exception as error:  # a peer that fails on a model leaves its column empty
            print(f"{model.name}: {name}: {type(error).__name__}: {str(error)[:400]}", file=sys.stderr)
    times = in_turns(loops, turns)
    ratios = [a / b for a, b in zip(times["from_numpy"], times["Numba"], strict=True)]
    ratio = statistics.median(ratios)
    cells = [model.title, *(f"{1e9 * statistics.median(times[side]):,.0f}" for side in ("from_numpy", "Numba"))]
    cells += [f"{ratio:.2f} ({min(ratios):.2f} .. {max(ratios):.2f})", f"{1e3 * seconds:.1f}"]
    for name in peers:
        if name in times:
            cells += [f"{1e9 * statistics.median(times[name]):,.0f}", f"{median_ratio(times, 'from_numpy', name):.2f}"]
        else:
            cells += ["-", "-"]
    return "| " + " | ".join(cells) + " |", ratio


def table(names: Sequence[str], peers: Sequence[str], turns: int, builds: int) -> None:
    """Print the table of one value with gradient."""
    heads = ["model", "from_numpy, ns", "Numba, ns", "from_numpy / Numba", "build, ms"]
    for peer in peers:
        heads += [f"{peer}, ns", f"from_numpy / {peer}"]
    print("| " + " | ".join(heads) + " |\n|---" + "|--:" * (len(heads) - 1) + "|", flush=True)
    ratios = {}
    for name in names:
        model = MODELS[name]()
        try:
            line, ratios[name] = row(model, peers, turns, builds)
        except (mp.errors.MicropolisError, AssertionError) as error:
            message = " ".join(str(error).split())[:160]
            line = f"| {model.title} | {type(error).__name__}: {message} |" + " |" * (len(heads) - 2)
        print(line, flush=True)
    print()
    for what, chosen in (("the ten models", TEN), ("all models", names)):
        there = [ratios[name] for name in chosen if name in ratios]
        if there:
            missing = "" if len(there) == len(chosen) else f" ({len(there)} of {len(chosen)})"
            print(f"Geometric mean of from_numpy / Numba over {what}{missing}: {statistics.geometric_mean(there):.2f}")


# -- NUTS end to end --------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A sampling: seconds, and the least bulk ESS over the elements of all parameters."""

    seconds: float
    ess: float

    @property
    def rate(self) -> float:
        return self.ess / self.seconds


def minimum_ess(draws: dict[str, Any]) -> float:
    """Least bulk effective sample size (ArviZ's, rank-normalised) of draws {name: (chains, draws, *shape)}."""
    import arviz

    least = np.inf
    for values in draws.values():
        columns = np.reshape(values, (*values.shape[:2], -1))
        for i in range(columns.shape[2]):
            least = min(least, float(arviz.ess(np.ascontiguousarray(columns[:, :, i]), method="bulk")))
    return least


def micropolis_run(model: NumpyModel, density: Any, draws: int, seed: int) -> Run:
    """Four chains of NUTS on a density from NumPy."""
    begin = time.perf_counter()
    trace = mp.sample(
        density, mp.NUTS(), draws=draws, warmup=draws, chains=4, threads=THREADS, seed=seed, progress=False
    )
    seconds = time.perf_counter() - begin
    return Run(seconds, minimum_ess({name: trace[name] for name in model.parameters}))


def nutpie_run(model: NumpyModel, compiled: Any, draws: int, seed: int) -> Run:
    """Four chains of nutpie on its PyMC model, up to its Arrow record batches."""
    import nutpie
    import pyarrow

    begin = time.perf_counter()
    trace = nutpie.sample(
        compiled,
        draws=draws,
        tune=draws,
        chains=4,
        cores=THREADS,
        seed=seed,
        target_accept=0.8,
        progress_bar=False,
        return_raw_trace=True,
    )
    seconds = time.perf_counter() - begin
    batches, _ = trace.get_arrow_trace()
    found = {}
    for name in model.parameters:
        columns = [pyarrow.array(batch.column(name)) for batch in batches]
        flat = [
            (c if pyarrow.types.is_floating(c.type) else c.flatten()).to_numpy(zero_copy_only=False) for c in columns
        ]
        found[name] = np.stack([values.reshape(2 * draws, -1)[draws:] for values in flat])
    return Run(seconds, minimum_ess(found))


def nuts(names: Sequence[str], repeats: int, draws: int) -> None:
    """Print the table of whole runs: from_numpy against PyMC with nutpie, both compiled beforehand."""
    warnings.simplefilter("ignore")
    print(f"NUTS, 4 chains x ({draws} warm-up + {draws} draws), {THREADS} threads; least bulk ESS over parameters.\n")
    print(
        "| model | micropolis, s | ESS | ESS/s | build, s | nutpie, s | ESS | ESS/s | compile, s | ESS/s, ratio |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        flush=True,
    )
    ratios = []
    for name in names:
        model = MODELS[name]()
        if model.pymc is None:
            continue
        cells, runs = [model.title], []
        try:
            begin = time.perf_counter()
            density = ready(model)
            build = time.perf_counter() - begin
            compiled = nutpie_model(model)
            compile_time = time.perf_counter() - begin - build
            micropolis_run(model, density, 50, 0)
            nutpie_run(model, compiled, 50, 0)
            for repeat in range(repeats):
                pair = {}
                for side in (0, 1) if repeat % 2 else (1, 0):
                    run = (micropolis_run, nutpie_run)[side]
                    pair[side] = run(model, (density, compiled)[side], draws, 1000 + repeat)
                runs.append((pair[0], pair[1]))
        except Exception as error:  # the others go on
            print(f"| {model.title} | {type(error).__name__}: {' '.join(str(error).split())[:160]} |" + " |" * 8)
            continue
        for side, extra in ((0, build), (1, compile_time)):
            seconds, ess, rate = (
                statistics.median(getattr(pair[side], field) for pair in runs) for field in ("seconds", "ess", "rate")
            )
            cells += [f"{seconds:.3f}", f"{ess:.0f}", f"{rate:,.0f}", f"{extra:.2f}"]
        ratio = statistics.median(ours.rate / theirs.rate for ours, theirs in runs)
        ratios.append(ratio)
        print("| " + " | ".join([*cells, f"{ratio:.2f}"]) + " |", flush=True)
    if ratios:
        print(f"\nGeometric mean of the ratios over {len(ratios)} models: {statistics.geometric_mean(ratios):.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", metavar="NAME", choices=MODELS, help=f"of {', '.join(MODELS)}")
    parser.add_argument("--ten", action="store_true", help="the ten models of the geometric mean alone")
    parser.add_argument("--turns", type=int, default=9, help="alternations, at least 9 for a figure")
    parser.add_argument("--builds", type=int, default=5)
    parser.add_argument("--pymc", action="store_true", help="a column for PyMC (needs pymc; nutpie, where installed)")
    parser.add_argument("--jax", action="store_true", help="a column for JAX (needs jax)")
    parser.add_argument("--nuts", action="store_true", help="NUTS end to end (needs pymc, nutpie, arviz)")
    parser.add_argument("--repeats", type=int, default=3, help="of --nuts")
    parser.add_argument("--draws", type=int, default=1000, help="of --nuts: draws, and as many for warm-up")
    options = parser.parse_args(argv)
    if min(options.turns, options.builds, options.repeats) < 1 or options.draws < 50:
        parser.error("--turns, --builds and --repeats are at least 1, --draws at least 50")
    if options.nuts:
        nuts(options.models or THIRTEEN, options.repeats, options.draws)
        return
    peers = [name for name, wanted in (("PyMC", options.pymc), ("JAX", options.jax)) if wanted]
    table(options.models or (TEN if options.ten else list(MODELS)), peers, options.turns, options.builds)


if __name__ == "__main__":
    main()
