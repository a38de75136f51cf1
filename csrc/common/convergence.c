/* Split R-hat and batch-means effective sample size, some coordinates at a time whose sums stay in the second cache. */
#include "common/convergence.h"

#include <math.h>

#include "common/simd.h"

enum { COLUMNS = 4096 }; /* stretches of a draw long enough for a file that is mapped */

/* Running mean and sum of squared deviations of some values of every column (Welford 1962). */
typedef struct {
  double count, mean[COLUMNS], squares[COLUMNS];
} spread;

/* `center` is what every draw is taken from, which removes nothing but rounding: a draw, and not a first one, which may be far
 * off. `sum` is of a batch, `rest` of the draws before the first batch of a half, `all` of those in batches. */
typedef struct {
  double center[COLUMNS], sum[COLUMNS];
  double half_sum[COLUMNS], half_square[COLUMNS], rest_sum[COLUMNS], rest_square[COLUMNS], within[COLUMNS],
      largest[COLUMNS], all_sum[COLUMNS], all_square[COLUMNS];
  spread halves, batches;
} columns;

MP_INLINE double at(int single, const char *row, size_t i) {
  return single ? (double)((const float *)row)[i] : ((const double *)row)[i];
}

MP_INLINE void spread_add(spread *s, size_t n, double scale, const double *values) {
  s->count += 1.0;
  double share = 1.0 / s->count;
  for (size_t i = 0; i < n; i++) {
    double value = scale * values[i], delta = value - s->mean[i];
    s->mean[i] += share * delta;
    s->squares[i] += delta * (value - s->mean[i]);
  }
}

/* `length` draws of one chain: a batch, or the remainder. */
MP_INLINE void add_batch(int single, columns *c, size_t n, const char *row, ptrdiff_t stride, size_t length) {
  for (size_t i = 0; i < n; i++) c->sum[i] = 0.0;
  for (size_t draw = 0; draw < length; draw++, row += stride)
    for (size_t i = 0; i < n; i++) {
      double delta = at(single, row, i) - c->center[i];
      c->sum[i] += delta;
      c->half_square[i] += delta * delta;
    }
  for (size_t i = 0; i < n; i++) c->half_sum[i] += c->sum[i];
}

MP_INLINE void add_half(int single, columns *c, size_t n, const char *row, ptrdiff_t stride, size_t half,
                        size_t length) {
  for (size_t i = 0; i < n; i++) c->half_sum[i] = c->half_square[i] = 0.0;
  add_batch(single, c, n, row, stride, half % length);
  for (size_t i = 0; i < n; i++) {
    c->rest_sum[i] = c->half_sum[i], c->rest_square[i] = c->half_square[i];
    c->half_sum[i] = c->half_square[i] = 0.0;
  }
  for (size_t draw = half % length; draw < half; draw += length) {
    add_batch(single, c, n, row + (ptrdiff_t)draw * stride, stride, length);
    spread_add(&c->batches, n, 1.0 / (double)length, c->sum);
  }
  for (size_t i = 0; i < n; i++) {
    c->all_sum[i] += c->half_sum[i], c->all_square[i] += c->half_square[i];
    c->half_sum[i] += c->rest_sum[i], c->half_square[i] += c->rest_square[i];
  }
  double share = 1.0 / (double)half;
  spread_add(&c->halves, n, share, c->half_sum);
  for (size_t i = 0; i < n; i++) {
    double mean = share * c->half_sum[i], square = mean * mean;
    c->within[i] += share * c->half_square[i] - square;
    c->largest[i] = square > c->largest[i] ? square : c->largest[i];
  }
}

MP_INLINE void check(int single, const mp_draws *draws, size_t start, size_t n, double *r_hat, double *ess) {
  columns c; /* of which no more than n numbers each are set: a short draw is done before so much memory is cleared */
  c.halves.count = c.batches.count = 0.0;
  size_t half = draws->n_draws / 2, length = (size_t)sqrt((double)draws->n_draws);
  const char *first = draws->data + start * (single ? sizeof(float) : sizeof(double));
  const char *middle = first + (ptrdiff_t)(half - 1) * draws->draw_stride;
  for (size_t i = 0; i < n; i++) {
    c.center[i] = at(single, middle, i);
    c.within[i] = c.largest[i] = c.all_sum[i] = c.all_square[i] = 0.0;
    c.halves.mean[i] = c.halves.squares[i] = c.batches.mean[i] = c.batches.squares[i] = 0.0;
  }
  for (size_t chain = 0; chain < draws->n_chains; chain++, first += draws->chain_stride) {
    add_half(single, &c, n, first, draws->draw_stride, half, length);
    add_half(single, &c, n, first + (ptrdiff_t)(draws->n_draws - half) * draws->draw_stride, draws->draw_stride, half,
             length);
  }
  double part = (double)(half - 1) / (double)half, total = c.halves.count * (double)half;
  double batched = c.batches.count * (double)length; /* a far start in the rest is in no batch's mean either */
  for (size_t i = 0; i < n; i++) {
    double within = c.within[i] / c.halves.count;
    /* what rounding leaves of a chain that stands still is no variance */
    within = within > 1e-14 * c.largest[i] ? within / part : 0.0;
    r_hat[i] = sqrt(part + c.halves.squares[i] / (c.halves.count - 1.0) / within);
    double mean = c.all_sum[i] / batched, variance = c.all_square[i] / batched - mean * mean;
    ess[i] = total * variance / ((double)length * (c.batches.squares[i] / (c.batches.count - 1.0)));
  }
}

MP_CLONES void mp_convergence(const mp_draws *draws, double *r_hat, double *ess) {
  for (size_t start = 0; start < draws->dim; start += COLUMNS) {
    size_t n = draws->dim - start < COLUMNS ? draws->dim - start : COLUMNS;
    if (draws->single) check(1, draws, start, n, r_hat + start, ess + start);
    else check(0, draws, start, n, r_hat + start, ess + start);
  }
}
