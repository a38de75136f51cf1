# cython: language_level=3
"""A Cython module against the installed headers: a density by address, and NUTS steps on it with NumPy's generators."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uintptr_t
from libc.string cimport memset
from numpy.random cimport bitgen_t

import numpy as np

cdef extern from "micropolis/density.h" nogil:
    ctypedef int (*mp_logp_grad_fn)(size_t, const double *, double *, double *, void *) noexcept
    ctypedef struct mp_density:
        uint32_t version
        size_t dim
        void *user_data
        mp_logp_grad_fn logp_grad
    uint32_t MP_DENSITY_VERSION

cdef extern from "hamiltonian/nuts.h" nogil:
    ctypedef struct mp_tuning:
        double step_size
        int64_t metric
        double *scale
    ctypedef struct mp_info:
        double logp
    ctypedef struct mp_state:
        size_t n_buffers
        void **buffers
        void **spare
    ctypedef struct mp_nuts_options:
        mp_tuning tuning
        int64_t max_depth
    ctypedef struct mp_nuts_info:
        mp_info head
    int mp_state_init(const mp_density *, mp_state *, double *)
    size_t mp_nuts_work_size(const void *, size_t)
    int mp_nuts_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)


cdef int logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) noexcept nogil:
    cdef size_t i
    logp[0] = 0
    for i in range(dim):
        logp[0] -= 0.5 * x[i] * x[i]
        grad[i] = -x[i]
    return 0


def address():
    return <uintptr_t>&logp_grad


def sample(bit_generator, double[::1] x, double step_size, Py_ssize_t n):
    """Draws (n, dim) and the log density (n,)."""
    cdef bitgen_t *rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
    cdef size_t dim = x.shape[0]
    cdef mp_density density
    cdef mp_nuts_options options
    cdef mp_nuts_info info
    cdef mp_state state
    cdef double logp
    cdef double[::1] grad = np.empty(dim), scale = np.ones(dim)
    cdef void *buffers[3]
    cdef Py_ssize_t i
    memset(&density, 0, sizeof(density))
    density.version, density.dim, density.logp_grad = MP_DENSITY_VERSION, dim, logp_grad
    options.tuning.step_size, options.tuning.metric, options.tuning.scale = step_size, 0, &scale[0]
    options.max_depth = 10
    buffers[0], buffers[1], buffers[2] = &x[0], &logp, &grad[0]
    state.n_buffers, state.buffers, state.spare = 3, buffers, NULL
    raw = np.zeros(mp_nuts_work_size(&options, dim) + 8)
    cdef double[::1] work = raw[(-raw.ctypes.data % 64) // 8:]
    draws = np.empty((n, dim))
    cdef double[:, ::1] out = draws
    if mp_state_init(&density, &state, &grad[0]) != 0:
        raise ValueError
    for i in range(n):
        if mp_nuts_step(&options, &density, rng, &state, &work[0], &info.head) != 0:
            raise RuntimeError
        out[i] = x
    return draws
