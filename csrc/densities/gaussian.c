/* Gaussian density: independent coordinates or a dense precision matrix. */
#include "common/simd.h"
#include "densities/densities.h"

/* user_data of mp_gaussian */
typedef struct {
  const double *mean;      /* [dim] */
  const double *precision; /* [dim] */
  double log_norm;
} gaussian;

static MP_CLONES int gaussian_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  const gaussian *g = user_data;
  mp_v8 sum = {0};
  size_t i = 0;
  for (; i + MP_LANES <= dim; i += MP_LANES) {
    mp_v8 delta = mp_load8(g->mean + i) - mp_load8(x + i), slope = mp_load8(g->precision + i) * delta;
    mp_store8(grad + i, slope);
    sum += slope * delta;
  }
  for (size_t lane = 0; i < dim; i++, lane++) {
    double delta = g->mean[i] - x[i];
    grad[i] = g->precision[i] * delta;
    sum[lane] += grad[i] * delta;
  }
  *logp = g->log_norm - 0.5 * mp_fold8(sum);
  return 0;
}

const mp_density mp_gaussian = {.version = MP_DENSITY_VERSION, .logp_grad = gaussian_logp_grad};
