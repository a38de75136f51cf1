/* Warm-up of step size and metric: dual averaging, Robbins-Monro, and estimators in overlapping windows.
 *
 * Step: dual averaging (Hoffman & Gelman 2014, section 3.2) or Robbins-Monro on the log scale. Metric: the inverse mass
 * sqrt(var(draws) / var(grads)) of nutpie (Seyboldt, Carlson & Carpenter 2026), updated every draw; or the regularised
 * covariance of Stan. A foreground estimator is in use while a background one collects; at the end of a window the
 * background becomes the foreground, so that early draws are forgotten. */
#include "common/adaptation.h"

#include <math.h>
#include <string.h>

#include "common/linalg.h"
#include "common/simd.h"
#include "hamiltonian/integrators.h"

/* The head of the memory; two estimators follow it. */
enum {
  LOG_STEP,
  LOG_STEP_MEAN,
  ERROR_MEAN,
  ANCHOR,
  N_STEPS,
  WINDOW,
  METRIC_SET,
  N_FOREGROUND,
  N_BACKGROUND,
  USUAL_DEPTH,
  HEAD = 16
};

static int uses_gradients(const mp_adaptation *rule) {
  return rule->metric_rule == MP_METRIC_GRADIENT || rule->metric_rule == MP_METRIC_DENSE;
}
static int becomes_dense(const mp_adaptation *rule) {
  return rule->metric_rule == MP_METRIC_DENSE || rule->metric_rule == MP_METRIC_COVARIANCE;
}

/* An estimator: mean and sum of squares of draws and gradients, and the draws' cross products where a dense metric wants
 * them. */
static size_t estimator_size(const mp_adaptation *rule, size_t dim) {
  return 4 * dim + (becomes_dense(rule) ? dim * dim : 0);
}

size_t mp_adaptation_size(const mp_adaptation *rule, size_t dim) { return HEAD + 2 * estimator_size(rule, dim); }

size_t mp_adaptation_work_size(const mp_adaptation *rule, size_t dim) {
  return (becomes_dense(rule) ? dim * dim : 0) + 6 * mp_stride(dim);
}

/* Welford's update of mean and sum of squared deviations. */
static MP_CLONES void welford(size_t dim, double count, const double *x, double *mean, double *squares) {
  for (size_t i = 0; i < dim; i++) {
    double delta = x[i] - mean[i];
    mean[i] += delta / count;
    squares[i] += delta * (x[i] - mean[i]);
  }
}

static MP_CLONES void welford_products(size_t dim, double count, const double *x, const double *mean,
                                       double *products) {
  /* with the new mean, x - old mean = (x - mean) * count / (count - 1) */
  double factor = count > 1.0 ? count / (count - 1.0) : 0.0;
  for (size_t i = 0; i < dim; i++) {
    double delta = factor * (x[i] - mean[i]);
    for (size_t j = 0; j <= i; j++) products[i * dim + j] += delta * (x[j] - mean[j]);
  }
}

static void estimator_add(const mp_adaptation *rule, size_t dim, double count, const mp_state *state, double *e) {
  const double *x = state->buffers[MP_STATE_X];
  welford(dim, count, x, e, e + dim);
  if (uses_gradients(rule)) welford(dim, count, state->buffers[MP_STATE_GRAD], e + 2 * dim, e + 3 * dim);
  if (becomes_dense(rule)) welford_products(dim, count, x, e, e + 4 * dim);
}

/* scale_i^2 = sqrt(var(x_i) / var(grad_i)), or var(x_i) shrunk as the diagonal of a dense metric is; a coordinate without a usable estimate
 * keeps what it has. */
static MP_CLONES void set_diagonal(size_t dim, int gradients, double count, const double *e, double *scale) {
  const double *squares = e + dim, *grad_squares = e + 3 * dim;
  double shrink = count / (count + 5.0), floor = 1e-3 * (5.0 / (count + 5.0));
  for (size_t i = 0; i < dim; i++) {
    double variance = gradients ? sqrt(squares[i] / grad_squares[i]) : (shrink + floor) * (squares[i] / (count - 1.0));
    if (variance > 1e-20 && variance < 1e20) scale[i] = sqrt(variance);
  }
}

/* S with S S' = n/(n+5) cov + 1e-3 * 5/(n+5) diag(cov): Stan's shrinkage, in the units of each coordinate instead of 1;
 * unchanged when not positive definite. */
static void set_dense(size_t dim, double count, const double *products, mp_tuning *tuning, double *work) {
  double shrink = count / (count + 5.0), floor = 1e-3 * (5.0 / (count + 5.0));
  for (size_t i = 0; i < dim; i++) {
    for (size_t j = 0; j <= i; j++) work[i * dim + j] = shrink * (products[i * dim + j] / (count - 1.0));
    work[i * dim + i] += floor * (products[i * dim + i] / (count - 1.0));
  }
  if (mp_cholesky(dim, work, work) == 0) { /* row by row in place: each row is read before it is written */
    memcpy(tuning->scale, work, dim * dim * sizeof *work);
    tuning->metric = MP_DENSE;
  }
}

/* Double or halve the step from `tuning` until the acceptance of one leapfrog step crosses the target. */
static MP_CLONES int find_step(const mp_adaptation *rule, mp_tuning *tuning, const mp_density *density, bitgen_t *rng,
                               const mp_state *state, double *work) {
  size_t dim = density->dim, stride = mp_stride(dim);
  const double *x = state->buffers[MP_STATE_X], *grad = state->buffers[MP_STATE_GRAD];
  double logp = *(const double *)state->buffers[MP_STATE_LOGP], logp_new, kinetic;
  double *w = work + stride, *q = w + stride, *g = q + stride, *q_new = g + stride, *grad_new = q_new + stride;
  memset(work, 0, 6 * stride * sizeof *work);
  mp_padded_metric metric = mp_pad_metric(dim, tuning, work);
  memcpy(q, x, dim * sizeof *x);
  memcpy(g, grad, dim * sizeof *x);
  int direction = 0;
  for (int i = 0; i < 100; i++) { /* 2^100 covers every scale that a double can mean */
    mp_standard_normal(rng, dim, w);
    double energy = mp_kinetic(mp_padded(dim), w) - logp;
    int code = mp_leapfrog(density, &metric, tuning->step_size, q, w, g, q_new, w, grad_new, &logp_new, &kinetic);
    if (code < 0) return MP_DENSITY_FATAL;
    double error = kinetic - logp_new - energy;
    /* the symmetric acceptance: far out a step that loses much energy is as wrong as one that gains it */
    double ratio = exp(error < 0.0 ? error : -error);
    int now = code == 0 && isfinite(error) && 2.0 * ratio / (1.0 + ratio) > rule->target ? 1 : -1;
    if (direction == 0) direction = now;
    if (now != direction) {
      if (direction > 0) tuning->step_size *= 0.5; /* the last one that was good */
      break;
    }
    tuning->step_size *= direction > 0 ? 2.0 : 0.5;
  }
  return MP_OK;
}

static void anchor_step(double *memory, double step_size) {
  memory[LOG_STEP] = memory[LOG_STEP_MEAN] = log(step_size);
  memory[ANCHOR] = log(10.0 * step_size);
  memory[ERROR_MEAN] = memory[N_STEPS] = 0.0;
}

int mp_adaptation_start(const mp_adaptation *rule, mp_tuning *tuning, const mp_density *density, bitgen_t *rng,
                        const mp_state *state, double *memory, double *work) {
  size_t dim = density->dim;
  memset(memory, 0, mp_adaptation_size(rule, dim) * sizeof *memory);
  memory[WINDOW] = (double)rule->late_window;
  if (uses_gradients(rule)) {
    const double *grad = state->buffers[MP_STATE_GRAD];
    for (size_t i = 0; i < dim; i++) {
      double slope = fabs(grad[i]);
      tuning->scale[i] = slope > 0.0 ? sqrt(1.0 / fmin(fmax(slope, 1e-10), 1e10)) : 1.0;
    }
  }
  int status = rule->find_step ? find_step(rule, tuning, density, rng, state, work) : MP_OK;
  anchor_step(memory, tuning->step_size);
  return status;
}

enum { UNCHANGED = 0, CHANGED = 1, SWITCHED = 2 }; /* the metric: not, within a window, at a window's end */

static int update_metric(const mp_adaptation *rule, int64_t k, const mp_info *info, mp_tuning *tuning, size_t dim,
                         const mp_state *state, double *memory, double *work) {
  double *foreground = memory + HEAD, *background = foreground + estimator_size(rule, dim);
  /* a gradient estimator is misled by points that stayed or that a divergence cut short; a covariance needs repeats */
  int good = !uses_gradients(rule) || (info->accepted && !(info->divergent && info->n_grad < 4));
  if (good) {
    estimator_add(rule, dim, ++memory[N_FOREGROUND], state, foreground);
    estimator_add(rule, dim, ++memory[N_BACKGROUND], state, background);
  }
  /* ten draws of a gradient kernel already tell scales apart; those of a random walk are one place */
  int early = k < rule->early_end && uses_gradients(rule), last = k + 1 == rule->final_start, switched = 0;
  double window = early ? (double)rule->early_window : memory[WINDOW];
  if (memory[N_BACKGROUND] >= window && (double)k + window <= (double)rule->final_start) {
    memcpy(foreground, background, estimator_size(rule, dim) * sizeof *memory);
    memset(background, 0, estimator_size(rule, dim) * sizeof *memory);
    memory[N_FOREGROUND] = memory[N_BACKGROUND];
    memory[N_BACKGROUND] = 0.0;
    if (!early) memory[WINDOW] = floor(window * rule->growth);
    switched = 1;
  }
  double count = memory[N_FOREGROUND];
  if (becomes_dense(rule) && !early) {
    if (!(switched || last) || count < 10.0) return UNCHANGED;
    set_dense(dim, count, foreground + 4 * dim, tuning, work);
    return SWITCHED;
  }
  if (uses_gradients(rule) ? count < 3.0 : !(switched || (last && count >= 10.0))) return UNCHANGED;
  set_diagonal(dim, uses_gradients(rule), count, foreground, tuning->scale);
  return switched || last ? SWITCHED : CHANGED;
}

/* From the middle of the early phase to the final one, seven trajectories of eight are one doubling shorter than the
 * eighth usually is. Half a U-turn is where a draw is least correlated with the last one, which is what the estimators
 * want, at half the price; the final phase tunes the step on the trajectories that sampling will make. */
static void limit_depth(const mp_adaptation *rule, int64_t k, const mp_info *info, mp_tuning *tuning, double *memory) {
  int64_t *limit = (int64_t *)((char *)tuning + rule->limit_offset);
  if (*limit == rule->max_depth) /* this one was free */
    memory[USUAL_DEPTH] += 0.3 *
                           ((double)*(const int64_t *)((const char *)info + rule->depth_offset) - memory[USUAL_DEPTH]);
  int64_t next = k + 1, usual = (int64_t)floor(memory[USUAL_DEPTH] + 0.5);
  int limited = next >= rule->early_end / 2 && next < rule->final_start && next % 8 != 0 && usual > 2;
  *limit = limited && usual <= rule->max_depth ? usual - 1 : rule->max_depth;
}

int mp_adaptation_update(const mp_adaptation *rule, int64_t k, const mp_info *info, mp_tuning *tuning,
                         const mp_density *density, bitgen_t *rng, const mp_state *state, double *memory,
                         double *work) {
  int status = MP_OK;
  double accept = *(const double *)((const char *)info + rule->accept_offset);
  double n = ++memory[N_STEPS];
  if (rule->step_rule == MP_STEP_DUAL_AVERAGING) {
    double eta = 1.0 / (n + 10.0); /* t0 = 10 */
    memory[ERROR_MEAN] = (1.0 - eta) * memory[ERROR_MEAN] + eta * (rule->target - accept);
    memory[LOG_STEP] = memory[ANCHOR] - memory[ERROR_MEAN] * sqrt(n) / 0.05; /* gamma = 0.05 */
    double fade = exp(-0.75 * log(n));                                      /* kappa = 0.75 */
    memory[LOG_STEP_MEAN] = fade * memory[LOG_STEP] + (1.0 - fade) * memory[LOG_STEP_MEAN];
  } else if (rule->step_rule == MP_STEP_ROBBINS_MONRO) {
    memory[LOG_STEP] += exp(-0.6 * log(n)) * (accept - rule->target);
    memory[LOG_STEP_MEAN] = memory[LOG_STEP];
  }
  int metric = UNCHANGED;
  if (rule->metric_rule != MP_METRIC_FIXED && k < rule->final_start)
    metric = update_metric(rule, k, info, tuning, density->dim, state, memory, work);
  if (rule->step_rule == MP_STEP_ROBBINS_MONRO) {
    if (metric == SWITCHED) anchor_step(memory, 2.38 / sqrt((double)density->dim)); /* Roberts, Gelman & Gilks (1997) */
  } else if (rule->find_step && metric &&
             (memory[METRIC_SET] == 0.0 || (becomes_dense(rule) && k >= rule->early_end))) {
    /* the step belonged to a metric that was a guess, or to a diagonal or an older dense one */
    memory[METRIC_SET] = 1.0;
    status = find_step(rule, tuning, density, rng, state, work);
    anchor_step(memory, tuning->step_size);
  } else if (metric == SWITCHED && k < rule->early_end && rule->step_rule == MP_STEP_DUAL_AVERAGING) {
    /* forget the errors of the way in, or a chain still on its way keeps the small steps of its start */
    memory[ANCHOR] = memory[LOG_STEP_MEAN] = memory[LOG_STEP];
    memory[ERROR_MEAN] = memory[N_STEPS] = 0.0;
  }
  if (rule->limit_offset) limit_depth(rule, k, info, tuning, memory);
  if (rule->step_rule != MP_STEP_FIXED) {
    double log_step = memory[k + 1 == rule->n_warmup ? LOG_STEP_MEAN : LOG_STEP];
    tuning->step_size = exp(log_step < 200.0 ? log_step : 200.0); /* a flat density accepts everything */
  }
  return status;
}
