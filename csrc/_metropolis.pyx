# cython: language_level=3, boundscheck=False, wraparound=False
"""The metropolis family's compiled steps: addresses for the chain loop, and accept/reject over arrays."""

include "chain.pxi"
include "weights.pxi"

from libc.math cimport INFINITY, exp, isfinite

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


cdef extern from "common/ziggurat.h":
    ctypedef struct mp_ziggurat_layer:
        double width
        unsigned long long bound
    const mp_ziggurat_layer mp_ziggurat[512]


def ziggurat():
    """Acceptance bounds and widths of the layers of the normal ziggurat, for the readable source."""
    return (np.array([mp_ziggurat[i].bound for i in range(256)], dtype=np.int64),
            np.array([mp_ziggurat[i].width for i in range(256)]))


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


def accept(object bit_generator, const double[::1] logp, const double[::1] proposed, const double[::1] log_q_ratio,
           const double[::1] temperature, unsigned char[::1] out):
    """One accept/reject decision per element; vectors of length 1 are broadcast. See micropolis.kernels."""
    cdef bitgen_t *rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
    cdef Py_ssize_t i, n = out.shape[0]
    cdef Py_ssize_t a = logp.shape[0] != 1, b = proposed.shape[0] != 1, c = log_q_ratio.shape[0] != 1
    cdef Py_ssize_t d = temperature.shape[0] != 1
    cdef double log_ratio, u
    with bit_generator.lock, nogil:
        for i in range(n):
            u = mp_uniform(rng)
            log_ratio = (proposed[b * i] - logp[a * i]) / temperature[d * i] + log_q_ratio[c * i]
            # a NaN compares false: never accepted; from outside the support every finite proposal is
            out[i] = isfinite(proposed[b * i]) and (log_ratio >= 0.0 or u < exp(log_ratio))
