/* Riemannian manifold Hamiltonian Monte Carlo (Girolami & Calderhead 2011). */
#include "hamiltonian/riemannian.h"

#include <math.h>
#include <string.h>

#include "common/library_threads.h"
#include "hamiltonian/length.h"
#include "hamiltonian/riemannian_integrators.h"

size_t mp_riemannian_work_size(const void *options, size_t dim) {
  (void)options;
  return mp_trajectory_work_size(dim);
}

static int draw(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                mp_info *info_) {
  const mp_riemannian_options *options = options_;
  mp_riemannian_info *info = (mp_riemannian_info *)info_;
  size_t dim = density->dim;
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP], *grad = state->buffers[MP_STATE_GRAD];
  double eps = options->tuning.step_size, jitter = options->metric_jitter;
  mp_trajectory t;
  mp_trajectory_place(&t, options, density, work);

  int64_t n_steps = mp_trajectory_length(options->n_steps, options->jitter, rng);
  for (size_t i = 0; i < dim; i++) t.g.jitter[i] = jitter > 0.0 ? jitter * mp_uniform(rng) : 0.0;
  memset(t.v_end, 0, t.g.stride * sizeof(double));
  mp_standard_normal(rng, dim, t.v_end);
  memcpy(t.q, x, dim * sizeof *x);
  memcpy(t.at->grad, grad, dim * sizeof *x);
  t.at->logp = *logp;
  double energy_start = 0.0, energy = 0.0;
  int status = mp_trajectory_start(&t, 1);
  if (status == MP_OK) {
    mp_geometry_momentum(&t.g, t.at, t.v_end, t.p);
    status = mp_trajectory_energy(&t, &energy_start);
    energy = energy_start;
  }
  int64_t step = 0;
  while (step < n_steps && status == MP_OK) {
    status = mp_trajectory_step(&t, eps);
    step++;
  }
  if (status == MP_OK) status = mp_trajectory_energy(&t, &energy);
  if (status == MP_OK && !isfinite(energy)) status = MP_NON_FINITE;
  if (status == MP_OK && !(energy - energy_start <= 1000.0)) status = MP_ENERGY_ERROR;
  double error = energy - energy_start;
  double accept_prob = status == MP_OK ? (error <= 0.0 ? 1.0 : exp(-error)) : 0.0;
  int accepted = mp_uniform(rng) < accept_prob;
  if (accepted) {
    memcpy(x, t.at->q, dim * sizeof *x);
    memcpy(grad, t.at->grad, dim * sizeof *x);
    *logp = t.at->logp;
  }
  *info = (mp_riemannian_info){
      {*logp, accept_prob, (int32_t)t.g.n_grad, (uint8_t)accepted, status != MP_OK, (int16_t)status},
      accepted ? energy : energy_start,
      error,
      eps,
      step,
      t.iterations,
      t.g.n_metric,
      status == MP_NOT_CONVERGED,
      status == MP_NON_REVERSIBLE};
  return status < 0 ? status : MP_OK;
}

int mp_riemannian_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                       mp_info *info) {
  const mp_riemannian_options *o = options;
  mp_library_hold(o->get_threads, o->set_threads);
  int status = draw(options, density, rng, state, work, info);
  mp_library_let_go(o->set_threads);
  return status;
}
