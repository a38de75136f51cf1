/* The C contract of a log density: what every micropolis kernel evaluates.
 *
 * A density is a struct of function pointers over one `user_data`. Only `logp_grad` is required; a NULL
 * capability means "not available, use what is". One mp_density is used by one thread at a time, so
 * `user_data` may hold scratch memory; a sampler binds a fresh mp_density for each chain.
 *
 * Return codes, the same for every function: 0 ok; > 0 recoverable, the point is rejected and counted as
 * divergent; < 0 fatal, the chain stops and its draws are kept. */
#ifndef MICROPOLIS_DENSITY_H
#define MICROPOLIS_DENSITY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MP_DENSITY_VERSION 1

/* log density and gradient at x[dim]; `grad` is never NULL, `logp` holds NaN before the call */
typedef int (*mp_logp_grad_fn)(size_t dim, const double *x, double *grad, double *logp, void *user_data);
/* log density alone */
typedef int (*mp_value_fn)(size_t dim, const double *x, double *logp, void *user_data);
/* dense symmetric Hessian of log density, hessian[dim * dim] */
typedef int (*mp_hessian_fn)(size_t dim, const double *x, double *hessian, void *user_data);
/* product[i] = sum_j H_ij v_j */
typedef int (*mp_hvp_fn)(size_t dim, const double *x, const double *v, double *product, void *user_data);
/* product[k] = sum_ij m_ij d3 log p / dx_i dx_j dx_k, for any m[dim * dim] */
typedef int (*mp_third_product_fn)(size_t dim, const double *x, const double *m, double *product, void *user_data);
/* n points at once: x[n * dim] -> grad[n * dim] and logp[n]; without `grad` (NULL) the values alone */
typedef int (*mp_batch_fn)(size_t n, size_t dim, const double *x, double *grad, double *logp, void *user_data);

/* One of `n_blocks` terms whose sum is the log density, with its gradient: a posterior with its data in blocks */
typedef int (*mp_block_fn)(size_t dim, const double *x, size_t block, double *grad, double *logp, void *user_data);

typedef struct mp_density {
  uint32_t version; /* MP_DENSITY_VERSION of the writer */
  size_t dim;
  void *user_data;
  mp_logp_grad_fn logp_grad;
  mp_value_fn value;
  mp_hessian_fn hessian;
  mp_hvp_fn hvp;
  mp_third_product_fn third_product;
  mp_batch_fn batch;
  mp_block_fn block;
  size_t n_blocks; /* 0 without `block` */
} mp_density;

/* Value and gradient, NaN when the function leaves `logp` unset (a cfunc that throws does). */
static inline int mp_density_logp_grad(const mp_density *density, const double *x, double *grad, double *logp) {
  *logp = __builtin_nan("");
  return density->logp_grad(density->dim, x, grad, logp, density->user_data);
}

/* Value alone; `scratch[dim]` takes the gradient where the density has no cheaper way. */
static inline int mp_density_value(const mp_density *density, const double *x, double *scratch, double *logp) {
  *logp = __builtin_nan("");
  if (density->value) return density->value(density->dim, x, logp, density->user_data);
  return density->logp_grad(density->dim, x, scratch, logp, density->user_data);
}

#ifdef __cplusplus
}
#endif
#endif
