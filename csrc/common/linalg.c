/* Triangular products and Cholesky factorisation for metrics of moderate dimension. */
#include "common/linalg.h"

#include <math.h>

#include "common/simd.h"

MP_INLINE double dot(size_t n, const double *a, const double *b) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= n; i += MP_LANES) sum += mp_load8(a + i) * mp_load8(b + i);
  if (i < n) sum += mp_load_tail(a + i, n - i) * mp_load_tail(b + i, n - i);
  return mp_fold8(sum);
}

MP_CLONES void mp_lower_product(size_t dim, const double *lower, const double *x, double *y) {
  for (size_t i = 0; i < dim; i++) y[i] = dot(i + 1, lower + i * dim, x);
}

MP_CLONES void mp_lower_transpose_product(size_t dim, const double *lower, const double *x, double *y) {
  for (size_t i = 0; i < dim; i++) {
    const double *row = lower + i * dim;
    y[i] = 0.0;
    for (size_t j = 0; j <= i; j++) y[j] += row[j] * x[i];
  }
}

MP_CLONES int mp_cholesky(size_t dim, const double *a, double *lower) {
  for (size_t i = 0; i < dim; i++) {
    double *row = lower + i * dim;
    for (size_t j = 0; j < i; j++) row[j] = (a[i * dim + j] - dot(j, row, lower + j * dim)) / lower[j * dim + j];
    double pivot = a[i * dim + i] - dot(i, row, row);
    if (!(pivot > 0.0)) return 1;
    row[i] = sqrt(pivot);
    for (size_t j = i + 1; j < dim; j++) row[j] = 0.0;
  }
  return 0;
}
