/* exp, log and log1p of one double, by the polynomials of vector_math.h: the same bits on every processor, which the C
 * library's own do not give, and a shorter wait than a whole vector's. Errors stay within 1.8 ulp. */
#ifndef MICROPOLIS_SCALAR_MATH_H
#define MICROPOLIS_SCALAR_MATH_H

#include "common/simd.h"

#define MP_LOG2_HIGH 0x1.62e42feep-1
#define MP_LOG2_LOW 0x1.a39ef35793c76p-33

MP_INLINE double mp_from_bits(int64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
MP_INLINE int64_t mp_to_bits(double x) {
  int64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

MP_INLINE double mp_exp1(double x) {
  if (!(x > -746.0)) return x != x ? x : 0.0;
  if (x > 710.0) return __builtin_inf();
  double shifted = x * 0x1.71547652b82fep+0 + 0x1.8p52, n = shifted - 0x1.8p52;
  double r = (x - n * MP_LOG2_HIGH) - n * MP_LOG2_LOW, r2 = r * r, r4 = r2 * r2;
  double q01 = 0x1.0000000000001p-1 + r * 0x1.5555555555556p-3;
  double q23 = 0x1.5555555553d63p-5 + r * 0x1.11111111109b3p-7;
  double q45 = 0x1.6c16c1788bd90p-10 + r * 0x1.a01a01a7c41d5p-13;
  double q67 = 0x1.a019b90d2ae7ap-16 + r * 0x1.71de0dae63bb3p-19;
  double q89 = 0x1.289185613a3d6p-22 + r * 0x1.af38a9b0ec855p-26;
  double q = (q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89), y = 1.0 + (r + r2 * q);
  int64_t exponent = (int64_t)n, half = exponent >> 1; /* in two halves: subnormal results are rounded once */
  return y * mp_from_bits((half + 1023) << 52) * mp_from_bits((exponent - half + 1023) << 52);
}

/* log(1 + f), |f| up to sqrt(2) - 1 */
MP_INLINE double mp_log1p_core1(double f) {
  double s = f / (2.0 + f), z = s * s, z2 = z * z;
  double l = ((0.666666666666667 + z * 0.39999999999899444) + z2 * (0.2857142862600327 + z * 0.22222211130259878)) +
             (z2 * z2) * ((0.18182889455674947 + z * 0.15331710618210773) + z2 * 0.14616585424888623);
  return f - s * (f - z * l);
}

/* log(2^k u) + correction for normal u > 0 */
MP_INLINE double mp_log_parts1(double u, double k, double correction) {
  int64_t bits = mp_to_bits(u), exponent = (bits - 0x3fe6a09e667f3bcd) >> 52;
  double f = mp_from_bits(bits - exponent * (INT64_C(1) << 52)) - 1.0;
  k += (double)exponent;
  return k * MP_LOG2_HIGH + (mp_log1p_core1(f) + (k * MP_LOG2_LOW + correction));
}

MP_INLINE double mp_log1(double x) {
  if (!(x > 0)) return x == 0 ? -__builtin_inf() : __builtin_nan("");
  if (x == __builtin_inf()) return x;
  if (x < 0x1p-1022) return mp_log_parts1(x * 0x1p54, -54.0, 0.0);
  return mp_log_parts1(x, 0.0, 0.0);
}

MP_INLINE double mp_log1p1(double x) {
  if (x > -0.29 && x < 0.41) return mp_log1p_core1(x);
  if (!(x > -1)) return x == -1 ? -__builtin_inf() : __builtin_nan("");
  if (x > 0x1p60) return mp_log1(x);
  double u = 1.0 + x, lost = x > 1.0 ? 1.0 - (u - x) : x - (u - 1.0); /* what rounding took from 1 + x */
  return mp_log_parts1(u, 0.0, lost / u);
}

/* log(1 + e) for e in [0, 1] */
MP_INLINE double mp_log1p_unit1(double e) {
  if (!(e > 0x1.a827999fcef32p-2)) return mp_log1p_core1(e);
  return 0x1.62e42fefa39efp-1 + (mp_log1p_core1((e - 1.0) * 0.5) + 0x1.abc9e3b39803fp-56);
}

/* log(exp(x) + exp(y)); equal infinities are apart by nothing */
MP_INLINE double mp_logaddexp1(double x, double y) {
  double t = x == y ? 0.0 : x - y;
  return (t > 0 || x != x ? x : y) + mp_log1p_unit1(mp_exp1(t > 0 ? -t : t));
}
MP_INLINE double mp_softplus1(double x) {
  return (x > 0 || x != x ? x : 0.0) + mp_log1p_unit1(mp_exp1(x > 0 ? -x : x));
}
MP_INLINE double mp_sigmoid1(double x) {
  double e = mp_exp1(x > 0 ? -x : x);
  return (x < 0 ? e : 1.0) / (1.0 + e);
}

#endif
