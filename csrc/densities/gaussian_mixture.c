/* Mixture of Gaussians with dense precision matrices, by log-sum-exp.
 *
 * With r_k the responsibilities, s_k = P_k (mu_k - x) the slope of component k, g = sum r_k s_k the gradient and
 * h_k = s_k - g, the derivatives are the cumulants of the mixture:
 *   H_ij = sum_k r_k (h_ki h_kj - P_kij)
 *   T_ijl = sum_k r_k (h_ki h_kj h_kl - P_kij h_kl - P_kil h_kj - P_kjl h_ki) */
#include <math.h>

#include "densities/dense.h"
#include "densities/densities.h"

/* user_data of mp_gaussian_mixture */
typedef struct {
  size_t components;
  size_t stride;
  const double *means;       /* [components][dim] */
  const double *precisions;  /* [components][dim][stride], symmetric */
  const double *log_weights; /* [components], with the normaliser of each component */
  double *responsibilities;  /* [components] */
  double *slopes;            /* [components][stride] */
  double *delta;             /* [stride], zero behind dim */
  double *work;              /* [2][stride] */
} mixture;

/* Log density; responsibilities and slopes are left in the work area. */
MP_INLINE double evaluate(size_t dim, const double *x, mixture *g) {
  double *log_terms = g->responsibilities, highest = -INFINITY;
  for (size_t k = 0; k < g->components; k++) {
    double *slope = g->slopes + k * g->stride;
    for (size_t i = 0; i < dim; i++) g->delta[i] = g->means[k * dim + i] - x[i];
    mp_symmetric_product(dim, g->stride, g->precisions + k * dim * g->stride, g->delta, slope);
    log_terms[k] = g->log_weights[k] - 0.5 * mp_padded_dot(g->stride, slope, g->delta);
    if (log_terms[k] > highest) highest = log_terms[k];
  }
  /* where all terms underflow: log 0 = -inf and responsibilities 0 / 0 */
  double shift = highest == -INFINITY ? 0 : highest, sum = 0;
  for (size_t k = 0; k < g->components; k++) sum += log_terms[k] = exp(log_terms[k] - shift);
  for (size_t k = 0; k < g->components; k++) g->responsibilities[k] /= sum;
  return shift + log(sum);
}

MP_INLINE void gradient(size_t dim, const mixture *g, double *grad) {
  for (size_t i = 0; i < dim; i++) grad[i] = 0;
  for (size_t k = 0; k < g->components; k++)
    for (size_t i = 0; i < dim; i++) grad[i] += g->responsibilities[k] * g->slopes[k * g->stride + i];
}

/* Slopes less their mean: h_k in place of s_k. */
MP_INLINE void centre(size_t dim, mixture *g) {
  gradient(dim, g, g->delta);
  for (size_t k = 0; k < g->components; k++)
    for (size_t i = 0; i < dim; i++) g->slopes[k * g->stride + i] -= g->delta[i];
}

static MP_CLONES int mixture_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  *logp = evaluate(dim, x, user_data);
  gradient(dim, user_data, grad);
  return 0;
}

static MP_CLONES int mixture_value(size_t dim, const double *x, double *logp, void *user_data) {
  *logp = evaluate(dim, x, user_data);
  return 0;
}

static MP_CLONES int mixture_hessian(size_t dim, const double *x, double *hessian, void *user_data) {
  mixture *g = user_data;
  evaluate(dim, x, g);
  centre(dim, g);
  memset(hessian, 0, dim * dim * sizeof(double));
  for (size_t k = 0; k < g->components; k++) {
    const double *h = g->slopes + k * g->stride, *precision = g->precisions + k * dim * g->stride;
    for (size_t i = 0; i < dim; i++)
      for (size_t j = 0; j < dim; j++)
        hessian[i * dim + j] += g->responsibilities[k] * (h[i] * h[j] - precision[i * g->stride + j]);
  }
  return 0;
}

static MP_CLONES int mixture_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) {
  mixture *g = user_data;
  evaluate(dim, x, g);
  centre(dim, g);
  memset(product, 0, dim * sizeof(double));
  for (size_t k = 0; k < g->components; k++) {
    const double *h = g->slopes + k * g->stride;
    double along = 0;
    for (size_t i = 0; i < dim; i++) along += h[i] * v[i];
    mp_symmetric_product(dim, g->stride, g->precisions + k * dim * g->stride, v, g->work);
    for (size_t i = 0; i < dim; i++) product[i] += g->responsibilities[k] * (h[i] * along - g->work[i]);
  }
  return 0;
}

static MP_CLONES int mixture_third_product(size_t dim, const double *x, const double *m, double *product,
                                           void *user_data) {
  mixture *g = user_data;
  double *both = g->work, *turned = g->work + g->stride;
  evaluate(dim, x, g);
  centre(dim, g);
  memset(product, 0, dim * sizeof(double));
  for (size_t k = 0; k < g->components; k++) {
    const double *h = g->slopes + k * g->stride, *precision = g->precisions + k * dim * g->stride;
    double along = mp_bilinear(dim, m, h, h);
    for (size_t i = 0; i < dim; i++)
      for (size_t j = 0; j < dim; j++) along -= m[i * dim + j] * precision[i * g->stride + j];
    mp_symmetrised_product(dim, m, h, both);
    mp_symmetric_product(dim, g->stride, precision, both, turned);
    for (size_t i = 0; i < dim; i++) product[i] += g->responsibilities[k] * (along * h[i] - turned[i]);
  }
  return 0;
}

const mp_density mp_gaussian_mixture = {
    .version = MP_DENSITY_VERSION,
    .logp_grad = mixture_logp_grad,
    .value = mixture_value,
    .hessian = mixture_hessian,
    .hvp = mixture_hvp,
    .third_product = mixture_third_product,
};
