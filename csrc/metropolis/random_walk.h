/* Random-walk Metropolis with a scalar, diagonal or full-covariance Gaussian proposal and a temperature schedule. */
#ifndef MICROPOLIS_RANDOM_WALK_H
#define MICROPOLIS_RANDOM_WALK_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mp_random_walk_options {
  mp_tuning tuning;
  const double *temperatures; /* step k of the chain runs at temperatures[min(k, n_temperatures - 1)] */
  int64_t n_temperatures;
} mp_random_walk_options;

typedef struct mp_random_walk_info {
  mp_info head;
  double step_size;
} mp_random_walk_info;

/* third buffer of the state: int64 number of steps made */
enum { MP_RANDOM_WALK_COUNT = 2 };

size_t mp_random_walk_work_size(const void *options, size_t dim);
int mp_random_walk_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                        mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
