"""Estimators: scikit-learn's own checks, exact posteriors, calibration, and the faults."""

import math
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from laws.interrupts import ctrl_c_when
from scipy import integrate, stats
from scipy.special import softmax
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import micropolis as mp
from micropolis.errors import InputError, InputTypeError, SamplingWarning
from micropolis.estimators import BayesianMLPClassifier, BayesianMLPRegressor, MetropolisClassifier, bayesian
from micropolis.estimators.predictive import UnknownNoise, mixture_quantiles
from micropolis.neural import Linear, Sequential, Tanh

SHORT = {"warmup": 60, "draws": 50, "chains": 1, "random_state": 0}
MOONS, SIDES = make_moons(n_samples=200, noise=0.1, random_state=0)
RNG = np.random.default_rng(5)
PLANE = RNG.standard_normal((60, 2)) * [1.0, 3.0] + [0.0, 2.0]
HEIGHTS = PLANE @ [1.0, -0.5] + 3.0 + 0.5 * RNG.standard_normal(60)
QUIET = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")  # runs here are short


@QUIET
@parametrize_with_checks(
    [
        MetropolisClassifier(random_state=0),
        MetropolisClassifier(test="exact", random_state=0),
        BayesianMLPClassifier((4,), **SHORT),
        BayesianMLPRegressor((4,), **SHORT),
        BayesianMLPRegressor((4,), tau_out=4.0, **SHORT),
    ]
)
def test_conventions_of_scikit_learn(estimator, check):
    check(estimator)


# -- MetropolisClassifier ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("test", "T"),
    [(None, None), ("naive", 1e-4), ("barker", 0.0), ("exact", None)],
    ids=["full", "naive", "barker", "exact"],
)
def test_predictions_are_those_of_the_best_model(test, T, dtype):
    model = MetropolisClassifier(test=test, T=T, lr=0.05, dtype=dtype, random_state=1).fit(MOONS, SIDES)
    assert model.score(MOONS, SIDES) > 0.85  # a line through the moons has 0.88
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    assert log_loss(SIDES, model.predict_proba(MOONS)) == pytest.approx(model.loss_, abs=tolerance)
    history = model.history_
    losses = history.sample_nll if test is None else history.evaluated_nll
    assert model.loss_ <= losses.min()
    assert len(history) == 2000
    if test is not None:
        assert history.rows_used.min() == 64
        assert len(history.evaluated_nll) == 101


def test_it_is_the_chain_of_mh():
    """The best loss that MH finds from the same weights with the same stream."""
    model = MetropolisClassifier((5,), lr=0.2, T=0.02, steps=300, tau=0.5, random_state=3).fit(MOONS, SIDES)
    seed = int(np.random.RandomState(3).randint(np.iinfo(np.int32).max))
    initial, walk = np.random.SeedSequence(seed).spawn(2)
    net = Sequential(Linear(2, 5), mp.neural.ReLU(), Linear(5, 2), seed=np.random.default_rng(initial))
    history = mp.MH(net, lr=0.2, T=0.02, seed=walk, tau=0.5).run(MOONS, SIDES, 300)
    np.testing.assert_array_equal(model.history_.accept, history.accept)
    assert model.loss_ == history.best_nll


# -- exact answers -----------------------------------------------------------------------------------------------------


def test_without_hidden_layers_it_is_linear_regression():
    """Mean and sd of the exact Gaussian predictive, within 5 standard errors of 4000 draws (as good as independent)."""
    tau, tau_out = 0.1, 4.0
    model = BayesianMLPRegressor(
        (), tau=tau, tau_out=tau_out, standardize=False, kernel=mp.NUTS(), warmup=500, draws=1000, random_state=2
    ).fit(PLANE, HEIGHTS)
    design = np.column_stack([PLANE, np.ones(60)])
    covariance = np.linalg.inv(tau_out * design.T @ design + tau * np.eye(3))
    mean = design @ (tau_out * covariance @ design.T @ HEIGHTS)
    spread = np.sum(design @ covariance * design, axis=1)
    found, sd = model.predict(PLANE, return_std=True)
    assert np.all(np.abs(found - mean) < 5 * np.sqrt(spread / 1000))
    # relative error of a variance sqrt(2 / draws), of its part in sd^2
    np.testing.assert_allclose(sd**2 - 1 / tau_out, spread, rtol=5 * math.sqrt(2 / 1000))
    quantiles = model.predict_quantiles(PLANE, [0.05, 0.5, 0.95])
    exact = stats.norm.ppf([0.05, 0.5, 0.95], mean[:, None], np.sqrt(spread + 1 / tau_out)[:, None])
    assert np.all(np.abs(quantiles - exact) < 5 * np.sqrt(spread / 1000)[:, None] * 2)
    np.testing.assert_array_equal(model.tau_out_, tau_out)


@QUIET
def test_units_are_standardised():
    """Other units of X and y: the same posterior, predictions in the units of y."""
    options = {"hidden": (3,), "warmup": 100, "draws": 100, "chains": 2, "random_state": 0}
    one = BayesianMLPRegressor(**options).fit(PLANE, HEIGHTS)
    other = BayesianMLPRegressor(**options).fit(PLANE * 4.0 + 8.0, HEIGHTS * 16.0 - 2.0)
    mean, sd = one.predict(PLANE, return_std=True)
    # chains that differ by rounding part; their averages agree within Monte Carlo error, with an ESS of 20 at least
    mean_2, sd_2 = other.predict(PLANE * 4.0 + 8.0, return_std=True)
    spread = np.sqrt(np.maximum(sd**2 - np.mean(1 / one.tau_out_), 0))
    assert np.all(np.abs((mean_2 + 2.0) / 16.0 - mean) < 5 * spread * math.sqrt(2 / 20))
    np.testing.assert_allclose(sd_2 / 16.0, sd, rtol=0.2)
    assert other.y_scale_ == pytest.approx(16.0 * one.y_scale_)
    np.testing.assert_allclose(other.scale_, 4.0 * one.scale_)


def test_noise_is_integrated_out():
    """Differences of log p(theta | y) against quadrature over the precision, and the gradient against differences."""
    net = Sequential(Linear(2, 3), Tanh(), Linear(3, 1), seed=0)
    x, y = PLANE[:9], HEIGHTS[:9]
    density = UnknownNoise(net, x, y, [0.5, 1.0, 2.0, 3.0], (1.5, 0.2))
    thetas = np.random.default_rng(1).standard_normal((2, net.n_parameters))

    def reference(theta):
        net.parameters = theta
        square = np.sum((net.reference(x)[:, 0] - y) ** 2)
        prior = sum(
            0.5 * tau * np.sum(view**2)
            for tau, view in zip([0.5, 1.0, 2.0, 3.0], net.named_parameters().values(), strict=True)
        )
        peak = (1.5 + 4.5) / (0.2 + square / 2)
        weight = integrate.quad(
            lambda t: (t / peak) ** 5.0 * math.exp(5.0 - (0.2 + square / 2) * t), 0, 20 * peak, points=[peak], epsabs=0
        )[0]
        return math.log(weight) + 5.0 * (math.log(peak) - 1.0) - prior

    assert density(thetas[0]) - density(thetas[1]) == pytest.approx(
        reference(thetas[0]) - reference(thetas[1]), abs=1e-7
    )
    step = 1e-5 * np.eye(net.n_parameters)
    differences = [(density(thetas[0] + h) - density(thetas[0] - h)) / 2e-5 for h in step]
    np.testing.assert_allclose(density.grad(thetas[0]), differences, rtol=1e-6, atol=1e-7)

    net.parameters = thetas[0]
    rate = 0.2 + np.sum((net.reference(x)[:, 0] - y) ** 2) / 2
    drawn = density.draw(np.repeat(thetas[:1], 5000, axis=0)[None], np.random.default_rng(2))
    assert stats.kstest(drawn, stats.gamma(6.0, scale=1 / rate).cdf).pvalue > 1e-6


def test_mixture_quantiles_invert_the_distribution():
    rng = np.random.default_rng(0)
    means, sds = rng.standard_normal((50, 20)) * [[10.0]], rng.gamma(1.0, 1.0, 50) + 1e-3
    levels = np.array([1e-4, 0.05, 0.5, 0.9, 0.999])
    quantiles = mixture_quantiles(means, sds, levels)
    cdf = stats.norm.cdf((quantiles[None] - means[:, :, None]) / sds[:, None, None]).mean(axis=0)
    np.testing.assert_allclose(cdf, np.broadcast_to(levels, cdf.shape), rtol=1e-7)


@QUIET
def test_probabilities_average_over_draws(monkeypatch):
    model = BayesianMLPClassifier((4,), **SHORT).fit(MOONS, SIDES)
    rows = (MOONS - MOONS.mean(axis=0)) / MOONS.std(axis=0)
    outputs, _ = mp.predict_model(model.net_, model.trace_, rows)
    expected = softmax(outputs, axis=-1).mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(MOONS), expected, rtol=1e-12)
    monkeypatch.setattr(bayesian, "BLOCK", 7 * 2 * 50)
    np.testing.assert_allclose(model.predict_proba(MOONS), expected, rtol=1e-12)
    assert model.score(MOONS, SIDES) > 0.95


# -- calibration -------------------------------------------------------------------------------------------------------


def coverage(repetitions, one):
    """Mean coverage over repetitions and its standard error."""
    covered = np.array([one(np.random.default_rng(seed), seed) for seed in range(repetitions)])
    return covered.mean(axis=0), covered.std(axis=0, ddof=1) / math.sqrt(repetitions)


def inside(model, X, y):
    low, middle_low, middle_high, high = model.predict_quantiles(X, [0.05, 0.25, 0.75, 0.95]).T
    return [np.mean((y > low) & (y < high)), np.mean((y > middle_low) & (y < middle_high))]


def from_the_prior(rng, seed, learned=True):
    """Truth, noise and data from the model itself: coverage over such draws is exact."""
    tau, noise_prior = 1.0, (8.0, 0.5)
    net = Sequential(Linear(1, 5), Tanh(), Linear(5, 1))
    net.parameters = rng.standard_normal(net.n_parameters) / math.sqrt(tau)
    tau_out = rng.gamma(noise_prior[0], 1 / noise_prior[1])
    X = rng.uniform(-2, 2, (240, 1))
    y = net(X)[:, 0] + rng.standard_normal(240) / math.sqrt(tau_out)
    options = {"noise_prior": noise_prior} if learned else {"tau_out": tau_out}
    model = BayesianMLPRegressor(
        (5,), tau=tau, standardize=False, warmup=100, draws=150, chains=2, random_state=seed, **options
    ).fit(X[:40], y[:40])
    return inside(model, X[40:], y[40:])


@QUIET
@pytest.mark.parametrize(("learned", "repetitions"), [(False, 40), (True, 8)], ids=["known noise", "learned noise"])
def test_intervals_cover_what_they_say(learned, repetitions):
    """90 % and 50 % intervals, processes from the prior, within 5 standard errors: sd of one 0.05 and 0.08."""
    mean, _ = coverage(repetitions, partial(from_the_prior, learned=learned))
    assert np.all(np.abs(mean - [0.9, 0.5]) < 5 * np.array([0.05, 0.08]) / math.sqrt(repetitions))


@QUIET
@pytest.mark.slow
@pytest.mark.parametrize("learned", [False, True], ids=["known noise", "learned noise"])
def test_intervals_cover_what_they_say_at_length(learned):
    mean, error = coverage(200, partial(from_the_prior, learned=learned))
    assert np.all(error < [0.005, 0.008])
    assert np.all(np.abs(mean - [0.9, 0.5]) < 4 * error)


@QUIET
@pytest.mark.slow
def test_intervals_cover_a_known_process():
    """y = sin(2 x) + 0.3 x + 0.3 Normal(0, 1), with the default priors: 90 % within 3 standard errors."""

    def one(rng, seed):
        X = rng.uniform(-3, 3, (1200, 1))
        y = np.sin(2 * X[:, 0]) + 0.3 * X[:, 0] + 0.3 * rng.standard_normal(1200)
        model = BayesianMLPRegressor((10,), warmup=200, draws=200, chains=2, random_state=seed).fit(X[:200], y[:200])
        return inside(model, X[200:], y[200:])[:1]

    mean, error = coverage(60, one)
    assert error < 0.004
    assert abs(mean - 0.9) < 3 * error


# -- conventions beyond the checks, and faults -------------------------------------------------------------------------


@QUIET
@pytest.mark.parametrize(
    "model",
    [
        MetropolisClassifier((4,), steps=200, random_state=7),
        BayesianMLPClassifier((4,), **{**SHORT, "chains": 3}),
        BayesianMLPRegressor((4,), **{**SHORT, "chains": 3}),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_seed_settles_everything(model):
    first = clone(model).fit(MOONS, SIDES)
    again = clone(model).fit(MOONS, SIDES)
    loaded = pickle.loads(pickle.dumps(first))
    for other in (again, loaded):
        np.testing.assert_array_equal(first.predict(MOONS), other.predict(MOONS))
        if hasattr(first, "predict_proba"):
            np.testing.assert_array_equal(first.predict_proba(MOONS), other.predict_proba(MOONS))
    if "threads" in model.get_params():
        alone = clone(model).set_params(threads=1).fit(MOONS, SIDES)
        np.testing.assert_array_equal(first.trace_.draws, alone.trace_.draws)
    different = clone(model).set_params(random_state=8).fit(MOONS, SIDES)
    assert not np.array_equal(first.net_.parameters, different.net_.parameters)


def test_labels_of_any_type_in_a_grid_search():
    names = np.array(["left", "middle", "right"])[(MOONS[:, 0] > 0).astype(int) + (MOONS[:, 0] > 1)]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MetropolisClassifier(steps=500, random_state=0)),
        {"metropolisclassifier__hidden": [(), (5,)]},
        cv=3,
    ).fit(MOONS, names)
    assert list(search.classes_) == ["left", "middle", "right"]
    assert search.best_score_ > 0.7  # the largest class has half of the rows
    assert set(search.predict(MOONS)) <= set(names)


@QUIET
def test_constants_are_no_scale():
    """A constant feature and a constant y, whose standard deviations are rounding."""
    X = np.column_stack([MOONS[:, 0], np.full(200, 0.1)])
    model = BayesianMLPRegressor((2,), **SHORT).fit(X, np.full(200, 0.3))
    assert model.scale_[1] == model.y_scale_ == 1.0
    np.testing.assert_allclose(model.predict(X), 0.3, atol=0.05)


@QUIET
@pytest.mark.parametrize("exponent", [-1000, 1000])
def test_no_scale_is_too_small_or_too_large(exponent):
    """Squares of these features are no numbers; a fit is that of the same features near 1, to the last bit."""
    model = BayesianMLPRegressor((3,), **SHORT)
    plain = model.fit(PLANE, HEIGHTS).predict(PLANE)
    far = np.ldexp(PLANE, exponent)
    np.testing.assert_array_equal(model.fit(far, HEIGHTS).predict(far), plain)
    with pytest.raises(InputError, match="y: expected a standard deviation between 1e-150 and 1e\\+150"):
        model.fit(PLANE, np.ldexp(HEIGHTS, exponent))
    with pytest.raises(InputTypeError, match="y: expected an array of real numbers"):
        model.fit(PLANE, ["tall"] * 60)


@QUIET
@pytest.mark.parametrize("model", [MetropolisClassifier(random_state=0), BayesianMLPClassifier((4,), "relu", **SHORT)])
def test_predictions_that_overflow_are_errors(model):
    model.fit(MOONS, SIDES)
    with pytest.raises(InputError, match="X: expected rows for which the network's outputs are finite"):
        model.predict_proba(np.full((1, 2), 5e307) * [[1], [-1]])


@QUIET
@pytest.mark.parametrize(("dtype", "large"), [("float64", 1.7e308), ("float32", 1e300)])
def test_features_that_overflow_are_named(dtype, large):
    model = BayesianMLPClassifier((4,), dtype=dtype, **SHORT).fit(MOONS / 8, SIDES)
    with pytest.raises(InputError, match=f"X: expected features that standardised are numbers of {dtype}, row 1"):
        model.predict([[0.0, 0.0], [0.0, -large]])


@QUIET
def test_ctrl_c_keeps_what_was_drawn(begun):
    def interrupted(model):
        begun.clear()
        with ctrl_c_when(lambda: any(job.progress[0] for job in begun)):
            return model.fit(MOONS, SIDES)

    with pytest.raises(KeyboardInterrupt):
        interrupted(BayesianMLPClassifier((2,), warmup=10**6, draws=10, chains=2, random_state=0))
    with pytest.warns(SamplingWarning, match="interrupted, .* of 1000000 draws"):
        model = interrupted(BayesianMLPClassifier((2,), warmup=0, draws=10**6, chains=1, random_state=0))
    assert model.predict_proba(MOONS).shape == (200, 2)


def test_chains_that_disagree_are_named():
    with pytest.warns(SamplingWarning, match="BayesianMLPClassifier: predictions have R-hat"):
        BayesianMLPClassifier(
            (4,), kernel=mp.HMC(step_size=1e-6, n_steps=1), warmup=0, draws=20, chains=3, random_state=0
        ).fit(MOONS, SIDES)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (MetropolisClassifier(hidden=10), InputTypeError, "hidden: expected a sequence of widths"),
        (MetropolisClassifier(hidden=(3, 0)), InputError, r"hidden\[1\]: expected an integer >= 1, got 0"),
        (MetropolisClassifier(activation="gelu"), InputError, "activation: expected one of .*'tanh'"),
        (MetropolisClassifier(lr=-1.0), InputError, "lr: expected a finite number > 0"),
        (MetropolisClassifier(test="full"), InputError, "test: expected one of 'naive'"),
        (MetropolisClassifier(test="exact", T=0.0), InputError, "T: .*barker"),
        (MetropolisClassifier(steps=0), InputError, "steps: expected an integer >= 1"),
        (MetropolisClassifier(batch_size=0), InputError, "batch_size: expected an integer >= 1"),
        (BayesianMLPClassifier(dtype="float16"), InputTypeError, "dtype: expected 'float32' or"),
        (BayesianMLPClassifier(tau=[1.0, 2.0]), InputError, "tau: expected a number or 6"),
        (BayesianMLPClassifier(kernel="nuts"), InputTypeError, "kernel: expected a kernel"),
        (BayesianMLPClassifier(chains=0), InputError, "chains: expected an integer >= 1"),
        (BayesianMLPClassifier(draws=0), InputError, "draws: expected an integer >= 1"),
        (BayesianMLPRegressor(tau_out=0.0), InputError, "tau_out: expected a finite number > 0"),
        (BayesianMLPRegressor(noise_prior=(1.0, -1.0)), InputError, "noise_prior: expected two positive"),
    ],
)
def test_bad_options_are_named(model, error, message):
    with pytest.raises(error, match=message):
        model.fit(MOONS, SIDES)


@pytest.mark.parametrize("model", [MetropolisClassifier(), BayesianMLPClassifier()], ids=lambda m: type(m).__name__)
def test_one_class_is_an_error(model):
    with pytest.raises(InputError, match="at least two classes, got 1 class: 'a'"):
        model.fit(MOONS, ["a"] * 200)


@QUIET
def test_quantiles_want_probabilities():
    model = BayesianMLPRegressor((2,), **SHORT).fit(PLANE, HEIGHTS)
    assert model.predict_quantiles(PLANE, 0.5).shape == (60,)
    with pytest.raises(InputError, match=r"q: expected probabilities between 0 and 1, got \[0.5, 1.0\]"):
        model.predict_quantiles(PLANE, [0.5, 1.0])


def test_without_scikit_learn_the_message_has_the_command():
    code = f"""
import sys
sys.path.insert(0, {str(Path(mp.__file__).parents[1])!r})
sys.modules["sklearn"] = None
import micropolis as mp
from micropolis import *
try:
    mp.estimators.BayesianMLPRegressor
except mp.errors.MissingExtraError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'micropolis[sklearn]'" in ended.stdout
