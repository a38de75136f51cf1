/* Riemannian manifold Hamiltonian Monte Carlo with a fixed or jittered number of steps. */
#ifndef MICROPOLIS_RIEMANNIAN_H
#define MICROPOLIS_RIEMANNIAN_H

#include "hamiltonian/riemannian_integrators.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_rmhmc_options {
  mp_tuning tuning; /* the step size; scale is not looked at */
  int64_t n_steps;
  double jitter; /* in [0, 1): the number of steps is uniform on n_steps (1 -+ jitter), rounded, at least 1 */
  mp_integrator_options integrator;
} mp_rmhmc_options;

typedef struct mp_rmhmc_info {
  mp_info head;
  double energy;       /* Hamiltonian at the new state, with the momentum the trajectory ended or began with */
  double energy_error; /* H(end) - H(start) */
  double step_size;
  int64_t n_steps;                /* integrator steps made */
  int64_t fixed_point_iterations; /* residuals looked at in implicit equations */
  int64_t n_metric;               /* evaluations of the metric: for SoftAbs as many Hessians and eigen-decompositions */
  uint8_t not_converged, non_reversible;
} mp_rmhmc_info;

size_t mp_rmhmc_work_size(const void *options, size_t dim);
int mp_rmhmc_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                  mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
