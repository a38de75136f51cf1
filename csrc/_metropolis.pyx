# cython: language_level=3, boundscheck=False, wraparound=False
"""The metropolis family's compiled steps: addresses for the chain loop, and accept/reject over arrays."""

include "chain.pxi"

from libc.math cimport exp

cdef extern from "metropolis/random_walk.h" nogil:
    ctypedef struct mp_random_walk_options:
        pass
    ctypedef struct mp_random_walk_info:
        pass
    size_t mp_random_walk_work_size(const void *, size_t)
    int mp_random_walk_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)

cdef extern from "metropolis/langevin.h" nogil:
    ctypedef struct mp_langevin_options:
        pass
    ctypedef struct mp_langevin_info:
        pass
    size_t mp_langevin_work_size(const void *, size_t)
    int mp_langevin_step(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)


def kernels():
    """name -> (step, work size, bytes of options, bytes of info)."""
    return {
        "random_walk": (<uintptr_t>&mp_random_walk_step, <uintptr_t>&mp_random_walk_work_size,
                        sizeof(mp_random_walk_options), sizeof(mp_random_walk_info)),
        "langevin": (<uintptr_t>&mp_langevin_step, <uintptr_t>&mp_langevin_work_size, sizeof(mp_langevin_options),
                     sizeof(mp_langevin_info)),
    }


def standard_normal(object bit_generator, double[::1] out):
    """Fill `out` with the normals that Generator(bit_generator).standard_normal would draw."""
    cdef bitgen_t *rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
    with bit_generator.lock, nogil:
        mp_standard_normal(rng, out.shape[0], &out[0])
