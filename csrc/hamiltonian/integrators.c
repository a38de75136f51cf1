/* The array-level leapfrog: plain momenta, any inverse mass, one row at a time. */
#include "hamiltonian/integrators.h"

static MP_CLONES void add(size_t dim, double factor, const double *x, double *out) {
  for (size_t i = 0; i < dim; i++) out[i] = out[i] + factor * x[i];
}

/* out = M^-1 p */
static MP_CLONES void multiply_mass(size_t dim, int kind, const double *inverse_mass, const double *p, double *out) {
  for (size_t i = 0; i < dim; i++) {
    if (kind == 0) {
      out[i] = p[i];
    } else if (kind == 1) {
      out[i] = inverse_mass[i] * p[i];
    } else {
      out[i] = 0.0;
      for (size_t j = 0; j < dim; j++) out[i] += inverse_mass[i * dim + j] * p[j];
    }
  }
}

int mp_leapfrog_run(const mp_density *density, size_t dim, int kind, double eps, int64_t n_steps,
                    const double *inverse_mass, double *q, double *p, double *logp, double *grad, double *velocity) {
  int code = mp_density_logp_grad(density, q, grad, logp);
  for (int64_t step = 0; step < n_steps && !code; step++) {
    add(dim, 0.5 * eps, grad, p);
    multiply_mass(dim, kind, inverse_mass, p, velocity);
    add(dim, eps, velocity, q);
    code = mp_density_logp_grad(density, q, grad, logp);
    if (!code) add(dim, 0.5 * eps, grad, p);
  }
  if (code) *logp = NAN;
  return code;
}
