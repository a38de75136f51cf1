# cython: language_level=3, boundscheck=False, wraparound=False
"""The checks after every run, in one pass over its draws."""

from libc.stddef cimport ptrdiff_t, size_t

import numpy as np

ctypedef fused real:
    float
    double

cdef extern from "common/convergence.h" nogil:
    ctypedef struct mp_draws:
        size_t n_chains
        size_t n_draws
        size_t dim
        const char *data
        ptrdiff_t chain_stride
        ptrdiff_t draw_stride
        int single
    void mp_convergence(const mp_draws *, double *, double *)


def convergence(const real[:, :, :] draws):
    """Split R-hat (dim,) and effective sample size (dim,) of draws (chains, draws, dim) whose last axis is contiguous."""
    if draws.shape[1] < 4 or draws.strides[2] != sizeof(real) and draws.shape[2] > 1:
        raise ValueError("draws: expected at least 4, and a contiguous last axis")
    cdef mp_draws c
    r_hat, ess = np.full(draws.shape[2], np.nan), np.full(draws.shape[2], np.nan)
    cdef double[::1] first = r_hat, second = ess
    c.n_chains, c.n_draws, c.dim = draws.shape[0], draws.shape[1], draws.shape[2]
    if c.n_chains == 0 or c.dim == 0:
        return r_hat, ess
    c.data = <const char *>&draws[0, 0, 0]
    c.chain_stride, c.draw_stride = draws.strides[0], draws.strides[1]
    c.single = real is float
    with nogil:
        mp_convergence(&c, &first[0], &second[0])
    return r_hat, ess
