"""A network's posterior as a density: against NumPy, central differences and the prior."""

import math
import pickle
import tracemalloc

import numpy as np
import pytest
from laws.kernels import run

import micropolis as mp
from micropolis.errors import InputError, InputTypeError
from micropolis.neural import Linear, Posterior, ReLU, Sequential, Tanh, losses

RNG = np.random.default_rng(8)
X = RNG.standard_normal((101, 3))
TARGETS = {
    "multiclass": RNG.integers(0, 2, 101),
    "binary": RNG.integers(0, 2, (101, 2)),
    "regression": RNG.standard_normal((101, 2)),
    "poisson": RNG.poisson(2.0, (101, 2)),
}
TAU = [0.5, 1.0, 2.0, 3.0]


def posterior(loss, dtype="float64", **options):
    net = Sequential(Linear(3, 5), Tanh(), Linear(5, 2), seed=1, dtype=dtype)
    return Posterior(net, X, TARGETS[loss], **{"loss": loss, "tau": TAU, "tau_out": 3.0, **options})


@pytest.mark.parametrize("loss", list(TARGETS))
def test_value_is_likelihood_times_prior(loss):
    """The sum over the rows, not their mean, with every normaliser."""
    p = posterior(loss)
    theta = np.random.default_rng(2).standard_normal(p.dim)
    net = p.net.copy()
    net.parameters = theta
    expected = -losses.reference(loss, net.reference(X), TARGETS[loss], 3.0)[0].sum()
    for tau, view in zip(TAU, net.named_parameters().values(), strict=True):
        expected += 0.5 * view.size * math.log(tau / (2 * math.pi)) - 0.5 * tau * np.sum(view**2)
    assert p(theta) == pytest.approx(expected, rel=1e-12)
    likelihood = -net.losses(X, TARGETS[loss], loss, scale=3.0).sum()
    assert p.log_likelihood(theta) == pytest.approx(likelihood, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", list(TARGETS))
def test_derivatives_agree_with_differences(loss, dtype):
    p = posterior(loss, dtype)
    theta = 0.5 * np.random.default_rng(2).standard_normal(p.dim)
    exact = posterior(loss)  # differences of a float32 value would be noise
    h = 1e-5
    differences = [(exact(theta + h * e) - exact(theta - h * e)) / (2 * h) for e in np.eye(p.dim)]
    tolerance = {"float64": 1e-7, "float32": 1e-4}[dtype] * max(1, np.abs(differences).max())
    logp, gradient = p.value_and_grad(theta)
    assert logp == pytest.approx(exact(theta), rel=1e-5 if dtype == "float32" else 1e-13)
    np.testing.assert_allclose(gradient, differences, atol=tolerance)
    hessian = p.hessian(theta)
    slopes = (exact.grad(theta + h * np.eye(p.dim)) - exact.grad(theta - h * np.eye(p.dim))) / (2 * h)
    np.testing.assert_allclose(hessian, slopes, atol=10 * tolerance)
    v = np.random.default_rng(3).standard_normal(p.dim)
    np.testing.assert_allclose(p.hvp(theta, v), hessian @ v, atol=10 * tolerance * np.abs(v).sum())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batches", [1, 4, 101])
def test_blocks_sum_to_the_whole(batches, dtype):
    p = posterior("multiclass", dtype, batches=batches)
    theta = np.random.default_rng(2).standard_normal(p.dim)
    handle = p._c
    assert handle.n_blocks == batches
    parts = [handle.block(theta, m) for m in range(batches)]
    logp, gradient = p.value_and_grad(theta)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    assert sum(part[0] for part in parts) == pytest.approx(logp, rel=tolerance)
    np.testing.assert_allclose(sum(part[1] for part in parts), gradient, atol=tolerance * 1000)


def test_without_data_it_is_the_prior():
    """Means and variances of 24 coordinates within 6 standard errors: by chance 5e-8."""
    net = Sequential(Linear(3, 4), Tanh(), Linear(4, 2), seed=0)
    p = Posterior(net, None, tau=TAU)
    trace = run(p, mp.HMC(0.3, 8, jitter=0.5), draws=3000, warmup=100, chains=4, seed=4, init=net.parameters)
    draws = trace.draws.reshape(-1, p.dim)
    sizes = [math.prod(shape) for _, shape in net.layout.values()]
    variance = 1 / np.repeat(TAU, sizes)
    for values, truth in ((draws, 0 * variance), (draws**2, variance)):
        batches = values.reshape(60, -1, p.dim).mean(axis=1)
        assert np.all(np.abs(values.mean(axis=0) - truth) < 6 * batches.std(axis=0, ddof=1) / np.sqrt(60))


def test_names_say_where_a_parameter_stands():
    p = posterior("binary")
    assert p.names[0] == "0.weight[0,0]"
    assert p.names[-1] == "2.bias[1]"
    assert p.names[4] == "0.weight[1,1]"
    assert len(set(p.names)) == p.dim


def test_it_pickles_and_leaves_the_network_alone():
    net = Sequential(Linear(3, 2), seed=1)
    before = net.parameters.copy()
    p = Posterior(net, X, TARGETS["multiclass"], tau=2.0)
    theta = np.ones(p.dim)
    assert pickle.loads(pickle.dumps(p))(theta) == p(theta)
    run(p, mp.NUTS(), draws=5, warmup=5, chains=1, seed=1)
    np.testing.assert_array_equal(net.parameters, before)


def test_chains_in_threads_are_the_same_as_one_by_one():
    p = posterior("multiclass")
    options = {"draws": 50, "warmup": 20, "chains": 4, "seed": 9, "init": p.net.parameters}
    one, four = (run(p, mp.HMC(0.05, 5), threads=threads, **options) for threads in (1, 4))
    np.testing.assert_array_equal(one.draws, four.draws)


@pytest.mark.parametrize("engine", ["tiles", "blas"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_memory_map_is_read_in_place(tmp_path, dtype, engine):
    """The same bits as from memory, for the whole and for its blocks."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((1000, 3)).astype(dtype), rng.integers(0, 2, 1000)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    net = Sequential(Linear(3, 4), ReLU(), Linear(4, 2), seed=0, dtype=dtype, engine=engine)
    p, in_memory = (Posterior(net, rows, y, batches=3) for rows in (mapped, x))
    assert np.shares_memory(p._inputs, mapped)
    theta = rng.standard_normal(p.dim)
    assert p(theta) == in_memory(theta)
    np.testing.assert_array_equal(p.grad(theta), in_memory.grad(theta))
    for m in range(3):
        np.testing.assert_array_equal(p._c.block(theta, m)[1], in_memory._c.block(theta, m)[1])


@pytest.mark.parametrize("engine", ["tiles", "blas"])
def test_data_larger_than_memory_are_not_loaded(tmp_path, engine):
    """What is allocated at any time is less than half of the map's 12.8 MB, which no copy of it is.

    Labels, their float64 copies and the outputs are some 50 bytes a row where the inputs are 256.
    """
    n, width = 50_000, 64
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype="float32", shape=(n, width))
    mapped[:] = np.random.default_rng(1).standard_normal((n, width), dtype=np.float32)
    y = (mapped[:, 0] > 0).astype(int)
    net = Sequential(Linear(width, 8), ReLU(), Linear(8, 2), seed=0, dtype="float32", engine=engine)
    tracemalloc.start()
    try:
        p = Posterior(net, mapped[:], y, batches=10)
        kernels = (mp.HMC(1e-4, 1), mp.SplitHMC(1e-4, 1), mp.SplitHMC(1e-4, 1, order="full"))
        for kernel in kernels:
            run(p, kernel, draws=1, warmup=0, chains=1, seed=1, init=net.parameters)
        trace = mp.sample_model(net, mapped, y, kernel=kernels[0], draws=1, warmup=0, chains=1, progress=False)
        mp.predict_model(net, trace, mapped, y)
        p.hvp(net.parameters, net.parameters)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mapped.nbytes / 2


def test_large_parts_of_a_map_are_checked(tmp_path):
    x = np.zeros((9000, 3))
    x[8500, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=r"x: expected finite numbers of float64, got nan at index \(8500, 1\)"):
        Posterior(Sequential(Linear(3, 2)), np.load(tmp_path / "x.npy", mmap_mode="r"), np.zeros(9000, int))


def test_a_gradient_that_is_not_finite_is_a_rejection():
    """Where the loss is finite; a peer accepted such points."""
    pytest.importorskip("numba")

    def loss(output, target, gradient):
        gradient[0] = output[0] - target[0] if abs(output[0]) < 1.0 else np.nan
        return 0.5 * (output[0] - target[0]) ** 2

    p = Posterior(Sequential(Linear(1, 1, bias=False), seed=0), [[1.0]], [0.2], loss=loss)
    for kernel in (mp.HMC(0.8, 3), mp.NUTS(step_size=0.8), mp.SplitHMC(0.8, 3)):
        trace = run(p, kernel, draws=400, warmup=0, chains=1, seed=1, init=[0.1])
        assert trace.stats["divergent"].any()
        assert np.abs(trace.draws).max() < 1.0


def test_one_gradient_for_each_leapfrog_step():
    """Value and gradient are kept between draws, also behind a rejection."""
    trace = run(posterior("binary"), mp.HMC(0.12, 1), draws=50, warmup=0, chains=1, seed=1)
    assert 0.1 < trace.stats["accepted"].mean() < 1
    assert set(trace.stats["n_grad"][0]) == {1}


def test_what_is_printed_is_short():
    """A peer printed whole parameter vectors."""
    net = Sequential(Linear(20, 30), ReLU(), Linear(30, 2), seed=0)
    p = Posterior(net, np.full((2, 20), 1e200), [0, 1], tau=1e-3)
    texts = [repr(p), repr(net), repr(run(p, mp.HMC(1e-3, 1), draws=2, warmup=0, chains=1, init=np.zeros(p.dim)))]
    for call in (lambda x: mp.init(p, x), lambda x: run(p, mp.NUTS(), init=x)):
        with pytest.raises(InputError) as caught:
            call(np.full(p.dim, 1e150))
        texts.append(str(caught.value))
    assert max(map(len, texts)) < 400


def test_overflow_is_a_rejection_that_is_counted():
    net = Sequential(Linear(3, 2), seed=0, dtype="float32")
    p = Posterior(net, 1e30 * X, TARGETS["multiclass"], tau=1e-12)
    assert not np.isfinite(p(np.full(p.dim, 1e20)))
    trace = run(
        p, mp.RandomWalk(scale=1e25, target_accept=None), draws=20, warmup=0, chains=1, seed=1, init=np.zeros(p.dim)
    )
    assert np.all(trace.stats["divergent"])
    np.testing.assert_array_equal(trace.draws, 0.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": [0, 1]}, InputError, r"y: expected shape \(101,\)"),
        ({"y": np.full(101, 2)}, InputError, "labels in 0..1"),
        ({"x": np.where(X > 2, np.nan, X)}, InputError, "x: expected finite"),
        ({"x": X[:, :2]}, InputError, "x: expected shape"),
        ({"y": None}, InputError, "both x and y or neither"),
        ({"tau": 0.0}, InputError, "tau: expected positive"),
        ({"tau": [1.0, 2.0]}, InputError, "tau: expected a number or 4"),
        ({"tau_out": -1.0}, InputError, "tau_out"),
        ({"batches": 102}, InputError, "batches: expected at most 4096, and one for each of 101 rows"),
        (
            {"batches": 4097, "x": np.zeros((5000, 3)), "y": np.zeros(5000)},
            InputError,
            "batches: expected at most 4096",
        ),
        ({"loss": "huber"}, InputError, "loss"),
        ({"net": "net"}, InputTypeError, "net: expected a Sequential"),
    ],
)
def test_bad_input_is_named(change, error, message):
    net = Sequential(Linear(3, 5), Tanh(), Linear(5, 2))
    arguments = {"net": net, "x": X, "y": TARGETS["multiclass"], **change}
    with pytest.raises(error, match=message):
        Posterior(**arguments)


def test_no_differences_of_float32():
    """Third derivatives were off by a tenth, those of user losses by anything."""
    net = Sequential(Linear(3, 2), seed=0, dtype="float32")
    single, theta = Posterior(net, X, TARGETS["multiclass"]), np.full(8, 0.5)
    truth = Posterior(Sequential(Linear(3, 2), seed=0), X, TARGETS["multiclass"])
    np.testing.assert_allclose(single.hessian(theta), truth.hessian(theta), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="net: expected dtype float64 for derivatives that are differences"):
        single.third_derivative_product(theta, np.eye(8))
    with pytest.raises(InputError, match="net: expected dtype float64 for .*third_product"):
        mp.sample(single, mp.RMHMC(step_size=0.05, n_steps=2), draws=2, warmup=0, chains=1, init=theta, seed=0)
    trace = mp.sample(truth, mp.RMHMC(step_size=0.05, n_steps=2), draws=2, warmup=0, chains=1, init=theta, seed=0)
    assert trace.draws.shape == (1, 2, 8)
