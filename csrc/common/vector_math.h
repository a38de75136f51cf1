/* exp, log, tanh and relatives of eight doubles at a time, without branches or tables.
 *
 * Errors stay within 1.1 ulp (mp_exp8), 1.8 ulp (the logarithms) and 3 ulp (the others), with the IEEE results at
 * infinities, NaN, overflow and gradual underflow. Every operation is correctly rounded and none is contracted: all target clones give the same
 * bits. */
#ifndef MICROPOLIS_VECTOR_MATH_H
#define MICROPOLIS_VECTOR_MATH_H

#include "common/simd.h"

typedef int64_t mp_i8 __attribute__((vector_size(64)));

MP_INLINE mp_v8 mp_splat8(double value) { return value - (mp_v8){0}; }

/* Lane by lane: mask ? yes : no, with a mask of a vector comparison (-1 or 0). */
MP_INLINE mp_v8 mp_select8(mp_i8 mask, mp_v8 yes, mp_v8 no) {
  return (mp_v8)((mask & (mp_i8)yes) | (~mask & (mp_i8)no));
}

/* -|x|, NaN for NaN */
MP_INLINE mp_v8 mp_negative_abs8(mp_v8 x) { return (mp_v8)((mp_i8)x | INT64_MIN); }

/* min(x, 0); 0 for NaN */
MP_INLINE mp_v8 mp_min_zero8(mp_v8 x) { return (mp_v8)((mp_i8)x & (x < 0.0)); }

/* 1.5 * 2^52: adding it rounds to an integer, which then stands in the low bits. */
#define MP_SHIFT8 0x1.8p52

/* expm1(r), |r| <= log(2) / 2, as r + r^2 q(r), q the interpolant in the Chebyshev nodes (relative error 1.6e-17). */
MP_INLINE mp_v8 mp_expm1_core8(mp_v8 r) {
  mp_v8 r2 = r * r, r4 = r2 * r2;
  mp_v8 q01 = 0x1.0000000000001p-1 + r * 0x1.5555555555556p-3;
  mp_v8 q23 = 0x1.5555555553d63p-5 + r * 0x1.11111111109b3p-7;
  mp_v8 q45 = 0x1.6c16c1788bd90p-10 + r * 0x1.a01a01a7c41d5p-13;
  mp_v8 q67 = 0x1.a019b90d2ae7ap-16 + r * 0x1.71de0dae63bb3p-19;
  mp_v8 q89 = 0x1.289185613a3d6p-22 + r * 0x1.af38a9b0ec855p-26;
  mp_v8 q = (q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89);
  return r + r2 * q;
}

/* x - n log 2; log 2 in two parts, the first with trailing zeros so that n times it is exact. */
MP_INLINE mp_v8 mp_reduce8(mp_v8 x, mp_v8 n) { return (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33; }

/* exp(x) = 2^n exp(r), n = round(x / log 2), |r| <= log(2) / 2. The scaling runs in two halves, each a normal number, so
 * that subnormal results are rounded once and overflow comes out as infinity. */
MP_INLINE mp_v8 mp_exp8(mp_v8 x) {
  x = mp_select8(x < -746.0, mp_splat8(-746.0), x);
  x = mp_select8(x > 710.0, mp_splat8(710.0), x);
  mp_v8 shifted = x * 0x1.71547652b82fep+0 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_v8 y = 1.0 + mp_expm1_core8(mp_reduce8(x, n));
  mp_i8 exponent = (mp_i8)shifted - (mp_i8)mp_splat8(MP_SHIFT8);
  mp_i8 half = ((exponent + 4096) >> 1) - 2048;
  return y * (mp_v8)((half + 1023) << 52) * (mp_v8)((exponent - half + 1023) << 52);
}

/* exp(x) for x <= 0 down to exp(-708) = 3e-308, which stands for all that is less. */
MP_INLINE mp_v8 mp_exp_negative8(mp_v8 x) {
  x = mp_select8(x < -708.0, mp_splat8(-708.0), x);
  mp_v8 shifted = x * 0x1.71547652b82fep+0 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_v8 scale = (mp_v8)(((mp_i8)shifted - (mp_i8)mp_splat8(MP_SHIFT8) + 1023) << 52);
  return scale * mp_expm1_core8(mp_reduce8(x, n)) + scale;
}

/* exp(x) - 1 for x <= 0: 2^n expm1(r) + (2^n - 1), a sum that cannot cancel. */
MP_INLINE mp_v8 mp_expm1_negative8(mp_v8 x) {
  x = mp_select8(x < -40.0, mp_splat8(-40.0), x);
  mp_v8 shifted = x * 0x1.71547652b82fep+0 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_v8 scale = (mp_v8)(((mp_i8)shifted - (mp_i8)mp_splat8(MP_SHIFT8) + 1023) << 52);
  return scale * mp_expm1_core8(mp_reduce8(x, n)) + (scale - 1.0);
}

/* With e = expm1(-2|x|): tanh |x| = -e / (2 + e), and the sign of x. */
MP_INLINE mp_v8 mp_tanh8(mp_v8 x) {
  mp_v8 e = mp_expm1_negative8(2.0 * mp_negative_abs8(x)), t = -e / (2.0 + e);
  return (mp_v8)(((mp_i8)t & INT64_MAX) | ((mp_i8)x & INT64_MIN));
}

/* 1 / (1 + exp(-x)), from exp(-|x|) */
MP_INLINE mp_v8 mp_sigmoid8(mp_v8 x) {
  mp_v8 e = mp_exp8(mp_negative_abs8(x));
  return mp_select8(x < 0.0, e, mp_splat8(1.0)) / (1.0 + e);
}

/* log(1 + f), |f| up to sqrt(2) - 1: s = f / (2 + f), z = s^2, log(1 + f) = f - s (f - z L(z)) with the interpolant of L
 * in the Chebyshev nodes (relative error 4.7e-18). */
MP_INLINE mp_v8 mp_log1p_core8(mp_v8 f) {
  mp_v8 s = f / (2.0 + f), z = s * s, z2 = z * z;
  mp_v8 l = ((0.666666666666667 + z * 0.39999999999899444) + z2 * (0.2857142862600327 + z * 0.22222211130259878)) +
            (z2 * z2) * ((0.18182889455674947 + z * 0.15331710618210773) + z2 * 0.14616585424888623);
  return f - s * (f - z * l);
}

/* log(1 + e) for e in [0, 1]: 1 + e = 2^k (1 + f) with k = 0 or 1 */
MP_INLINE mp_v8 mp_log1p_unit8(mp_v8 e) {
  mp_i8 upper = e > 0x1.a827999fcef32p-2; /* sqrt(2) - 1 */
  mp_v8 log_f = mp_log1p_core8(mp_select8(upper, (e - 1.0) * 0.5, e));
  return mp_select8(upper, 0x1.62e42fefa39efp-1 + (log_f + 0x1.abc9e3b39803fp-56), log_f);
}

/* log(x) for normal x > 0 (infinity and NaN stay as they are): x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2) */
MP_INLINE mp_v8 mp_log8(mp_v8 x) {
  mp_i8 k = ((mp_i8)x - 0x3fe6a09e667f3bcd) >> 52;
  mp_v8 log_f = mp_log1p_core8((mp_v8)((mp_i8)x - (k << 52)) - 1.0);
  mp_v8 n = (mp_v8)(k + (mp_i8)mp_splat8(MP_SHIFT8)) - MP_SHIFT8;
  return mp_select8(x - x == 0.0, n * 0x1.62e42feep-1 + (log_f + n * 0x1.a39ef35793c76p-33), x);
}

#endif
