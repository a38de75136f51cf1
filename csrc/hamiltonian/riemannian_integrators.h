/* One step of Hamilton's equations under a position-dependent metric, by four integrators. */
#ifndef MICROPOLIS_RIEMANNIAN_INTEGRATORS_H
#define MICROPOLIS_RIEMANNIAN_INTEGRATORS_H

#include "hamiltonian/metric.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Solves residual(x) = 0 by Broyden's method (1965), x of one or two vectors; the inverse Jacobian serves the next
 * step as well, whose equations differ little. */
typedef struct mp_solver {
  size_t dim, stride, parts;
  double start;     /* the inverse Jacobian begins as start * I */
  double *inverse;  /* [parts * dim][parts * stride] */
  double *residual, *change, *difference, *product;
  int moved;
  size_t position; /* which part of the unknowns is a position */
  double size;     /* least of the sizes of parts, at most 1 */
} mp_solver;

/* The last three of a sequence of vectors, extrapolated by the polynomial through them. */
typedef struct mp_history {
  size_t length;
  int age;
  double *last, *before, *oldest;
} mp_history;

typedef struct mp_trajectory {
  const mp_riemannian_options *options;
  mp_geometry g;
  mp_point points[2], *at, *trial;
  int fresh;      /* `at` is the point at q with its base */
  double *q, *p;  /* where the trajectory is */
  double *q_first, *p_first, *q_copy, *p_copy; /* explicit integrators: the two copies */
  double *q_from, *p_from, *q_back, *p_back;   /* ends of a step that is taken back */
  double *half;   /* unknowns: half-step momentum; midpoint or projection (q, p) */
  double *v, *v_end, *force;
  mp_solver solver, solver_q;
  mp_history history, history_q;
  int64_t iterations;
} mp_trajectory;

size_t mp_trajectory_work_size(size_t dim);
void mp_trajectory_place(mp_trajectory *t, const mp_riemannian_options *options, const mp_density *density,
                         double *work);
/* Metric and base at t->q; `known`: t->at->logp and grad are there. An mp_status. */
int mp_trajectory_start(mp_trajectory *t, int known);
/* Forget the previous steps: the next one belongs to another trajectory, or runs the other way. */
void mp_trajectory_forget(mp_trajectory *t);
/* From (q, p) on by eps. An mp_status. */
int mp_trajectory_step(mp_trajectory *t, double eps);
/* H(q, p); the point at q is evaluated if it is not. An mp_status. */
int mp_trajectory_energy(mp_trajectory *t, double *energy);
/* n_steps from (q, p), in place, for arrays of the caller's: *energy and force[dim] = dH/dq at the end. The first status
 * that is not MP_OK ends the run, with *energy NaN. */
int mp_trajectory_run(const mp_riemannian_options *options, const mp_density *density, double eps, int64_t n_steps,
                      double *q, double *p, double *energy, double *force, int64_t *iterations, double *work);

#ifdef __cplusplus
}
#endif
#endif
