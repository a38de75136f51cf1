"""Nanoseconds of one log density with gradient through the C pointer, for each way in.

    pytest benchmarks/bench_density.py

Floor. N(0, I) in d dimensions does 3 d flops and moves two streams of d doubles (reads x, writes grad): 16 d bytes,
from L1 at 64 bytes a cycle d / 4 cycles, and a call through a pointer costs 2-3 ns. A sum in source order would wait
for each of its d additions, so the models free the order of theirs. Eight schools is bound by one exp, one log1p and
16 divisions. Logistic regression reads X (n d doubles) once or twice, 4 n d flops, and takes n exp and n log1p: with
scalar libm these are most of the time, with vectorised ones 10 microseconds at n = 1000, d = 25 can be reached.
Nothing is required of the ways in themselves; the figures are those on which the samplers' overhead stands.
"""

from __future__ import annotations

import numpy as np
import pytest
from models import eight_schools, logistic_data, logistic_regression, standard_normal
from timing import pointer_loop

import micropolis as mp


def from_numba(model):
    pytest.importorskip("numba")
    return mp.Density.from_numba(model.logp_grad, model.dim)


def from_pointer(model):
    return mp.Density.from_pointer(model.cfunc.address, model.dim, keep_alive=model.cfunc)


def from_numpy(model):
    return mp.Density.from_numpy(model.logp, dim=model.dim)


def from_numpy_one_point(model):
    """For models whose NumPy form is written for many points: the same arithmetic on one."""
    X, y = logistic_data()

    def logp(x):
        z = X @ x
        return y @ z - np.sum(np.logaddexp(0, z)) - 0.5 * np.sum(x * x)

    return mp.Density.from_numpy(logp, dim=model.dim)


def from_callable(model):
    return mp.Density.from_callable(model.value_and_grad, model.dim)


def library(model):
    if model.builtin is not None:
        return model.builtin(mp)
    return mp.densities.Gaussian(np.zeros(model.dim), std=np.ones(model.dim))


NORMALS = [(standard_normal(dim), way) for dim in (10, 100, 1000) for way in (library, from_numba, from_pointer)]
CASES = [
    *NORMALS,
    *((standard_normal(100), way) for way in (from_numpy, from_callable)),
    *((eight_schools(), way) for way in (from_numba, from_pointer, from_numpy, from_callable)),
    *((logistic_regression(), way) for way in (library, from_numba, from_pointer, from_numpy_one_point, from_callable)),
]


@pytest.mark.parametrize(
    ("model", "way"), CASES, ids=[f"{model.name}-{model.dim}-{way.__name__}" for model, way in CASES]
)
def test_density(benchmark, figure, model, way):
    density = way(model)
    x = np.linspace(-1, 1, model.dim)
    np.testing.assert_allclose(density.grad(x), model.value_and_grad(x)[1], rtol=1e-9, atol=1e-12)
    loop = pointer_loop(density)
    calls = 100 if way is from_callable or model.name == "logistic" else 20_000
    benchmark.pedantic(loop, args=(calls,), rounds=7, warmup_rounds=1)
    if benchmark.stats is not None:
        figure(f"{model.title}, {way.__name__}", 1e9 * benchmark.stats.stats.min / calls, "ns")
