/* The loops over a network's weights on arrays of exactly the size that they ask for: early rejection against none, and the
 * minibatch tests. */
#include <math.h>
#include <metropolis/minibatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner_neural.h"

enum { IN = 3, HIDDEN = 7, OUT = 5, PARAMETERS = HIDDEN * IN + HIDDEN + OUT * HIDDEN, STEPS = 150 };
static const mp_layer layers[] = {
    {MP_LINEAR, 0, {IN, 1, 1}, {HIDDEN, 1, 1}, 0, HIDDEN * IN},
    {MP_TANH, 0, {HIDDEN, 1, 1}, {HIDDEN, 1, 1}, -1, -1},
    {MP_LINEAR, 0, {HIDDEN, 1, 1}, {OUT, 1, 1}, HIDDEN * IN + HIDDEN, -1},
};

/* Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators". */
static uint64_t raw(void *state) {
  uint64_t z = *(uint64_t *)state += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}
static uint32_t half(void *state) { return (uint32_t)(raw(state) >> 32); }
static double uniform(void *state) { return (double)(raw(state) >> 11) * 0x1p-53; }

static void *all[32];
static int n_all;
static void *exactly(size_t bytes) {
  void *memory;
  if (posix_memalign(&memory, 64, bytes ? bytes : 1)) abort();
  return all[n_all++] = memory;
}

/* Everything that both loops need, at weights that depend on nothing but the precision. */
static void prepare(mp_weight_walk *walk, const mp_network *network, const mp_loss *loss, mp_data *data, bitgen_t *rng,
                    int64_t n) {
  size_t real = network->dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
  static const double lr[] = {0.2, 0.1}, temperature[] = {0.01};
  void *inputs = exactly((size_t)n * IN * real);
  int64_t *labels = exactly((size_t)n * sizeof *labels);
  *walk = (mp_weight_walk){network, loss, data, rng,  {lr, 2, 0}, {temperature, 1, 0}, 0.5, 0, 0,
                           NULL,    NULL, 0,    NULL, NULL};
  walk->theta = exactly(PARAMETERS * real), walk->proposal = exactly(PARAMETERS * real);
  walk->normals = exactly(PARAMETERS * sizeof(double)), walk->work = exactly(mp_network_work_size(network, n));
  for (int64_t i = 0; i < n * IN; i++)
    if (real == sizeof(float)) ((float *)inputs)[i] = cosf((float)i);
    else ((double *)inputs)[i] = cos((double)i);
  for (int p = 0; p < PARAMETERS; p++)
    if (real == sizeof(float)) ((float *)walk->theta)[p] = sinf((float)p);
    else ((double *)walk->theta)[p] = sin((double)p);
  for (int64_t i = 0; i < n; i++) labels[i] = i * i % OUT;
  *data = (mp_data){n, inputs, NULL, labels, NULL};
  walk->penalty = mp_walk_penalty(walk, walk->theta);
}

static void full_batch(int32_t dtype, int64_t n, int early, mp_step_record *records) {
  mp_network network = {.layers = layers,
                        .n_layers = 3,
                        .n_parameters = PARAMETERS,
                        .n_inputs = IN,
                        .n_outputs = OUT,
                        .dtype = dtype,
                        .engine = MP_ENGINE_TILES};
  size_t real = dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
  mp_loss loss = {MP_MULTICLASS, 1.0, NULL, NULL};
  mp_data data;
  uint64_t seed = 1;
  bitgen_t rng = {&seed, raw, half, uniform, raw};
  int32_t control = 0;
  int64_t progress[2] = {0, 0};
  mp_optimizer optimizer = {.early_rejection = early, .sorts = 1, .source = &data};
  prepare(&optimizer.walk, &network, &loss, &data, &rng, n);
  optimizer.best = exactly(PARAMETERS * real);
  optimizer.order = exactly((size_t)n * sizeof(int64_t)), optimizer.spare = exactly((size_t)n * sizeof(int64_t));
  optimizer.losses = exactly((size_t)n * sizeof(double));
  optimizer.arranged = (mp_data){n, exactly((size_t)n * IN * real), exactly(mp_network_packed_size(&network, n)),
                                 exactly((size_t)n * sizeof(int64_t)), NULL};
  for (int64_t i = 0; i < n; i++) optimizer.order[i] = i;
  mp_optimizer_arrange(&optimizer);
  optimizer.walk.data = &optimizer.arranged;
  mp_optimizer_start(&optimizer);
  mp_optimizer_run(&optimizer, STEPS, records, &control, progress);
  while (n_all) free(all[--n_all]);
}

static int minibatch(int32_t dtype, int64_t n, int32_t test, int64_t batch_size) {
  mp_network network = {.layers = layers,
                        .n_layers = 3,
                        .n_parameters = PARAMETERS,
                        .n_inputs = IN,
                        .n_outputs = OUT,
                        .dtype = dtype,
                        .engine = MP_ENGINE_TILES};
  mp_loss loss = {MP_MULTICLASS, 1.0, NULL, NULL};
  mp_data data;
  uint64_t seed = 1;
  bitgen_t rng = {&seed, raw, half, uniform, raw};
  int32_t control = 0;
  int64_t progress[2] = {0, 0}, total = 0;
  mp_step_record *records = exactly(STEPS * sizeof *records);
  mp_minibatch m = {.test = test, .noise = 1, .batch_size = batch_size};
  prepare(&m.walk, &network, &loss, &data, &rng, n);
  m.permutation = exactly((size_t)n * sizeof(int64_t));
  m.current = exactly((size_t)n * sizeof(double)), m.proposed = exactly((size_t)n * sizeof(double));
  for (int64_t i = 0; i < n; i++) m.permutation[i] = i;
  mp_minibatch_run(&m, STEPS, records, &control, progress);
  int failed = progress[0] != STEPS;
  for (int64_t i = 0; i < n; i++) total += m.permutation[i];
  failed |= total != n * (n - 1) / 2;
  for (int i = 0; i < STEPS; i++)
    failed |= records[i].rows_used < batch_size || records[i].rows_used > n || !isfinite(records[i].sample_nll) ||
              (test == MP_TEST_EXACT && !(records[i].variance <= 1));
  while (n_all) free(all[--n_all]);
  return failed;
}

int run_weights(void) {
  static const int64_t sizes[] = {1, 7, 63, 64, 65, 130};
  static mp_step_record early[STEPS], full[STEPS];
  int failures = 0;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (int32_t dtype = MP_FLOAT32; dtype <= (int32_t)MP_FLOAT64; dtype++) {
      int64_t n = sizes[s];
      full_batch(dtype, n, 1, early);
      full_batch(dtype, n, 0, full);
      for (int i = 0; i < STEPS; i++)
        if (early[i].accept != full[i].accept || early[i].sample_nll != full[i].sample_nll) {
          fprintf(stderr, "runner: early rejection, dtype %d, %lld rows, step %d\n", dtype, (long long)n, i);
          failures++;
          break;
        }
      for (int32_t test = MP_TEST_NAIVE; test <= (int32_t)MP_TEST_EXACT; test++)
        for (int64_t batch = n < 2 ? 1 : 2; batch <= n; batch *= 3)
          if (minibatch(dtype, n, test, batch)) {
            fprintf(stderr, "runner: minibatch test %d, dtype %d, %lld of %lld rows\n", test, dtype, (long long)batch,
                    (long long)n);
            failures++;
          }
    }
  return failures;
}
