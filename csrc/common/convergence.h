/* Split R-hat and batch-means effective sample size of every coordinate, in one pass over the draws. */
#ifndef MICROPOLIS_CONVERGENCE_H
#define MICROPOLIS_CONVERGENCE_H

#include <stddef.h>

/* Draws of all chains, in one array whose last axis is contiguous. */
typedef struct mp_draws {
  size_t n_chains, n_draws, dim;
  const char *data;
  ptrdiff_t chain_stride, draw_stride; /* bytes */
  int single;                          /* float, else double */
} mp_draws;

/* r_hat[dim] (Gelman et al. 2013, Bayesian Data Analysis, 11.4, without ranks) and ess[dim] by batch means of length
 * sqrt(n_draws) (Flegal and Jones 2010) of at least 4 draws; the middle one of an odd number is left out. Half a chain
 * is a remainder that fills no batch, and batches. */
void mp_convergence(const mp_draws *draws, double *r_hat, double *ess);

#endif
