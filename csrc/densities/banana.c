/* Banana: the twisted Gaussian of Haario, Saksman and Tamminen 1999 ("Adaptive proposal distribution for random walk
 * Metropolis algorithm"). y = (x_0, x_1 + b (x_0^2 - s^2), x_2, ...) has independent coordinates N(0, s^2), N(0, 1),
 * N(0, 1), ...; the twist keeps volume, so with t = y_1
 *   log p = -x_0^2 / (2 s^2) - t^2 / 2 - sum_{i > 1} x_i^2 / 2 + constant. */
#include <string.h>

#include "densities/densities.h"

/* user_data of mp_banana */
typedef struct {
  double curvature; /* b */
  double variance;  /* s^2 */
  double log_norm;
} banana;

static inline double twisted(const double *x, const banana *b) {
  return x[1] + b->curvature * (x[0] * x[0] - b->variance);
}

static int banana_value(size_t dim, const double *x, double *logp, void *user_data) {
  const banana *b = user_data;
  double t = twisted(x, b), energy = x[0] * x[0] / b->variance + t * t;
  for (size_t i = 2; i < dim; i++) energy += x[i] * x[i];
  *logp = b->log_norm - 0.5 * energy;
  return 0;
}

static int banana_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const banana *b = user_data;
  double t = twisted(x, b);
  grad[0] = -x[0] / b->variance - 2 * b->curvature * x[0] * t;
  grad[1] = -t;
  for (size_t i = 2; i < dim; i++) grad[i] = -x[i];
  return banana_value(dim, x, logp, user_data);
}

static int banana_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const banana *b = user_data;
  double c = b->curvature, slope = 2 * c * x[0];
  memset(hessian, 0, dim * dim * sizeof(double));
  for (size_t i = 1; i < dim; i++) hessian[i * dim + i] = -1;
  hessian[0] = -1 / b->variance - 2 * c * twisted(x, b) - slope * slope;
  hessian[1] = hessian[dim] = -slope;
  return 0;
}

static int banana_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const banana *b = user_data;
  double c = b->curvature, slope = 2 * c * x[0];
  for (size_t i = 1; i < dim; i++) product[i] = -v[i];
  product[0] = (-1 / b->variance - 2 * c * twisted(x, b) - slope * slope) * v[0] - slope * v[1];
  product[1] -= slope * v[0];
  return 0;
}

/* T_000 = -12 b^2 x_0, T_001 = -2 b, the rest 0. */
static int banana_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  double c = ((banana *)user_data)->curvature;
  memset(product, 0, dim * sizeof(double));
  product[0] = -12 * c * c * x[0] * m[0] - 2 * c * (m[1] + m[dim]);
  product[1] = -2 * c * m[0];
  return 0;
}

const mp_density mp_banana = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = banana_logp_grad,
    .value = banana_value,
    .hessian = banana_hessian,
    .hvp = banana_hvp,
    .third_product = banana_third_product,
};
