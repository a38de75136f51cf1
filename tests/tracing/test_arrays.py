"""Traced arrays: every NumPy function that they know, against NumPy's values and central differences."""

import numpy as np
import pytest
from scipy import special

from micropolis.density import Density
from micropolis.errors import DensityError
from micropolis.tracing.arrays import Traced

A = np.array([[2.0, -1.0, 0.5], [0.3, 1.0, -0.7]])  # data
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
WEIGHTS = np.linspace(0.3, 1.7, 6)


def covariance(x):
    """A positive definite matrix that depends on x."""
    b = x.reshape(2, 3)
    return S + b.T @ b


CASES = {
    "arithmetic": lambda x: x[0] * x[1] + x[2] / (3 + x[3] ** 2) - 2 ** x[4] + (-x[5]) ** 3 + abs(x[0]) % 0.7,
    "reflected": lambda x: np.sum(1 - 2 * x + WEIGHTS / (2 + x**2)),
    "numpy left operand": lambda x: np.sum(WEIGHTS * x) + np.float64(2.0) * x[0] + WEIGHTS @ x,
    "unary": lambda x: np.sum(
        np.exp(x)
        + np.expm1(x)
        + np.log1p(x**2)
        + np.log(2 + np.sin(x))
        + np.sqrt(1 + x * x)
        + np.tanh(x)
        + np.cos(x)
        + np.abs(x)
        + np.arctan(x)
        + np.sinh(x)
        + np.cosh(x)
        + np.square(x)
        + np.arcsinh(x)
        + np.cbrt(3 + x)
        + np.log2(3 + x)
        + np.exp2(x)
        + np.reciprocal(4 + x)
        + np.sign(x) * x
    ),
    "binary": lambda x: np.sum(
        np.maximum(x, WEIGHTS)
        + np.minimum(x, 0.1)
        + np.hypot(x, 1)
        + np.arctan2(x, 2.0)
        + np.logaddexp(x, WEIGHTS)
        + np.logaddexp(0, x[0])
        + np.power(2 + np.tanh(x), x)
    ),
    "broadcasting": lambda x: np.sum(x[:2, None] * x[None, 2:] * np.ones((3, 2, 4)) + A[:, :1] * x[0]),
    "indexing": lambda x: (
        np.sum(x[[3, 1, 1]] * x[np.array([0, 2, 5])]) + x[-1] * x[np.arange(6) > 3].sum() + np.sum(x[::-2] * x[1:6:2])
    ),
    "matrix indexing": lambda x: (
        np.sum(x.reshape(2, 3)[1, :2] * x.reshape(3, 2)[..., 0][:2]) + x.reshape(2, 3)[[0, 1], [2, 1]].prod()
    ),
    "transposes": lambda x: (
        np.sum((x.reshape(2, 3).T @ A) * S) + np.sum(x.reshape(1, 2, 3).transpose(2, 0, 1)[1] * x[0])
    ),
    "reductions": lambda x: (
        np.sum(np.prod(x.reshape(2, 3), axis=0)) + np.mean(x.reshape(2, 3), axis=1)[1] * x.mean() + x.max() * x.min()
    ),
    "max over axis": lambda x: (
        np.sum(np.max(x.reshape(2, 3) * A, axis=1) * np.min(x.reshape(2, 3), axis=-1)) + np.ptp(x)
    ),
    "keepdims": lambda x: np.sum((x.reshape(2, 3) - np.mean(x.reshape(2, 3), axis=1, keepdims=True)) ** 3),
    "var and std": lambda x: np.var(x) + np.sum(np.std(x.reshape(2, 3), axis=1, ddof=1)) + x.var(ddof=1),
    "tuple axis": lambda x: np.sum(np.sum(x.reshape(1, 2, 3) ** 2, axis=(0, 2)) ** 2),
    "cumulative": lambda x: (
        np.sum(np.cumsum(x) * WEIGHTS) + np.cumprod(1 + x.reshape(2, 3), axis=1)[1, 2] + np.sum(np.diff(x, 2) ** 2)
    ),
    "logaddexp.reduce": lambda x: (
        np.logaddexp.reduce(x) + np.sum(np.logaddexp.reduce(x.reshape(2, 3) * A, axis=1)) + np.add.reduce(x)
    ),
    "accumulate": lambda x: np.sum(np.add.accumulate(x) ** 2) + np.logaddexp.accumulate(x)[-1],
    "joins": lambda x: (
        np.sum(np.concatenate([x[:2], WEIGHTS[:2], x[4:]]) * np.hstack([x[0], x[1:]]))
        + np.sum(np.stack([x[:3], x[3:]], axis=1) * np.vstack([A[0], x[:3]]).T)
        + np.sum(np.column_stack([x[:3], np.ones(3)]) @ x[:2])
    ),
    "moves": lambda x: (
        np.sum(np.tile(x, 2)[3:9] * np.repeat(x, 2)[2:8] * np.roll(x, 2) * np.flip(x)) + np.trace(np.outer(x, WEIGHTS))
    ),
    "triangles": lambda x: (
        np.sum(np.tril(x.reshape(2, 3) + 1) ** 2) + np.sum(np.diag(x)) + np.sum(np.diag(covariance(x)) * x[:3])
    ),
    "array of scalars": lambda x: (
        np.sum(np.array([x[0], 2 * x[1], 3.0]) * x[:3]) + np.exp(np.array([x[0], x[2]])) @ WEIGHTS[:2]
    ),
    "array of rows": lambda x: np.sum(np.array([x[:3], x[3:]]) @ np.array([[x[0]], [2.0], [x[1]]])),
    "asarray": lambda x: np.sum(np.asarray(x) ** 2),
    "products": lambda x: (
        np.dot(x, x) + np.inner(x[:3], S)[1] + np.vdot(x, WEIGHTS) + x @ np.eye(6) @ x + np.sum(S @ x[:3] * (x[3:] @ S))
    ),
    "stacked matmul": lambda x: (
        np.sum(np.matmul(np.stack([S, 2 * S]), x.reshape(2, 3, 1)) ** 2) + np.sum(np.stack([S, S]) @ x[:3])
    ),
    "einsum": lambda x: (
        np.einsum("i,ij,j->", x[:3], S, x[3:])
        + np.sum(np.einsum("ij,kj->ik", x.reshape(2, 3), A) ** 2)
        + np.einsum("ii", covariance(x))
    ),
    "where": lambda x: (
        np.sum(np.where(x > 0.1, x**2, np.sin(x)))
        + np.where(WEIGHTS > 1, x, 0.0).sum()
        + np.where(x[0] > 0, x, -x).sum()
    ),
    "logic": lambda x: np.sum(np.where((x > -0.5) & (x < 0.5) | ~(x < 1), x, 2 * x)),
    "clip": lambda x: np.sum(np.clip(x, -0.3, 0.4) ** 2) + x.clip(0, None).sum(),
    "item assignment": lambda x: assigned(x),
    "time steps into an array": lambda x: volatility(x),
    "rows into an array": lambda x: rows(x),
    "zeros_like": lambda x: np.sum(np.zeros_like(x) + np.ones_like(x) * x) + np.sum(np.full_like(x, 2.0) * x),
    "cholesky": lambda x: (
        np.sum(np.log(np.diag(np.linalg.cholesky(covariance(x))))) + np.linalg.cholesky(covariance(x))[2, 0]
    ),
    "solve": lambda x: (
        np.sum(np.linalg.solve(covariance(x), x[:3]) ** 2) + np.sum(np.linalg.solve(S, x.reshape(3, 2)) ** 2)
    ),
    "triangular solve": lambda x: (
        np.sum(np.linalg.solve(np.linalg.cholesky(covariance(x)), A[1]) ** 2)
        + np.sum(np.linalg.solve(np.linalg.cholesky(covariance(x)).T, x[:3]) ** 2)
    ),
    "inverse and determinant": lambda x: (
        x[:3] @ np.linalg.inv(covariance(x)) @ x[:3]
        + np.linalg.slogdet(covariance(x))[1]
        + np.linalg.det(covariance(x))
    ),
    "kron and polyval": lambda x: (
        np.sum(np.kron(S, x.reshape(2, 3)) ** 2)
        + np.kron(x[:2], WEIGHTS)[7]
        + np.polyval(x, 0.5)
        + np.polyval([1.0, 2], x)[3]
    ),
    "append and meshgrid": lambda x: (
        np.sum(np.append(x, [1.0, 2.0]) ** 3) + np.sum(np.multiply(*np.meshgrid(x[:2], WEIGHTS)))
    ),
    "vectorize": lambda x: np.sum(np.vectorize(lambda v: v**2 + 1)(x)),
    "general matrices": lambda x: (
        np.sum(np.linalg.solve(rotated(x), x[:3]) ** 2)
        + np.linalg.slogdet(rotated(x))[1]
        + np.linalg.det(rotated(x))
        + np.sum(np.linalg.inv(rotated(x)))
    ),
    "norm": lambda x: np.linalg.norm(x) + np.sum(np.linalg.norm(x.reshape(2, 3), axis=1)),
    "special functions": lambda x: np.sum(
        special.expit(x)
        + special.gammaln(2.5 + x)
        + special.erf(x)
        + special.log_ndtr(x)
        + special.xlogy(2.0, 3 + x)
        + special.ndtr(x)
        + special.log_expit(x)
        + special.betaln(2 + np.exp(x), 1.5)
        + special.logit(special.expit(x))
        + special.xlog1py(1.0, x * x)
    ),
    "float power": lambda x: np.sum((2 + x) ** 1.5 + (3 + x) ** -0.5),
    "loop": lambda x: looped(x),
    "list comprehension": lambda x: sum(w * v**2 for w, v in zip(WEIGHTS, x, strict=True)),
    "unpacking": lambda x: (lambda a, b, *rest: a * b + rest[0])(*x),
    "shape queries": lambda x: (
        np.sum(x) * len(x) * x.shape[0] * np.ndim(x) * np.size(x) / x.size + x.reshape(2, -1).shape[1]
    ),
    "average": lambda x: np.average(x, weights=WEIGHTS) + np.average(x),
    "impossible states": lambda x: left_to_right(x),
    "missing values": lambda x: missing(x),
}


def left_to_right(x):
    """The forward algorithm of a hidden Markov chain that starts in its first state and never goes back."""
    with np.errstate(divide="ignore"):
        start = np.log(np.array([1.0, 0.0, 0.0]))
        steps = np.log(np.array([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]]))
    forward = start - 0.5 * (WEIGHTS[0] - x[:3]) ** 2
    one = list(forward)
    for y in WEIGHTS[1:]:
        emission = -0.5 * (y - x[:3]) ** 2
        forward = np.logaddexp.reduce(forward[:, None] + steps, axis=0) + emission
        one = [np.logaddexp(np.logaddexp(one[0] + a, one[1] + b), one[2] + c) for a, b, c in steps.T] + emission
    return np.logaddexp.reduce(forward) + 2 * np.logaddexp(np.logaddexp(one[0], one[1]), one[2])


def missing(x):
    with np.errstate(invalid="ignore", divide="ignore"):
        root, ratio = np.sqrt(x), x / np.maximum(x, 0.0)
    known = np.where(np.isfinite(root), x**2, 3 * x) + np.where(np.isnan(root) | np.isinf(ratio), x, np.sin(x))
    return np.sum(known + np.nan_to_num(root, nan=-3.0) + np.nan_to_num(ratio, neginf=-2.0))


def rotated(x):
    """A matrix that is far from symmetric, with a small first pivot, and that is well conditioned."""
    return np.roll(covariance(x), 1, axis=0) * np.array([[1e-9, 1, 1], [1, 1, 1], [1, 1, 1]])


def assigned(x):
    y = x * 1.0
    y[1:3] = x[0] * WEIGHTS[:2]
    y[5] = 2.0
    return np.sum(y**2)


def volatility(x):
    h = np.empty(len(WEIGHTS), like=x)
    h[0] = x[0] / np.sqrt(1 - np.tanh(x[1]) ** 2)
    for t in range(1, len(h)):
        h[t] = np.tanh(x[1]) * h[t - 1] + 0.3 * x[t]
    h[-1] += h[:2].sum()
    return -0.5 * np.sum(h + WEIGHTS**2 * np.exp(-h))


def rows(x):
    table = np.zeros((3, 2), like=x)
    for i in range(3):
        table[i] = x[2 * i : 2 * i + 2] * (i + 1)
    table[:, 0] *= 2.0
    other = np.zeros_like(x)
    other[::2] = table[:, 1]
    ones = np.ones_like(table, shape=(2, 2))
    ones[0, 1] = x[3]
    return np.sum(table**3) + np.sum(other * x) + np.sum(ones @ table[:2]) + np.full_like(x, x[0])[2]


def looped(x):
    state, total = 0.0, 0.0
    for value in x:
        state = 0.5 * state + np.tanh(value)
        total += state * value
    return total


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name):
    f = CASES[name]
    density = Density.from_numpy(f, 6)
    rng = np.random.default_rng(8)
    for x in rng.normal(scale=0.7, size=(3, 6)):
        value, gradient = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-11, atol=1e-12)
        differences = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
        # off by 1e-12 f''' / 6 + eps |f| / 1e-6
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * max(1.0, abs(value)))


def test_special_functions_far_out():
    """log_ndtr, erfc and gammaln keep their digits in the tails, where the terms they are made of do not."""
    x = np.concatenate([np.linspace(-35, 8, 200), [-2.83, -2.82]])
    traced = [Density.from_numpy(lambda p: special.log_ndtr(p[0]), 1)(point) for point in x[:, None][::20]]
    np.testing.assert_allclose(traced, special.log_ndtr(x[::20]), rtol=1e-12, atol=1e-15)
    x = np.linspace(-5, 26, 63)
    density = Density.from_numpy(lambda p: np.log(special.erfc(p[0])), 1)
    np.testing.assert_allclose(density(x[:, None]), np.log(special.erfc(x)), rtol=1e-12, atol=1e-15)
    density = Density.from_numpy(lambda p: special.gammaln(np.exp(p[0])), 1)
    x = np.exp(np.linspace(-20, 20, 41))
    np.testing.assert_allclose(density(np.log(x)[:, None]), special.gammaln(x), rtol=1e-11, atol=2e-13)


def test_smooth_functions_are_smooth_where_their_branches_meet():
    """At x = y a branch changes in logaddexp, at 0 in expit; chains start at 0, so both derivatives must hold there."""
    for f, slope, curvature in [
        (lambda x: np.logaddexp(x[0], 0.0), 0.5, 0.25),
        (lambda x: np.logaddexp(0.0, x[0]), 0.5, 0.25),
        (lambda x: np.logaddexp.reduce(np.stack([x[0], 0.0])), 0.5, 0.25),
        (lambda x: special.expit(x[0]), 0.25, 0.0),
        (lambda x: special.log_expit(x[0]), 0.5, -0.25),
        (lambda x: np.sum(np.logaddexp(x[0], np.zeros(5000))) / 5000, 0.5, 0.25),
    ]:
        density = Density.from_numpy(f, 1)
        np.testing.assert_allclose(density.grad([0.0]), [slope], rtol=1e-11)
        np.testing.assert_allclose(density.hessian([0.0]), [[curvature]], rtol=1e-11, atol=1e-15)
        assert np.all(np.isfinite(density.grad([[-2000.0], [2000.0]])))


def test_columns_of_a_data_frame():
    frame = pytest.importorskip("pandas").DataFrame({"a": WEIGHTS, "b": WEIGHTS**2})
    density = Density.from_numpy(lambda x: -np.sum(((frame["b"] - (frame["a"] * x[0] + x[1])) / (1 + frame.a)) ** 2), 2)
    residuals = (WEIGHTS**2 - 0.3 * WEIGHTS - 0.7) / (1 + WEIGHTS)
    np.testing.assert_allclose(density([0.3, 0.7]), -np.sum(residuals**2), rtol=1e-13)
    np.testing.assert_allclose(density.grad([0.3, 0.7])[1], 2 * np.sum(residuals / (1 + WEIGHTS)), rtol=1e-12)


def test_points_without_a_cholesky_factor_are_outside_the_support():
    """|4 x| > 1 is no correlation: NumPy raises there, at most of the points that the trace is compared at."""
    density = Density.from_numpy(lambda x: np.linalg.cholesky(np.eye(2) + 4 * x[0] * np.eye(2)[::-1])[1, 1], 1)
    np.testing.assert_allclose(density([0.15]), 0.8, rtol=1e-14)
    assert np.isnan(density([0.3]))
    with pytest.raises(DensityError, match="failed on NumPy numbers .*not positive definite"):
        Density.from_numpy(lambda x: np.linalg.cholesky(-np.eye(2) - x[0] ** 2)[0, 0], 1)


@pytest.mark.parametrize("n", [1, 3000])
@pytest.mark.parametrize(
    "f",
    [
        lambda v: np.sum(np.maximum(v, -10.0)) + np.sum(np.minimum(1.0, v)),
        lambda v: np.sum(np.clip(v, -10.0, None)),
        lambda v: np.max(np.stack([v, 0 * v - 5.0]), axis=0).sum(),
        lambda v: np.min(v),
        lambda v: np.sum(special.log_ndtr(v)),
        lambda v: np.sum(special.erfc(v) + special.expit(v)),
        lambda v: np.logaddexp.reduce(v) + np.sum(np.logaddexp(v, 0.0)),
        lambda v: np.sum(np.where(v > 0, v, -v)),
    ],
)
def test_nan_is_not_passed_over(f, n):
    """Outside its support a density is NaN, which is a rejection, not what np.maximum or a branch would make of it."""
    density = Density.from_numpy(lambda x: f(np.log(x[0] * np.ones(n))), 1)
    with np.errstate(invalid="ignore"):
        assert np.isnan(f(np.log(-2.0 * np.ones(n))))
    assert np.isnan(density([-2.0])) and np.isfinite(density([2.0]))
    np.testing.assert_allclose(density.grad([2.0]), (density([2.0 + 1e-6]) - density([2.0 - 1e-6])) / 2e-6, rtol=1e-6)


def test_large_matrices():
    density = Density.from_numpy(lambda x: np.linalg.slogdet(np.eye(200) * np.exp(x[0]))[1], 1)
    np.testing.assert_allclose([density([0.3]), *density.grad([0.3])], [60.0, 200.0], rtol=1e-13)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: np.sum(x) if x[0] > 0 else 0.0, "decision"),
        (lambda x: max(x[0], x[1]), "decision"),
        (lambda x: float(x[0]), "float was asked"),
        (lambda x: WEIGHTS[int(x[0] > 0)] * x[0], "float was asked"),
        (lambda x: np.sum(np.sort(x)), "numpy.sort cannot be traced"),
        (lambda x: np.linalg.qr(covariance(x))[1][0, 0], "qr cannot be traced"),
        (lambda x: np.sum(special.jv(0, x)), "the function jv cannot be traced"),
        (lambda x: np.sum(np.round(x)), "rounding"),
        (lambda x: np.sum(x.astype(int)), "astype"),
        (lambda x: np.sum(np.take(WEIGHTS, x)) if isinstance(x, Traced) else 0.0, "first argument alone"),
        (lambda x: np.var([x[0], x[1]]), "dtype float64"),
        (lambda x: written(x), "float was asked"),
        (lambda x: added(x), "writes into a NumPy array"),
    ],
)
def test_what_cannot_be_traced_names_the_line(f, reason):
    with pytest.raises(DensityError, match=reason) as raised:
        Density.from_numpy(f, 6)
    assert "test_arrays.py:" in str(raised.value)
    assert "from_callable" in str(raised.value)


MAKERS = {"zeros": np.zeros}  # where no trace looks for it


def written(x):
    out = MAKERS["zeros"](6)
    for i in range(6):
        out[i] = 2 * x[i]
    return np.sum(out)


def added(x):
    out = MAKERS["zeros"](6)
    out += x
    return np.sum(out)
