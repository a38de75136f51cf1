/* An independent Student t in every coordinate, behind the C contract of micropolis/density.h. */
#include <math.h>
#include <micropolis/density.h>

typedef struct student {
  double degrees;
} student;

int student_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  double nu = ((const student *)user_data)->degrees, sum = 0.0;
  for (size_t i = 0; i < dim; i++) {
    sum -= 0.5 * (nu + 1.0) * log1p(x[i] * x[i] / nu);
    grad[i] = -(nu + 1.0) * x[i] / (nu + x[i] * x[i]);
  }
  *logp = sum;
  return 0;
}
