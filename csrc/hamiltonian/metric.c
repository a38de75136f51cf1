/* Position-dependent metrics (Girolami & Calderhead 2011; SoftAbs: Betancourt 2013). */
#include "hamiltonian/metric.h"

#include <math.h>

#include "common/differences.h"
#include "common/softabs.h"

static size_t matrix(size_t dim) { return dim * mp_padded(dim) + MP_LANES; }

size_t mp_geometry_work_size(size_t dim) {
  size_t eigen = mp_eigen_work_size(dim), differences = 4 * dim + dim * dim;
  return 4 * mp_padded(dim) + 4 * matrix(dim) + mp_padded(eigen > differences ? eigen : differences);
}

size_t mp_point_size(size_t dim) { return 5 * mp_padded(dim) + 2 * matrix(dim) + mp_padded(dim * (dim + 1) / 2 * dim); }

double *mp_geometry_place(mp_geometry *g, const mp_riemannian_options *options, const mp_density *density,
                          double *work) {
  size_t dim = density->dim, stride = mp_padded(dim), size = matrix(dim);
  double *u = work, *a = u + 4 * stride;
  *g = (mp_geometry){options,      density, dim,        stride,         u + 3 * stride, a, a + size, a + 2 * size,
                     a + 3 * size, u,       u + stride, u + 2 * stride, a + 4 * size,   0, 0};
  return work + mp_geometry_work_size(dim);
}

double *mp_point_place(mp_point *point, size_t dim, double *work) {
  size_t stride = mp_padded(dim), size = matrix(dim);
  double *rows = work + 5 * stride;
  *point = (mp_point){
      work, work + stride, work + 2 * stride, work + 3 * stride, work + 4 * stride, rows, rows + size, rows + 2 * size,
      0.0};
  return work + mp_point_size(dim);
}

MP_INLINE double row_dot(size_t stride, const double *x, const double *y) {
  mp_v8 sum = {0};
  for (size_t i = 0; i < stride; i += MP_LANES) sum += mp_load8(x + i) * mp_load8(y + i);
  return mp_fold8(sum);
}

/* out = sum_m w_m rows[m] */
MP_INLINE void combine(size_t dim, size_t stride, const double *rows, const double *w, double *out) {
  for (size_t i = 0; i < stride; i += MP_LANES) {
    mp_v8 sum = {0};
    for (size_t m = 0; m < dim; m++) sum += w[m] * mp_load8(rows + m * stride + i);
    mp_store8(out + i, sum);
  }
}

/* N_ROWS x N_VECTORS vectors of out = sum_j a_ij b_j in registers; every element is summed in the order of j. */
#define MP_TILE(N_ROWS, N_VECTORS)                                                                                  \
  do {                                                                                                              \
    mp_v8 sum[N_ROWS][N_VECTORS] = {{{0}}};                                                                         \
    for (size_t j = 0; j < dim; j++)                                                                                \
      for (int v = 0; v < N_VECTORS; v++) {                                                                         \
        mp_v8 x = mp_load8(b + j * stride + k + (size_t)v * MP_LANES);                                              \
        for (int r = 0; r < N_ROWS; r++) sum[r][v] += a[(i + (size_t)r) * along + j * across] * x;                  \
      }                                                                                                             \
    for (int r = 0; r < N_ROWS; r++)                                                                                \
      for (int v = 0; v < N_VECTORS; v++) mp_store8(to + (size_t)r * stride + k + (size_t)v * MP_LANES, sum[r][v]); \
  } while (0)

/* out = A b for rows b[dim][stride] and a_ij = a[i * along + j * across] */
MP_INLINE void multiply(size_t dim, size_t stride, const double *a, size_t along, size_t across, const double *b,
                        double *out) {
  for (size_t i = 0; i < dim;) {
    size_t n_rows = dim - i >= 4 ? 4 : 1, k = 0;
    double *to = out + i * stride;
    if (n_rows == 4) {
      for (; k + 2 * MP_LANES <= stride; k += 2 * MP_LANES) MP_TILE(4, 2);
      for (; k < stride; k += MP_LANES) MP_TILE(4, 1);
    } else {
      for (; k < stride; k += MP_LANES) MP_TILE(1, 1);
    }
    i += n_rows;
  }
}

/* out[dim * dim] = padded[dim][stride] */
MP_INLINE void compact(size_t dim, size_t stride, const double *padded, double *out) {
  for (size_t i = 0; i < dim; i++) /* the next row overwrites what comes behind this one; the last has room */
    for (size_t k = 0; k < stride; k += MP_LANES) mp_store8(out + i * dim + k, mp_load8(padded + i * stride + k));
}

/* g->plain = rows' m rows */
MP_INLINE void sandwich(mp_geometry *g, const double *rows, const double *m) {
  multiply(g->dim, g->stride, m, g->stride, 1, rows, g->b);
  multiply(g->dim, g->stride, rows, 1, g->stride, g->b, g->c);
  compact(g->dim, g->stride, g->c, g->plain);
}

/* g->plain = rows' diag(w) rows */
MP_INLINE void diagonal_sandwich(mp_geometry *g, const double *rows, const double *w) {
  for (size_t j = 0; j < g->dim; j++)
    for (size_t k = 0; k < g->stride; k += MP_LANES)
      mp_store8(g->a + j * g->stride + k, w[j] * mp_load8(rows + j * g->stride + k));
  multiply(g->dim, g->stride, g->a, 1, g->stride, rows, g->c);
  compact(g->dim, g->stride, g->c, g->plain);
}

static int status_of(int code) {
  if (code == 0) return MP_OK;
  if (code == MP_DIFFERENCE_NON_FINITE) return MP_NON_FINITE;
  return code < 0 ? MP_DENSITY_FATAL : MP_DENSITY_REJECTED;
}

static int all_finite(size_t dim, const double *x) {
  for (size_t i = 0; i < dim; i++)
    if (!isfinite(x[i])) return 0;
  return 1;
}

static int hessian(mp_geometry *g, const double *x, double *out) {
  const mp_density *density = g->density;
  if (density->hessian) return density->hessian(g->dim, x, out, density->user_data);
  return mp_difference_hessian(density, x, out, g->eigen, &g->n_grad);
}

/* product_k = sum_ij m_ij d3 log p / dq_i dq_j dq_k, or minus the user's contraction, which is of G itself */
MP_INLINE int contract(const mp_geometry *g, const mp_point *point, const double *m, double *product) {
  const mp_riemannian_options *o = g->options;
  if (o->kind == MP_USER_METRIC) {
    memset(product, 0, g->dim * sizeof(double));
    int code = o->user_contraction(g->dim, point->q, m, product, o->user_data);
    for (size_t k = 0; k < g->dim; k++) product[k] = -product[k];
    return code;
  }
  if (g->density->third_product) return g->density->third_product(g->dim, point->q, m, product, g->density->user_data);
  mp_contract_third(g->dim, point->third, m, product);
  return 0;
}

/* The inverse of the Cholesky factor of a, into rows; log det G is -2 sum log of its diagonal. An mp_status.
 * Column by column: x <- L^-1 x for all unit vectors at once, along rows. */
MP_INLINE int invert_factor(size_t dim, size_t stride, double *a, double *rows) {
  memset(rows, 0, dim * stride * sizeof(double));
  for (size_t i = 0; i < dim; i++) rows[i * stride + i] = 1.0;
  for (size_t j = 0; j < dim; j++) {
    double pivot = a[j * stride + j];
    if (!isfinite(pivot)) return MP_NON_FINITE;
    if (!(pivot > 0.0)) return MP_METRIC_INDEFINITE;
    double inverse = 1.0 / sqrt(pivot);
    for (size_t k = 0; k < stride; k += MP_LANES) {
      mp_store8(a + j * stride + k, inverse * mp_load8(a + j * stride + k));
      mp_store8(rows + j * stride + k, inverse * mp_load8(rows + j * stride + k));
    }
    for (size_t i = j + 1; i < dim; i++) {
      double factor = a[j * stride + i];
      for (size_t k = 0; k < stride; k += MP_LANES) {
        mp_store8(a + i * stride + k, mp_load8(a + i * stride + k) - factor * mp_load8(a + j * stride + k));
        mp_store8(rows + i * stride + k, mp_load8(rows + i * stride + k) - factor * mp_load8(rows + j * stride + k));
      }
    }
  }
  return MP_OK;
}

MP_CLONES int mp_geometry_metric(mp_geometry *g, mp_point *point) {
  const mp_riemannian_options *o = g->options;
  size_t dim = g->dim, stride = g->stride;
  int code;
  g->n_metric++;
  if (o->kind == MP_GRADIENT_SQUARE) {
    g->n_grad++;
    code = mp_density_logp_grad(g->density, point->q, point->grad, &point->logp);
    if (code) return status_of(code);
    for (size_t i = 0; i < dim; i++) {
      point->scale[i] = point->grad[i] * point->grad[i] + o->parameter;
      if (!isfinite(point->scale[i])) return MP_NON_FINITE;
    }
    return MP_OK;
  }
  if (o->kind == MP_USER_METRIC) {
    memset(g->plain, 0, dim * dim * sizeof(double));
    code = o->user_metric(dim, point->q, g->plain, o->user_data);
  } else {
    code = hessian(g, point->q, g->plain);
  }
  if (code) return status_of(code);
  if (o->kind == MP_HESSIAN_DIAGONAL) {
    for (size_t i = 0; i < dim; i++) {
      point->scale[i] = -g->plain[i * dim + i];
      if (!isfinite(point->scale[i])) return MP_NON_FINITE;
      if (!(point->scale[i] > 0.0)) return MP_METRIC_INDEFINITE;
    }
    return MP_OK;
  }
  double sign = o->kind == MP_USER_METRIC ? 1.0 : -1.0;
  memset(g->a, 0, dim * stride * sizeof(double)); /* behind dim as well: a velocity that overflowed leaves NaN there */
  for (size_t i = 0; i < dim; i++)
    for (size_t j = 0; j < dim; j++) g->a[i * stride + j] = sign * g->plain[i * dim + j];
  if (o->kind != MP_SOFTABS) return invert_factor(dim, stride, g->a, point->rows);
  for (size_t i = 0; i < dim; i++) g->a[i * stride + i] += g->jitter[i];
  if (mp_eigen(dim, g->a, point->values, point->rows, g->eigen, (mp_dsyevd_fn)o->lapack)) return MP_NON_FINITE;
  for (size_t i = 0; i < dim; i++) point->scale[i] = mp_softabs(o->parameter, point->values[i]);
  return MP_OK;
}

MP_CLONES int mp_geometry_base(mp_geometry *g, mp_point *point, int known) {
  const mp_riemannian_options *o = g->options;
  size_t dim = g->dim, stride = g->stride;
  int code;
  if (!known && o->kind != MP_GRADIENT_SQUARE) {
    g->n_grad++;
    code = mp_density_logp_grad(g->density, point->q, point->grad, &point->logp);
    if (code) return status_of(code);
  }
  if (!isfinite(point->logp)) return MP_NON_FINITE;
  double *w = g->w;
  if (o->kind == MP_GRADIENT_SQUARE) {
    code = hessian(g, point->q, g->plain);
    if (code) return status_of(code);
    for (size_t i = 0; i < dim; i++)
      for (size_t j = 0; j < dim; j++) point->rows[i * stride + j] = g->plain[i * dim + j];
    for (size_t i = 0; i < dim; i++) w[i] = point->grad[i] / point->scale[i];
    combine(dim, stride, point->rows, w, g->v);
    for (size_t i = 0; i < dim; i++) point->base[i] = g->v[i] - point->grad[i];
    return all_finite(dim, point->base) ? MP_OK : MP_NON_FINITE;
  }
  if (o->kind != MP_USER_METRIC && !g->density->third_product) {
    code = mp_difference_third(g->density, point->q, point->grad, point->third, g->eigen, &g->n_grad);
    if (code) return status_of(code);
  }
  if (o->kind == MP_HESSIAN_DIAGONAL) {
    for (size_t i = 0; i < dim * dim; i++) g->plain[i] = 0.0;
    for (size_t i = 0; i < dim; i++) g->plain[i * dim + i] = 0.5 / point->scale[i];
  } else {
    for (size_t i = 0; i < dim; i++) w[i] = 0.5;
    if (o->kind == MP_SOFTABS) {
      double *slopes = point->slopes;
      for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++)
          slopes[i * stride + j] = slopes[j * stride + i] = mp_softabs_slope(
              o->parameter, point->values[i], point->values[j], point->scale[i], point->scale[j]);
      for (size_t i = 0; i < dim; i++) w[i] = 0.5 * (slopes[i * stride + i] / point->scale[i]);
    }
    diagonal_sandwich(g, point->rows, w);
  }
  code = contract(g, point, g->plain, g->v);
  if (code) return status_of(code);
  for (size_t i = 0; i < dim; i++) point->base[i] = -(point->grad[i] + g->v[i]);
  return all_finite(dim, point->base) ? MP_OK : MP_NON_FINITE;
}

double mp_geometry_log_det(const mp_geometry *g, const mp_point *point) {
  int dense = g->options->kind == MP_HESSIAN || g->options->kind == MP_USER_METRIC;
  double sum = 0.0;
  for (size_t i = 0; i < g->dim; i++) sum += dense ? -2.0 * log(point->rows[i * g->stride + i]) : log(point->scale[i]);
  return sum;
}

MP_CLONES void mp_geometry_momentum(const mp_geometry *g, const mp_point *point, const double *z, double *p) {
  size_t dim = g->dim, stride = g->stride;
  if (g->options->kind == MP_SOFTABS) {
    /* the symmetric root: the same whichever eigenvectors span a cluster, and of either sign */
    for (size_t m = 0; m < dim; m++) g->w[m] = sqrt(point->scale[m]) * row_dot(stride, point->rows + m * stride, z);
    combine(dim, stride, point->rows, g->w, p);
  } else if (g->options->kind == MP_HESSIAN || g->options->kind == MP_USER_METRIC) {
    for (size_t i = 0; i < dim; i++) { /* L z: solve L^-1 p = z */
      double sum = z[i];
      for (size_t j = 0; j < i; j++) sum -= point->rows[i * stride + j] * p[j];
      p[i] = sum / point->rows[i * stride + i];
    }
  } else {
    for (size_t i = 0; i < dim; i++) p[i] = sqrt(point->scale[i]) * z[i];
  }
}

/* v = G^-1 p; the components e = rows p / scale stay in g->w */
MP_INLINE void velocity(const mp_geometry *g, const mp_point *point, const double *p, double *v) {
  size_t dim = g->dim, stride = g->stride;
  int64_t kind = g->options->kind;
  if (kind == MP_HESSIAN_DIAGONAL || kind == MP_GRADIENT_SQUARE) {
    for (size_t i = 0; i < dim; i++) v[i] = p[i] / point->scale[i];
    return;
  }
  for (size_t m = 0; m < dim; m++) g->w[m] = row_dot(stride, point->rows + m * stride, p);
  if (kind == MP_SOFTABS)
    for (size_t m = 0; m < dim; m++) g->w[m] = g->w[m] / point->scale[m];
  combine(dim, stride, point->rows, g->w, v);
}

MP_CLONES void mp_geometry_velocity(const mp_geometry *g, const mp_point *point, const double *p, double *v) {
  velocity(g, point, p, v);
}

MP_CLONES int mp_geometry_force(mp_geometry *g, const mp_point *point, const double *p, double *v, double *out) {
  size_t dim = g->dim, stride = g->stride;
  int64_t kind = g->options->kind;
  velocity(g, point, p, v);
  if (kind == MP_GRADIENT_SQUARE) { /* -v' A v / 2 of A_k = 2 diag(g H_k) */
    for (size_t i = 0; i < dim; i++) g->w[i] = (v[i] * v[i]) * point->grad[i];
    combine(dim, stride, point->rows, g->w, out);
    for (size_t i = 0; i < dim; i++) out[i] = point->base[i] - out[i];
    return 0;
  }
  if (kind == MP_SOFTABS) {
    for (size_t i = 0; i < dim; i++)
      for (size_t j = 0; j < stride; j += MP_LANES)
        mp_store8(g->a + i * stride + j,
                  (0.5 * g->w[i]) * (mp_load8(point->slopes + i * stride + j) * mp_load8(g->w + j)));
    sandwich(g, point->rows, g->a);
  } else if (kind == MP_HESSIAN_DIAGONAL) {
    for (size_t i = 0; i < dim * dim; i++) g->plain[i] = 0.0;
    for (size_t i = 0; i < dim; i++) g->plain[i * dim + i] = (0.5 * v[i]) * v[i];
  } else {
    for (size_t i = 0; i < dim; i++)
      for (size_t j = 0; j < dim; j++) g->plain[i * dim + j] = (0.5 * v[i]) * v[j];
  }
  int code = contract(g, point, g->plain, out);
  for (size_t i = 0; i < dim; i++) out[i] = point->base[i] + out[i];
  return code;
}
