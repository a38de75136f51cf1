/* A BridgeStan model behind the contract: the exported C functions of its shared library, called by address. */
#include <stdbool.h>

#include "densities/densities.h"

/* user_data of mp_bridgestan; filled in by micropolis/pointers.py */
typedef struct {
  int (*log_density_gradient)(const void *model, bool propto, bool jacobian, const double *theta, double *value,
                              double *gradient, char **message);
  void (*free_error_message)(char *message);
  const void *model;
} bridgestan;

/* Stan throws where a point is outside the support (a rejected point, not a broken model). Constants are dropped and
 * Jacobians added, as in Stan's own sampler. */
static int bridgestan_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const bridgestan *stan = user_data;
  char *message = NULL;
  (void)dim;
  int failed = stan->log_density_gradient(stan->model, true, true, x, logp, grad, &message);
  if (message) stan->free_error_message(message);
  return failed ? 1 : 0;
}

const mp_density mp_bridgestan = {.version = MP_DENSITY_VERSION, .logp_grad = bridgestan_logp_grad};
