/* The No-U-Turn sampler (Hoffman & Gelman 2014) with multinomial sampling and the generalised criterion (Betancourt 2017).
 *
 * Iterative: a doubling integrates 2^depth leaves in one direction, and merges subtrees as a binary counter carries, so
 * that at most one finished subtree waits at each level. multinomial.h draws from it; no subtree carries a candidate. */
#include "hamiltonian/nuts.h"

#include <string.h>

#include "hamiltonian/integrators.h"
#include "hamiltonian/multinomial.h"

enum {
  N_POINTS = 6, /* positions alive at once: both ends, both proposals, current and next */
  NO_SUM = -1 /* levels 0 and 1: the sum follows from the ends */
};

typedef struct {
  int first, last, sum; /* slots of whitened momenta, in the order of integration */
} subtree;

/* Momenta: three for each waiting level and the trajectory, and the newest; at most 64, a bit each. */
typedef struct {
  size_t dim, stride;
  double *momenta;
  uint64_t free;
} slots;

static size_t n_momenta(int64_t max_depth) { return 3 * (size_t)max_depth + 4; }

MP_INLINE double *slot(const slots *s, int i) { return s->momenta + (size_t)i * s->stride; }

MP_INLINE int slot_take(slots *s) {
  int i = __builtin_ctzll(s->free); /* the lowest: the one most likely still in cache */
  s->free &= s->free - 1;
  return i;
}

MP_INLINE void slot_give(slots *s, int i) { s->free |= UINT64_C(1) << i; }

/* Merge b behind a, both of the same level; *a becomes the merged tree. 1: it turns. */
MP_INLINE int merge(slots *s, int level, subtree *a, const subtree *b) {
  int turns;
  if (level == 0) {
    turns = mp_turns_leaves(s->dim, slot(s, a->first), slot(s, b->last));
  } else if (level == 1) {
    turns = mp_turns_pairs(s->dim, slot(s, a->first), slot(s, a->last), slot(s, b->first), slot(s, b->last),
                           slot(s, a->last));
    a->sum = a->last;
    slot_give(s, b->first);
  } else {
    turns = mp_turns_trees(s->dim, slot(s, a->first), slot(s, a->last), slot(s, a->sum), slot(s, b->first),
                           slot(s, b->last), slot(s, b->sum));
    slot_give(s, b->sum);
    slot_give(s, b->first);
    slot_give(s, a->last);
  }
  a->last = b->last;
  return turns;
}

size_t mp_nuts_work_size(const void *options, size_t dim) {
  return (2 * (N_POINTS + 1) + n_momenta(((const mp_nuts_options *)options)->max_depth) + 1) * mp_stride(dim);
}

MP_CLONES int mp_nuts_step(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state,
                           double *work, mp_info *info_) {
  const mp_nuts_options *options = options_;
  mp_nuts_info *info = (mp_nuts_info *)info_;
  size_t dim = density->dim, stride = mp_stride(dim);
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP], *grad = state->buffers[MP_STATE_GRAD];

  mp_padded_metric metric = mp_pad_metric(dim, &options->tuning, work);
  double *q[N_POINTS + 1], *g[N_POINTS + 1], point_logp[N_POINTS + 1], point_energy[N_POINTS + 1];
  for (int i = 0; i <= N_POINTS; i++) {
    q[i] = work + (size_t)(2 * i + 1) * stride;
    g[i] = q[i] + stride;
  }
  slots s = {mp_padded(dim), stride, g[N_POINTS] + stride, ~UINT64_C(0) >> (64 - n_momenta(options->max_depth))};

  /* point 0 is the state, kept to the end */
  memcpy(q[0], x, dim * sizeof *x);
  memcpy(g[0], grad, dim * sizeof *x);
  int start = slot_take(&s);
  mp_standard_normal(rng, dim, slot(&s, start));
  double energy_start = mp_kinetic(s.dim, slot(&s, start)) - *logp;
  point_energy[0] = energy_start;
  subtree whole = {start, start, NO_SUM}; /* first: the end backward in time, last: forward */
  int left = 0, right = 0, proposal = 0, status = MP_OK, depth = 0, turning = 0;
  mp_multinomial m = mp_multinomial_start();
  int32_t n_leaves = 0;

  while (depth < options->max_depth && !turning) {
    int forward = mp_uniform(rng) < 0.5;
    double eps = forward ? options->tuning.step_size : -options->tuning.step_size;
    int current = forward ? right : left, momentum = forward ? whole.last : whole.first, candidate = 0;
    subtree waiting[MP_NUTS_MAX_DEPTH + 1], tree = {0, 0, NO_SUM};

    for (int64_t leaf = 0; leaf < (int64_t)1 << depth && status == MP_OK && !turning; leaf++) {
      unsigned busy = 1u | 1u << left | 1u << right | 1u << proposal | 1u << candidate | 1u << current;
      int next = __builtin_ctz(~busy), fresh = slot_take(&s);
      double kinetic;
      int code = mp_leapfrog(density, &metric, eps, q[current], slot(&s, momentum), g[current], q[next],
                             slot(&s, fresh), g[next], &point_logp[next], &kinetic);
      double energy = kinetic - point_logp[next];
      point_energy[next] = energy;
      n_leaves++;
      status = mp_leapfrog_status(code, energy, energy_start);
      if (status != MP_OK) break;

      if (mp_multinomial_add(&m, energy_start - energy, leaf == 0, rng)) candidate = next;
      current = next;
      momentum = fresh;
      tree = (subtree){fresh, fresh, NO_SUM};
      int level = 0;
      for (; (leaf >> level) & 1 && !turning; level++) {
        turning = merge(&s, level, &waiting[level], &tree);
        tree = waiting[level];
      }
      waiting[level] = tree;
    }
    if (status != MP_OK || turning) break;

    if (mp_multinomial_join(&m, rng)) proposal = candidate;
    if (forward) {
      turning = merge(&s, depth, &whole, &tree);
      right = current;
    } else { /* in the order of this doubling the trajectory's first point is its forward end */
      subtree reversed = {whole.last, whole.first, whole.sum};
      turning = merge(&s, depth, &reversed, &tree);
      whole = (subtree){reversed.last, reversed.first, reversed.sum};
      left = current;
    }
    depth++;
  }

  if (status < 0) return status;
  if (proposal) {
    memcpy(x, q[proposal], dim * sizeof *x);
    memcpy(grad, g[proposal], dim * sizeof *x);
    *logp = point_logp[proposal];
  }
  *info = (mp_nuts_info){{*logp, m.accept_sum / n_leaves, n_leaves, proposal != 0, status != MP_OK, (int16_t)status},
                         point_energy[proposal],
                         point_energy[proposal] - energy_start,
                         m.accept_sum_symmetric / n_leaves,
                         options->tuning.step_size,
                         depth};
  return MP_OK;
}
