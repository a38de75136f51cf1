/* Sums and sums of squares of the rows of a matrix, one pass that the compiler vectorises over the columns. */
#include "common/moments.h"

#include "common/simd.h"

MP_CLONES void mp_batch_moments(size_t n, size_t dim, const double *restrict draws, const double *restrict center,
                                double *restrict sums, double *restrict squares) {
  for (size_t row = 0; row < n; row++) {
    const double *x = draws + row * dim;
    for (size_t i = 0; i < dim; i++) {
      double delta = x[i] - center[i];
      sums[i] += delta;
      squares[i] += delta * delta;
    }
  }
}

MP_CLONES void mp_batch_moments_float(size_t n, size_t dim, const float *restrict draws, const double *restrict center,
                                      double *restrict sums, double *restrict squares) {
  for (size_t row = 0; row < n; row++) {
    const float *x = draws + row * dim;
    for (size_t i = 0; i < dim; i++) {
      double delta = (double)x[i] - center[i];
      sums[i] += delta;
      squares[i] += delta * delta;
    }
  }
}
