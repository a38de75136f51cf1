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
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP], *grad = state->buffers[MP_STATE_GRAD];
  double *w = work, *ends = work + 2 * stride;
  mp_padded_metric metric = mp_pad_metric(dim, &options->tuning, work + stride);

  int64_t n_steps = mp_trajectory_length(options->n_steps, options->jitter, rng);
  mp_standard_normal(rng, dim, w);
  double energy_start = mp_kinetic(mp_padded(dim), w) - *logp, energy = energy_start, logp_new = *logp, kinetic;
  double *q = ends + 2 * stride, *g = q + stride;
  memcpy(q, x, dim * sizeof *x);
  memcpy(g, grad, dim * sizeof *x);
  int status = MP_OK;
  int64_t step = 0;
  while (step < n_steps && status == MP_OK) {
    double *q_new = ends + (step & 1) * 2 * stride, *g_new = q_new + stride;
    int code = mp_leapfrog(density, &metric, options->tuning.step_size, q, w, g, q_new, w, g_new, &logp_new, &kinetic);
    energy = kinetic - logp_new;
    status = mp_leapfrog_status(code, energy, energy_start);
    q = q_new;
    g = g_new;
    step++;
  }
  double error = energy - energy_start;
  double accept_prob = status == MP_OK ? (error <= 0.0 ? 1.0 : exp(-error)) : 0.0;
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    memcpy(x, q, dim * sizeof *x);
    memcpy(grad, g, dim * sizeof *x);
    *logp = logp_new;
  }
  *info = (mp_hmc_info){{*logp, accept_prob, (int32_t)step, (uint8_t)accepted, status != MP_OK, (int16_t)status},
                        accepted ? energy : energy_start,
                        error,
                        options->tuning.step_size};
  return status < 0 ? status : MP_OK;
}
