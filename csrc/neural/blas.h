/* The BLAS engine, once for each precision: every layer, by matrix products over blocks of rows.
 *
 * A block of rows goes through the whole network and back, small enough that what it leaves behind stays in the cache, so
 * memory is bounded whatever the number of rows. Convolutions are products with the matrix of their windows; between them
 * images lie channel by channel (see windows.h). An activation takes the place of what it is applied to: its slope follows
 * from its value. Blocks may be shared out among threads, which changes where sums are rounded and nothing else. The Hessian-vector product carries derivatives along (Pearlmutter 1994). */
#include <math.h>
#include <pthread.h>

#include "neural/activations.h"
#include "neural/losses.h"
#include "neural/windows.h"

/* Bytes that a block's values and windows may take: a share of the last cache, found best on the reference network
 * (benchmarks/bench_neural.py) among 1 to 16 MiB. */
#define BLOCK_BYTES ((size_t)24 << 20)
enum { MOST_THREADS = 64, MOST_ROWS = 256 }; /* rows: an early exit comes between blocks */

typedef struct {
  const mp_layer *layer; /* NULL: from channel by channel to row by row, behind the last layer */
  int64_t n_in, n_out;   /* of one row */
  int64_t channels, plane; /* of its input, where that lies channel by channel; else 0 */
  int in_place, pooled_next;
  real *out, *tangent, *columns; /* columns: the windows of a convolution */
  int32_t *winners;
} node;

typedef struct {
  node *nodes;
  int64_t n_nodes;
  real *inputs, *moved; /* gathered rows; derivatives of windows */
  real *deltas[2], *delta_tangents[2];
  double *losses;
  void *scratch;
} workspace;

static void *carve(char **work, size_t *total, size_t size) {
  void *part = *work;
  size = (size + 63) / 64 * 64;
  if (*work) *work += size;
  *total += size;
  return part;
}

/* Reals rounded up to whole tiles: activations run over these. */
static real *carve_reals(char **work, size_t *total, int64_t n) {
  return carve(work, total, (size_t)((n + TILE - 1) / TILE * TILE) * sizeof(real));
}

static int64_t features(const int64_t shape[3]) { return shape[0] * shape[1] * shape[2]; }
static int64_t windows_of(const mp_layer *layer) {
  return layer->in[0] * layer->kernel * layer->kernel * layer->out[1] * layer->out[2];
}
static int is_activation(const mp_layer *layer) { return layer->kind >= MP_RELU; }

/* Lays out the work area of one thread for blocks of `block` rows; NULL work: its size alone. */
static size_t arrange(const mp_network *network, int64_t block, void *work, workspace *w) {
  char *at = work;
  size_t total = 0;
  int64_t widest = network->n_inputs, columns = 0;
  node before = {0};
  int planes = 0; /* whether rows lie channel by channel here */
  w->nodes = carve(&at, &total, (size_t)(network->n_layers + 1) * sizeof(node));
  w->n_nodes = 0;
  for (int64_t l = 0; l <= network->n_layers; l++) {
    const mp_layer *layer = l < network->n_layers ? network->layers + l : NULL;
    if (!layer && !planes) break;
    if (layer && layer->kind == MP_FLATTEN && !planes) continue;
    const int64_t *shape = layer ? layer->in : network->layers[l - 1].out;
    node next = {layer, features(shape), layer ? features(layer->out) : features(shape), 0, 0, 0, 0, NULL, NULL, NULL,
                 NULL};
    if (planes) next.channels = shape[0], next.plane = shape[1] * shape[2];
    int window = layer && (layer->kind == MP_CONV2D || layer->kind == MP_MAX_POOL2D);
    next.in_place = layer && is_activation(layer) && l > 0 && before.layer && !is_activation(before.layer);
    next.pooled_next = layer && layer->kind == MP_CONV2D && l + 1 < network->n_layers && layer[1].kind == MP_MAX_POOL2D;
    if (next.in_place) {
      next.out = before.out, next.tangent = before.tangent;
    } else {
      next.out = carve_reals(&at, &total, block * next.n_out);
      next.tangent = carve_reals(&at, &total, block * next.n_out);
    }
    if (layer && layer->kind == MP_MAX_POOL2D)
      next.winners = carve(&at, &total, (size_t)(block * next.n_out) * sizeof(int32_t));
    if (layer && layer->kind == MP_CONV2D) {
      next.columns = carve_reals(&at, &total, block * windows_of(layer));
      if (block * windows_of(layer) > columns) columns = block * windows_of(layer);
    }
    if (layer && layer->kind == MP_FLATTEN) planes = 0;
    if (window) planes = 1;
    if (next.n_out > widest) widest = next.n_out;
    if (work) w->nodes[w->n_nodes] = next;
    w->n_nodes++;
    before = next;
    if (!layer) break;
  }
  w->inputs = carve_reals(&at, &total, block * network->n_inputs);
  w->moved = carve_reals(&at, &total, columns);
  for (int i = 0; i < 2; i++) {
    w->deltas[i] = carve_reals(&at, &total, block * widest);
    w->delta_tangents[i] = carve_reals(&at, &total, block * widest);
  }
  w->losses = carve(&at, &total, (size_t)block * sizeof(double));
  w->scratch = carve(&at, &total, rows_scratch_size(network->n_outputs));
  return total;
}

/* -- a block forward and back ------------------------------------------------------------------------------------- */

/* c [m][n] = a b + beta c, row-major, a [m][k] or its transpose, b [k][n] or its transpose: BLAS sees the transposes. */
static void product(const mp_network *network, int a_transposed, int b_transposed, int64_t m, int64_t n, int64_t k,
                    const real *a, const real *b, real beta, real *c) {
  int rows = (int)n, columns = (int)m, inner = (int)k;
  int lda = (int)(a_transposed ? m : k), ldb = (int)(b_transposed ? k : n), ldc = (int)n;
  real one = 1;
  network->gemm(b_transposed ? "T" : "N", a_transposed ? "T" : "N", &rows, &columns, &inner, &one, (void *)b, &ldb,
                (void *)a, &lda, &beta, c, &ldc);
}

/* rows [n][width] += bias */
static MP_CLONES void add_to_rows(int64_t n, int64_t width, const real *bias, real *rows) {
  for (int64_t r = 0; r < n; r++, rows += width)
    for (int64_t i = 0; i < width; i++) rows[i] += bias[i];
}

/* rows [n][width] += one number each */
static MP_CLONES void add_to_each(int64_t n, int64_t width, const real *bias, real *rows) {
  for (int64_t r = 0; r < n; r++, rows += width)
    for (int64_t i = 0; i < width; i++) rows[i] += bias[r];
}

/* sums [width] += columns of rows [n][width] */
static MP_CLONES void sum_rows(int64_t n, int64_t width, const real *rows, real *sums) {
  for (int64_t r = 0; r < n; r++, rows += width)
    for (int64_t i = 0; i < width; i++) sums[i] += rows[i];
}

/* sums [n] += each of rows [n][width] */
static MP_CLONES void sum_each(int64_t n, int64_t width, const real *rows, real *sums) {
  for (int64_t r = 0; r < n; r++, rows += width) {
    vreal lanes = {0};
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) lanes += load(rows + i);
    real sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += lanes[lane];
    for (; i < width; i++) sum += rows[i];
    sums[r] += sum;
  }
}

static int64_t tiles_of(int64_t n) { return (n + TILE - 1) / TILE; }

static plane_strides strides_of(const node *s, int64_t n) {
  int64_t plane = s->layer->in[1] * s->layer->in[2];
  return s->channels ? (plane_strides){n * plane, plane} : (plane_strides){plane, s->layer->in[0] * plane};
}

/* out = linear part of a layer with these weights (and biases, or NULL) of x; `columns`: the windows of x. */
static void apply(const mp_network *network, const node *s, int64_t n, const real *theta, const real *x,
                  const real *columns, real beta, real *out) {
  const mp_layer *layer = s->layer;
  const real *weight = theta + layer->weight, *bias = layer->bias < 0 || beta != 0 ? NULL : theta + layer->bias;
  if (layer->kind == MP_LINEAR) {
    product(network, 0, 1, n, s->n_out, s->n_in, x, weight, beta, out);
    if (bias) add_to_rows(n, s->n_out, bias, out);
  } else {
    int64_t line = n * layer->out[1] * layer->out[2], inner = layer->in[0] * layer->kernel * layer->kernel;
    product(network, 0, 0, layer->out[0], line, inner, weight, columns, beta, out);
    if (bias && !s->pooled_next) add_to_each(layer->out[0], line, bias, out);
  }
}

/* Outputs [n][n_outputs] of inputs [n][n_inputs]; every node keeps what it puts out. */
static const real *forward_block(const mp_network *network, const real *theta, int64_t n, const real *x,
                                 const workspace *w) {
  for (const node *s = w->nodes; s < w->nodes + w->n_nodes; s++) {
    const mp_layer *layer = s->layer;
    if (!layer || layer->kind == MP_FLATTEN) {
      planes_to_rows(n, s->channels, s->plane, x, s->out);
    } else if (layer->kind == MP_MAX_POOL2D) {
      const mp_layer *conv = s > w->nodes && s[-1].pooled_next ? s[-1].layer : NULL;
      const real *bias = conv && conv->bias >= 0 ? theta + conv->bias : NULL;
      pool_windows(layer, n, x, strides_of(s, n), bias, s->out, s->winners);
    } else if (is_activation(layer)) {
      activate_tile(layer->kind, tiles_of(n * s->n_out), x, s->out);
    } else {
      if (layer->kind == MP_CONV2D) gather_windows(layer, n, x, strides_of(s, n), s->columns);
      apply(network, s, n, theta, x, s->columns, 0, s->out);
    }
    x = s->out;
  }
  return x;
}

/* What lies before node s: the block's inputs, or what the node before it puts out. */
static const real *input_of(const workspace *w, const node *s, const real *x) { return s == w->nodes ? x : s[-1].out; }
static const real *moved_input_of(const workspace *w, const node *s) { return s == w->nodes ? NULL : s[-1].tangent; }

/* Derivatives of the outputs as theta moves along `vector`, after forward_block. */
static const real *tangent_block(const mp_network *network, const real *theta, const real *vector, int64_t n,
                                 const real *inputs, const workspace *w) {
  for (const node *s = w->nodes; s < w->nodes + w->n_nodes; s++) {
    const mp_layer *layer = s->layer;
    const real *x = input_of(w, s, inputs), *dx = moved_input_of(w, s);
    size_t bytes = (size_t)(n * s->n_out) * sizeof(real);
    if (layer && (layer->kind == MP_LINEAR || layer->kind == MP_CONV2D)) {
      apply(network, s, n, vector, x, s->columns, 0, s->tangent);
      if (dx) {
        if (layer->kind == MP_CONV2D) gather_windows(layer, n, dx, strides_of(s, n), w->moved);
        apply(network, s, n, theta, dx, w->moved, 1, s->tangent);
      }
    } else if (!dx) {
      memset(s->tangent, 0, bytes); /* the inputs do not move */
    } else if (!layer || layer->kind == MP_FLATTEN) {
      planes_to_rows(n, s->channels, s->plane, dx, s->tangent);
    } else if (layer->kind == MP_MAX_POOL2D) {
      pick_winners(layer, n, dx, strides_of(s, n), s->winners, s->tangent);
      const mp_layer *conv = s[-1].pooled_next ? s[-1].layer : NULL;
      if (conv && conv->bias >= 0)
        add_to_each(layer->out[0], n * layer->out[1] * layer->out[2], vector + conv->bias, s->tangent);
    } else {
      if (!s->in_place) memcpy(s->tangent, dx, bytes);
      slope_tile(layer->kind, tiles_of(n * s->n_out), s->out, s->tangent);
    }
  }
  return w->nodes[w->n_nodes - 1].tangent;
}

/* gradient += what delta, the slopes by this layer's outputs, makes of its weights and biases; x may be NULL for zeros. */
static void add_gradient(const mp_network *network, const node *s, int64_t n, const real *delta, const real *x,
                         const real *columns, int with_bias, real *gradient) {
  const mp_layer *layer = s->layer;
  real *weight = gradient + layer->weight, *bias = layer->bias < 0 || !with_bias ? NULL : gradient + layer->bias;
  if (layer->kind == MP_LINEAR) {
    product(network, 1, 0, s->n_out, s->n_in, n, delta, x, 1, weight);
    if (bias) sum_rows(n, s->n_out, delta, bias);
  } else {
    int64_t line = n * layer->out[1] * layer->out[2], inner = layer->in[0] * layer->kernel * layer->kernel;
    product(network, 0, 1, layer->out[0], inner, line, delta, columns, 1, weight);
    if (bias) sum_each(layer->out[0], line, delta, bias);
  }
}

/* back (+)= slopes by the inputs of a layer with these weights; `columns` is overwritten. */
static void pull_back(const mp_network *network, const node *s, int64_t n, const real *theta, const real *delta,
                      real *columns, real *back) {
  const mp_layer *layer = s->layer;
  const real *weight = theta + layer->weight;
  if (layer->kind == MP_LINEAR) {
    product(network, 0, 0, n, s->n_in, s->n_out, delta, weight, 0, back);
    return;
  }
  int64_t line = n * layer->out[1] * layer->out[2], inner = layer->in[0] * layer->kernel * layer->kernel;
  product(network, 1, 0, inner, line, layer->out[0], weight, delta, 0, columns);
  scatter_windows(layer, n, columns, back);
}

/* Adds the gradient of a block whose slopes by the outputs stand in w->deltas[0]. */
static void backward_block(const mp_network *network, const real *theta, int64_t n, const real *inputs,
                           const workspace *w, real *gradient) {
  real *delta = w->deltas[0], *other = w->deltas[1];
  for (node *s = w->nodes + w->n_nodes - 1; s >= w->nodes; s--) {
    const mp_layer *layer = s->layer;
    const real *x = input_of(w, s, inputs);
    if (layer && is_activation(layer)) {
      slope_tile(layer->kind, tiles_of(n * s->n_out), s->out, delta);
      continue;
    }
    if (!layer || layer->kind == MP_FLATTEN) {
      rows_to_planes(n, s->channels, s->plane, delta, other);
    } else if (layer->kind == MP_MAX_POOL2D) {
      if (s > w->nodes) spread_winners(layer, n, delta, s->winners, other);
    } else {
      add_gradient(network, s, n, delta, x, s->columns, 1, gradient);
      if (s > w->nodes) pull_back(network, s, n, theta, delta, s->columns, other);
    }
    real *swap = delta;
    delta = other, other = swap;
  }
}

#include "neural/blas_curvature.h"
#include "neural/blas_calls.h"
