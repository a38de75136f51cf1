"""The small symmetric eigensolver against its definition, with clusters, extreme scales, bad input; its twin."""

import ctypes
import time

import numpy as np
import pytest
from laws.kernels import run

import micropolis as mp
from micropolis._hamiltonian import eigen
from micropolis.hamiltonian import riemannian
from micropolis.hamiltonian.eigen import make_eigen
from micropolis.hamiltonian.riemannian import dsyevd

EPS = np.finfo(float).eps


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def generate():
    for n in (1, 2, 3, 4, 7, 8, 9, 11, 16, 17, 24, 32, 40):
        rng = np.random.default_rng(n)
        a = rng.standard_normal((n, n))
        yield f"random {n}", a + a.T
        q = orthogonal(n, n)
        yield f"cluster {n}", (q * np.where(np.arange(n) < n // 2, 1.0, 2.0)) @ q.T
        yield f"graded {n}", (q * np.geomspace(1e-12, 1e3, n)) @ q.T
        yield f"near cluster {n}", (q * (1.0 + 1e-15 * np.arange(n))) @ q.T
        arrow = np.diag(np.full(n, 2.5))
        arrow[0, 1:] = arrow[1:, 0] = rng.standard_normal(n - 1)
        arrow[0, 0] = -3.0
        yield f"arrowhead {n}", arrow
        yield f"diagonal {n}", np.diag(rng.standard_normal(n))
    yield "zero", np.zeros((5, 5))
    yield "identity", np.eye(11)
    tridiagonal = np.diag(np.ones(19), 1)
    yield "path", tridiagonal + tridiagonal.T


MATRICES = dict(generate())


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
@pytest.mark.parametrize("lapack", [False, True])
def test_decomposes(name, scale, lapack):
    a = MATRICES[name]
    a = 0.5 * (a + a.T) * scale
    n, size = len(a), np.abs(a).max()
    values, rows, code = eigen(a, dsyevd() if lapack else 0)
    assert code == 0
    # backward stable: a small multiple of n eps |A|
    np.testing.assert_allclose(rows @ rows.T, np.eye(n), rtol=0, atol=20 * n * EPS)
    np.testing.assert_allclose(rows.T @ (values[:, None] * rows), a, rtol=0, atol=20 * n * EPS * size)
    np.testing.assert_allclose(np.sort(values), np.linalg.eigvalsh(a), rtol=0, atol=20 * n * EPS * size)


@pytest.mark.parametrize("lapack", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 3, 11, 40])
def test_not_finite_is_an_error_code(n, bad, lapack):
    a = np.eye(n)
    a[n // 2, 0] = a[0, n // 2] = bad
    assert eigen(a, dsyevd() if lapack else 0)[2] == 1


@pytest.mark.parametrize("name", [name for name, a in MATRICES.items() if len(a) < 18])
def test_the_readable_solver_gives_the_same_bits(name):
    a = MATRICES[name]
    a = 0.5 * (a + a.T)
    n = len(a)
    values, rows = np.zeros(n), np.zeros((n, n))
    assert make_eigen(lambda f: f)(a.copy(), values, rows, np.zeros((3, n)))
    expected_values, expected_rows, _ = eigen(a)
    assert values.tobytes() == expected_values.tobytes()
    np.testing.assert_array_equal(rows, expected_rows)


def test_the_threads_of_lapack_are_given_back(monkeypatch):
    """Chains that begin and end steps at once never take the one thread they are held to for what was there before."""
    n_threads = [3]

    def change(n):
        time.sleep(2e-4)  # long enough for another chain to come in between
        n_threads[0] = n

    get, set_ = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: n_threads[0]), ctypes.CFUNCTYPE(None, ctypes.c_int)(change)
    addresses = tuple(ctypes.cast(function, ctypes.c_void_p).value for function in (get, set_))
    monkeypatch.setattr(riemannian, "openblas_threads", lambda: addresses)
    density = mp.densities.Gaussian(np.zeros(33))
    for seed in range(3):
        run(density, mp.RMHMC(0.3, 1), draws=40, warmup=0, chains=4, threads=4, init=np.zeros(33), seed=seed)
        assert n_threads == [3]
