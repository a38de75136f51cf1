/* A network's posterior as a density: minus the sum of the losses over all rows, plus Gaussian priors. */
#include "neural/posterior.h"

#include <math.h>

#include "common/simd.h"

/* x as the network's reals: itself, or a copy in single precision. */
static MP_CLONES const void *as_reals(const mp_posterior *p, size_t dim, const double *x, void *copy) {
  if (p->network->dtype == MP_FLOAT64) return x;
  float *reals = copy;
  for (size_t i = 0; i < dim; i++) reals[i] = (float)x[i];
  return reals;
}

static void *reals_of(const mp_posterior *p, double *out, void *copy) {
  return p->network->dtype == MP_FLOAT64 ? (void *)out : copy;
}

/* out = -factor reals - share * precision v, tensor by tensor; returns the sum of precision v_i^2. Without reals: zeros in their place;
 * without out: the sum alone. In double precision reals and out may be one array. */
static MP_CLONES double with_prior(const mp_posterior *p, double factor, double share, const double *v,
                                   const void *reals, double *out) {
  const float *single = p->network->dtype == MP_FLOAT32 ? reals : NULL;
  const double *twice = p->network->dtype == MP_FLOAT64 ? reals : NULL;
  double square = 0.0;
  int64_t start = 0;
  for (int64_t tensor = 0; tensor < p->n_tensors; tensor++) {
    double sums[MP_LANES] = {0}, precision = p->precisions[tensor], slope = share * precision;
    int64_t end = p->ends[tensor], i = start;
    mp_v8 lanes = {0};
    for (; i + MP_LANES <= end; i += MP_LANES) lanes += mp_load8(v + i) * mp_load8(v + i);
    mp_store8(sums, lanes);
    for (int64_t lane = 0; i < end; i++, lane++) sums[lane] += v[i] * v[i];
    square += precision * mp_fold_lanes(sums);
    if (out && single)
      for (i = start; i < end; i++) out[i] = -factor * (double)single[i] - slope * v[i];
    else if (out && twice)
      for (i = start; i < end; i++) out[i] = -factor * twice[i] - slope * v[i];
    else if (out)
      for (i = start; i < end; i++) out[i] = -slope * v[i];
    start = end;
  }
  return square;
}

/* log p(y | theta) by the sum of the losses; factor: minus its derivative by that. */
static double log_likelihood(const mp_posterior *p, double losses, double *factor) {
  *factor = 1.0;
  if (!(p->shape > 0.0)) return -losses;
  double scale = p->rate + (losses - p->constant);
  *factor = p->shape / scale;
  return -p->shape * log(scale);
}

static int value(size_t dim, const double *x, double *logp, void *user_data) {
  mp_posterior *p = user_data;
  double losses = 0.0, factor;
  if (p->data->n)
    mp_network_loss_sum(p->network, p->loss, as_reals(p, dim, x, p->parameters), p->data, NULL, p->data->n, INFINITY,
                        &losses, p->work);
  *logp = p->log_norm - 0.5 * with_prior(p, 1.0, 1.0, x, NULL, NULL) + log_likelihood(p, losses, &factor);
  return 0;
}

/* Value and gradient of some rows' likelihood and a share of the prior. */
static void part(const mp_posterior *p, const mp_data *data, double share, size_t dim, const double *x, double *grad,
                 double *logp) {
  double losses = 0.0, factor;
  void *gradient = NULL;
  if (data->n) {
    gradient = reals_of(p, grad, p->gradient);
    mp_network_loss_grad(p->network, p->loss, as_reals(p, dim, x, p->parameters), data, NULL, data->n, &losses,
                         gradient, p->work);
  }
  double likelihood = log_likelihood(p, losses, &factor);
  *logp = share * (p->log_norm - 0.5 * with_prior(p, factor, share, x, gradient, grad)) + likelihood;
}

static int logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  mp_posterior *p = user_data;
  part(p, p->data, 1.0, dim, x, grad, logp);
  return 0;
}

/* Rows edges[block] .. edges[block + 1] - 1 and an equal share of the prior. */
static int block(size_t dim, const double *x, size_t number, double *grad, double *logp, void *user_data) {
  const mp_posterior *p = user_data;
  const mp_network *network = p->network;
  int64_t start = p->edges[number];
  size_t real = network->dtype == MP_FLOAT64 ? sizeof(double) : sizeof(float);
  mp_data data = {.n = p->edges[number + 1] - start,
                  .inputs = (const char *)p->data->inputs + (size_t)(start * network->n_inputs) * real,
                  .labels = p->data->labels ? p->data->labels + start : NULL,
                  .targets = p->data->targets ? p->data->targets + start * network->n_outputs : NULL};
  part(p, &data, 1.0 / (double)p->n_blocks, dim, x, grad, logp);
  return 0;
}

static int hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  mp_posterior *p = user_data;
  void *reals = NULL;
  if (p->data->n) {
    reals = reals_of(p, product, p->gradient);
    int status = mp_network_loss_hvp(p->network, p->loss, as_reals(p, dim, x, p->parameters),
                                     as_reals(p, dim, v, p->vector), p->data, NULL, p->data->n, reals, p->work);
    if (status) return status;
  }
  with_prior(p, 1.0, 1.0, v, reals, product);
  return 0;
}

/* The whole matrix, a product with each unit vector at a time. */
static int hessian(size_t dim, const double *x, double *matrix, void *user_data) {
  const mp_posterior *p = user_data;
  double *unit = p->unit;
  for (size_t i = 0; i < dim; i++) unit[i] = 0.0;
  for (size_t row = 0; row < dim; row++) {
    unit[row] = 1.0;
    int status = hvp(dim, x, unit, matrix + row * dim, user_data);
    unit[row] = 0.0;
    if (status) return status;
  }
  for (size_t i = 0; i < dim; i++) /* symmetric but for rounding */
    for (size_t j = 0; j < i; j++)
      matrix[i * dim + j] = matrix[j * dim + i] = 0.5 * (matrix[i * dim + j] + matrix[j * dim + i]);
  return 0;
}

const mp_density mp_posterior_first_order = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = logp_grad,
    .value = value,
    .block = block,
};

const mp_density mp_posterior_second_order = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = logp_grad,
    .value = value,
    .block = block,
    .hessian = hessian,
    .hvp = hvp,
};
