/* The arithmetic of the tile engine: products of a weight matrix with a tile, gradients, activations. */
#ifndef MICROPOLIS_TILE_KERNELS_H
#define MICROPOLIS_TILE_KERNELS_H

#include "neural/reals.h"

enum { MOST_UNITS = 6, GROUP = 4 }; /* 6 units x 4 vectors: 24 sums, 4 inputs and a weight in 32 registers */

/* out_u (+)= bias_u + sum_i w[u][i] x_i for `units` units and one group of vectors; w[u][i] = w[u * across + i * along] */
MP_INLINE void product_block(const int units, int64_t n_in, const real *w, int64_t across, int64_t along,
                             const real *bias, const real *x, real *out, int accumulate, int relu) {
  vreal sum[MOST_UNITS][GROUP];
  if (accumulate) {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < GROUP; v++) sum[u][v] = load(out + u * TILE + v * LANES);
  } else if (bias) {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < GROUP; v++) sum[u][v] = (vreal){0} + bias[u];
  } else {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < GROUP; v++) sum[u][v] = (vreal){0};
  }
  for (int64_t i = 0; i < n_in; i++) {
    vreal in[GROUP];
#pragma GCC unroll 4
    for (int v = 0; v < GROUP; v++) in[v] = load(x + i * TILE + v * LANES);
#pragma GCC unroll 6
    for (int u = 0; u < units; u++) {
      real weight = w[u * across + i * along];
#pragma GCC unroll 4
      for (int v = 0; v < GROUP; v++) sum[u][v] += weight * in[v];
    }
  }
#pragma GCC unroll 6
  for (int u = 0; u < units; u++)
#pragma GCC unroll 4
    for (int v = 0; v < GROUP; v++) store(out + u * TILE + v * LANES, relu ? positive_part(sum[u][v]) : sum[u][v]);
}

/* All units, in blocks of nearly equal size. */
MP_INLINE void product_tile(int64_t n_out, int64_t n_in, const real *w, int64_t across, int64_t along, const real *bias,
                            const real *x, real *out, int accumulate, int relu) {
  for (int64_t done = 0, blocks = (n_out + MOST_UNITS - 1) / MOST_UNITS; blocks; blocks--) {
    int64_t units = (n_out - done + blocks - 1) / blocks;
    for (int v = 0; v < TILE; v += GROUP * LANES) {
      const real *weights = w + done * across, *in = x + v;
      const real *b = bias ? bias + done : NULL;
      real *to = out + done * TILE + v;
      switch (units) {
      case 1: product_block(1, n_in, weights, across, along, b, in, to, accumulate, relu); break;
      case 2: product_block(2, n_in, weights, across, along, b, in, to, accumulate, relu); break;
      case 3: product_block(3, n_in, weights, across, along, b, in, to, accumulate, relu); break;
      case 4: product_block(4, n_in, weights, across, along, b, in, to, accumulate, relu); break;
      case 5: product_block(5, n_in, weights, across, along, b, in, to, accumulate, relu); break;
      default: product_block(6, n_in, weights, across, along, b, in, to, accumulate, relu);
      }
    }
    done += units;
  }
}

/* out [n_out][TILE] (+)= bias + W x, W [n_out][n_in] */
static MP_CLONES void linear_tile(int64_t n_out, int64_t n_in, const real *w, const real *bias, const real *x,
                                  real *out, int accumulate, int relu) {
  product_tile(n_out, n_in, w, n_in, 1, bias, x, out, accumulate, relu);
}

/* out [n_in][TILE] (+)= W' delta, W [n_out][n_in] */
static MP_CLONES void transposed_tile(int64_t n_out, int64_t n_in, const real *w, const real *delta, real *out,
                                      int accumulate) {
  product_tile(n_in, n_out, w, 1, n_in, NULL, delta, out, accumulate, 0);
}

/* sums[o][i] += delta_o x_i by lanes, for a block of units x inputs */
MP_INLINE void outer_block(const int units, const int inputs, int64_t n_in, const real *delta, const real *x,
                           real *sums) {
  vreal sum[4][4];
#pragma GCC unroll 4
  for (int o = 0; o < units; o++)
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) sum[o][i] = load(sums + (o * n_in + i) * LANES);
  for (int v = 0; v < TILE; v += LANES) {
    vreal in[4];
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) in[i] = load(x + i * TILE + v);
#pragma GCC unroll 4
    for (int o = 0; o < units; o++) {
      vreal d = load(delta + o * TILE + v);
#pragma GCC unroll 4
      for (int i = 0; i < inputs; i++) sum[o][i] += d * in[i];
    }
  }
#pragma GCC unroll 4
  for (int o = 0; o < units; o++)
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) store(sums + (o * n_in + i) * LANES, sum[o][i]);
}

MP_INLINE void outer_units(const int units, int64_t n_in, const real *delta, const real *x, real *sums) {
  int64_t i = 0;
  for (; i + 4 <= n_in; i += 4) outer_block(units, 4, n_in, delta, x + i * TILE, sums + i * LANES);
  switch (n_in - i) {
  case 3: outer_block(units, 3, n_in, delta, x + i * TILE, sums + i * LANES); break;
  case 2: outer_block(units, 2, n_in, delta, x + i * TILE, sums + i * LANES); break;
  case 1: outer_block(units, 1, n_in, delta, x + i * TILE, sums + i * LANES); break;
  default: break;
  }
}

/* sums [n_out][n_in][LANES] += delta x' over the rows of a tile, lane by lane */
static MP_CLONES void outer_tile(int64_t n_out, int64_t n_in, const real *delta, const real *x, real *sums) {
  int64_t o = 0;
  for (; o + 4 <= n_out; o += 4) outer_units(4, n_in, delta + o * TILE, x, sums + o * n_in * LANES);
  switch (n_out - o) {
  case 3: outer_units(3, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
  case 2: outer_units(2, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
  case 1: outer_units(1, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
  default: break;
  }
}

/* sums [n_out][LANES] += delta over the rows of a tile */
static MP_CLONES void sum_tile(int64_t n_out, const real *delta, real *sums) {
  for (int64_t o = 0; o < n_out; o++, delta += TILE, sums += LANES) {
    vreal even = {0}, odd = {0};
    for (int v = 0; v < TILE; v += 2 * LANES) even += load(delta + v), odd += load(delta + v + LANES);
    store(sums, load(sums) + (even + odd));
  }
}

/* tile [n_features][TILE] from rows that lie anywhere */
static MP_CLONES void gather_tile(int64_t n_features, const real *const source[TILE], real *tile) {
  for (int i = 0; i < TILE; i++)
    for (int64_t j = 0; j < n_features; j++) tile[j * TILE + i] = source[i][j];
}

/* -- activations ------------------------------------------------------------------------------------------------ */

/* Klambauer et al. 2017: scale x for x > 0, scale alpha (exp(x) - 1) else */
#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_LIMIT ((real)(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717))

MP_INLINE vreal selu(vreal x) {
  vreal negative = SELU_LIMIT * VECTOR_MATH(expm1_negative)((vreal)((vinteger)x & ~(x > (real)0)));
  return pick(x > (real)0, SELU_SCALE * x, negative);
}

/* The derivative where the activation has the value a. */
MP_INLINE vreal slope_at(int kind, vreal a) {
  switch (kind) {
  case MP_TANH: return (real)1 - a * a;
  case MP_SIGMOID: return a * ((real)1 - a);
  case MP_SELU: return pick(a > (real)0, splat(SELU_SCALE), a + SELU_LIMIT);
  default: return (vreal)((vinteger)splat(1) & (a > (real)0));
  }
}

/* The derivative of slope_at as a moves by da. */
MP_INLINE vreal slope_change(int kind, vreal a, vreal da) {
  switch (kind) {
  case MP_TANH: return (real)-2 * a * da;
  case MP_SIGMOID: return ((real)1 - (real)2 * a) * da;
  case MP_SELU: return (vreal)((vinteger)da & ~(a > (real)0));
  default: return splat(0);
  }
}

/* A loop for each kind, so that none tests it inside. */
#define FOR_EACH_ACTIVATION(kind, body)    \
  switch (kind) {                          \
  case MP_TANH: body(MP_TANH) break;       \
  case MP_SIGMOID: body(MP_SIGMOID) break; \
  case MP_SELU: body(MP_SELU) break;       \
  default: body(MP_RELU)                   \
  }

MP_INLINE vreal activation(int kind, vreal x) {
  switch (kind) {
  case MP_TANH: return VECTOR_MATH(tanh)(x);
  case MP_SIGMOID: return VECTOR_MATH(sigmoid)(x);
  case MP_SELU: return selu(x);
  default: return positive_part(x);
  }
}

/* values = activation(x); both may be one array */
static MP_CLONES void activate_tile(int kind, int64_t n, const real *x, real *values) {
#define BODY(KIND) \
  for (int64_t i = 0; i < n * TILE; i += LANES) store(values + i, activation(KIND, load(x + i)));
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

/* delta *= derivative of the activation */
static MP_CLONES void slope_tile(int kind, int64_t n, const real *values, real *delta) {
#define BODY(KIND) \
  for (int64_t i = 0; i < n * TILE; i += LANES) store(delta + i, load(delta + i) * slope_at(KIND, load(values + i)));
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

/* The same, and its derivative: tangent = slope tangent + (change of slope) delta, then delta *= slope. */
static MP_CLONES void curvature_tile(int kind, int64_t n, const real *values, const real *tangents, real *delta,
                                     real *tangent) {
#define BODY(KIND)                                                              \
  for (int64_t i = 0; i < n * TILE; i += LANES) {                               \
    vreal a = load(values + i), d = load(delta + i), slope = slope_at(KIND, a); \
    vreal change = slope_change(KIND, a, load(tangents + i));                   \
    store(tangent + i, slope * load(tangent + i) + change * d);                 \
    store(delta + i, slope * d);                                                \
  }
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

#endif
