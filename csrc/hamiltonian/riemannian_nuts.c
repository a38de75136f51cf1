/* NUTS (Hoffman & Gelman 2014; Betancourt 2017) on a Riemannian manifold: the criterion of Betancourt (2013, "Generalizing
 * the No-U-Turn sampler to Riemannian manifolds") takes velocities at the ends and the sum of momenta between them.
 *
 * Iterative, as nuts.c: a doubling integrates 2^depth leaves in one direction and merges subtrees as a binary counter
 * carries. A step costs microseconds, so subtrees are copied and not passed about by slots. */
#include "hamiltonian/riemannian_nuts.h"

#include <math.h>
#include <string.h>

#include "common/library_threads.h"
#include "hamiltonian/multinomial.h"
#include "hamiltonian/riemannian_integrators.h"

/* vectors of a subtree in the order of integration; FIRST_P and FIRST_V belong to its first point */
enum { FIRST_P, FIRST_V, LAST_P, LAST_V, TOTAL, N_SUBTREE };
/* both ends (q, p), proposal and candidate (q, grad), the trajectory, the newest subtree; then the waiting ones */
enum { Q_LEFT, P_LEFT, Q_RIGHT, P_RIGHT, Q_PROPOSED, G_PROPOSED, Q_CANDIDATE, G_CANDIDATE, WHOLE };
enum { TREE = WHOLE + N_SUBTREE, WAITING = TREE + N_SUBTREE };

size_t mp_riemannian_nuts_work_size(const void *options, size_t dim) {
  size_t depth = (size_t)((const mp_riemannian_options *)options)->max_depth;
  return mp_trajectory_work_size(dim) + (WAITING + (depth + 1) * N_SUBTREE) * mp_padded(dim);
}

/* a . (b + c) */
MP_INLINE double dot_sum(size_t stride, const double *a, const double *b, const double *c) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < stride; i += MP_LANES) sum += mp_load8(a + i) * (mp_load8(b + i) + mp_load8(c + i));
  return mp_fold8(sum);
}

/* Whether the trajectory a + b turns, b following a: the whole, and as in Stan each half with the near end of the other. */
static MP_CLONES int turns(size_t s, const double *a, const double *b) {
  const double *a_total = a + TOTAL * s, *b_total = b + TOTAL * s;
  const double *a_last = a + LAST_P * s, *b_first = b + FIRST_P * s;
  int whole = dot_sum(s, a + FIRST_V * s, a_total, b_total) > 0.0 && dot_sum(s, b + LAST_V * s, a_total, b_total) > 0.0;
  int left = dot_sum(s, a + FIRST_V * s, a_total, b_first) > 0.0 && dot_sum(s, b + FIRST_V * s, a_total, b_first) > 0.0;
  int right = dot_sum(s, a + LAST_V * s, b_total, a_last) > 0.0 && dot_sum(s, b + LAST_V * s, b_total, a_last) > 0.0;
  return !(whole && left && right);
}

/* b becomes the merged tree a + b */
static void put_before(size_t s, const double *a, double *b) {
  memcpy(b + FIRST_P * s, a + FIRST_P * s, 2 * s * sizeof *a);
  for (size_t i = 0; i < s; i++) b[TOTAL * s + i] = a[TOTAL * s + i] + b[TOTAL * s + i];
}

static void single(size_t s, const double *p, const double *v, double *tree) {
  memcpy(tree + FIRST_P * s, p, s * sizeof *p);
  memcpy(tree + FIRST_V * s, v, s * sizeof *p);
  memcpy(tree + LAST_P * s, p, s * sizeof *p);
  memcpy(tree + LAST_V * s, v, s * sizeof *p);
  memcpy(tree + TOTAL * s, p, s * sizeof *p);
}

/* The same tree in the other direction. */
static void reverse(size_t s, double *tree) {
  for (size_t i = 0; i < 2 * s; i++) {
    double first = tree[FIRST_P * s + i];
    tree[FIRST_P * s + i] = tree[LAST_P * s + i];
    tree[LAST_P * s + i] = first;
  }
}

static int draw(const void *options_, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                mp_info *info_) {
  const mp_riemannian_options *options = options_;
  mp_riemannian_nuts_info *info = (mp_riemannian_nuts_info *)info_;
  size_t dim = density->dim, s = mp_padded(dim), bytes = s * sizeof(double);
  double *x = state->buffers[MP_STATE_X], *logp = state->buffers[MP_STATE_LOGP], *grad = state->buffers[MP_STATE_GRAD];
  double jitter = options->metric_jitter, *vectors = work + mp_trajectory_work_size(dim);
  double *whole = vectors + WHOLE * s, *tree = vectors + TREE * s, *waiting = vectors + WAITING * s;
  mp_trajectory t;
  mp_trajectory_place(&t, options, density, work);

  for (size_t i = 0; i < dim; i++) t.g.jitter[i] = jitter > 0.0 ? jitter * mp_uniform(rng) : 0.0;
  memset(t.v_end, 0, t.g.stride * sizeof(double));
  mp_standard_normal(rng, dim, t.v_end);
  memcpy(t.q, x, dim * sizeof *x);
  memcpy(t.at->grad, grad, dim * sizeof *x);
  t.at->logp = *logp;
  double energy_start = 0.0, logp_proposed = *logp, logp_candidate = 0.0, energy_candidate = 0.0;
  int status = mp_trajectory_start(&t, 1);
  if (status == MP_OK) {
    mp_geometry_momentum(&t.g, t.at, t.v_end, t.p);
    status = mp_trajectory_energy(&t, &energy_start);
  }
  if (status == MP_OK && !isfinite(energy_start)) status = MP_NON_FINITE;
  memcpy(vectors + Q_LEFT * s, t.q, bytes);
  memcpy(vectors + P_LEFT * s, t.p, bytes);
  memcpy(vectors + Q_RIGHT * s, t.q, bytes);
  memcpy(vectors + P_RIGHT * s, t.p, bytes);
  single(s, t.p, t.v, whole); /* first: the end backward in time, last: forward */

  double energy_proposed = energy_start;
  mp_multinomial m = mp_multinomial_start();
  int64_t n_leaves = 0, depth = 0;
  int turning = 0, moved = 0, side = 0; /* side: the end that the trajectory is at, +1 forward, -1 backward, 0 both */
  while (status == MP_OK && depth < options->max_depth && !turning) {
    int forward = mp_uniform(rng) < 0.5, direction = forward ? 1 : -1;
    double eps = forward ? options->tuning.step_size : -options->tuning.step_size;
    if (side == -direction) {
      memcpy(t.q, vectors + (forward ? Q_RIGHT : Q_LEFT) * s, bytes);
      memcpy(t.p, vectors + (forward ? P_RIGHT : P_LEFT) * s, bytes);
      mp_trajectory_forget(&t);
      status = mp_trajectory_start(&t, 0);
    }
    side = direction;

    for (int64_t leaf = 0; leaf < (int64_t)1 << depth && status == MP_OK && !turning; leaf++) {
      double energy = 0.0;
      status = mp_trajectory_step(&t, eps);
      if (status == MP_OK) status = mp_trajectory_energy(&t, &energy);
      n_leaves++;
      if (status == MP_OK && !isfinite(energy)) status = MP_NON_FINITE;
      if (status == MP_OK && !(energy - energy_start <= 1000.0)) status = MP_ENERGY_ERROR;
      if (status != MP_OK) break;

      if (mp_multinomial_add(&m, energy_start - energy, leaf == 0, rng)) {
        memcpy(vectors + Q_CANDIDATE * s, t.at->q, bytes);
        memcpy(vectors + G_CANDIDATE * s, t.at->grad, bytes);
        logp_candidate = t.at->logp;
        energy_candidate = energy;
      }
      single(s, t.p, t.v, tree);
      int level = 0;
      for (; (leaf >> level) & 1 && !turning; level++) {
        double *before = waiting + (size_t)level * N_SUBTREE * s;
        turning = turns(s, before, tree);
        put_before(s, before, tree);
      }
      if (!turning) memcpy(waiting + (size_t)level * N_SUBTREE * s, tree, N_SUBTREE * bytes);
    }
    if (status != MP_OK || turning) break;

    if (mp_multinomial_join(&m, rng)) {
      memcpy(vectors + Q_PROPOSED * s, vectors + Q_CANDIDATE * s, 2 * bytes);
      logp_proposed = logp_candidate;
      energy_proposed = energy_candidate;
      moved = 1;
    }
    memcpy(vectors + (forward ? Q_RIGHT : Q_LEFT) * s, t.q, bytes);
    memcpy(vectors + (forward ? P_RIGHT : P_LEFT) * s, t.p, bytes);
    if (!forward) reverse(s, whole); /* in the order of this doubling the trajectory begins at its forward end */
    turning = turns(s, whole, tree);
    put_before(s, whole, tree);
    memcpy(whole, tree, N_SUBTREE * bytes);
    if (!forward) reverse(s, whole);
    depth++;
  }

  if (status < 0) return status;
  if (moved) {
    memcpy(x, vectors + Q_PROPOSED * s, dim * sizeof *x);
    memcpy(grad, vectors + G_PROPOSED * s, dim * sizeof *x);
    *logp = logp_proposed;
  }
  double n = n_leaves > 0 ? (double)n_leaves : 1.0;
  *info = (mp_riemannian_nuts_info){
      {*logp, m.accept_sum / n, (int32_t)t.g.n_grad, (uint8_t)moved, status != MP_OK, (int16_t)status},
      energy_proposed,
      energy_proposed - energy_start,
      m.accept_sum_symmetric / n,
      options->tuning.step_size,
      depth,
      n_leaves,
      t.iterations,
      t.g.n_metric,
      status == MP_NOT_CONVERGED,
      status == MP_NON_REVERSIBLE};
  return MP_OK;
}

int mp_riemannian_nuts_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state,
                            double *work, mp_info *info) {
  const mp_riemannian_options *o = options;
  mp_library_hold(o->get_threads, o->set_threads);
  int status = draw(options, density, rng, state, work, info);
  mp_library_let_go(o->set_threads);
  return status;
}
