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

static MP_CLONES int diagonal_many(size_t dim, const double *x, double *logp, void *user_data) {
  *logp = diagonal(dim, x, NULL, user_data);
  return 0;
}

MP_INLINE double term(const double *x, const gaussian *g, size_t i) {
  double delta = g->mean[i] - x[i];
  return g->precision[i] * delta * delta;
}

/* The sum in the order of the vector lanes; `dim` is a constant, so that neither tests nor empty terms are left. */
MP_INLINE double lane(const size_t dim, const double *x, const gaussian *g, size_t i) {
  double sum = term(x, g, i);
  return i + MP_LANES < dim ? sum + term(x, g, i + MP_LANES) : sum;
}

MP_INLINE double two_lanes(const size_t dim, const double *x, const gaussian *g, size_t i) {
  double sum = lane(dim, x, g, i);
  return i + 1 < dim ? sum + lane(dim, x, g, i + 1) : sum;
}

MP_INLINE double four_lanes(const size_t dim, const double *x, const gaussian *g, size_t i) {
  double sum = two_lanes(dim, x, g, i);
  return i + 2 < dim ? sum + two_lanes(dim, x, g, i + 2) : sum;
}

MP_INLINE double few(const size_t dim, const double *x, const gaussian *g) {
  double sum = four_lanes(dim, x, g, 0);
  return 4 < dim ? sum + four_lanes(dim, x, g, 4) : sum;
}

/* A random walk in a few dimensions stores its proposal number by number, and a vector load would wait for the stores. */
static int diagonal_value(size_t dim, const double *x, double *logp, void *user_data) {
  const gaussian *g = user_data;
  double sum;
  switch (dim) {
#define CASE(n) \
  case n: sum = few(n, x, g); break
    CASE(1);
    CASE(2);
    CASE(3);
    CASE(4);
    CASE(5);
    CASE(6);
    CASE(7);
    CASE(8);
    CASE(9);
    CASE(10);
    CASE(11);
    CASE(12);
    CASE(13);
    CASE(14);
    CASE(15);
    CASE(16);
#undef CASE
  default: return diagonal_many(dim, x, logp, user_data);
  }
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
