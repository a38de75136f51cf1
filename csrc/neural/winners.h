/* The gradient of a convolution that max pooling follows: the winners of the windows pooled are all that has a slope.
 *
 * A pool of side 2 leaves one product in four, ReLU about half of these. Winners differ from image to image, so here is one
 * image at a time, and the channels lie in the SIMD lanes: pixels [height][width][channels], channels filled up with zeros to
 * whole vectors where there is one vector of them or more. The inputs of one output, its window, are then a few runs of
 * vectors. The weights of a unit are laid out like a window, [kernel][whole vectors of (kernel, channels)], and
 *
 *   by unit    gradient of its weights = sum over its winners   of slope x window at the winner
 *   by place   slopes by the window    = sum over winners there of slope x weights of the unit
 *
 * with up to MOST_VECTORS vectors of the left side in registers: a load for each multiply-add, of which these machines start
 * equally many in a cycle. Where a layer before has overflown, 0 x inf is left out with the other zeros. */
#ifndef MICROPOLIS_WINNERS_H
#define MICROPOLIS_WINNERS_H

#include "neural/images.h"

enum { MOST_VECTORS = 8, LONG_SUM = 128 }; /* LONG_SUM: see add_winners */

/* What a convolution's window is made of. */
typedef struct {
  convolution sizes;
  int64_t pixel, line, vectors; /* numbers of a pixel, vectors of a line of a window and of all its lines */
} window;

MP_INLINE window window_of(const mp_layer *layer) {
  convolution s = sizes_of(layer);
  int64_t pixel = s.channels < GROUP ? s.channels : (s.channels + GROUP - 1) / GROUP * GROUP;
  int64_t line = (s.kernel * pixel + GROUP - 1) / GROUP;
  return (window){s, pixel, line, s.kernel * line};
}
/* Numbers of an image's pixels; the last line of the last window ends in the vector behind them. */
MP_INLINE int64_t pixels_size(const window *w) { return w->sizes.plane * w->pixel + GROUP; }
MP_INLINE int64_t laid_out_size(const window *w) { return w->sizes.units * w->vectors * GROUP; }

/* A slope, and what belongs to it: the place of a window in its image, or a unit. */
typedef struct {
  integer at;
  real slope;
} winner;

/* Weights [units][channels][kernel][kernel] as windows. */
static void lay_out(const window *w, const real *weights, real *laid_out) {
  const convolution *s = &w->sizes;
  memset(laid_out, 0, (size_t)laid_out_size(w) * sizeof *laid_out);
  for (int64_t u = 0; u < s->units; u++, laid_out += w->vectors * GROUP)
    for (int64_t c = 0; c < s->channels; c++)
      for (int64_t y = 0; y < s->kernel; y++)
        for (int64_t x = 0; x < s->kernel; x++) laid_out[y * w->line * GROUP + x * w->pixel + c] = *weights++;
}

/* totals += sums, and these begin again */
static MP_CLONES void collect_sums(int64_t n, real *sums, real *totals) {
  for (int64_t i = 0; i < n; i++) totals[i] += sums[i];
  memset(sums, 0, (size_t)n * sizeof *sums);
}

/* gradient [units][channels][kernel][kernel] += sums, which are laid out as windows */
static void add_laid_out(const window *w, const real *sums, real *gradient) {
  const convolution *s = &w->sizes;
  for (int64_t u = 0; u < s->units; u++, sums += w->vectors * GROUP)
    for (int64_t c = 0; c < s->channels; c++)
      for (int64_t y = 0; y < s->kernel; y++)
        for (int64_t x = 0; x < s->kernel; x++) *gradient++ += sums[y * w->line * GROUP + x * w->pixel + c];
}

/* Images [channels][plane][lanes] as pixels, one image behind the other, and back. */
static MP_CLONES void images_to_pixels(const window *w, int64_t lanes, const real *images, real *pixels) {
  int64_t plane = w->sizes.plane, size = pixels_size(w);
  for (int64_t i = 0; i < plane; i++)
    for (int64_t c = 0; c < w->sizes.channels; c++)
      for (int64_t lane = 0; lane < lanes; lane++)
        pixels[lane * size + i * w->pixel + c] = images[(c * plane + i) * lanes + lane];
}
static MP_CLONES void pixels_to_images(const window *w, int64_t lanes, const real *pixels, real *images) {
  int64_t plane = w->sizes.plane, size = pixels_size(w);
  for (int64_t i = 0; i < plane; i++)
    for (int64_t c = 0; c < w->sizes.channels; c++)
      for (int64_t lane = 0; lane < lanes; lane++)
        images[(c * plane + i) * lanes + lane] = pixels[lane * size + i * w->pixel + c];
}

/* Lists an image's winners that have a slope, unit by unit: those of unit u end before ends[u]. corners: the place in the
 * input for each of the output. */
static MP_CLONES void list_winners(int64_t units, int64_t windows, int64_t lanes, const real *slopes,
                                   const integer *winners, const integer *corners, winner *list, int64_t *ends) {
  int64_t n = 0;
  for (int64_t u = 0; u < units; u++) {
    for (int64_t i = 0; i < windows; i++, slopes += lanes, winners += lanes) {
      list[n] = (winner){corners[*winners], *slopes};
      n += *slopes != 0;
    }
    ends[u] = n;
  }
}

/* The same by place; those of place p end before ends[p]. */
static void sort_winners(int64_t units, int64_t plane, const winner *list, const int64_t *unit_ends, winner *sorted,
                         int64_t *ends) {
  memset(ends, 0, (size_t)plane * sizeof *ends);
  int64_t n = unit_ends[units - 1], sum = 0;
  for (int64_t i = 0; i < n; i++) ends[list[i].at]++;
  for (int64_t p = 0; p < plane; p++) {
    int64_t count = ends[p];
    ends[p] = sum;
    sum += count;
  }
  for (int64_t u = 0, i = 0; u < units; u++)
    for (; i < unit_ends[u]; i++) sorted[ends[list[i].at]++] = (winner){(integer)u, list[i].slope};
}

/* sums[n] += slope x n of the vectors of the window at each winner */
MP_INLINE void sum_vectors(int n, const real *pixels, int64_t pixel, const int64_t *offsets, const winner *list,
                           const winner *end, real *to) {
  group sums[MOST_VECTORS];
  const char *vectors[MOST_VECTORS]; /* as if the window stood at place 0; one number of bytes moves all of them */
  for (int j = 0; j < n; j++) sums[j] = load_group(to + j * GROUP), vectors[j] = (const char *)(pixels + offsets[j]);
  for (; list < end; list++) {
    int64_t bytes = list->at * pixel * (int64_t)sizeof(real);
    for (int j = 0; j < n; j++) sums[j] += list->slope * load_group((const real *)(vectors[j] + bytes));
  }
  for (int j = 0; j < n; j++) store_group(to + j * GROUP, sums[j]);
}

/* n vectors of the window at one place += slope x those of the unit's weights for each winner there. In a
 * narrow image the zeros that fill up a line may reach into the next: offsets ascend, so that one is stored later. */
MP_INLINE void spread_vectors(int n, const real *weights, int64_t stride, const int64_t *offsets, const winner *list,
                              const winner *end, real *corner) {
  group sums[MOST_VECTORS];
  for (int j = 0; j < n; j++) sums[j] = load_group(corner + offsets[j]);
  for (; list < end; list++) {
    const real *row = weights + list->at * stride;
    for (int j = 0; j < n; j++) sums[j] += list->slope * load_group(row + j * GROUP);
  }
  for (int j = 0; j < n; j++) store_group(corner + offsets[j], sums[j]);
}

/* A loop for each number of vectors, so that they stay in registers. */
#define FOR_VECTORS(n, function, ...)      \
  switch (n) {                             \
  case 1: function(1, __VA_ARGS__); break; \
  case 2: function(2, __VA_ARGS__); break; \
  case 3: function(3, __VA_ARGS__); break; \
  case 4: function(4, __VA_ARGS__); break; \
  case 5: function(5, __VA_ARGS__); break; \
  case 6: function(6, __VA_ARGS__); break; \
  case 7: function(7, __VA_ARGS__); break; \
  default: function(8, __VA_ARGS__);       \
  }

/* sums [units][window] += what the winners of each unit make of the image */
static MP_CLONES void sum_windows(const window *w, const real *pixels, const int64_t *offsets, const winner *list,
                                  const int64_t *ends, real *sums) {
  int64_t parts = (w->vectors + MOST_VECTORS - 1) / MOST_VECTORS, stride = w->vectors * GROUP;
  for (int64_t part = 0; part < parts; part++) {
    int64_t first = w->vectors * part / parts, n = w->vectors * (part + 1) / parts - first;
    for (int64_t u = 0, start = 0; u < w->sizes.units; start = ends[u++]) {
      FOR_VECTORS(n, sum_vectors, pixels, w->pixel, offsets + first, list + start, list + ends[u],
                  sums + u * stride + first * GROUP)
    }
  }
}

/* back (pixels) = slopes by the image: what the weights of the winners at each place make of it */
static MP_CLONES void spread_windows(const window *w, const real *weights, const int64_t *offsets, const winner *sorted,
                                     const int64_t *ends, real *back) {
  int64_t parts = (w->vectors + MOST_VECTORS - 1) / MOST_VECTORS, stride = w->vectors * GROUP;
  memset(back, 0, (size_t)pixels_size(w) * sizeof *back);
  for (int64_t part = 0; part < parts; part++) {
    int64_t first = w->vectors * part / parts, n = w->vectors * (part + 1) / parts - first;
    for (int64_t p = 0, start = 0; p < w->sizes.plane; start = ends[p++]) {
      if (start == ends[p]) continue; /* no winner; near the far edges no window begins either */
      FOR_VECTORS(n, spread_vectors, weights + first * GROUP, stride, offsets + first, sorted + start, sorted + ends[p],
                  back + p * w->pixel)
    }
  }
}

/* -- all of it for one convolution --------------------------------------------------------------------------------- */

/* A convolution and the memory for its gradient; no layer: the products with every slope are as good. */
typedef struct {
  const mp_layer *layer;
  real *sums, *totals; /* windows of every unit: the gradient of its weights so far */
  real *pixels; /* a group of images */
  winner *list;
  int64_t *unit_ends, *offsets;
  integer *corners;
  real *weights, *back; /* for slopes by the images alone: windows of every unit, and these slopes as `pixels` */
  winner *sorted;
  int64_t *place_ends;
} winners_work;

/* Whether it pays; `first`: no layer before asks for slopes. Counted in vectors of multiply-adds for a place of the pool, with
 * what a winner costs besides, as measured for 1 to 32 channels, windows of 1 to 7 and pools of 2 and 3. */
MP_INLINE int winners_pay(const mp_layer *layer, const mp_layer *pool, int first) {
  window w = window_of(layer);
  const convolution *s = &w.sizes;
  int64_t winner_costs = first ? w.vectors + w.vectors / 4 + 5 : 2 * w.vectors + 8;
  return winner_costs * GROUP * pool->out[1] * pool->out[2] <= s->plane_out * s->taps;
}

/* Before the first image; weights NULL: nobody asks for slopes by the images. */
static void begin_winners(const winners_work *work, const real *weights) {
  window w = window_of(work->layer);
  const convolution *s = &w.sizes;
  for (int64_t y = 0, i = 0; y < s->height_out; y++)
    for (int64_t x = 0; x < s->width_out; x++) work->corners[i++] = (integer)(y * s->width + x);
  for (int64_t y = 0, i = 0; y < s->kernel; y++)
    for (int64_t j = 0; j < w.line; j++) work->offsets[i++] = y * s->width * w.pixel + j * GROUP;
  memset(work->sums, 0, (size_t)laid_out_size(&w) * sizeof(real));
  memset(work->totals, 0, (size_t)laid_out_size(&w) * sizeof(real));
  /* of no consequence but for denormal numbers where pixels are filled up */
  memset(work->pixels, 0, (size_t)(GROUP * pixels_size(&w)) * sizeof(real));
  if (weights) lay_out(&w, weights, work->weights);
}

/* What the first `count` images of a group add to the gradient, slopes and winners those of pooling over `windows` places;
 * back (or NULL): slopes by the images, 0 for those behind the last. Sums that have got to LONG_SUM terms are summed in their
 * turn, which rounds less. */
static void add_winners(const winners_work *work, int64_t windows, int64_t lanes, int64_t count, const real *slopes,
                        const integer *winners, const real *in, real *bias, real *back) {
  window w = window_of(work->layer);
  const convolution *s = &w.sizes;
  int64_t size = pixels_size(&w);
  images_to_pixels(&w, lanes, in, work->pixels);
  for (int64_t lane = 0, pending = 0; lane < count; lane++) {
    list_winners(s->units, windows, lanes, slopes + lane, winners + lane, work->corners, work->list, work->unit_ends);
    sum_windows(&w, work->pixels + lane * size, work->offsets, work->list, work->unit_ends, work->sums);
    pending += windows;
    if (pending >= LONG_SUM || lane + 1 == count)
      collect_sums(laid_out_size(&w), work->sums, work->totals), pending = 0;
    if (!back) continue;
    sort_winners(s->units, s->plane, work->list, work->unit_ends, work->sorted, work->place_ends);
    spread_windows(&w, work->weights, work->offsets, work->sorted, work->place_ends, work->back + lane * size);
  }
  if (bias) sum_planes(s->units, windows * lanes, slopes, bias);
  if (!back) return;
  memset(work->back + count * size, 0, (size_t)((lanes - count) * size) * sizeof *back);
  pixels_to_images(&w, lanes, work->back, back);
}

/* After the last image: the gradient of the weights. */
static void end_winners(const winners_work *work, real *gradient) {
  window w = window_of(work->layer);
  add_laid_out(&w, work->totals, gradient);
}

#endif
