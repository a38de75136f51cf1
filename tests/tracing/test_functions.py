"""NumPy functions that are no ufuncs: every result, whole, against NumPy's, and slopes of its weighted sum."""

import numpy as np
import pytest
from tracing.harness import Program, check
from tracing.test_arrays import CASES

A = np.array([[2.0, -1.0, 0.5], [0.3, 1.0, -0.7]])  # data
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
T = np.random.default_rng(5).normal(size=(4, 3, 2))
GRID = np.array([-2.0, -1.1, -0.2, 0.5, 0.9, 2.0])
W = np.linspace(0.3, 1.7, 6)
HOLES = np.where(W > 1, np.nan, W)
KNOWN = W < 1.2
POINTS = np.random.default_rng(3).normal(scale=0.8, size=(2, 6))


def square(x):
    return x.reshape(2, 3)


def cube(x):
    return np.multiply.outer(x, A)  # (6, 2, 3)


FUNCTIONS = {
    # reductions
    "sum": lambda x: np.sum(square(x), axis=(0, 1), keepdims=True) + np.sum(x, where=KNOWN, initial=2.0),
    "sum of axes": lambda x: np.sum(cube(x), axis=(0, 2)) * np.sum(cube(x), axis=1).sum(axis=0)[:2],
    "sum of one": lambda x: np.sum(np.broadcast_to(x[0], (3, 4)), axis=0),
    "prod": lambda x: np.prod(cube(x)[:5], axis=0) + np.prod(x, initial=2.0) + np.prod(x, where=KNOWN),
    "max": lambda x: (
        np.max(cube(x), axis=(0, 2)) + np.min(x[:5]) + np.max(x, initial=0.3) + x.max(where=KNOWN, initial=-9)
    ),
    "maximum.reduce": lambda x: np.maximum.reduce(square(x)) - np.minimum.reduce(square(x), axis=1)[0],
    "mean": lambda x: np.mean(cube(x), axis=0) + np.mean(x, where=KNOWN) + np.mean(x, keepdims=True),
    "var": lambda x: np.var(cube(x), axis=(1, 2), ddof=2) + np.std(x, where=KNOWN) + np.var(x, keepdims=True),
    "ptp": lambda x: np.ptp(square(x), axis=1, keepdims=True),
    "average": lambda x: np.average(square(x), axis=1, weights=[1.0, 2, 3]) + np.average(A, weights=np.exp(square(x))),
    "average returned": lambda x: np.stack(np.average(square(x), axis=0, weights=np.exp(square(x)), returned=True)),
    "nansum": lambda x: np.nansum(x * HOLES) + np.nanmean(x * HOLES) + np.nanprod(x * HOLES) + np.nancumsum(x * HOLES),
    "nanmax": lambda x: np.nanmax(square(x * HOLES), axis=0) + np.nanmin(x * HOLES) + np.nanstd(x * HOLES, ddof=1),
    "logaddexp.reduce": lambda x: np.logaddexp.reduce(cube(x), axis=1) + np.logaddexp.reduce(cube(x), axis=None),
    "logaddexp axes": lambda x: np.logaddexp.reduce(cube(x), axis=(0, 2), keepdims=True),
    "logaddexp2.reduce": lambda x: np.logaddexp2.reduce(x),
    "cumsum": lambda x: np.cumsum(square(x), axis=0) + np.cumsum(x)[:3] + np.add.accumulate(square(x), axis=1),
    "cumprod": lambda x: np.cumprod(square(x), axis=1) + np.multiply.accumulate(square(x)) + np.cumprod(square(x))[:3],
    "maximum.accumulate": lambda x: np.maximum.accumulate(x) - np.minimum.accumulate(x) + np.logaddexp.accumulate(x),
    "diff": lambda x: np.diff(square(x), axis=0, prepend=0.0) + np.diff(x, 2, append=[1.0, x[0]])[:3],
    "ediff1d": lambda x: np.ediff1d(x, to_end=3.0, to_begin=[1.0, 2.0]),
    "add.at": lambda x: scattered(x),
    "add.reduceat": lambda x: (
        np.add.reduceat(x, [0, 3, 1, 5]) + np.add.reduceat(np.outer(x[:4], x), [0, 2, 3], axis=1)[:, 0]
    ),
    "bincount": lambda x: np.bincount([0, 2, 2, 1, 0, 5], weights=x, minlength=7) ** 2,
    # choices
    "where": lambda x: np.where(square(x) > 0, A[0], square(x)) + np.where(KNOWN, x, 1)[:3] + np.where(x > 9, 1, x)[0],
    "clip": lambda x: (
        np.clip(x, [-0.1] * 6, 0.4) + np.clip(W, x, None) + np.clip(x, a_min=None, a_max=0.2) + x.clip(max=0)
    ),
    "select": lambda x: np.select([np.abs(x) < 0.3, x < 1, GRID > 1.2], [x**2, np.sin(x), 3.0 * x], default=-x),
    "choose": lambda x: np.choose([0, 1, 2, 1, 0, 2], [x, 2.0, -x]),
    "piecewise": lambda x: (
        np.piecewise(x, [x < -0.2, x > 0.6], [lambda v: -v, 3.0, lambda v: v**2])
        + np.piecewise(x, x < 0, [np.exp, np.cos])
    ),
    "nan_to_num": lambda x: np.nan_to_num(x * HOLES / np.where(KNOWN, 1, 0), nan=0.5, posinf=2.0, neginf=x[0]),
    # products
    "matmul": lambda x: A @ x[:3] @ square(x) @ S @ square(x).T @ square(x),
    "wide and tall": lambda x: (T.reshape(2, 12) @ np.tile(x, 2)) @ T.reshape(12, 2)[:, :2].T[:, :6] @ x,
    "matmul of views": lambda x: square(x).T @ square(x) + square(x).T @ A + A.T @ square(x) + (square(x).T @ A).T,
    "stacks": lambda x: (T @ square(x)).sum(axis=0) + (S @ np.multiply.outer(x, S)).sum(axis=0),
    "stacks of both": lambda x: np.multiply.outer(x, S) @ np.multiply.outer(x[::-1], S) @ x[:3],
    "large stacks": lambda x: (
        np.multiply.outer(x[:2], np.tile(S, (3, 3))) @ np.multiply.outer(x[2:4], np.tile(S, (3, 3)))
    ),
    "vectors and stacks": lambda x: x[:3] @ T @ x[:2] + np.matvec(T, x[:2])[:, 0] + np.vecmat(x[:3], T)[:, 1],
    "dot": lambda x: np.dot(square(x), S) + np.dot(T, square(x))[0, 0] + np.dot(2.0, x)[:3] + square(x).dot(x[:3])[0],
    "inner": lambda x: np.inner(square(x), A) + np.inner(x, x) + np.vdot(square(x), A) + np.vecdot(square(x), A),
    "outer": lambda x: np.outer(square(x), [1, 2]) * np.outer(x, x)[:, :2],
    "kron": lambda x: (
        np.kron(square(x), A) @ np.kron(x[:3], x[3:]) + np.kron(A, square(x))[:, 0] + np.kron(x[:2], A)[0, 0]
    ),
    "tensordot": lambda x: np.tensordot(T, square(x), ([1, 2], [1, 0])) + np.tensordot(square(x), A, 2),
    "tensordot outer": lambda x: np.tensordot(x[:2], A, 0),
    "multi_dot": lambda x: np.linalg.multi_dot([A, S, square(x).T, square(x), x[:3]]),
    "matrix_power": lambda x: (
        np.linalg.matrix_power(S + square(x).T @ square(x), 3) + np.linalg.matrix_power(S * x[0], 0)
    ),
    "polyval": lambda x: (
        np.polyval(x, GRID) + np.polyval([1.0, 2.0, 0.5], x) + np.polyval([3.0], x) + np.polyval(x[:1], GRID)
    ),
    "trace": lambda x: np.trace(cube(x)) + np.trace(square(x), offset=1) + np.trace(cube(x), axis1=2, axis2=0)[0],
    "einsum": lambda x: (
        np.einsum("ij,j->i", square(x), x[:3])
        + np.einsum("ij,kj->ik", square(x), A)[0]
        + np.einsum("i,ij", x[:2], A)[:2]
    ),
    "einsum of constants": lambda x: np.einsum("ij,jk,k->i", A, S, x[:3]) + np.einsum("ij,ij->", A, A) * x[0],
    "einsum diagonals": lambda x: np.einsum("ii->i", square(x).T @ A) + np.einsum("jj", square(x).T @ A),
    "einsum batches": lambda x: np.einsum("bij,bjk->bik", T[:, :2], np.multiply.outer(x[:4], T[0].T)[:, :, :2]).sum(
        axis=0
    ),
    "einsum elementwise": lambda x: np.einsum("ij,i,j->ji", square(x), x[:2], x[:3]),
    "einsum ellipsis": lambda x: np.einsum("...ij,jk", T, square(x))[0] + np.einsum("i...->...i", cube(x))[:1, :, :3],
    "einsum one": lambda x: (
        np.einsum("ij->j", square(x)) + np.einsum("ij->ji", square(x))[:, 0] + np.einsum("i,i", x, x)
    ),
    "norm": lambda x: (
        np.linalg.norm(square(x), axis=0)
        + np.linalg.norm(x, 1)
        + np.linalg.norm(x, np.inf)
        + np.linalg.norm(x, 3)
        + np.linalg.norm(square(x), 1)
        + np.linalg.norm(square(x), np.inf)
        + np.linalg.norm(x, 2, keepdims=True)
        + np.linalg.norm(square(x))
        + np.linalg.norm(square(x), "fro")
    ),
    # moving
    "views": lambda x: np.rot90(square(x)) @ np.moveaxis(cube(x), 0, -1)[:, 0] + np.swapaxes(square(x), 0, 1)[:, :1],
    "take_along_axis": lambda x: np.take_along_axis(square(x), np.array([[2, 0], [1, 1]]), axis=1),
    "delete and insert": lambda x: (
        np.delete(x, [1, 3]) * np.resize(x, 4)
        + np.extract(KNOWN, x)[-4:]
        + np.insert(x, [1, 2], [0.5, x[0]])[:4]
        + np.compress([True, False, True], square(x), axis=1).ravel()
    ),
    "split": lambda x: np.stack([part.sum() for part in np.split(x, [2, 3])]) + np.array_split(x, 4)[0][0],
    "block": lambda x: np.block([[square(x), np.ones((2, 1))], [x[:3], 2.0]]),
    "triangles": lambda x: (
        np.tril(square(x), 1) + np.triu(cube(x)[0], 1) + np.diag(x[:3])[:2] + np.diagflat(x[:2], 1)[:2]
    ),
    "pad": lambda x: np.pad(square(x), ((1, 0), (2, 1)), constant_values=((1.0, 2.0), (3.0, 4.0))) + np.pad(x, 0)[0],
    "pad traced": lambda x: np.pad(x, (1, 2), constant_values=x[1]) + np.pad(x, (2, 1), mode="edge"),
    "full_like": lambda x: np.full_like(square(x), x[:3]) + np.ones_like(x, shape=3) * 2 + np.zeros_like(square(x)),
    "linspace": lambda x: np.linspace(x[0], 2.0, 5) + np.linspace(0, x[1], 5, endpoint=False),
    "linspace of rows": lambda x: np.linspace(x[:3], A[0], 4) + np.linspace(A[0], x[:3], 4, axis=1).T,
    "apply_along_axis": lambda x: np.apply_along_axis(lambda v: v[:2] * v.sum(), 1, square(x)),
    "vander": lambda x: np.vander(x, 3) + np.vander(x, 3, increasing=True) * 2,
    # analysis
    "trapezoid": lambda x: np.trapezoid(square(x), axis=0) + np.trapezoid(x**2, GRID) + np.trapezoid(GRID, np.exp(x)),
    "gradient": lambda x: (
        np.gradient(x, 0.5) + np.gradient(x, GRID, edge_order=2) + np.gradient(np.outer(x, x), axis=1)[0]
    ),
    "gradients": lambda x: np.stack(np.gradient(np.outer(x, x), GRID, 2.0)),
    "cross": lambda x: (
        np.cross(square(x), [1.0, 2.0, -1.0]) + np.cross(A[0], x[:3]) + np.cross(square(x).T, A.T, axis=0).T
    ),
    "convolve": lambda x: (
        np.convolve(x, [1.0, -2.0], "same") + np.convolve(W, x)[:6] + np.convolve(x[:3], W, "valid")[0]
    ),
    "correlate": lambda x: (
        np.correlate(x, [1.0, -2.0, 0.3], "same") + np.correlate(W, x[:2], "full")[:6] + np.correlate(x[:2], x)[0]
    ),
    "interp of values": lambda x: (
        np.interp([-3.0, -1.5, -0.2, 0.1, 2.0, 4.0], GRID, x, left=x[2]) + np.interp(x, [1.0], [2.0])
    ),
    "interp of arguments": lambda x: np.interp(x, GRID, W**2) + np.interp(3 * x, GRID, W, left=-1.0, right=x[0]),
    "interp of both": lambda x: np.interp(2 * x, GRID, np.sin(x)) + np.interp(x[0], GRID, x),
    "cov": lambda x: np.cov(square(x)) + np.cov(x[:3], A[0]) + np.cov(x) + np.cov(square(x).T, rowvar=False),
    "corrcoef": lambda x: np.corrcoef(square(x)) + np.corrcoef(x, W),
    # writing
    "fill_diagonal": lambda x: filled(x),
    "out and where": lambda x: divided(x),
    "put": lambda x: put(x),
    "in turn": lambda x: stored(x),
}


def scattered(x):
    out = np.zeros(4, like=x)
    np.add.at(out, [0, 1, 1, 3, 3, 3], x)
    np.subtract.at(out, ([0, 0],), x[:2] ** 2)
    return out


def filled(x):
    k = np.outer(x, x)
    np.fill_diagonal(k, np.exp(x))
    k[np.diag_indices(6)] += 1.0
    return k


def divided(x):
    out = np.zeros(6, like=x)
    np.divide(W, x, out=out, where=KNOWN)
    np.add(out, x, out=out)
    return out


def put(x):
    y = np.zeros((2, 3), like=x)
    np.put(y, [0, 4], x[:2])
    np.copyto(y, x[2], where=A > 1)
    np.putmask(y, A < -0.5, 3 * x[3])
    return y


def stored(x):
    y = 1.0 * x
    y[[0, 2]] = x[1], 2.0
    y[KNOWN] *= x[0]
    y[-1:] = np.array([[3.0]])
    y[y.shape[0] // 2 :: 2] -= W[:2]
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    f = FUNCTIONS[name]
    check(f, POINTS, slopes=False, rtol=1e-12)

    def weighted(x):
        y = np.ravel(f(x))
        return np.sum(np.cos(np.arange(y.size)) * y)

    check(weighted, POINTS, rtol=1e-11)


@pytest.mark.parametrize("name", CASES)
def test_curvature_of_cases(name):
    check(CASES[name], np.random.default_rng(8).normal(scale=0.7, size=(2, 6)), rtol=1e-11)


def test_infinite_and_missing_arguments_of_reductions():
    x = np.array([1.0, -np.inf, np.nan, np.inf, 0.0, 3.0])
    for f in (
        lambda v: np.logaddexp.reduce(v[:2]),
        lambda v: np.logaddexp.reduce(v[[1, 1, 1]]),
        np.max,
        np.nanmax,
        np.nansum,
        lambda v: np.logaddexp.reduce(v[[3, 0, 0]]),
        lambda v: np.cumsum(v),
        lambda v: np.max(v[[3, 1, 0]]),
        lambda v: np.logaddexp(v[1], v[1]),
        lambda v: np.logaddexp(v[3], v[3]),
        lambda v: np.any(v[4:5]),
        np.all,
        lambda v: np.count_nonzero(v),
        lambda v: np.interp(v, [0.0, 1.0, 2.0], [5.0, 6.0, -np.inf]),
        lambda v: np.interp([0.5, 1.0, 1.5, 3.0], [0.0, 1.0, 2.0], np.stack([v[0], v[5], v[1]])),
    ):
        with np.errstate(all="ignore"):
            check(f, x, slopes=False)


def test_empty_arrays():
    x = np.arange(3.0)
    for f in (
        lambda v: np.sum(v[:0]) + v,
        lambda v: np.prod(v[3:]) + v,
        lambda v: v[:0] * v[0],
        lambda v: np.concatenate([v[:0], v]),
        lambda v: np.sum(np.outer(v[:0], v), axis=0),
        lambda v: np.cumsum(v[:0]),
        lambda v: v[:0].reshape(0, 4).sum(axis=1),
        lambda v: np.where(v[:0] > 0, 1.0, v[:0]),
        lambda v: v[:0] @ v[:0] + v,
        lambda v: np.zeros((2, 0)) @ np.outer(v[:0], v),
        lambda v: np.any(v[:0] > 0) | np.all(v[:0] > 0) | (v > 1),
        lambda v: np.exp(v[:0]),
    ):
        check(f, x, slopes=False)


def test_scalars_stay_scalars_and_lists_are_arrays():
    program = Program(lambda x: np.sum(x), 3)
    assert program.value(np.ones(3)).shape == ()
    check(lambda x: np.stack([np.sum([x[0], 2.0, x[1]]), np.dot([x[0], 1.0], [2.0, x[1]])]), [0.3, 0.4], slopes=False)


def test_repeated_elements_are_no_gather():
    for f in (lambda x: np.repeat(x, 3), lambda x: np.tile(x, 3), lambda x: np.broadcast_to(x, (3, 6)) * 1.0):
        assert {node.op for node in Program(f, 6).graph.nodes} <= {"input", "expand", "constant"}
        check(f, POINTS, slopes=False)
