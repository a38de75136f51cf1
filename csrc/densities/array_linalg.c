/* Linear algebra and other operations on whole arrays in array programs; matrices are flat, in C order.
 *
 * Products and factorisations run along rows, with eight or thirty-two columns in registers and sums in the order of the
 * row index, so that the bits do not depend on the SIMD level. Nothing here calls BLAS: its kernels differ from processor
 * to processor, and loading it costs more than all the rest of a first call. */
#include <math.h>

#include "common/simd.h"
#include "densities/array_elementwise.h"
#include "densities/array_program.h"

/* out[j] = start[j] - or + sum over p < k of x[p * step] * y[p * width + j], for j in [from, n) */
MP_INLINE void combine_rows(double *out, const double *start, double sign, const double *x, int64_t step, int64_t k,
                            const double *y, int64_t width, int64_t from, int64_t n) {
  int64_t j = from;
  for (; j + 32 <= n; j += 32) {
    mp_v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (int64_t p = 0; p < k; p++) {
      const double *row = y + p * width + j;
      mp_v8 factor = mp_splat8(x[p * step]);
      s0 += factor * mp_load8(row);
      s1 += factor * mp_load8(row + 8);
      s2 += factor * mp_load8(row + 16);
      s3 += factor * mp_load8(row + 24);
    }
    if (start) {
      mp_store8(out + j, mp_load8(start + j) + sign * s0);
      mp_store8(out + j + 8, mp_load8(start + j + 8) + sign * s1);
      mp_store8(out + j + 16, mp_load8(start + j + 16) + sign * s2);
      mp_store8(out + j + 24, mp_load8(start + j + 24) + sign * s3);
    } else {
      mp_store8(out + j, s0);
      mp_store8(out + j + 8, s1);
      mp_store8(out + j + 16, s2);
      mp_store8(out + j + 24, s3);
    }
  }
  for (; j + 8 <= n; j += 8) {
    mp_v8 s = {0};
    for (int64_t p = 0; p < k; p++) s += mp_splat8(x[p * step]) * mp_load8(y + p * width + j);
    mp_store8(out + j, start ? mp_load8(start + j) + sign * s : s);
  }
  for (; j < n; j++) {
    double s = 0;
    for (int64_t p = 0; p < k; p++) s += x[p * step] * y[p * width + j];
    out[j] = start ? start[j] + sign * s : s;
  }
}

/* Sum of products; vectors run over the end, where memory is but does not count. */
MP_INLINE double dot(const double *x, const double *y, int64_t n) {
  mp_v8 s = {0}, lane = {0, 1, 2, 3, 4, 5, 6, 7};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) s += mp_load8(x + i) * mp_load8(y + i);
  if (i < n) s += mp_select8(lane < (double)(n - i), mp_load8(x + i) * mp_load8(y + i), mp_splat8(0.0));
  return mp_fold8(s);
}

/* y -= f x */
MP_INLINE void subtract_multiple(double *y, double f, const double *x, int64_t n) {
  int64_t i = 0;
  mp_v8 factor = mp_splat8(f);
  for (; i + 8 <= n; i += 8) mp_store8(y + i, mp_load8(y + i) - factor * mp_load8(x + i));
  for (; i < n; i++) y[i] -= f * x[i];
}

MP_INLINE void transpose(double *out, const double *in, int64_t rows, int64_t columns) {
  for (int64_t i0 = 0; i0 < rows; i0 += 8)
    for (int64_t j = 0; j < columns; j++)
      for (int64_t i = i0; i < rows && i < i0 + 8; i++) out[j * rows + i] = in[i * columns + j];
}

static void cumsum(double *d, const double *a, int64_t r, int64_t b, int64_t blocks, int64_t backwards) {
  for (int64_t i = 0; i < blocks; i++, d += r * b, a += r * b)
    for (int64_t k = 0; k < r; k++) {
      int64_t row = backwards ? r - 1 - k : k, before = backwards ? row + 1 : row - 1;
      for (int64_t j = 0; j < b; j++) d[row * b + j] = a[row * b + j] + (k ? d[before * b + j] : 0.0);
    }
}

/* (m, k) times (k, n); flags 1: the first lies as (k, m), 2: the second as (n, k), which `scratch` takes turned round. */
static MP_CLONES void matmul(double *d, const double *x, const double *y, double *scratch, const int64_t *k) {
  int64_t m = k[0], inner = k[1], n = k[2];
  if (k[3] & 2) {
    if (n == 1 || inner == 1) {
      scratch = (double *)y;
    } else {
      transpose(scratch, y, n, inner);
    }
    y = scratch;
  }
  for (int64_t i = 0; i < m; i++)
    combine_rows(d + i * n, NULL, 1, k[3] & 1 ? x + i : x + i * inner, k[3] & 1 ? m : 1, inner, y, n, 0, n);
}

/* Rows of an upper triangular matrix in scratch memory: whole vectors, aligned with their column, zeros before the
 * diagonal; so that every loop over a row begins at a multiple of eight and has no tail. */
MP_INLINE int64_t row_length(int64_t n) { return (n + 7) & ~INT64_C(7); }

MP_INLINE void take_lower(double *u, const double *a, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i & ~INT64_C(7); j < i; j++) u[i * width + j] = 0;
    for (int64_t j = i; j < n; j++) u[i * width + j] = a[j * n + i];
    for (int64_t j = n; j < width; j++) u[i * width + j] = 0;
  }
}

MP_INLINE void give_lower(double *d, const double *u, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) d[i * n + j] = j <= i ? u[j * width + i] : 0.0;
}

/* row[j] -= sum over k < i of u[k][i] u[k][j], for `vectors` vectors from j on */
#define ELIMINATE(vectors)                                                         \
  {                                                                                \
    mp_v8 s[vectors];                                                              \
    for (int v = 0; v < vectors; v++) s[v] = mp_load8(row + j + 8 * v);            \
    for (int64_t k = 0; k < i; k++) {                                              \
      const double *of = u + k * width;                                            \
      mp_v8 factor = mp_splat8(of[i]);                                             \
      for (int v = 0; v < vectors; v++) s[v] -= factor * mp_load8(of + j + 8 * v); \
    }                                                                              \
    for (int v = 0; v < vectors; v++) mp_store8(row + j + 8 * v, s[v]);            \
  }

/* Lower factor of a matrix whose lower triangle is read. The upper factor's rows, L' in scratch, are what is computed. */
static MP_CLONES void cholesky(double *d, const double *a, double *u, int64_t n) {
  int64_t width = row_length(n);
  take_lower(u, a, n, width);
  for (int64_t i = 0; i < n; i++) {
    double *row = u + i * width;
    int64_t start = i & ~INT64_C(7), j = start;
    for (; j + 32 <= width; j += 32) ELIMINATE(4)
    for (; j < width; j += 8) ELIMINATE(1)
    double pivot = sqrt(row[i]);
    if (!(pivot > 0) || pivot - pivot != 0) { /* not positive definite */
      for (int64_t k = 0; k < n * n; k++) d[k] = NAN;
      return;
    }
    mp_v8 inverse = mp_splat8(1 / pivot);
    for (j = start; j < width; j += 8) mp_store8(row + j, mp_load8(row + j) * inverse);
    for (j = start; j < i; j++) row[j] = 0;
    row[i] = pivot;
  }
  give_lower(d, u, n, width);
}

/* For one row below the diagonal at a time, of `rows` rows: to[k] -= factor[k] row, and to[k][i] -= row . of[k] */
#define RETURN_ROWS(rows)                                                                           \
  {                                                                                                 \
    mp_v8 s[rows], f[rows];                                                                         \
    for (int r = 0; r < rows; r++) s[r] = mp_splat8(0.0), f[r] = mp_splat8(u[(k + r) * width + i]); \
    for (int64_t j = start; j < width; j += 8) {                                                    \
      mp_v8 x = mp_load8(row + j);                                                                  \
      for (int r = 0; r < rows; r++) {                                                              \
        double *to = v + (k + r) * width + j;                                                       \
        s[r] += x * mp_load8(u + (k + r) * width + j);                                              \
        mp_store8(to, mp_load8(to) - f[r] * x);                                                     \
      }                                                                                             \
    }                                                                                               \
    for (int r = 0; r < rows; r++) v[(k + r) * width + i] -= mp_fold8(s[r]);                        \
  }

/* Adjoint of the lower triangle of A from that of L: the loop of `cholesky` backwards (Smith 1995, by rows of L'). */
static MP_CLONES void cholesky_adjoint(double *d, const double *l, const double *bar, double *scratch, int64_t n) {
  int64_t width = row_length(n);
  double *u = scratch, *v = scratch + n * width;
  take_lower(u, l, n, width);
  take_lower(v, bar, n, width);
  for (int64_t i = n - 1; i >= 0; i--) {
    double *row = v + i * width, inverse = 1 / u[i * width + i], own = row[i];
    int64_t start = i & ~INT64_C(7), k = 0;
    row[i] = 0;
    mp_v8 s = {0}, factor = mp_splat8(inverse);
    for (int64_t j = start; j < width; j += 8) {
      mp_v8 x = mp_load8(row + j);
      s += x * mp_load8(u + i * width + j);
      mp_store8(row + j, x * factor);
    }
    row[i] = 0.5 * (own - mp_fold8(s) * inverse) * inverse;
    for (; k + 4 <= i; k += 4) RETURN_ROWS(4)
    for (; k < i; k++) RETURN_ROWS(1)
  }
  give_lower(d, v, n, width);
}

/* op(L) X = B for X (n, m); flags 1: lower, 2: transposed, 4: unit diagonal */
static MP_CLONES void triangular(double *d, const double *l, const double *b, const int64_t *k) {
  int64_t n = k[0], m = k[1], lower = k[2] & 1, transposed = k[2] & 2, unit = k[2] & 4;
  int64_t forwards = transposed ? !lower : lower;
  memcpy(d, b, n * m * sizeof(double));
  for (int64_t step = 0; step < n; step++) {
    int64_t i = forwards ? step : n - 1 - step;
    double *row = d + i * m;
    if (m == 1 && transposed) { /* along the rows of L: what is known goes into what is not */
      if (!unit) *row /= l[i * n + i];
      if (lower) subtract_multiple(d, *row, l + i * n, i);
      else subtract_multiple(d + i + 1, *row, l + i * n + i + 1, n - 1 - i);
      continue;
    }
    int64_t first = forwards ? 0 : i + 1, count = forwards ? i : n - 1 - i;
    if (m == 1) *row -= dot(l + i * n + first, d + first, count);
    else
      combine_rows(row, row, -1, transposed ? l + first * n + i : l + i * n + first, transposed ? n : 1, count,
                   d + first * m, m, 0, m);
    if (!unit) {
      double inverse = l[i * n + i];
      for (int64_t j = 0; j < m; j++) row[j] /= inverse;
    }
  }
}

MP_INLINE void exchange(double *x, double *y, int64_t n) {
  if (x == y) return;
  for (int64_t j = 0; j < n; j++) {
    double t = x[j];
    x[j] = y[j], y[j] = t;
  }
}

/* Factors with partial pivoting in d, then the row that each row in turn was exchanged with, as LAPACK has them. */
static MP_CLONES void lu(double *d, const double *a, int64_t n) {
  double *rows = d + n * n;
  memcpy(d, a, n * n * sizeof(double));
  for (int64_t k = 0; k < n; k++) {
    int64_t best = k;
    for (int64_t i = k + 1; i < n; i++)
      if (fabs(d[i * n + k]) > fabs(d[best * n + k])) best = i;
    rows[k] = (double)best;
    exchange(d + k * n, d + best * n, n);
    double pivot = d[k * n + k];
    if (pivot == 0) continue;
    for (int64_t i = k + 1; i < n; i++) {
      double factor = d[i * n + k] /= pivot;
      subtract_multiple(d + i * n + k + 1, factor, d + k * n + k + 1, n - k - 1);
    }
  }
}

/* op(A) X = B from the factors; k: n, m, transposed */
static void solve(double *d, const double *f, const double *b, double *scratch, const int64_t *k) {
  int64_t n = k[0], m = k[1];
  const double *rows = f + n * n;
  if (!k[2]) {
    memcpy(scratch, b, n * m * sizeof(double));
    for (int64_t i = 0; i < n; i++) exchange(scratch + i * m, scratch + (int64_t)rows[i] * m, m);
    triangular(d, f, scratch, (int64_t[4]){n, m, 1 | 4, 0});
    memcpy(scratch, d, n * m * sizeof(double));
    triangular(d, f, scratch, (int64_t[4]){n, m, 0, 0});
    return;
  }
  triangular(d, f, b, (int64_t[4]){n, m, 2, 0});
  memcpy(scratch, d, n * m * sizeof(double));
  triangular(d, f, scratch, (int64_t[4]){n, m, 1 | 2 | 4, 0});
  for (int64_t i = n - 1; i >= 0; i--) exchange(d + i * m, d + (int64_t)rows[i] * m, m);
}

/* Sign of the row exchanges. */
static double parity(const double *rows, int64_t n) {
  double sign = 1;
  for (int64_t i = 0; i < n; i++)
    if (rows[i] != (double)i) sign = -sign;
  return sign;
}

static void slogdet(double *d, const double *f, int64_t n) {
  double sign = parity(f + n * n, n), total = 0;
  for (int64_t i = 0; i < n; i++) {
    double pivot = f[i * n + i], size = fabs(pivot);
    sign = pivot == 0 ? 0 : pivot < 0 ? -sign : pivot != pivot ? NAN : sign;
    total += mp_log_any8(mp_splat8(size))[0];
  }
  d[0] = sign, d[1] = total;
}

static double det(const double *f, int64_t n) {
  double product = parity(f + n * n, n);
  for (int64_t i = 0; i < n; i++) product *= f[i * n + i];
  return product;
}

/* Derivative of the determinant: det(A) A^-T, or by minors where a pivot vanishes. */
static void cofactor(double *d, const double *a, const double *f, double *scratch, int64_t n) {
  int singular = 0;
  for (int64_t i = 0; i < n; i++) singular |= f[i * n + i] == 0;
  if (!singular) {
    double *unit = scratch, *more = scratch + n * n, product = det(f, n);
    memset(unit, 0, n * n * sizeof(double));
    for (int64_t i = 0; i < n; i++) unit[i * n + i] = product;
    solve(d, f, unit, more, (int64_t[4]){n, n, 1, 0});
    return;
  }
  int64_t less = n - 1;
  double *minor = scratch, *factors = scratch + n * n;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      for (int64_t p = 0, at = 0; p < n; p++)
        for (int64_t q = 0; q < n; q++)
          if (p != i && q != j) minor[at++] = a[p * n + q];
      lu(factors, minor, less);
      d[i * n + j] = ((i + j) & 1 ? -1 : 1) * det(factors, less);
    }
}

/* p g, but 0 for an adjoint g of 0: what lies behind a branch that was not taken has no say. */
static inline double selected(double p, double g) {
  double product = p * g;
  return product != product && g == 0 ? 0.0 : product;
}

/* h_t = P_t h_{t-1} + u_t, or backwards g_t = P_{t+1}' g_{t+1} + u_t; k: times, states, backwards; lanes: stride of elements */
static void linear_scan(double *d, const double *p, const double *u, const double *h0, const int64_t *k, int64_t s) {
  int64_t times = k[0], m = k[1];
  if (m == 1 && !k[2]) {
    double h = *h0;
    for (int64_t t = 0; t < times; t++) d[t * s] = h = p[t * s] * h + u[t * s];
    return;
  }
  if (m == 1) {
    double g = d[(times - 1) * s] = u[(times - 1) * s];
    for (int64_t t = times - 2; t >= 0; t--) d[t * s] = g = selected(p[(t + 1) * s], g) + u[t * s];
    return;
  }
  for (int64_t step = 0; step < times; step++) {
    int64_t t = k[2] ? times - 1 - step : step;
    const double *before = k[2] ? d + (t + 1) * m * s : t ? d + (t - 1) * m * s : h0;
    const double *matrix = p + (k[2] ? t + 1 : t) * m * m * s;
    for (int64_t i = 0; i < m; i++) {
      double sum = u[(t * m + i) * s];
      if (!k[2] || step)
        for (int64_t j = 0; j < m; j++)
          sum += k[2] ? selected(matrix[(j * m + i) * s], before[j * s]) : matrix[(i * m + j) * s] * before[j * s];
      d[(t * m + i) * s] = sum;
    }
  }
}

/* One state after another by scalar code in registers: the states before, the streams, what the body computes.
 * table: times, states, streams, operations; offset and step of each stream and of the first states in the work memory;
 * the registers of the new states. */
enum { MP_SCAN_REGISTERS = 256 };
static void scan(double *d, double *work, const int64_t *table, const mp_scalar_op *body, int64_t s) {
  double registers[MP_SCAN_REGISTERS];
  int64_t times = table[0], m = table[1], streams = table[2], count = table[3];
  const int64_t *stream = table + 4, *result = stream + 2 * (streams + 1);
  for (int64_t i = 0; i < m; i++) registers[i] = work[stream[2 * streams] + i * s];
  for (int64_t t = 0; t < times; t++) {
    for (int64_t i = 0; i < streams; i++) registers[m + i] = work[stream[2 * i] + t * stream[2 * i + 1]];
    mp_array_scalars(body, count, registers);
    for (int64_t i = 0; i < m; i++) d[(t * m + i) * s] = registers[result[i]];
    for (int64_t i = 0; i < m; i++) registers[i] = d[(t * m + i) * s];
  }
}

static void run(const mp_array_op *op, double *d, const double *a, const double *b, double *scratch) {
  const int64_t *k = op->k;
  switch (op->code) {
  case MP_OP_matmul: matmul(d, a, b, scratch, k); break;
  case MP_OP_cholesky: cholesky(d, a, scratch, k[0]); break;
  case MP_OP_cholesky_adjoint: cholesky_adjoint(d, a, b, scratch, k[0]); break;
  case MP_OP_triangular: triangular(d, a, b, k); break;
  case MP_OP_lu: lu(d, a, k[0]); break;
  case MP_OP_solve: solve(d, a, b, scratch, k); break;
  case MP_OP_slogdet: slogdet(d, a, k[0]); break;
  case MP_OP_det: *d = det(a, k[0]); break;
  case MP_OP_cofactor: cofactor(d, a, b, scratch, k[0]); break;
  case MP_OP_eigh: mp_array_eigh(d, a, scratch, k[0]); break;
  case MP_OP_expm: mp_array_expm(d, a, scratch, k[0]); break;
  }
}

/* The operation on each of eight interleaved problems: copied out, done, copied back. mode: blocks of elements; k[3] of
 * `auxiliary`: how many doubles each operand and the result have. */
static void run_lanes(const mp_array_op *op) {
  const int64_t *sizes = op->auxiliary;
  double *a = (double *)op->c, *b = a + sizes[0], *d = b + sizes[1], *scratch = d + sizes[2];
  for (int lane = 0; lane < MP_LANES; lane++) {
    for (int64_t i = 0; i < sizes[0]; i++) a[i] = op->a[i * MP_LANES + lane];
    for (int64_t i = 0; i < sizes[1]; i++) b[i] = op->b[i * MP_LANES + lane];
    run(op, d, a, b, scratch);
    for (int64_t i = 0; i < sizes[2]; i++) op->d[i * MP_LANES + lane] = d[i];
  }
}

void mp_array_whole(const mp_array_op *operations, int64_t count) {
  for (const mp_array_op *op = operations, *end = op + count; op < end; op++) {
    int64_t lanes = op->mode[0] == MP_BLOCK ? MP_LANES : 1;
    if (op->code == MP_OP_linear_scan)
      for (int64_t l = 0; l < lanes; l++) linear_scan(op->d + l, op->a + l, op->b + l, op->c + l, op->k, lanes);
    else if (op->code == MP_OP_scan)
      for (int64_t l = 0; l < lanes; l++)
        scan(op->d + l, (double *)op->a + l, op->auxiliary, (const mp_scalar_op *)op->b, lanes);
    else if (op->code == MP_OP_cumsum) cumsum(op->d, op->a, op->k[0], op->k[1], op->k[2], op->k[3]);
    else if (op->mode[0] == MP_BLOCK) run_lanes(op);
    else run(op, op->d, op->a, op->b, (double *)op->c);
  }
}
