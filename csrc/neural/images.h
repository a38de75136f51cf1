/* Convolution and pooling for the BLAS engine, a group of images side by side in the SIMD lanes: no matrix of windows.
 *
 * A group of GROUP images is an array [channels][height][width][GROUP], lanes behind the last image repeat it. A convolution
 * is then multiply-adds of broadcast weights and whole vectors at any offset, UNITS x POINTS of them at a time in registers:
 * 12 sums hide the latency of the multiply-add, and with 3 + 4 loads for 12 of them the multiply-adds set the pace. Vectors have
 * 256 bits everywhere: few images are left over in a group, and machines with wider ones start two of these a cycle.
 *
 * A tile at the edge of a plane reads up to POINTS - 1 vectors behind it and drops what comes of them: behind every group
 * there must be that much memory. */
#ifndef MICROPOLIS_IMAGES_H
#define MICROPOLIS_IMAGES_H

#include "neural/reals.h"

typedef real group __attribute__((vector_size(32)));
typedef integer group_integers __attribute__((vector_size(32)));
typedef real half_group __attribute__((vector_size(16)));
enum { GROUP = sizeof(group) / sizeof(real), UNITS = 3, POINTS = 4 };

MP_INLINE group load_group(const real *p) {
  group v;
  memcpy(&v, p, sizeof v);
  return v;
}
MP_INLINE void store_group(real *p, group v) { memcpy(p, &v, sizeof v); }
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

/* out [units][plane out] = (or += where `add`) the convolution of in [channels][plane], and a unit's bias where there is one */
static MP_CLONES void convolve(const mp_layer *layer, const real *weight, const real *bias, int add, const real *in,
                               real *out) {
  const convolution s = sizes_of(layer);
  for (int64_t y = 0; y < s.height_out; y++)
    for (int64_t x = 0; x < s.width_out; x += POINTS)
      for (int64_t first = 0; first < s.units; first += UNITS) {
        int64_t count = least(s.width_out - x, POINTS);
        const real *weights[UNITS], *corner = in + (y * s.width + x) * GROUP;
        real *to[UNITS];
        group sums[UNITS][POINTS];
        for (int i = 0; i < UNITS; i++) { /* places behind the last unit do its work again */
          int64_t unit = least(first + i, s.units - 1);
          weights[i] = weight + unit * s.taps;
          to[i] = out + (unit * s.plane_out + y * s.width_out + x) * GROUP;
          for (int j = 0; j < POINTS; j++) sums[i][j] = splat_group(bias ? bias[unit] : 0);
        }
        int64_t tap = 0;
        for (int64_t c = 0; c < s.channels; c++)
          for (int64_t line = 0; line < s.kernel; line++) {
            const real *at = corner + (c * s.plane + line * s.width) * GROUP;
            for (int64_t k = 0; k < s.kernel; k++, tap++, at += GROUP) {
              group values[POINTS];
              for (int j = 0; j < POINTS; j++) values[j] = load_group(at + j * GROUP);
              for (int i = 0; i < UNITS; i++)
                for (int j = 0; j < POINTS; j++) sums[i][j] += weights[i][tap] * values[j];
            }
          }
        if (add)
          for (int i = 0; i < UNITS && first + i < s.units; i++)
            for (int64_t j = 0; j < count; j++)
              store_group(to[i] + j * GROUP, load_group(to[i] + j * GROUP) + sums[i][j]);
        else if (count == POINTS)
          for (int i = 0; i < UNITS; i++)
            for (int j = 0; j < POINTS; j++) store_group(to[i] + j * GROUP, sums[i][j]);
        else
          for (int i = 0; i < UNITS; i++)
            for (int64_t j = 0; j < count; j++) store_group(to[i] + j * GROUP, sums[i][j]);
      }
}

/* The transpose: back [channels][plane] = (or += where `add`) what delta [units][plane out] makes of them; `tile`:
 * [units][POINTS] vectors. */
static MP_CLONES void convolve_back(const mp_layer *layer, const real *weight, const real *delta, int add, real *tile,
                                    real *back) {
  const convolution s = sizes_of(layer);
  if (!add) memset(back, 0, (size_t)(s.channels * s.plane * GROUP) * sizeof *back);
  for (int64_t y = 0; y < s.height_out; y++)
    for (int64_t x = 0; x < s.width_out; x += POINTS) {
      int64_t count = least(s.width_out - x, POINTS);
      const real *from = delta + (y * s.width_out + x) * GROUP;
      for (int64_t u = 0; u < s.units; u++, from += s.plane_out * GROUP)
        memcpy(tile + u * POINTS * GROUP, from, (size_t)(count * GROUP) * sizeof *tile);
      cursor next = {0};
      for (int64_t first = 0; first < s.taps; first += UNITS) {
        group sums[UNITS][POINTS] = {0};
        int64_t taps[UNITS], offsets[UNITS];
        for (int i = 0; i < UNITS; i++, advance(&s, &next)) taps[i] = next.tap, offsets[i] = next.offset;
        const real *at = tile, *row = weight;
        for (int64_t u = 0; u < s.units; u++, at += POINTS * GROUP, row += s.taps) {
          group values[POINTS];
          for (int j = 0; j < POINTS; j++) values[j] = load_group(at + j * GROUP);
          for (int i = 0; i < UNITS; i++)
            for (int j = 0; j < POINTS; j++) sums[i][j] += row[taps[i]] * values[j];
        }
        for (int i = 0; i < UNITS && first + i < s.taps; i++) {
          real *to = back + (offsets[i] + y * s.width + x) * GROUP;
          for (int64_t j = 0; j < count; j++) store_group(to + j * GROUP, load_group(to + j * GROUP) + sums[i][j]);
        }
      }
    }
}

/* gradient [units][taps] += sums of delta times the inputs, bias (or NULL) [units] += sums of delta, over points and lanes */
static MP_CLONES void convolve_gradient(const mp_layer *layer, const real *delta, const real *in, real *gradient,
                                        real *bias) {
  const convolution s = sizes_of(layer);
  for (int64_t first = 0; first < s.units; first += UNITS) {
    cursor next = {0};
    for (int64_t tap = 0; tap < s.taps; tap += POINTS) {
      const real *deltas[UNITS], *inputs[POINTS];
      group sums[UNITS][POINTS] = {0};
      for (int i = 0; i < UNITS; i++) deltas[i] = delta + least(first + i, s.units - 1) * s.plane_out * GROUP;
      for (int j = 0; j < POINTS; j++, advance(&s, &next)) inputs[j] = in + next.offset * GROUP;
      int64_t at = 0, point = 0;
      for (int64_t y = 0; y < s.height_out; y++, at += (s.width - s.width_out) * GROUP)
        for (int64_t x = 0; x < s.width_out; x++, at += GROUP, point += GROUP) {
          group slopes[UNITS];
          for (int i = 0; i < UNITS; i++) slopes[i] = load_group(deltas[i] + point);
          for (int j = 0; j < POINTS; j++) {
            group value = load_group(inputs[j] + at);
            for (int i = 0; i < UNITS; i++) sums[i][j] += slopes[i] * value;
          }
        }
      for (int i = 0; i < UNITS && first + i < s.units; i++)
        for (int j = 0; j < POINTS && tap + j < s.taps; j++)
          gradient[(first + i) * s.taps + tap + j] += fold_group(sums[i][j]);
    }
  }
  for (int64_t u = 0; bias && u < s.units; u++, delta += s.plane_out * GROUP) {
    group sum = {0};
    for (int64_t i = 0; i < s.plane_out; i++) sum += load_group(delta + i * GROUP);
    bias[u] += fold_group(sum);
  }
}

/* out [channels][plane out] = the largest of each window; winners: where it stood in its plane, the first of equals. */
static MP_CLONES void pool(const mp_layer *layer, const real *in, real *out, integer *winners) {
  int64_t k = layer->kernel, width = layer->in[2], plane = layer->in[1] * width;
  for (int64_t c = 0; c < layer->in[0]; c++, in += plane * GROUP)
    for (int64_t y = 0; y < layer->out[1]; y++)
      for (int64_t x = 0; x < layer->out[2]; x++, out += GROUP, winners += GROUP) {
        int64_t corner = (y * width + x) * k;
        group best = load_group(in + corner * GROUP);
        group_integers place = (integer)corner - (group_integers){0};
        for (int64_t i = 0; i < k; i++)
          for (int64_t j = 0; j < k; j++) {
            int64_t at = corner + i * width + j;
            group value = load_group(in + at * GROUP);
            group_integers larger = (value > best) | (value != value);
            best = choose(larger, value, best);
            place = (place & ~larger) | (((integer)at - (group_integers){0}) & larger);
          }
        store_group(out, best);
        memcpy(winners, &place, sizeof place);
      }
}

/* out [channels][plane out] = the winners' elements of images that move along */
static MP_CLONES void pick_winners(const mp_layer *layer, const real *in, const integer *winners, real *out) {
  int64_t plane = layer->in[1] * layer->in[2], plane_out = layer->out[1] * layer->out[2];
  for (int64_t c = 0; c < layer->in[0]; c++, in += plane * GROUP)
    for (int64_t i = 0; i < plane_out * GROUP; i++) *out++ = in[*winners++ * GROUP + i % GROUP];
}

/* The transpose: images [channels][plane] = delta at the winners, 0 elsewhere. */
static MP_CLONES void spread_winners(const mp_layer *layer, const real *delta, const integer *winners, real *images) {
  int64_t k = layer->kernel, width = layer->in[2], plane = layer->in[1] * width;
  if (k * layer->out[1] != layer->in[1] || k * layer->out[2] != width) /* edges that no window covers */
    memset(images, 0, (size_t)(layer->in[0] * plane * GROUP) * sizeof *images);
  for (int64_t c = 0; c < layer->in[0]; c++, images += plane * GROUP)
    for (int64_t y = 0; y < layer->out[1]; y++)
      for (int64_t x = 0; x < layer->out[2]; x++, delta += GROUP, winners += GROUP) {
        group slope = load_group(delta);
        group_integers place;
        memcpy(&place, winners, sizeof place);
        for (int64_t i = 0; i < k; i++)
          for (int64_t j = 0; j < k; j++) {
            int64_t at = (y * k + i) * width + x * k + j;
            store_group(images + at * GROUP, choose(place == (integer)at, slope, (group){0}));
          }
      }
}

/* Images [features][GROUP] of rows first .. first + GROUP - 1 of n; lanes behind the last row repeat it, or hold zeros. */
static MP_CLONES void rows_to_images(int64_t n_features, int64_t first, int64_t n, int zeros, const real *rows,
                                     real *images) {
  for (int lane = 0; lane < GROUP; lane++) {
    const real *row = rows + least(first + lane, n - 1) * n_features;
    if (zeros && first + lane >= n)
      for (int64_t i = 0; i < n_features; i++) images[i * GROUP + lane] = 0;
    else
      for (int64_t i = 0; i < n_features; i++) images[i * GROUP + lane] = row[i];
  }
}

/* The same rows of images. */
static MP_CLONES void images_to_rows(int64_t n_features, int64_t first, int64_t n, const real *images, real *rows) {
  for (int lane = 0; lane < GROUP && first + lane < n; lane++) {
    real *row = rows + (first + lane) * n_features;
    for (int64_t i = 0; i < n_features; i++) row[i] = images[i * GROUP + lane];
  }
}

#endif
