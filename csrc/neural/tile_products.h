/* Products of a weight matrix with a tile, and of two tiles, with vectors of PRODUCT_BYTES for PRODUCT_TARGET.
 *
 * Included once for every instruction set, each time with PRODUCT(name), the sizes of its blocks (MOST_UNITS x GROUP
 * sums of a product, OUTER x 4 of a gradient) and PRODUCT_RELU(y), max(y, 0) with NaN for NaN. */
typedef real PRODUCT(vector) __attribute__((vector_size(PRODUCT_BYTES)));
enum { PRODUCT(WIDTH) = PRODUCT_BYTES / sizeof(real) };

PRODUCT_TARGET MP_INLINE PRODUCT(vector) PRODUCT(fetch)(const real *p) {
  PRODUCT(vector) v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* out_u (+)= bias_u + sum_i w[u][i] x_i for `units` units and one group of vectors; w[u][i] = w[u * across + i * along] */
PRODUCT_TARGET MP_INLINE void PRODUCT(block)(const int units, const int group, int64_t n_in, const real *w,
                                             int64_t across, int64_t along, const real *bias, const real *x, real *out,
                                             int accumulate, int relu) {
  enum { WIDTH = PRODUCT(WIDTH) };
  PRODUCT(vector) sum[PRODUCT(MOST_UNITS)][PRODUCT(GROUP)];
  if (accumulate) {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < group; v++) sum[u][v] = PRODUCT(fetch)(out + u * TILE + v * WIDTH);
  } else if (bias) {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < group; v++) sum[u][v] = (PRODUCT(vector)){0} + bias[u];
  } else {
#pragma GCC unroll 6
    for (int u = 0; u < units; u++)
#pragma GCC unroll 4
      for (int v = 0; v < group; v++) sum[u][v] = (PRODUCT(vector)){0};
  }
  for (int64_t i = 0; i < n_in; i++) {
    PRODUCT(vector) in[PRODUCT(GROUP)];
#pragma GCC unroll 4
    for (int v = 0; v < group; v++) in[v] = PRODUCT(fetch)(x + i * TILE + v * WIDTH);
#pragma GCC unroll 6
    for (int u = 0; u < units; u++) {
      real weight = w[u * across + i * along];
#pragma GCC unroll 4
      for (int v = 0; v < group; v++) sum[u][v] += weight * in[v];
    }
  }
#pragma GCC unroll 6
  for (int u = 0; u < units; u++)
#pragma GCC unroll 4
    for (int v = 0; v < group; v++) {
      PRODUCT(vector) y = sum[u][v];
      if (relu) y = PRODUCT_RELU(y);
      memcpy(out + u * TILE + v * WIDTH, &y, sizeof y);
    }
}

/* All units for one group of vectors, in blocks of nearly equal size. */
PRODUCT_TARGET MP_INLINE void PRODUCT(blocks)(const int group, int64_t n_out, int64_t n_in, const real *w,
                                              int64_t across, int64_t along, const real *bias, const real *x, real *out,
                                              int accumulate, int relu) {
  for (int64_t done = 0, blocks = (n_out + PRODUCT(MOST_UNITS) - 1) / PRODUCT(MOST_UNITS); blocks; blocks--) {
    int64_t units = (n_out - done + blocks - 1) / blocks;
    const real *weights = w + done * across, *b = bias ? bias + done : NULL;
    real *to = out + done * TILE;
    switch (units) {
    case 1: PRODUCT(block)(1, group, n_in, weights, across, along, b, x, to, accumulate, relu); break;
    case 2: PRODUCT(block)(2, group, n_in, weights, across, along, b, x, to, accumulate, relu); break;
    case 3: PRODUCT(block)(3, group, n_in, weights, across, along, b, x, to, accumulate, relu); break;
    case 4: PRODUCT(block)(4, group, n_in, weights, across, along, b, x, to, accumulate, relu); break;
    case 5: PRODUCT(block)(5, group, n_in, weights, across, along, b, x, to, accumulate, relu); break;
    default: PRODUCT(block)(6, group, n_in, weights, across, along, b, x, to, accumulate, relu);
    }
    done += units;
  }
}

/* For all places: groups of vectors, and single vectors where the places end within a group. */
PRODUCT_TARGET MP_INLINE void PRODUCT(product)(int64_t places, int64_t n_out, int64_t n_in, const real *w,
                                               int64_t across, int64_t along, const real *bias, const real *x,
                                               real *out, int accumulate, int relu) {
  enum { ONE = PRODUCT(WIDTH), WHOLE = PRODUCT(GROUP) * ONE };
  int64_t v = 0;
  for (; v + WHOLE <= places; v += WHOLE)
    PRODUCT(blocks)(PRODUCT(GROUP), n_out, n_in, w, across, along, bias, x + v, out + v, accumulate, relu);
#if PRODUCT_BYTES == 64 /* groups of the others are no longer than a vector of LANES */
  for (; v < places; v += ONE)
    PRODUCT(blocks)(1, n_out, n_in, w, across, along, bias, x + v, out + v, accumulate, relu);
#endif
}

PRODUCT_TARGET static void PRODUCT(linear_tile)(int64_t places, int64_t n_out, int64_t n_in, const real *w,
                                                const real *bias, const real *x, real *out, int accumulate, int relu) {
  PRODUCT(product)(places, n_out, n_in, w, n_in, 1, bias, x, out, accumulate, relu);
}

PRODUCT_TARGET static void PRODUCT(transposed_tile)(int64_t places, int64_t n_out, int64_t n_in, const real *w,
                                                    const real *delta, real *out, int accumulate) {
  PRODUCT(product)(places, n_in, n_out, w, 1, n_in, NULL, delta, out, accumulate, 0);
}

/* sums[o][i] += delta_o x_i for a block of units x inputs, in one vector's part of the lanes */
PRODUCT_TARGET MP_INLINE void PRODUCT(outer_block)(const int units, const int inputs, int64_t places, int64_t n_in,
                                                   const real *delta, const real *x, real *sums) {
  PRODUCT(vector) sum[PRODUCT(OUTER)][4];
#pragma GCC unroll 4
  for (int o = 0; o < units; o++)
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) sum[o][i] = PRODUCT(fetch)(sums + (o * n_in + i) * LANES);
  for (int64_t v = 0; v < places; v += LANES) {
    PRODUCT(vector) in[4];
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) in[i] = PRODUCT(fetch)(x + i * TILE + v);
#pragma GCC unroll 4
    for (int o = 0; o < units; o++) {
      PRODUCT(vector) d = PRODUCT(fetch)(delta + o * TILE + v);
#pragma GCC unroll 4
      for (int i = 0; i < inputs; i++) sum[o][i] += d * in[i];
    }
  }
#pragma GCC unroll 4
  for (int o = 0; o < units; o++)
#pragma GCC unroll 4
    for (int i = 0; i < inputs; i++) memcpy(sums + (o * n_in + i) * LANES, &sum[o][i], sizeof sum[o][i]);
}

PRODUCT_TARGET MP_INLINE void PRODUCT(outer_units)(const int units, int64_t places, int64_t n_in, const real *delta,
                                                   const real *x, real *sums) {
  for (int64_t i = 0; i < n_in; i += 4)
    for (int part = 0; part < LANES; part += PRODUCT(WIDTH)) {
      const real *in = x + i * TILE + part, *d = delta + part;
      real *to = sums + i * LANES + part;
      switch (n_in - i) {
      case 1: PRODUCT(outer_block)(units, 1, places, n_in, d, in, to); break;
      case 2: PRODUCT(outer_block)(units, 2, places, n_in, d, in, to); break;
      case 3: PRODUCT(outer_block)(units, 3, places, n_in, d, in, to); break;
      default: PRODUCT(outer_block)(units, 4, places, n_in, d, in, to);
      }
    }
}

PRODUCT_TARGET static void PRODUCT(outer_tile)(int64_t places, int64_t n_out, int64_t n_in, const real *delta,
                                               const real *x, real *sums) {
  int64_t o = 0;
  for (; o + PRODUCT(OUTER) <= n_out; o += PRODUCT(OUTER))
    PRODUCT(outer_units)(PRODUCT(OUTER), places, n_in, delta + o * TILE, x, sums + o * n_in * LANES);
  switch (n_out - o) {
#if PRODUCT_BYTES == 64
  case 3: PRODUCT(outer_units)(3, places, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
  case 2: PRODUCT(outer_units)(2, places, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
#endif
  case 1: PRODUCT(outer_units)(1, places, n_in, delta + o * TILE, x, sums + o * n_in * LANES); break;
  default: break;
  }
}

#undef PRODUCT
#undef PRODUCT_BYTES
#undef PRODUCT_TARGET
#undef PRODUCT_RELU
