"""Costs around the chains: one sample call, the import, the first draw of a new NumPy density, two workers for one.

    pytest benchmarks/bench_sampling.py

Floor. A call that draws nothing starts and joins two worker threads, spawns four bit generators from a SeedSequence,
evaluates the density at four starting points and allocates a trace: a few hundred microseconds of Python; to reach: 1
ms. The import beyond NumPy's maps a few shared objects and runs the modules that define the public names; to reach:
30 ms. The first draw from a NumPy density is the import of NumPy, one trace of the function and one
sample call; to reach: 0.15 s in all, measured from the first line of a fresh interpreter. Four chains on two cores can
at best halve the time of one worker, less what the chains differ in length; to reach: 1.7 times as fast (a ratio of
wall times of at most 0.588), with identical draws.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import numpy as np
import pytest
from models import logistic_regression, standard_normal
from timing import least_seconds

import micropolis as mp

IMPORT = """
import time
begin = time.perf_counter()
import numpy
middle = time.perf_counter()
import micropolis
print(time.perf_counter() - middle)
"""
FIRST_DRAW = """
import time
begin = time.perf_counter()
import numpy as np, micropolis as mp
def logp(mu, tau, eta):
    effect, error = np.array([28., 8, -3, 7, -1, 1, 18, 12]), np.array([15., 10, 16, 11, 9, 11, 10, 18])
    residual = (effect - mu - tau * eta) / error
    return -mu**2 / 50 - np.log1p(tau**2 / 25) - 0.5 * np.sum(eta**2) - 0.5 * np.sum(residual**2)
density = mp.Density.from_numpy(logp, {"mu": mp.Real(), "tau": mp.Positive(), "eta": mp.Real(8)})
trace = mp.sample(density, mp.NUTS(), draws=1, warmup=0, chains=1, progress=False)
assert np.all(np.isfinite(trace.draws))
print(time.perf_counter() - begin)
"""


def interpreter(code):
    """What a fresh interpreter prints, as a number."""
    # -P keeps the current folder, which may be a checkout without its compiled modules, out of the path
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def normal(dim):
    model = standard_normal(dim)
    return mp.Density.from_numba(model.logp_grad, model.dim)


@pytest.mark.parametrize("dim", [10, 100])
def test_fixed_cost(benchmark, figure, dim):
    density = normal(dim)
    options = {"draws": 1, "warmup": 0, "chains": 4, "threads": 2, "progress": False, "seed": 1}
    benchmark.pedantic(mp.sample, args=(density, mp.NUTS()), kwargs=options, rounds=50, warmup_rounds=3)
    if benchmark.stats is not None:
        figure(f"sample call, 4 chains x 1 draw, dim {dim}", 1e3 * benchmark.stats.stats.median, "ms", 1.0)


def test_import(benchmark, figure):
    times = [interpreter(IMPORT) for _ in range(11)]  # the first fills the file cache; a median does not mind
    benchmark.pedantic(interpreter, args=(IMPORT,), rounds=1)
    figure("import micropolis beyond import numpy", 1e3 * statistics.median(times), "ms", 30.0)


def test_first_draw(benchmark, figure):
    times = [interpreter(FIRST_DRAW) for _ in range(7)]
    benchmark.pedantic(interpreter, args=(FIRST_DRAW,), rounds=1)
    figure("first draw from a new NumPy density, imports included", statistics.median(times), "s", 0.15)


@pytest.mark.parametrize("name", ["normal", "logistic"])
def test_two_workers(benchmark, figure, name):
    if name == "normal":
        density, draws = normal(100), 2000
    else:
        model = logistic_regression()
        density, draws = mp.Density.from_numba(model.logp_grad, model.dim), 300

    def run(threads):
        return mp.sample(density, mp.NUTS(), draws=draws, warmup=300, chains=4, threads=threads, seed=1, progress=False)

    trace = benchmark.pedantic(run, args=(2,), rounds=5, warmup_rounds=1)
    np.testing.assert_array_equal(run(1).draws, trace.draws)
    if benchmark.stats is not None:
        ratio = benchmark.stats.stats.min / least_seconds(lambda: run(1), repeats=5)
        figure(f"wall of 4 chains, two workers over one, {name}", ratio, "x", 1 / 1.7)
