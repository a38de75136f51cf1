/* Position-dependent metrics: G(q), its inverse and determinant, and the force of H = U + log det(G) / 2 + p' G^-1 p / 2.
 *
 * A point keeps what belongs to one position. Its force is
 *     dH/dq_k = base_k + sum_ij W_ij d3 log p / dq_i dq_j dq_k,   base = dU/dq + 1/2 tr(G^-1 dG/dq),
 * with one symmetric matrix W quadratic in the velocity, so that an iteration in p costs one contraction and no
 * factorisation. A density without Hessian or third derivative has them by differences, see common/differences.h. */
#ifndef MICROPOLIS_METRIC_H
#define MICROPOLIS_METRIC_H

#include "common/eigen.h"
#include "hamiltonian/riemannian.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Everything at one position; vectors have a stride of mp_padded(dim), zeros behind dim. */
typedef struct mp_point {
  double *q, *grad; /* of log density */
  double *base;
  double *values; /* eigenvalues of the Hessian of U */
  double *scale; /* SoftAbs: s; diagonal metrics: G_ii; dense ones: 1 */
  double *rows; /* V with G^-1 = V' diag(1 / scale) V: eigenvectors, or the inverse Cholesky factor; GRADIENT_SQUARE:
                     the Hessian */
  double *slopes; /* SoftAbs: divided differences J */
  double *third; /* third derivatives by differences, where the density has none */
  double logp;
} mp_point;

typedef struct mp_geometry {
  const mp_riemannian_options *options;
  const mp_density *density;
  size_t dim, stride;
  double *jitter;
  double *a, *b, *c, *plain; /* matrices of scratch */
  double *u, *v, *w, *eigen;
  int64_t n_grad, n_metric; /* evaluations of the density, and of the metric */
} mp_geometry;

size_t mp_geometry_work_size(size_t dim);
size_t mp_point_size(size_t dim);
/* Lay both out in `work`; the return value is what is behind them. */
double *mp_geometry_place(mp_geometry *g, const mp_riemannian_options *options, const mp_density *density,
                          double *work);
double *mp_point_place(mp_point *point, size_t dim, double *work);

/* The metric at point->q: enough for mp_geometry_velocity, _log_det and _momentum. An mp_status. */
int mp_geometry_metric(mp_geometry *g, mp_point *point);
/* And what mp_geometry_force needs: log density, gradient, base. An mp_status; `known`: logp and grad are there. */
int mp_geometry_base(mp_geometry *g, mp_point *point, int known);

double mp_geometry_log_det(const mp_geometry *g, const mp_point *point);
/* p = G^(1/2) z */
void mp_geometry_momentum(const mp_geometry *g, const mp_point *point, const double *z, double *p);
/* v = G^-1 p */
void mp_geometry_velocity(const mp_geometry *g, const mp_point *point, const double *p, double *v);
/* out = dH/dq at (point, p), v = G^-1 p. 0 or the density's code. */
int mp_geometry_force(mp_geometry *g, const mp_point *point, const double *p, double *v, double *out);

#ifdef __cplusplus
}
#endif
#endif
