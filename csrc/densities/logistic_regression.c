/* Bayesian logistic regression: y_i ~ Bernoulli(logit^-1(x_i' beta)), beta_j ~ N(0, prior_scale^2).
 *
 * Rows carry the sign of their label, z_i = (2 y_i - 1) x_i, so that with the margin t_i = z_i' beta
 *   log p = -sum_i log(1 + exp(-t_i)) - |beta|^2 / (2 prior_scale^2) + constant,
 * and e_i = exp(-|t_i|) gives every derivative of the likelihood term without overflow:
 *   first 1 / (1 + exp(t)) = (t > 0 ? e : 1) / (1 + e),  second -w, w = e / (1 + e)^2,  third w tanh(t / 2).
 * 32 rows at a time are read from memory once: their margins are sums over columns, and so are their gradient terms. */
#include "common/vector_math.h"
#include "densities/dense.h"
#include "densities/densities.h"

enum { VECTORS = 4, ROWS = VECTORS * MP_LANES };

/* user_data of mp_logistic_regression */
typedef struct {
  size_t rows;
  const double *z; /* [blocks][dim][ROWS], zeros behind the last row */
  double prior_precision;
  double log_norm;
  double *columns; /* [dim][MP_LANES]: sums by column, or any other [dim] */
  double *weights; /* [blocks][ROWS] */
} logistic;

MP_INLINE size_t block_count(const logistic *g) { return (g->rows + ROWS - 1) / ROWS; }

/* out = sum_j v_j z_j of one block */
MP_INLINE void combine(size_t dim, const double *block, const double *v, mp_v8 out[VECTORS]) {
  mp_v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  for (size_t j = 0; j < dim; j++, block += ROWS) {
    s0 += mp_load8(block) * v[j];
    s1 += mp_load8(block + 8) * v[j];
    s2 += mp_load8(block + 16) * v[j];
    s3 += mp_load8(block + 24) * v[j];
  }
  out[0] = s0, out[1] = s1, out[2] = s2, out[3] = s3;
}

/* columns_j += sum over the rows of one block of r z_j, in eight stripes */
MP_INLINE void accumulate(size_t dim, const double *block, const mp_v8 r[VECTORS], double *columns) {
  mp_v8 r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3];
  for (size_t j = 0; j < dim; j++, block += ROWS, columns += MP_LANES) {
    mp_v8 low = mp_load8(block) * r0 + mp_load8(block + 8) * r1;
    mp_v8 high = mp_load8(block + 16) * r2 + mp_load8(block + 24) * r3;
    mp_store8(columns, mp_load8(columns) + (low + high));
  }
}

/* Margins of block b; rows behind the last get an infinite one, where the likelihood and its derivatives are zero. */
MP_INLINE void margins(size_t dim, size_t b, const double *beta, const logistic *g, mp_v8 t[VECTORS]) {
  combine(dim, g->z + b * dim * ROWS, beta, t);
  if ((b + 1) * ROWS > g->rows)
    for (size_t i = g->rows - b * ROWS; i < ROWS; i++) t[i / MP_LANES][i % MP_LANES] = __builtin_inf();
}

MP_INLINE double evaluate(size_t dim, const double *beta, double *grad, const logistic *g) {
  mp_v8 sum = {0}, t[VECTORS], slope[VECTORS];
  if (grad) memset(g->columns, 0, dim * MP_LANES * sizeof(double));
  for (size_t b = 0; b < block_count(g); b++) {
    margins(dim, b, beta, g, t);
    for (int k = 0; k < VECTORS; k++) {
      mp_v8 e = mp_exp8(mp_negative_abs8(t[k]));
      sum += mp_min_zero8(t[k]) - mp_log1p_unit8(e);
      slope[k] = mp_select8(t[k] > 0.0, e, mp_splat8(1.0)) / (1.0 + e);
    }
    if (grad) accumulate(dim, g->z + b * dim * ROWS, slope, g->columns);
  }
  double square = 0;
  for (size_t j = 0; j < dim; j++) {
    square += beta[j] * beta[j];
    if (grad) grad[j] = mp_fold8(mp_load8(g->columns + j * MP_LANES)) - g->prior_precision * beta[j];
  }
  return g->log_norm + mp_fold8(sum) - 0.5 * g->prior_precision * square;
}

/* w = e / (1 + e)^2, the negative second derivative */
MP_INLINE mp_v8 curvature(mp_v8 t) {
  mp_v8 e = mp_exp8(mp_negative_abs8(t)), one_plus = 1.0 + e;
  return e / (one_plus * one_plus);
}

static MP_CLONES int logistic_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  *logp = evaluate(dim, x, grad, user_data);
  return 0;
}

static MP_CLONES int logistic_value(size_t dim, const double *x, double *logp, void *user_data) {
  *logp = evaluate(dim, x, NULL, user_data);
  return 0;
}

/* -sum_i w_i z_i z_i' - prior: the weights of all rows first, then one sum in a register for each pair of columns. */
static MP_CLONES int logistic_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const logistic *g = user_data;
  mp_v8 t[VECTORS];
  for (size_t b = 0; b < block_count(g); b++) {
    margins(dim, b, x, g, t);
    for (int k = 0; k < VECTORS; k++) mp_store8(g->weights + b * ROWS + k * MP_LANES, curvature(t[k]));
  }
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j <= i; j++) {
      mp_v8 sum = {0};
      for (size_t b = 0; b < block_count(g); b++) {
        const double *u = g->z + (b * dim + i) * ROWS, *v = g->z + (b * dim + j) * ROWS, *w = g->weights + b * ROWS;
        for (int k = 0; k < ROWS; k += MP_LANES) sum += mp_load8(w + k) * (mp_load8(u + k) * mp_load8(v + k));
      }
      hessian[i * dim + j] = hessian[j * dim + i] = -mp_fold8(sum) - (i == j ? g->prior_precision : 0);
    }
  return 0;
}

static MP_CLONES int logistic_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const logistic *g = user_data;
  mp_v8 t[VECTORS], along[VECTORS];
  memset(g->columns, 0, dim * MP_LANES * sizeof(double));
  for (size_t b = 0; b < block_count(g); b++) {
    margins(dim, b, x, g, t);
    combine(dim, g->z + b * dim * ROWS, v, along);
    for (int k = 0; k < VECTORS; k++) along[k] *= -curvature(t[k]);
    accumulate(dim, g->z + b * dim * ROWS, along, g->columns);
  }
  for (size_t j = 0; j < dim; j++)
    product[j] = mp_fold8(mp_load8(g->columns + j * MP_LANES)) - g->prior_precision * v[j];
  return 0;
}

/* sum_i w_i tanh(t_i / 2) (z_i' m z_i) z_i */
static MP_CLONES int logistic_third_product(size_t dim, const double *x, const double *m, double *product,
                                            void *user_data) {
  const logistic *g = user_data;
  mp_v8 t[VECTORS], row[VECTORS];
  memset(g->columns, 0, dim * MP_LANES * sizeof(double));
  for (size_t b = 0; b < block_count(g); b++) {
    const double *block = g->z + b * dim * ROWS;
    mp_v8 form[VECTORS] = {{0}};
    margins(dim, b, x, g, t);
    for (size_t i = 0; i < dim; i++) {
      combine(dim, block, m + i * dim, row);
      for (int k = 0; k < VECTORS; k++) form[k] += mp_load8(block + i * ROWS + k * MP_LANES) * row[k];
    }
    for (int k = 0; k < VECTORS; k++) {
      mp_v8 e = mp_exp8(mp_negative_abs8(t[k])), tanh_half = (1.0 - e) / (1.0 + e);
      form[k] *= curvature(t[k]) * mp_select8(t[k] < 0.0, -tanh_half, tanh_half);
    }
    accumulate(dim, block, form, g->columns);
  }
  for (size_t j = 0; j < dim; j++) product[j] = mp_fold8(mp_load8(g->columns + j * MP_LANES));
  return 0;
}

const mp_density mp_logistic_regression = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = logistic_logp_grad,
    .value = logistic_value,
    .hessian = logistic_hessian,
    .hvp = logistic_hvp,
    .third_product = logistic_third_product,
};
