/* One precision of the engines: include it with MP_SINGLE defined for float, without it for double.
 *
 * A tile is TILE rows side by side: arrays [features][TILE], each feature VECTORS vectors of LANES rows. */
#ifndef MICROPOLIS_REALS_H
#define MICROPOLIS_REALS_H

#include "common/vector_math.h"
#include "common/vector_math_float.h"
#include "neural/network.h"

#ifdef MP_SINGLE
typedef float real;
typedef int32_t integer;
typedef mp_v16 vreal;
typedef mp_i16 vinteger;
#define SIGN_BIT INT32_MIN
#define VECTOR_MATH(name) mp_##name##16
#else
typedef double real;
typedef int64_t integer;
typedef mp_v8 vreal;
typedef mp_i8 vinteger;
#define SIGN_BIT INT64_MIN
#define VECTOR_MATH(name) mp_##name##8
#endif

enum { LANES = sizeof(vreal) / sizeof(real), TILE = 64, VECTORS = TILE / LANES };

MP_INLINE vreal load(const real *p) {
  vreal v;
  memcpy(&v, p, sizeof v);
  return v;
}
MP_INLINE void store(real *p, vreal v) { memcpy(p, &v, sizeof v); }
#ifdef MP_SINGLE
MP_INLINE vreal splat(real x) { return (vreal){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
#else
MP_INLINE vreal splat(real x) { return (vreal){x, x, x, x, x, x, x, x}; }
#endif
MP_INLINE vreal pick(vinteger mask, vreal yes, vreal no) { return VECTOR_MATH(select)(mask, yes, no); }

/* max(x, 0); NaN for NaN */
MP_INLINE vreal positive_part(vreal x) { return (vreal)((vinteger)x & ~(x < (real)0)); }

/* Row of the data at position i of a call's rows; positions behind the last repeat it. */
MP_INLINE int64_t row_at(const int64_t *rows, int64_t n, int64_t i) {
  if (i >= n) i = n - 1;
  return rows ? rows[i] : i;
}

/* How many of a tile's places are worked on for so many rows: whole vectors. */
MP_INLINE int64_t places_of(int64_t n) { return n >= TILE ? TILE : (n + LANES - 1) / LANES * LANES; }

#endif
