"""SplitHMC: the compiled step against NumPy, the laws of its integrator, and exact posteriors."""

import math

import numpy as np
import pytest
from laws.kernels import assert_same_run, run
from laws.library import covariance

import micropolis as mp
from micropolis.errors import DensityError, InputError
from micropolis.hamiltonian.splitting import ORDERS
from micropolis.neural import Linear, Posterior, Sequential

N_ROWS, PRECISION = 12, 4.0
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N_ROWS, 3))
Y = X @ [1.0, -1.0, 0.5] + 0.3 + 0.5 * RNG.standard_normal(N_ROWS)


def regression(batches, dtype="float64"):
    net = Sequential(Linear(3, 1), seed=0, dtype=dtype)
    return Posterior(net, X, Y, loss="regression", tau=0.5, tau_out=PRECISION, batches=batches)


def exact(tau=0.5):
    design = np.column_stack([X, np.ones(N_ROWS)])
    cov = np.linalg.inv(PRECISION * design.T @ design + tau * np.eye(4))
    return cov @ (PRECISION * design.T @ Y), cov


def step(blocks, scale, eps, q, w, order):
    """One step of the paper's algorithm 1 in whitened momenta, written out, with no shortcut."""
    n_blocks = len(order)
    if n_blocks == 1:  # leapfrog
        w = w + 0.5 * eps * scale.T @ blocks[0](q)
        q = q + eps * scale @ w
        return q, w + 0.5 * eps * scale.T @ blocks[0](q)
    for m in range(n_blocks):
        w = w + 0.5 * eps * scale.T @ blocks[order[m]](q)
        if m < n_blocks - 1:
            q = q + eps / (2 * (n_blocks - 1)) * scale @ w
    for m in reversed(range(n_blocks)):
        w = w + 0.5 * eps * scale.T @ blocks[order[m]](q)
        if m > 0:
            q = q + eps / (2 * (n_blocks - 1)) * scale @ w
    return q, w


def reference(density, kernel, x, bit_generator, draws):
    """The chain of a kernel in NumPy, from the same random numbers: draws and acceptance probabilities."""
    rng, handle = np.random.Generator(bit_generator), density._c
    n_blocks = handle.n_blocks
    blocks = [lambda q, m=m: handle.block(np.ascontiguousarray(q), m)[1] for m in range(n_blocks)]
    if kernel.order == "full":  # kicks, drift, kicks
        parts, blocks, n_blocks = blocks, [lambda q: sum(part(q) for part in parts)], 1
    mass = np.eye(len(x)) if kernel.inverse_mass is None else np.asarray(kernel.inverse_mass)
    scale = np.diag(np.sqrt(mass)) if mass.ndim == 1 else np.linalg.cholesky(mass)
    found, accept = [], []
    for _ in range(draws):
        order = np.arange(n_blocks)
        w = rng.standard_normal(len(x))
        q, energy = x, 0.5 * w @ w - density(x)
        for _ in range(kernel.n_steps):
            if kernel.order == "randomised":
                for i in range(n_blocks - 1, 0, -1):
                    j = int(rng.random() * (i + 1))
                    order[[i, j]] = order[[j, i]]
            q, w = step(blocks, scale, kernel.step_size, q, w, order)
        probability = min(1.0, np.exp(energy - 0.5 * w @ w + density(q)))
        if rng.random() < probability:
            x = q
        found.append(x)
        accept.append(probability)
    return np.array(found), np.array(accept)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mass", [None, [0.5, 1.0, 2.0, 1.5], covariance(4, 8)], ids=["unit", "diagonal", "dense"])
@pytest.mark.parametrize("batches", [1, 2, 5])
def test_the_chain_is_that_of_numpy(batches, mass, order):
    density = regression(batches)
    kernel = mp.SplitHMC(0.12, 3, inverse_mass=mass, order=order)
    trace = run(density, kernel, draws=20, warmup=0, chains=1, init=np.zeros(4), seed=5)
    draws, accept = reference(density, kernel, np.zeros(4), np.random.SFC64(np.random.SeedSequence(5).spawn(1)[0]), 20)
    np.testing.assert_allclose(trace.draws[0], draws, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(trace.stats["accept_prob"][0], accept, rtol=1e-8)
    assert len(np.unique(draws, axis=0)) > 5  # both decisions are there


@pytest.mark.parametrize("batches", [2, 5])
def test_gradients_are_counted(batches):
    """2 M - 2 a step, one more at the start of a trajectory, none twice."""
    trace = run(regression(batches), mp.SplitHMC(0.1, 3), draws=5, warmup=0, chains=1, seed=1)
    assert set(trace.stats["n_block_grad"][0]) == {3 * (2 * batches - 2) + 1}


@pytest.mark.parametrize(("batches", "order"), [(1, "symmetric"), (1, "randomised"), (4, "full")])
def test_one_block_and_kicks_drift_kicks_are_leapfrog(batches, order):
    """The chain of HMC, which knows the gradient at the start and the value at the end."""
    density, options = regression(batches), {"draws": 30, "warmup": 0, "chains": 2, "seed": 3}
    mine = run(density, mp.SplitHMC(0.2, 4, order=order), **options)
    hmc = run(density, mp.HMC(0.2, 4), **options)
    np.testing.assert_allclose(mine.draws, hmc.draws, rtol=1e-12)
    assert set(hmc.stats["n_grad"].ravel()) == {4}
    assert set(mine.stats["n_block_grad"].ravel()) == {5 * batches}
    assert set(mine.stats["n_grad"].ravel()) == {6}


@pytest.mark.parametrize("batches", [1, 2, 3, 6])
def test_the_integrator_is_reversible_and_of_second_order(batches):
    density = regression(batches)
    handle, rng = density._c, np.random.default_rng(1)
    blocks = [lambda q, m=m: handle.block(np.ascontiguousarray(q), m)[1] for m in range(batches)]
    q, w, scale, order = rng.standard_normal(4), rng.standard_normal(4), np.eye(4), rng.permutation(batches)

    def move(q, w, eps, n):
        for _ in range(n):
            q, w = step(blocks, scale, eps, q, w, order)
        return q, w

    there = move(q, w, 0.1, 5)
    back = move(there[0], -there[1], 0.1, 5)
    np.testing.assert_allclose(back[0], q, atol=1e-12)
    np.testing.assert_allclose(-back[1], w, atol=1e-12)

    def error(eps):
        end = move(q, w, eps, round(0.4 / eps))
        return (0.5 * end[1] @ end[1] - density(end[0])) - (0.5 * w @ w - density(q))

    order_found = np.log2(abs(error(0.02) / error(0.01)))
    assert 1.8 < order_found < 2.2

    point, h = np.concatenate([q, w]), 1e-5
    columns = [
        (
            np.concatenate(move(*np.split(point + h * e, 2), 0.1, 3))
            - np.concatenate(move(*np.split(point - h * e, 2), 0.1, 3))
        )
        / (2 * h)
        for e in np.eye(8)
    ]
    assert abs(np.linalg.det(np.array(columns)) - 1) < 1e-8


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("batches", [1, 3, 12])
def test_draws_have_the_exact_posterior(batches, order):
    """Bayesian linear regression; 5.5 standard errors for 2 x 4 numbers, by chance 3e-7."""
    mean, cov = exact()
    kernel = mp.SplitHMC(0.25, 6, jitter=0.5, order=order, inverse_mass=cov)
    trace = run(regression(batches), kernel, draws=4000, warmup=50, chains=4, seed=11)
    draws = trace.draws.reshape(-1, 4)
    ess = np.array([min(trace.summary().loc[name, "ess_bulk"], len(draws)) for name in trace.names])
    spread = np.sqrt(np.diag(cov))
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5.5 * spread / np.sqrt(ess))
    squares = (draws - mean) ** 2
    means = squares.reshape(80, -1, 4).mean(axis=1)  # batch means: their own standard error
    assert np.all(np.abs(squares.mean(axis=0) - spread**2) < 5.5 * means.std(axis=0, ddof=1) / np.sqrt(80))
    assert 0.5 < trace.stats["accept_prob"].mean() <= 1


def test_warm_up_finds_a_step_size():
    trace = run(
        regression(3), mp.SplitHMC(1e-3, 4, target_accept=0.8, jitter=0.5), draws=1000, warmup=500, chains=2, seed=2
    )
    assert abs(trace.stats["accept_prob"].mean() - 0.8) < 0.15  # as HMC in tests/test_laws_warmup.py


@pytest.mark.parametrize("backend", ["python", "numba"])
@pytest.mark.parametrize("order", ORDERS)
def test_networks_run_on_other_backends(backend, order):
    """The readable step calls the compiled blocks; tests/test_twins.py has the same for all metrics."""
    pytest.importorskip("numba")
    kernel = mp.SplitHMC(0.2, 3, order=order, jitter=0.5)
    one, other = (
        run(regression(3), kernel, draws=20, warmup=5, chains=2, seed=6, backend=name) for name in ("c", backend)
    )
    assert_same_run(one, other)


def cut(x):
    """A Gaussian block that ends at x[0] = 0.3 and leaves no gradient behind."""
    return (-0.5 * x @ x, -x) if x[0] < 0.3 else (-np.inf, np.full(2, 1e3))


@pytest.mark.parametrize("order", ORDERS)
def test_trajectories_that_leave_a_block_are_rejected(order):
    """Counted as divergent; what is left is the distribution that ends there: three Gaussians, variance 1/3, cut."""
    gaussian = mp.densities.Gaussian([0.0, 0.0])
    density = mp.Density.from_blocks([gaussian, mp.Density.from_callable(cut, 2), gaussian])
    trace = run(
        density, mp.SplitHMC(0.4, 2, order=order, jitter=0.5), draws=3000, warmup=0, chains=1, seed=2, init=[-0.2, 0.0]
    )
    bad = trace.stats["divergent"]
    assert 0.05 < bad.mean() < 0.6
    assert not trace.stats["accepted"][bad].any()
    assert trace.draws[0, :, 0].max() < 0.3
    means = trace.draws[0].reshape(30, 100, 2).mean(axis=1)
    sd, edge = 3**-0.5, 0.3 * 3**0.5
    truncated = -sd * math.exp(-0.5 * edge**2) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(-edge / math.sqrt(2)))
    for mean, truth in zip(means.T, (truncated, 0.0), strict=True):
        assert abs(mean.mean() - truth) < 5 * mean.std(ddof=1) / np.sqrt(30)


@pytest.mark.parametrize("order", ORDERS)
def test_a_gradient_that_is_not_finite_is_a_rejection(order):
    """Of a block whose value is finite; a peer accepted such points."""

    def block(x):
        return -0.5 * x @ x, np.where(abs(x[0]) > 0.5, np.nan, -x)

    density = mp.Density.from_blocks([mp.Density.from_callable(block, 2), mp.densities.Gaussian([0.0, 0.0])])
    trace = run(density, mp.SplitHMC(0.5, 2, order=order), draws=300, warmup=0, chains=1, seed=2, init=[0.1, 0.0])
    bad = trace.stats["divergent"]
    assert 0.1 < bad.mean() < 1.0
    assert not trace.stats["accepted"][bad].any()
    # the first block's gradient is taken at both ends
    assert np.abs(trace.draws[0, :, 0]).max() <= 0.5 or order == "randomised"
    assert np.isfinite(trace.draws).all()


def test_a_block_that_fails_stops_the_chain():
    def fail(x):
        if x[0] > 1.5:
            raise ValueError("too far")
        return -0.5 * x @ x, -x

    density = mp.Density.from_blocks([mp.densities.Gaussian([0.0]), mp.Density.from_callable(fail, 1)])
    with pytest.raises(DensityError, match="too far") as caught:
        run(density, mp.SplitHMC(0.3, 3), draws=1000, warmup=0, chains=1, seed=1, init=[0.0])
    assert 0 < caught.value.trace.draws.shape[1] < 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, "step_size"),
        ({"n_steps": 0}, "n_steps"),
        ({"jitter": 1.0}, "jitter"),
        ({"order": "x"}, "order: expected one of 'symmetric', 'randomised', 'full'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        mp.SplitHMC(**options)
