/* Loops of array programs: fused operations on tiles of 256 doubles that stay in the first-level cache.
 *
 * Vectors run over the end of a loop into the slack behind every array; only sums and what is put beside other elements
 * look at the exact count. Sums are striped over eight lanes, so that every SIMD level gives the same bits. */
#include "densities/array_functions.h"
#include "densities/array_program.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))

MP_INLINE mp_operand locate(const double *p, int mode, int64_t i0, double *splat) {
  if (mode == MP_TILED) return (mp_operand){p, -1};
  if (mode == MP_MOVING) return (mp_operand){p + i0, -1};
  if (mode == MP_NUMBER) {
    mp_store8(splat, mp_splat8(*p));
    return (mp_operand){splat, 0};
  }
  return (mp_operand){p, 0};
}

/* Striped sum of n products, or of n elements where y is NULL. */
MP_INLINE double striped(mp_operand x, const mp_operand *y, int64_t n) {
  mp_v8 s = {0}, t = {0};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    mp_v8 u = AT(x, i), v = AT(x, i + 8);
    s += y ? u * AT(*y, i) : u;
    t += y ? v * AT(*y, i + 8) : v;
  }
  for (; i + 8 <= n; i += 8) s += y ? AT(x, i) * AT(*y, i) : AT(x, i);
  s += t;
  if (i < n) {
    mp_v8 u = AT(x, i), lane = {0, 1, 2, 3, 4, 5, 6, 7};
    if (y) u *= AT(*y, i);
    s += mp_select8(lane < (double)(n - i), u, mp_splat8(0.0)); /* what lies behind the end may be NaN */
  }
  return mp_fold8(s);
}

/* Where in (A, R, B) a loop is: the block, how far in it, and the column. Divisions cost more than all else, so they are done
 * once for a tile. */
typedef struct {
  int64_t block, within, column;
} position;

MP_INLINE position find(int64_t i0, int64_t r, int64_t b) {
  if (i0 == 0) return (position){0, 0, 0};
  int64_t within = i0 % (r * b);
  return (position){i0 / (r * b), within, within % b};
}

/* d += the rows of (A, R, B) in elements i0 .. i0 + n - 1; with `y` the products */
MP_INLINE void sum_tile(double *d, mp_operand x, const mp_operand *y, int64_t i0, int64_t n, int64_t r, int64_t b) {
  position at = find(i0, r, b);
  for (int64_t i = 0; i < n;) {
    if (b == 1) { /* a row of R elements, or the rest of one */
      int64_t run = MIN(r - at.within, n - i);
      if (run < 8) {
        double s = d[at.block];
        for (int64_t j = i; j < i + run; j++) s += x.p[j & x.mask] * (y ? y->p[j & y->mask] : 1.0);
        d[at.block] = s;
      } else {
        mp_operand from = {x.p + (i & x.mask), x.mask};
        mp_operand by = y ? (mp_operand){y->p + (i & y->mask), y->mask} : from;
        d[at.block] += striped(from, y ? &by : NULL, run);
      }
      i += run;
      at.block++, at.within = 0;
      continue;
    }
    if (b == 8) { /* the rest of a block, in one register */
      int64_t run = MIN(r * b - at.within, n - i);
      double *to = d + at.block * b;
      mp_v8 s = mp_load8(to);
      for (int64_t j = i; j < i + run; j += 8) s += y ? AT(x, j) * AT(*y, j) : AT(x, j);
      mp_store8(to, s);
      i += run;
      at.block++, at.within = 0;
      continue;
    }
    int64_t run = MIN(b - at.column, n - i), j = 0;
    double *to = d + at.block * b + at.column;
    for (; j + 8 <= run; j += 8) {
      mp_v8 u = mp_load8(x.p + (x.mask ? i + j : 0));
      mp_store8(to + j, mp_load8(to + j) + (y ? u * mp_load8(y->p + (y->mask ? i + j : 0)) : u));
    }
    for (; j < run; j++) to[j] += x.p[(i + j) & (x.mask | 7)] * (y ? y->p[(i + j) & (y->mask | 7)] : 1.0);
    i += run;
    at.column = 0, at.within += run;
    if (at.within == r * b) at.block++, at.within = 0;
  }
}

MP_INLINE void greatest_tile(double *d, mp_operand x, int64_t i0, int64_t n, int64_t r, int64_t b) {
  position at = find(i0, r, b);
  for (int64_t i = 0; i < n; i++) {
    double v = x.p[i & (x.mask | 7)], *to = d + at.block * b + at.column;
    if (v > *to || v != v) *to = v;
    if (++at.column == b) at.column = 0;
    if (++at.within == r * b) at.block++, at.within = 0;
  }
}

/* The elements (A, B) at `from`, each R times */
MP_INLINE void expand_tile(double *d, const double *from, int64_t i0, int64_t n, int64_t r, int64_t b) {
  position at = find(i0, r, b);
  for (int64_t i = 0; i < n;) {
    int64_t run = b == 1 ? MIN(r - at.within, n - i) : MIN(b - at.column, n - i);
    const double *row = from + at.block * b + at.column;
    if (b == 1)
      for (int64_t j = 0; j < run; j++) d[i + j] = *row;
    else
      for (int64_t j = 0; j < run; j++) d[i + j] = row[j];
    i += run;
    at.column = 0, at.within += run;
    if (at.within == r * b) at.block++, at.within = 0;
  }
}

/* Rows i0 .. i0 + n - 1 of a constant matrix times a vector; the block of this tile lies by columns of `height` rows. */
MP_INLINE void matvec_tile(double *d, const double *block, const double *v, int64_t columns, int64_t height) {
  int64_t i = 0;
  for (; i + 32 <= height; i += 32) {
    mp_v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    const double *c = block + i;
    for (int64_t j = 0; j < columns; j++, c += height) {
      mp_v8 factor = mp_splat8(v[j]);
      s0 += mp_load8(c) * factor;
      s1 += mp_load8(c + 8) * factor;
      s2 += mp_load8(c + 16) * factor;
      s3 += mp_load8(c + 24) * factor;
    }
    mp_store8(d + i, s0);
    mp_store8(d + i + 8, s1);
    mp_store8(d + i + 16, s2);
    mp_store8(d + i + 24, s3);
  }
  for (; i < height; i += 8) {
    mp_v8 s = {0};
    const double *c = block + i;
    for (int64_t j = 0; j < columns; j++, c += height) s += mp_load8(c) * mp_splat8(v[j]);
    mp_store8(d + i, s);
  }
}

/* g += the block's rows, transposed, times x; rows behind the end count as zero. */
MP_INLINE void matvec_t_tile(double *g, const double *block, mp_operand x, int64_t columns, int64_t height, int64_t n) {
  double last[8] __attribute__((aligned(64))) = {0};
  int64_t full = n & ~INT64_C(7);
  if (full < height) {
    mp_v8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
    mp_store8(last, mp_select8(lane < (double)(n - full), AT(x, full), mp_splat8(0.0)));
  }
  int64_t j = 0;
  for (; j + 4 <= columns; j += 4) {
    const double *c = block + j * height;
    mp_v8 s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    for (int64_t i = 0; i < height; i += 8) {
      mp_v8 r = i < full ? AT(x, i) : mp_load8(last);
      s0 += mp_load8(c + i) * r;
      s1 += mp_load8(c + height + i) * r;
      s2 += mp_load8(c + 2 * height + i) * r;
      s3 += mp_load8(c + 3 * height + i) * r;
    }
    g[j] += mp_fold8(s0);
    g[j + 1] += mp_fold8(s1);
    g[j + 2] += mp_fold8(s2);
    g[j + 3] += mp_fold8(s3);
  }
  for (; j < columns; j++) {
    const double *c = block + j * height;
    mp_v8 s = {0};
    for (int64_t i = 0; i < height; i += 8) s += mp_load8(c + i) * (i < full ? AT(x, i) : mp_load8(last));
    g[j] += mp_fold8(s);
  }
}

static MP_CLONES void tile(const mp_array_op *op, const mp_array_op *end, int64_t i0, int64_t n) {
  double splat[3][8] __attribute__((aligned(64)));
  for (; op < end; op++) {
    double *d = op->mode[0] == MP_MOVING ? op->d + i0 : op->d;
    mp_operand a = locate(op->a, op->mode[1], i0, splat[0]), b, c;
    switch (op->code) {
      /* arithmetic: a loop for every way in which the operands lie, so that nothing but it is left in the loop */
#define ALONG(o) mp_load8((o).p + i)
#define EVERY(name, count, before, load, expression)             \
  {                                                              \
    before;                                                      \
    _Pragma("GCC unroll 4") for (int64_t i = 0; i < n; i += 8) { \
      load;                                                      \
      mp_store8(d + i, expression);                              \
    }                                                            \
  }
#define FAST_U(name, expression)                                 \
  case MP_OP_##name:                                             \
    if (a.mask) EVERY(name, 1, , mp_v8 x = ALONG(a), expression) \
    else EVERY(name, 1, mp_v8 x = mp_load8(a.p), , expression)   \
    break;
#define FAST_B(name, expression)                                                                                      \
  case MP_OP_##name:                                                                                                  \
    b = locate(op->b, op->mode[2], i0, splat[1]);                                                                     \
    if (a.mask & b.mask) EVERY(name, 2, , mp_v8 x = ALONG(a); mp_v8 y = ALONG(b), expression)                         \
    else if (a.mask) EVERY(name, 2, mp_v8 y = mp_load8(b.p), mp_v8 x = ALONG(a), expression)                          \
    else EVERY(name, 2, mp_v8 x = mp_load8(a.p); int64_t by = b.mask, mp_v8 y = mp_load8(b.p + (i & by)), expression) \
    break;
#define FAST_T(name, expression)                                                                         \
  case MP_OP_##name:                                                                                     \
    b = locate(op->b, op->mode[2], i0, splat[1]);                                                        \
    c = locate(op->c, op->mode[3], i0, splat[2]);                                                        \
    if (a.mask & b.mask & c.mask)                                                                        \
      EVERY(name, 3, , mp_v8 x = ALONG(a); mp_v8 y = ALONG(b); mp_v8 z = ALONG(c), expression)           \
    else                                                                                                 \
      EVERY(name, 3, int64_t ax = a.mask; int64_t by = b.mask;                                           \
            int64_t cz = c.mask, mp_v8 x = mp_load8(a.p + (i & ax)); mp_v8 y = mp_load8(b.p + (i & by)); \
            mp_v8 z = mp_load8(c.p + (i & cz)), expression)                                              \
    break;
      MP_ARITHMETIC(FAST_U, FAST_B, FAST_T)
#define CALL_U(name, expression) \
  case MP_OP_##name: mp_array_##name(d, a, n); break;
#define CALL_B(name, expression)                  \
  case MP_OP_##name:                              \
    b = locate(op->b, op->mode[2], i0, splat[1]); \
    mp_array_##name(d, a, b, n);                  \
    break;
      MP_TRANSCENDENTAL(CALL_U, CALL_B, MP_NOTHING)
    case MP_OP_total: *op->d = (i0 ? *op->d : 0.0) + striped(a, NULL, n); break;
    case MP_OP_dot:
      b = locate(op->b, op->mode[2], i0, splat[1]);
      *op->d = (i0 ? *op->d : 0.0) + striped(a, &b, n);
      break;
    case MP_OP_dot_blocks:
    case MP_OP_sum:
      if (i0 == 0) memset(op->d, 0, op->k[1] * op->k[2] * sizeof(double));
      b = locate(op->b, op->mode[2], i0, splat[1]);
      sum_tile(op->d, a, op->code == MP_OP_dot_blocks ? &b : NULL, i0, n, op->k[0], op->k[1]);
      break;
    case MP_OP_greatest:
      if (i0 == 0)
        for (int64_t i = 0; i < op->k[1] * op->k[2]; i++) op->d[i] = -__builtin_inf();
      greatest_tile(op->d, a, i0, n, op->k[0], op->k[1]);
      break;
    case MP_OP_expand: expand_tile(d, op->a, i0, n, op->k[0], op->k[1]); break;
    case MP_OP_gather: {
      const int32_t *index = (const int32_t *)op->auxiliary + i0;
      for (int64_t i = 0; i < n; i++) d[i] = op->a[index[i]];
      break;
    }
    case MP_OP_gather_blocks: {
      const int32_t *index = (const int32_t *)op->auxiliary + i0 / 8;
      for (int64_t i = 0; i < n; i += 8) mp_store8(d + i, mp_load8(op->a + 8 * (int64_t)index[i / 8]));
      break;
    }
    case MP_OP_scatter: {
      const int32_t *index = (const int32_t *)op->auxiliary + i0;
      for (int64_t i = 0; i < n; i++) {
        double *to = op->d + index[i];
        *to = (op->k[0] ? *to : 0.0) + a.p[i & a.mask];
      }
      break;
    }
    case MP_OP_scatter_blocks: {
      const int32_t *index = (const int32_t *)op->auxiliary + i0 / 8;
      for (int64_t i = 0; i < n; i += 8) {
        double *to = op->d + 8 * (int64_t)index[i / 8];
        mp_store8(to, op->k[0] ? mp_load8(to) + AT(a, i) : AT(a, i));
      }
      break;
    }
    case MP_OP_place:
      for (int64_t i = 0; i < n; i++) d[i] = a.p[i & (a.mask | 7)];
      break;
    case MP_OP_place_add:
      for (int64_t i = 0; i < n; i++) d[i] += a.p[i & (a.mask | 7)];
      break;
    case MP_OP_matvec:
      matvec_tile(d, (const double *)op->auxiliary + i0 * op->k[0], op->a, op->k[0], (n + 7) & ~INT64_C(7));
      break;
    case MP_OP_matvec_t:
      if (i0 == 0) memset(op->d, 0, op->k[0] * sizeof(double));
      matvec_t_tile(op->d, (const double *)op->auxiliary + i0 * op->k[0], a, op->k[0], (n + 7) & ~INT64_C(7), n);
      break;
    case MP_OP_matvec_blocks:
      for (int64_t i = 0; i < n; i += 8) {
        const double *row = (const double *)op->auxiliary + (i0 + i) / 8 * op->k[0];
        mp_v8 s = {0};
        for (int64_t j = 0; j < op->k[0]; j++) s += mp_splat8(row[j]) * mp_load8(op->a + 8 * j);
        mp_store8(d + i, s);
      }
      break;
    case MP_OP_matvec_t_blocks:
      if (i0 == 0) memset(op->d, 0, 8 * op->k[0] * sizeof(double));
      for (int64_t i = 0; i < n; i += 8) {
        const double *row = (const double *)op->auxiliary + (i0 + i) / 8 * op->k[0];
        mp_v8 x = AT(a, i);
        for (int64_t j = 0; j < op->k[0]; j++)
          mp_store8(op->d + 8 * j, mp_load8(op->d + 8 * j) + mp_splat8(row[j]) * x);
      }
      break;
    }
  }
}

/* A loop of at most eight elements: every operation is one vector. */
static MP_CLONES void one_vector(const mp_array_op *op, const mp_array_op *end, int64_t n) {
  mp_v8 lane = {0, 1, 2, 3, 4, 5, 6, 7};
  mp_i8 inside = lane < (double)n;
#define TAKE(p, k) (op->mode[k] == MP_NUMBER ? mp_splat8(*(p)) : mp_load8(p))
  for (; op < end; op++) {
    mp_v8 x = TAKE(op->a, 1), y, z;
    switch (op->code) {
#define ONE_U(name, expression) \
  case MP_OP_##name: mp_store8(op->d, expression); break;
#define ONE_B(name, expression)   \
  case MP_OP_##name:              \
    y = TAKE(op->b, 2);           \
    mp_store8(op->d, expression); \
    break;
#define ONE_T(name, expression)   \
  case MP_OP_##name:              \
    y = TAKE(op->b, 2);           \
    z = TAKE(op->c, 3);           \
    mp_store8(op->d, expression); \
    break;
      MP_ARITHMETIC(ONE_U, ONE_B, ONE_T)
    case MP_OP_total: *op->d = mp_fold8(mp_select8(inside, x, mp_splat8(0.0))); break;
    case MP_OP_dot: *op->d = mp_fold8(mp_select8(inside, x * TAKE(op->b, 2), mp_splat8(0.0))); break;
    default: tile(op, op + 1, 0, n);
    }
  }
}

/* An elementwise operation on single numbers: lane 0 of a vector. */
double mp_array_number(int32_t code, double a, double b) {
  double d[8] __attribute__((aligned(64)));
  mp_array_op op = {.code = code, .mode = {MP_TILED, MP_NUMBER, MP_NUMBER, MP_NUMBER}, .d = d, .a = &a, .b = &b};
  tile(&op, &op + 1, 0, 8);
  return d[0];
}

void mp_array_loop(const mp_array_op *operations, int64_t count, int64_t size) {
  if (size <= 8) {
    one_vector(operations, operations + count, size);
    return;
  }
  for (int64_t i0 = 0; i0 < size; i0 += MP_TILE) tile(operations, operations + count, i0, MIN(size - i0, MP_TILE));
}
