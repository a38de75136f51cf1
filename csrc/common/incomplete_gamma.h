/* The incomplete gamma functions P(a, x) and Q(a, x) = 1 - P(a, x), their density in x, and the derivative of P by a.
 *
 * Three ways (DiDonato & Morris 1986; Gautschi 1979): the power series of P, the continued fraction of Q, and for a >= 20
 * near x = a the uniform expansion of Temme (1987, "On the computation of the incomplete gamma functions for large values
 * of the parameters"). All have the factor D = x^a exp(-x) / Gamma(a + 1), whose exponent is formed in two parts (Loader
 * 2000, "Fast and accurate computation of binomial probabilities"), so that a large a does not cancel. The derivative by a
 * comes from the same three, each with its derivative carried along; near x = a it is D times a smooth function, and
 * nothing cancels in either tail.
 *
 * Errors are relative, in the tails too: a few 1e-15, 1e-14 where many terms are summed. Nothing but + - * / sqrt and the
 * package's own functions is called, one number at a time: the same bits on every processor. */
#ifndef MICROPOLIS_INCOMPLETE_GAMMA_H
#define MICROPOLIS_INCOMPLETE_GAMMA_H

#include "common/scalar_math.h"
#include "common/vector_special.h"

/* eta / (lambda - 1) in powers of eta, where lambda - 1 - log(lambda) = eta^2 / 2; the output of make_incomplete_gamma.py */
static const double mp_table_uniform[26] = {
    0x1.0000000000000p+0,   -0x1.5555555555555p-2,  0x1.5555555555555p-4,   -0x1.e573ac901e574p-7,
    0x1.2f684bda12f68p-10,  0x1.71de3a556c734p-12,  -0x1.76e06fec7273bp-13, 0x1.48c5892f7cd83p-15,
    -0x1.255370652afc1p-19, -0x1.f1b22f594c6b5p-20, 0x1.bd6d21e4b4109p-21,  -0x1.7b5f9a2d0465cp-23,
    0x1.ccf5ceb7f0d9fp-28,  0x1.6097d55c37c1cp-27,  -0x1.2d2197c7a2faap-28, 0x1.f6e66d24d5c8ap-31,
    -0x1.c0d9b6edf2b0bp-36, -0x1.0070a87340428p-34, 0x1.ac9475c463659p-36,  -0x1.61ca701fd754ap-38,
    0x1.ef98008f5eec2p-44,  0x1.7ba0759769d7cp-42,  -0x1.3989bebb193c0p-43, 0x1.0104fc4369a3cp-45,
    -0x1.283fe7950ad7bp-51, -0x1.1ca914d71a27cp-49};

/* From this a on, and this near to x = a, the uniform expansion. */
#define MP_UNIFORM_FROM 20.0
#define MP_UNIFORM_NEAR 0.4

/* ---- numbers in two parts ---- */

typedef struct {
  double high, low;
} mp_pair;

MP_INLINE mp_pair mp_sum_pair(double a, double b) {
  double s = a + b, t = s - a;
  return (mp_pair){s, (a - (s - t)) + (b - t)};
}
MP_INLINE double mp_upper1(double x) { return mp_from_bits(mp_to_bits(x) & -(INT64_C(1) << 27)); }
MP_INLINE mp_pair mp_product_pair(double a, double b) {
  double p = a * b, ah = mp_upper1(a), al = a - ah, bh = mp_upper1(b), bl = b - bh;
  return (mp_pair){p, ((ah * bh - p) + (ah * bl + al * bh)) + al * bl};
}
MP_INLINE mp_pair mp_add_pairs(mp_pair a, mp_pair b) {
  mp_pair s = mp_sum_pair(a.high, b.high);
  double low = s.low + (a.low + b.low), high = s.high + low;
  return (mp_pair){high, low - (high - s.high)};
}
MP_INLINE mp_pair mp_scale_pair(double factor, mp_pair a) {
  mp_pair p = mp_product_pair(factor, a.high);
  p.low += factor * a.low;
  return p;
}
MP_INLINE double mp_exp_pair1(mp_pair x) { return mp_exp1(x.high) * (1.0 + x.low); }

/* log(1 + t) - t for 1 + t from sqrt(1/2) to sqrt(2): with s = t / (2 + t) it is -t^2 / (2 + t) + 2 (atanh(s) - s), of
 * which the first part is the large one. */
MP_INLINE mp_pair mp_log_excess1(mp_pair t) {
  mp_pair p = mp_product_pair(t.high, t.high), d = mp_sum_pair(2.0, t.high);
  p.low += 2.0 * t.high * t.low, d.low += t.low;
  double q = p.high / d.high;
  mp_pair back = mp_product_pair(q, d.high);
  double ql = (((p.high - back.high) - back.low) + (p.low - q * d.low)) / d.high;
  double s = t.high / d.high, z = s * s, sum = mp_table_log_tail[7];
  for (int i = 6; i >= 0; i--) sum = sum * z + mp_table_log_tail[i];
  mp_pair rest = mp_sum_pair(-q, (2.0 / 3.0) * (s * z) * (1.0 + z * sum));
  rest.low -= ql;
  return rest;
}
/* k log 2 + log(1 + t) */
MP_INLINE mp_pair mp_log_pair1(double k, mp_pair t) {
  mp_pair whole = mp_add_pairs((mp_pair){k * MP_LOG2_HIGH, k * MP_LOG2_LOW}, t);
  return mp_add_pairs(whole, mp_log_excess1(t));
}

/* power log(x) - x for finite x > 0 */
MP_INLINE mp_pair mp_power_exponent1(double power, double x) {
  double k = 0.0, u = x;
  if (u < 0x1p-1022) u *= 0x1p54, k = -54.0;
  int64_t bits = mp_to_bits(u), e = (bits - 0x3fe6a09e667f3bcd) >> 52;
  mp_pair t = {mp_from_bits(bits - e * (INT64_C(1) << 52)) - 1.0, 0.0};
  return mp_add_pairs(mp_scale_pair(power, mp_log_pair1(k + (double)e, t)), (mp_pair){-x, 0.0});
}
/* a log(x / a) - (x - a) for a >= 3, x = 2^k a (1 + t); far out anything below the exponent of the smallest double */
MP_INLINE mp_pair mp_gamma_exponent1(double a, double x) {
  double ratio = x / a;
  int64_t k = ratio < 0x1p-1000 ? -1000 : (mp_to_bits(ratio) - 0x3fe6a09e667f3bcd) >> 52;
  if (k && (a > 1e5 || x > 1e5 || k < -600)) return (mp_pair){-1e4, 0.0};
  double b = a * mp_from_bits((k + 1023) << 52);
  mp_pair d = mp_sum_pair(x, -b), t = {d.high / b, 0.0}, back = mp_product_pair(t.high, b);
  t.low = (((d.high - back.high) - back.low) + d.low) / b;
  if (!k) return mp_scale_pair(a, mp_log_excess1(t));
  return mp_add_pairs(mp_scale_pair(a, mp_log_pair1((double)k, t)), mp_sum_pair(a, -x));
}

/* ---- the gamma function near what is needed ---- */

MP_INLINE double mp_horner1(double x, int count, const double *c) {
  double sum = c[count - 1];
  for (int i = count - 2; i >= 0; i--) sum = sum * x + c[i];
  return sum;
}
#define MP_TABLE1(x, name) mp_horner1(x, sizeof mp_table_##name / sizeof(double), mp_table_##name)

/* log Gamma(1 + a), with a small relative error near a = 0 */
MP_INLINE double mp_lgamma1p1(double a) {
  if (a <= 0.5) return a * MP_TABLE1(a, lgamma) - mp_log1p1(a);
  if (a <= 1.5) return (a - 1.0) * MP_TABLE1(a - 1.0, lgamma);
  return mp_lgamma_positive8(mp_splat8(1.0 + a))[0];
}
/* exp(-x) x^a / Gamma(a + 1) without the exponent of above, for a >= 3: Stirling's formula */
MP_INLINE double mp_stirling_factor1(double a) {
  double w = 1.0 / a;
  return mp_exp1(-w * MP_TABLE1(w * w, stirling)) / (0x1.40d931ff62706p+1 * __builtin_sqrt(a)); /* sqrt(2 pi a) */
}
/* D = x^a exp(-x) / Gamma(a + 1) */
MP_INLINE double mp_gamma_front1(double a, double x) {
  if (a >= 3.0) return mp_exp_pair1(mp_gamma_exponent1(a, x)) * mp_stirling_factor1(a);
  return mp_exp_pair1(mp_power_exponent1(a, x)) * mp_exp1(-mp_lgamma1p1(a));
}
/* log(x) - digamma(a + 1) */
MP_INLINE double mp_gamma_tilt1(double a, double x) {
  if (a < 3.0) return mp_log1(x) - mp_digamma_positive8(mp_splat8(1.0 + a))[0];
  double w = 1.0 / a;
  return mp_log1(x / a) - w * (0.5 - w * MP_TABLE1(w * w, digamma_tail));
}

/* ---- the three ways ---- */

/* A value and its derivative by a. */
typedef struct {
  double value, slope;
} mp_dual;

/* P = D S, S = 1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ... */
MP_INLINE mp_dual mp_gamma_series1(double a, double x) {
  double term = 1.0, slope = 0.0;
  mp_dual sum = {1.0, 0.0};
  for (double n = a + 1.0; term > 0x1p-56 * sum.value || slope < 0x1p-56 * sum.slope; n += 1.0) {
    double ratio = x / n;
    slope = ratio * (slope - term / n);
    term *= ratio;
    sum.value += term;
    sum.slope += slope;
  }
  return sum;
}

/* Q = a D F, F = 1 / (x + 1 - a + (a - 1) / (x + 3 - a + 2 (a - 2) / (x + 5 - a + ...))), by Steed's algorithm. */
MP_INLINE mp_dual mp_gamma_fraction1(double a, double x) {
  double b = x + 1.0 - a;
  mp_dual d = {1.0 / b, 1.0 / (b * b)}, step = d, sum = d;
  for (double n = 1.0; n < 1e5; n += 1.0) {
    double c = n * (a - n);
    b += 2.0;
    mp_dual before = d;
    d.value = 1.0 / (b + c * before.value);
    d.slope = -d.value * d.value * (-1.0 + n * before.value + c * before.slope);
    double f = c * before.value * d.value;
    double df = n * before.value * d.value + c * (before.slope * d.value + before.value * d.slope);
    step.slope = -(f * step.slope + df * step.value);
    step.value *= -f;
    sum.value += step.value;
    sum.slope += step.slope;
    double size = step.value < 0 ? -step.value : step.value, slope = step.slope < 0 ? -step.slope : step.slope;
    if (size <= 0x1p-56 * sum.value && slope <= 0x1p-56 * (sum.slope < 0 ? -sum.slope : sum.slope)) break;
  }
  return sum;
}

/* Q = erfc(eta sqrt(a / 2)) / 2 + exp(-a eta^2 / 2) / sqrt(2 pi a) S(eta), where T = S Gamma*(a) = sum of b_n eta^n has
 * b_(n-1) = f_n + (n + 1) b_(n+1) / a and Gamma*(a) = 1 + b_1 / a. */
typedef struct {
  double eta, value, by_a, by_eta; /* S and its derivatives */
} mp_uniform;

MP_INLINE mp_uniform mp_gamma_uniform1(double a, double x) {
  double d = x - a, square = -2.0 * mp_gamma_exponent1(a, x).high / a;
  double eta = d < 0 ? -__builtin_sqrt(square) : __builtin_sqrt(square), w = 1.0 / a;
  double after = 0.0, now = 0.0, slope_after = 0.0, slope_now = 0.0; /* b_(n+1), b_n and their derivatives by a */
  double t = 0.0, by_a = 0.0, by_eta = 0.0;
  for (int n = (int)(sizeof mp_table_uniform / sizeof(double)) - 1; n > 0; n--) { /* makes b_(n-1) */
    double b = mp_table_uniform[n] + (n + 1) * after * w, slope = (n + 1) * (slope_after - after * w) * w;
    by_eta = by_eta * eta + t;
    t = t * eta + b;
    by_a = by_a * eta + slope;
    after = now, now = b;
    slope_after = slope_now, slope_now = slope;
  }
  double g = 1.0 + after * w, dg = (slope_after - after * w) * w, s = t / g;
  return (mp_uniform){eta, s, (by_a - s * dg) / g, by_eta / g};
}

/* Q for x <= 1.1 and small a, where 1 - P would cancel: 1 - x^a / Gamma(a + 1), and the rest of the series of P. */
MP_INLINE double mp_gamma_small1(double a, double x) {
  double power = a * mp_log1(x) - mp_lgamma1p1(a), term = 1.0, sum = 0.0, size;
  for (double n = 1.0;; n += 1.0) {
    term *= -x / n;
    double part = term / (a + n);
    sum += part;
    size = part < 0 ? -part : part;
    if (size <= 0x1p-56 * (sum < 0 ? -sum : sum)) break;
  }
  return -mp_expm1_8(mp_splat8(power))[0] - a * mp_exp1(power) * sum;
}

/* ---- functions of one number each ---- */

MP_INLINE int mp_is_uniform1(double a, double x) {
  double d = x - a;
  return a >= MP_UNIFORM_FROM && (d < 0 ? -d : d) <= MP_UNIFORM_NEAR * a;
}

/* P, or Q if `upper` */
MP_OUTLINE double mp_gammainc1(double a, double x, int upper) {
  const double infinity = __builtin_inf();
  if (!(a >= 0 && x >= 0) || (a == 0 && x == 0) || (a == infinity && x == infinity)) return __builtin_nan("");
  if (x == 0 || a == infinity) return upper;
  if (a == 0 || x == infinity) return !upper;
  double value;
  int right; /* whether `value` is of the upper tail */
  if (mp_is_uniform1(a, x)) {
    mp_uniform u = mp_gamma_uniform1(a, x);
    mp_pair e = mp_gamma_exponent1(a, x);
    double z = __builtin_sqrt(-e.high), half = 0.5 * mp_erfcx_positive8(mp_splat8(z))[0];
    double rest = u.value / (0x1.40d931ff62706p+1 * __builtin_sqrt(a));
    right = u.eta >= 0;
    value = mp_exp_pair1(e) * (right ? half + rest : half - rest);
  } else if (upper && x <= 1.1 && (x <= 0.5 ? a * -mp_log1(x) <= 0.4 : a <= 1.1 * x)) {
    value = mp_gamma_small1(a, x), right = 1;
  } else {
    double front = mp_gamma_front1(a, x);
    right = x > a && x > (upper ? 1.1 : 1.0);
    if (front == 0) value = 0.0;
    else if (right) value = a * front * mp_gamma_fraction1(a, x).value;
    else value = front * mp_gamma_series1(a, x).value;
  }
  if (value > 1.0) value = 1.0;
  return right == upper ? value : 1.0 - value;
}

/* dP / da = -dQ / da */
MP_OUTLINE double mp_gammainc_slope1(double a, double x) {
  const double infinity = __builtin_inf();
  if (!(a >= 0 && x >= 0) || (a == 0 && x == 0) || (a == infinity && x == infinity)) return __builtin_nan("");
  if (x == 0 || a == infinity || x == infinity) return 0.0;
  if (mp_is_uniform1(a, x)) {
    mp_uniform u = mp_gamma_uniform1(a, x);
    double log_ratio = mp_log1p1((x - a) / a), ratio = u.eta == 0 ? 1.0 : log_ratio / u.eta, w = 1.0 / a;
    double along = -(ratio + 0.5 * u.eta) * w; /* eta moves so as a does */
    double factor = mp_exp_pair1(mp_gamma_exponent1(a, x)) / (0x1.40d931ff62706p+1 * __builtin_sqrt(a));
    return -factor * (ratio + (log_ratio - 0.5 * w) * u.value + u.by_a + u.by_eta * along);
  }
  double front = mp_gamma_front1(a, x);
  if (front == 0) return 0.0;
  double tilt = mp_gamma_tilt1(a, x);
  if (x <= a || x <= 1.5) {
    mp_dual s = mp_gamma_series1(a, x);
    return front * (tilt * s.value + s.slope);
  }
  mp_dual f = mp_gamma_fraction1(a, x);
  return -front * ((a * tilt + 1.0) * f.value + a * f.slope);
}

/* dP / dx = x^(a - 1) exp(-x) / Gamma(a) */
MP_OUTLINE double mp_gammainc_density1(double a, double x) {
  const double infinity = __builtin_inf();
  if (!(a >= 0 && x >= 0) || (a == infinity && x == infinity)) return __builtin_nan("");
  if (a == 0 || a == infinity || x == infinity) return 0.0;
  if (x == 0) return a > 1 ? 0.0 : a == 1 ? 1.0 : infinity;
  if (a >= 3.0) {
    double front = mp_gamma_front1(a, x);
    return front == 0 ? 0.0 : front * (a / x);
  }
  return mp_exp_pair1(mp_power_exponent1(a - 1.0, x)) * (a * mp_exp1(-mp_lgamma1p1(a)));
}

#define MP_BY_LANES(name, expression)                   \
  MP_INLINE mp_v8 name(mp_v8 a, mp_v8 x) {              \
    mp_v8 result;                                       \
    for (int i = 0; i < 8; i++) result[i] = expression; \
    return result;                                      \
  }
MP_BY_LANES(mp_gammainc8, mp_gammainc1(a[i], x[i], 0))
MP_BY_LANES(mp_gammaincc8, mp_gammainc1(a[i], x[i], 1))
MP_BY_LANES(mp_gammainc_slope8, mp_gammainc_slope1(a[i], x[i]))
MP_BY_LANES(mp_gammainc_density8, mp_gammainc_density1(a[i], x[i]))

#endif
