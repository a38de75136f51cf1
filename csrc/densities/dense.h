/* Symmetric matrices in padded rows: the products that the dense densities share.
 *
 * A matrix [dim][stride] has a stride that is a multiple of 8 and zeros behind column dim, see densities/target.py. */
#ifndef MICROPOLIS_DENSE_H
#define MICROPOLIS_DENSE_H

#include "common/simd.h"

/* product[stride] = A v, summed in the order of the rows: no horizontal sums, and the same bits as a scalar loop. */
MP_INLINE void mp_symmetric_product(size_t dim, size_t stride, const double *a, const double *v, double *product) {
  size_t i = 0;
  for (; i + 32 <= stride; i += 32) {
    mp_v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (size_t j = 0; j < dim; j++) {
      const double *row = a + j * stride + i;
      s0 += mp_load8(row) * v[j];
      s1 += mp_load8(row + 8) * v[j];
      s2 += mp_load8(row + 16) * v[j];
      s3 += mp_load8(row + 24) * v[j];
    }
    mp_store8(product + i, s0);
    mp_store8(product + i + 8, s1);
    mp_store8(product + i + 16, s2);
    mp_store8(product + i + 24, s3);
  }
  for (; i < stride; i += 8) {
    mp_v8 sum = {0};
    for (size_t j = 0; j < dim; j++) sum += mp_load8(a + j * stride + i) * v[j];
    mp_store8(product + i, sum);
  }
}

/* Striped sum of u_i v_i over whole vectors; padding must be zero in one of them and finite in the other. */
MP_INLINE double mp_padded_dot(size_t stride, const double *u, const double *v) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < stride; i += 8) sum += mp_load8(u + i) * mp_load8(v + i);
  return mp_fold8(sum);
}

/* Bilinear form sum_ij m_ij u_i v_j of a plain matrix m[dim][dim]. */
MP_INLINE double mp_bilinear(size_t dim, const double *m, const double *u, const double *v) {
  double sum = 0;
  for (size_t i = 0; i < dim; i++) {
    double row = 0;
    for (size_t j = 0; j < dim; j++) row += m[i * dim + j] * v[j];
    sum += u[i] * row;
  }
  return sum;
}

/* product = (m + m') v for a plain matrix m[dim][dim]; the third derivatives see only the symmetric part of m. */
MP_INLINE void mp_symmetrised_product(size_t dim, const double *m, const double *v, double *product) {
  for (size_t i = 0; i < dim; i++) {
    double sum = 0;
    for (size_t j = 0; j < dim; j++) sum += (m[i * dim + j] + m[j * dim + i]) * v[j];
    product[i] = sum;
  }
}

#endif
