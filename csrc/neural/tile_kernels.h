/* The arithmetic of the tile engine: products of a weight matrix with a tile, gradients, activations. */
#ifndef MICROPOLIS_TILE_KERNELS_H
#define MICROPOLIS_TILE_KERNELS_H

#include "neural/reals.h"
#ifdef MP_HAVE_TARGET_CLONES
#include <immintrin.h>
#endif

/* Products, for the vectors of each instruction set: blocks of sums as large as its registers hold. A vector wider than
 * the machine's would be taken apart and its pieces kept in memory. */
#define PRODUCT(name) name##_16
#define PRODUCT_BYTES 16
#define PRODUCT_TARGET
#define PRODUCT_RELU(y) ((vector_16)((mask_16)y & ~(y < (real)0)))
typedef integer mask_16 __attribute__((vector_size(16)));
enum { MOST_UNITS_16 = 6, GROUP_16 = 2, OUTER_16 = 2 };
#include "neural/tile_products.h"

#ifdef MP_HAVE_TARGET_CLONES
/* The maximum that keeps the second operand where one is NaN: C has no expression for it that becomes one instruction. */
#ifdef MP_SINGLE
#define RELU_32(y) ((vector_32)_mm256_max_ps(_mm256_setzero_ps(), (__m256)(y)))
#define RELU_64(y) ((vector_64)_mm512_max_ps(_mm512_setzero_ps(), (__m512)(y)))
#else
#define RELU_32(y) ((vector_32)_mm256_max_pd(_mm256_setzero_pd(), (__m256d)(y)))
#define RELU_64(y) ((vector_64)_mm512_max_pd(_mm512_setzero_pd(), (__m512d)(y)))
#endif

#define PRODUCT(name) name##_32
#define PRODUCT_BYTES 32
#define PRODUCT_TARGET __attribute__((target("arch=x86-64-v3")))
#define PRODUCT_RELU RELU_32
enum { MOST_UNITS_32 = 6, GROUP_32 = 2, OUTER_32 = 2 }; /* 12 sums, 2 inputs and a weight in 16 registers */
#include "neural/tile_products.h"

#define PRODUCT(name) name##_64
#define PRODUCT_BYTES 64
#define PRODUCT_TARGET __attribute__((target("arch=x86-64-v4")))
#define PRODUCT_RELU RELU_64
enum { MOST_UNITS_64 = 6, GROUP_64 = 4, OUTER_64 = 4 }; /* 24 sums, 4 inputs and a weight in 32 registers */
#include "neural/tile_products.h"

#define DISPATCH(name, ...)                                             \
  if (__builtin_cpu_supports("x86-64-v4")) name##_64(__VA_ARGS__);      \
  else if (__builtin_cpu_supports("x86-64-v3")) name##_32(__VA_ARGS__); \
  else name##_16(__VA_ARGS__)
#else
#define DISPATCH(name, ...) name##_16(__VA_ARGS__)
#endif

/* out [n_out][TILE] (+)= bias + W x, W [n_out][n_in] */
static void linear_tile(int64_t n_out, int64_t n_in, const real *w, const real *bias, const real *x, real *out,
                        int accumulate, int relu) {
  DISPATCH(linear_tile, n_out, n_in, w, bias, x, out, accumulate, relu);
}

/* out [n_in][TILE] (+)= W' delta, W [n_out][n_in] */
static void transposed_tile(int64_t n_out, int64_t n_in, const real *w, const real *delta, real *out, int accumulate) {
  DISPATCH(transposed_tile, n_out, n_in, w, delta, out, accumulate);
}

/* sums [n_out][n_in][LANES] += delta x' over the rows of a tile, row i in lane i mod LANES */
static void outer_tile(int64_t n_out, int64_t n_in, const real *delta, const real *x, real *sums) {
  DISPATCH(outer_tile, n_out, n_in, delta, x, sums);
}

/* sums [n_out][LANES] += delta over the rows of a tile */
static MP_CLONES void sum_tile(int64_t n_out, const real *delta, real *sums) {
  for (int64_t o = 0; o < n_out; o++, delta += TILE, sums += LANES) {
    vreal even = {0}, odd = {0};
    for (int v = 0; v < TILE; v += 2 * LANES) even += load(delta + v), odd += load(delta + v + LANES);
    store(sums, load(sums) + (even + odd));
  }
}

/* tile [n_features][TILE] from rows that lie anywhere; eight at a time fill whole parts of the tile's cache lines */
static MP_CLONES void gather_tile(int64_t n_features, const real *const source[TILE], real *tile) {
  for (int i = 0; i < TILE; i += 8) {
    const real *const *row = source + i;
    for (int64_t j = 0; j < n_features; j++) {
      const real eight[8] = {row[0][j], row[1][j], row[2][j], row[3][j], row[4][j], row[5][j], row[6][j], row[7][j]};
      memcpy(tile + j * TILE + i, eight, sizeof eight);
    }
  }
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
