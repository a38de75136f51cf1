/* Broyden's method and polynomial extrapolation for the implicit equations of a step. */
#ifndef MICROPOLIS_SOLVER_H
#define MICROPOLIS_SOLVER_H

#include <float.h>
#include <math.h>

#include "common/simd.h"
#include "hamiltonian/riemannian_integrators.h"

/* Differences of residuals smaller than this are rounding: they teach nothing about the Jacobian. Of unknowns below 1,
 * relative to them. */
#define MP_SMALLEST_LESSON 1e-10
/* Roundings of a position that no residual can do without. */
#define MP_POSITION_ROUNDING (4.0 * DBL_EPSILON)

MP_INLINE double mp_rows_dot(size_t stride, size_t parts, const double *x, const double *y) {
  double total = 0.0;
  for (size_t part = 0; part < parts; part++) {
    mp_v8 sum = {0};
    for (size_t i = part * stride; i < (part + 1) * stride; i += MP_LANES) sum += mp_load8(x + i) * mp_load8(y + i);
    total += mp_fold8(sum);
  }
  return total;
}

MP_INLINE void mp_solver_reset(mp_solver *s) {
  size_t length = s->parts * s->stride;
  memset(s->inverse, 0, s->parts * s->dim * length * sizeof(double));
  for (size_t part = 0; part < s->parts; part++)
    for (size_t i = 0; i < s->dim; i++) s->inverse[(part * s->dim + i) * length + part * s->stride + i] = s->start;
  s->moved = 0;
}

enum { MP_SOLVER_ON = 0, MP_SOLVER_DONE = 1, MP_SOLVER_LOST = 2 };

/* The state of the iteration, whose residual is in s->residual, on the way from `from` to `to`. Nothing but these says what
 * is small: a momentum is measured by itself, a position, whose origin is anywhere, by how far it has come. */
MP_INLINE int mp_solver_look(mp_solver *s, double tolerance, const double *from, const double *to) {
  int done = 1;
  s->size = 1.0;
  for (size_t part = 0; part < s->parts; part++) {
    double size = 0.0, largest = 0.0;
    for (size_t i = part * s->stride; i < part * s->stride + s->dim; i++) {
      double gap = fabs(to[i] - from[i]), most = fabs(from[i]) > fabs(to[i]) ? fabs(from[i]) : fabs(to[i]);
      size = gap > size ? gap : size;
      largest = most > largest ? most : largest;
    }
    if (part != s->position) size = largest;
    double limit = tolerance * size + MP_POSITION_ROUNDING * largest;
    s->size = size < s->size ? size : s->size;
    for (size_t i = part * s->stride; i < part * s->stride + s->dim; i++) {
      if (!isfinite(s->residual[i])) return MP_SOLVER_LOST;
      if (!(fabs(s->residual[i]) <= limit)) done = 0;
    }
  }
  return done ? MP_SOLVER_DONE : MP_SOLVER_ON;
}

/* x moves by - inverse * residual, after the inverse has learned from the last move. */
MP_INLINE void mp_solver_move(mp_solver *s, double *x) {
  size_t dim = s->dim, stride = s->stride, parts = s->parts, length = parts * stride;
  if (s->moved) {
    double largest = 0.0;
    for (size_t i = 0; i < length; i += MP_LANES)
      mp_store8(s->difference + i, mp_load8(s->residual + i) - mp_load8(s->difference + i));
    for (size_t i = 0; i < length; i++) largest = fabs(s->difference[i]) > largest ? fabs(s->difference[i]) : largest;
    for (size_t part = 0; part < parts; part++)
      for (size_t i = 0; i < dim; i++)
        s->product[part * stride + i] = mp_rows_dot(stride, parts, s->inverse + (part * dim + i) * length,
                                                    s->difference);
    double along = mp_rows_dot(stride, parts, s->change, s->product);
    double square = mp_rows_dot(stride, parts, s->change, s->change);
    if (largest > MP_SMALLEST_LESSON * s->size && fabs(along) > 0.05 * square) {
      for (size_t i = 0; i < length; i += MP_LANES) { /* change' * inverse */
        mp_v8 sum = {0};
        for (size_t part = 0; part < parts; part++)
          for (size_t j = 0; j < dim; j++)
            sum += s->change[part * stride + j] * mp_load8(s->inverse + (part * dim + j) * length + i);
        mp_store8(s->difference + i, sum);
      }
      for (size_t part = 0; part < parts; part++)
        for (size_t i = 0; i < dim; i++) {
          double factor = (s->change[part * stride + i] - s->product[part * stride + i]) / along;
          double *row = s->inverse + (part * dim + i) * length;
          for (size_t k = 0; k < length; k += MP_LANES)
            mp_store8(row + k, mp_load8(row + k) + factor * mp_load8(s->difference + k));
        }
    }
  }
  for (size_t part = 0; part < parts; part++)
    for (size_t i = 0; i < dim; i++)
      s->change[part * stride + i] = -mp_rows_dot(stride, parts, s->inverse + (part * dim + i) * length, s->residual);
  for (size_t i = 0; i < length; i += MP_LANES) {
    mp_store8(s->difference + i, mp_load8(s->residual + i));
    mp_store8(x + i, mp_load8(x + i) + mp_load8(s->change + i));
  }
  s->moved = 1;
}

/* What comes after the last three, into out. */
MP_INLINE void mp_history_guess(const mp_history *h, double *out) {
  for (size_t i = 0; i < h->length; i += MP_LANES) {
    mp_v8 last = mp_load8(h->last + i), before = mp_load8(h->before + i), oldest = mp_load8(h->oldest + i);
    mp_v8 guess = {0};
    if (h->age == 1) guess = last;
    if (h->age == 2) guess = 2.0 * last - before;
    if (h->age >= 3) guess = (3.0 * last - 3.0 * before) + oldest;
    mp_store8(out + i, guess);
  }
}

/* The vector to be filled with what has become the last one. */
MP_INLINE double *mp_history_next(mp_history *h) {
  double *free = h->oldest;
  h->oldest = h->before;
  h->before = h->last;
  h->last = free;
  if (h->age < 3) h->age++;
  return free;
}

#endif
