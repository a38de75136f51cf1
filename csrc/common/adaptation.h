/* Warm-up: step size and metric learned between draws; everything it remembers is one flat array of doubles. */
#ifndef MICROPOLIS_ADAPTATION_H
#define MICROPOLIS_ADAPTATION_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mp_step_rule { MP_STEP_FIXED = 0, MP_STEP_DUAL_AVERAGING = 1, MP_STEP_ROBBINS_MONRO = 2 };
enum mp_metric_rule {
  MP_METRIC_FIXED = 0,
  MP_METRIC_GRADIENT = 1,   /* diagonal, sqrt(var(draws) / var(grads)) */
  MP_METRIC_DENSE = 2,      /* the same early, then the covariance of the draws */
  MP_METRIC_DRAWS = 3,      /* diagonal variances of the draws; no gradients */
  MP_METRIC_COVARIANCE = 4  /* diagonal variances early, then the covariance of the draws; no gradients */
};

typedef struct mp_adaptation {
  int64_t step_rule, metric_rule;
  int64_t find_step;     /* 1: start from a step size found by doubling and halving */
  double target;         /* acceptance aimed at */
  int64_t accept_offset; /* byte offset of the acceptance statistic in the info record */
  int64_t n_warmup;
  int64_t early_end;   /* draws before it use windows of early_window */
  int64_t final_start; /* draws from here on adapt the step only */
  int64_t early_window, late_window;
  double growth; /* of the late window at each switch */
  /* NUTS: byte offsets of the depth in the info record and of the depth limit in the options, and the user's limit; 0:
   * the kernel has none */
  int64_t depth_offset, limit_offset, max_depth;
} mp_adaptation;

/* In doubles. */
size_t mp_adaptation_size(const mp_adaptation *rule, size_t dim);
size_t mp_adaptation_work_size(const mp_adaptation *rule, size_t dim);

/* Before the first draw: zero the memory, set metric and step size from the initial point. 0 or a negative mp_status. */
int mp_adaptation_start(const mp_adaptation *rule, mp_tuning *tuning, const mp_density *density, bitgen_t *rng,
                        const mp_state *state, double *memory, double *work);
/* After warm-up draw k = 0 .. n_warmup - 1. */
int mp_adaptation_update(const mp_adaptation *rule, int64_t k, const mp_info *info, mp_tuning *tuning,
                         const mp_density *density, bitgen_t *rng, const mp_state *state, double *memory, double *work);

#ifdef __cplusplus
}
#endif
#endif
