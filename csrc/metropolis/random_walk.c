/* Random-walk Metropolis (Metropolis et al. 1953): x' = x + step * S z, accepted with probability exp(delta log f / T). */
#include "metropolis/random_walk.h"

#include <math.h>
#include <string.h>

#include "common/linalg.h"
#include "common/simd.h"

size_t mp_random_walk_work_size(const void *options, size_t dim) {
  (void)options;
  return 3 * mp_stride(dim); /* proposal, normals, a gradient nobody reads */
}

int mp_random_walk_step(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                        mp_info *info_) {
  const mp_random_walk_options *options = options_;
  const mp_tuning *tuning = &options->tuning;
  mp_random_walk_info *info = (mp_random_walk_info *)info_;
  size_t dim = density->dim, stride = mp_stride(dim);
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP];
  int64_t *count = state->buffers[MP_RANDOM_WALK_COUNT];
  double *proposal = work, *normals = work + stride, *scratch = work + 2 * stride;

  double temperature = options->temperatures[*count < options->n_temperatures ? *count : options->n_temperatures - 1];
  ++*count;
  mp_standard_normal(rng, dim, normals);
  if (tuning->metric == MP_DIAGONAL) {
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * (tuning->scale[i] * normals[i]);
  } else {
    mp_lower_product(dim, tuning->scale, normals, scratch);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * scratch[i];
  }
  double logp_new;
  int code = mp_density_value(density, proposal, scratch, &logp_new), status = MP_OK;
  if (code) status = code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
  else if (!isfinite(logp_new)) status = MP_NON_FINITE;

  double accept_prob = 0.0;
  if (status == MP_OK) {
    double log_ratio = (logp_new - *logp) / temperature;
    accept_prob = log_ratio >= 0.0 ? 1.0 : exp(log_ratio);
  }
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    memcpy(x, proposal, dim * sizeof *x);
    *logp = logp_new;
  }
  *info = (mp_random_walk_info){{*logp, accept_prob, 1, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                                tuning->step_size};
  return status < 0 ? status : MP_OK;
}
