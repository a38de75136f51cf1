/* Metropolis-adjusted Langevin (Roberts & Tweedie 1996), preconditioned: x' = x + eps^2/2 S S' grad + eps S z.
 *
 * With u = z + eps/2 S' grad(x) the proposal is x + eps S u, and the noise that leads back is
 * -(u + eps/2 S' grad(x')): log q(x|x') - log q(x'|x) is half the difference of their squared lengths. */
#include "metropolis/langevin.h"

#include <math.h>
#include <string.h>

#include "common/linalg.h"
#include "common/simd.h"

size_t mp_langevin_work_size(const void *options, size_t dim) {
  (void)options;
  return 4 * mp_stride(dim); /* proposal, its gradient, noise, scratch */
}

static MP_CLONES double squared_length(size_t dim, const double *v) {
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) sum += mp_load8(v + i) * mp_load8(v + i);
  if (i < dim) sum += mp_load_tail(v + i, dim - i) * mp_load_tail(v + i, dim - i);
  return mp_fold8(sum);
}

/* noise += factor * S' grad */
static MP_CLONES void add_drift(size_t dim, const mp_tuning *tuning, double factor, const double *grad, double *noise,
                                double *scratch) {
  if (tuning->metric == MP_DIAGONAL) {
    for (size_t i = 0; i < dim; i++) noise[i] = noise[i] + factor * (tuning->scale[i] * grad[i]);
  } else {
    mp_lower_transpose_product(dim, tuning->scale, grad, scratch);
    for (size_t i = 0; i < dim; i++) noise[i] = noise[i] + factor * scratch[i];
  }
}

/* proposal = x + eps * S noise */
static MP_CLONES void propose(size_t dim, const mp_tuning *tuning, const double *x, const double *noise,
                              double *proposal, double *scratch) {
  if (tuning->metric == MP_DIAGONAL) {
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * (tuning->scale[i] * noise[i]);
  } else {
    mp_lower_product(dim, tuning->scale, noise, scratch);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * scratch[i];
  }
}

int mp_langevin_step(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                     mp_info *info_) {
  const mp_tuning *tuning = &((const mp_langevin_options *)options_)->tuning;
  mp_langevin_info *info = (mp_langevin_info *)info_;
  size_t dim = density->dim, stride = mp_stride(dim);
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP], *grad = state->buffers[MP_STATE_GRAD];
  double *proposal = work, *grad_new = work + stride, *noise = work + 2 * stride, *scratch = work + 3 * stride;
  double half = 0.5 * tuning->step_size;

  mp_standard_normal(rng, dim, noise);
  double forward = squared_length(dim, noise);
  add_drift(dim, tuning, half, grad, noise, scratch);
  propose(dim, tuning, x, noise, proposal, scratch);
  double logp_new, log_ratio = NAN;
  int code = mp_density_logp_grad(density, proposal, grad_new, &logp_new), status = MP_OK;
  if (code) {
    status = code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
  } else {
    add_drift(dim, tuning, half, grad_new, noise, scratch);
    log_ratio = logp_new - *logp + 0.5 * (forward - squared_length(dim, noise));
    if (!isfinite(logp_new) || !isfinite(log_ratio)) status = MP_NON_FINITE;
  }
  double accept_prob = 0.0;
  if (status == MP_OK) accept_prob = log_ratio >= 0.0 ? 1.0 : exp(log_ratio);
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    memcpy(x, proposal, dim * sizeof *x);
    memcpy(grad, grad_new, dim * sizeof *x);
    *logp = logp_new;
  }
  *info = (mp_langevin_info){{*logp, accept_prob, 1, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                             tuning->step_size};
  return status < 0 ? status : MP_OK;
}
