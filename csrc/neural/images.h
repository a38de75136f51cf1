/* Convolution and pooling for the BLAS engine, a group of images side by side in the SIMD lanes: no matrix of windows.
 *
 * A group of images is an array [channels][height][width][lanes], lanes behind the last image repeat it. A convolution is
 * then multiply-adds of broadcast weights and whole vectors at any offset, UNITS x AT_ONCE of them at a time in registers:
 * 12 sums hide the latency of the multiply-add, and with 3 + 4 loads for 12 of them the multiply-adds set the pace. Vectors
 * have 256 bits everywhere: few images are left over in a group, and machines with wider ones start two of these a cycle.
 * Most groups are GROUP images, one vector's worth; the last may be HALF of one, and a vector then holds two neighbouring
 * points of its images.
 *
 * A tile at the edge of a plane reads less than AT_ONCE vectors behind it and drops what comes of them: behind every group
 * there must be that much memory. */
#ifndef MICROPOLIS_IMAGES_H
#define MICROPOLIS_IMAGES_H

#include "neural/reals.h"

typedef real group __attribute__((vector_size(32)));
typedef integer group_integers __attribute__((vector_size(32)));
typedef real half_group __attribute__((vector_size(16)));
enum { GROUP = sizeof(group) / sizeof(real), HALF = GROUP / 2, UNITS = 3, AT_ONCE = 4 };

MP_INLINE group load_group(const real *p) {
  group v;
  memcpy(&v, p, sizeof v);
  return v;
}
MP_INLINE void store_group(real *p, group v) { memcpy(p, &v, sizeof v); }
/* The first n numbers at p, zeros behind them; and back. */
MP_INLINE group load_some(const real *p, int64_t n) {
  group v = {0};
  memcpy(&v, p, (size_t)n * sizeof *p);
  return v;
}
MP_INLINE void store_some(real *p, int64_t n, group v) { memcpy(p, &v, (size_t)n * sizeof *p); }
MP_INLINE group splat_group(real x) { return x - (group){0}; }
MP_INLINE group choose(group_integers mask, group yes, group no) {
  return (group)(((group_integers)yes & mask) | ((group_integers)no & ~mask));
}
MP_INLINE real fold_group(group v) {
  half_group halves[2];
  memcpy(halves, &v, sizeof v);
  half_group h = halves[0] + halves[1];
  real sum = h[0] + h[1];
  for (int i = 2; i < GROUP / 2; i += 2) sum += h[i] + h[i + 1];
  return sum;
}

/* The sizes of a convolution: planes in and out, and weights of a unit. */
typedef struct {
  int64_t channels, units, kernel, width, plane, height_out, width_out, plane_out, taps;
} convolution;

MP_INLINE convolution sizes_of(const mp_layer *layer) {
  int64_t k = layer->kernel;
  return (convolution){layer->in[0],
                       layer->out[0],
                       k,
                       layer->in[2],
                       layer->in[1] * layer->in[2],
                       layer->out[1],
                       layer->out[2],
                       layer->out[1] * layer->out[2],
                       layer->in[0] * k * k};
}

/* A weight of a unit, and how far its input lies behind that of the first; counted on, for divisions cost more than the
 * multiply-adds between two of them. */
typedef struct {
  int64_t tap, offset, line, column;
} cursor;

/* The next weight; the last stays the last. */
MP_INLINE void advance(const convolution *s, cursor *c) {
  if (c->tap + 1 == s->taps) return;
  c->tap++, c->offset++;
  if (++c->column < s->kernel) return;
  c->column = 0, c->offset += s->width - s->kernel;
  if (++c->line < s->kernel) return;
  c->line = 0, c->offset += s->plane - s->kernel * s->width;
}
MP_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Stores the first n numbers of AT_ONCE vectors, n a multiple of HALF; `add`: adds them to what is there. */
MP_INLINE void store_vectors(real *p, int64_t n, int add, const group *vectors) {
  for (int j = 0; j < AT_ONCE && n > 0; j++, p += GROUP, n -= GROUP) {
    group v = vectors[j];
    if (n >= GROUP) store_group(p, add ? load_group(p) + v : v);
    else store_some(p, HALF, add ? load_some(p, HALF) + v : v);
  }
}

/* Both kinds of groups, each with its loops. */
#define FOR_LANES(lanes, function, ...)                    \
  if ((lanes) == GROUP) function##_of(GROUP, __VA_ARGS__); \
  else function##_of(HALF, __VA_ARGS__)

MP_INLINE void convolve_of(int64_t lanes, const mp_layer *layer, const real *weight, const real *bias, int add,
                           const real *in, real *out) {
  const convolution s = sizes_of(layer);
  const int64_t step = AT_ONCE * GROUP / lanes;
  for (int64_t y = 0; y < s.height_out; y++)
    for (int64_t x = 0; x < s.width_out; x += step)
      for (int64_t first = 0; first < s.units; first += UNITS) {
        int64_t count = least(s.width_out - x, step) * lanes;
        const real *weights[UNITS], *corner = in + (y * s.width + x) * lanes;
        real *to[UNITS];
        group sums[UNITS][AT_ONCE];
        for (int i = 0; i < UNITS; i++) { /* places behind the last unit do its work again */
          int64_t unit = least(first + i, s.units - 1);
          weights[i] = weight + unit * s.taps;
          to[i] = out + (unit * s.plane_out + y * s.width_out + x) * lanes;
          for (int j = 0; j < AT_ONCE; j++) sums[i][j] = splat_group(bias ? bias[unit] : 0);
        }
        int64_t tap = 0;
        for (int64_t c = 0; c < s.channels; c++)
          for (int64_t line = 0; line < s.kernel; line++) {
            const real *at = corner + (c * s.plane + line * s.width) * lanes;
            for (int64_t k = 0; k < s.kernel; k++, tap++, at += lanes) {
              group values[AT_ONCE];
              for (int j = 0; j < AT_ONCE; j++) values[j] = load_group(at + j * GROUP);
              for (int i = 0; i < UNITS; i++)
                for (int j = 0; j < AT_ONCE; j++) sums[i][j] += weights[i][tap] * values[j];
            }
          }
        for (int i = 0; i < UNITS && first + i < s.units; i++) store_vectors(to[i], count, add, sums[i]);
      }
}

/* out [units][plane out] = (or += where `add`) the convolution of in [channels][plane], and a unit's bias where there is one */
static MP_CLONES void convolve(int64_t lanes, const mp_layer *layer, const real *weight, const real *bias, int add,
                               const real *in, real *out) {
  FOR_LANES(lanes, convolve, layer, weight, bias, add, in, out);
}

MP_INLINE void convolve_back_of(int64_t lanes, const mp_layer *layer, const real *weight, const real *delta, int add,
                                real *tile, real *back) {
  const convolution s = sizes_of(layer);
  const int64_t step = AT_ONCE * GROUP / lanes;
  if (!add) memset(back, 0, (size_t)(s.channels * s.plane * lanes) * sizeof *back);
  for (int64_t y = 0; y < s.height_out; y++)
    for (int64_t x = 0; x < s.width_out; x += step) {
      int64_t count = least(s.width_out - x, step) * lanes;
      const real *from = delta + (y * s.width_out + x) * lanes;
      for (int64_t u = 0; u < s.units; u++, from += s.plane_out * lanes)
        memcpy(tile + u * AT_ONCE * GROUP, from, (size_t)count * sizeof *tile);
      cursor next = {0};
      for (int64_t first = 0; first < s.taps; first += UNITS) {
        group sums[UNITS][AT_ONCE] = {0};
        int64_t taps[UNITS], offsets[UNITS];
        for (int i = 0; i < UNITS; i++, advance(&s, &next)) taps[i] = next.tap, offsets[i] = next.offset;
        const real *at = tile, *row = weight;
        for (int64_t u = 0; u < s.units; u++, at += AT_ONCE * GROUP, row += s.taps) {
          group values[AT_ONCE];
          for (int j = 0; j < AT_ONCE; j++) values[j] = load_group(at + j * GROUP);
          for (int i = 0; i < UNITS; i++)
            for (int j = 0; j < AT_ONCE; j++) sums[i][j] += row[taps[i]] * values[j];
        }
        for (int i = 0; i < UNITS && first + i < s.taps; i++)
          store_vectors(back + (offsets[i] + y * s.width + x) * lanes, count, 1, sums[i]);
      }
    }
}

/* The transpose: back [channels][plane] = (or += where `add`) what delta [units][plane out] makes of them; `tile`:
 * [units][AT_ONCE] vectors. */
static MP_CLONES void convolve_back(int64_t lanes, const mp_layer *layer, const real *weight, const real *delta,
                                    int add, real *tile, real *back) {
  FOR_LANES(lanes, convolve_back, layer, weight, delta, add, tile, back);
}

/* sums += products of slopes and inputs at one vector's points, or the first n numbers of it */
MP_INLINE void add_products(const real *const *deltas, const real *const *inputs, int64_t point, int64_t at, int64_t n,
                            group (*sums)[AT_ONCE]) {
  group slopes[UNITS];
  for (int i = 0; i < UNITS; i++) slopes[i] = load_some(deltas[i] + point, n);
  for (int j = 0; j < AT_ONCE; j++) {
    group value = load_some(inputs[j] + at, n);
    for (int i = 0; i < UNITS; i++) sums[i][j] += slopes[i] * value;
  }
}

MP_INLINE void convolve_gradient_of(int64_t lanes, const mp_layer *layer, const real *delta, const real *in,
                                    real *gradient) {
  const convolution s = sizes_of(layer);
  const int64_t line = s.width_out * lanes, whole = line / GROUP * GROUP;
  for (int64_t first = 0; first < s.units; first += UNITS) {
    cursor next = {0};
    for (int64_t tap = 0; tap < s.taps; tap += AT_ONCE) {
      const real *deltas[UNITS], *inputs[AT_ONCE];
      group sums[UNITS][AT_ONCE] = {0};
      for (int i = 0; i < UNITS; i++) deltas[i] = delta + least(first + i, s.units - 1) * s.plane_out * lanes;
      for (int j = 0; j < AT_ONCE; j++, advance(&s, &next)) inputs[j] = in + next.offset * lanes;
      for (int64_t y = 0, at = 0, point = 0; y < s.height_out; y++, at += s.width * lanes, point += line) {
        for (int64_t i = 0; i < whole; i += GROUP) add_products(deltas, inputs, point + i, at + i, GROUP, sums);
        if (whole < line) add_products(deltas, inputs, point + whole, at + whole, HALF, sums);
      }
      for (int i = 0; i < UNITS && first + i < s.units; i++)
        for (int j = 0; j < AT_ONCE && tap + j < s.taps; j++)
          gradient[(first + i) * s.taps + tap + j] += fold_group(sums[i][j]);
    }
  }
}

/* gradient [units][taps] += sums of delta times the inputs over points and lanes */
static MP_CLONES void convolve_gradient(int64_t lanes, const mp_layer *layer, const real *delta, const real *in,
                                        real *gradient) {
  FOR_LANES(lanes, convolve_gradient, layer, delta, in, gradient);
}

/* sums [units] += sums of delta [units][size], size a multiple of HALF */
static MP_CLONES void sum_planes(int64_t units, int64_t size, const real *delta, real *sums) {
  for (int64_t u = 0; u < units; u++, delta += size) {
    group sum = {0};
    for (int64_t i = 0; i < size; i += GROUP)
      sum += size - i < GROUP ? load_some(delta + i, HALF) : load_group(delta + i);
    sums[u] += fold_group(sum);
  }
}

MP_INLINE void pool_of(int64_t lanes, const mp_layer *layer, const real *in, real *out, integer *winners) {
  int64_t k = layer->kernel, width = layer->in[2], plane = layer->in[1] * width;
  for (int64_t c = 0; c < layer->in[0]; c++, in += plane * lanes)
    for (int64_t y = 0; y < layer->out[1]; y++)
      for (int64_t x = 0; x < layer->out[2]; x++, out += lanes, winners += lanes) {
        int64_t corner = (y * width + x) * k;
        group best = load_some(in + corner * lanes, lanes);
        group_integers place = (integer)corner - (group_integers){0};
        for (int64_t i = 0; i < k; i++)
          for (int64_t j = 0; j < k; j++) {
            int64_t at = corner + i * width + j;
            group value = load_some(in + at * lanes, lanes);
            group_integers larger = (value > best) | (value != value);
            best = choose(larger, value, best);
            place = (place & ~larger) | (((integer)at - (group_integers){0}) & larger);
          }
        store_some(out, lanes, best);
        memcpy(winners, &place, (size_t)lanes * sizeof *winners);
      }
}

/* out [channels][plane out] = the largest of each window; winners: where it stood in its plane, the first of equals. */
static MP_CLONES void pool(int64_t lanes, const mp_layer *layer, const real *in, real *out, integer *winners) {
  FOR_LANES(lanes, pool, layer, in, out, winners);
}

/* out [channels][plane out] = the winners' elements of images that move along */
static MP_CLONES void pick_winners(int64_t lanes, const mp_layer *layer, const real *in, const integer *winners,
                                   real *out) {
  int64_t plane = layer->in[1] * layer->in[2], plane_out = layer->out[1] * layer->out[2];
  for (int64_t c = 0; c < layer->in[0]; c++, in += plane * lanes)
    for (int64_t i = 0; i < plane_out * lanes; i++) *out++ = in[*winners++ * lanes + i % lanes];
}

MP_INLINE void spread_winners_of(int64_t lanes, const mp_layer *layer, const real *delta, const integer *winners,
                                 real *images) {
  int64_t k = layer->kernel, width = layer->in[2], plane = layer->in[1] * width;
  if (k * layer->out[1] != layer->in[1] || k * layer->out[2] != width) /* edges that no window covers */
    memset(images, 0, (size_t)(layer->in[0] * plane * lanes) * sizeof *images);
  for (int64_t c = 0; c < layer->in[0]; c++, images += plane * lanes)
    for (int64_t y = 0; y < layer->out[1]; y++)
      for (int64_t x = 0; x < layer->out[2]; x++, delta += lanes, winners += lanes) {
        group slope = load_some(delta, lanes);
        group_integers place = {0};
        memcpy(&place, winners, (size_t)lanes * sizeof *winners);
        for (int64_t i = 0; i < k; i++)
          for (int64_t j = 0; j < k; j++) {
            int64_t at = (y * k + i) * width + x * k + j;
            store_some(images + at * lanes, lanes, choose(place == (integer)at, slope, (group){0}));
          }
      }
}

/* The transpose: images [channels][plane] = delta at the winners, 0 elsewhere. */
static MP_CLONES void spread_winners(int64_t lanes, const mp_layer *layer, const real *delta, const integer *winners,
                                     real *images) {
  FOR_LANES(lanes, spread_winners, layer, delta, winners, images);
}

/* Images [features][lanes] of rows first .. first + lanes - 1 of n; lanes behind the last row repeat it, or hold zeros. */
static MP_CLONES void rows_to_images(int64_t lanes, int64_t n_features, int64_t first, int64_t n, int zeros,
                                     const real *rows, real *images) {
  for (int lane = 0; lane < lanes; lane++) {
    const real *row = rows + least(first + lane, n - 1) * n_features;
    if (zeros && first + lane >= n)
      for (int64_t i = 0; i < n_features; i++) images[i * lanes + lane] = 0;
    else
      for (int64_t i = 0; i < n_features; i++) images[i * lanes + lane] = row[i];
  }
}

/* The same rows of images. */
static MP_CLONES void images_to_rows(int64_t lanes, int64_t n_features, int64_t first, int64_t n, const real *images,
                                     real *rows) {
  for (int lane = 0; lane < lanes && first + lane < n; lane++) {
    real *row = rows + (first + lane) * n_features;
    for (int64_t i = 0; i < n_features; i++) row[i] = images[i * lanes + lane];
  }
}

#endif
