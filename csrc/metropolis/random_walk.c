/* Random-walk Metropolis (Metropolis et al. 1953): x' = x + step * S z, accepted with probability exp(delta log f / T). */
#include "metropolis/random_walk.h"

#include <math.h>
#include <string.h>

#include "common/linalg.h"
#include "common/simd.h"
#include "common/ziggurat.h"

/* Up to this dimension the proposal is made number by number as the normals come. */
enum { SMALL = 16 };

size_t mp_random_walk_work_size(const void *options, size_t dim) {
  (void)options;
  return 3 * mp_stride(dim); /* proposal, normals, products or a gradient nobody reads */
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
  if (tuning->metric == MP_DIAGONAL && dim <= SMALL) {
    uint64_t (*next)(void *) = rng->next_uint64;
    void *generator = rng->state;
    const double *scale = tuning->scale;
    double step_size = tuning->step_size;
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + step_size * (scale[i] * mp_normal_from(rng, next, generator));
  } else if (tuning->metric == MP_DIAGONAL) {
    mp_standard_normal(rng, dim, normals);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * (tuning->scale[i] * normals[i]);
  } else {
    mp_standard_normal(rng, dim, normals);
    mp_lower_product(dim, tuning->scale, normals, scratch);
    for (size_t i = 0; i < dim; i++) proposal[i] = x[i] + tuning->step_size * scratch[i];
  }
  double logp_new, accept_prob = 0.0;
  int code = mp_density_value(density, proposal, scratch, &logp_new), status = MP_OK;
  if (__builtin_expect(code == 0 && isfinite(logp_new), 1)) {
    double log_ratio = logp_new - *logp;
    if (temperature != 1.0) log_ratio /= temperature; /* 13 cycles in the longest chain of dependencies */
    /* no branch on the sign: it would be mispredicted every other step; a NaN stays one and is not accepted */
    accept_prob = exp(0.0 < log_ratio ? 0.0 : log_ratio);
  } else {
    status = code == 0 ? MP_NON_FINITE : code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
  }
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) { /* a branch, not a select: predicted, the next step need not wait for this exp */
    if (dim <= SMALL) {
      for (size_t i = 0; i < dim; i++) {
        MP_SCALAR(i);
        x[i] = proposal[i];
      }
    } else {
      memcpy(x, proposal, dim * sizeof *x);
    }
    *logp = logp_new;
  }
  *info = (mp_random_walk_info){{*logp, accept_prob, 1, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                                tuning->step_size};
  return status < 0 ? status : MP_OK;
}
