/* Images for the BLAS engine: windows of a convolution laid out as the columns of a matrix, and max pooling.
 *
 * Images lie as planes of height x width; `channel` and `row` are the distances from a plane to that of the next channel and of
 * the next row of data. Data come row by row; what convolutions and pooling write lies channel by channel, so that a channel of
 * all rows is one row of a matrix product. */
#ifndef MICROPOLIS_WINDOWS_H
#define MICROPOLIS_WINDOWS_H

#include "neural/reals.h"

typedef struct {
  int64_t channel, row;
} plane_strides;

/* columns [channels][kernel][kernel][n][out height][out width] */
static MP_CLONES void gather_windows(const mp_layer *layer, int64_t n, const real *images, plane_strides stride,
                                     real *columns) {
  int64_t k = layer->kernel, width = layer->in[2], height_out = layer->out[1], width_out = layer->out[2];
  int64_t line = n * height_out * width_out;
  for (int64_t c = 0; c < layer->in[0]; c++)
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = 0; j < k; j++, columns += line) {
        real *out = columns;
        for (int64_t r = 0; r < n; r++) {
          const real *in = images + c * stride.channel + r * stride.row + i * width + j;
          for (int64_t y = 0; y < height_out; y++, in += width, out += width_out)
            for (int64_t x = 0; x < width_out; x++) out[x] = in[x];
        }
      }
}

/* The transpose: images [channels][n][height][width] = the sum of what their elements are in columns. */
static MP_CLONES void scatter_windows(const mp_layer *layer, int64_t n, const real *columns, real *images) {
  int64_t k = layer->kernel, width = layer->in[2], height_out = layer->out[1], width_out = layer->out[2];
  int64_t plane = layer->in[1] * width, line = n * height_out * width_out;
  memset(images, 0, (size_t)(layer->in[0] * n * plane) * sizeof *images);
  for (int64_t c = 0; c < layer->in[0]; c++, images += n * plane)
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = 0; j < k; j++, columns += line) {
        const real *in = columns;
        for (int64_t r = 0; r < n; r++) {
          real *out = images + r * plane + i * width + j;
          for (int64_t y = 0; y < height_out; y++, out += width, in += width_out)
            for (int64_t x = 0; x < width_out; x++) out[x] += in[x];
        }
      }
}

typedef real four __attribute__((vector_size(4 * sizeof(real))));
typedef integer four_integers __attribute__((vector_size(4 * sizeof(real))));
typedef int32_t four_places __attribute__((vector_size(16)));

MP_INLINE four load_four(const real *p) {
  four v;
  memcpy(&v, p, sizeof v);
  return v;
}
MP_INLINE four_integers choose(four_integers mask, four_integers yes, four_integers no) {
  return (yes & mask) | (no & ~mask);
}

/* A line of windows of side 2, four at a time; how many it did. */
MP_INLINE int64_t pool_pairs(int64_t width, int64_t width_out, int32_t corner, const real *plane, real shift, real *out,
                             int32_t *winners) {
  const real *upper = plane + corner, *lower = upper + width;
  const four_integers even = {0, 2, 4, 6}, odd = {1, 3, 5, 7};
  int64_t x = 0;
  for (; x + 4 <= width_out; x += 4) {
    four u = load_four(upper + 2 * x), v = load_four(upper + 2 * x + 4), w = load_four(lower + 2 * x),
         z = load_four(lower + 2 * x + 4);
    four a = __builtin_shuffle(u, v, even), b = __builtin_shuffle(u, v, odd);
    four c = __builtin_shuffle(w, z, even), d = __builtin_shuffle(w, z, odd);
    four_integers right = b > a, right_below = d > c, at = even + (integer)(corner + 2 * x); /* a mask is -1 or 0 */
    four first = (four)choose(right, (four_integers)b, (four_integers)a);
    four second = (four)choose(right_below, (four_integers)d, (four_integers)c);
    four_integers below = second > first, place = choose(below, at + (integer)width - right_below, at - right);
    four largest = (four)choose(below, (four_integers)second, (four_integers)first) + shift;
    four_places places = __builtin_convertvector(place, four_places);
    memcpy(out + x, &largest, sizeof largest);
    memcpy(winners + x, &places, sizeof places);
  }
  return x;
}

/* out [channels][n][plane] = the largest of each window (plus the channel's bias, or NULL); winners: where it stood in its
 * plane, the first of equals. */
static MP_CLONES void pool_windows(const mp_layer *layer, int64_t n, const real *images, plane_strides stride,
                                   const real *bias, real *out, int32_t *winners) {
  int64_t k = layer->kernel, width = layer->in[2], height_out = layer->out[1], width_out = layer->out[2];
  for (int64_t c = 0; c < layer->in[0]; c++)
    for (int64_t r = 0; r < n; r++) {
      const real *plane = images + c * stride.channel + r * stride.row;
      real shift = bias ? bias[c] : 0;
      for (int64_t y = 0; y < height_out; y++, out += width_out, winners += width_out) {
        int32_t corner = (int32_t)(y * k * width);
        int64_t x = k == 2 ? pool_pairs(width, width_out, corner, plane, shift, out, winners) : 0;
        for (; x < width_out; x++) {
          int32_t best = corner + (int32_t)(x * k);
          for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < k; j++) {
              int32_t at = corner + (int32_t)(x * k + i * width + j);
              if (plane[at] > plane[best]) best = at;
            }
          out[x] = plane[best] + shift;
          winners[x] = best;
        }
      }
    }
}

/* out [channels][n][plane out] = the winners' elements of images that move along */
static void pick_winners(const mp_layer *layer, int64_t n, const real *images, plane_strides stride,
                         const int32_t *winners, real *out) {
  int64_t plane_out = layer->out[1] * layer->out[2];
  for (int64_t c = 0; c < layer->in[0]; c++)
    for (int64_t r = 0; r < n; r++, out += plane_out, winners += plane_out)
      for (int64_t i = 0; i < plane_out; i++) out[i] = images[c * stride.channel + r * stride.row + winners[i]];
}

/* The transpose: images [channels][n][plane] = delta at the winners, 0 elsewhere. */
static void spread_winners(const mp_layer *layer, int64_t n, const real *delta, const int32_t *winners, real *images) {
  int64_t plane = layer->in[1] * layer->in[2], plane_out = layer->out[1] * layer->out[2];
  memset(images, 0, (size_t)(layer->in[0] * n * plane) * sizeof *images);
  for (int64_t image = 0; image < layer->in[0] * n; image++, images += plane, delta += plane_out, winners += plane_out)
    for (int64_t i = 0; i < plane_out; i++) images[winners[i]] = delta[i];
}

/* rows [n][channels][plane] from planes [channels][n][plane], and back */
static void planes_to_rows(int64_t n, int64_t channels, int64_t plane, const real *planes, real *rows) {
  for (int64_t c = 0; c < channels; c++)
    for (int64_t r = 0; r < n; r++, planes += plane)
      memcpy(rows + (r * channels + c) * plane, planes, (size_t)plane * sizeof *rows);
}
static void rows_to_planes(int64_t n, int64_t channels, int64_t plane, const real *rows, real *planes) {
  for (int64_t c = 0; c < channels; c++)
    for (int64_t r = 0; r < n; r++, planes += plane)
      memcpy(planes, rows + (r * channels + c) * plane, (size_t)plane * sizeof *rows);
}

#endif
