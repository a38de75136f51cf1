/* Densities traced from NumPy code: CasADi function buffers evaluated without the GIL.
 *
 * A CasADi FunctionBuffer owns its work arrays and its memory slot and reads and writes fixed addresses, so each handle
 * holds its own and shares nothing. The table behind casadi_c_push_file / casadi_c_eval_id is a global vector that moves
 * when another thread loads a function and unloads only in the order of a stack, so it is not used. Nothing is linked:
 * micropolis/autodiff.py looks up the two entry points at run time and lays out `casadi_density`. */
#include <string.h>

#include "densities/densities.h"

typedef struct {
  void *buffer;              /* casadi::FunctionBuffer */
  double *x, *second, *first_out, *second_out; /* the arrays that it is bound to */
} casadi_call;

/* user_data of mp_casadi */
typedef struct {
  void (*evaluate)(void *buffer);
  int (*status)(void *buffer); /* of the last evaluation, 0 is good */
  casadi_call value, logp_grad, hessian, hvp, third_product;
} casadi_density;

static int run(const casadi_density *density, const casadi_call *call, size_t dim, const double *x) {
  memcpy(call->x, x, dim * sizeof *x);
  density->evaluate(call->buffer);
  return density->status(call->buffer) != 0;
}

static int casadi_value(size_t dim, const double *x, double *logp, void *user_data) {
  const casadi_density *density = user_data;
  int status = run(density, &density->value, dim, x);
  *logp = *density->value.first_out;
  return status;
}

static int casadi_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const casadi_density *density = user_data;
  int status = run(density, &density->logp_grad, dim, x);
  *logp = *density->logp_grad.first_out;
  memcpy(grad, density->logp_grad.second_out, dim * sizeof *grad);
  return status;
}

static int casadi_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  const casadi_density *density = user_data;
  int status = run(density, &density->hessian, dim, x);
  memcpy(hessian, density->hessian.first_out, dim * dim * sizeof *hessian);
  return status;
}

static int casadi_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  const casadi_density *density = user_data;
  memcpy(density->hvp.second, v, dim * sizeof *v);
  int status = run(density, &density->hvp, dim, x);
  memcpy(product, density->hvp.first_out, dim * sizeof *product);
  return status;
}

/* CasADi reads m by columns: its transpose, which the symmetric Hessian cannot tell apart. */
static int casadi_third_product(size_t dim, const double *x, const double *m, double *product, void *user_data) {
  const casadi_density *density = user_data;
  memcpy(density->third_product.second, m, dim * dim * sizeof *m);
  int status = run(density, &density->third_product, dim, x);
  memcpy(product, density->third_product.first_out, dim * sizeof *product);
  return status;
}

const mp_density mp_casadi = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = casadi_logp_grad,
    .value = casadi_value,
    .hessian = casadi_hessian,
    .hvp = casadi_hvp,
    .third_product = casadi_third_product,
};
