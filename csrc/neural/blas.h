/* The BLAS engine, once for each precision: every layer, over blocks of rows.
 *
 * A block of rows goes through the whole network and back, small enough that what it leaves behind stays in the cache, so
 * memory is bounded whatever the number of rows. Fully connected layers are matrix products. From the first layer that
 * looks at images to the next Flatten, a group of rows at a time lies in the SIMD lanes (see images.h) and runs through
 * these layers before the next group does. An activation takes the place of what it is applied to: its slope follows from
 * its value. Blocks may be shared out among threads, which changes where sums are rounded and nothing else. The
 * Hessian-vector product carries derivatives along (Pearlmutter 1994). */
#include <math.h>
#include <pthread.h>

#include "neural/activations.h"
#include "neural/images.h"
#include "neural/losses.h"
#include "neural/winners.h"

/* Bytes that a block's values may take: a share of the last cache, found best on the reference network
 * (benchmarks/bench_neural.py) among 1, 4 and 24 MiB. */
#define BLOCK_BYTES ((size_t)24 << 20)
enum { MOST_THREADS = 64, MOST_ROWS = 256 }; /* rows: an early exit comes between blocks */

/* A layer, or the way from rows into groups of images (ENTER) and back (LEAVE). */
enum { ENTER = -1, LEAVE = -2 };
typedef struct {
  int kind; /* mp_layer_kind, ENTER, LEAVE */
  const mp_layer *layer; /* NULL for ENTER and LEAVE */
  int64_t n_in, n_out; /* of one row */
  int images, in_place,
      pooled_next; /* out lies in groups of images; is that of the node before; is for pooling alone */
  int64_t stride; /* from one group's images to those of the next; 0: nobody looks at them later, all share one place */
  real *out, *tangent;
  integer *winners; /* of max pooling */
  winners_work pooled; /* the convolution one or two nodes before whose gradient the winners make, if there is one */
} node;

typedef struct {
  node *nodes, *first; /* first: the first with weights; there is nothing to differentiate before it */
  int64_t n_nodes;
  real *inputs; /* gathered rows */
  real *deltas[2], *delta_tangents[2]; /* [rows][widest] */
  real *images[2], *image_tangents[2], *tile; /* the same of one group; see convolve_back */
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

static int64_t whole_tiles(int64_t n) { return (n + TILE - 1) / TILE * TILE; }

/* Reals rounded up to whole tiles: activations run over these. */
static real *carve_reals(char **work, size_t *total, int64_t n) {
  return carve(work, total, (size_t)whole_tiles(n) * sizeof(real));
}

static int64_t features(const int64_t shape[3]) { return shape[0] * shape[1] * shape[2]; }
static int64_t groups_of(int64_t n) { return (n + GROUP - 1) / GROUP; }
static int is_activation(int kind) { return kind >= MP_RELU; }
static int is_window(int kind) { return kind == MP_CONV2D || kind == MP_MAX_POOL2D; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* The convolution before max pooling, or before the activation before it, whose gradient its winners make; or NULL. The
 * slope of that activation follows from the pool's value, unless another activation has taken its place. first: whether
 * these are the network's first weights. */
static const mp_layer *convolution_pooled(const mp_network *network, int64_t l, int first) {
  const mp_layer *pool = network->layers + l;
  if (l == 0 || pool->kind != MP_MAX_POOL2D) return NULL;
  int activated = l > 1 && is_activation(pool[-1].kind);
  if (activated && l + 1 < network->n_layers && is_activation(pool[1].kind)) return NULL;
  const mp_layer *layer = pool - 1 - activated;
  return layer->kind == MP_CONV2D && winners_pay(layer, pool, first) ? layer : NULL;
}

/* first: nobody asks for slopes by the images. */
static void carve_winners(const mp_layer *layer, const mp_layer *pool, int first, char **at, size_t *total,
                          winners_work *work) {
  window w = window_of(layer);
  const convolution *s = &w.sizes;
  size_t most_winners = (size_t)(s->units * pool->out[1] * pool->out[2]) * sizeof(winner);
  work->layer = layer;
  work->sums = carve_reals(at, total, laid_out_size(&w));
  work->totals = carve_reals(at, total, laid_out_size(&w));
  work->pixels = carve_reals(at, total, GROUP * pixels_size(&w));
  work->list = carve(at, total, most_winners);
  work->unit_ends = carve(at, total, (size_t)s->units * sizeof(int64_t));
  work->offsets = carve(at, total, (size_t)w.vectors * sizeof(int64_t));
  work->corners = carve(at, total, (size_t)s->plane_out * sizeof(integer));
  if (first) return;
  work->weights = carve_reals(at, total, laid_out_size(&w));
  work->back = carve_reals(at, total, GROUP * pixels_size(&w));
  work->sorted = carve(at, total, most_winners);
  work->place_ends = carve(at, total, (size_t)s->plane * sizeof(int64_t));
}

/* Adds a node, with room for what it puts out. */
static void add_node(node next, int64_t block, char **at, size_t *total, void *work, workspace *w, node *before) {
  int64_t size = block * next.n_out;
  if (next.images) {
    next.stride = whole_tiles(next.n_out * GROUP);
    size = groups_of(block) * next.stride;
    if (next.kind == MP_MAX_POOL2D) next.winners = carve(at, total, (size_t)size * sizeof(integer));
    if (next.pooled_next) size = next.stride, next.stride = 0;
  }
  if (is_activation(next.kind) && w->n_nodes > 0 && !is_activation(before->kind)) {
    next.in_place = 1;
    next.out = before->out, next.tangent = before->tangent;
  } else {
    next.out = carve_reals(at, total, size);
    next.tangent = carve_reals(at, total, size);
  }
  if (work) w->nodes[w->n_nodes] = next;
  w->n_nodes++;
  *before = next;
}

/* Lays out the work area of one thread for blocks of `block` rows; NULL work: its size alone. */
static size_t arrange(const mp_network *network, int64_t block, void *work, workspace *w) {
  char *at = work;
  size_t total = 0;
  int64_t widest = network->n_inputs, widest_images = 0, most_units = 0;
  node before = {0};
  int images = 0;
  /* at most one node more than layers for every run of images: they end at Flatten or the end, and begin at one layer */
  w->nodes = carve(&at, &total, (size_t)(2 * network->n_layers + 2) * sizeof(node));
  w->n_nodes = 0;
  int64_t first = -1, n_weighted = 0;
  for (int64_t l = 0; l <= network->n_layers; l++) {
    const mp_layer *layer = l < network->n_layers ? network->layers + l : NULL;
    if (layer && is_window(layer->kind) && !images) {
      images = 1;
      node enter = {.kind = ENTER, .n_in = features(layer->in), .n_out = features(layer->in), .images = 1};
      add_node(enter, block, &at, &total, work, w, &before);
      widest_images = most(widest_images, enter.n_out);
    }
    if (!layer || layer->kind == MP_FLATTEN) {
      int64_t n_out = images ? before.n_out : 0;
      node leave = {.kind = LEAVE, .n_in = n_out, .n_out = n_out};
      if (images) add_node(leave, block, &at, &total, work, w, &before);
      images = 0;
    } else {
      node next = {.kind = layer->kind,
                   .layer = layer,
                   .n_in = features(layer->in),
                   .n_out = features(layer->out),
                   .images = images,
                   .pooled_next = layer->kind == MP_CONV2D && l + 1 < network->n_layers &&
                                  layer[1].kind == MP_MAX_POOL2D};
      int of_first = n_weighted < 2; /* whether a convolution that this one pools has the first weights */
      const mp_layer *pooled = convolution_pooled(network, l, of_first);
      if (pooled) carve_winners(pooled, layer, of_first, &at, &total, &next.pooled);
      int weighted = layer->kind == MP_LINEAR || layer->kind == MP_CONV2D;
      if (weighted && n_weighted++ == 0) first = w->n_nodes;
      add_node(next, block, &at, &total, work, w, &before);
      if (images) widest_images = most(widest_images, next.n_out);
      if (images) most_units = most(most_units, layer->out[0]);
    }
    if (!images) widest = most(widest, most(before.n_in, before.n_out));
  }
  w->first = w->nodes + (first < 0 ? w->n_nodes : first);
  w->inputs = carve_reals(&at, &total, block * network->n_inputs);
  for (int i = 0; i < 2; i++) {
    w->deltas[i] = carve_reals(&at, &total, block * widest);
    w->delta_tangents[i] = carve_reals(&at, &total, block * widest);
    w->images[i] = carve_reals(&at, &total, widest_images * GROUP);
    w->image_tangents[i] = carve_reals(&at, &total, widest_images * GROUP);
  }
  w->tile = carve_reals(&at, &total, most_units * AT_ONCE * GROUP);
  w->losses = carve(&at, &total, (size_t)block * sizeof(double));
  w->scratch = carve(&at, &total, rows_scratch_size(network->n_outputs));
  return total;
}

/* The node with which a run of images ends, or begins. */
static node *end_of_images(node *s) {
  while (s->kind != LEAVE) s++;
  return s;
}
static node *begin_of_images(node *s) {
  while (s->kind != ENTER) s--;
  return s;
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

/* sums [width] += columns of rows [n][width] */
static MP_CLONES void sum_rows(int64_t n, int64_t width, const real *rows, real *sums) {
  for (int64_t r = 0; r < n; r++, rows += width)
    for (int64_t i = 0; i < width; i++) sums[i] += rows[i];
}

static int64_t tiles_of(int64_t n) { return (n + TILE - 1) / TILE; }

/* A layer's weights in theta, and its biases or NULL. */
static const real *weights_of(const node *s, const real *theta) { return theta + s->layer->weight; }
static const real *biases_of(const node *s, const real *theta) {
  return s->layer->bias < 0 ? NULL : theta + s->layer->bias;
}

#include "neural/blas_images.h"

/* out = (or +=) x times the weights of a fully connected layer, and its biases (or NULL) */
static void apply(const mp_network *network, const node *s, int64_t n, const real *weights, const real *biases,
                  const real *x, real beta, real *out) {
  product(network, 0, 1, n, s->n_out, s->n_in, x, weights, beta, out);
  if (biases) add_to_rows(n, s->n_out, biases, out);
}

/* Outputs [n][n_outputs] of inputs [n][n_inputs]; every node keeps what it puts out. */
static const real *forward_block(const mp_network *network, const real *theta, int64_t n, const real *x,
                                 const workspace *w) {
  for (node *s = w->nodes; s < w->nodes + w->n_nodes; s++) {
    if (s->kind == ENTER) {
      node *end = end_of_images(s);
      for (int64_t g = 0; g < groups_of(n); g++) forward_images(theta, s, end, g, n, x);
      s = end;
    } else if (is_activation(s->kind)) {
      activate_tile(s->kind, tiles_of(n * s->n_out), TILE, x, s->out);
    } else {
      apply(network, s, n, weights_of(s, theta), biases_of(s, theta), x, 0, s->out);
    }
    x = s->out;
  }
  return x;
}

/* What lies before node s: the block's inputs, or what the node before it puts out; how that moves, NULL: not at all. */
static const real *input_of(const workspace *w, const node *s, const real *x) { return s == w->nodes ? x : s[-1].out; }
static const real *moved_input_of(const workspace *w, const node *s) { return s > w->first ? s[-1].tangent : NULL; }

/* Derivatives of the outputs as theta moves along `vector`, after forward_block. */
static const real *tangent_block(const mp_network *network, const real *theta, const real *vector, int64_t n,
                                 const real *inputs, const workspace *w) {
  node *last = w->nodes + w->n_nodes - 1;
  if (w->first > last) memset(last->tangent, 0, (size_t)(n * last->n_out) * sizeof(real));
  for (node *s = w->nodes; s <= last; s++) {
    const real *x = input_of(w, s, inputs), *dx = moved_input_of(w, s);
    if (s->kind == ENTER) {
      node *end = end_of_images(s);
      if (end > w->first)
        for (int64_t g = 0; g < groups_of(n); g++) tangent_images(theta, vector, s, end, g, n, w, dx);
      s = end;
    } else if (s < w->first) {
      continue;
    } else if (is_activation(s->kind)) {
      if (!s->in_place) memcpy(s->tangent, dx, (size_t)(n * s->n_out) * sizeof(real));
      slope_tile(s->kind, tiles_of(n * s->n_out), TILE, s->out, s->tangent);
    } else {
      apply(network, s, n, weights_of(s, vector), biases_of(s, vector), x, 0, s->tangent);
      if (dx) apply(network, s, n, weights_of(s, theta), NULL, dx, 1, s->tangent);
    }
  }
  return last->tangent;
}

/* gradient += what delta, the slopes by this layer's outputs, makes of its weights and, where wanted, biases. */
static void add_gradient(const mp_network *network, const node *s, int64_t n, const real *delta, const real *x,
                         int with_bias, real *gradient) {
  product(network, 1, 0, s->n_out, s->n_in, n, delta, x, 1, gradient + s->layer->weight);
  if (with_bias && s->layer->bias >= 0) sum_rows(n, s->n_out, delta, gradient + s->layer->bias);
}

/* back (+)= slopes by the inputs of a layer with these weights */
static void pull_back(const mp_network *network, const node *s, int64_t n, const real *theta, const real *delta,
                      real beta, real *back) {
  product(network, 0, 0, n, s->n_in, s->n_out, delta, weights_of(s, theta), beta, back);
}

/* Adds the gradient of a block whose slopes by the outputs stand in w->deltas[0]. */
static void backward_block(const mp_network *network, const real *theta, int64_t n, const real *inputs,
                           const workspace *w, real *gradient) {
  real *delta = w->deltas[0], *other = w->deltas[1];
  for (node *s = w->nodes + w->n_nodes - 1; s >= w->first; s--) {
    if (is_activation(s->kind)) {
      slope_tile(s->kind, tiles_of(n * s->n_out), TILE, s->out, delta);
      continue;
    }
    if (s->kind == LEAVE) {
      node *begin = begin_of_images(s);
      begin_images_back(theta, s, begin, w);
      for (int64_t g = 0; g < groups_of(n); g++) backward_images(theta, s, begin, g, n, w, delta, other, gradient);
      end_images_back(s, begin, gradient);
      s = begin;
    } else {
      add_gradient(network, s, n, delta, input_of(w, s, inputs), 1, gradient);
      if (s > w->first) pull_back(network, s, n, theta, delta, 0, other);
    }
    real *swap = delta;
    delta = other, other = swap;
  }
}

#include "neural/blas_curvature.h"
#include "neural/blas_calls.h"
