/* Riemannian manifold Hamiltonian Monte Carlo with a fixed or jittered number of steps. */
#ifndef MICROPOLIS_RIEMANNIAN_H
#define MICROPOLIS_RIEMANNIAN_H

#include <micropolis/kernel.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mp_riemannian_integrator {
  MP_IMPLICIT = 0,            /* generalised leapfrog (Leimkuhler & Reich 2004, 4.1; Girolami & Calderhead 2011) */
  MP_MIDPOINT = 1,            /* implicit midpoint */
  MP_EXPLICIT = 2,            /* two copies of phase space, projected symmetrically (Jayawardana & Ohsawa 2023) */
  MP_EXPLICIT_UNCORRECTED = 3 /* two copies, bound and never projected (Tao 2016; Cobb et al. 2019): biased */
};

enum mp_riemannian_metric {
  MP_SOFTABS = 0,          /* Q diag(l coth(alpha l)) Q' of the Hessian of U (Betancourt 2013) */
  MP_HESSIAN = 1,          /* the Hessian of U itself */
  MP_HESSIAN_DIAGONAL = 2, /* its diagonal */
  MP_GRADIENT_SQUARE = 3,  /* diag(gradient^2) + ridge */
  MP_USER_METRIC = 4       /* a function of the user's */
};

typedef struct mp_riemannian_options {
  mp_tuning tuning; /* the step size; scale is not looked at */
  int64_t n_steps;
  double jitter; /* in [0, 1): the number of steps is uniform on n_steps (1 -+ jitter), rounded, at least 1 */
  int64_t integrator; /* mp_riemannian_integrator */
  double tolerance;   /* on the largest residual of an implicit equation, relative as mp_solver_look has it */
  int64_t max_iterations;
  double reversibility;  /* > 0: each step is taken back and must return this closely */
  double binding;        /* omega of MP_EXPLICIT_UNCORRECTED */
  int64_t kind;          /* mp_riemannian_metric */
  double parameter;      /* alpha of SoftAbs, ridge of the squared gradient */
  double metric_jitter; /* a diagonal drawn from U(0, metric_jitter) once per trajectory is added to SoftAbs' Hessian */
  /* MP_USER_METRIC: G[dim * dim], and sum_ij m_ij dG_ij/dq_k, both into zeros; the second argument of both is q */
  mp_hessian_fn user_metric;
  mp_third_product_fn user_contraction;
  void *user_data;
  void *lapack; /* dsyevd for more than MP_EIGEN_INLINED dimensions; NULL: the inlined solver */
  int (*get_threads)(void); /* of its library, which gets one while a step runs; may be NULL */
  void (*set_threads)(int);
  int64_t max_depth; /* of mp_riemannian_nuts, which looks neither at n_steps nor at jitter */
} mp_riemannian_options;

typedef struct mp_riemannian_info {
  mp_info head;
  double energy; /* Hamiltonian at the new state, with the momentum the trajectory ended or began with */
  double energy_error; /* H(end) - H(start) */
  double step_size;
  int64_t n_steps; /* integrator steps made */
  int64_t fixed_point_iterations; /* residuals looked at in implicit equations */
  int64_t n_metric; /* evaluations of the metric: for SoftAbs as many Hessians and eigen-decompositions */
  uint8_t not_converged, non_reversible;
} mp_riemannian_info;

size_t mp_riemannian_work_size(const void *options, size_t dim);
int mp_riemannian_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state, double *work,
                       mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
