/* Integrators for H(q, p) = U + log det G(q) / 2 + p' G(q)^-1 p / 2, which does not separate. */
#include "hamiltonian/riemannian_integrators.h"

#include "common/library_threads.h"
#include "hamiltonian/solver.h"

size_t mp_trajectory_work_size(size_t dim) {
  size_t stride = mp_padded(dim);
  /* vectors; two solvers: a square of two vectors' length and four of these; two histories of three */
  return mp_geometry_work_size(dim) + 2 * mp_point_size(dim) + 15 * stride + (4 * dim * stride + 8 * stride) +
         (dim * stride + 4 * stride) + 9 * stride;
}

static double *place_solver(mp_solver *s, size_t dim, size_t parts, size_t position, double start, double *work) {
  size_t stride = mp_padded(dim), length = parts * stride;
  double *after = work + parts * dim * length;
  *s = (mp_solver){dim, stride,   parts, start, work, after, after + length, after + 2 * length, after + 3 * length,
                   0,   position, 1.0};
  memset(after, 0, 4 * length * sizeof *work);
  return after + 4 * length;
}

static double *place_history(mp_history *h, size_t length, double *work) {
  *h = (mp_history){length, 0, work, work + length, work + 2 * length};
  return work + 3 * length;
}

void mp_trajectory_place(mp_trajectory *t, const mp_riemannian_options *options, const mp_density *density,
                         double *work) {
  size_t dim = density->dim, stride = mp_padded(dim);
  int two = options->integrator == MP_MIDPOINT || options->integrator == MP_EXPLICIT;
  t->options = options;
  work = mp_geometry_place(&t->g, options, density, work);
  work = mp_point_place(&t->points[0], dim, work);
  work = mp_point_place(&t->points[1], dim, work);
  t->at = &t->points[0];
  t->trial = &t->points[1];
  /* (q, p) of two unknowns lie one behind the other, here and below */
  double **vectors[] = {&t->q,      &t->p,      &t->q_first, &t->p_first, &t->q_copy, &t->p_copy, &t->q_from,
                        &t->p_from, &t->q_back, &t->p_back,  &t->v,       &t->v_end,  &t->force};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++, work += stride) *vectors[i] = work;
  t->half = work;
  double start = options->integrator == MP_EXPLICIT ? 0.25 : 1.0;
  work = place_solver(&t->solver, dim, two ? 2 : 1, two ? 0 : 1, start, work + 2 * stride);
  work = place_solver(&t->solver_q, dim, 1, 0, 1.0, work);
  work = place_history(&t->history, (two ? 2 : 1) * stride, work);
  place_history(&t->history_q, stride, work);
  t->fresh = 0;
  t->iterations = 0;
  mp_trajectory_forget(t);
}

void mp_trajectory_forget(mp_trajectory *t) {
  mp_solver_reset(&t->solver);
  mp_solver_reset(&t->solver_q);
  t->history.age = t->history_q.age = 0;
}

static void set(size_t n, const double *x, double *out) { memcpy(out, x, n * sizeof *x); }

MP_INLINE void add_scaled(size_t n, const double *x, double factor, const double *y, double *out) {
  for (size_t i = 0; i < n; i += MP_LANES) mp_store8(out + i, mp_load8(x + i) + factor * mp_load8(y + i));
}

int mp_trajectory_start(mp_trajectory *t, int known) {
  set(t->g.stride, t->q, t->at->q);
  int status = mp_geometry_metric(&t->g, t->at);
  if (status == MP_OK) status = mp_geometry_base(&t->g, t->at, known);
  t->fresh = status == MP_OK;
  return status;
}

int mp_trajectory_energy(mp_trajectory *t, double *energy) {
  if (!t->fresh) {
    int status = mp_trajectory_start(t, 0);
    if (status != MP_OK) return status;
  }
  mp_geometry_velocity(&t->g, t->at, t->p, t->v);
  double kinetic = 0.5 * mp_rows_dot(t->g.stride, 1, t->p, t->v);
  *energy = (kinetic + 0.5 * mp_geometry_log_det(&t->g, t->at)) - t->at->logp;
  return MP_OK;
}

static int code_status(int code) { return code == 0 ? MP_OK : code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED; }

/* Look at the residual on the way from `from` to `to`: MP_OK with *done, or move x, or a status that ends the trajectory. */
MP_INLINE int iterate(mp_trajectory *t, mp_solver *s, int64_t iteration, const double *from, const double *to,
                      double *x, int *done) {
  t->iterations++;
  int state = mp_solver_look(s, t->options->tolerance, from, to);
  *done = state == MP_SOLVER_DONE;
  if (*done) return MP_OK;
  if (state == MP_SOLVER_LOST) return MP_NON_FINITE;
  if (iteration + 1 >= t->options->max_iterations) return MP_NOT_CONVERGED;
  mp_solver_move(s, x);
  return MP_OK;
}

/* p_h = p - eps/2 H_q(q, p_h);  q' = q + eps/2 [H_p(q, p_h) + H_p(q', p_h)];  p' = p_h - eps/2 H_q(q', p_h).
 *
 * Guesses: the two kicks at one q differ by their momenta, the two velocities at one p_h by their positions; both
 * differences change slowly from step to step. */
static MP_CLONES int implicit_leapfrog(mp_trajectory *t, double eps) {
  size_t stride = t->g.stride;
  double half = 0.5 * eps, *p_half = t->half, *kick = t->half + stride, *difference = t->q_copy;
  int done = 0, status;
  /* kick holds what the last step ended with */
  mp_history_guess(&t->history, difference);
  for (size_t i = 0; i < stride; i += MP_LANES) {
    mp_v8 guess = mp_load8(t->p + i) + mp_load8(difference + i);
    if (t->history.age > 0) guess += mp_load8(kick + i);
    mp_store8(p_half + i, guess);
  }
  t->solver.moved = 0;
  for (int64_t iteration = 0; !done; iteration++) {
    int code = mp_geometry_force(&t->g, t->at, p_half, t->v, t->force);
    if (code) return code_status(code);
    for (size_t i = 0; i < stride; i += MP_LANES)
      mp_store8(t->solver.residual + i, (mp_load8(p_half + i) - mp_load8(t->p + i)) + half * mp_load8(t->force + i));
    status = iterate(t, &t->solver, iteration, t->p, p_half, p_half, &done);
    if (status != MP_OK) return status;
  }
  double *next = mp_history_next(&t->history);
  for (size_t i = 0; i < stride; i += MP_LANES) {
    mp_v8 gap = {0};
    if (t->history_q.age > 0) gap = (mp_load8(p_half + i) - mp_load8(t->p + i)) - mp_load8(kick + i);
    mp_store8(next + i, gap);
  }

  double *q_new = t->trial->q;
  mp_history_guess(&t->history_q, difference);
  for (size_t i = 0; i < stride; i += MP_LANES)
    mp_store8(q_new + i, (mp_load8(t->q + i) + eps * mp_load8(t->v + i)) + half * mp_load8(difference + i));
  t->solver_q.moved = done = 0;
  for (int64_t iteration = 0; !done; iteration++) {
    status = mp_geometry_metric(&t->g, t->trial);
    if (status != MP_OK) return status;
    mp_geometry_velocity(&t->g, t->trial, p_half, t->v_end);
    for (size_t i = 0; i < stride; i += MP_LANES)
      mp_store8(t->solver_q.residual + i,
                (mp_load8(q_new + i) - mp_load8(t->q + i)) - half * (mp_load8(t->v + i) + mp_load8(t->v_end + i)));
    status = iterate(t, &t->solver_q, iteration, t->q, q_new, q_new, &done);
    if (status != MP_OK) return status;
  }
  next = mp_history_next(&t->history_q);
  add_scaled(stride, t->v_end, -1.0, t->v, next);

  status = mp_geometry_base(&t->g, t->trial, 0);
  if (status != MP_OK) return status;
  int code = mp_geometry_force(&t->g, t->trial, p_half, t->v_end, t->force);
  if (code) return code_status(code);
  for (size_t i = 0; i < stride; i += MP_LANES) {
    mp_v8 second = -half * mp_load8(t->force + i);
    mp_store8(kick + i, second);
    mp_store8(t->p + i, mp_load8(p_half + i) + second);
  }
  set(stride, q_new, t->q);
  mp_point *old = t->at;
  t->at = t->trial;
  t->trial = old;
  return MP_OK;
}

/* Metric, base, velocity and force at (q, p): all of dH at one place. */
static int gradients(mp_trajectory *t, const double *q, const double *p) {
  set(t->g.stride, q, t->trial->q);
  int status = mp_geometry_metric(&t->g, t->trial);
  if (status == MP_OK) status = mp_geometry_base(&t->g, t->trial, 0);
  if (status != MP_OK) return status;
  return code_status(mp_geometry_force(&t->g, t->trial, p, t->v, t->force));
}

/* (q, p) in the middle: q_m = q + eps/2 H_p(q_m, p_m), p_m = p - eps/2 H_q(q_m, p_m); then as far again. */
static MP_CLONES int implicit_midpoint(mp_trajectory *t, double eps) {
  size_t stride = t->g.stride;
  double half = 0.5 * eps, *q_mid = t->half, *p_mid = t->half + stride, *r = t->solver.residual;
  int done = 0;
  mp_history_guess(&t->history, q_mid);
  add_scaled(stride, t->q, 1.0, q_mid, q_mid);
  add_scaled(stride, t->p, 1.0, p_mid, p_mid);
  t->solver.moved = 0;
  for (int64_t iteration = 0; !done; iteration++) {
    int status = gradients(t, q_mid, p_mid);
    if (status != MP_OK) return status;
    for (size_t i = 0; i < stride; i += MP_LANES) {
      mp_store8(r + i, (mp_load8(q_mid + i) - mp_load8(t->q + i)) - half * mp_load8(t->v + i));
      mp_store8(r + stride + i, (mp_load8(p_mid + i) - mp_load8(t->p + i)) + half * mp_load8(t->force + i));
    }
    status = iterate(t, &t->solver, iteration, t->q, q_mid, q_mid, &done);
    if (status != MP_OK) return status;
  }
  double *next = mp_history_next(&t->history);
  add_scaled(stride, q_mid, -1.0, t->q, next);
  add_scaled(stride, p_mid, -1.0, t->p, next + stride);
  add_scaled(stride, q_mid, 1.0, next, t->q);
  add_scaled(stride, p_mid, 1.0, next + stride, t->p);
  t->fresh = 0;
  return MP_OK;
}

/* A: p -= h H_q(q, p~), q~ += h H_p(q, p~). B is the same with the copies exchanged. */
static int turn(mp_trajectory *t, double h, const double *q, double *p, double *q_copy, const double *p_copy) {
  int status = gradients(t, q, p_copy);
  if (status != MP_OK) return status;
  for (size_t i = 0; i < t->g.dim; i++) {
    p[i] -= h * t->force[i];
    q_copy[i] += h * t->v[i];
  }
  return MP_OK;
}

/* The copies start at (q + a, p + b) and (q - a, p - b), and (a, b) is such that they can be joined the same way. */
static MP_CLONES int explicit_projected(mp_trajectory *t, double eps) {
  size_t stride = t->g.stride;
  double *a = t->half, *b = t->half + stride, *r = t->solver.residual;
  double *q = t->q_first, *p = t->p_first;
  int done = 0;
  mp_history_guess(&t->history, a);
  t->solver.moved = 0;
  for (int64_t iteration = 0; !done; iteration++) {
    add_scaled(stride, t->q, 1.0, a, q);
    add_scaled(stride, t->q, -1.0, a, t->q_copy);
    add_scaled(stride, t->p, 1.0, b, p);
    add_scaled(stride, t->p, -1.0, b, t->p_copy);
    int status = turn(t, 0.5 * eps, q, p, t->q_copy, t->p_copy);
    if (status == MP_OK) status = turn(t, eps, t->q_copy, t->p_copy, q, p);
    if (status == MP_OK) status = turn(t, 0.5 * eps, q, p, t->q_copy, t->p_copy);
    if (status != MP_OK) return status;
    for (size_t i = 0; i < stride; i += MP_LANES) {
      mp_store8(r + i, (mp_load8(q + i) - mp_load8(t->q_copy + i)) + 2.0 * mp_load8(a + i));
      mp_store8(r + stride + i, (mp_load8(p + i) - mp_load8(t->p_copy + i)) + 2.0 * mp_load8(b + i));
    }
    status = iterate(t, &t->solver, iteration, t->q, q, a, &done);
    if (status != MP_OK) return status;
  }
  set(2 * stride, a, mp_history_next(&t->history));
  for (size_t i = 0; i < t->g.dim; i++) {
    t->q[i] = 0.5 * (q[i] + t->q_copy[i]);
    t->p[i] = 0.5 * (p[i] + t->p_copy[i]);
  }
  t->fresh = 0;
  return MP_OK;
}

/* A B C B A, C the rotation of the copies' difference by 2 omega eps. */
static int explicit_bound(mp_trajectory *t, double eps) {
  size_t dim = t->g.dim;
  double angle = 2.0 * t->options->binding * eps, cosine = cos(angle), sine = sin(angle);
  if (t->history.age == 0) {
    set(t->g.stride, t->q, t->q_copy);
    set(t->g.stride, t->p, t->p_copy);
    t->history.age = 1;
  }
  int status = turn(t, 0.5 * eps, t->q, t->p, t->q_copy, t->p_copy);
  if (status == MP_OK) status = turn(t, 0.5 * eps, t->q_copy, t->p_copy, t->q, t->p);
  if (status != MP_OK) return status;
  for (size_t i = 0; i < dim; i++) {
    double q_sum = t->q[i] + t->q_copy[i], p_sum = t->p[i] + t->p_copy[i];
    double dq = t->q[i] - t->q_copy[i], dp = t->p[i] - t->p_copy[i];
    double turned = cosine * dq + sine * dp;
    dp = cosine * dp - sine * dq;
    t->q[i] = 0.5 * (q_sum + turned);
    t->q_copy[i] = 0.5 * (q_sum - turned);
    t->p[i] = 0.5 * (p_sum + dp);
    t->p_copy[i] = 0.5 * (p_sum - dp);
  }
  status = turn(t, 0.5 * eps, t->q_copy, t->p_copy, t->q, t->p);
  if (status == MP_OK) status = turn(t, 0.5 * eps, t->q, t->p, t->q_copy, t->p_copy);
  t->fresh = 0;
  return status;
}

static int one_way(mp_trajectory *t, double eps) {
  switch (t->options->integrator) {
  case MP_IMPLICIT: return implicit_leapfrog(t, eps);
  case MP_MIDPOINT: return implicit_midpoint(t, eps);
  case MP_EXPLICIT: return explicit_projected(t, eps);
  default: return explicit_bound(t, eps);
  }
}

/* Whether a step from x to `end` and back has come to y: within tolerance of the size that mp_solver_look takes. */
static int agree(size_t dim, const double *x, const double *end, const double *y, int position, double tolerance) {
  double size = 0.0, largest = 0.0;
  for (size_t i = 0; i < dim; i++) {
    double gap = fabs(end[i] - x[i]), most = fabs(x[i]) > fabs(end[i]) ? fabs(x[i]) : fabs(end[i]);
    size = gap > size ? gap : size;
    largest = most > largest ? most : largest;
  }
  double limit = tolerance * (position ? size : largest) + MP_POSITION_ROUNDING * largest;
  for (size_t i = 0; i < dim; i++)
    if (!(fabs(x[i] - y[i]) <= limit)) return 0;
  return 1;
}

/* Take the step just made back, on its own: 0, or a status. The state is the end of the step before and after. */
static int take_back(mp_trajectory *t, double eps) {
  size_t dim = t->g.dim, stride = t->g.stride;
  mp_point *at = t->at, *trial = t->trial;
  int fresh = t->fresh;
  set(stride, t->q, t->q_back);
  set(stride, t->p, t->p_back);
  mp_trajectory_forget(t);
  int status = one_way(t, -eps);
  double tolerance = t->options->reversibility;
  int there = agree(dim, t->q_from, t->q_back, t->q, 1, tolerance) &&
              agree(dim, t->p_from, t->p_back, t->p, 0, tolerance);
  if (status > 0 || (status == MP_OK && !there)) status = MP_NON_REVERSIBLE;
  mp_trajectory_forget(t);
  set(stride, t->q_back, t->q);
  set(stride, t->p_back, t->p);
  t->at = at;
  t->trial = trial;
  t->fresh = fresh;
  return status;
}

int mp_trajectory_step(mp_trajectory *t, double eps) {
  if (!(t->options->reversibility > 0.0)) return one_way(t, eps);
  set(t->g.stride, t->q, t->q_from);
  set(t->g.stride, t->p, t->p_from);
  int status = one_way(t, eps);
  return status == MP_OK ? take_back(t, eps) : status;
}

int mp_trajectory_run(const mp_riemannian_options *options, const mp_density *density, double eps, int64_t n_steps,
                      double *q, double *p, double *energy, double *force, int64_t *iterations, double *work) {
  size_t dim = density->dim;
  mp_trajectory t;
  mp_trajectory_place(&t, options, density, work);
  memset(t.g.jitter, 0, dim * sizeof(double));
  set(dim, q, t.q);
  set(dim, p, t.p);
  *energy = NAN;
  mp_library_hold(options->get_threads, options->set_threads);
  int status = mp_trajectory_start(&t, 0);
  for (int64_t step = 0; step < n_steps && status == MP_OK; step++) status = mp_trajectory_step(&t, eps);
  if (status == MP_OK) status = mp_trajectory_energy(&t, energy);
  if (status == MP_OK) status = code_status(mp_geometry_force(&t.g, t.at, t.p, t.v, t.force));
  mp_library_let_go(options->set_threads);
  if (status != MP_OK)
    for (size_t i = 0; i < dim; i++) t.force[i] = NAN;
  set(dim, t.q, q);
  set(dim, t.p, p);
  set(dim, t.force, force);
  *iterations = t.iterations;
  return status;
}
