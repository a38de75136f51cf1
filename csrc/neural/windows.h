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
        if (k == 2) { /* by selections alone, which the compiler makes vectors of */
          const real *upper = plane + corner, *lower = upper + width;
          for (int64_t x = 0; x < width_out; x++) {
            real a = upper[2 * x], b = upper[2 * x + 1], c0 = lower[2 * x], d = lower[2 * x + 1];
            int32_t at = corner + 2 * (int32_t)x;
            real first = b > a ? b : a, second = d > c0 ? d : c0;
            int32_t at_first = b > a ? at + 1 : at, at_second = at + (int32_t)width + (d > c0 ? 1 : 0);
            out[x] = (second > first ? second : first) + shift;
            winners[x] = second > first ? at_second : at_first;
          }
          continue;
        }
        for (int64_t x = 0; x < width_out; x++) {
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
