"""Fits of the estimators as a whole: what a failed one leaves, other layouts of the data, cliffs, single precision."""

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import make_moons

from micropolis.errors import InputError
from micropolis.estimators import BayesianMLPClassifier, BayesianMLPRegressor, MetropolisClassifier, bayesian
from micropolis.estimators.predictive import UnknownNoise
from micropolis.metropolis.weight_walk import WeightWalk
from micropolis.neural import Linear, Sequential

pytestmark = pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning")  # runs here are short
SHORT = {"warmup": 40, "draws": 20, "chains": 2, "random_state": 0}
MOONS, SIDES = make_moons(n_samples=100, noise=0.1, random_state=0)


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (BayesianMLPRegressor((3,), **SHORT), (bayesian, "sample")),
        (BayesianMLPClassifier((3,), **SHORT), (bayesian, "sample")),
        (MetropolisClassifier((3,), steps=50, random_state=0), (WeightWalk, "_run")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fit_that_does_not_end_leaves_the_one_before(model, place, monkeypatch):
    model.fit(MOONS, SIDES)
    expected = model.predict(MOONS)
    with monkeypatch.context() as patch:
        patch.setattr(*place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.fit(1000 * MOONS[:, :1] + 5, SIDES * 7)
    with pytest.raises(InputError, match="tau"):
        model.set_params(tau=-1.0).fit(1000 * MOONS[:, :1], SIDES * 7)
    np.testing.assert_array_equal(model.predict(MOONS), expected)


@pytest.mark.parametrize("kind", [BayesianMLPRegressor, BayesianMLPClassifier, MetropolisClassifier])
def test_the_layout_of_the_data_does_not_matter(kind):
    options = {"steps": 50, "random_state": 0} if kind is MetropolisClassifier else SHORT
    X = np.random.default_rng(1).standard_normal((100, 7)) * 10.0 ** np.arange(7)
    strided = np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    answers = [kind((3,), **options).fit(rows, SIDES).predict(rows) for rows in (X, np.asfortranarray(X), strided)]
    np.testing.assert_array_equal(answers[1], answers[0])
    np.testing.assert_array_equal(answers[2], answers[0])


def test_chains_leave_the_cliff_of_many_rows():
    """A linear regression on 30,000 rows: from random weights chains stay where the noise seems ten times larger."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30_000, 1))
    y = 2 * X[:, 0] + 1 + 0.1 * rng.standard_normal(len(X))
    model = BayesianMLPRegressor((), warmup=150, draws=100, chains=4, random_state=0).fit(X, y)
    assert model.r_hat_ < 1.1
    # sd of the noise 0.1 / sqrt(2 n) = 4e-4, of the slope 0.1 / sqrt(n) = 6e-4: within 6 of them, probability 1e-8
    assert abs(1 / math.sqrt(model.tau_out_.mean()) - 0.1) < 2.5e-3
    assert abs(np.diff(model.predict([[0.0], [1.0]]))[0] - 2) < 3.5e-3


def test_learned_noise_far_below_one_in_single_precision():
    """The likelihood is a power of the residuals' sum; the constant of the normal density must not swamp it."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50_000, 1))
    y = x[:, 0] + 1e-3 * rng.standard_normal(len(x))
    densities = [
        UnknownNoise(Sequential(Linear(1, 1), seed=0, dtype=dtype), x, y, 1.0, (1.0, 1e-3))
        for dtype in ("float64", "float32")
    ]
    at, off = np.array([1.0, 0.0]), np.array([1.0, 2e-5])
    double, single = (density(off) - density(at) for density in densities)
    assert -15 < double < -1
    # a residual of 1e-3 has an error of 1e-7, and S one of some 1e-7 / 1e-3 / sqrt(n) = 5e-7, times n / 2
    assert single == pytest.approx(double, abs=0.1)
