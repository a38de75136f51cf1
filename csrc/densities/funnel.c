/* Neal's funnel (2003, "Slice sampling"): v = x_0 ~ N(0, 3^2), x_i | v ~ N(0, exp(-v)) (variance), i = 1 .. dim - 1.
 *
 * With s = exp(v / 2) and z_i = s x_i: log p = -v^2 / 18 + (dim - 1) v / 2 - sum z_i^2 / 2 + constant; z_i keeps the
 * square finite wherever the product is. */
#include <math.h>

#include "common/simd.h"
#include "densities/densities.h"

/* user_data of mp_funnel */
typedef struct {
  double log_norm;
} funnel;

/* Log density without the constant; sum z_i^2 goes to `square`. */
MP_INLINE double evaluate(size_t dim, const double *x, double *grad, double scale, double *square) {
  mp_v8 sum = {0};
  double v = x[0], others = (double)(dim - 1);
  size_t i = 1;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 z = mp_load8(x + i) * scale;
    if (grad) mp_store8(grad + i, -scale * z);
    sum += z * z;
  }
  for (size_t lane = 0; i < dim; i++, lane++) {
    double z = x[i] * scale;
    if (grad) grad[i] = -scale * z;
    sum[lane] += z * z;
  }
  *square = mp_fold8(sum);
  if (grad) grad[0] = 0.5 * (others - *square) - v / 9;
  return 0.5 * (others * v - *square) - v * v / 18;
}

static MP_CLONES int funnel_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  double square;
  *logp = ((funnel *)user_data)->log_norm + evaluate(dim, x, grad, exp(0.5 * x[0]), &square);
  return 0;
}

static MP_CLONES int funnel_value(size_t dim, const double *x, double *logp, void *user_data) {
  double square;
  *logp = ((funnel *)user_data)->log_norm + evaluate(dim, x, NULL, exp(0.5 * x[0]), &square);
  return 0;
}

static int funnel_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  double scale = exp(0.5 * x[0]), square;
  (void)user_data;
  evaluate(dim, x, NULL, scale, &square);
  memset(hessian, 0, dim * dim * sizeof(double));
  hessian[0] = -0.5 * square - 1.0 / 9;
  for (size_t i = 1; i < dim; i++) {
    hessian[i] = hessian[i * dim] = -scale * (scale * x[i]);
    hessian[i * dim + i] = -scale * scale;
  }
  return 0;
}

static int funnel_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  double scale = exp(0.5 * x[0]), square;
  (void)user_data;
  evaluate(dim, x, NULL, scale, &square);
  product[0] = (-0.5 * square - 1.0 / 9) * v[0];
  for (size_t i = 1; i < dim; i++) {
    double cross = -scale * (scale * x[i]);
    product[0] += cross * v[i];
    product[i] = cross * v[0] - scale * scale * v[i];
  }
  return 0;
}

/* T_000 = -sum z^2 / 2, T_00i = -s z_i, T_0ii = -s^2, the rest 0. */
static int funnel_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  double scale = exp(0.5 * x[0]), square;
  (void)user_data;
  evaluate(dim, x, NULL, scale, &square);
  product[0] = -0.5 * square * m[0];
  for (size_t i = 1; i < dim; i++) {
    double cross = -scale * (scale * x[i]), both = m[i] + m[i * dim];
    product[0] += cross * both - scale * scale * m[i * dim + i];
    product[i] = cross * m[0] - scale * scale * both;
  }
  return 0;
}

const mp_density mp_funnel = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = funnel_logp_grad,
    .value = funnel_value,
    .hessian = funnel_hessian,
    .hvp = funnel_hvp,
    .third_product = funnel_third_product,
};
