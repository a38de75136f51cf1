# cython: language_level=3, boundscheck=False, wraparound=False
"""The hamiltonian family's compiled steps: addresses for the chain loop, and leapfrog over arrays."""

include "chain.pxi"

cdef extern from "hamiltonian/hmc.h" nogil:
    ctypedef struct mp_hmc_options:
        pass
    ctypedef struct mp_hmc_info:
        pass
    size_t mp_hmc_work_size(const void *, size_t)
    int mp_hmc_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)

cdef extern from "hamiltonian/nuts.h" nogil:
    ctypedef struct mp_nuts_options:
        pass
    ctypedef struct mp_nuts_info:
        pass
    size_t mp_nuts_work_size(const void *, size_t)
    int mp_nuts_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)


def kernels():
    """name -> (step, work size, bytes of options, bytes of info)."""
    return {
        "hmc": (<uintptr_t>&mp_hmc_step, <uintptr_t>&mp_hmc_work_size, sizeof(mp_hmc_options), sizeof(mp_hmc_info)),
        "nuts": (<uintptr_t>&mp_nuts_step, <uintptr_t>&mp_nuts_work_size, sizeof(mp_nuts_options), sizeof(mp_nuts_info)),
    }
