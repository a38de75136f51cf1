/* The No-U-Turn sampler under a position-dependent metric. */
#ifndef MICROPOLIS_RIEMANNIAN_NUTS_H
#define MICROPOLIS_RIEMANNIAN_NUTS_H

#include <hamiltonian/riemannian.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_RIEMANNIAN_NUTS_MAX_DEPTH 20

typedef mp_riemannian_options mp_riemannian_nuts_options;

typedef struct mp_riemannian_nuts_info {
  mp_info head;
  double energy;                /* Hamiltonian at the new state */
  double energy_error;          /* H(new state) - H(start) */
  double accept_prob_symmetric; /* mean of 2 min(1, r) / (1 + r), r = exp(H(start) - H) */
  double step_size;
  int64_t depth;   /* doublings that were kept */
  int64_t n_steps; /* integrator steps made */
  int64_t fixed_point_iterations, n_metric; /* as in mp_riemannian_info */
  uint8_t not_converged, non_reversible;    /* what ended the trajectory */
} mp_riemannian_nuts_info;

size_t mp_riemannian_nuts_work_size(const void *options, size_t dim);
int mp_riemannian_nuts_step(const void *options, const mp_density *density, bitgen_t *rng, mp_state *state,
                            double *work, mp_info *info);

#ifdef __cplusplus
}
#endif
#endif
