/* Householder reduction to tridiagonal form and QL with implicit shifts (Bowdler, Martin, Reinsch & Wilkinson 1968;
 * Dubrulle 1970), all loops along padded rows.
 *
 * Columns are reduced from the first on, and one that is zero to rounding is left alone: an arrowhead with equal entries
 * on its diagonal, the Hessian of a hierarchical model, is tridiagonal after one reflection. Clusters need no care: QL
 * gives orthonormal vectors for any. */
#include "common/eigen.h"

#include <float.h>
#include <math.h>

#include "common/vector_math.h"

enum { SWEEPS = 60 }; /* per eigenvalue; a handful is usual */

size_t mp_eigen_work_size(size_t dim) {
  size_t lapack = 1 + 6 * dim + 2 * dim * dim + (3 + 5 * dim + 1) / 2 + 8;
  size_t inlined = 4 * mp_padded(dim);
  return lapack > inlined ? lapack : inlined;
}

MP_INLINE double row_dot(size_t stride, const double *x, const double *y) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < stride; i += MP_LANES) sum += mp_load8(x + i) * mp_load8(y + i);
  return mp_fold8(sum);
}

/* Largest |a_ij|, NaN where an element is not finite. */
MP_INLINE double size_of(size_t dim, size_t stride, const double *a) {
  mp_v8 largest = {0}, nothing = {0};
  for (size_t i = 0; i < dim * stride; i += MP_LANES) {
    mp_v8 x = mp_load8(a + i), minus = mp_negative_abs8(x);
    nothing += x * 0.0;
    largest = mp_select8(minus < largest, minus, largest);
  }
  double most = 0.0, check = mp_fold8(nothing);
  for (int i = 0; i < MP_LANES; i++) most = -largest[i] > most ? -largest[i] : most;
  return check == 0.0 ? most : NAN;
}

/* Rows k and k + 1 of the vectors turned by the angle of cosine c and sine s. */
MP_INLINE void rotate(size_t stride, double c, double s, double *row) {
  for (size_t i = 0; i < stride; i += MP_LANES) {
    mp_v8 x = mp_load8(row + i), y = mp_load8(row + stride + i);
    mp_store8(row + stride + i, s * x + c * y);
    mp_store8(row + i, c * x - s * y);
  }
}

/* a -> diagonal d, off-diagonal e, and the rows of `vectors`, which start as the identity. */
MP_INLINE void tridiagonal(size_t dim, size_t stride, double *a, double floor, double *d, double *e, double *vectors,
                           double *u, double *w) {
  for (size_t k = 0; k + 2 < dim; k++) {
    double *row = a + k * stride, alpha = row[k + 1];
    d[k] = row[k];
    for (size_t i = 0; i < stride; i += MP_LANES) mp_store8(u + i, mp_load8(row + i));
    for (size_t i = 0; i < k + 2; i++) u[i] = 0.0;
    double rest = row_dot(stride, u, u);
    if (rest <= floor * floor) {
      e[k] = alpha;
      continue;
    }
    double norm = sqrt(alpha * alpha + rest), beta = 1.0 / (norm * (norm + fabs(alpha)));
    e[k] = alpha > 0.0 ? -norm : norm;
    u[k + 1] = alpha - e[k];
    for (size_t i = 0; i < stride; i += MP_LANES) {
      mp_v8 sum = {0}, turned = {0};
      for (size_t j = k + 1; j < dim; j++) {
        sum += u[j] * mp_load8(a + j * stride + i);
        turned += u[j] * mp_load8(vectors + j * stride + i);
      }
      mp_store8(w + i, beta * sum);
      for (size_t j = k + 1; j < dim; j++) {
        double *vector = vectors + j * stride + i;
        mp_store8(vector, mp_load8(vector) - (beta * u[j]) * turned);
      }
    }
    double half = 0.5 * beta * row_dot(stride, u, w);
    for (size_t i = 0; i < stride; i += MP_LANES) mp_store8(w + i, mp_load8(w + i) - half * mp_load8(u + i));
    for (size_t i = k + 1; i < dim; i++)
      for (size_t j = 0; j < stride; j += MP_LANES) {
        double *p = a + i * stride + j;
        mp_store8(p, mp_load8(p) - (u[i] * mp_load8(w + j) + w[i] * mp_load8(u + j)));
      }
  }
  if (dim > 1) {
    d[dim - 2] = a[(dim - 2) * stride + dim - 2];
    e[dim - 2] = a[(dim - 2) * stride + dim - 1];
  }
  d[dim - 1] = a[(dim - 1) * stride + dim - 1];
}

MP_INLINE int ql(size_t dim, size_t stride, double floor, double *d, double *e, double *vectors) {
  for (size_t first = 0; first < dim; first++)
    for (int sweep = 0;; sweep++) {
      size_t last = first;
      while (last + 1 < dim && fabs(e[last]) > DBL_EPSILON * (fabs(d[last]) + fabs(d[last + 1])) + floor) last++;
      if (last == first) break;
      if (sweep == SWEEPS) return 1;
      double g = (d[first + 1] - d[first]) / (2.0 * e[first]), r = sqrt(g * g + 1.0);
      g = d[last] - d[first] + e[first] / (g + (g < 0.0 ? -r : r));
      double s = 1.0, c = 1.0, p = 0.0;
      size_t i = last;
      for (; i > first; i--) {
        double f = s * e[i - 1], b = c * e[i - 1];
        r = sqrt(f * f + g * g);
        e[i] = r;
        if (r == 0.0) {
          d[i] -= p;
          e[last] = 0.0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i] - p;
        r = (d[i - 1] - g) * s + 2.0 * c * b;
        p = s * r;
        d[i] = g + p;
        g = c * r - b;
        rotate(stride, c, s, vectors + (i - 1) * stride);
      }
      if (i > first) continue;
      d[first] -= p;
      e[first] = g;
      e[last] = 0.0;
    }
  return 0;
}

MP_INLINE int solve(size_t dim, size_t stride, double *a, double *values, double *vectors, double *work) {
  double *e = work, *u = e + stride, *w = u + stride, size = size_of(dim, stride, a), scale = 1.0;
  if (!isfinite(size)) return 1;
  memset(vectors, 0, dim * stride * sizeof(double));
  for (size_t i = 0; i < dim; i++) vectors[i * stride + i] = 1.0;
  if (size > 1e100 || size < 1e-100) { /* squares would leave the range */
    scale = size > 1e-300 ? size : 1e-300;
    for (size_t i = 0; i < dim * stride; i++) a[i] = a[i] / scale;
    size = size / scale;
  }
  double floor = DBL_EPSILON * size;
  tridiagonal(dim, stride, a, floor, values, e, vectors, u, w);
  int code = ql(dim, stride, 0.125 * floor, values, e, vectors);
  if (scale != 1.0)
    for (size_t i = 0; i < dim; i++) values[i] *= scale;
  return code;
}

static MP_CLONES int inlined(size_t dim, double *a, double *values, double *vectors, double *work) {
  switch (mp_padded(dim)) { /* loops along a row unroll */
  case 8: return solve(dim, 8, a, values, vectors, work);
  case 16: return solve(dim, 16, a, values, vectors, work);
  default: return solve(dim, mp_padded(dim), a, values, vectors, work);
  }
}

int mp_eigen(size_t dim, double *a, double *values, double *vectors, double *work, mp_dsyevd_fn lapack) {
  if (!lapack || dim <= MP_EIGEN_INLINED) return inlined(dim, a, values, vectors, work);
  size_t stride = mp_padded(dim);
  if (!isfinite(size_of(dim, stride, a))) return 1; /* LAPACK may not return from a NaN */
  int n = (int)dim, lda = (int)stride, info = 0, n_work = (int)(1 + 6 * dim + 2 * dim * dim), n_integers = 3 + 5 * n;
  lapack("V", "L", &n, a, &lda, values, work, &n_work, (int *)(work + n_work), &n_integers, &info);
  if (info != 0) return 1;
  memcpy(vectors, a, dim * stride * sizeof(double));
  return 0;
}
