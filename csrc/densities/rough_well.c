/* Rough well: log p = -sum_i (x_i^2 / 2 + eta cos(x_i / eta)), unnormalised (Sohl-Dickstein et al. 2014, "Hamiltonian
 * Monte Carlo without detailed balance"; Levy et al. 2018, L2HMC). */
#include <math.h>
#include <string.h>

#include "densities/densities.h"

/* user_data of mp_rough_well */
typedef struct {
  double eta;
} rough_well;

static int rough_well_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  double eta = ((rough_well *)user_data)->eta, energy = 0;
  for (size_t i = 0; i < dim; i++) {
    double angle = x[i] / eta;
    energy += 0.5 * x[i] * x[i] + eta * cos(angle);
    grad[i] = sin(angle) - x[i];
  }
  *logp = -energy;
  return 0;
}

static int rough_well_value(size_t dim, const double *x, double *logp, void *user_data) {
  double eta = ((rough_well *)user_data)->eta, energy = 0;
  for (size_t i = 0; i < dim; i++) energy += 0.5 * x[i] * x[i] + eta * cos(x[i] / eta);
  *logp = -energy;
  return 0;
}

static int rough_well_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  double eta = ((rough_well *)user_data)->eta;
  memset(hessian, 0, dim * dim * sizeof(double));
  for (size_t i = 0; i < dim; i++) hessian[i * dim + i] = cos(x[i] / eta) / eta - 1;
  return 0;
}

static int rough_well_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  double eta = ((rough_well *)user_data)->eta;
  for (size_t i = 0; i < dim; i++) product[i] = (cos(x[i] / eta) / eta - 1) * v[i];
  return 0;
}

static int rough_well_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  double eta = ((rough_well *)user_data)->eta;
  for (size_t i = 0; i < dim; i++) product[i] = -sin(x[i] / eta) / eta / eta * m[i * dim + i];
  return 0;
}

const mp_density mp_rough_well = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = rough_well_logp_grad,
    .value = rough_well_value,
    .hessian = rough_well_hessian,
    .hvp = rough_well_hvp,
    .third_product = rough_well_third_product,
};
