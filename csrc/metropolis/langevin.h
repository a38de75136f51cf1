/* Metropolis-adjusted Langevin algorithm. */
#ifndef MICROPOLIS_LANGEVIN_H
#define MICROPOLIS_LANGEVIN_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_langevin_options {
  mp_tuning tuning;
} mp_langevin_options;

typedef struct mp_langevin_info {
  mp_info head;
  double step_size;
} mp_langevin_info;

size_t mp_langevin_work_size(const void *options, size_t dim);
int mp_langevin_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                     mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
