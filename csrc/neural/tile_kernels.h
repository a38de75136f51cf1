/* The arithmetic of the tile engine: products of a weight matrix with a tile, gradients, activations. */
#ifndef MICROPOLIS_TILE_KERNELS_H
#define MICROPOLIS_TILE_KERNELS_H

#include "neural/activations.h"
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

/* out [n_out][TILE] (+)= bias + W x, W [n_out][n_in], at the first places */
static void linear_tile(int64_t places, int64_t n_out, int64_t n_in, const real *w, const real *bias, const real *x,
                        real *out, int accumulate, int relu) {
  DISPATCH(linear_tile, places, n_out, n_in, w, bias, x, out, accumulate, relu);
}

/* out [n_in][TILE] (+)= W' delta, W [n_out][n_in] */
static void transposed_tile(int64_t places, int64_t n_out, int64_t n_in, const real *w, const real *delta, real *out,
                            int accumulate) {
  DISPATCH(transposed_tile, places, n_out, n_in, w, delta, out, accumulate);
}

/* sums [n_out][n_in][LANES] += delta x' over the rows of a tile, row i in lane i mod LANES */
static void outer_tile(int64_t places, int64_t n_out, int64_t n_in, const real *delta, const real *x, real *sums) {
  DISPATCH(outer_tile, places, n_out, n_in, delta, x, sums);
}

/* sums [n_out][LANES] += delta over the rows of a tile */
static MP_CLONES void sum_tile(int64_t places, int64_t n_out, const real *delta, real *sums) {
  for (int64_t o = 0; o < n_out; o++, delta += TILE, sums += LANES) {
    vreal even = {0}, odd = {0};
    int64_t v = 0;
    for (; v + 2 * LANES <= places; v += 2 * LANES) even += load(delta + v), odd += load(delta + v + LANES);
    if (v < places) even += load(delta + v);
    store(sums, load(sums) + (even + odd));
  }
}

/* tile [n_features][TILE] from rows that lie anywhere; eight at a time fill whole parts of the tile's cache lines */
static MP_CLONES void gather_tile(int64_t places, int64_t n_features, const real *const source[TILE], real *tile) {
  for (int64_t i = 0; i < places; i += 8) {
    const real *const *row = source + i;
    for (int64_t j = 0; j < n_features; j++) {
      const real eight[8] = {row[0][j], row[1][j], row[2][j], row[3][j], row[4][j], row[5][j], row[6][j], row[7][j]};
      memcpy(tile + j * TILE + i, eight, sizeof eight);
    }
  }
}

#endif
