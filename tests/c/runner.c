/* Every kernel and warm-up rule on good and bad densities, without Python: for valgrind and the sanitizers.
 *
 * runner [DRAWS [MOST_DIM]]: exits with 1 and names the case where a draw is not finite, a record contradicts itself, the
 * moments are far off, or a status is not the one to expect. Every array has exactly the size that the contract asks
 * for, so that a step beyond it is seen. */
#include <common/ascent.h>
#include <common/chain.h>
#include <densities/densities.h>
#include <hamiltonian/hmc.h>
#include <hamiltonian/nuts.h>
#include <hamiltonian/riemannian.h>
#include <hamiltonian/riemannian_nuts.h>
#include <hamiltonian/splitting.h>
#include <math.h>
#include <metropolis/langevin.h>
#include <metropolis/random_walk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner_neural.h"

static int failures;

#define CHECK(condition, ...)                 \
  do {                                        \
    if (!(condition)) {                       \
      fprintf(stderr, "runner: ");            \
      fprintf(stderr, __VA_ARGS__);           \
      fprintf(stderr, " (%s)\n", #condition); \
      failures++;                             \
    }                                         \
  } while (0)

static void *exactly(size_t bytes) {
  void *memory;
  if (posix_memalign(&memory, 64, bytes ? bytes : 1)) abort();
  return memory;
}

#include "runner_targets.h"

/* Three equal blocks of `whole`. */
static const mp_density *whole;
static int third(size_t dim, const double *x, size_t block, double *grad, double *logp, void *user_data) {
  (void)block;
  int code = whole->logp_grad(dim, x, grad, logp, user_data);
  for (size_t i = 0; i < dim; i++) grad[i] /= 3.0;
  *logp /= 3.0;
  return code;
}

/* -- one chain -------------------------------------------------------------------------------------------------- */

enum kernel { RANDOM_WALK, LANGEVIN, HMC, NUTS, SPLITTING, N_KERNELS };
static const char *const kernel_names[] = {"random_walk", "langevin", "hmc", "nuts", "splitting"};
static const mp_step_fn steps[] = {mp_random_walk_step, mp_langevin_step, mp_hmc_step, mp_nuts_step, mp_splitting_step};
static const mp_work_size_fn work_sizes[] = {mp_random_walk_work_size, mp_langevin_work_size, mp_hmc_work_size,
                                             mp_nuts_work_size, mp_splitting_work_size};
static const size_t info_sizes[] = {sizeof(mp_random_walk_info), sizeof(mp_langevin_info), sizeof(mp_hmc_info),
                                    sizeof(mp_nuts_info), sizeof(mp_splitting_info)};

typedef union {
  mp_tuning tuning;
  mp_random_walk_options random_walk;
  mp_langevin_options langevin;
  mp_hmc_options hmc;
  mp_nuts_options nuts;
  mp_splitting_options splitting;
} options;

/* -1: no warm-up */
static mp_adaptation rule_for(enum kernel kernel, int metric_rule, int64_t n_warmup, size_t dim) {
  mp_adaptation rule = {0};
  int dense = metric_rule == MP_METRIC_DENSE || metric_rule == MP_METRIC_COVARIANCE;
  rule.step_rule = kernel == RANDOM_WALK ? MP_STEP_ROBBINS_MONRO : MP_STEP_DUAL_AVERAGING;
  rule.metric_rule = metric_rule;
  rule.find_step = kernel != RANDOM_WALK && kernel != SPLITTING;
  rule.target = kernel == RANDOM_WALK ? 0.3 : 0.8;
  rule.accept_offset = offsetof(mp_info, accept_prob);
  rule.n_warmup = n_warmup;
  rule.early_end = 3 * n_warmup / 10;
  rule.final_start = 85 * n_warmup / 100;
  rule.early_window = 10;
  rule.late_window = dense && 2 * dim > 80 ? (int64_t)(2 * dim) : 80;
  rule.growth = 1.5;
  if (kernel == NUTS) {
    rule.accept_offset = offsetof(mp_nuts_info, accept_prob_symmetric);
    rule.depth_offset = offsetof(mp_nuts_info, depth);
    rule.limit_offset = offsetof(mp_nuts_options, max_depth);
    rule.max_depth = 6;
  }
  return rule;
}

static void check_record(const char *label, const mp_info *info, int64_t thin) {
  CHECK(isfinite(info->logp) && info->accept_prob >= 0.0 && info->accept_prob <= 1.0, "%s: logp %g, accept_prob %g",
        label, info->logp, info->accept_prob);
  CHECK(info->n_grad >= 1, "%s: n_grad %d", label, info->n_grad);
  CHECK(thin > 1 || info->divergent == (info->status != MP_OK), "%s: status %d", label, info->status);
}

/* Returns the status of the last phase. */
static int run(enum kernel kernel, const mp_density *density, int metric, int metric_rule, int64_t n, int64_t thin,
               double *moments, const char *label) {
  size_t dim = density->dim;
  int64_t n_warmup = metric_rule < 0 ? 0 : n, count = 0, progress[2] = {0}, longest = n > n_warmup ? n : n_warmup;
  int32_t control = 0;
  uint64_t seed = 1 + dim + 100 * (uint64_t)kernel;
  bitgen_t rng = {&seed, next_raw, next_half, next_uniform, next_raw};
  double temperatures[] = {2.0, 1.5, 1.0};
  double *scale = exactly(dim * dim * sizeof *scale), *x = exactly(dim * sizeof *x),
         *grad = exactly(dim * sizeof *grad);
  double logp;
  memset(scale, 0, dim * dim * sizeof *scale);
  for (size_t i = 0; i < dim; i++) {
    scale[metric == MP_DENSE ? i * dim + i : i] = metric_rule < 0 ? sd(i) : 1.0;
    if (metric == MP_DENSE && i > 0) scale[i * dim + i - 1] = 0.1;
    x[i] = 0.1;
  }
  options o;
  memset(&o, 0, sizeof o);
  o.tuning = (mp_tuning){kernel == RANDOM_WALK ? 0.8 / sqrt((double)dim) : 0.5 / pow((double)dim, 0.25), metric, scale};
  if (kernel == RANDOM_WALK) o.random_walk.temperatures = temperatures, o.random_walk.n_temperatures = 3;
  if (kernel == HMC) o.hmc.n_steps = 5, o.hmc.jitter = 0.6;
  if (kernel == NUTS) o.nuts.max_depth = 6;
  mp_density blocked = *density;
  if (kernel == SPLITTING) {
    o.splitting.n_steps = 5, o.splitting.jitter = 0.6, o.splitting.order = MP_BLOCKS_SHUFFLED;
    if (!density->block) {
      whole = density;
      blocked.block = third;
      blocked.n_blocks = 3;
      density = &blocked;
    }
  }

  void *buffers[] = {x, &logp, kernel == RANDOM_WALK ? (void *)&count : grad};
  mp_chain chain = {0};
  chain.step = steps[kernel];
  chain.options = &o;
  chain.density = density;
  chain.rng = &rng;
  chain.state = (mp_state){3, buffers, NULL};
  if (kernel == HMC && (metric_rule & 1)) { /* long vectors are exchanged, short ones copied */
    chain.places = exactly(mp_places_size(dim) * sizeof(double));
    memset(chain.places, 0, mp_places_size(dim) * sizeof(double));
  }
  size_t work_size = work_sizes[kernel](&o, dim);
  chain.work = exactly(work_size * sizeof(double));
  memset(chain.work, 0, work_size * sizeof(double));
  chain.info_size = info_sizes[kernel];
  chain.stats = exactly((size_t)longest * chain.info_size);
  chain.control = &control;
  chain.progress = progress;
  int status = mp_state_init(density, &chain.state, grad);

  if (status == MP_OK && n_warmup) {
    mp_adaptation rule = rule_for(kernel, metric_rule, n_warmup, dim);
    chain.adaptation = &rule;
    chain.thin = 1;
    chain.memory = exactly(mp_adaptation_size(&rule, dim) * sizeof(double));
    size_t size = mp_adaptation_work_size(&rule, dim);
    chain.adaptation_work = exactly(size * sizeof(double));
    memset(chain.adaptation_work, 0, size * sizeof(double));
    status = mp_adaptation_start(&rule, chain.options, density, &rng, &chain.state, chain.memory,
                                 chain.adaptation_work);
    if (status == MP_OK) status = mp_chain_run(&chain, 0, n_warmup);
    for (int64_t i = 0; i < progress[0]; i++)
      check_record(label, (const mp_info *)(chain.stats + (size_t)i * chain.info_size), 1);
    CHECK(o.tuning.step_size > 0.0 && isfinite(o.tuning.step_size), "%s: step size %g", label, o.tuning.step_size);
    free(chain.memory);
    free(chain.adaptation_work);
    chain.adaptation = NULL;
    if (status == MP_OK) progress[0] = progress[1] = 0;
  }
  if (status == MP_OK) {
    chain.thin = thin;
    chain.draws = exactly((size_t)n * dim * sizeof(double));
    chain.draws_float = exactly((size_t)n * dim * sizeof(float));
    status = mp_chain_run(&chain, 0, n);
    CHECK(kernel != RANDOM_WALK || count == n_warmup + progress[0] * thin, "%s: %ld steps counted", label, (long)count);
    for (int64_t i = 0; i < progress[0]; i++) {
      check_record(label, (const mp_info *)(chain.stats + (size_t)i * chain.info_size), thin);
      for (size_t j = 0; j < dim; j++) {
        double value = chain.draws[(size_t)i * dim + j];
        CHECK(isfinite(value) && chain.draws_float[(size_t)i * dim + j] == (float)value, "%s: draw %g", label, value);
        moments[0] += value / sd(j) / (double)(n * (int64_t)dim);
        moments[1] += value / sd(j) * (value / sd(j)) / (double)(n * (int64_t)dim);
      }
    }
    free(chain.draws);
    free(chain.draws_float);
    control = 1;
    if (status == MP_OK) CHECK(mp_chain_run(&chain, n, n + 1) == MP_CANCELLED, "%s: not cancelled", label);
  }
  free(scale), free(x), free(grad), free(chain.work), free(chain.stats), free(chain.places);
  return status;
}

/* -- cases ------------------------------------------------------------------------------------------------------ */

static void check_kernels(int64_t n, size_t most_dim) {
  static const size_t dims[] = {1, 2, 7, 8, 9, 33, 512};
  static const int rules[] = {
      -1, MP_METRIC_FIXED, MP_METRIC_GRADIENT, MP_METRIC_DENSE, MP_METRIC_DRAWS, MP_METRIC_COVARIANCE};
  for (int kernel = 0; kernel < N_KERNELS; kernel++)
    for (size_t d = 0; d < sizeof dims / sizeof *dims && dims[d] <= most_dim; d++)
      for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int metric = MP_DIAGONAL; metric <= MP_DENSE; metric++) {
          int gradients = rules[r] == MP_METRIC_GRADIENT || rules[r] == MP_METRIC_DENSE;
          if (rules[r] > MP_METRIC_FIXED && (metric == MP_DENSE || gradients == (kernel == RANDOM_WALK))) continue;
          char label[100];
          snprintf(label, sizeof label, "%s dim %zu metric %d rule %d", kernel_names[kernel], dims[d], metric,
                   rules[r]);
          target t = {NONE, 0};
          mp_density density = {.version = MP_DENSITY_VERSION, .dim = dims[d], .user_data = &t, .logp_grad = normal};
          double moments[2] = {0};
          int64_t draws = dims[d] > 100 ? n / 10 + 20 : n, thin = kernel == NUTS ? 1 : 3;
          int status = run(kernel, &density, metric, rules[r], draws, thin, moments, label);
          CHECK(status == MP_OK && t.calls > draws, "%s: status %d", label, status);
          /* a random walk needs of the order of dim steps for one independent draw */
          if (draws < 500 || (kernel == RANDOM_WALK && dims[d] > 9)) continue;
          CHECK(fabs(moments[0]) < 0.3, "%s: mean %g standard deviations off", label, moments[0]);
          CHECK(fabs(moments[1] - 1.0) < 0.4, "%s: mean square %g, expected 1", label, moments[1]);
        }
}

static void check_faults(int64_t n) {
  for (int kernel = 0; kernel < N_KERNELS; kernel++)
    for (int fault = NAN_VALUE; fault < N_FAULTS; fault++)
      for (size_t dim = 1; dim <= 9; dim += 4)
        for (int rule = -1; rule <= MP_METRIC_DRAWS; rule++) {
          if (rule > MP_METRIC_FIXED && (rule == MP_METRIC_DRAWS) != (kernel == RANDOM_WALK)) continue;
          char label[100];
          snprintf(label, sizeof label, "%s dim %zu rule %d fault %s", kernel_names[kernel], dim, rule,
                   fault_names[fault]);
          target t = {fault, 0};
          mp_density density = {.version = MP_DENSITY_VERSION, .dim = dim, .user_data = &t, .logp_grad = normal};
          double moments[2] = {0};
          int status = run(kernel, &density, MP_DIAGONAL, rule, n, 1, moments, label);
          CHECK(status == (fault == FATAL ? MP_DENSITY_FATAL : MP_OK), "%s: status %d", label, status);
        }
  for (int fault = NAN_VALUE; fault < OVERFLOWING; fault++) {
    target t = {fault, 0};
    mp_density density = {.version = MP_DENSITY_VERSION, .dim = 2, .user_data = &t, .logp_grad = normal};
    double x[2] = {5.0, 0.0}, logp, grad[2];
    void *buffers[] = {x, &logp, grad};
    mp_state state = {3, buffers, NULL};
    int status = mp_state_init(&density, &state, grad);
    CHECK(status == (fault == FATAL ? MP_DENSITY_FATAL : MP_BAD_START), "start: fault %s", fault_names[fault]);
  }
}

static void check_ascent(void) {
  for (int fault = NONE; fault < N_FAULTS; fault++)
    for (size_t dim = 1; dim <= 9; dim += 4) {
      target t = {fault, 0};
      mp_density density = {.version = MP_DENSITY_VERSION, .dim = dim, .user_data = &t, .logp_grad = normal};
      double *x = exactly(dim * sizeof *x), *work = exactly(5 * dim * sizeof *work);
      for (size_t i = 0; i < dim; i++) x[i] = -500.0;
      int code = mp_ascend(&density, 60, x, work);
      CHECK(code <= 0 && t.calls <= 60, "ascent: fault %s, %ld calls", fault_names[fault], (long)t.calls);
      for (size_t i = 0; i < dim; i++) CHECK(isfinite(x[i]), "ascent: fault %s, x %g", fault_names[fault], x[i]);
      free(x), free(work);
    }
}

#include "riemannian_cases.h"

/* The compiled library: value and gradient agree, and NUTS runs on them. */
static void check_library(int64_t n) {
  enum { DIM = 11, STRIDE = 16 };
  double mean[DIM], precision[DIM], matrix[DIM * STRIDE] = {0}, delta[STRIDE] = {0}, slope[STRIDE] = {0};
  for (size_t i = 0; i < DIM; i++) {
    mean[i] = 0.0;
    precision[i] = matrix[i * STRIDE + i] = 1.0 / (sd(i) * sd(i));
  }
  struct {
    const double *mean, *precision;
    double log_norm;
  } gaussian = {mean, precision, -1.0};
  struct {
    const double *mean;
    size_t stride;
    const double *precision;
    double log_norm, *delta, *slope;
  } dense = {mean, STRIDE, matrix, -1.0, delta, slope};
  double funnel = -1.0, eta = 0.5;
  const mp_density *terms[3];
  struct {
    size_t n;
    const mp_density *const *terms;
    double *scratch;
  } blocks = {3, terms, exactly(DIM * DIM * sizeof(double))};
  struct {
    const char *name;
    mp_density density;
    void *user_data;
  } cases[] = {{"gaussian", mp_gaussian, &gaussian},
               {"gaussian_dense", mp_gaussian_dense, &dense},
               {"funnel", mp_funnel, &funnel},
               {"rough_well", mp_rough_well, &eta},
               {"blocks", mp_blocks_curved, &blocks}};
  for (size_t c = 0; c < 3; c++) terms[c] = &cases[c].density;
  cases[4].density.n_blocks = 3;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    mp_density *density = &cases[c].density;
    density->dim = DIM;
    density->user_data = cases[c].user_data;
    double *x = exactly(DIM * sizeof *x), *grad = exactly(DIM * sizeof *grad), *m = exactly(DIM * DIM * sizeof *m), a,
           b;
    for (size_t i = 0; i < DIM; i++) x[i] = 0.3 - 0.05 * (double)i;
    for (size_t i = 0; i < DIM * DIM; i++) m[i] = 0.1 * (double)i;
    CHECK(!mp_density_logp_grad(density, x, grad, &a) && !mp_density_value(density, x, grad, &b) && a == b, "%s",
          cases[c].name);
    CHECK(!density->hvp(DIM, x, m, grad, density->user_data), "%s", cases[c].name);
    CHECK(!density->third_product || !density->third_product(DIM, x, m, grad, density->user_data), "%s", cases[c].name);
    CHECK(!density->hessian(DIM, x, m, density->user_data), "%s", cases[c].name);
    free(x), free(grad), free(m);
    double moments[2] = {0};
    for (int kernel = 0; kernel < N_KERNELS; kernel++)
      CHECK(run(kernel, density, MP_DIAGONAL, kernel == RANDOM_WALK ? MP_METRIC_DRAWS : MP_METRIC_GRADIENT, n, 1,
                moments, cases[c].name) == MP_OK,
            "%s", cases[c].name);
  }
  free(blocks.scratch);
}

int main(int argc, char **argv) {
  int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000;
  size_t most_dim = argc > 2 ? strtoull(argv[2], NULL, 10) : 512;
  check_kernels(n, most_dim);
  check_faults(n / 2 + 20);
  check_ascent();
  check_library(n / 2 + 20);
  check_riemannian(n / 50 + 2);
  failures += run_networks();
  failures += run_weights();
  printf("runner: %d failures\n", failures);
  return failures != 0;
}
