/* Hamiltonian Monte Carlo on a density that is a sum of blocks, one block's gradient at a time. */
#ifndef MICROPOLIS_SPLITTING_H
#define MICROPOLIS_SPLITTING_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

/* so many blocks at most: their order has its place in the work area */
enum { MP_MOST_BLOCKS = 4096 };

enum mp_block_order {
  MP_BLOCKS_SYMMETRIC, /* there and back, in their own order */
  MP_BLOCKS_SHUFFLED,  /* in a new order for every step */
  MP_BLOCKS_TOGETHER,  /* leapfrog: kicks by all blocks, one drift, kicks by all blocks */
};

typedef struct mp_splitting_options {
  mp_tuning tuning;
  int64_t n_steps;
  double jitter; /* as mp_hmc_options */
  int64_t order; /* mp_block_order */
} mp_splitting_options;

typedef struct mp_splitting_info {
  mp_info head; /* n_grad: passes over all blocks, rounded up, the value at the end point included */
  double energy;
  double energy_error;
  double step_size;
  int64_t n_block_grad; /* gradients of single blocks */
} mp_splitting_info;

size_t mp_splitting_work_size(const void *options, size_t dim);
int mp_splitting_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                      mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
