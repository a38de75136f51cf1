"""What stands in for SciPy's distributions has SciPy's values on the whole domain, at its edges and outside of it."""

import math
import warnings

import numpy as np
import pytest
from laws.scipy_cases import CONTINUOUS, DISCRETE, SHAPES, Case, cases, standardised
from scipy import linalg, special, stats

from micropolis.tracing.arrays import Untraceable
from micropolis.tracing.scipy_functions import COUNTS, CUMULATIVE, PLAIN, SEVERAL, STANDARD, methods

METHODS = methods()
RNG = np.random.default_rng(0)
MATRIX = np.array([[2.0, 0.3, -0.4], [0.3, 1.5, 0.2], [-0.4, 0.2, 1.0]])
OTHER = np.array([[3.0, -0.5, 0.1], [-0.5, 2.5, 0.7], [0.1, 0.7, 4.0]])
SQUARE = MATRIX + np.array([[0.0, 0.7, 0.2], [-0.3, 0.0, 0.5], [0.9, -0.6, 0.0]])
ROWS = RNG.normal(size=(5, 3))
MEAN = np.array([0.3, -1.0, 2.0])


@pytest.fixture(autouse=True)
def _quiet():
    with np.errstate(all="ignore"):
        yield


def stand_in(name, method, *args, **kwargs):
    return METHODS[name, method](getattr(stats, name), *args, **kwargs)


def truth(case: Case, method: str):
    return getattr(getattr(stats, case.distribution), method)(case.x, *case.arguments)


def excused(case: Case, method: str, expected):
    """Where SciPy says otherwise, for a reason of its own; each is held to a truth in a test below."""
    z, name = (case.x - case.loc) / case.scale, case.distribution
    if name in ("laplace", "levy", "pareto", "halfnorm") and method.startswith("log"):
        return expected == -np.inf  # SciPy takes the log of a density or probability that underflows
    if name in ("burr", "fisk"):
        return z ** -case.shapes[0] == np.inf  # overflows in SciPy
    if (name, method) in (("maxwell", "pdf"), ("weibull_min", "pdf")):
        return np.isnan(expected) & (z > 1e100)  # infinity times 0 in SciPy
    if name == "exponnorm":
        return z == -np.inf  # infinity minus infinity in SciPy
    return np.zeros(np.shape(z), dtype=bool)


def assert_agrees(actual, case, method):
    expected = truth(case, method)
    kept = ~excused(case, method, expected)
    # log densities are sums of terms of size 1 and more; pdf is their exponential, of up to a relative size of 700 eps
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if method.startswith("log") else {"rtol": 1e-11, "atol": 1e-300}
    np.testing.assert_allclose(actual[kept], expected[kept], **tolerance, err_msg=f"{case} {method}")


def test_every_distribution_is_tried():
    assert set(CONTINUOUS) == set(STANDARD)
    assert set(DISCRETE) == set(COUNTS)
    assert {name for name, _ in CUMULATIVE} <= set(SHAPES)


@pytest.mark.parametrize(("name", "method"), [key for key in METHODS if key[0] in SHAPES])
def test_values_of_arrays(name, method):
    for case in cases(name):
        actual = stand_in(name, method, case.x, *case.arguments)
        assert_agrees(actual, case, method)


@pytest.mark.parametrize("name", SHAPES)
def test_values_of_arrays_of_shapes(name):
    """All shapes against all arguments in one call."""
    table, z, grid = (STANDARD | COUNTS)[name], standardised(name), np.meshgrid(*SHAPES[name], indexing="ij")
    together = table(z, *[shape[..., None] for shape in grid])
    one_by_one = [table(z, *shapes) for shapes in zip(*(shape.flat for shape in grid), strict=True)] or table(z)
    np.testing.assert_array_equal(np.ravel(together), np.ravel(one_by_one))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, bool])
def test_data_of_other_dtypes(dtype):
    counts = np.array([0, 1, 1, 0, 1], dtype=dtype)
    for name, shapes in {"poisson": (1.3,), "bernoulli": (0.3,), "geom": (0.3,), "binom": (4, 0.3)}.items():
        expected = getattr(stats, name).logpmf(counts, *shapes)
        np.testing.assert_allclose(stand_in(name, "logpmf", counts, *shapes), expected, rtol=1e-14)
    for name, shapes in {"norm": (), "expon": (), "gamma": (2,), "weibull_min": (2,)}.items():
        expected = getattr(stats, name).logpdf(counts, *shapes, loc=-1, scale=2)
        np.testing.assert_allclose(stand_in(name, "logpdf", counts, *shapes, loc=-1, scale=2), expected, rtol=1e-14)


# -- where SciPy is excused --------------------------------------------------------------------------------------------


def test_logs_do_not_underflow():
    """Closed forms where SciPy has -inf."""
    assert stand_in("laplace", "logpdf", -1e3) == -1e3 - math.log(2)
    assert stand_in("laplace", "logcdf", -1e3) == stand_in("laplace", "logsf", 1e3) == -1e3 - math.log(2)
    assert stand_in("levy", "logpdf", 1e-8) == pytest.approx(-5e7 + 12 * math.log(10) - 0.5 * math.log(2 * math.pi))
    assert stand_in("pareto", "logpdf", 1e200, 2.3) == pytest.approx(math.log(2.3) - 660 * math.log(10))
    assert stand_in("pareto", "logsf", 1e200, 2.3) == pytest.approx(-460 * math.log(10))
    # Mills' ratio to its second term at 1e3
    assert stand_in("halfnorm", "logsf", 1e3) == pytest.approx(
        -5e5 + 0.5 * math.log(2 / math.pi) - math.log(1e3) - 1e-6
    )
    # d c z^(c d - 1) for small z, c z^(-c - 1) for large z
    assert stand_in("burr", "logpdf", 1e-8, 60.0, 2.3) == pytest.approx(math.log(138) - 8 * 137 * math.log(10))
    assert stand_in("fisk", "logpdf", 1e8, 60.0) == pytest.approx(math.log(60) - 8 * 61 * math.log(10))
    assert stand_in("fisk", "pdf", 1e-8, 60.0) == 0
    assert stand_in("maxwell", "pdf", 1e200) == stand_in("weibull_min", "pdf", 1e200, 60.0) == 0
    assert stand_in("exponnorm", "logpdf", -np.inf, 0.7) == -np.inf


# (degrees of freedom, z): log density to 20 digits by mpmath
STUDENT = {
    (3.5, 0.7): -1.2842871816739111084,
    (19.999, -1.3): -1.7831843495630213364,
    (20.001, -1.3): -1.7831824082741878085,
    (1e8, 1.5): -2.0439385342984228051,
    (1e12, 30.0): -450.91893833115492286,
    (1e15, 1.5): -2.0439385332046728512,
}


@pytest.mark.parametrize(("df", "z"), STUDENT)
def test_t_of_many_degrees_of_freedom(df, z):
    assert stand_in("t", "logpdf", z, df) == pytest.approx(STUDENT[df, z], rel=4e-15)
    assert stand_in("multivariate_t", "logpdf", z, [0.0], [[1.0]], df) == pytest.approx(STUDENT[df, z], rel=4e-15)


# (K, z): log density to 17 digits by mpmath, where SciPy's terms are up to 1e12 and cancel
EXPONENTIAL_NORMAL = {
    (1e-6, -0.3): -0.96393883320562774,
    (1e-3, 2.0): -2.9169375345435117,
    (0.05, 1.0): -1.3703963956069764,
    (2.3, -1.0): -2.8849222220857859,
}


@pytest.mark.parametrize(("k", "z"), EXPONENTIAL_NORMAL)
def test_exponnorm_of_small_rates(k, z):
    assert stand_in("exponnorm", "logpdf", z, k) == pytest.approx(EXPONENTIAL_NORMAL[k, z], rel=1e-14)


def test_genextreme_is_smooth_about_the_gumbel():
    """The slope over the shape at 0, and no step where the series ends."""
    z = 0.8
    slope = z - 0.5 * z**2 * (1 - math.exp(-z))  # of the log density by c at c = 0
    for h in (1e-4, 1e-6):
        difference = (stand_in("genextreme", "logpdf", z, h) - stand_in("genextreme", "logpdf", z, -h)) / (2 * h)
        assert difference == pytest.approx(slope, abs=1e-15 / h + h)
    edge = 1e-3 / z
    values = [stand_in("genextreme", "logpdf", z, edge * (1 + sign * 1e-12)) for sign in (-1, 1)]
    assert values[0] == pytest.approx(values[1], rel=4e-15)


# -- calls -------------------------------------------------------------------------------------------------------------


def test_ways_to_call():
    data = np.array([0.2, 1.5, 3.0])
    expected = stats.gamma.logpdf(data, 2.0, 0.1, 3.0)
    for args, kwargs in [
        ((data, 2.0, 0.1, 3.0), {}),
        ((data, 2.0), {"loc": 0.1, "scale": 3.0}),
        ((data,), {"a": 2.0, "scale": 3.0, "loc": 0.1}),
        ((), {"x": data, "a": 2, "scale": 3, "loc": [0.1]}),
        (([0.2, 1.5, 3.0], [2.0, 2.0, 2.0]), {"loc": 0.1, "scale": [3, 3, 3]}),
    ]:
        np.testing.assert_allclose(stand_in("gamma", "logpdf", *args, **kwargs), expected, rtol=1e-15)
    assert stand_in("poisson", "logpmf", k=3, mu=2.0, loc=1) == stats.poisson.logpmf(2, 2.0)
    assert stand_in("poisson", "cdf", 3.7, 2.0) == stats.poisson.cdf(3, 2.0)


@pytest.mark.parametrize(
    ("name", "method", "args", "kwargs", "names"),
    [
        ("norm", "logpdf", (1.0,), {"sd": 2.0}, "'sd'"),
        ("gamma", "pdf", (1.0,), {}, "'a'"),
        ("poisson", "logpmf", (1, 2.0), {"scale": 2.0}, "'scale'"),
        ("norm", "cdf", (1.0, 0.0), {"loc": 2.0}, "'loc'"),
        ("norm", "logpdf", (1.0, 0.0, 1.0, 5.0), {}, "too many"),
    ],
)
def test_wrong_calls(name, method, args, kwargs, names):
    with pytest.raises(TypeError, match=names):
        stand_in(name, method, *args, **kwargs)


def test_subclasses_in_scipy_have_their_own():
    """A stand-in put into a class serves its subclasses, whose shapes may be others."""
    classes = {type(getattr(stats, name)): name for name in SHAPES}
    for other in vars(stats).values():
        if isinstance(other, stats.rv_continuous | stats.rv_discrete) and type(other) not in classes:
            inherited = [classes[base] for base in type(other).__mro__ if base in classes]
            assert all(other.shapes == getattr(stats, name).shapes for name in inherited), other.name


# -- several variables -------------------------------------------------------------------------------------------------


def assert_same(name, method, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = getattr(getattr(stats, name), method)(*args, **kwargs)
    actual = stand_in(name, method, *args, **kwargs)
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("method", ["logpdf", "pdf"])
def test_multivariate_normal_and_t(method):
    for x in (ROWS, ROWS[0], ROWS[:1], ROWS.reshape(5, 1, 3), ROWS.tolist()):
        assert_same("multivariate_normal", method, x, MEAN, MATRIX)
        assert_same("multivariate_normal", method, x, cov=MATRIX)
        for df in (3.5, 1):
            assert_same("multivariate_t", method, x, MEAN, MATRIX, df)
        normal = stand_in("multivariate_normal", method, x, MEAN, MATRIX)
        np.testing.assert_allclose(stand_in("multivariate_t", method, x, MEAN, MATRIX, np.inf), normal, rtol=1e-14)
    for x in (ROWS[:, 0], ROWS[0, 0], ROWS[:, :1]):
        assert_same("multivariate_normal", method, x, MEAN[:1], MATRIX[:1, :1])
        assert_same("multivariate_t", method, x, MEAN[:1], MATRIX[:1, :1], 2.0)
    # the lower triangle is what counts, as in SciPy
    assert_same("multivariate_normal", method, ROWS, MEAN, MATRIX + np.triu(SQUARE, 1))


@pytest.mark.parametrize("method", ["logpdf", "pdf"])
def test_wishart_and_dirichlet(method):
    for df in (5.5, 3, 2.1, 200):
        assert_same("wishart", method, MATRIX, df, OTHER)
        assert_same("invwishart", method, MATRIX, df, OTHER)
    weights = RNG.dirichlet(np.ones(3), size=4).T
    for alpha in ([1.5, 2.5, 1.0], [0.5, 1.0, 7.0]):
        for x in (weights, weights[:, 0], weights[:2], weights[:2, 0], weights[:, :1]):
            assert_same("dirichlet", method, x, alpha)
    assert_same("dirichlet", method, np.array([0.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.5]))


def test_several_variables_outside_their_domains():
    """SciPy raises an error there, which a trace cannot."""
    weights = np.array([0.2, 0.3, 0.5])
    for alpha in ([1.0, 0.0, 2.0], [1.0, -1.0, 2.0], [1.0, np.nan, 2.0]):
        assert np.isnan(stand_in("dirichlet", "logpdf", weights, alpha))
    for x in ([0.2, 0.3, 0.4], [-0.1, 0.6, 0.5], [0.0, 0.5, 0.5]):
        assert np.isnan(stand_in("dirichlet", "logpdf", x, [0.5, 1.0, 1.0]))
    assert np.isnan(stand_in("wishart", "logpdf", MATRIX, 2.0, OTHER))
    assert np.isnan(stand_in("invwishart", "logpdf", MATRIX, 1.9, OTHER))
    for df in (0.0, -1.0, np.nan):
        assert np.isnan(stand_in("multivariate_t", "logpdf", ROWS[0], MEAN, MATRIX, df))


@pytest.mark.parametrize("method", ["logpmf", "pmf"])
def test_multinomial(method):
    counts = np.array([[1, 2, 0], [3, 0, 0], [0, 1, 2], [1, 1, 2], [-1, 2, 2], [0, 0, 3]])
    for p in ([0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [1.2, -0.2, 0.0], [0.2, 0.3, 0.4], [0.6, 0.6, 0.1]):
        for n in (3, 4, 0, -3, np.array([3, 3, 3, 4, 3, 2])):
            assert_same("multinomial", method, counts, n, np.array(p))
    assert_same("multinomial", method, counts[0], 3, np.array([0.2, 0.3, 0.5]))
    np.testing.assert_array_equal(
        stand_in("multinomial", method, [0.5, 2.5, 0.0], 3, [0.2, 0.3, 0.5]), -np.inf if method == "logpmf" else 0.0
    )


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [
        ("multivariate_normal", (ROWS, MEAN, 2.0), "a covariance matrix"),
        ("multivariate_normal", (ROWS, MEAN, np.ones(3)), "a covariance matrix"),
        ("multivariate_normal", (ROWS, MEAN, MATRIX, True), "allow_singular"),
        ("multivariate_t", (ROWS, MEAN), "a shape matrix"),
        ("wishart", (MATRIX, 4.0, 1.0), "a scale matrix"),
        ("wishart", (MATRIX[:, :, None], 4.0, OTHER), "one matrix"),
        ("invwishart", (2.0, 4.0, OTHER), "one matrix"),
    ],
)
def test_what_is_not_traced(name, args, reason):
    with pytest.raises(Untraceable, match=reason):
        SEVERAL[name](getattr(stats, name), *args)


# -- scipy.special and scipy.linalg ------------------------------------------------------------------------------------


def assert_same_function(module, name, *args, **kwargs):
    expected = getattr(module, name)(*args, **kwargs)
    actual = PLAIN[module.__name__, name](*args, **kwargs)
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
def test_logsumexp_and_softmax(axis):
    for a in (ROWS, np.where(ROWS > 0, ROWS, -np.inf), 300 * ROWS, np.full((2, 2), -np.inf), ROWS.tolist()):
        for keepdims in (False, True):
            assert_same_function(special, "logsumexp", a, axis=axis, keepdims=keepdims)
            for b in (2.0, np.array([[0.5], [2.0]]) if len(a) == 2 else np.array([1.0, 0.0, -0.1])):
                assert_same_function(special, "logsumexp", a, axis, b, keepdims)
        assert_same_function(special, "log_softmax", a, axis=axis)
        assert_same_function(special, "softmax", a, axis=axis)


def test_logsumexp_of_factors_that_are_zero():
    """They outweigh NaN and infinity."""
    for a in ([[np.inf, np.nan, 1.0], [2.0, 3.0, 4.0]], [[1e4, 1.0, 2.0], [0.0, 1.0, -np.inf]]):
        for axis in (None, 1):
            assert_same_function(special, "logsumexp", np.array(a), axis, [0.0, 0.0, 2.0])


def test_logsumexp_of_signs_is_not_traced():
    with pytest.raises(Untraceable, match="return_sign=True"):
        PLAIN["scipy.special", "logsumexp"](ROWS, return_sign=True)


def test_multigammaln():
    for d in (1, 2, 5):
        assert_same_function(special, "multigammaln", np.array([2.1, 7.5]), d)
        assert np.isnan(PLAIN["scipy.special", "multigammaln"](0.5 * (d - 1), d))


@pytest.mark.parametrize("lower", [False, True])
def test_triangles(lower):
    half = np.tril(MATRIX) if lower else np.triu(MATRIX)  # of which SciPy reads one triangle
    assert_same_function(linalg, "cholesky", half, lower=lower)
    factor = PLAIN["scipy.linalg", "cho_factor"](MATRIX, lower)
    for b in (ROWS[0], ROWS.T):
        for trans in (0, 1, 2, "N", "T", "C"):
            for unit in (False, True):
                assert_same_function(linalg, "solve_triangular", SQUARE, b, trans, lower, unit)
        assert_same_function(linalg, "cho_solve", factor, b)
        for structure in (None, "gen", "general", "upper triangular", "lower triangular"):
            for transposed in (False, True):
                kwargs = {"assume_a": structure, "transposed": transposed}
                assert_same_function(linalg, "solve", SQUARE, b, lower, **kwargs)
        for structure in ("pos", "positive definite", "sym", "her"):
            assert_same_function(linalg, "solve", half, b, lower, assume_a=structure)


def test_matrices():
    assert_same_function(linalg, "inv", SQUARE)
    assert_same_function(linalg, "det", SQUARE)
    assert_same_function(linalg, "toeplitz", ROWS[0])
    assert_same_function(linalg, "toeplitz", ROWS[0], ROWS[:, 0])
    assert_same_function(linalg, "toeplitz", [1.0, 2.0], [1.0, 3.0, 4.0])
    assert_same_function(linalg, "block_diag", SQUARE, 2.0, ROWS[0], ROWS, [[1.0]])
    with pytest.raises(Untraceable, match="tridiagonal"):
        PLAIN["scipy.linalg", "solve"](MATRIX, ROWS[0], assume_a="tridiagonal")
    with pytest.raises(Untraceable, match="stacks"):
        PLAIN["scipy.linalg", "block_diag"](np.ones((2, 2, 2)))
