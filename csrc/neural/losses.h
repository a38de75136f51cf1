/* The losses of mp_loss by tiles of rows, with gradient and Hessian by the outputs; both engines include this file.
 *
 * Tiles are [features][TILE] as reals.h says, of which whole vectors of places are worked on. Places behind the last row
 * of a call repeat it: what they give is finite where the rows are, and left out by the caller. */
#ifndef MICROPOLIS_LOSSES_H
#define MICROPOLIS_LOSSES_H

#include <math.h>

#include "neural/reals.h"

/* What the outputs of one tile are compared with. */
typedef struct {
  integer labels[TILE]; /* multiclass */
  real *targets; /* [n_outputs][TILE], binary, regression, Poisson */
  double *row; /* [3][n_outputs], user losses: output, target and gradient of one row */
} mp_answers;

/* Bytes behind an mp_answers, a multiple of 64. */
static inline size_t answers_size(int64_t n_outputs) {
  size_t size = (size_t)n_outputs * (TILE * sizeof(real) + 3 * sizeof(double));
  return (size + 63) / 64 * 64;
}
static inline void answers_init(mp_answers *answers, int64_t n_outputs, void *memory) {
  answers->targets = memory;
  answers->row = (double *)(answers->targets + n_outputs * TILE);
}

/* The labels or targets of the tile that begins at position `start` of the n rows. */
static void answers_gather(const mp_loss *loss, int64_t n_outputs, const mp_data *data, const int64_t *rows,
                           int64_t start, int64_t n, mp_answers *answers) {
  if (loss->kind == MP_USER_LOSS) return;
  for (int64_t i = 0, places = places_of(n - start); i < places; i++) {
    int64_t row = row_at(rows, n, start + i);
    if (loss->kind == MP_MULTICLASS) {
      answers->labels[i] = (integer)data->labels[row];
    } else {
      for (int64_t k = 0; k < n_outputs; k++) answers->targets[k * TILE + i] = (real)data->targets[row * n_outputs + k];
    }
  }
}

MP_INLINE void store_losses(double *losses, vreal values) {
#ifdef MP_SINGLE
  typedef float half __attribute__((vector_size(32)));
  half halves[2];
  memcpy(halves, &values, sizeof values);
  mp_store8(losses, __builtin_convertvector(halves[0], mp_v8));
  mp_store8(losses + 8, __builtin_convertvector(halves[1], mp_v8));
#else
  mp_store8(losses, values);
#endif
}

MP_INLINE vinteger load_labels(const integer *p) {
  vinteger v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* With d = f_other - f_label the loss is log(1 + exp(d)); 0 f makes a NaN of an infinite output, whose loss is unknown. */
MP_INLINE void two_classes(int64_t places, const real *f, const integer *labels, double *losses, real *slopes) {
  for (int64_t v = 0; v < places; v += LANES) {
    vinteger flip = (load_labels(labels + v) != 0) & SIGN_BIT;
    vreal one = load(f + v), two = load(f + TILE + v), d = (vreal)((vinteger)(two - one) ^ flip);
    vreal e = VECTOR_MATH(exp_negative)(VECTOR_MATH(negative_abs)(d));
    store_losses(losses + v, (positive_part(d) + (one * (real)0 + two * (real)0)) + VECTOR_MATH(log1p_unit)(e));
    if (slopes) {
      vreal p = pick(d < (real)0, e, splat(1)) / ((real)1 + e);
      vreal slope = (vreal)((vinteger)p ^ flip);
      store(slopes + v, -slope);
      store(slopes + TILE + v, slope);
    }
  }
}

MP_INLINE void many_classes(int64_t places, int64_t n_outputs, const real *f, const integer *labels, double *losses,
                            real *slopes) {
  for (int64_t v = 0; v < places; v += LANES) {
    vinteger label = load_labels(labels + v);
    vreal most = load(f + v), own = most, sum = {0};
    for (int64_t k = 1; k < n_outputs; k++) {
      vreal value = load(f + k * TILE + v);
      most = pick(value > most, value, most);
      own = pick(label == (integer)k, value, own);
    }
    for (int64_t k = 0; k < n_outputs; k++) {
      vreal e = VECTOR_MATH(exp_negative)(load(f + k * TILE + v) - most);
      sum += e;
      if (slopes) store(slopes + k * TILE + v, e);
    }
    store_losses(losses + v, positive_part(VECTOR_MATH(log)(sum) + (most - own)));
    if (!slopes) continue;
    vreal scale = (real)1 / sum;
    for (int64_t k = 0; k < n_outputs; k++) {
      vreal one = (vreal)((vinteger)splat(1) & (label == (integer)k));
      store(slopes + k * TILE + v, load(slopes + k * TILE + v) * scale - one);
    }
  }
}

MP_INLINE void binary_losses(int64_t places, int64_t n_outputs, const real *f, const real *y, double *losses,
                             real *slopes) {
  for (int64_t v = 0; v < places; v += LANES) {
    vreal sum = {0};
    for (int64_t at = v; at < n_outputs * TILE; at += TILE) {
      vreal value = load(f + at), target = load(y + at),
            e = VECTOR_MATH(exp_negative)(VECTOR_MATH(negative_abs)(value));
      /* |f| where y and the sign of f disagree: no difference of large numbers */
      vreal linear = positive_part(value) * ((real)1 - target) + positive_part(-value) * target;
      sum += linear + VECTOR_MATH(log1p_unit)(e);
      if (slopes) store(slopes + at, pick(value < (real)0, e, splat(1)) / ((real)1 + e) - target);
    }
    store_losses(losses + v, sum);
  }
}

/* The constant is taken off in double precision: it may be much larger than what is left of the residuals. */
MP_INLINE void regression_losses(int64_t places, int64_t n_outputs, real scale, double constant, const real *f,
                                 const real *y, double *losses, real *slopes) {
  for (int64_t v = 0; v < places; v += LANES) {
    vreal sum = {0};
    for (int64_t at = v; at < n_outputs * TILE; at += TILE) {
      vreal residual = load(f + at) - load(y + at);
      sum += residual * residual;
      if (slopes) store(slopes + at, residual * scale);
    }
    store_losses(losses + v, sum * (scale / 2));
    for (int i = 0; i < LANES; i++) losses[v + i] -= constant;
  }
}

/* but for log y! */
MP_INLINE void poisson_losses(int64_t places, int64_t n_outputs, const real *f, const real *y, double *losses,
                              real *slopes) {
  for (int64_t v = 0; v < places; v += LANES) {
    vreal sum = {0};
    for (int64_t at = v; at < n_outputs * TILE; at += TILE) {
      vreal value = load(f + at), target = load(y + at), rate = VECTOR_MATH(exp)(value);
      sum += rate - target * value;
      if (slopes) store(slopes + at, rate - target);
    }
    store_losses(losses + v, sum);
  }
}

static void log_factorials(int64_t places, int64_t n_outputs, const real *y, double *losses) {
  int sign;
  for (int64_t k = 0; k < n_outputs; k++)
    for (int64_t i = 0; i < places; i++)
      if (y[k * TILE + i] > 1) losses[i] += lgamma_r((double)y[k * TILE + i] + 1, &sign);
}

static void user_losses(const mp_loss *loss, int64_t n_outputs, const real *f, const mp_data *data, const int64_t *rows,
                        int64_t start, int64_t n, const mp_answers *answers, double *losses, real *slopes) {
  double *output = answers->row, *target = output + n_outputs, *gradient = target + n_outputs;
  for (int64_t i = 0; i < TILE && start + i < n; i++) {
    const double *given = data->targets + row_at(rows, n, start + i) * n_outputs;
    for (int64_t k = 0; k < n_outputs; k++) output[k] = f[k * TILE + i], target[k] = given[k], gradient[k] = 0;
    losses[i] = loss->row((size_t)n_outputs, output, target, gradient, loss->context);
    for (int64_t k = 0; slopes && k < n_outputs; k++) slopes[k * TILE + i] = (real)gradient[k];
  }
}

static MP_CLONES void vector_losses(const mp_loss *loss, int64_t places, int64_t n_outputs, const real *f,
                                    const mp_answers *answers, double *losses, real *slopes) {
  switch (loss->kind) {
  case MP_MULTICLASS:
    if (n_outputs == 2) two_classes(places, f, answers->labels, losses, slopes);
    else many_classes(places, n_outputs, f, answers->labels, losses, slopes);
    break;
  case MP_BINARY: binary_losses(places, n_outputs, f, answers->targets, losses, slopes); break;
  case MP_REGRESSION: {
    double constant = 0.5 * (double)n_outputs * log(loss->scale / (2 * M_PI));
    regression_losses(places, n_outputs, (real)loss->scale, constant, f, answers->targets, losses, slopes);
    break;
  }
  default: poisson_losses(places, n_outputs, f, answers->targets, losses, slopes);
  }
}

/* The losses [places] of the tile at `start` with outputs f and gathered answers; slopes [n_outputs][TILE]: their
 * gradient by the outputs, or NULL. */
static void tile_losses(const mp_loss *loss, int64_t n_outputs, const real *f, const mp_data *data, const int64_t *rows,
                        int64_t start, int64_t n, const mp_answers *answers, double *losses, real *slopes) {
  if (loss->kind == MP_USER_LOSS) {
    user_losses(loss, n_outputs, f, data, rows, start, n, answers, losses, slopes);
    return;
  }
  int64_t places = places_of(n - start);
  vector_losses(loss, places, n_outputs, f, answers, losses, slopes);
  if (loss->kind == MP_POISSON) log_factorials(places, n_outputs, answers->targets, losses);
}

/* product [n_outputs][TILE] = Hessian of every row's loss by its outputs f, times tangent. */
static MP_CLONES void tile_curvature(const mp_loss *loss, int64_t places, int64_t n_outputs, const real *f,
                                     const real *tangent, real *product) {
  for (int64_t v = 0; v < places; v += LANES) {
    if (loss->kind == MP_MULTICLASS) {
      vreal most = load(f + v), sum = {0}, mean = {0};
      for (int64_t at = v; at < n_outputs * TILE; at += TILE) most = pick(load(f + at) > most, load(f + at), most);
      for (int64_t at = v; at < n_outputs * TILE; at += TILE) {
        vreal e = VECTOR_MATH(exp_negative)(load(f + at) - most);
        sum += e;
        mean += e * load(tangent + at);
        store(product + at, e);
      }
      mean /= sum;
      for (int64_t at = v; at < n_outputs * TILE; at += TILE)
        store(product + at, load(product + at) / sum * (load(tangent + at) - mean));
      continue;
    }
    for (int64_t at = v; at < n_outputs * TILE; at += TILE) {
      vreal value = load(f + at), curvature = splat((real)loss->scale);
      if (loss->kind == MP_BINARY) {
        vreal e = VECTOR_MATH(exp_negative)(VECTOR_MATH(negative_abs)(value)), one_plus = (real)1 + e;
        curvature = e / (one_plus * one_plus);
      } else if (loss->kind == MP_POISSON) {
        curvature = VECTOR_MATH(exp)(value);
      }
      store(product + at, curvature * load(tangent + at));
    }
  }
}

/* -- the same for outputs row by row, [count][n_outputs] --------------------------------------------------------- */

/* Bytes of scratch, 64-byte aligned, for the two functions below. */
static inline size_t rows_scratch_size(int64_t n_outputs) {
  return 3 * (size_t)n_outputs * TILE * sizeof(real) + answers_size(n_outputs);
}

static inline void transpose_in(int64_t n_outputs, int64_t count, const real *rows, real *tile) {
  for (int64_t i = 0, places = places_of(count); i < places; i++)
    for (int64_t k = 0; k < n_outputs; k++) tile[k * TILE + i] = rows[(i < count ? i : count - 1) * n_outputs + k];
}
static inline void transpose_out(int64_t n_outputs, int64_t count, const real *tile, real *rows) {
  for (int64_t i = 0; i < TILE && i < count; i++)
    for (int64_t k = 0; k < n_outputs; k++) rows[i * n_outputs + k] = tile[k * TILE + i];
}

/* Losses [count] of the rows at positions start .. start + count - 1 of a call; slopes [count][n_outputs] or NULL. */
static inline void row_losses(const mp_loss *loss, int64_t n_outputs, const real *outputs, const mp_data *data,
                              const int64_t *rows, int64_t start, int64_t count, double *losses, real *slopes,
                              void *scratch) {
  real *f = scratch, *tile_slopes = f + n_outputs * TILE;
  double tile[TILE];
  mp_answers answers;
  answers_init(&answers, n_outputs, tile_slopes + 2 * n_outputs * TILE);
  for (int64_t at = 0; at < count; at += TILE) {
    transpose_in(n_outputs, count - at, outputs + at * n_outputs, f);
    answers_gather(loss, n_outputs, data, rows, start + at, start + count, &answers);
    tile_losses(loss, n_outputs, f, data, rows, start + at, start + count, &answers, tile, slopes ? tile_slopes : NULL);
    memcpy(losses + at, tile, (size_t)(count - at < TILE ? count - at : TILE) * sizeof(double));
    if (slopes) transpose_out(n_outputs, count - at, tile_slopes, slopes + at * n_outputs);
  }
}

/* product [count][n_outputs] = Hessian of every row's loss by its outputs, times tangents [count][n_outputs]; the
 * product may take the place of the tangents. */
static inline void row_curvature(const mp_loss *loss, int64_t n_outputs, int64_t count, const real *outputs,
                                 const real *tangents, real *product, void *scratch) {
  real *f = scratch, *along = f + n_outputs * TILE, *result = along + n_outputs * TILE;
  for (int64_t at = 0; at < count; at += TILE) {
    transpose_in(n_outputs, count - at, outputs + at * n_outputs, f);
    transpose_in(n_outputs, count - at, tangents + at * n_outputs, along);
    tile_curvature(loss, places_of(count - at), n_outputs, f, along, result);
    transpose_out(n_outputs, count - at, result, product + at * n_outputs);
  }
}

#endif
