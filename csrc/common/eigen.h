/* Eigen-decomposition of a symmetric matrix: inlined for a few dimensions, LAPACK's where it is handed in. */
#ifndef MICROPOLIS_EIGEN_H
#define MICROPOLIS_EIGEN_H

#include <stddef.h>

#include "common/simd.h"

#ifdef __cplusplus
extern "C" {
#endif

/* dsyevd of LAPACK, as scipy.linalg.cython_lapack exports it */
typedef void (*mp_dsyevd_fn)(char *job, char *triangle, int *n, double *a, int *stride, double *values, double *work,
                             int *n_work, int *integers, int *n_integers, int *info);

/* The inlined solver is the faster one up to here; a call of LAPACK takes 10 us before it has done anything. */
#define MP_EIGEN_INLINED 32

/* In doubles. */
size_t mp_eigen_work_size(size_t dim);

/* a[dim][stride], stride = mp_padded(dim) and zeros behind column dim, is destroyed; row m of vectors[dim][stride] is the
 * eigenvector of values[m] (in no particular order), zeros behind it. `lapack` may be NULL. 0, or 1: an element is not
 * finite, or the iteration did not converge. */
int mp_eigen(size_t dim, double *a, double *values, double *vectors, double *work, mp_dsyevd_fn lapack);

#ifdef __cplusplus
}
#endif
#endif
