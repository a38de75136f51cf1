/* Rprop (Riedmiller & Braun 1993; the variant of Igel & Huesken 2000 without weight backtracking) on a log density.
 *
 * Only signs of the gradient are used, and each coordinate has a step of its own: a start whose log density is -1e8 and
 * whose scales differ by 1e4 is left within some ten evaluations, where a sampler whose metric is learned from such a
 * place can be lost for all of its warm-up. */
#include "common/ascent.h"

#include <math.h>
#include <string.h>

static int finite_all(size_t n, const double *v) {
  for (size_t i = 0; i < n; i++)
    if (!isfinite(v[i])) return 0;
  return 1;
}

int mp_ascend(const mp_density *density, int n_evaluations, double *x, double *work) {
  size_t dim = density->dim;
  double *point = work, *grad = work + dim, *step = work + 2 * dim, *before = work + 3 * dim, *grad_x = work + 4 * dim;
  double logp, best, mark; /* mark: the best log density ten steps ago */
  memcpy(point, x, dim * sizeof *x);
  int code = mp_density_logp_grad(density, point, grad, &best);
  if (code) return code < 0 ? code : 0;
  mark = best;
  memcpy(before, grad, dim * sizeof *x);
  memcpy(grad_x, grad, dim * sizeof *x);
  for (size_t i = 0; i < dim; i++) step[i] = 0.1;
  /* `best` belongs to x from the first mark on; until then x is the start, in case the climb is not worth it */
  for (int k = 1; k < n_evaluations; k++) { /* one evaluation a step, and the one above */
    for (size_t i = 0; i < dim; i++) point[i] += grad[i] > 0.0 ? step[i] : grad[i] < 0.0 ? -step[i] : 0.0;
    code = mp_density_logp_grad(density, point, grad, &logp);
    if (code < 0) return code;
    if (code > 0 || !isfinite(logp) || !finite_all(dim, grad)) { /* out of the support: back, and shorter */
      memcpy(point, x, dim * sizeof *x);
      memcpy(grad, grad_x, dim * sizeof *x);
      memcpy(before, grad_x, dim * sizeof *x);
      for (size_t i = 0; i < dim; i++) step[i] *= 0.25;
    } else {
      if (logp > best && (k > 10 || logp - mark > (double)dim + 10.0)) {
        best = logp;
        memcpy(x, point, dim * sizeof *x);
        memcpy(grad_x, grad, dim * sizeof *x);
      }
      for (size_t i = 0; i < dim; i++) {
        double agreement = grad[i] * before[i];
        if (agreement > 0.0) {
          step[i] = step[i] < 1.0 / 1.2 ? 1.2 * step[i] : 1.0;
        } else if (agreement < 0.0) {
          step[i] *= 0.5;
          grad[i] = 0.0; /* pause at a turning point */
        }
        before[i] = grad[i];
      }
    }
    if (k % 10 == 0) {
      if (!(best - mark > (double)dim + 10.0)) break;
      mark = best;
    }
  }
  return 0;
}
