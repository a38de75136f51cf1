/* The functions of vector_math.h for sixteen floats at a time; errors stay within the same number of ulp. */
#ifndef MICROPOLIS_VECTOR_MATH_FLOAT_H
#define MICROPOLIS_VECTOR_MATH_FLOAT_H

#include "common/simd.h"

typedef float mp_v16 __attribute__((vector_size(64)));
typedef int32_t mp_i16 __attribute__((vector_size(64)));

MP_INLINE mp_v16 mp_splat16(float value) { return value - (mp_v16){0}; }
MP_INLINE mp_v16 mp_select16(mp_i16 mask, mp_v16 yes, mp_v16 no) {
  return (mp_v16)((mask & (mp_i16)yes) | (~mask & (mp_i16)no));
}
MP_INLINE mp_v16 mp_negative_abs16(mp_v16 x) { return (mp_v16)((mp_i16)x | INT32_MIN); }

#define MP_SHIFT16 0x1.8p23f

/* q: relative error 7e-9 */
MP_INLINE mp_v16 mp_expm1_core16(mp_v16 r) {
  mp_v16 r2 = r * r;
  mp_v16 q01 = 0x1.000000p-1f + r * 0x1.5554dcp-3f;
  mp_v16 q23 = 0x1.55551ap-5f + r * 0x1.120b6ep-7f;
  mp_v16 q = q01 + r2 * (q23 + r2 * 0x1.6d110ap-10f);
  return r + r2 * q;
}

MP_INLINE mp_v16 mp_reduce16(mp_v16 x, mp_v16 n) { return (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f; }

MP_INLINE mp_v16 mp_exp16(mp_v16 x) {
  x = mp_select16(x < -104.0f, mp_splat16(-104.0f), x);
  x = mp_select16(x > 89.0f, mp_splat16(89.0f), x);
  mp_v16 shifted = x * 0x1.715476p+0f + MP_SHIFT16, n = shifted - MP_SHIFT16;
  mp_v16 y = 1.0f + mp_expm1_core16(mp_reduce16(x, n));
  mp_i16 exponent = (mp_i16)shifted - (mp_i16)mp_splat16(MP_SHIFT16);
  mp_i16 half = exponent >> 1;
  return y * (mp_v16)((half + 127) << 23) * (mp_v16)((exponent - half + 127) << 23);
}

/* Down to exp(-87) = 2e-38. */
MP_INLINE mp_v16 mp_exp_negative16(mp_v16 x) {
  x = mp_select16(x < -87.0f, mp_splat16(-87.0f), x);
  mp_v16 shifted = x * 0x1.715476p+0f + MP_SHIFT16, n = shifted - MP_SHIFT16;
  mp_v16 scale = (mp_v16)(((mp_i16)shifted - (mp_i16)mp_splat16(MP_SHIFT16) + 127) << 23);
  return scale * mp_expm1_core16(mp_reduce16(x, n)) + scale;
}

MP_INLINE mp_v16 mp_expm1_negative16(mp_v16 x) {
  x = mp_select16(x < -20.0f, mp_splat16(-20.0f), x);
  mp_v16 shifted = x * 0x1.715476p+0f + MP_SHIFT16, n = shifted - MP_SHIFT16;
  mp_v16 scale = (mp_v16)(((mp_i16)shifted - (mp_i16)mp_splat16(MP_SHIFT16) + 127) << 23);
  return scale * mp_expm1_core16(mp_reduce16(x, n)) + (scale - 1.0f);
}

MP_INLINE mp_v16 mp_tanh16(mp_v16 x) {
  mp_v16 e = mp_expm1_negative16(2.0f * mp_negative_abs16(x)), t = -e / (2.0f + e);
  return (mp_v16)(((mp_i16)t & INT32_MAX) | ((mp_i16)x & INT32_MIN));
}

MP_INLINE mp_v16 mp_sigmoid16(mp_v16 x) {
  mp_v16 e = mp_exp16(mp_negative_abs16(x));
  return mp_select16(x < 0.0f, e, mp_splat16(1.0f)) / (1.0f + e);
}

MP_INLINE mp_v16 mp_log1p_core16(mp_v16 f) {
  mp_v16 s = f / (2.0f + f), z = s * s;
  mp_v16 l = 0x1.55555cp-1f + z * (0x1.997c30p-2f + z * 0x1.2ee610p-2f);
  return f - s * (f - z * l);
}

MP_INLINE mp_v16 mp_log1p_unit16(mp_v16 e) {
  mp_i16 upper = e > 0x1.a8279ap-2f;
  mp_v16 log_f = mp_log1p_core16(mp_select16(upper, (e - 1.0f) * 0.5f, e));
  return mp_select16(upper, 0x1.62e430p-1f + (log_f - 0x1.05c610p-29f), log_f);
}

MP_INLINE mp_v16 mp_log16(mp_v16 x) {
  mp_i16 k = ((mp_i16)x - 0x3f3504f3) >> 23;
  mp_v16 log_f = mp_log1p_core16((mp_v16)((mp_i16)x - (k << 23)) - 1.0f);
  mp_v16 n = (mp_v16)(k + (mp_i16)mp_splat16(MP_SHIFT16)) - MP_SHIFT16;
  return mp_select16(x - x == 0.0f, n * 0x1.62e4p-1f + (log_f + n * 0x1.7f7d1cp-20f), x);
}

#endif
