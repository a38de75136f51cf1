"""Riemannian kernels saved, loaded, resumed, pickled and stepped, with every metric and on every backend."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from laws.kernels import assert_same_end, assert_same_run, resume, run

import micropolis as mp
from micropolis.errors import InputError, KernelError

BANANA = mp.densities.Banana(3, 0.3, 1.5)
GAUSSIAN = mp.densities.Gaussian([0.0, 1.0, 2.0], std=[1.0, 0.5, 2.0])
# metric and a density on which it is positive definite
METRICS = {
    "SoftAbs": (mp.SoftAbs(1.0), BANANA),
    "SoftAbs with jitter": (mp.SoftAbs(0.5, jitter=0.3), BANANA),
    "Hessian": (mp.Hessian(), GAUSSIAN),
    "HessianDiag": (mp.HessianDiag(), GAUSSIAN),
    "GradientSquare": (mp.GradientSquare(1.0), BANANA),
}
KERNELS = {
    "RMHMC": lambda metric, **options: mp.RMHMC(0.2, 3, metric=metric, jitter=0.4, **options),
    "RMNUTS": lambda metric, **options: mp.RMNUTS(0.2, 4, metric=metric, **options),
}
PLAN = {"chains": 2, "seed": 31, "init": np.array([0.1, 0.2, 0.3])}

every_kernel = pytest.mark.parametrize("name", KERNELS)
every_metric = pytest.mark.parametrize("metric", METRICS)


def metric_of_the_user(q, g):
    for i in range(q.size):
        g[i, i] = 1.0 + 0.25 * q[i] ** 2


def contraction_of_the_user(q, m, c):
    for i in range(q.size):
        c[i] = m[i, i] * 0.5 * q[i]


@pytest.mark.parametrize("warmup", [0, 20])
@every_metric
@every_kernel
def test_a_resumed_run_is_the_longer_one(name, metric, warmup, tmp_path):
    """From memory and through a file, cut in sampling, thinned; the kernels come back with their metric."""
    form, density = METRICS[metric]
    kernel = KERNELS[name](form, target_accept=0.9 if warmup else None)
    whole = run(density, kernel, draws=24, warmup=warmup, thin=2, **PLAN)
    first = run(density, kernel, draws=9, warmup=warmup, thin=2, **PLAN)
    first.save(tmp_path / "first.npz")
    loaded = mp.Trace.load(tmp_path / "first.npz")
    assert [type(one) for one in loaded.kernels] == [type(kernel)] * 2
    assert all(one.metric == form for one in loaded.kernels)
    for start in (first, loaded):
        more = resume(start, 15)
        assert_same_run(more, whole, second=slice(9, 24))
        assert_same_end(more, whole)
    assert whole.stats["accepted"].any()


@every_metric
@every_kernel
def test_python_resumes_what_c_began(name, metric, tmp_path):
    """The backend of a run is not part of the chain: the same bits from either."""
    form, density = METRICS[metric]
    whole = run(density, KERNELS[name](form), draws=8, warmup=0, **PLAN)
    first = run(density, KERNELS[name](form), draws=4, warmup=0, backend="python", **PLAN)
    first.save(tmp_path / "first.npz")
    assert_same_run(resume(mp.Trace.load(tmp_path / "first.npz"), 4), whole, second=slice(4, 8))


@every_metric
@every_kernel
def test_pickled_kernels_and_single_steps(name, metric):
    form, density = METRICS[metric]
    kernel = KERNELS[name](form)
    twin = pickle.loads(pickle.dumps(kernel))
    assert twin.metric == form and repr(twin) == repr(kernel)
    trace = run(density, kernel, draws=12, warmup=0, **PLAN)
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(31).spawn(2)[1]))
    state = mp.init(density, PLAN["init"])
    for x, record in zip(trace.draws[1], trace.stats[1], strict=True):
        state, info = mp.step(twin, density, rng, state)
        np.testing.assert_array_equal(state.x, x)
        assert info == record


@every_kernel
def test_a_metric_of_the_users_goes_on_from_memory_and_by_pickle_but_not_from_a_file(name, tmp_path):
    pytest.importorskip("numba")
    kernel = KERNELS[name](mp.UserMetric(metric_of_the_user, contraction_of_the_user))
    whole = run(BANANA, kernel, draws=20, warmup=0, **PLAN)
    first = run(BANANA, kernel, draws=8, warmup=0, **PLAN)
    assert whole.stats["accepted"].any()
    assert_same_run(resume(first, 12), whole, second=slice(8, 20))
    twin = pickle.loads(pickle.dumps(kernel))
    assert_same_run(run(BANANA, twin, draws=8, warmup=0, **PLAN), first)
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(31).spawn(2)[0]))
    np.testing.assert_array_equal(mp.step(twin, BANANA, rng, mp.init(BANANA, PLAN["init"]))[0].x, whole.draws[0, 0])
    first.save(tmp_path / "first.npz")
    loaded = mp.Trace.load(tmp_path / "first.npz")
    assert_same_run(loaded, first)
    with pytest.raises(InputError, match="metric: a file keeps no functions"):
        resume(loaded, 3)
    for backend in ("python", "numba"):
        with pytest.raises(KernelError, match="use backend='c'"):
            run(BANANA, kernel, draws=1, warmup=0, backend=backend, **PLAN)


@every_kernel
def test_options_of_numpy_types_are_saved(name, tmp_path):
    options = {
        "fixed_point_tol": np.float32(1e-6), "fixed_point_max_iter": np.int64(50), "target_accept": np.float64(0.9),
        "reversibility_tol": np.float32(1e-3),
    }  # fmt: skip
    kernel = KERNELS[name](mp.SoftAbs(np.float32(1.0), jitter=np.int64(0)), **options)
    trace = run(BANANA, kernel, draws=3, warmup=3, **PLAN)
    trace.save(tmp_path / "run.npz")
    assert resume(mp.Trace.load(tmp_path / "run.npz"), 2).draws.shape == (2, 2, 3)
