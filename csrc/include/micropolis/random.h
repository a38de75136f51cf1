/* Random numbers for kernels: NumPy bit generators, and the normals that NumPy's Generator would draw from them.
 *
 * mp_standard_normal consumes the stream exactly as numpy.random.Generator.standard_normal does and returns the same
 * numbers, with a sign that costs no branch (see csrc/common/random.c). */
#ifndef MICROPOLIS_RANDOM_H
#define MICROPOLIS_RANDOM_H

#include <numpy/random/bitgen.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline double mp_uniform(bitgen_t *rng) { return rng->next_double(rng->state); } /* [0, 1) */
void mp_standard_normal(bitgen_t *rng, size_t n, double *out);

#ifdef __cplusplus
}
#endif
#endif
