/* A network's weights moved by Metropolis-Hastings on the whole data set, and the random walk that the minibatch form shares.
 *
 * With S(theta) the sum of the losses, c = n for the mean convention and 1 for sums, and a prior Normal(0, 1 / tau) of
 * every weight, the chain has the stationary density exp(-S / (c T) - tau / 2 |theta|^2). */
#ifndef MICROPOLIS_OPTIMIZER_H
#define MICROPOLIS_OPTIMIZER_H

#include <micropolis/random.h>

#include "neural/network.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The value of step t is values[min(t - first, n - 1)]. */
typedef struct mp_schedule {
  const double *values;
  int64_t n, first;
} mp_schedule;

static inline double mp_schedule_at(const mp_schedule *schedule, int64_t step) {
  int64_t at = step - schedule->first;
  return schedule->values[at < schedule->n ? at : schedule->n - 1];
}

/* What a step leaves behind. */
typedef struct mp_step_record {
  double sample_nll; /* after the step, on the rows looked at; a mean or a sum, as `sums` says */
  double proposal_nll; /* NaN where the proposal was rejected before all rows had been looked at */
  double log_ratio; /* of the acceptance test; NaN likewise */
  double variance; /* of log_ratio as an estimate */
  int64_t rows_used;
  uint8_t accept;
  uint8_t non_finite; /* the proposal's loss was seen to be infinite or NaN */
} mp_step_record;

/* theta' = theta + lr Normal(0, I) */
typedef struct mp_weight_walk {
  const mp_network *network;
  const mp_loss *loss;
  const mp_data *data;
  bitgen_t *rng;
  mp_schedule lr, temperature;
  double tau; /* 0: no prior */
  int32_t sums; /* 0: losses and temperature are meant by the mean, 1: by the sum */
  int64_t step; /* steps made */
  void *theta, *proposal; /* reals [n_parameters], swapped on acceptance */
  double penalty; /* tau / 2 |theta|^2 */
  double *normals; /* [n_parameters] */
  void *work; /* mp_network_work_size(network, data->n) */
} mp_weight_walk;

double mp_walk_penalty(const mp_weight_walk *walk, const void *theta);
/* Fills walk->proposal and returns its penalty. */
double mp_walk_propose(mp_weight_walk *walk, double lr);
void mp_walk_accept(mp_weight_walk *walk, double penalty);

typedef struct mp_optimizer {
  mp_weight_walk walk; /* its data are `arranged`, or `source` where `order` is NULL */
  int32_t early_rejection;
  int32_t sorts; /* whether rows are put in the order of their losses now and then */
  int64_t age; /* steps made on these data */
  const mp_data *source;
  mp_data arranged; /* a copy whose row i is row order[i] of the source */
  int64_t *order, *spare; /* [n] */
  double *losses; /* [n] */
  double sum; /* S(theta) */
  void *best; /* reals [n_parameters]: the weights of least S */
  double best_sum;
} mp_optimizer;

/* Whether no loss of a row is negative: then a running sum that has passed the threshold cannot come back. */
int mp_loss_is_nonnegative(const mp_loss *loss);
/* Copies the rows of the source as `order` says. */
void mp_optimizer_arrange(mp_optimizer *optimizer);
/* S(theta) from scratch, and theta the best there is. */
void mp_optimizer_start(mp_optimizer *optimizer);
/* Up to n steps into records[n], until *control is not 0; progress: steps made, accepted ones among them. */
void mp_optimizer_run(mp_optimizer *optimizer, int64_t n, mp_step_record *records, const volatile int32_t *control,
                      volatile int64_t *progress);

#ifdef __cplusplus
}
#endif
#endif
