/* Small dense linear algebra of the kernels: triangular products and a Cholesky factorisation, row-major. */
#ifndef MICROPOLIS_LINALG_H
#define MICROPOLIS_LINALG_H

#include <stddef.h>

/* y = L x and y = L' x for a lower triangular L[dim * dim]; x and y distinct */
void mp_lower_product(size_t dim, const double *lower, const double *x, double *y);
void mp_lower_transpose_product(size_t dim, const double *lower, const double *x, double *y);

/* Factor the symmetric a[dim * dim] (lower triangle read) into lower[dim * dim], zeros above; 0, or 1 if not positive
 * definite. */
int mp_cholesky(size_t dim, const double *a, double *lower);

#endif
