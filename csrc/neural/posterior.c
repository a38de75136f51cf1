/* A network's posterior as a density: minus the sum of the losses over all rows, plus Gaussian priors. */
#include "neural/posterior.h"

#include <math.h>

/* x as the network's reals: itself, or a copy in single precision. */
static const void *as_reals(const mp_posterior *p, size_t dim, const double *x, void *copy) {
  if (p->network->dtype == MP_FLOAT64) return x;
  float *reals = copy;
  for (size_t i = 0; i < dim; i++) reals[i] = (float)x[i];
  return reals;
}

/* out = -reals; in double precision they may share their memory. */
static void negated(const mp_posterior *p, size_t dim, const void *reals, double *out) {
  if (p->network->dtype == MP_FLOAT64) {
    const double *in = reals;
    for (size_t i = 0; i < dim; i++) out[i] = -in[i];
  } else {
    const float *in = reals;
    for (size_t i = 0; i < dim; i++) out[i] = -(double)in[i];
  }
}

static void *reals_of(const mp_posterior *p, double *out, void *copy) {
  return p->network->dtype == MP_FLOAT64 ? (void *)out : copy;
}

/* out -= share * precision v, tensor by tensor; the sum of precision v_i^2. */
static double add_prior(const mp_posterior *p, double share, const double *v, double *out) {
  double square = 0.0;
  int64_t i = 0;
  for (int64_t tensor = 0; tensor < p->n_tensors; tensor++) {
    double sum = 0.0, precision = p->precisions[tensor];
    for (; i < p->ends[tensor]; i++) {
      sum += v[i] * v[i];
      if (out) out[i] -= share * precision * v[i];
    }
    square += precision * sum;
  }
  return square;
}

static int value(size_t dim, const double *x, double *logp, void *user_data) {
  mp_posterior *p = user_data;
  double losses = 0.0;
  if (p->data->n)
    mp_network_loss_sum(p->network, p->loss, as_reals(p, dim, x, p->parameters), p->data, NULL, p->data->n, INFINITY,
                        &losses, p->work);
  *logp = p->log_norm - 0.5 * add_prior(p, 1.0, x, NULL) - losses;
  return 0;
}

/* Value and gradient of some rows' likelihood and a share of the prior. */
static void part(const mp_posterior *p, const mp_data *data, double share, size_t dim, const double *x, double *grad,
                 double *logp) {
  double losses = 0.0;
  if (data->n) {
    void *gradient = reals_of(p, grad, p->gradient);
    mp_network_loss_grad(p->network, p->loss, as_reals(p, dim, x, p->parameters), data, NULL, data->n, &losses,
                         gradient, p->work);
    negated(p, dim, gradient, grad);
  } else {
    for (size_t i = 0; i < dim; i++) grad[i] = 0.0;
  }
  *logp = share * (p->log_norm - 0.5 * add_prior(p, share, x, grad)) - losses;
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
  if (p->data->n) {
    void *reals = reals_of(p, product, p->gradient);
    int status = mp_network_loss_hvp(p->network, p->loss, as_reals(p, dim, x, p->parameters),
                                     as_reals(p, dim, v, p->vector), p->data, NULL, p->data->n, reals, p->work);
    if (status) return status;
    negated(p, dim, reals, product);
  } else {
    for (size_t i = 0; i < dim; i++) product[i] = 0.0;
  }
  add_prior(p, 1.0, v, product);
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
