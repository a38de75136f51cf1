/* A network's weights moved by tests on random minibatches: the naive Metropolis test, the noisy Barker test of Bardenet,
 * Doucet & Holmes (2017), and the corrected Barker test of Seita, Pan, Chen & Canny (2017). */
#ifndef MICROPOLIS_MINIBATCH_H
#define MICROPOLIS_MINIBATCH_H

#include "metropolis/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { MP_TEST_NAIVE, MP_TEST_BARKER, MP_TEST_EXACT } mp_minibatch_test;

typedef struct mp_minibatch {
  mp_weight_walk walk;
  int32_t test; /* mp_minibatch_test */
  double noise; /* standard deviation of the Barker test's normal; 1.702 comes nearest to the logistic */
  int64_t batch_size; /* 1 .. n; where the exact test starts */
  int64_t *permutation; /* [n] of 0 .. n - 1: its head is the minibatch */
  double *current, *proposed; /* [n] losses of the minibatch's rows by theta and theta' */
} mp_minibatch;

/* As mp_optimizer_run. */
void mp_minibatch_run(mp_minibatch *minibatch, int64_t n, mp_step_record *records, const volatile int32_t *control,
                      volatile int64_t *progress);

/* The symmetric discrete X_corr of barker_correction.h at a uniform in [0, 1): Normal(0, 1) + X_corr is logistic. */
double mp_barker_correction(double uniform);

/* An integer in 0 .. bound - 1, each with the same chance: Lemire (2019), "Fast random integer generation in an interval". */
uint64_t mp_bounded(bitgen_t *rng, uint64_t bound);

#ifdef __cplusplus
}
#endif
#endif
