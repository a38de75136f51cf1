/* The No-U-Turn sampler: multinomial draws from a trajectory that doubles until it turns. */
#ifndef MICROPOLIS_NUTS_H
#define MICROPOLIS_NUTS_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_NUTS_MAX_DEPTH 20

typedef struct mp_nuts_options {
  mp_tuning tuning;
  int64_t max_depth; /* 1..MP_NUTS_MAX_DEPTH */
} mp_nuts_options;

typedef struct mp_nuts_info {
  mp_info head;
  double energy;                /* Hamiltonian at the new state */
  double energy_error;          /* H(new state) - H(start) */
  double accept_prob_symmetric; /* mean of 2 min(1, r) / (1 + r), r = exp(H(start) - H) */
  double step_size;
  int64_t depth; /* doublings that were kept */
} mp_nuts_info;

size_t mp_nuts_work_size(const void *options, size_t dim);
int mp_nuts_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                 mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
