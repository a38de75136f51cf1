/* Central differences of fourth order; steps are powers of two times max(1, |x_i|), near the balance of truncation and
 * rounding: eps^(1/5) for first, eps^(1/6) for second differences. */
#include "common/differences.h"

#include <math.h>

#include "common/simd.h"

static double unit(double x) { return fabs(x) > 1.0 ? fabs(x) : 1.0; }

static int gradient(const mp_density *density, const double *x, double *grad, int64_t *n_grad) {
  double logp;
  ++*n_grad;
  int code = mp_density_logp_grad(density, x, grad, &logp);
  return code ? code : isfinite(logp) ? 0 : MP_DIFFERENCE_NON_FINITE;
}

int mp_difference_hessian(const mp_density *density, const double *x, double *hessian, double *work, int64_t *n_grad) {
  size_t dim = density->dim;
  double *point = work, *grad = work + dim;
  memcpy(point, x, dim * sizeof *x);
  for (size_t i = 0; i < dim; i++) {
    double h = 0x1p-10 * unit(x[i]), *row = hessian + i * dim;
    static const double at[4] = {1.0, -1.0, 2.0, -2.0}, weight[4] = {8.0, -8.0, -1.0, 1.0};
    for (size_t k = 0; k < dim; k++) row[k] = 0.0;
    for (int s = 0; s < 4; s++) {
      point[i] = x[i] + at[s] * h;
      int code = gradient(density, point, grad, n_grad);
      if (code) return code;
      for (size_t k = 0; k < dim; k++) row[k] += weight[s] * grad[k];
    }
    for (size_t k = 0; k < dim; k++) row[k] /= 12.0 * h;
    point[i] = x[i];
  }
  for (size_t i = 0; i < dim; i++)
    for (size_t k = 0; k < i; k++)
      hessian[i * dim + k] = hessian[k * dim + i] = 0.5 * (hessian[i * dim + k] + hessian[k * dim + i]);
  return 0;
}

/* third[i][j] from the second differences of the gradient along h_i e_i + h_j e_j, and those along each alone. */
static int from_gradients(const mp_density *density, const double *x, const double *grad, double *third, double *work,
                          int64_t *n_grad) {
  size_t dim = density->dim;
  double *point = work, *slope = work + dim;
  static const double at[4] = {1.0, -1.0, 2.0, -2.0}, weight[4] = {16.0, 16.0, -1.0, -1.0};
  memcpy(point, x, dim * sizeof *x);
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j <= i; j++) {
      double hi = 0x1p-9 * unit(x[i]), hj = 0x1p-9 * unit(x[j]), *out = third + (i * (i + 1) / 2 + j) * dim;
      for (size_t k = 0; k < dim; k++) out[k] = -30.0 * grad[k];
      for (int s = 0; s < 4; s++) {
        point[i] = x[i] + at[s] * hi;
        point[j] = x[j] + at[s] * hj;
        int code = gradient(density, point, slope, n_grad);
        if (code) return code;
        for (size_t k = 0; k < dim; k++) out[k] += weight[s] * slope[k];
      }
      point[i] = x[i];
      point[j] = x[j];
    }
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < i; j++) {
      double hi = 0x1p-9 * unit(x[i]), hj = 0x1p-9 * unit(x[j]), *out = third + (i * (i + 1) / 2 + j) * dim;
      const double *ii = third + (i * (i + 1) / 2 + i) * dim, *jj = third + (j * (j + 1) / 2 + j) * dim;
      for (size_t k = 0; k < dim; k++) out[k] = ((out[k] - ii[k]) - jj[k]) / (24.0 * hi * hj);
    }
  for (size_t i = 0; i < dim; i++) {
    double h = 0x1p-9 * unit(x[i]), *out = third + (i * (i + 1) / 2 + i) * dim;
    for (size_t k = 0; k < dim; k++) out[k] /= 12.0 * h * h;
  }
  return 0;
}

static int from_hessians(const mp_density *density, const double *x, double *third, double *work) {
  size_t dim = density->dim, pairs = dim * (dim + 1) / 2;
  double *point = work, *hessian = work + dim;
  static const double at[4] = {1.0, -1.0, 2.0, -2.0}, weight[4] = {8.0, -8.0, -1.0, 1.0};
  memcpy(point, x, dim * sizeof *x);
  for (size_t k = 0; k < dim; k++) {
    double h = 0x1p-10 * unit(x[k]);
    for (size_t pair = 0; pair < pairs; pair++) third[pair * dim + k] = 0.0;
    for (int s = 0; s < 4; s++) {
      point[k] = x[k] + at[s] * h;
      int code = density->hessian(dim, point, hessian, density->user_data);
      if (code) return code;
      for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++) third[(i * (i + 1) / 2 + j) * dim + k] += weight[s] * hessian[i * dim + j];
    }
    for (size_t pair = 0; pair < pairs; pair++) third[pair * dim + k] /= 12.0 * h;
    point[k] = x[k];
  }
  return 0;
}

int mp_difference_third(const mp_density *density, const double *x, const double *grad, double *third, double *work,
                        int64_t *n_grad) {
  if (density->hessian) return from_hessians(density, x, third, work);
  return from_gradients(density, x, grad, third, work, n_grad);
}

MP_CLONES void mp_contract_third(size_t dim, const double *third, const double *m, double *product) {
  for (size_t k = 0; k < dim; k++) product[k] = 0.0;
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j <= i; j++) {
      double weight = i == j ? m[i * dim + i] : m[i * dim + j] + m[j * dim + i];
      const double *row = third + (i * (i + 1) / 2 + j) * dim;
      for (size_t k = 0; k < dim; k++) product[k] += weight * row[k];
    }
}
