"""sample_model and predict_model: posteriors of networks from end to end."""

import itertools
import time

import numpy as np
import pytest
from laws.interrupts import press_ctrl_c
from laws.kernels import assert_same_run, resume, run

import micropolis as mp
from micropolis.errors import InputError, InputTypeError
from micropolis.neural import Linear, Posterior, ReLU, Sequential, losses

RNG = np.random.default_rng(4)
X = RNG.standard_normal((20, 2))
Y = X @ [1.0, -2.0] + 0.5 + 0.4 * RNG.standard_normal(20)
LABELS = (X[:, 0] > 0).astype(int)
QUIET = {"progress": False}


def exact():
    """Mean and covariance of Bayesian linear regression, tau = 1, tau_out = 6."""
    design = np.column_stack([X, np.ones(20)])
    cov = np.linalg.inv(6.0 * design.T @ design + np.eye(3))
    return cov @ (6.0 * design.T @ Y), cov


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
@pytest.mark.parametrize(
    ("kernel", "batches"),
    [
        (mp.NUTS(), None),
        (None, None),
        (mp.HMC(0.1, 8, jitter=0.5), None),
        (mp.HMC(0.1, 8, jitter=0.5), 4),
        (mp.SplitHMC(0.1, 8, jitter=0.5, order="randomised"), 5),
        (mp.SplitHMC(0.1, 8, jitter=0.5, order="full"), 5),
        (mp.RandomWalk(scale=0.1), None),
    ],
    ids=["nuts", "default", "hmc", "hmc in batches", "split", "full", "random walk"],
)
def test_linear_regression_has_its_exact_posterior(kernel, batches):
    """Every mean and second moment within 6 standard errors by batch means; 63 numbers, by chance 1e-7."""
    mean, cov = exact()
    draws = 20_000 if isinstance(kernel, mp.RandomWalk) else 3000
    net = Sequential(Linear(2, 1), seed=0)
    trace = mp.sample_model(net, X, Y, kernel=kernel, draws=draws, warmup=1000, chains=4, seed=7, loss="regression",
                            tau=1.0, tau_out=6.0, batches=batches, **QUIET)  # fmt: skip
    deviation = trace.draws.reshape(-1, 3) - mean
    for i in range(3):
        for j in range(i + 1):
            product = (deviation[:, i] * deviation[:, j]).reshape(50, -1).mean(axis=1)
            assert abs(product.mean() - cov[i, j]) < 6 * product.std(ddof=1) / np.sqrt(50)
    blocks = deviation.reshape(50, -1, 3).mean(axis=1)
    assert np.all(np.abs(blocks.mean(axis=0)) < 6 * blocks.std(axis=0, ddof=1) / np.sqrt(50))


def test_predictions_are_those_of_the_network():
    net = Sequential(Linear(2, 4), ReLU(), Linear(4, 2), seed=3, dtype="float32")
    trace = run(Posterior(net, X, LABELS), mp.HMC(0.05, 3), draws=20, warmup=0, chains=2, seed=1, init=net.parameters)
    for threads in (1, 3):
        predictions, logp = mp.predict_model(net, trace, X, LABELS, threads=threads)
        assert predictions.shape == (40, 20, 2)
        assert predictions.dtype == np.float32
        assert logp is not None
        other = net.copy()
        for s, theta in enumerate(trace.draws.reshape(-1, net.n_parameters)):
            other.parameters = theta
            np.testing.assert_array_equal(predictions[s], other(X))
            assert logp[s] == pytest.approx(-other.losses(X, LABELS).sum(), rel=1e-5)


def test_draws_in_a_file_are_read_from_there(tmp_path, monkeypatch):
    net = Sequential(Linear(2, 3), seed=0, dtype="float32")
    draws = np.random.default_rng(0).standard_normal((2, 50, 9)).astype("float32")
    np.save(tmp_path / "draws.npy", draws)
    x = np.random.default_rng(1).standard_normal((4, 2))
    expected, _ = mp.predict_model(net, draws.astype(float), x)
    mapped = np.load(tmp_path / "draws.npy", mmap_mode="r")
    seen = []
    monkeypatch.setattr("micropolis.bayes.checks.numbers", lambda name, _: seen.append(name))
    np.testing.assert_array_equal(mp.predict_model(net, mapped, x.astype("float32"))[0], expected)
    assert not seen  # which makes a copy of all of it


def test_log_probabilities_of_every_loss():
    rng = np.random.default_rng(2)
    draws = rng.standard_normal((5, 6))
    net = Sequential(Linear(2, 2), seed=0)
    targets = {
        "regression": rng.standard_normal((20, 2)),
        "poisson": rng.poisson(1, (20, 2)),
        "binary": rng.integers(0, 2, (20, 2)),
    }
    for loss, y in targets.items():
        predictions, logp = mp.predict_model(net, draws, X, y, loss=loss, tau_out=2.0)
        expected = [-losses.reference(loss, outputs, y, 2.0)[0].sum() for outputs in predictions]
        np.testing.assert_allclose(logp, expected)
    assert mp.predict_model(net, draws, X)[1] is None


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
@pytest.mark.parametrize("loss", ["multiclass", "binary", "regression", "poisson"])
def test_a_trace_tells_the_likelihood_of_its_predictions(loss, tmp_path):
    """The interface's predict_model(net, trace, x, y) names no loss: it is that of sample_model, not "multiclass"."""
    net = Sequential(Linear(2, 2), seed=0)
    y = LABELS if loss == "multiclass" else np.column_stack([LABELS, 1 - LABELS])
    trace = mp.sample_model(net, X, y, draws=5, warmup=20, chains=2, seed=1, loss=loss, tau_out=3.0, **QUIET)
    trace.save(tmp_path / "trace.npz")
    resumed = mp.resume(trace, draws=5, density=Posterior(net, X, y, loss, 1.0, 3.0), **QUIET)
    for told in (trace, mp.Trace.load(tmp_path / "trace.npz"), resumed):
        outputs, logp = mp.predict_model(net, told, X, y)
        expected = [-losses.reference(loss, one, y, 3.0)[0].sum() for one in outputs]
        np.testing.assert_allclose(logp, expected)


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_warnings_are_about_the_line_that_asked_for_a_run():
    net, kernel = Sequential(Linear(2, 2), seed=0), mp.HMC(1e3, 3)
    density, plan = Posterior(net, X, LABELS), {"kernel": kernel, "draws": 5, "warmup": 0, "chains": 1, "seed": 1}
    for call in (
        lambda: mp.sample_model(net, X, LABELS, **plan, **QUIET),
        lambda: mp.sample(density, init=net.parameters, **plan, **QUIET),
        lambda: mp.resume(run(density, init=net.parameters, **plan), draws=5, density=density, **QUIET),
    ):
        with pytest.warns(mp.errors.SamplingWarning, match="diverged") as said:
            call()
        assert {one.filename for one in said} == {__file__}


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_a_trace_of_a_function_asks_for_it():
    pytest.importorskip("numba")
    net = Sequential(Linear(2, 1), seed=0)

    def gaussian(output, target, gradient):
        gradient[0] = output[0] - target[0]
        return 0.5 * gradient[0] ** 2

    trace = mp.sample_model(net, X, Y, draws=5, warmup=5, chains=1, seed=1, loss=gaussian, **QUIET)
    assert mp.predict_model(net, trace, X)[1] is None
    with pytest.raises(InputError, match="loss: expected the function"):
        mp.predict_model(net, trace, X, LABELS * 0)
    logp = mp.predict_model(net, trace, X, Y, loss=gaussian)[1]
    normaliser = 10 * np.log(2 * np.pi)
    np.testing.assert_allclose(logp - normaliser, mp.predict_model(net, trace, X, Y, loss="regression", tau_out=1.0)[1])


def test_a_rejected_first_draw_stays_at_the_start():
    """A peer threw the chain back to zero; steps this long are never accepted."""
    net = Sequential(Linear(2, 2), seed=5)
    trace = run(
        Posterior(net, X, LABELS, tau=1e-4), mp.HMC(1e3, 3), draws=5, warmup=0, chains=1, seed=1, init=net.parameters
    )
    np.testing.assert_array_equal(trace.draws[0], np.tile(net.parameters, (5, 1)))


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_acceptance_is_that_of_the_kept_draws():
    """Peers counted over burn-in too. Warm-up begins at a step so long that it accepts nothing."""
    net = Sequential(Linear(2, 2), seed=5)
    trace = mp.sample_model(
        net, X, LABELS, kernel=mp.HMC(50.0, 5, target_accept=0.8), draws=200, warmup=200, chains=2, seed=1, **QUIET
    )
    assert trace.stats.shape == (2, 200)
    assert trace.warmup_stats.shape == (2, 200)
    assert abs(trace.stats["accept_prob"].mean() - 0.8) < 0.15
    assert (trace.stats["accepted"][:, 1:] == np.any(np.diff(trace.draws, axis=1) != 0, axis=2)).all()


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_nuts_on_a_network_is_nuts():
    """A peer's "NUTS" was HMC of fixed length: here the length follows the trajectory."""
    net = Sequential(Linear(2, 3), ReLU(), Linear(3, 2), seed=5)
    trace = mp.sample_model(net, X, LABELS, draws=200, warmup=200, chains=2, seed=1, **QUIET)
    assert len(set(trace.stats["depth"].ravel())) > 1
    assert len(set(trace.stats["n_grad"].ravel())) > 3
    assert trace["0.weight[2,1]"].shape == (2, 200)
    np.testing.assert_array_equal(trace["2.bias[1]"], trace.draws[:, :, -1])
    assert trace.names == Posterior(net, X, LABELS).names


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
@pytest.mark.parametrize("kernel", [mp.HMC(0.1, 4), mp.NUTS(), mp.SplitHMC(0.1, 4, order="full")])
def test_a_fixed_step_is_kept_in_warm_up(kernel):
    net = Sequential(Linear(2, 2), seed=5)
    trace = mp.sample_model(net, X, LABELS, kernel=kernel, draws=5, warmup=50, chains=1, seed=1, **QUIET)
    fixed = not isinstance(kernel, mp.NUTS)
    assert (trace.kernels[0].step_size == 0.1) == fixed
    assert np.all(trace.warmup_stats["step_size"] == 0.1) == fixed


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_without_data_draws_follow_the_prior():
    """One tau for each tensor; 6 standard errors by batch means for 2 x 9 numbers: by chance 4e-8."""
    net = Sequential(Linear(2, 3), seed=0)
    trace = mp.sample_model(net, None, tau=[4.0, 0.25], draws=2000, warmup=300, chains=4, seed=3, **QUIET)
    draws, variance = trace.draws.reshape(-1, 9), np.repeat([0.25, 4.0], [6, 3])
    for values, truth in ((draws, 0 * variance), (draws**2, variance)):
        means = values.reshape(50, -1, 9).mean(axis=1)
        assert np.all(np.abs(values.mean(axis=0) - truth) < 6 * means.std(axis=0, ddof=1) / np.sqrt(50))


@pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")
def test_chains_begin_at_the_network_and_draws_have_its_dtype():
    net = Sequential(Linear(2, 2), seed=5, dtype="float32")
    trace = mp.sample_model(net, X, LABELS, kernel=mp.HMC(1e3, 1), draws=1, warmup=0, chains=3, seed=1, **QUIET)
    np.testing.assert_array_equal(trace.draws[:, 0], np.tile(net.parameters, (3, 1)))
    assert trace.draws.dtype == np.float32
    assert trace.names[0] == "0.weight[0,0]"


def test_a_run_goes_on_bit_for_bit(tmp_path):
    net = Sequential(Linear(2, 3), ReLU(), Linear(3, 2), seed=0)
    density, kernel = Posterior(net, X, LABELS, batches=3), mp.SplitHMC(0.05, 3, target_accept=0.8)
    options = {"warmup": 30, "chains": 2, "seed": 4, "init": net.parameters}
    whole = run(density, kernel, draws=40, **options)
    first = run(density, kernel, draws=15, **options)
    first.save(tmp_path / "first.npz")
    rest = resume(mp.Trace.load(tmp_path / "first.npz"), draws=25, density=density)
    assert_same_run(whole, rest, slice(15, None))


def test_a_user_loss_is_a_likelihood():
    """A Gaussian loss written by hand: the same chain as "regression" up to rounding of its constant."""

    def gaussian(output, target, gradient):
        total = 0.0
        for k in range(output.size):
            gradient[k] = 6.0 * (output[k] - target[k])
            total += 0.5 * 6.0 * (output[k] - target[k]) ** 2
        return total

    net = Sequential(Linear(2, 1), seed=0)
    options = {"kernel": mp.HMC(0.05, 5), "draws": 10, "warmup": 0, "chains": 1, "seed": 3, **QUIET}
    with pytest.warns(mp.errors.SamplingWarning):
        mine = mp.sample_model(net, X, Y, loss=gaussian, **options)
    with pytest.warns(mp.errors.SamplingWarning):
        named = mp.sample_model(net, X, Y, loss="regression", tau_out=6.0, **options)
    np.testing.assert_allclose(mine.draws, named.draws, rtol=1e-8)
    logp = mp.predict_model(net, mine, X, Y, loss=gaussian)[1]
    reference = mp.predict_model(net, named, X, Y, loss="regression", tau_out=6.0)[1]
    assert logp is not None
    np.testing.assert_allclose(np.diff(logp), np.diff(reference), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda net: mp.sample_model(net, X, LABELS, batches=2), InputError, "batches: expected None, or an HMC"),
        (lambda net: mp.sample_model(net, X, LABELS[:3]), InputError, r"y: expected shape \(20,\)"),
        (lambda net: mp.sample_model("net", X, LABELS), InputTypeError, "net"),
        (lambda net: mp.predict_model(net, np.zeros((2, 5)), X), InputError, "trace: expected draws of 6 parameters"),
        (lambda net: mp.predict_model(net, np.zeros((2, 6)), X[:, :1]), InputError, "x: expected shape"),
        (lambda net: mp.predict_model(net, np.full((2, 6), np.nan), X), InputError, "trace: .* draw 0 has others"),
        (lambda net: mp.predict_model(net, np.zeros((2, 6)), X, LABELS + 2), InputError, "labels in 0..1"),
        (lambda net: mp.predict_model(net, np.zeros((2, 6)), X, threads=0), InputError, "threads"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(Sequential(Linear(2, 2), seed=0))


@pytest.mark.parametrize(("dtype", "value"), [("float64", np.inf), ("float32", 1e300)])
@pytest.mark.parametrize("threads", [1, 3])
def test_draws_that_are_no_numbers_are_named(dtype, value, threads):
    draws = np.zeros((40, 6))
    draws[35, 2] = value
    with pytest.raises(InputError, match=f"trace: expected finite numbers of {dtype}, draw 35 has others"):
        mp.predict_model(Sequential(Linear(2, 2), dtype=dtype), draws, X, LABELS, threads=threads)


def test_ctrl_c_stops_every_thread_of_a_prediction(monkeypatch):
    """Threads left to themselves would go on, for five seconds, and keep the interpreter from ending."""
    calls, numbers = [], itertools.count(1)

    def slow(*arguments):
        number = next(numbers)
        calls.append(number)
        if number == 100:
            press_ctrl_c()
        time.sleep(0.002)
        return reference(*arguments)

    reference = losses.reference
    monkeypatch.setattr(losses, "reference", slow)
    with pytest.raises(KeyboardInterrupt):
        mp.predict_model(Sequential(Linear(2, 2)), np.zeros((5000, 6)), X, LABELS, threads=2)
    seen = -1
    while seen < len(calls):  # blocks that had begun: 16 draws
        seen = len(calls)
        time.sleep(0.2)
    assert seen < 2000
