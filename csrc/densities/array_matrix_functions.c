/* Eigenvalues and exponentials of matrices in array programs; matrices are flat, in C order. */
#include <math.h>

#include "common/eigen.h"
#include "common/simd.h"
#include "densities/array_program.h"

/* ---- eigenvalues and eigenvectors of a symmetric matrix ---- */

/* The sign of a vector: its first component of at least 0.6 of the largest is positive. (Ties of the largest, which
 * matrices of few different numbers have, are not broken by rounding.) */
static double sign_of(const double *v, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++) most = fabs(v[i]) > most ? fabs(v[i]) : most;
  for (int64_t i = 0; i < n; i++)
    if (fabs(v[i]) >= 0.6 * most) return v[i] < 0 ? -1 : 1;
  return 1;
}

/* n values ascending, then the vectors (n, n) in columns; the lower triangle of `a` is read. */
void mp_array_eigh(double *d, const double *a, double *scratch, int64_t n) {
  int64_t stride = (int64_t)mp_padded((size_t)n);
  double *full = scratch, *vectors = full + n * stride, *values = vectors + n * stride, *work = values + stride;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < stride; j++) full[i * stride + j] = j >= n ? 0.0 : j <= i ? a[i * n + j] : a[j * n + i];
  if (mp_eigen((size_t)n, full, values, vectors, work, NULL)) {
    for (int64_t i = 0; i < n + n * n; i++) d[i] = NAN;
    return;
  }
  for (int64_t i = 0; i < n; i++) { /* the place of row i: how many are less, or equal and before */
    int64_t place = 0;
    for (int64_t j = 0; j < n; j++) place += values[j] < values[i] || (values[j] == values[i] && j < i);
    const double *row = vectors + i * stride;
    double sign = sign_of(row, n);
    d[place] = values[i];
    for (int64_t j = 0; j < n; j++) d[n + j * n + place] = sign * row[j];
  }
}

/* ---- the matrix exponential ---- */

static MP_CLONES void product(double *d, const double *x, const double *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double *row = d + i * n;
    for (int64_t j = 0; j < n; j++) row[j] = 0;
    for (int64_t k = 0; k < n; k++) {
      double factor = x[i * n + k];
      for (int64_t j = 0; j < n; j++) row[j] += factor * y[k * n + j];
    }
  }
}

/* The largest sum of sizes in a column; NaN where an element is not finite. */
static double norm(const double *a, int64_t n) {
  double most = 0, check = 0;
  for (int64_t j = 0; j < n; j++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs(a[i * n + j]), check += 0 * a[i * n + j];
    most = sum > most ? sum : most;
  }
  return check == 0 ? most : NAN;
}

/* Solves q x = p for the rows (q | p), 2 n numbers each, by elimination with partial pivoting; x in place of p. */
static MP_CLONES void eliminate(double *rows, int64_t n) {
  int64_t width = 2 * n;
  for (int64_t k = 0; k < n; k++) {
    int64_t best = k;
    for (int64_t i = k + 1; i < n; i++)
      if (fabs(rows[i * width + k]) > fabs(rows[best * width + k])) best = i;
    for (int64_t j = k; j < width && best != k; j++) {
      double t = rows[k * width + j];
      rows[k * width + j] = rows[best * width + j], rows[best * width + j] = t;
    }
    for (int64_t i = k + 1; i < n; i++) {
      double factor = rows[i * width + k] / rows[k * width + k];
      for (int64_t j = k + 1; j < width; j++) rows[i * width + j] -= factor * rows[k * width + j];
    }
  }
  for (int64_t k = n - 1; k >= 0; k--) {
    for (int64_t j = n; j < width; j++) rows[k * width + j] /= rows[k * width + k];
    for (int64_t i = 0; i < k; i++) {
      double factor = rows[i * width + k];
      for (int64_t j = n; j < width; j++) rows[i * width + j] -= factor * rows[k * width + j];
    }
  }
}

/* The least integer s with x <= 2^(power s), or one more. */
static int least_power(double x, int power) {
  int exponent;
  if (!(x > 0)) return -2000;
  frexp(x, &exponent);
  return exponent > 0 ? (exponent + power - 1) / power : -(-exponent / power);
}

/* Scaling and squaring with the Pade approximant of degree 13 (Higham 2005), s squarings from the norms of powers and from
 * the first term of the backward error (Al-Mohy & Higham 2009, "A new scaling and squaring algorithm"): a block matrix,
 * of which the adjoint and the tangent are parts, is not scaled more than its diagonal needs. */
void mp_array_expm(double *d, const double *a, double *scratch, int64_t n) {
  static const double b[14] = {64764752532480000.0,
                               32382376266240000.0,
                               7771770303897600.0,
                               1187353796428800.0,
                               129060195264000.0,
                               10559470521600.0,
                               670442572800.0,
                               33522128640.0,
                               1323241920.0,
                               40840800.0,
                               960960.0,
                               16380.0,
                               182.0,
                               1.0};
  int64_t size = n * n;
  double *a1 = scratch, *a2 = a1 + size, *a4 = a2 + size, *a6 = a4 + size, *u = a6 + size, *v = u + size;
  double *rows = v + size, *sum = rows + 2 * size, *next = sum + n, of_a = norm(a, n), most = 0;
  if (!(of_a < INFINITY)) {
    for (int64_t i = 0; i < size; i++) d[i] = NAN;
    return;
  }
  int e;
  frexp(of_a, &e);
  e = e < -100 ? -100 : e;
  for (int64_t i = 0; i < size; i++) a1[i] = ldexp(a[i], -e); /* of a norm up to 1 */
  product(a2, a1, a1, n);
  product(a4, a2, a2, n);
  product(a6, a2, a4, n);
  product(u, a4, a4, n);
  product(v, a4, a6, n);
  const double t2 = 4.25 * 4.25, t4 = t2 * t2;
  int s6 = least_power(norm(a6, n) / (t2 * t4), 6), s8 = least_power(norm(u, n) / (t4 * t4), 8);
  int s10 = least_power(norm(v, n) / (t2 * t4 * t4), 10), left = s8 > s6 ? s8 : s6, right = s8 > s10 ? s8 : s10;
  for (int64_t j = 0; j < n; j++) sum[j] = 1;
  for (int step = 0; step < 27; step++) { /* column sums of |A|^27 */
    for (int64_t j = 0; j < n; j++) {
      next[j] = 0;
      for (int64_t i = 0; i < n; i++) next[j] += sum[i] * fabs(a1[i * n + j]);
    }
    memcpy(sum, next, n * sizeof(double));
  }
  for (int64_t j = 0; j < n; j++) most = sum[j] > most ? sum[j] : most;
  double first = of_a > 0 ? most / ldexp(of_a, -e) * 0x1p53 / 113250775606021113483283660800000000.0 : 0.0;
  int s = e + (left < right ? left : right), other = e + least_power(first, 26);
  s = other > s ? other : s;
  s = s < e - 100 ? e - 100 : s;
  s = s < 0 ? 0 : s;
  double f = ldexp(1.0, e - s), f2 = f * f, f4 = f2 * f2, f6 = f2 * f4;
  for (int64_t i = 0; i < size; i++) a1[i] *= f, a2[i] *= f2, a4[i] *= f4, a6[i] *= f6;
  for (int64_t i = 0; i < size; i++) d[i] = b[13] * a6[i] + b[11] * a4[i] + b[9] * a2[i];
  product(v, a6, d, n);
  for (int64_t i = 0; i < size; i++)
    v[i] += b[7] * a6[i] + b[5] * a4[i] + b[3] * a2[i] + (i % (n + 1) == 0 ? b[1] : 0.0);
  product(u, a1, v, n);
  for (int64_t i = 0; i < size; i++) d[i] = b[12] * a6[i] + b[10] * a4[i] + b[8] * a2[i];
  product(v, a6, d, n);
  for (int64_t i = 0; i < size; i++)
    v[i] += b[6] * a6[i] + b[4] * a4[i] + b[2] * a2[i] + (i % (n + 1) == 0 ? b[0] : 0.0);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double odd = u[i * n + j], even = v[i * n + j];
      rows[2 * i * n + j] = even - odd;
      rows[2 * i * n + n + j] = even + odd;
    }
  eliminate(rows, n);
  for (int64_t i = 0; i < n; i++) memcpy(d + i * n, rows + (2 * i + 1) * n, n * sizeof(double));
  for (; s > 0; s--) {
    memcpy(u, d, size * sizeof(double));
    product(d, u, u, n);
  }
}
