# cython: language_level=3, boundscheck=False, wraparound=False
"""The hamiltonian family's compiled steps: addresses for the chain loop, and leapfrog over arrays."""

include "chain.pxi"

cdef extern from "hamiltonian/integrators.h" nogil:
    int mp_leapfrog_run(const mp_density *, size_t, int, double, int64_t, const double *, double *, double *, double *,
                         double *, double *)

cdef extern from "hamiltonian/hmc.h" nogil:
    ctypedef struct mp_hmc_options:
        pass
    ctypedef struct mp_hmc_info:
        pass
    size_t mp_hmc_work_size(const void *, size_t)
    int mp_hmc_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)

cdef extern from "hamiltonian/splitting.h" nogil:
    ctypedef struct mp_splitting_options:
        pass
    ctypedef struct mp_splitting_info:
        pass
    size_t mp_splitting_work_size(const void *, size_t)
    int mp_splitting_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)

cdef extern from "hamiltonian/nuts.h" nogil:
    ctypedef struct mp_nuts_options:
        pass
    ctypedef struct mp_nuts_info:
        pass
    size_t mp_nuts_work_size(const void *, size_t)
    int mp_nuts_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)


cdef extern from "common/ascent.h" nogil:
    int mp_ascend(const mp_density *, int, double *, double *)


def ascend(object density, int n_evaluations, double[::1] x):
    """Move x (dim,) uphill while the log density climbs fast; the density's negative code, or 0."""
    cdef const mp_density *target = <const mp_density *><uintptr_t>density.address
    cdef double[::1] work = np.empty(5 * x.shape[0])
    cdef int code
    with nogil:
        code = mp_ascend(target, n_evaluations, &x[0], &work[0])
    return code


def kernels():
    """name -> (step, work size, bytes of options, bytes of info)."""
    return {
        "splitting": (<uintptr_t>&mp_splitting_step, <uintptr_t>&mp_splitting_work_size, sizeof(mp_splitting_options),
                      sizeof(mp_splitting_info)),
        "hmc": (<uintptr_t>&mp_hmc_step, <uintptr_t>&mp_hmc_work_size, sizeof(mp_hmc_options), sizeof(mp_hmc_info)),
        "nuts": (<uintptr_t>&mp_nuts_step, <uintptr_t>&mp_nuts_work_size, sizeof(mp_nuts_options), sizeof(mp_nuts_info)),
    }


def leapfrog(object density, double step_size, int64_t n_steps, const double[::1] inverse_mass, double[:, ::1] q,
             double[:, ::1] p, double[::1] logp, double[:, ::1] grad):
    """n_steps of leapfrog for every row of (q, p), in place; inverse_mass has 0, dim or dim * dim numbers.

    Returns the first negative code of the density and its row, or (0, 0).
    """
    cdef const mp_density *target = <const mp_density *><uintptr_t>density.address
    cdef size_t dim = q.shape[1]
    cdef Py_ssize_t i
    cdef int code = 0, kind = 0 if inverse_mass.shape[0] == 0 else 1 if <size_t>inverse_mass.shape[0] == dim else 2
    cdef double[::1] velocity = np.empty(dim)
    if kind == 2 and dim == 1:
        kind = 1
    for i in range(q.shape[0]):
        code = mp_leapfrog_run(target, dim, kind, step_size, n_steps, &inverse_mass[0] if kind else NULL, &q[i, 0],
                                &p[i, 0], &logp[i], &grad[i, 0], &velocity[0])
        if code < 0:
            return code, i
    return 0, 0
