/* Leapfrog in whitened momenta, and the dot products of the U-turn criterion, fused into single passes.
 *
 * With inverse mass S S' a momentum p is kept as w = S' p, which is N(0, I) and has kinetic energy w'w / 2. A step is
 *     w += eps/2 S' grad;   q += eps S w;   w += eps/2 S' grad(q)
 * and the velocity dotted with a momentum, v'p, is w'w: the metric enters the two kicks and the drift and nothing else. */
#ifndef MICROPOLIS_INTEGRATORS_H
#define MICROPOLIS_INTEGRATORS_H

#include <micropolis/kernel.h>

/* One leapfrog step from (q, w, grad) to (q_new, w_new, grad_new, *logp_new); *kinetic = w_new'w_new / 2. `scratch` has dim
 * numbers (dense metrics). In-place w is fine; q_new and grad_new must not be q and grad. The density's return code. */
int mp_leapfrog(const mp_density *density, const mp_tuning *tuning, double eps, const double *q, const double *w,
                const double *grad, double *q_new, double *w_new, double *grad_new, double *logp_new, double *kinetic,
                double *scratch);

/* n_steps from (q, p) with plain momenta, in place. `kind` 0: unit inverse mass, 1: inverse_mass[dim], 2: [dim * dim].
 * logp and grad are filled at the start and hold the end; a rejected point ends the run with logp NaN. The density's
 * return code. */
int mp_leapfrog_run(const mp_density *density, size_t dim, int kind, double eps, int64_t n_steps,
                    const double *inverse_mass, double *q, double *p, double *logp, double *grad, double *velocity);

/* w'w / 2 */
double mp_kinetic(size_t dim, const double *w);

/* mp_status of an end point: MP_OK, or why it is a rejection. Non-finite gradients show in the kinetic energy. */
int mp_leapfrog_status(int code, double energy, double energy_start);

/* U-turn criteria of Betancourt (2017, appendix A.4.2) with the two extra checks across subtrees of Stan; `first` and
 * `last` are whitened momenta at the ends of a subtree in the order of integration, `sum` over all its points. 1: the
 * merged tree a + b turns. */
int mp_turns_leaves(size_t dim, const double *a, const double *b);
/* two points each; the sum of all four goes to `sum`, which may be a_last */
int mp_turns_pairs(size_t dim, const double *a_first, const double *a_last, const double *b_first, const double *b_last,
                   double *sum);
/* the merged sum replaces a_sum */
int mp_turns_trees(size_t dim, const double *a_first, const double *a_last, double *a_sum, const double *b_first,
                   const double *b_last, const double *b_sum);

#endif
