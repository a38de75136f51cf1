/* A number of steps drawn from the integers in n_steps (1 -+ jitter). */
#ifndef MICROPOLIS_LENGTH_H
#define MICROPOLIS_LENGTH_H

#include <math.h>
#include <micropolis/random.h>

static inline int64_t mp_trajectory_length(int64_t n_steps, double jitter, bitgen_t *rng) {
  if (!(jitter > 0.0)) return n_steps;
  /* 1e-9 against 10 * (1 - 0.7) = 3.0000000000000004 */
  int64_t least = (int64_t)ceil((double)n_steps * (1.0 - jitter) - 1e-9);
  int64_t most = (int64_t)floor((double)n_steps * (1.0 + jitter) + 1e-9);
  if (least < 1) least = 1;
  return least + (int64_t)(mp_uniform(rng) * (double)(most - least + 1));
}

#endif
