/* Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011, section 5.3.2) with an optionally jittered length. */
#include "hamiltonian/hmc.h"

#include <string.h>

#include "hamiltonian/integrators.h"
#include "hamiltonian/length.h"

size_t mp_hmc_work_size(const void *options, size_t dim) {
  (void)options;
  return 6 * mp_stride(dim); /* momentum, metric, two end points of (q, grad) */
}

MP_CLONES int mp_hmc_step(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                          mp_info *info_) {
  const mp_hmc_options *options = options_;
  mp_hmc_info *info = (mp_hmc_info *)info_;
  size_t dim = density->dim, stride = mp_stride(dim);
  void **buffers = state->buffers, **spare = state->spare;
  double *x = buffers[MP_STATE_X], *logp = buffers[MP_STATE_LOGP], *grad = buffers[MP_STATE_GRAD], *q = x, *g = grad;
  double *w = work, *ends = work + 2 * stride, eps = options->tuning.step_size;
  mp_padded_metric metric = mp_pad_metric(dim, &options->tuning, work + stride);
  if (!spare && dim % MP_LANES) { /* what is read in whole vectors has to be padded */
    q = ends + 2 * stride, g = q + stride;
    memcpy(q, x, dim * sizeof *x);
    memcpy(g, grad, dim * sizeof *x);
  }
  /* points stand in turn at these two places, the last one at the first */
  double *places[2] = {spare ? spare[MP_STATE_X] : ends, ends + 2 * stride};
  double *gradients[2] = {spare ? spare[MP_STATE_GRAD] : ends + stride, ends + 3 * stride};

  int64_t n_steps = mp_trajectory_length(options->n_steps, options->jitter, rng), step = 0;
  int place = (int)((n_steps - 1) & 1), status = MP_OK;
  double energy_start = mp_leapfrog_begin(dim, &metric, eps, rng, q, g, places[place], w) - *logp, energy, logp_new;
  for (;;) {
    double kinetic;
    q = places[place], g = gradients[place];
    int code = mp_leapfrog_arrive(density, &metric, eps, q, w, g, &logp_new, &kinetic);
    energy = kinetic - logp_new;
    status = mp_leapfrog_status(code, energy, energy_start);
    if (++step >= n_steps || status != MP_OK) break;
    place ^= 1;
    mp_leapfrog_leave(dim, &metric, eps, q, w, g, places[place], w);
  }
  double error = energy - energy_start;
  double accept_prob = status == MP_OK ? (error <= 0.0 ? 1.0 : exp(-error)) : 0.0;
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    *logp = logp_new;
    if (spare) {
      buffers[MP_STATE_X] = q, spare[MP_STATE_X] = x;
      buffers[MP_STATE_GRAD] = g, spare[MP_STATE_GRAD] = grad;
    } else {
      memcpy(x, q, dim * sizeof *x);
      memcpy(grad, g, dim * sizeof *x);
    }
  }
  *info = (mp_hmc_info){{*logp, accept_prob, (int32_t)step, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                        accepted ? energy : energy_start,
                        error,
                        options->tuning.step_size};
  return status < 0 ? status : MP_OK;
}
