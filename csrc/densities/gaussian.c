/* Gaussian density: independent coordinates (mp_gaussian) or a dense precision matrix (mp_gaussian_dense). */
#include "common/simd.h"
#include "densities/dense.h"
#include "densities/densities.h"

/* user_data of mp_gaussian */
typedef struct {
  const double *mean;      /* [dim] */
  const double *precision; /* [dim] */
  double log_norm;
} gaussian;

MP_INLINE double diagonal(size_t dim, const double *x, double *grad, const gaussian *g) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 delta = mp_load8(g->mean + i) - mp_load8(x + i), slope = mp_load8(g->precision + i) * delta;
    if (grad) mp_store8(grad + i, slope);
    sum += slope * delta;
  }
  double lanes[MP_LANES];
  mp_store8(lanes, sum);
  for (size_t lane = 0; i < dim; i++, lane++) {
    double delta = g->mean[i] - x[i], slope = g->precision[i] * delta;
    if (grad) grad[i] = slope;
    lanes[lane] += slope * delta;
  }
  return g->log_norm - 0.5 * mp_fold_lanes(lanes);
}

static MP_CLONES int diagonal_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  *logp = diagonal(dim, x, grad, user_data);
  return 0;
}

static MP_CLONES double diagonal_many(size_t dim, const double *x, const gaussian *g) {
  return diagonal(dim, x, NULL, g);
}

/* The term of coordinate i, or the zero that stands behind the last. */
MP_INLINE double term(size_t dim, const double *x, const gaussian *g, size_t i) {
  if (i >= dim) return 0.0;
  double delta = g->mean[i] - x[i];
  return g->precision[i] * delta * delta;
}

/* A random walk in a few dimensions stores its proposal number by number, and a vector load would wait for the stores. */
static int diagonal_value(size_t dim, const double *x, double *logp, void *user_data) {
  const gaussian *g = user_data;
  if (dim <= 2) {
    *logp = g->log_norm - 0.5 * (term(dim, x, g, 0) + term(dim, x, g, 1));
    return 0;
  }
  if (dim > 2 * MP_LANES) {
    *logp = diagonal_many(dim, x, g);
    return 0;
  }
#define LANE(i) (term(dim, x, g, i) + term(dim, x, g, i + MP_LANES))
  double sum = ((LANE(0) + LANE(1)) + (LANE(2) + LANE(3))) + ((LANE(4) + LANE(5)) + (LANE(6) + LANE(7)));
#undef LANE
  *logp = g->log_norm - 0.5 * sum;
  return 0;
}

static int diagonal_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const gaussian *g = user_data;
  (void)x;
  memset(hessian, 0, dim * dim * sizeof(double));
  for (size_t i = 0; i < dim; i++) hessian[i * dim + i] = -g->precision[i];
  return 0;
}

static int diagonal_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const gaussian *g = user_data;
  (void)x;
  for (size_t i = 0; i < dim; i++) product[i] = -g->precision[i] * v[i];
  return 0;
}

static int no_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  (void)x, (void)m, (void)user_data;
  memset(product, 0, dim * sizeof(double));
  return 0;
}

const mp_density mp_gaussian = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = diagonal_logp_grad,
    .value = diagonal_value,
    .hessian = diagonal_hessian,
    .hvp = diagonal_hvp,
    .third_product = no_third_product,
};

/* user_data of mp_gaussian_dense */
typedef struct {
  const double *mean; /* [dim] */
  size_t stride;
  const double *precision; /* [dim][stride], symmetric */
  double log_norm;
  double *delta; /* [stride], zero behind dim */
  double *slope; /* [stride] */
} gaussian_dense;

MP_INLINE double dense(size_t dim, const double *x, gaussian_dense *g) {
  for (size_t i = 0; i < dim; i++) g->delta[i] = g->mean[i] - x[i];
  mp_symmetric_product(dim, g->stride, g->precision, g->delta, g->slope);
  return g->log_norm - 0.5 * mp_padded_dot(g->stride, g->slope, g->delta);
}

static MP_CLONES int dense_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  gaussian_dense *g = user_data;
  *logp = dense(dim, x, g);
  memcpy(grad, g->slope, dim * sizeof(double));
  return 0;
}

static MP_CLONES int dense_value(size_t dim, const double *x, double *logp, void *user_data) {
  *logp = dense(dim, x, user_data);
  return 0;
}

static int dense_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const gaussian_dense *g = user_data;
  (void)x;
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < dim; j++) hessian[i * dim + j] = -g->precision[i * g->stride + j];
  return 0;
}

static MP_CLONES int dense_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  gaussian_dense *g = user_data;
  (void)x;
  mp_symmetric_product(dim, g->stride, g->precision, v, g->slope);
  for (size_t i = 0; i < dim; i++) product[i] = -g->slope[i];
  return 0;
}

const mp_density mp_gaussian_dense = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = dense_logp_grad,
    .value = dense_value,
    .hessian = dense_hessian,
    .hvp = dense_hvp,
    .third_product = no_third_product,
};
