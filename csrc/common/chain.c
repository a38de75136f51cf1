/* The only loop over draws: step, adapt, keep. */
#include "common/chain.h"

#include <math.h>
#include <string.h>

#include "common/simd.h"

int mp_state_init(const mp_density *density, mp_state *state, double *grad) {
  double *logp = state->buffers[MP_STATE_LOGP];
  int code = mp_density_logp_grad(density, state->buffers[MP_STATE_X], grad, logp);
  if (code < 0) return MP_DENSITY_FATAL;
  if (code > 0 || !isfinite(*logp)) return MP_BAD_START;
  for (size_t i = 0; i < density->dim; i++)
    if (!isfinite(grad[i])) return MP_BAD_START;
  return MP_OK;
}

static int run(mp_chain *chain, mp_state *state, int64_t start, int64_t stop) {
  size_t dim = chain->density->dim;
  const mp_step_fn step = chain->step;
  const volatile int32_t *const control = chain->control;
  const int64_t thin = chain->thin;
  const size_t n_flags = chain->n_flags;
  for (int64_t draw = start; draw < stop; draw++) {
    if (*control) return MP_CANCELLED;
    mp_info *info = (mp_info *)(chain->stats + (size_t)draw * chain->info_size);
    int32_t n_grad = 0;
    uint8_t divergent = 0, accepted = 0, flags[MP_MAX_FLAGS] = {0};
    int16_t kept = MP_OK; /* the first trouble */
    for (int64_t i = 0; i < thin; i++) {
      if (i > 0 && *control == MP_CONTROL_CANCEL) return MP_BROKEN_OFF;
      int status = step(chain->options, chain->density, chain->rng, state, chain->work, info);
      if (status < 0) return status;
      n_grad += info->n_grad;
      divergent |= info->divergent;
      accepted |= info->accepted;
      for (size_t k = 0; k < n_flags; k++) flags[k] |= ((const uint8_t *)info)[chain->flags[k]];
      if (kept == MP_OK) kept = info->status;
    }
    if (thin > 1) { /* the record of a kept draw answers for the steps behind it */
      info->n_grad = n_grad;
      info->divergent = divergent;
      info->accepted = accepted;
      info->status = kept;
      for (size_t k = 0; k < n_flags; k++) ((uint8_t *)info)[chain->flags[k]] = flags[k];
    }
    if (chain->adaptation) {
      int status = mp_adaptation_update(chain->adaptation, draw, info, chain->options, chain->density, chain->rng,
                                        state, chain->memory, chain->adaptation_work);
      if (status < 0) return status;
    }
    const double *x = state->buffers[MP_STATE_X];
    if (chain->draws)
      for (size_t i = 0; i < dim; i++) chain->draws[(size_t)draw * dim + i] = x[i];
    if (chain->draws_float)
      for (size_t i = 0; i < dim; i++) chain->draws_float[(size_t)draw * dim + i] = (float)x[i];
    chain->progress[0] = draw + 1;
    chain->progress[1] += divergent;
  }
  return MP_OK;
}

size_t mp_places_size(size_t dim) { return 4 * mp_stride(dim); }

int mp_chain_run(mp_chain *chain, int64_t start, int64_t stop) {
  mp_state home = chain->state, state = home;
  if (!chain->places) return run(chain, &state, start, stop);
  static const size_t moved[2] = {MP_STATE_X, MP_STATE_GRAD};
  size_t dim = chain->density->dim, stride = mp_stride(dim);
  void *buffers[MP_MAX_BUFFERS], *spare[MP_MAX_BUFFERS] = {NULL};
  memcpy(buffers, home.buffers, home.n_buffers * sizeof *buffers);
  for (size_t i = 0; i < 2; i++) {
    buffers[moved[i]] = chain->places + 2 * i * stride;
    spare[moved[i]] = chain->places + (2 * i + 1) * stride;
    memcpy(buffers[moved[i]], home.buffers[moved[i]], dim * sizeof(double));
  }
  state.buffers = buffers, state.spare = spare;
  int status = run(chain, &state, start, stop);
  for (size_t i = 0; i < 2; i++) memcpy(home.buffers[moved[i]], buffers[moved[i]], dim * sizeof(double));
  return status;
}
