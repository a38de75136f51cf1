/* Hessian and third derivatives by differences, for densities that have none of their own. */
#ifndef MICROPOLIS_DIFFERENCES_H
#define MICROPOLIS_DIFFERENCES_H

#include <limits.h>
#include <micropolis/density.h>

#define MP_DIFFERENCE_NON_FINITE INT_MAX /* a log density on the way was not finite */

#ifdef __cplusplus
extern "C" {
#endif

/* Relative to the log density's third and fifth derivatives on the scale max(1, |x_i|): errors of 1e-12 in the Hessian,
 * 1e-10 in the third derivatives, four gradients for each column or pair. `work` holds 4 * dim doubles; *n_grad counts
 * evaluations. 0, the density's code or MP_DIFFERENCE_NON_FINITE. */
int mp_difference_hessian(const mp_density *density, const double *x, double *hessian, double *work, int64_t *n_grad);

/* third[(i (i + 1) / 2 + j) * dim + k] = d3 log p / dx_i dx_j dx_k, j <= i: from Hessians where the density has them. `grad`
 * is the gradient at x; `work` holds 4 * dim + dim * dim doubles. */
int mp_difference_third(const mp_density *density, const double *x, const double *grad, double *third, double *work,
                        int64_t *n_grad);

/* product[k] = sum_ij m_ij third_ijk */
void mp_contract_third(size_t dim, const double *third, const double *m, double *product);

#ifdef __cplusplus
}
#endif
#endif
