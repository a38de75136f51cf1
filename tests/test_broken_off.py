"""A log density that fails: the error names the point, and the chain goes on from its last draw as if it had not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from laws.contract import LOGP_GRAD

import micropolis as mp
from micropolis._hamiltonian import ascend
from micropolis.errors import DensityError

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")

KERNELS = [
    mp.RandomWalk(1.0, temperature=np.linspace(2.0, 1.0, 500)), mp.MALA(), mp.HMC(0.4, 3, target_accept=0.8),
    mp.NUTS(metric="dense", max_depth=5),
]  # fmt: skip


def normal_to(x, grad, limit):
    """A normal density of two coordinates that fails where the first passes `limit`."""
    if x[0] > limit:
        raise ValueError("too far")
    grad[0], grad[1] = -x[0], -x[1]
    return -0.5 * (x[0] * x[0] + x[1] * x[1])


def called(limit):
    """The same as a Python function, which is told each point, and those points."""
    points = []

    def f(x):
        points.append(x.copy())
        grad = np.empty(2)
        return normal_to(x, grad, limit), grad

    return mp.Density.from_callable(f, 2), points


def compiled(limit):
    pytest.importorskip("numba")
    return mp.Density.from_numba(normal_to, 2, limit)


@pytest.mark.parametrize("backend", ["c", "numba", "python"])
@pytest.mark.parametrize("warmup", [0, 400])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_the_point_that_failed_is_named(kernel, warmup, backend):
    """In a compiled density as in a Python function, which is given its points one by one."""
    plan = {"draws": 1000, "warmup": warmup, "chains": 1, "seed": 5, "init": [0.0, 0.0], "progress": False}
    density, points = called(2.2)
    with pytest.raises(DensityError, match="ValueError: too far"):
        mp.sample(density, kernel, **plan)
    point = next(x for x in points if x[0] > 2.2)  # draws since the last mark are made again afterwards
    with pytest.raises(DensityError, match="too far") as caught:
        mp.sample(compiled(2.2), kernel, backend=backend, **plan)
    assert f"at x = {np.array2string(point, threshold=10)}" in str(caught.value)
    cause = caught.value.__cause__
    assert isinstance(cause if backend == "numba" else cause.__cause__, ValueError)


def test_a_fatal_code_is_reported_where_it_came():
    points = []

    @LOGP_GRAD
    def f(dim, x, grad, logp, user_data):
        points.append([x[0], x[1]])
        grad[0], grad[1], logp[0] = -x[0], -x[1], -0.5 * (x[0] ** 2 + x[1] ** 2)
        return -7 if x[0] > 2.0 else 0

    density = mp.Density.from_pointer(f, 2)
    with pytest.raises(DensityError, match="returned the fatal code") as caught:
        mp.sample(density, mp.NUTS(0.3), draws=5000, warmup=0, chains=1, seed=1, init=[0.0, 0.0], progress=False)
    point = next(x for x in points if x[0] > 2.0)
    assert f"at x = {np.array2string(np.array(point), threshold=10)}" in str(caught.value)
    state, rng = mp.init(density, [0.0, 1.0]), np.random.default_rng(1)
    points.clear()
    with pytest.raises(DensityError) as caught:
        for _ in range(5000):
            state, _ = mp.step(mp.HMC(0.3, 4), density, rng, state)
    assert f"at x = {np.array2string(np.array(points[-1]), threshold=10)}" in str(caught.value)


def test_a_failure_that_does_not_come_again():
    """Of a function that is not one: the draws are kept, the message says what is known."""
    calls = []  # of which one is the start's, and one a check of the pointer

    @LOGP_GRAD
    def f(dim, x, grad, logp, user_data):
        calls.append(x[0])
        grad[0], logp[0] = -x[0], -0.5 * x[0] ** 2
        return -1 if len(calls) == 200 else 0

    with pytest.raises(DensityError, match=r"chain 0 at draw 198: .* fatal code -1, in a step from x = ") as caught:
        mp.sample(
            mp.Density.from_pointer(f, 1), mp.HMC(0.3, 1), draws=500, warmup=0, chains=1, init=[0.5], progress=False
        )
    assert caught.value.trace.n_draws == 198


def test_failure_uphill_from_the_start():
    """The climb that a random start begins with meets the point, not the start."""

    @LOGP_GRAD
    def f(dim, x, grad, logp, user_data):
        grad[0], logp[0] = 1e3, 1e3 * x[0]
        return -1 if x[0] > 3.0 else 0

    with pytest.raises(DensityError, match="at its initial point") as caught:
        mp.sample(mp.Density.from_pointer(f, 1), mp.NUTS(), chains=1, seed=1)
    assert float(str(caught.value).split("x = [")[1].split("]")[0]) > 3.0


@pytest.mark.parametrize("often", [False, True])
@pytest.mark.parametrize("backend", ["c", "numba", "python"])
@pytest.mark.parametrize(("warmup", "thin", "limit"), [(0, 1, 2.5), (0, 4, 2.5), (150, 1, 2.2), (100, 3, 3.3)])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_resumed_after_a_failure(kernel, warmup, thin, limit, backend, often, monkeypatch):
    """Bit for bit what a density that does not fail gives in one run."""
    if often:
        monkeypatch.setattr(mp.chains, "MARK_PERIOD", 0.0)
        monkeypatch.setattr(mp.sampling, "TICK", 1e-4)
    plan = {"draws": 200, "warmup": warmup, "chains": 2, "seed": 7, "init": [0.5, 0.5], "thin": thin, "progress": False}
    whole = mp.sample(compiled(math.inf), kernel, backend=backend, **plan)
    with pytest.raises(DensityError, match="too far") as caught:
        mp.sample(compiled(limit), kernel, backend=backend, **plan)
    trace = caught.value.trace
    assert trace.n_draws < 200
    rest = mp.resume(trace, density=compiled(math.inf))
    np.testing.assert_array_equal(rest.draws, whole.draws[:, trace.n_draws :])
    np.testing.assert_array_equal(rest.stats, whole.stats[:, trace.n_draws :])
    if trace.warmup_done < warmup:
        np.testing.assert_array_equal(rest.warmup_stats, whole.warmup_stats)
    for one, other in zip(rest.states, whole.states, strict=True):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    assert repr(rest.rng_states) == repr(whole.rng_states)


# -- the climb of a random start -------------------------------------------------------------------------------------


def counted(f):
    calls = []

    def counting(x):
        calls.append(x.copy())
        return f(x)

    return mp.Density.from_callable(counting, 1)._bind(), calls


@pytest.mark.parametrize("most", [2, 25, 200])
def test_the_climb_counts_evaluations(most):
    """With a wall at 0.5 every other step is one out of the support, and counts as well."""
    handle, calls = counted(lambda x: (1e6 * x[0], np.array([1e6])))
    assert ascend(handle, most, np.zeros(1)) == 0
    assert len(calls) == most
    handle, calls = counted(lambda x: (1e8 * x[0], np.array([1e8])) if x[0] < 0.5 else (-np.inf, np.zeros(1)))
    x = np.zeros(1)
    assert ascend(handle, most, x) == 0
    assert len(calls) <= most and x[0] < 0.5 and (most == 2 or x[0] > 0.4)


def test_the_climb_ends_at_a_wall():
    """Ten steps that gain nothing end it, whether they stay in the support or not."""
    handle, calls = counted(lambda x: (x[0], np.ones(1)) if x[0] <= 0.0 else (-np.inf, np.zeros(1)))
    x = np.zeros(1)
    assert ascend(handle, 200, x) == 0
    assert x[0] == 0.0 and len(calls) == 11
