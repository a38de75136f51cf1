/* The sum of log densities over the same coordinates, each of them a block of the contract. */
#include "densities/densities.h"

/* user_data of mp_blocks and mp_blocks_curved; terms hold scratch memory, so they are bound for one thread with it */
typedef struct {
  size_t n;
  const mp_density *const *terms; /* [n] */
  double *scratch;                /* [dim], or [dim * dim] for mp_blocks_curved */
} sum;

static int blocks_value(size_t dim, const double *x, double *logp, void *user_data) {
  const sum *s = user_data;
  double total = 0.0;
  (void)dim;
  for (size_t k = 0; k < s->n; k++) {
    double term;
    int code = mp_density_value(s->terms[k], x, s->scratch, &term);
    if (code) return code;
    total += term;
  }
  *logp = total;
  return 0;
}

static int blocks_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const sum *s = user_data;
  double total = 0.0;
  for (size_t i = 0; i < dim; i++) grad[i] = 0.0;
  for (size_t k = 0; k < s->n; k++) {
    double term;
    int code = mp_density_logp_grad(s->terms[k], x, s->scratch, &term);
    if (code) return code;
    total += term;
    for (size_t i = 0; i < dim; i++) grad[i] += s->scratch[i];
  }
  *logp = total;
  return 0;
}

static int blocks_block(size_t dim, const double *x, size_t block, double *grad, double *logp, void *user_data) {
  const sum *s = user_data;
  (void)dim;
  return mp_density_logp_grad(s->terms[block], x, grad, logp);
}

static int blocks_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const sum *s = user_data;
  for (size_t i = 0; i < dim * dim; i++) hessian[i] = 0.0;
  for (size_t k = 0; k < s->n; k++) {
    int code = s->terms[k]->hessian(dim, x, s->scratch, s->terms[k]->user_data);
    if (code) return code;
    for (size_t i = 0; i < dim * dim; i++) hessian[i] += s->scratch[i];
  }
  return 0;
}

static int blocks_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const sum *s = user_data;
  for (size_t i = 0; i < dim; i++) product[i] = 0.0;
  for (size_t k = 0; k < s->n; k++) {
    int code = s->terms[k]->hvp(dim, x, v, s->scratch, s->terms[k]->user_data);
    if (code) return code;
    for (size_t i = 0; i < dim; i++) product[i] += s->scratch[i];
  }
  return 0;
}

const mp_density mp_blocks = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = blocks_logp_grad,
    .value = blocks_value,
    .block = blocks_block,
};

/* where every term has a Hessian and its product with a vector */
const mp_density mp_blocks_curved = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = blocks_logp_grad,
    .value = blocks_value,
    .hessian = blocks_hessian,
    .hvp = blocks_hvp,
    .block = blocks_block,
};
