/* The elementwise operations of array programs, each once: U of one, B of two, T of three operands, on eight doubles.
 *
 * Comparisons give 1.0 and 0.0. micropolis/tracing/elementwise.py has the same names with NumPy's values. */
#ifndef MICROPOLIS_ARRAY_ELEMENTWISE_H
#define MICROPOLIS_ARRAY_ELEMENTWISE_H

#include "common/incomplete_gamma.h"
#include "common/vector_special.h"

MP_INLINE mp_v8 mp_flag8(mp_i8 mask) { return (mp_v8)(mask & (mp_i8)mp_splat8(1.0)); }
MP_INLINE mp_v8 mp_isfinite8(mp_v8 x) { return mp_flag8(x - x == 0.0); }

/* 0 for 0, NaN for NaN */
MP_INLINE mp_v8 mp_sign8(mp_v8 x) { return mp_select8(x == x, mp_flag8(x > 0.0) - mp_flag8(x < 0.0), x); }

/* the larger, NaN where either is NaN */
MP_INLINE mp_v8 mp_maximum8(mp_v8 x, mp_v8 y) { return mp_select8((x >= y) | (x != x), x, y); }
MP_INLINE mp_v8 mp_minimum8(mp_v8 x, mp_v8 y) { return mp_select8((x <= y) | (x != x), x, y); }
/* the larger, of a number and a NaN the number */
MP_INLINE mp_v8 mp_fmax8(mp_v8 x, mp_v8 y) { return mp_select8((x >= y) | (y != y), x, y); }
MP_INLINE mp_v8 mp_fmin8(mp_v8 x, mp_v8 y) { return mp_select8((x <= y) | (y != y), x, y); }

/* log(exp(x) + exp(y)); equal infinities are apart by nothing */
MP_INLINE mp_v8 mp_logaddexp8(mp_v8 x, mp_v8 y) {
  mp_v8 t = mp_select8(x == y, mp_splat8(0.0), x - y);
  return mp_select8((t > 0.0) | (x != x), x, y) + mp_log1p_unit8(mp_exp8(mp_negative_abs8(t)));
}
MP_INLINE mp_v8 mp_softplus8(mp_v8 x) {
  return mp_select8((x > 0.0) | (x != x), x, mp_splat8(0.0)) + mp_log1p_unit8(mp_exp8(mp_negative_abs8(x)));
}
MP_INLINE mp_v8 mp_share8(mp_v8 x, mp_v8 y) { return mp_sigmoid8(mp_select8(x == y, mp_splat8(0.0), x - y)); }

/* 0 log(y) is 0 unless y is NaN */
MP_INLINE mp_v8 mp_xlogy8(mp_v8 x, mp_v8 y) {
  return mp_select8((x == 0.0) & (y == y), mp_splat8(0.0), x * mp_log_any8(y));
}
MP_INLINE mp_v8 mp_xlog1py8(mp_v8 x, mp_v8 y) {
  return mp_select8((x == 0.0) & (y == y), mp_splat8(0.0), x * mp_log1p8(y));
}

/* the sign of y, as Python has it; NaN where y is 0 */
MP_INLINE mp_v8 mp_remainder8(mp_v8 x, mp_v8 y) {
  mp_v8 r = mp_fmod8(x, y);
  r = mp_select8((r != 0.0) & ((r < 0.0) != (y < 0.0)), r + y, r);
  return mp_select8(r == 0.0, (mp_v8)((mp_i8)r | ((mp_i8)y & INT64_MIN)), r);
}
/* as NumPy: through the remainder, so that the quotient is exact */
MP_INLINE mp_v8 mp_floor_divide8(mp_v8 x, mp_v8 y) {
  mp_v8 quotient = (x - mp_remainder8(x, y)) / y, whole = mp_floor8(quotient);
  whole = mp_select8(quotient - whole > 0.5, whole + 1.0, whole);
  /* a number over infinity, of which NumPy's is 0 or -1 */
  whole = mp_select8((y - y != 0.0) & (y == y) & (x - x == 0.0), mp_select8(x * y < 0.0, x / y - 1.0, x / y), whole);
  return mp_select8(y == 0.0, x / y, whole);
}
MP_INLINE mp_v8 mp_copysign8(mp_v8 x, mp_v8 y) { return (mp_v8)(((mp_i8)x & INT64_MAX) | ((mp_i8)y & INT64_MIN)); }

#define MP_ELEMENTWISE(U, B, T) MP_ARITHMETIC(U, B, T) MP_TRANSCENDENTAL(U, B, T)

#define MP_ARITHMETIC(U, B, T)                      \
  U(copy, x)                                        \
  U(negative, -x)                                   \
  U(square, x *x)                                   \
  U(reciprocal, 1.0 / x)                            \
  U(sqrt, mp_sqrt8(x))                              \
  U(absolute, mp_abs8(x))                           \
  U(sign, mp_sign8(x))                              \
  U(floor, mp_floor8(x))                            \
  U(ceil, mp_ceil8(x))                              \
  U(logical_not, mp_flag8(x == 0.0))                \
  U(isnan, mp_flag8(x != x))                        \
  U(isfinite, mp_isfinite8(x))                      \
  U(isinf, mp_flag8(mp_abs8(x) == __builtin_inf())) \
  U(signbit, mp_flag8((mp_i8)x < 0))                \
  B(add, x + y)                                     \
  B(subtract, x - y)                                \
  B(multiply, x *y)                                 \
  B(divide, x / y)                                  \
  B(maximum, mp_maximum8(x, y))                     \
  B(minimum, mp_minimum8(x, y))                     \
  B(fmax, mp_fmax8(x, y))                           \
  B(fmin, mp_fmin8(x, y))                           \
  B(less, mp_flag8(x < y))                          \
  B(less_equal, mp_flag8(x <= y))                   \
  B(greater, mp_flag8(x > y))                       \
  B(greater_equal, mp_flag8(x >= y))                \
  B(equal, mp_flag8(x == y))                        \
  B(not_equal, mp_flag8(x != y))                    \
  B(logical_and, mp_flag8((x != 0.0) & (y != 0.0))) \
  B(logical_or, mp_flag8((x != 0.0) | (y != 0.0)))  \
  B(logical_xor, mp_flag8((x != 0.0) ^ (y != 0.0))) \
  B(guard, mp_select8(x == 0.0, mp_splat8(0.0), y)) \
  B(copysign, mp_copysign8(x, y))                   \
  T(where, mp_select8(x != 0.0, y, z))              \
  T(muladd, x *y + z)                               \
  T(mulsub, x *y - z)                               \
  T(submul, z - x * y)

#define MP_TRANSCENDENTAL(U, B, T) MP_ELEMENTARY(U, B, T) MP_SPECIAL(U, B, T)

#define MP_ELEMENTARY(U, B, T)            \
  U(exp, mp_exp8(x))                      \
  U(expm1, mp_expm1_8(x))                 \
  U(log, mp_log_any8(x))                  \
  U(log1p, mp_log1p8(x))                  \
  U(softplus, mp_softplus8(x))            \
  U(expit, mp_sigmoid8(x))                \
  U(tanh, mp_tanh8(x))                    \
  U(sin, mp_sin8(x))                      \
  U(cos, mp_cos8(x))                      \
  U(tan, mp_tan8(x))                      \
  U(arcsin, mp_asin8(x))                  \
  U(arccos, mp_acos8(x))                  \
  U(arctan, mp_atan8(x))                  \
  U(sinh, mp_sinh8(x))                    \
  U(cosh, mp_cosh8(x))                    \
  U(arcsinh, mp_asinh8(x))                \
  U(arccosh, mp_acosh8(x))                \
  U(arctanh, mp_atanh8(x))                \
  U(cbrt, mp_cbrt8(x))                    \
  B(logaddexp, mp_logaddexp8(x, y))       \
  B(share, mp_share8(x, y))               \
  B(power, mp_pow8(x, y))                 \
  B(arctan2, mp_atan2_8(x, y))            \
  B(hypot, mp_hypot8(x, y))               \
  B(fmod, mp_fmod8(x, y))                 \
  B(remainder, mp_remainder8(x, y))       \
  B(floor_divide, mp_floor_divide8(x, y)) \
  B(xlogy, mp_xlogy8(x, y))               \
  B(xlog1py, mp_xlog1py8(x, y))

#define MP_SPECIAL(U, B, T)                   \
  U(gammaln, mp_lgamma8(x))                   \
  U(polygamma0, mp_digamma8(x))               \
  U(polygamma1, mp_polygamma8(1, x))          \
  U(polygamma2, mp_polygamma8(2, x))          \
  U(polygamma3, mp_polygamma8(3, x))          \
  U(polygamma4, mp_polygamma8(4, x))          \
  U(erf, mp_erf8(x))                          \
  U(erfc, mp_erfc8(x))                        \
  U(erfcx, mp_erfcx8(x))                      \
  U(ndtr, mp_ndtr8(x))                        \
  U(log_ndtr, mp_log_ndtr8(x))                \
  U(i0e, mp_i0e8(x))                          \
  U(i1e, mp_i1e8(x))                          \
  B(gammainc, mp_gammainc8(x, y))             \
  B(gammaincc, mp_gammaincc8(x, y))           \
  B(gammainc_slope, mp_gammainc_slope8(x, y)) \
  B(gammainc_density, mp_gammainc_density8(x, y))

/* Operations on tiles that are not elementwise, and on whole arrays. */
/* clang-format off */
#define MP_TILE_OPERATIONS(N) \
  N(total) N(dot) N(dot_blocks) N(sum) N(greatest) N(expand) \
  N(gather) N(gather_blocks) N(matvec) N(matvec_blocks) N(matvec_t) N(matvec_t_blocks) \
  N(place) N(place_add) N(scatter) N(scatter_blocks)
/* clang-format on */
/* clang-format off */
#define MP_WHOLE_OPERATIONS(N) \
  N(cumsum) N(matmul) N(cholesky) N(cholesky_adjoint) N(triangular) N(lu) \
  N(solve) N(slogdet) N(det) N(cofactor) N(eigh) N(expm) \
  N(linear_scan) N(scan)
/* clang-format on */

#define MP_CODE(name, expression) MP_OP_##name,
#define MP_CODE_ALONE(name) MP_OP_##name,
enum mp_operation {
  MP_ELEMENTWISE(MP_CODE, MP_CODE, MP_CODE) MP_TILE_OPERATIONS(MP_CODE_ALONE) MP_WHOLE_OPERATIONS(MP_CODE_ALONE)
};

#endif
