/* The tile engine, once for each precision: fully connected layers and activations, rows in the SIMD lanes.
 *
 * 64 rows at a time go through the whole network: every feature of a tile is a few vectors of rows, every weight is
 * broadcast, and blocks of units x vectors stay in registers, so that the loads keep up with the multiply-adds. Gradients
 * are summed lane by lane over all tiles and folded once. The Hessian-vector product is the derivative of the gradient
 * along a direction, carried forward and back beside it (Pearlmutter 1994). */
#include "neural/losses.h"
#include "neural/tile_kernels.h"

/* A linear layer (or none) and the activation behind it (or -1). */
typedef struct {
  const mp_layer *linear;
  int64_t n_in, n_out;
  int32_t activation; /* mp_layer_kind */
  real *values, *tangents; /* [n_out][TILE] */
} stage;

/* The work area. */
typedef struct {
  stage *stages;
  int64_t n_stages;
  real *inputs; /* [n_inputs][TILE] */
  real *deltas[2], *delta_tangents[2]; /* [widest][TILE] */
  real *sums; /* [n_parameters][LANES] */
  double *losses; /* [TILE] */
  mp_answers answers;
} workspace;

/* Carves `size` bytes from *work, which may be NULL: then only the size counts. */
static void *carve(char **work, size_t *total, size_t size) {
  void *part = *work;
  size = (size + 63) / 64 * 64;
  if (*work) *work += size;
  *total += size;
  return part;
}

static size_t arrange(const mp_network *network, void *work, workspace *w) {
  char *at = work;
  size_t total = 0, column = TILE * sizeof(real);
  int64_t widest = network->n_inputs;
  w->n_stages = 0;
  w->stages = carve(&at, &total, (size_t)network->n_layers * sizeof(stage));
  for (int64_t l = 0; l < network->n_layers; l++) {
    const mp_layer *layer = network->layers + l;
    if (layer->kind == MP_FLATTEN) continue;
    int64_t n_out = layer->out[0] * layer->out[1] * layer->out[2];
    stage next = {NULL, layer->in[0] * layer->in[1] * layer->in[2], n_out, -1, NULL, NULL};
    if (layer->kind == MP_LINEAR) {
      next.linear = layer;
      while (l + 1 < network->n_layers && layer[1].kind == MP_FLATTEN) layer++, l++;
      if (l + 1 < network->n_layers && layer[1].kind != MP_LINEAR) next.activation = layer[1].kind, l++;
    } else {
      next.activation = layer->kind;
    }
    if (n_out > widest) widest = n_out;
    next.values = carve(&at, &total, (size_t)n_out * column);
    next.tangents = carve(&at, &total, (size_t)n_out * column);
    if (work) w->stages[w->n_stages] = next;
    w->n_stages++;
  }
  w->inputs = carve(&at, &total, (size_t)network->n_inputs * column);
  for (int i = 0; i < 2; i++) {
    w->deltas[i] = carve(&at, &total, (size_t)widest * column);
    w->delta_tangents[i] = carve(&at, &total, (size_t)widest * column);
  }
  w->sums = carve(&at, &total, (size_t)network->n_parameters * LANES * sizeof(real));
  w->losses = carve(&at, &total, TILE * sizeof(double));
  void *answers = carve(&at, &total, answers_size(network->n_outputs));
  if (work) answers_init(&w->answers, network->n_outputs, answers);
  return total;
}

static size_t work_size(const mp_network *network, int64_t n_rows) {
  workspace w;
  (void)n_rows;
  return arrange(network, NULL, &w);
}

/* The tile [n_inputs][TILE] that begins at position `start`: as packed, or gathered into the workspace. */
static const real *tile_inputs(const mp_network *network, const mp_data *data, const int64_t *rows, int64_t start,
                               int64_t n, const workspace *w) {
  int64_t n_inputs = network->n_inputs;
  if (data->tiles && !rows && (start + TILE <= n || n == data->n)) return (const real *)data->tiles + start * n_inputs;
  const real *source[TILE];
  int64_t places = places_of(n - start);
  for (int64_t i = 0; i < places; i++) source[i] = (const real *)data->inputs + row_at(rows, n, start + i) * n_inputs;
  gather_tile(places, n_inputs, source, w->inputs);
  return w->inputs;
}

/* Outputs [n_outputs][TILE] of the inputs x; every stage keeps its values. */
static const real *forward_tile(int64_t places, const real *theta, const real *x, const workspace *w) {
  for (const stage *s = w->stages; s < w->stages + w->n_stages; s++) {
    if (s->linear) {
      const real *bias = s->linear->bias < 0 ? NULL : theta + s->linear->bias;
      linear_tile(places, s->n_out, s->n_in, theta + s->linear->weight, bias, x, s->values, 0,
                  s->activation == MP_RELU);
      if (s->activation >= 0 && s->activation != MP_RELU)
        activate_tile(s->activation, s->n_out, places, s->values, s->values);
    } else {
      activate_tile(s->activation, s->n_out, places, x, s->values);
    }
    x = s->values;
  }
  return x;
}

/* Derivatives of the same along `vector`, in the stages' tangents. */
static const real *tangent_tile(int64_t places, const real *theta, const real *vector, const real *x,
                                const workspace *w) {
  const real *dx = NULL; /* zero at the inputs */
  for (const stage *s = w->stages; s < w->stages + w->n_stages; s++) {
    size_t bytes = (size_t)s->n_out * TILE * sizeof(real);
    if (s->linear) {
      const real *bias = s->linear->bias < 0 ? NULL : vector + s->linear->bias;
      linear_tile(places, s->n_out, s->n_in, vector + s->linear->weight, bias, x, s->tangents, 0, 0);
      if (dx) linear_tile(places, s->n_out, s->n_in, theta + s->linear->weight, NULL, dx, s->tangents, 1, 0);
    } else if (dx) {
      memcpy(s->tangents, dx, bytes);
    } else {
      memset(s->tangents, 0, bytes);
    }
    if (s->activation >= 0) slope_tile(s->activation, s->n_out, places, s->values, s->tangents);
    dx = s->tangents, x = s->values;
  }
  return dx;
}

/* Zeros at the places behind the last row. */
static void mask_tile(int64_t n_outputs, int64_t count, real *slopes) {
  if (count >= TILE) return;
  for (int64_t k = 0; k < n_outputs; k++)
    for (int64_t i = count; i < places_of(count); i++) slopes[k * TILE + i] = 0;
}

/* The sum in the one order of this engine: eight stripes of a tile, folded; tile after tile. */
static double tile_sum(double *losses, int64_t count) {
  mp_v8 sum = {0};
  for (int64_t i = count; i < TILE; i++) losses[i] = 0;
  for (int i = 0; i < TILE; i += 8) sum += mp_load8(losses + i);
  return mp_fold8(sum);
}

static void forward(const mp_network *network, const void *theta, const mp_data *data, const int64_t *rows, int64_t n,
                    void *outputs, void *work) {
  workspace w;
  int64_t width = network->n_outputs;
  arrange(network, work, &w);
  for (int64_t start = 0; start < n; start += TILE) {
    const real *f = forward_tile(places_of(n - start), theta, tile_inputs(network, data, rows, start, n, &w), &w);
    real *out = (real *)outputs + start * width;
    for (int64_t i = 0; i < TILE && start + i < n; i++)
      for (int64_t k = 0; k < width; k++) out[i * width + k] = f[k * TILE + i];
  }
}

/* Losses of the tile at `start` into the workspace, their slopes by the outputs too where asked for. */
static const real *loss_tile(const mp_network *network, const mp_loss *loss, const real *theta, const mp_data *data,
                             const int64_t *rows, int64_t start, int64_t n, real *slopes, workspace *w) {
  const real *x = tile_inputs(network, data, rows, start, n, w), *f = forward_tile(places_of(n - start), theta, x, w);
  answers_gather(loss, network->n_outputs, data, rows, start, n, &w->answers);
  tile_losses(loss, network->n_outputs, f, data, rows, start, n, &w->answers, w->losses, slopes);
  return x;
}

static void losses(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                   const int64_t *rows, int64_t n, double *out, void *work) {
  workspace w;
  arrange(network, work, &w);
  for (int64_t start = 0; start < n; start += TILE) {
    loss_tile(network, loss, theta, data, rows, start, n, NULL, &w);
    memcpy(out + start, w.losses, (size_t)(n - start < TILE ? n - start : TILE) * sizeof(double));
  }
}

static int64_t loss_sum(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                        const int64_t *rows, int64_t n, double threshold, double *sum, void *work) {
  workspace w;
  arrange(network, work, &w);
  *sum = 0;
  for (int64_t start = 0; start < n; start += TILE) {
    loss_tile(network, loss, theta, data, rows, start, n, NULL, &w);
    *sum += tile_sum(w.losses, n - start);
    if (threshold != INFINITY && !(*sum < threshold)) return n - start < TILE ? n : start + TILE;
  }
  return n;
}

/* gradient_p = the lanes of sums_p, folded in halves */
static void fold_sums(int64_t n_parameters, const real *sums, real *gradient) {
  typedef real quarter __attribute__((vector_size(16)));
  for (int64_t p = 0; p < n_parameters; p++) {
    quarter q[4];
    memcpy(q, sums + p * LANES, sizeof q);
    quarter s = (q[0] + q[2]) + (q[1] + q[3]);
#ifdef MP_SINGLE
    gradient[p] = (s[0] + s[2]) + (s[1] + s[3]);
#else
    gradient[p] = s[0] + s[1];
#endif
  }
}

static void loss_grad(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                      const int64_t *rows, int64_t n, double *sum, void *gradient, void *work) {
  workspace w;
  arrange(network, work, &w);
  memset(w.sums, 0, (size_t)network->n_parameters * LANES * sizeof(real));
  *sum = 0;
  for (int64_t start = 0; start < n; start += TILE) {
    real *delta = w.deltas[0], *spare = w.deltas[1], *swap;
    int64_t places = places_of(n - start);
    const real *inputs = loss_tile(network, loss, theta, data, rows, start, n, delta, &w);
    *sum += tile_sum(w.losses, n - start);
    mask_tile(network->n_outputs, n - start, delta);
    for (const stage *s = w.stages + w.n_stages - 1; s >= w.stages; s--) {
      if (s->activation >= 0) slope_tile(s->activation, s->n_out, places, s->values, delta);
      if (!s->linear) continue;
      const real *x = s == w.stages ? inputs : s[-1].values;
      outer_tile(places, s->n_out, s->n_in, delta, x, w.sums + s->linear->weight * LANES);
      if (s->linear->bias >= 0) sum_tile(places, s->n_out, delta, w.sums + s->linear->bias * LANES);
      if (s == w.stages) break;
      transposed_tile(places, s->n_out, s->n_in, (const real *)theta + s->linear->weight, delta, spare, 0);
      swap = delta, delta = spare, spare = swap;
    }
  }
  fold_sums(network->n_parameters, w.sums, gradient);
}

static int loss_hvp(const mp_network *network, const mp_loss *loss, const void *theta, const void *vector,
                    const mp_data *data, const int64_t *rows, int64_t n, void *product, void *work) {
  workspace w;
  if (loss->kind == MP_USER_LOSS) return -1;
  arrange(network, work, &w);
  memset(w.sums, 0, (size_t)network->n_parameters * LANES * sizeof(real));
  for (int64_t start = 0; start < n; start += TILE) {
    real *delta = w.deltas[0], *spare = w.deltas[1], *swap;
    int64_t places = places_of(n - start);
    real *tangent = w.delta_tangents[0], *spare_tangent = w.delta_tangents[1];
    const real *inputs = loss_tile(network, loss, theta, data, rows, start, n, delta, &w);
    const real *along = tangent_tile(places, theta, vector, inputs, &w);
    tile_curvature(loss, places, network->n_outputs, w.stages[w.n_stages - 1].values, along, tangent);
    mask_tile(network->n_outputs, n - start, delta);
    mask_tile(network->n_outputs, n - start, tangent);
    for (const stage *s = w.stages + w.n_stages - 1; s >= w.stages; s--) {
      if (s->activation >= 0) curvature_tile(s->activation, s->n_out, places, s->values, s->tangents, delta, tangent);
      if (!s->linear) continue;
      const real *x = s == w.stages ? inputs : s[-1].values;
      real *sums = w.sums + s->linear->weight * LANES;
      outer_tile(places, s->n_out, s->n_in, tangent, x, sums);
      if (s > w.stages) outer_tile(places, s->n_out, s->n_in, delta, s[-1].tangents, sums);
      if (s->linear->bias >= 0) sum_tile(places, s->n_out, tangent, w.sums + s->linear->bias * LANES);
      if (s == w.stages) break;
      const real *weight = (const real *)theta + s->linear->weight;
      transposed_tile(places, s->n_out, s->n_in, weight, delta, spare, 0);
      transposed_tile(places, s->n_out, s->n_in, weight, tangent, spare_tangent, 0);
      transposed_tile(places, s->n_out, s->n_in, (const real *)vector + s->linear->weight, delta, spare_tangent, 1);
      swap = delta, delta = spare, spare = swap;
      swap = tangent, tangent = spare_tangent, spare_tangent = swap;
    }
  }
  fold_sums(network->n_parameters, w.sums, product);
  return 0;
}
