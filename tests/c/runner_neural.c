/* The engines of networks on arrays of exactly the size that the contract asks for, and against a plain loop over rows. */
#include <math.h>
#include <neural/network.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner_neural.h"

static void *exactly(size_t bytes) {
  void *memory;
  if (posix_memalign(&memory, 64, bytes ? bytes : 1)) abort();
  return memory;
}

enum { IN = 3, HIDDEN = 7, OUT = 5, PARAMETERS = HIDDEN * IN + HIDDEN + OUT * HIDDEN };
static const mp_layer layers[] = {
    {MP_LINEAR, 0, {IN, 1, 1}, {HIDDEN, 1, 1}, 0, HIDDEN * IN},
    {MP_TANH, 0, {HIDDEN, 1, 1}, {HIDDEN, 1, 1}, -1, -1},
    {MP_LINEAR, 0, {HIDDEN, 1, 1}, {OUT, 1, 1}, HIDDEN * IN + HIDDEN, -1},
};

/* Reals of either precision in one array. */
static void put(int32_t dtype, void *to, int64_t i, double value) {
  if (dtype == MP_FLOAT32) ((float *)to)[i] = (float)value;
  else ((double *)to)[i] = value;
}
static double get(int32_t dtype, const void *from, int64_t i) {
  return dtype == MP_FLOAT32 ? (double)((const float *)from)[i] : ((const double *)from)[i];
}

/* The multiclass loss of one row. */
static double plain_loss(const double *theta, const double *x, int64_t label) {
  double hidden[HIDDEN], f[OUT], most = -INFINITY, sum = 0;
  for (int h = 0; h < HIDDEN; h++) {
    hidden[h] = theta[HIDDEN * IN + h];
    for (int i = 0; i < IN; i++) hidden[h] += theta[h * IN + i] * x[i];
    hidden[h] = tanh(hidden[h]);
  }
  for (int o = 0; o < OUT; o++) {
    f[o] = 0;
    for (int h = 0; h < HIDDEN; h++) f[o] += theta[HIDDEN * IN + HIDDEN + o * HIDDEN + h] * hidden[h];
    if (f[o] > most) most = f[o];
  }
  for (int o = 0; o < OUT; o++) sum += exp(f[o] - most);
  return log(sum) + most - f[label];
}

static int one(int32_t dtype, int64_t n, int packed, const int64_t *rows) {
  size_t real = dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
  mp_network network = {.layers = layers,
                        .n_layers = 3,
                        .n_parameters = PARAMETERS,
                        .n_inputs = IN,
                        .n_outputs = OUT,
                        .dtype = dtype,
                        .engine = MP_ENGINE_TILES};
  void *theta = exactly(PARAMETERS * real), *inputs = exactly((size_t)n * IN * real), *tiles = NULL;
  void *outputs = exactly((size_t)n * OUT * real), *gradient = exactly(PARAMETERS * real);
  void *product = exactly(PARAMETERS * real), *work = exactly(mp_network_work_size(&network, n));
  double *losses = exactly((size_t)n * sizeof(double)), *targets = exactly((size_t)n * OUT * sizeof(double));
  int64_t *labels = exactly((size_t)n * sizeof(int64_t));
  double weights[PARAMETERS], sum, truth = 0;
  int failures = 0;
  for (int p = 0; p < PARAMETERS; p++) put(dtype, theta, p, weights[p] = (double)(float)sin(1.0 + p));
  for (int64_t i = 0; i < n * IN; i++) put(dtype, inputs, i, (double)(float)cos((double)i));
  for (int64_t i = 0; i < n; i++) labels[i] = i % OUT;
  for (int64_t i = 0; i < n * OUT; i++) targets[i] = (double)(i % 2);
  if (packed) {
    tiles = exactly(mp_network_packed_size(&network, n));
    mp_network_pack(&network, n, inputs, tiles);
  }
  mp_data data = {n, inputs, tiles, labels, targets};
  for (int kind = MP_MULTICLASS; kind <= MP_POISSON; kind++) {
    mp_loss loss = {kind, 1.0, NULL, NULL};
    mp_network_forward(&network, theta, &data, rows, n, outputs, work);
    mp_network_losses(&network, &loss, theta, &data, rows, n, losses, work);
    mp_network_loss_sum(&network, &loss, theta, &data, rows, n, INFINITY, &sum, work);
    mp_network_loss_grad(&network, &loss, theta, &data, rows, n, &sum, gradient, work);
    mp_network_loss_hvp(&network, &loss, theta, theta, &data, rows, n, product, work);
    if (kind != MP_MULTICLASS) continue;
    for (int64_t i = 0; i < n; i++) {
      int64_t row = rows ? rows[i] : i;
      double x[IN];
      for (int j = 0; j < IN; j++) x[j] = get(dtype, inputs, row * IN + j);
      truth += plain_loss(weights, x, labels[row]);
    }
    if (!(fabs(sum - truth) <= 1e-5 * truth)) {
      fprintf(stderr, "runner: network dtype %d, %lld rows: loss %.17g, expected %.17g\n", dtype, (long long)n, sum,
              truth);
      failures++;
    }
    for (int p = 0; p < PARAMETERS; p++)
      if (!isfinite(get(dtype, gradient, p)) || !isfinite(get(dtype, product, p))) failures++;
  }
  free(theta), free(inputs), free(tiles), free(outputs), free(gradient), free(product), free(work);
  free(losses), free(targets), free(labels);
  return failures;
}

/* Fortran's sgemm and dgemm for the BLAS engine, alpha = 1. */
static double element(int32_t dtype, const void *m, const char *transposed, int lead, int row, int column) {
  return get(dtype, m, *transposed == 'T' ? column + (int64_t)row * lead : row + (int64_t)column * lead);
}
static void product(int32_t dtype, const char *at, const char *bt, int m, int n, int k, const void *a, int lda,
                    const void *b, int ldb, const void *beta, void *c, int ldc) {
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double kept = get(dtype, beta, 0), sum = kept == 0 ? 0 : kept * get(dtype, c, i + (int64_t)j * ldc);
      for (int l = 0; l < k; l++) sum += element(dtype, a, at, lda, i, l) * element(dtype, b, bt, ldb, l, j);
      put(dtype, c, i + (int64_t)j * ldc, sum);
    }
}
static void single(char *at, char *bt, int *m, int *n, int *k, void *alpha, void *a, int *lda, void *b, int *ldb,
                   void *beta, void *c, int *ldc) {
  (void)alpha;
  product(MP_FLOAT32, at, bt, *m, *n, *k, a, *lda, b, *ldb, beta, c, *ldc);
}
static void twice(char *at, char *bt, int *m, int *n, int *k, void *alpha, void *a, int *lda, void *b, int *ldb,
                  void *beta, void *c, int *ldc) {
  (void)alpha;
  product(MP_FLOAT64, at, bt, *m, *n, *k, a, *lda, b, *ldb, beta, c, *ldc);
}

/* Convolutions whose tiles overhang in every direction, pooling with an edge left over, both gradients made of winners, in
 * blocks shared by threads. */
static int convolutional(int32_t dtype, int64_t n, int32_t threads, const int64_t *rows) {
  enum { PIXELS = 2 * 10 * 11, CLASSES = 3, SIZE = 8 * 18 + 8 + 8 * 72 + 8 + 3 * 8 };
  static const mp_layer images[] = {
      /* activations on whole tiles, or valgrind complains about places behind that nobody looks at */
      {MP_CONV2D, 3, {2, 10, 11}, {8, 8, 9}, 0, 144}, {MP_MAX_POOL2D, 2, {8, 8, 9}, {8, 4, 4}, -1, -1},
      {MP_SELU, 0, {8, 4, 4}, {8, 4, 4}, -1, -1},     {MP_CONV2D, 3, {8, 4, 4}, {8, 2, 2}, 152, 728},
      {MP_RELU, 0, {8, 2, 2}, {8, 2, 2}, -1, -1},     {MP_MAX_POOL2D, 2, {8, 2, 2}, {8, 1, 1}, -1, -1},
      {MP_FLATTEN, 0, {8, 1, 1}, {8, 1, 1}, -1, -1},  {MP_LINEAR, 0, {8, 1, 1}, {CLASSES, 1, 1}, 736, -1},
  };
  size_t real = dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
  mp_network network = {.layers = images,
                        .n_layers = sizeof images / sizeof *images,
                        .n_parameters = SIZE,
                        .n_inputs = PIXELS,
                        .n_outputs = CLASSES,
                        .dtype = dtype,
                        .engine = MP_ENGINE_BLAS,
                        .gemm = dtype == MP_FLOAT32 ? single : twice,
                        .threads = threads};
  void *theta = exactly(SIZE * real), *inputs = exactly((size_t)n * PIXELS * real);
  void *outputs = exactly((size_t)n * CLASSES * real), *gradient = exactly(SIZE * real),
       *product_ = exactly(SIZE * real);
  void *work = exactly(mp_network_work_size(&network, n));
  double *losses = exactly((size_t)n * sizeof(double)), sum, same, total = 0;
  int64_t *labels = exactly((size_t)n * sizeof(int64_t));
  int failures = 0;
  for (int p = 0; p < SIZE; p++) put(dtype, theta, p, sin(1.0 + p));
  for (int64_t i = 0; i < n * PIXELS; i++) put(dtype, inputs, i, cos((double)i));
  for (int64_t i = 0; i < n; i++) labels[i] = i % CLASSES;
  mp_data data = {.n = n, .inputs = inputs, .labels = labels};
  mp_loss loss = {MP_MULTICLASS, 1.0, NULL, NULL};
  mp_network_forward(&network, theta, &data, rows, n, outputs, work);
  mp_network_losses(&network, &loss, theta, &data, rows, n, losses, work);
  mp_network_loss_sum(&network, &loss, theta, &data, rows, n, INFINITY, &sum, work);
  mp_network_loss_grad(&network, &loss, theta, &data, rows, n, &same, gradient, work);
  mp_network_loss_hvp(&network, &loss, theta, theta, &data, rows, n, product_, work);
  for (int64_t i = 0; i < n; i++) total += losses[i];
  if (sum != same || !(fabs(sum - total) <= 1e-12 * total)) {
    fprintf(stderr, "runner: images dtype %d, %lld rows: %.17g, %.17g, %.17g\n", dtype, (long long)n, sum, same, total);
    failures++;
  }
  for (int p = 0; p < SIZE; p++)
    if (!isfinite(get(dtype, gradient, p)) || !isfinite(get(dtype, product_, p))) failures++;
  free(theta), free(inputs), free(outputs), free(gradient), free(product_), free(work), free(losses), free(labels);
  return failures;
}

int run_networks(void) {
  static const int64_t sizes[] = {1, 7, 63, 64, 65, 130};
  int64_t backwards[130];
  int failures = 0;
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    for (int64_t i = 0; i < sizes[s]; i++) backwards[i] = sizes[s] - 1 - i;
    for (int32_t dtype = MP_FLOAT32; dtype <= (int32_t)MP_FLOAT64; dtype++)
      for (int packed = 0; packed < 2; packed++)
        failures += one(dtype, sizes[s], packed, NULL) + one(dtype, sizes[s], packed, backwards);
    for (int32_t dtype = MP_FLOAT32; dtype <= (int32_t)MP_FLOAT64; dtype++)
      for (int32_t threads = 1; threads <= 2; threads++)
        failures += convolutional(dtype, sizes[s], threads, NULL) + convolutional(dtype, sizes[s], threads, backwards);
  }
  return failures;
}
