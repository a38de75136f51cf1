"""Linear algebra of traced matrices: values, slopes and curvature, singular matrices, what is triangular."""

import numpy as np
import pytest
import scipy.linalg
from tracing.harness import Program, check

from micropolis import Density
from micropolis.errors import DensityError
from micropolis.tracing.graph import Graph, reachable
from micropolis.tracing.linalg_rules import lu
from micropolis.tracing.zeros import known_zeros, triangle_of

A = np.array([[2.0, -1.0, 0.5], [0.3, 1.0, -0.7]])
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
G = np.array([[1e-9, 2.0, -1.0], [1.5, 0.3, 0.2], [-0.4, 0.8, 1.1]])
B = np.random.default_rng(2).normal(size=(4, 3, 2))
MASK = np.tril(np.ones((3, 3)))
POINTS = np.random.default_rng(3).normal(scale=0.8, size=(2, 6))


def covariance(x):
    b = x.reshape(2, 3)
    return S + b.T @ b


def general(x):
    return G + np.outer(np.sin(x[:3]), x[3:])


def factor(x):
    return np.linalg.cholesky(covariance(x))


def lower(x):
    """A triangular matrix filled element by element."""
    out = np.zeros((3, 3), like=x)
    out[np.tril_indices(3)] = np.exp(x / 2)
    return out


def stack(x):
    return np.stack([covariance(x), covariance(x[::-1]), S * np.exp(x[0])])


def of_eigenvalues(a, f):
    """A function of a symmetric matrix, whatever the signs of its eigenvectors."""
    values, vectors = np.linalg.eigh(a)
    return vectors * f(values) @ vectors.T


FUNCTIONS = {
    "cholesky": lambda x: factor(x) + np.linalg.cholesky(covariance(x), upper=True),
    "cholesky reads a triangle": lambda x: (
        np.linalg.cholesky(covariance(x) + np.triu(np.ones((3, 3)), 1))
        + np.linalg.cholesky(covariance(x) * MASK.T, upper=True)
    ),
    "cholesky of a stack": lambda x: np.linalg.cholesky(stack(x)),
    "solve": lambda x: np.linalg.solve(general(x), x[:3]) + np.linalg.solve(general(x).T, x.reshape(3, 2)).sum(),
    "solve numbers": lambda x: np.linalg.solve(G, x[:3]) + np.linalg.solve(covariance(x), B[0]).sum(axis=1),
    "solve triangular numbers": lambda x: (
        np.linalg.solve(np.tril(S), x[:3]) + np.linalg.solve(np.triu(S), x.reshape(3, 2)).sum()
    ),
    "solve triangles": lambda x: (
        np.linalg.solve(factor(x), A.T) + np.linalg.solve(factor(x).T, A.T) + np.linalg.solve(lower(x), x.reshape(3, 2))
    ),
    "solve stacks": lambda x: (
        np.linalg.solve(stack(x), np.stack([B[0], B[1], x.reshape(3, 2)])) + np.linalg.solve(S, B)[:3]
    ),
    "solve one with many": lambda x: np.linalg.solve(covariance(x), B) + np.linalg.solve(S, B * x[0]),
    "solve many with one": lambda x: np.linalg.solve(stack(x), x[:3]) + np.linalg.solve(stack(x), A.T)[..., 0],
    "inverse": lambda x: (
        np.linalg.inv(general(x)) + np.linalg.inv(factor(x)) + np.linalg.inv(lower(x).T) + np.linalg.inv(stack(x))[1]
    ),
    "inverse of its own": lambda x: np.linalg.inv(np.linalg.inv(general(x))),
    "determinants": lambda x: (
        np.linalg.det(general(x)) + np.linalg.det(stack(x)) + np.linalg.det(factor(x)) + np.linalg.det(x[:1, None] + 2)
    ),
    "determinant of four rows": lambda x: np.linalg.det(np.pad(general(x), ((0, 1), (1, 0)), constant_values=0.7)),
    "slogdet": lambda x: np.stack(
        [*np.linalg.slogdet(general(x)), *np.linalg.slogdet(factor(x)), *np.linalg.slogdet(-S * x[0] ** 2)]
    ),
    "slogdet of a stack": lambda x: np.linalg.slogdet(stack(x)).logabsdet + np.linalg.slogdet(covariance(x)).sign,
    "eigenvalues": lambda x: (
        np.linalg.eigvalsh(covariance(x))
        + np.linalg.eigvalsh(covariance(x) * MASK)
        + np.linalg.eigvalsh(covariance(x) * MASK.T, UPLO="U")
        + np.linalg.eigh(covariance(x)).eigenvalues
    ),
    "eigenvalues of a stack": lambda x: (
        np.linalg.eigvalsh(stack(x)) + np.sum(np.linalg.eigh(stack(x))[1] ** 2 * B[0, 1, 0])
    ),
    "eigenvectors": lambda x: np.linalg.eigh(covariance(x))[1] ** 2 @ np.arange(3.0),
    "functions of matrices": lambda x: (
        of_eigenvalues(covariance(x), np.sqrt) + of_eigenvalues(S + np.outer(x[:3], x[:3]), np.log)
    ),
    "tril of triangles": lambda x: np.tril(factor(x)) + np.triu(factor(x).T) + np.tril(factor(x), -1),
    "determinants of singular matrices": lambda x: (
        np.linalg.det(np.outer(x[:3], x[3:])) + np.linalg.det(np.outer(x[:2], x[:2]))
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    f = FUNCTIONS[name]
    check(f, POINTS, slopes=False, rtol=1e-11)
    check(lambda x: np.sum(np.cos(np.arange(np.size(y := f(x)))) * np.ravel(y)), POINTS, rtol=1e-10)


def operations(f):
    return {node.op for node in reachable(Program(f, 6).outputs[:1])}


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.linalg.solve(factor(x), A.T),
        lambda x: np.linalg.solve(factor(x).T, A.T),
        lambda x: np.linalg.solve(np.linalg.cholesky(covariance(x), upper=True), A.T),
        lambda x: np.linalg.inv(lower(x)),
        lambda x: np.linalg.inv(-2 * lower(x).T),
        lambda x: np.linalg.solve(np.linalg.inv(factor(x)), x[:3]),
        lambda x: np.linalg.solve(np.tril(covariance(x)), x[:3]),
        lambda x: np.linalg.solve(np.where(MASK > 0, covariance(x), 0.0), x[:3]),
        lambda x: np.linalg.solve(covariance(x) * MASK, x[:3]),
        lambda x: np.linalg.solve(x[:3, None] * factor(x), x[:3]),
        lambda x: np.linalg.solve(np.diag(np.exp(x[:3])) @ factor(x), x[:3]),
        lambda x: np.linalg.solve(np.diag(np.exp(x[:3])), x[:3]),
        lambda x: np.linalg.slogdet(factor(x))[1],
        lambda x: np.linalg.det(lower(x)),
        lambda x: np.linalg.solve(np.stack([lower(x), factor(x)]), x[:3]),
        lambda x: np.linalg.solve(
            np.block([[np.exp(x[:1, None]), np.zeros((1, 1))], [x[1:2, None], np.ones((1, 1))]]), x[:2]
        ),
    ],
)
def test_triangular_matrices_are_found(f):
    assert not operations(f) & {"solve", "lu", "slogdet", "det"}
    check(f, POINTS, slopes=False, rtol=1e-11)


def test_known_zeros_are_zeros():
    """At random points what is said to be zero is."""
    fs = [
        lower,
        factor,
        lambda x: lower(x) @ factor(x),
        lambda x: np.linalg.inv(lower(x)),
        lambda x: np.pad(x, 2) ** 2,
        lambda x: lower(x) + factor(x),
        lambda x: np.where(MASK > 0, 0.0, lower(x)),
        lambda x: lower(x) / np.exp(x[0]),
        lambda x: np.maximum(lower(x), 0.0),
        lambda x: np.tile(np.diag(x), 2),
        lambda x: np.exp(lower(x)),
        lambda x: np.linalg.solve(lower(x).T, factor(x).T),
        lambda x: np.linalg.solve(lower(x), factor(x).T),
    ]
    for f in fs:
        program = Program(f, 6)
        mask = known_zeros(program.outputs[0])
        for x in POINTS:
            np.testing.assert_array_equal(mask if mask is not None else False, np.ravel(program.value(x)) == 0) if (
                f not in (fs[8], fs[10])
            ) else None
            assert mask is None or np.all(np.ravel(program.value(x))[mask] == 0)
    assert triangle_of(Graph().constant(np.eye(3)), 3) == "diagonal"


def test_singular_matrices():
    """The determinant and its slope, the cofactors, of matrices of rank 2, 1 and 0."""
    programs = {n: Program(lambda x, n=n: np.linalg.det(x.reshape(n, n)), n * n) for n in (3, 4)}
    three = (np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), np.outer([1.0, 2, 3], [1, -1, 2]), np.zeros((3, 3)), S)
    for a in (*three, *(np.pad(a, (0, 1), constant_values=0.5) for a in three), np.pad(three[0], (0, 1))):
        n = len(a)
        steps = 1e-5 * np.eye(n * n).reshape(-1, n, n)
        differences = [(np.linalg.det(a + h) - np.linalg.det(a - h)) / 2e-5 for h in steps]
        np.testing.assert_allclose(programs[n].grad(a.reshape(-1)), differences, rtol=1e-9, atol=1e-8)
    program = Program(lambda x: np.linalg.slogdet(x.reshape(2, 2))[1], 4)
    assert program.value([1.0, 2.0, 2.0, 4.0]) == -np.inf


def test_matrices_without_a_factor():
    program = Program(lambda x: np.linalg.cholesky(np.eye(2) + 4 * x[0] * np.eye(2)[::-1])[1, 1], 1)
    np.testing.assert_allclose(program.value([0.15]), 0.8, rtol=1e-14)
    assert np.isnan(program.value([0.3]))
    with pytest.raises(np.linalg.LinAlgError, match="expected square matrices"):
        Program(lambda x: np.linalg.inv(x.reshape(2, 3)), 6)
    with pytest.raises(ValueError, match="3 rows, right sides of shape"):
        Program(lambda x: np.linalg.solve(covariance(x), x), 6)


def test_what_is_known_is_computed_by_numpy():
    def f(x):
        k = np.eye(3, like=x)
        k[0, 1] = k[1, 0] = 0.5
        return np.linalg.cholesky(k) @ x[:3] + np.linalg.inv(k)[0] * np.linalg.slogdet(k)[1] + np.linalg.det(k)

    assert operations(f) <= {"matvec", "add", "constant", "gather", "input", "matvec_t"}
    check(f, POINTS, slopes=False)


def test_lu():
    from scipy.linalg import lu_factor

    for seed, n in enumerate((1, 2, 5, 40)):
        a = np.random.default_rng(seed).normal(size=(n, n))
        factors, exchanges = lu_factor(a)
        np.testing.assert_allclose(lu(a), np.append(factors, exchanges), rtol=1e-10, atol=1e-12)


def test_a_gaussian_process_of_two_hundred_points():
    t = np.linspace(0, 5, 200)
    y = np.sin(t)

    def f(x):
        k = np.exp(x[0]) * np.exp(-0.5 * (t[:, None] - t) ** 2 / np.exp(2 * x[1])) + np.exp(x[2]) * np.eye(200)
        chol = np.linalg.cholesky(k)
        z = np.linalg.solve(chol, y)
        return -0.5 * z @ z - np.sum(np.log(np.diag(chol)))

    program = Program(f, 3)
    assert len(program.graph.nodes) < 100
    x = np.array([0.1, -0.2, -2.0])
    np.testing.assert_allclose(program.value(x), f(x), rtol=1e-11)
    differences = [(f(x + h) - f(x - h)) / 2e-5 for h in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(program.grad(x), differences, rtol=1e-6, atol=1e-6)


# -- eigenvalues and exponentials ------------------------------------------------------------------------------------


def agree(f, dim, rtol=1e-10):
    """The compiled density: values, slopes, curvature; one point and many at a time."""
    density, points = Density.from_numpy(f, dim), np.random.default_rng(7).normal(scale=0.6, size=(11, dim))
    check(f, points[:2], again=True, rtol=rtol)
    program = Program(f, dim, again=True)
    np.testing.assert_allclose(density(points), [f(x) for x in points], rtol=rtol)
    for x in points[:3]:
        value, grad = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(x), rtol=rtol)
        np.testing.assert_allclose(grad, program.grad(x), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(density.hessian(x), program.hessian(x), rtol=1e-7, atol=1e-8)
    return density


def test_scipy_eigenvalues():
    def f(x):
        a = covariance(x)
        values, vectors = scipy.linalg.eigh(a * MASK)
        upper = scipy.linalg.eigh(a * MASK.T, lower=False, eigvals_only=True) + scipy.linalg.eigvalsh(a)
        return np.log(values) @ np.arange(3.0) + np.sum((vectors.T @ x[:3]) ** 2 / values) + np.sum(upper**2)

    agree(f, 6)


def test_eigenvectors_of_another_sign_are_caught():
    with pytest.raises(DensityError, match="the traced log density is"):
        Density.from_numpy(lambda x: np.sum(np.linalg.eigh(covariance(x))[1] * np.arange(9.0).reshape(3, 3)), 6)


def test_equal_eigenvalues():
    """Derivatives by eigenvalues are right and finite where all are equal."""

    def f(x):
        return np.sum(np.exp(np.linalg.eigvalsh(np.eye(3) + x.reshape(3, 3) + x.reshape(3, 3).T)))

    density = Density.from_numpy(f, 9)
    np.testing.assert_allclose(density.value_and_grad(np.zeros(9))[1], 2 * np.e * np.eye(3).ravel(), rtol=1e-14)
    x = 0.3 * np.eye(3).ravel()
    np.testing.assert_allclose(density.value_and_grad(x)[1], 2 * np.exp(1.6) * np.eye(3).ravel(), rtol=1e-14)
    assert np.all(np.isfinite(density.hessian(x)))


def test_what_eigh_is_not_traced_with():
    for of, reason in (
        (lambda x: scipy.linalg.eigh(covariance(x), S)[0].sum(), "generalised problem"),
        (lambda x: scipy.linalg.eigh(covariance(x), subset_by_index=[0, 1])[0].sum(), "all eigenvalues"),
    ):
        with pytest.raises(DensityError, match=reason):
            Density.from_numpy(of, 6)
    with pytest.raises(ValueError, match="expected square matrices, got an array of shape"):
        Program(lambda x: np.trace(scipy.linalg.expm(np.outer(x, x)[:2])), 3, again=True)


def test_exponentials():
    def f(x):
        a = general(x)
        p, many = scipy.linalg.expm(a), scipy.linalg.expm(stack(x) * 0.1)
        chain = scipy.linalg.expm(np.array([[-np.exp(x[0]), np.exp(x[0])], [np.exp(x[1]), -np.exp(x[1])]]) * 30.0)
        small = scipy.linalg.expm(x[:1, None])[0, 0]
        return np.sum(p @ A.T * 0.1) + np.sum(many[1] * many[2]) * 0.01 + np.log(chain[0, 1]) + small

    agree(f, 6, rtol=1e-9)


def test_exponential_of_blocks():
    """A small diagonal with large other blocks: the adjoint of a density of large slopes loses nothing."""

    def f(x):
        return 1e9 * np.sum(scipy.linalg.expm(x.reshape(2, 2)) * np.array([[1.0, -1.0], [2.0, 0.5]]))

    density = Density.from_numpy(f, 4)
    x = np.array([0.3, -0.2, 0.5, 0.1])
    weights = np.array([[1.0, -1.0], [2.0, 0.5]])
    expected = scipy.linalg.expm_frechet(x.reshape(2, 2).T, weights, compute_expm=False)
    np.testing.assert_allclose(density.value_and_grad(x)[1], 1e9 * expected.ravel(), rtol=1e-13)
