/* Hamiltonian Monte Carlo with a fixed or jittered number of leapfrog steps. */
#ifndef MICROPOLIS_HMC_H
#define MICROPOLIS_HMC_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_hmc_options {
  mp_tuning tuning;
  int64_t n_steps;
  double jitter; /* in [0, 1): the number of steps is uniform on n_steps (1 -+ jitter), rounded, at least 1 */
} mp_hmc_options;

typedef struct mp_hmc_info {
  mp_info head;
  double energy;       /* Hamiltonian at the new state, with the momentum the trajectory ended or began with */
  double energy_error; /* H(end) - H(start) */
  double step_size;
} mp_hmc_info;

size_t mp_hmc_work_size(const void *options, size_t dim);
int mp_hmc_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
