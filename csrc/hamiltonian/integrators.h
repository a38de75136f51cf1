/* Leapfrog in whitened momenta, and the dot products of the U-turn criterion, fused into single passes.
 *
 * With inverse mass S S' a momentum p is kept as w = S' p, which is N(0, I) and has kinetic energy w'w / 2. A step is
 *     w += eps/2 S' grad;   q += eps S w;   w += eps/2 S' grad(q)
 * and the velocity dotted with a momentum, v'p, is w'w: the metric enters the two kicks and the drift and nothing else.
 *
 * Everything here is inlined into the steps, which are compiled once per vector width, and works on vectors padded with
 * zeros to mp_padded(dim). */
#ifndef MICROPOLIS_INTEGRATORS_H
#define MICROPOLIS_INTEGRATORS_H

#include <math.h>
#include <micropolis/kernel.h>

#include "common/linalg.h"
#include "common/simd.h"

/* w'w / 2 */
MP_INLINE double mp_kinetic(size_t dim, const double *w) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < dim; i += MP_LANES) sum += mp_load8(w + i) * mp_load8(w + i);
  return 0.5 * mp_fold8(sum);
}

/* w_new = w + half * scale * grad; q_new = q + eps * scale * w_new */
MP_INLINE void mp_kick_drift(size_t dim, double eps, const double *scale, const double *q, const double *w,
                             const double *grad, double *q_new, double *w_new) {
  double half = 0.5 * eps;
  for (size_t i = 0; i < dim; i += MP_LANES) {
    mp_v8 s = mp_load8(scale + i), v = mp_load8(w + i) + half * (s * mp_load8(grad + i));
    mp_store8(w_new + i, v);
    mp_store8(q_new + i, mp_load8(q + i) + eps * (s * v));
  }
}

/* w += half * scale * grad; returns w'w / 2 */
MP_INLINE double mp_kick(size_t dim, double half, const double *scale, const double *grad, double *w) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < dim; i += MP_LANES) {
    mp_v8 v = mp_load8(w + i) + half * (mp_load8(scale + i) * mp_load8(grad + i));
    mp_store8(w + i, v);
    sum += v * v;
  }
  return 0.5 * mp_fold8(sum);
}

/* out = x + factor * y */
MP_INLINE void mp_add_scaled(size_t dim, double factor, const double *x, const double *y, double *out) {
  for (size_t i = 0; i < dim; i += MP_LANES) mp_store8(out + i, mp_load8(x + i) + factor * mp_load8(y + i));
}

/* The metric with its diagonal S padded into `scratch` where it needs to be; a dense S stays where it is and `scratch` takes
 * products. */
typedef struct mp_padded_metric {
  int dense;
  const double *scale;
  double *scratch;
} mp_padded_metric;

MP_INLINE mp_padded_metric mp_pad_metric(size_t dim, const mp_tuning *tuning, double *scratch) {
  if (tuning->metric == MP_DENSE) return (mp_padded_metric){1, tuning->scale, scratch};
  if (dim % MP_LANES == 0) return (mp_padded_metric){0, tuning->scale, scratch};
  memcpy(scratch, tuning->scale, dim * sizeof *scratch);
  return (mp_padded_metric){0, scratch, scratch};
}

/* The way out of a point: a kick of half a step and the drift; q_new may be q, and w_new w. */
MP_INLINE void mp_leapfrog_leave(size_t dim, const mp_padded_metric *metric, double eps, const double *q,
                                 const double *w, const double *grad, double *q_new, double *w_new) {
  size_t padded = mp_padded(dim);
  if (!metric->dense) {
    mp_kick_drift(padded, eps, metric->scale, q, w, grad, q_new, w_new);
    return;
  }
  mp_lower_transpose_product(dim, metric->scale, grad, metric->scratch);
  mp_add_scaled(padded, 0.5 * eps, w, metric->scratch, w_new);
  mp_lower_product(dim, metric->scale, w_new, metric->scratch);
  mp_add_scaled(padded, eps, q, metric->scratch, q_new);
}

/* The way into the next: its gradient and the other kick; *kinetic = w'w / 2 behind it. The density's return code. */
MP_INLINE int mp_leapfrog_arrive(const mp_density *density, const mp_padded_metric *metric, double eps, const double *q,
                                 double *w, double *grad, double *logp, double *kinetic) {
  size_t dim = density->dim, padded = mp_padded(dim);
  double half = 0.5 * eps;
  int code = mp_density_logp_grad(density, q, grad, logp);
  *kinetic = NAN;
  if (code) return code;
  if (!metric->dense) {
    *kinetic = mp_kick(padded, half, metric->scale, grad, w);
    return 0;
  }
  mp_lower_transpose_product(dim, metric->scale, grad, metric->scratch);
  mp_add_scaled(padded, half, w, metric->scratch, w);
  *kinetic = mp_kinetic(padded, w);
  return 0;
}

/* One leapfrog step from (q, w, grad) to (q_new, w_new, grad_new, *logp_new); *kinetic = w_new'w_new / 2. In-place w is
 * fine; q_new and grad_new must not be q and grad. The density's return code. */
MP_INLINE int mp_leapfrog(const mp_density *density, const mp_padded_metric *metric, double eps, const double *q,
                          const double *w, const double *grad, double *q_new, double *w_new, double *grad_new,
                          double *logp_new, double *kinetic) {
  mp_leapfrog_leave(density->dim, metric, eps, q, w, grad, q_new, w_new);
  return mp_leapfrog_arrive(density, metric, eps, q_new, w_new, grad_new, logp_new, kinetic);
}

/* How a trajectory begins: a momentum w from N(0, I), whose kinetic energy is the result, and the way out of q. A few numbers
 * at a time: a long w is still in the first cache when it is used, and the other vectors come from memory meanwhile. */
enum { MP_LEAPFROG_CHUNK = 64 };
MP_INLINE double mp_leapfrog_begin(size_t dim, const mp_padded_metric *metric, double eps, bitgen_t *rng,
                                   const double *q, const double *grad, double *q_new, double *w) {
  if (metric->dense) {
    mp_standard_normal(rng, dim, w);
    double kinetic = mp_kinetic(mp_padded(dim), w);
    mp_leapfrog_leave(dim, metric, eps, q, w, grad, q_new, w);
    return kinetic;
  }
  mp_v8 sum = {0};
  for (size_t start = 0; start < dim; start += MP_LEAPFROG_CHUNK) {
    size_t n = dim - start < MP_LEAPFROG_CHUNK ? dim - start : MP_LEAPFROG_CHUNK, padded = mp_padded(n);
    mp_standard_normal(rng, n, w + start);
    for (size_t i = start; i < start + padded; i += MP_LANES) sum += mp_load8(w + i) * mp_load8(w + i);
    mp_kick_drift(padded, eps, metric->scale + start, q + start, w + start, grad + start, q_new + start, w + start);
  }
  return 0.5 * mp_fold8(sum);
}

/* mp_status of an end point: MP_OK, or why it is a rejection. Non-finite gradients show in the kinetic energy. The
 * threshold is that of Stan and of the specification. */
MP_INLINE int mp_leapfrog_status(int code, double energy, double energy_start) {
  if (__builtin_expect(code == 0 && energy - energy_start <= 1000.0 && isfinite(energy), 1)) return MP_OK;
  if (code) return code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
  return isfinite(energy) ? MP_ENERGY_ERROR : MP_NON_FINITE;
}

/* U-turn criteria of Betancourt (2017, appendix A.4.2) with the two extra checks across subtrees of Stan; `first` and
 * `last` are whitened momenta at the ends of a subtree in the order of integration, `sum` over all its points. 1: the
 * merged tree a + b turns. */
MP_INLINE int mp_turns_leaves(size_t dim, const double *a, const double *b) {
  mp_v8 first = {0}, last = {0};
  for (size_t i = 0; i < dim; i += MP_LANES) {
    mp_v8 x = mp_load8(a + i), y = mp_load8(b + i), sum = x + y;
    first += x * sum;
    last += y * sum;
  }
  return !(mp_fold8(first) > 0.0 && mp_fold8(last) > 0.0);
}

/* Accumulators of the six dots: the ends with the whole sum, and each subtree's sum plus the near end of the other. */
typedef struct {
  mp_v8 whole_first, whole_last, left_first, left_last, right_first, right_last;
} mp_turns;

MP_INLINE void mp_turns_add(mp_turns *t, mp_v8 a_first, mp_v8 a_last, mp_v8 a_sum, mp_v8 b_first, mp_v8 b_last,
                            mp_v8 b_sum) {
  mp_v8 whole = a_sum + b_sum, left = a_sum + b_first, right = b_sum + a_last;
  t->whole_first += a_first * whole;
  t->whole_last += b_last * whole;
  t->left_first += a_first * left;
  t->left_last += b_first * left;
  t->right_first += a_last * right;
  t->right_last += b_last * right;
}

MP_INLINE int mp_turns_any(const mp_turns *t) {
  return !(mp_fold8(t->whole_first) > 0.0 && mp_fold8(t->whole_last) > 0.0 && mp_fold8(t->left_first) > 0.0 &&
           mp_fold8(t->left_last) > 0.0 && mp_fold8(t->right_first) > 0.0 && mp_fold8(t->right_last) > 0.0);
}

/* Two points each, whose sums follow from the ends; the sum of all four goes to `sum`, which may be a_last. */
MP_INLINE int mp_turns_pairs(size_t dim, const double *a_first, const double *a_last, const double *b_first,
                             const double *b_last, double *sum) {
  mp_turns t = {0};
  for (size_t i = 0; i < dim; i += MP_LANES) {
    mp_v8 af = mp_load8(a_first + i), al = mp_load8(a_last + i), bf = mp_load8(b_first + i), bl = mp_load8(b_last + i);
    mp_v8 a_sum = af + al, b_sum = bf + bl;
    mp_turns_add(&t, af, al, a_sum, bf, bl, b_sum);
    mp_store8(sum + i, a_sum + b_sum);
  }
  return mp_turns_any(&t);
}

/* Larger trees; the merged sum replaces a_sum. */
MP_INLINE int mp_turns_trees(size_t dim, const double *a_first, const double *a_last, double *a_sum,
                             const double *b_first, const double *b_last, const double *b_sum) {
  mp_turns t = {0};
  for (size_t i = 0; i < dim; i += MP_LANES) {
    mp_v8 as = mp_load8(a_sum + i), bs = mp_load8(b_sum + i);
    mp_turns_add(&t, mp_load8(a_first + i), mp_load8(a_last + i), as, mp_load8(b_first + i), mp_load8(b_last + i), bs);
    mp_store8(a_sum + i, as + bs);
  }
  return mp_turns_any(&t);
}

/* n_steps from (q, p) with plain momenta, unpadded, in place: the array kernel. `kind` 0: unit inverse mass, 1:
 * inverse_mass[dim], 2: [dim * dim]. logp and grad are filled at the start and hold the end; a rejected point ends the
 * run with logp NaN. The density's return code. */
int mp_leapfrog_run(const mp_density *density, size_t dim, int kind, double eps, int64_t n_steps,
                    const double *inverse_mass, double *q, double *p, double *logp, double *grad, double *velocity);

#endif
