"""MMH: the decisions of a NumPy loop, acceptance against Barker's rule, what is sampled, continuation, faults."""

import math
import pickle

import numpy as np
import pytest
from laws.weight_loops import minibatch, row_losses
from scipy import stats
from scipy.special import expit, ndtr

import micropolis as mp
from micropolis.errors import InputError, InputTypeError
from micropolis.metropolis.optimizer import run_chains
from micropolis.neural import Linear, ReLU, Sequential

LEVEL = 1e-6
TESTS = ("naive", "barker", "exact")


def blobs(n=300, seed=0):
    """Three classes that overlap a little."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.standard_normal((n, 2)) + 3 * np.array([[0, 0], [1, 0], [0, 1]])[y], y


X, Y = blobs()


def network(seed=0, dtype="float64"):
    return Sequential(Linear(2, 8), ReLU(), Linear(8, 3), seed=seed, dtype=dtype)


# -- against the NumPy loop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("test", "batch_size", "options"),
    [
        ("naive", 64, {}),
        ("naive", 300, {"tau": 0.1, "reduction": "sum", "T": 1.0}),
        ("barker", 2, {}),
        ("barker", 1, {"T": 0.0}),
        ("barker", 64, {"noise": 1.702, "tau": 0.1}),
        ("exact", 2, {}),
        ("exact", 40, {"tau": 0.1}),
        ("exact", 64, {"reduction": "sum", "T": 3.0}),
        ("exact", 300, {}),
    ],
)
def test_decisions_of_the_numpy_loop(test, batch_size, options, dtype):
    net = network(dtype=dtype)
    options = {"T": 5e-3, **options}
    T = options.pop("T")
    accepted, rows, ratios, variances, theta = minibatch(net, X, Y, 0.02, T, 250, batch_size, test, 11, **options)
    history = mp.MMH(net, lr=0.02, T=T, test=test, seed=11, **options).run(X, Y, 250, batch_size)
    np.testing.assert_array_equal(history.accept, accepted)
    np.testing.assert_array_equal(history.rows_used, rows)
    np.testing.assert_array_equal(net.parameters, theta)
    # a loss of order 1 in single precision, over T: an error of some 1e-7 / T
    noise = (1e-13 if dtype == "float64" else 3e-6) * (300 if options.get("reduction") == "sum" else 1) / max(T, 1e-3)
    if T > 0:
        np.testing.assert_allclose(history.log_ratio, ratios, rtol=1e-9 if dtype == "float64" else 1e-4, atol=noise)
    if T > 0 and batch_size > 1:
        np.testing.assert_allclose(history.variance, variances, rtol=1e-9 if dtype == "float64" else 1e-2, atol=noise)
    if test == "exact" and 1 < batch_size < 300:
        assert np.all(history.variance <= 1) and history.rows_used.max() > batch_size


def test_losses_are_those_of_the_minibatch():
    net = network()
    start = net.parameters.copy()
    step = mp.MMH(net, lr=0.02, T=1.0, test="naive", seed=1).step(X, Y, batch_size=300)
    assert step.rows_used == 300 and step.variance == 0
    before, after = (row_losses(net, theta, X, Y).mean() for theta in (start, net.parameters))
    assert step.sample_nll == pytest.approx(after, rel=1e-12)
    assert step.log_ratio == pytest.approx(before - step.proposal_nll, rel=1e-9)


def test_rows_are_drawn_without_replacement():
    """Every subset of a step has distinct rows, and every row comes equally often."""
    opt = mp.MMH(network(), lr=0.01, T=1.0, test="naive", seed=1)
    counts = np.zeros(300)
    for _ in range(3000):
        opt.step(X, Y, batch_size=30)
        head = opt._loop.permutation[:30]
        assert len(set(head.tolist())) == 30
        counts[head] += 1
    # variance of a count: 3000 p (1 - p) with p = 0.1, and the counts' sum is fixed
    statistic = np.sum((counts - 300) ** 2) / (3000 * 0.1 * 0.9) * 299 / 300
    assert LEVEL < stats.chi2(299).sf(statistic) < 1 - LEVEL
    np.testing.assert_array_equal(np.sort(opt._loop.permutation), np.arange(300))


# -- acceptance from one point, where the full data's log ratio is known ---------------------------------------------


def regression(test, scatter, **options):
    """A linear regression of 200 rows at its optimum, where log ratios are about -1 and their rows' scatter is known.

    Around the optimum the log ratio of theta' is -|X (theta' - theta)|^2 / 2, in 100 dimensions nearly the same for
    every proposal; b rows estimate it with variance (1 - b / n) 400 scatter / b.
    """
    rng = np.random.default_rng(4)
    inputs = rng.standard_normal((200, 100))
    residual = rng.standard_normal(200)
    residual -= inputs @ np.linalg.lstsq(inputs, residual)[0]
    net = Sequential(Linear(100, 1, bias=False), engine="tiles")
    y = inputs @ net.parameters + residual * math.sqrt(scatter) / residual.std()
    plan = {"lr": 0.01, "T": 1.0, "seed": 5, "loss": "regression", "reduction": "sum"}
    return mp.MMH(net, test=test, **plan, **options), inputs, y


def acceptance_score(problem, batch_size, rule, steps):
    """Standard score of the number of accepted proposals, against `rule` of the full log ratio, and mean rows used."""
    opt, inputs, y = problem
    theta, excess, variance, rows = opt.net.parameters.copy(), 0.0, 0.0, 0
    for _ in range(steps):
        opt.net.parameters[:] = theta
        twin = np.random.SFC64(0)
        twin.state = opt._bit_generator.state
        shift = inputs @ (opt.lr * np.random.Generator(twin).standard_normal(100))
        step = opt.step(inputs, y, batch_size)
        p = float(rule(-0.5 * (shift @ shift)))
        excess += step.accept - p
        variance += p * (1 - p)
        rows += step.rows_used
    return excess / math.sqrt(variance), rows / steps


@pytest.mark.parametrize(
    ("scatter", "batch_size", "rows"), [(0.33, 160, (160, 161)), (1.0, 64, (128, 175)), (1.0, 200, (200, 200))]
)
def test_exact_acceptance_is_barkers(scatter, batch_size, rows):
    """In the first case, without the factor 1 - b / n, acceptance would be lower by seven standard errors."""
    score, used = acceptance_score(regression("exact", scatter), batch_size, expit, steps=15_000)
    assert rows[0] <= used <= rows[1]
    assert abs(score) < stats.norm.isf(LEVEL / 2)


@pytest.mark.parametrize("noise", [1.0, 1.702])
def test_barker_with_all_rows_is_a_probit_rule(noise):
    problem = regression("barker", 0.5, noise=noise)
    score, _ = acceptance_score(problem, 200, lambda ratio: ndtr(ratio / noise), steps=6000)
    assert abs(score) < stats.norm.isf(LEVEL / 2)


def test_distance_of_the_probit_rule():
    """What the documentation says of `noise`."""
    x = np.linspace(0, 12, 4001)
    assert np.abs(ndtr(x) - expit(x)).max() == pytest.approx(0.117, abs=1e-3)
    assert np.abs(ndtr(x / 1.702) - expit(x)).max() == pytest.approx(0.0095, abs=1e-4)


# -- what is sampled -------------------------------------------------------------------------------------------------


CASES = [("exact", 64, None), ("exact", 64, 150.0), ("exact", 400, None), ("naive", 400, None)]


@pytest.mark.parametrize(("test", "batch_size", "tau"), CASES)
def test_posterior_of_a_mean(test, batch_size, tau):
    """One weight, inputs 1, unit noise, sums and T = 1: Normal(n ybar / (n + tau), 1 / (n + tau)), by chains' ends."""
    rng = np.random.default_rng(5)
    ones, y = np.ones((400, 1)), 0.3 + rng.standard_normal(400)
    precision = 400 + (tau or 0.0)
    mean = y.sum() / precision
    opts = []
    for i in range(1000):
        net = Sequential(Linear(1, 1, bias=False))
        net.parameters = [mean + rng.standard_normal() / math.sqrt(precision)]  # begins where it should stay
        opts.append(
            mp.MMH(net, 0.06, 1.0, test, seed=i, loss="regression", reduction="sum", tau=tau),
        )
    histories = run_chains(opts, ones, y, steps=60, batch_size=batch_size)
    draws = np.array([opt.net.parameters[0] for opt in opts])
    assert 0.1 < np.mean([history.acceptance for history in histories]) < 0.7
    assert stats.kstest(draws, stats.norm(mean, 1 / math.sqrt(precision)).cdf).pvalue > LEVEL


# -- continuation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("way", ["steps", "run", "pickle", "save"])
def test_goes_on_where_it_stopped(way, test, tmp_path):
    plan = {"lr": np.geomspace(0.05, 0.01, 100), "T": 5e-3, "test": test, "seed": 3}
    whole = mp.MMH(network(), **plan)
    expected = whole.run(X, Y, steps=120, batch_size=16)
    opt = mp.MMH(network(), **plan)
    parts = [opt.run(X, Y, steps=50, batch_size=16).records]
    if way == "pickle":
        opt = pickle.loads(pickle.dumps(opt))
    elif way == "save":
        opt.save(tmp_path / "opt.npz")
        opt = mp.MMH(network(seed=8), **plan | {"seed": 0})
        opt.restore(tmp_path / "opt.npz")
    if way == "steps":
        records = [opt.step(X, Y, batch_size=16) for _ in range(70)]
        fields = np.array([record.accept for record in records]), np.array([record.log_ratio for record in records])
        np.testing.assert_array_equal(fields[0], expected.accept[50:])
        np.testing.assert_array_equal(fields[1], expected.log_ratio[50:])
    else:
        parts.append(opt.run(X, Y, steps=70, batch_size=16).records)
        for name in expected.records.dtype.names:
            np.testing.assert_array_equal(np.concatenate(parts)[name], expected.records[name], err_msg=name)
    np.testing.assert_array_equal(opt.net.parameters, whole.net.parameters)


def test_losses_on_all_rows_only_where_asked_for():
    quiet = mp.MMH(network(), lr=0.02, T=5e-3, seed=1)
    plain = quiet.run(X, Y, steps=100, batch_size=32)
    assert plain.best_model is None and math.isnan(plain.best_nll) and plain.evaluated_steps.size == 0
    opt = mp.MMH(network(), lr=0.02, T=5e-3, seed=1)
    history = opt.run(X, Y, steps=100, batch_size=32, evaluate_every=30)
    np.testing.assert_array_equal(history.records["accept"], plain.records["accept"])
    assert history.evaluated_steps.tolist() == [0, 30, 60, 90, 100]
    assert history.evaluated_nll[0] == pytest.approx(
        row_losses(network(), network().parameters, X, Y).mean(), rel=1e-12
    )
    assert history.best_nll == history.evaluated_nll.min()
    best = history.best_model
    assert row_losses(best, best.parameters, X, Y).mean() == pytest.approx(history.best_nll, rel=1e-12)


def test_a_restored_state_knows_the_best_model(tmp_path):
    opt = mp.MMH(network(), lr=0.02, T=5e-3, seed=1)
    best = opt.run(X, Y, steps=300, batch_size=32, evaluate_every=10).best_nll
    opt.lr, opt.T = 1.0, 100.0
    opt.run(X, Y, steps=10, batch_size=32)  # it gets worse from here
    opt.save(tmp_path / "state.npz")
    copies = [pickle.loads(pickle.dumps(opt)), pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(opt))))]
    other = mp.MMH(network(), lr=1.0, T=100.0, seed=3)
    other.restore(tmp_path / "state.npz")
    moved = pickle.loads(pickle.dumps(opt))
    moved.net.parameters = np.ones(moved.net.n_parameters)
    for walk in (opt, other, *copies, moved):
        history = walk.run(X, Y, steps=50, batch_size=32, evaluate_every=10)
        assert history.best_nll == best < history.evaluated_nll.min()
    other.restore(tmp_path / "state.npz")
    assert other.run(X[:-1], Y[:-1], steps=50, batch_size=32, evaluate_every=10).best_nll != best  # of other data


@pytest.mark.parametrize("workers", [1, 3])
def test_chains_in_threads(workers):
    def build():
        return [mp.MMH(network(seed=i), lr=0.02, T=5e-3, test=TESTS[i], seed=i) for i in range(3)]

    expected = [opt.run(X, Y, steps=100, batch_size=20) for opt in build()]
    for a, b in zip(run_chains(build(), X, Y, 100, workers=workers, batch_size=20), expected, strict=True):
        np.testing.assert_array_equal(a.records, b.records)


def test_other_data():
    opt = mp.MMH(network(), lr=0.02, T=5e-3, seed=1)
    opt.step(X, Y)
    assert opt.step(X[:100], Y[:100], batch_size=100).rows_used == 100
    with pytest.raises(InputError, match=r"batch_size: expected an integer in 2..100"):
        opt.step(X[:100], Y[:100], batch_size=101)


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("test", TESTS)
def test_overflow_is_a_rejection_that_is_counted(test):
    net = network(dtype="float32")
    before = net.parameters.copy()
    history = mp.MMH(net, lr=1e30, T=0.1, test=test, seed=1).run(X, Y, steps=40, batch_size=64)
    assert history.non_finite.all() and not history.accept.any() and np.all(history.rows_used == 64)
    np.testing.assert_array_equal(net.parameters, before)
    net.parameters[:] = 1e30  # from there every finite loss is an improvement
    opt = mp.MMH(net, lr=1e30, T=0.1, test=test, seed=1)
    assert not opt.run(X, Y, steps=10, batch_size=64).accept.any()


def test_zero_temperature_is_for_barker():
    for test in ("naive", "exact"):
        for T in (0.0, [0.1, 0.0]):
            with pytest.raises(
                InputError, match=f"T: expected a finite number > 0, got 0.*: test='{test}' divides by T"
            ):
                mp.MMH(network(), lr=0.1, T=T, test=test)
    net = network()
    history = mp.MMH(net, lr=0.01, T=0.0, test="barker", seed=1).run(X, Y, steps=100, batch_size=300)
    before = np.concatenate([[row_losses(net, network().parameters, X, Y).mean()], history.sample_nll[:-1]])
    np.testing.assert_allclose(np.minimum(before, history.proposal_nll), history.sample_nll, rtol=1e-14)


@pytest.mark.parametrize(
    ("test", "batch_size", "match"),
    [
        ("naive", 0, "batch_size: expected an integer >= 1, got 0"),
        ("naive", 301, "batch_size: expected an integer in 1..300 .*, got 301"),
        ("exact", 1, "batch_size: expected an integer in 2..300 .*, got 1"),
        ("exact", 2.0, "batch_size: expected an integer"),
    ],
)
def test_bad_batch_size(test, batch_size, match):
    opt = mp.MMH(network(), lr=0.1, T=0.1, test=test)
    with pytest.raises((InputError, InputTypeError), match=match):
        opt.step(X, Y, batch_size=batch_size)
    with pytest.raises((InputError, InputTypeError), match=match):
        opt.run(X, Y, steps=3, batch_size=batch_size)
    with pytest.raises((InputError, InputTypeError), match="evaluate_every"):
        opt.run(X, Y, steps=3, batch_size=5, evaluate_every=0)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"test": "metropolis"}, "test: expected one of 'naive', 'barker', 'exact'"),
        ({"noise": 0.0}, "noise: expected a finite number > 0"),
        ({"T": -1.0}, "T: expected a finite number > 0, got -1$"),
        ({"lr": 0.0}, "lr: expected a finite number > 0"),
    ],
)
def test_bad_options(arguments, match):
    with pytest.raises(InputError, match=match):
        mp.MMH(**{"net": network(), "lr": 0.1, "T": 0.1, **arguments})


def test_one_row():
    """All the data in one row: nothing to estimate, and no division by zero."""
    for test in TESTS:
        history = mp.MMH(network(), lr=0.1, T=0.1, test=test, seed=1).run(X[:1], Y[:1], steps=20, batch_size=1)
        assert np.all(history.variance == 0) and np.all(np.isfinite(history.log_ratio))
