/* Elementary and special functions of eight doubles at a time, over the whole range of doubles.
 *
 * They answer as NumPy and SciPy do: NaN, infinities, signed zeros, subnormals and poles included. Elementary functions
 * stay within 2 ulp, the others within a relative error of 5e-15 (polygamma 1e-13); near a zero of a gamma function the
 * error is absolute. Only + - * / sqrt and bit operations, none contracted: all target clones give the same bits.
 *
 * The common case runs without branches. Lanes that need more are found by one test for all eight; what they need is then
 * computed for all lanes and selected. A test works on the sign bits of integers, which every x86 has, where a comparison
 * of eight doubles is eight scalar ones below AVX-512. */
#ifndef MICROPOLIS_VECTOR_SPECIAL_H
#define MICROPOLIS_VECTOR_SPECIAL_H

#include "common/vector_math.h"

typedef uint64_t mp_u8 __attribute__((vector_size(64)));
#define MP_OUTLINE static __attribute__((noinline, unused))
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MP_HAVE_SHUFFLE
#endif
#endif

/* ---- coefficients: the output of make_special.py ---- */

/* 2 atanh(s) = s (2 + z L(z)), z = s^2, |s| up to (sqrt(2) - 1) / (sqrt(2) + 1) (error 4e-18) */
static const double mp_table_log[7] = {0x1.5555555555558p-1, 0x1.9999999995168p-2, 0x1.2492492e1b13bp-2,
                                       0x1.c71c62b04aca1p-3, 0x1.7462c3c948798p-3, 0x1.39fc6abdbe06bp-3,
                                       0x1.2b7078d7a1e97p-3};
/* 3 atanh(s) = s (3 + z + z^2 Q(z)), as above (error 8e-22) */
static const double mp_table_log_tail[8] = {0x1.3333333333333p-1, 0x1.b6db6db6db7b7p-2, 0x1.555555552f368p-2,
                                            0x1.1745d19c9c3d5p-2, 0x1.d89d602c09ddcp-3, 0x1.99a54a316940fp-3,
                                            0x1.679a6b34c06b2p-3, 0x1.6843eb7e5ca8ep-3};
/* exp(r) = 1 + r + r^2 E(r), |r| up to log(2) / 2 (error 5e-19) */
static const double mp_table_exp[11] = {0x1.0000000000000p-1,  0x1.5555555555557p-3,  0x1.5555555555556p-5,
                                        0x1.1111111110053p-7,  0x1.6c16c16c16286p-10, 0x1.a01a01ac3247ap-13,
                                        0x1.a01a01a702fa4p-16, 0x1.71de0146f8bc8p-19, 0x1.27e4dade62e23p-22,
                                        0x1.af4fcfbe0592ap-26, 0x1.1f741913df892p-29};
/* sin(r) = r - r z S(z), z = r^2, |r| up to pi / 4 (error 1e-17) */
static const double mp_table_sin[6] = {0x1.5555555555555p-3,   -0x1.1111111110ba7p-7, 0x1.a01a019e8107dp-13,
                                       -0x1.71de37931f5dbp-19, 0x1.ae600773f282bp-26, -0x1.5e09d226f9b7ap-33};
/* cos(r) = 1 - z / 2 - z^2 C(z), as above (error 4e-19) */
static const double mp_table_cos[6] = {-0x1.5555555555555p-5, 0x1.6c16c16c16961p-10,  -0x1.a01a019f4d5e3p-16,
                                       0x1.27e4fa1624487p-22, -0x1.1eeb67216c051p-29, 0x1.907c5b4677537p-37};
/* tan(r) = r - r z T(z), |r| up to pi / 4 (error 4e-17) */
static const double mp_table_tan[14] = {-0x1.5555555555554p-2,  -0x1.11111111116e3p-3,  -0x1.ba1ba1b9830a5p-5,
                                        -0x1.664f48b3db331p-6,  -0x1.226e2d2648302p-7,  -0x1.d6d5754e45d7dp-9,
                                        -0x1.7d884d830340ap-10, -0x1.3685b130c290bp-11, -0x1.e35b06f7d8416p-13,
                                        -0x1.f7bfb9847838bp-14, 0x1.e60394200e7b6p-19,  -0x1.20ed409a9731fp-14,
                                        0x1.1cee06c2082dcp-15,  -0x1.32c7b2fca2651p-16};
/* sinh(r) = r + r z S(z), |r| up to log(2) / 2 (error 9e-19) */
static const double mp_table_sinh[5] = {0x1.5555555555556p-3, 0x1.1111111110975p-7, 0x1.a01a01a7f4588p-13,
                                        0x1.71de0cf3caa94p-19, 0x1.af3a63ad920c6p-26};
/* cosh(r) = 1 + z C(z), as above (error 2e-21) */
static const double mp_table_cosh[6] = {0x1.0000000000000p-1,  0x1.5555555555557p-5,  0x1.6c16c16c159d3p-10,
                                        0x1.a01a01aa274ebp-16, 0x1.27e4d374e3256p-22, 0x1.1f80568bd8810p-29};
/* asin(x) = x + x z A(z), |x| up to 1/2 (error 3e-18) */
static const double mp_table_asin[13] = {
    0x1.5555555555556p-3, 0x1.3333333332ecap-4,  0x1.6db6db6e31f13p-5, 0x1.f1c71c1db0623p-6, 0x1.6e8bb1c8209a2p-6,
    0x1.1c4d35cf95421p-6, 0x1.c9cf07674736ap-7,  0x1.782651caa6547p-7, 0x1.52420b04b37bep-7, 0x1.65a9c4dfcf8b2p-8,
    0x1.1d189408314eep-6, -0x1.e6aaa8a0a04ccp-7, 0x1.d72b2bc8155f8p-6};
/* atan(x) = x - x z A(z), |x| up to 1 (error 2e-17) */
static const double mp_table_atan[20] = {
    0x1.5555555555555p-2, -0x1.9999999999620p-3,  0x1.24924924753ecp-3,  -0x1.c71c71bb00a6cp-4,
    0x1.745d15ee35819p-4, -0x1.3b1399d1dcdc7p-4,  0x1.110fff599e4d2p-4,  -0x1.e1d0239d392a6p-5,
    0x1.aebbb1647a168p-5, -0x1.841dcf603a209p-5,  0x1.5d02278205cc7p-5,  -0x1.3328700bb8169p-5,
    0x1.00390504e9f2fp-5, -0x1.843f4bca23369p-6,  0x1.fd0e4de8fed90p-7,  -0x1.123baedb61abdp-7,
    0x1.ca3677db66678p-9, -0x1.1325b2f8964bep-10, 0x1.a359b96a4eee4p-13, -0x1.2f07811f9f6e9p-16};
/* asinh(x) = x - x z A(z), |x| up to 1/2 (error 5e-17) */
static const double mp_table_asinh[11] = {0x1.555555555554dp-3,  -0x1.333333332f278p-4, 0x1.6db6db68a240ep-5,
                                          -0x1.f1c719f24036ap-6, 0x1.6e8b51e28ef2bp-6,  -0x1.1c48be2144751p-6,
                                          0x1.c9093594c31e1p-7,  -0x1.762099b37a164p-7, 0x1.293dbd6e03244p-7,
                                          -0x1.8e2d82627bc5fp-8, 0x1.39d7716f12651p-9};
/* the cube root of 1 to 2 (error 5e-09) */
static const double mp_table_cbrt[9] = {0x1.a3299290471f3p-2,  0x1.2673c22a9fd1ap+0,  -0x1.1f651c134b3f5p+0,
                                        0x1.f1242ccef60f8p-1,  -0x1.3662fd99e14f3p-1, 0x1.0a02c4f989b60p-2,
                                        -0x1.288701cf29125p-4, 0x1.8322cf63551dap-7,  -0x1.c147fbfc555e5p-11};
/* sin(pi r) = r S(z), |r| up to 1/2 (error 3e-19) */
static const double mp_table_sin_pi[9] = {0x1.921fb54442d18p+1,  -0x1.4abbce625be52p+2,  0x1.466bc6775aa7dp+1,
                                          -0x1.32d2cce627c86p-1, 0x1.5078348551854p-4,   -0x1.e3074dfaf87afp-8,
                                          0x1.e8f3675ee37ddp-12, -0x1.6f7acdb8f6580p-16, 0x1.9d462020fcc78p-21};
/* cos(pi r) = 1 - z C(z), |r| up to 1/2, with an absolute error (error 2e-20) */
static const double mp_table_cos_pi[9] = {0x1.3bd3cc9be45dep+2,  -0x1.03c1f081b5ac4p+2,  0x1.55d3c7e3cbfdap+0,
                                          -0x1.e1f50689191cbp-3, 0x1.a6d1f2a05f609p-6,   -0x1.f9d38906e2150p-10,
                                          0x1.b6e1cdea474b9p-14, -0x1.20a61e049e33fp-18, 0x1.2175e33b10f9dp-23};
/* log gamma(2 + d) = d P(d), |d| up to 1/2 (error 3e-19) */
static const double mp_table_lgamma[20] = {
    0x1.b0ee6072093cep-2,   0x1.4a34cc4a60fa6p-2,  -0x1.13e001a55760ap-4,  0x1.51322ac7d848ap-6,
    -0x1.e404fc218dbaep-8,  0x1.7add6eadb5317p-9,  -0x1.38ac5c2d48207p-10, 0x1.0b36af8779ca0p-11,
    -0x1.d3fd4b679c1c4p-13, 0x1.a127afee53e7dp-14, -0x1.78de9ab752b81p-15, 0x1.580e0afa55850p-16,
    -0x1.3cb3be36ad88bp-17, 0x1.258f3057730fap-18, -0x1.1276ebd557fb0p-19, 0x1.012012be3900ap-20,
    -0x1.ce17528bcf460p-22, 0x1.b40adb09a1e12p-23, -0x1.2009c1a550d0dp-23, 0x1.11fa5e7c86f7bp-24};
/* log gamma(x) = (x - 1/2) log(x) - x + log(2 pi) / 2 + Q(1 / x^2) / x, x from 3 on (error 4e-17) */
static const double mp_table_stirling[10] = {0x1.5555555555547p-4,   -0x1.6c16c16b53417p-9, 0x1.a019fe031c56ep-11,
                                             -0x1.3811d15220367p-11, 0x1.b8e919c03a4e7p-11, -0x1.ef1da240518aep-10,
                                             0x1.7743479d79e30p-8,   -0x1.2dfa3011567d7p-6, 0x1.7ceb0cc1c3093p-5,
                                             -0x1.f107862a80ac2p-5};
/* digamma(2 + d), |d| up to 1/2 (error 3e-17) */
static const double mp_table_digamma[20] = {
    0x1.b0ee6072093cep-2,   0x1.4a34cc4a60fa6p-1,  -0x1.9dd002780312cp-3,  0x1.51322ac7d84a6p-4,
    -0x1.2e831d94f52d3p-5,  0x1.1c26130244a41p-6,  -0x1.1196d0aa0279ap-7,  0x1.0b36af89c216cp-8,
    -0x1.073e799508ed2p-9,  0x1.04b8cd2925e4bp-10, -0x1.031933e455c94p-11, 0x1.020aafeb9532cp-12,
    -0x1.014d5109c9d6dp-13, 0x1.00d8c65004dfap-14, -0x1.019f5317c37cdp-15, 0x1.016c60642fd5fp-16,
    -0x1.e54fad6e23daep-18, 0x1.e52339ac70151p-19, -0x1.60b5ac7a730fcp-19, 0x1.60aa4409eadabp-20};
/* digamma(x) = log(x) - 1 / (2 x) - Q(1 / x^2) / x^2, x from 3 on (error 3e-17) */
static const double mp_table_digamma_tail[11] = {0x1.5555555555534p-4,  -0x1.1111111084411p-7, 0x1.04103f703324fp-8,
                                                 -0x1.11102b3b547a3p-8, 0x1.f0378ddf53b54p-8,  -0x1.5681e502a55fap-6,
                                                 0x1.3e37d6431392bp-4,  -0x1.4d0eeb4a8ccc4p-2, 0x1.38acc645895cep+0,
                                                 -0x1.9c2b9f79c5d91p+1, 0x1.09dcb42a9d05bp+2};
/* erf(x) = x P(z), |x| up to 1 (error 8e-18) */
static const double mp_table_erf[12] = {0x1.20dd750429b6dp+0,   -0x1.812746b0379c1p-2,  0x1.ce2f21a040f66p-4,
                                        -0x1.b82ce31203772p-6,  0x1.565bccfa44156p-8,   -0x1.c02db0665e53dp-11,
                                        0x1.f9a2be4f731a1p-14,  -0x1.f4ca838adb73bp-17, 0x1.b981d78881a5dp-20,
                                        -0x1.5c131500d3f88p-23, 0x1.d76af6ca49787p-27,  -0x1.ac9585a44fe29p-31};
/* exp(x^2) erfc(x) = P((x - 4) / (x + 4)) / (1 + 2 x), x >= 0 (error 4e-17) */
static const double mp_table_erfcx[24] = {
    0x1.3ba5916e9fd7fp+0,   -0x1.1df1ad154a28ep-3,  0x1.f7f5df66fc17fp-7,   0x1.16ecefcfa5214p-4,
    -0x1.9ddb23c3e0c24p-4,  0x1.7fee004e16d41p-4,   -0x1.0fb06dfee4790p-4,  0x1.3079edf5d9d05p-5,
    -0x1.0962386da3254p-6,  0x1.49c672b9685cep-8,   -0x1.8d4aaa8fbedbcp-11, -0x1.a1df4a1e543bcp-13,
    0x1.3be12bafabe1fp-13,  -0x1.99551e5f87e20p-16, -0x1.78a738afaf645p-17, 0x1.7f01a118598aep-18,
    0x1.400a0021a32f1p-22,  -0x1.b9339da7bf70bp-21, 0x1.31744dd9b56d0p-24,  0x1.cad9b27d6d663p-24,
    -0x1.1904891a069b4p-26, -0x1.af097381d257bp-27, 0x1.afe473b552685p-30,  0x1.0967e527911a9p-30};
/* I0(x) = P(z), |x| up to 8 (error 4e-19) */
static const double mp_table_i0[17] = {
    0x1.0000000000000p+0,   0x1.0000000000000p-2,  0x1.0000000000002p-6,  0x1.c71c71c71c6dfp-12, 0x1.c71c71c71cbe1p-18,
    0x1.23456789a8318p-24,  0x1.02e85c08d260ap-31, 0x1.522a43f155552p-39, 0x1.522a444603fe2p-47, 0x1.0b312ee43b7c5p-55,
    0x1.5601c7e411b36p-64,  0x1.69c76363ac35fp-73, 0x1.41b6c17a09391p-82, 0x1.e56f7ffb05c87p-92, 0x1.46a4446d3e276p-101,
    0x1.31d00bad6ba1ap-111, 0x1.20d247d00eeebp-120};
/* I1(x) = x P(z), |x| up to 8 (error 2e-20) */
static const double mp_table_i1[17] = {
    0x1.0000000000000p-1,   0x1.0000000000000p-4,  0x1.5555555555556p-9,  0x1.c71c71c71c70fp-15, 0x1.6c16c16c16d20p-21,
    0x1.845c8a0ce3807p-28,  0x1.27e4fb77a30bbp-35, 0x1.522a43f427f3bp-43, 0x1.2c9758fda3036p-51, 0x1.ab81e74959342p-60,
    0x1.f176cf1f1237fp-69,  0x1.e260acd0c17e6p-78, 0x1.8be972f0e252ep-87, 0x1.159f90570389ap-96, 0x1.5ac53da80dc82p-106,
    0x1.38dbeef3ff4f1p-116, 0x1.08fbc76dd1df0p-125};
/* sqrt(x) exp(-x) I0(x) = P(16 / x - 1), x from 8 on (error 7e-18) */
static const double mp_table_i0_tail[25] = {
    0x1.9bd428ad249a5p-2,   0x1.b87969bb93b75p-9,  0x1.1daa72b5e650cp-13,  0x1.75e5ee71edd14p-17,
    0x1.8e513a1d5e52bp-20,  0x1.3f49a6bcfc2d9p-22, 0x1.7d0f75812d9bcp-24,  0x1.51ced7b713adcp-25,
    0x1.7224b1828e507p-26,  0x1.03896efb09a41p-27, -0x1.ce768f00b5374p-28, -0x1.cc90f59ec1228p-27,
    -0x1.77cc956faaa2fp-28, 0x1.0317d4c7b215ap-27, 0x1.047454ffcb608p-27,  -0x1.df1549cddfaf8p-29,
    -0x1.a9411c5b0ad08p-28, 0x1.9bbbfe31d81e9p-30, 0x1.0ab5ef575d285p-28,  -0x1.31c908a5dd531p-31,
    -0x1.e8fd992032bedp-30, 0x1.42a55974d41b8p-33, 0x1.1ce14787c5bdep-31,  -0x1.52109c25bd9ecp-36,
    -0x1.36e52c10032d7p-34};
/* sqrt(x) exp(-x) I1(x), as above (error 7e-18) */
static const double mp_table_i1_tail[25] = {
    0x1.8ebe783a84030p-2,   -0x1.3f796198ee628p-7,  -0x1.cbc54df1ece76p-13, -0x1.f89c23066d278p-17,
    -0x1.ec8e101744487p-20, -0x1.76137e6905189p-22, -0x1.ad8db6e1fecbbp-24, -0x1.727a73a8063a8p-25,
    -0x1.9180f82a1d429p-26, -0x1.21895bb7ba33fp-27, 0x1.cd81846fb3ff1p-28,  0x1.e20e7d69649cap-27,
    0x1.9f203cf2783b7p-28,  -0x1.0630cddd4e099p-27, -0x1.1465ce7d29637p-27, 0x1.d4345a69bfc30p-29,
    0x1.bdc8daed57db9p-28,  -0x1.858c7591014bdp-30, -0x1.162964d5f91dbp-28, 0x1.1aee882806184p-31,
    0x1.fce6b32270b52p-30,  -0x1.272ae05110368p-33, -0x1.2839623e2341cp-31, 0x1.33e83e12ca3b4p-36,
    0x1.432b0a4121172p-34};

/* ---- end of its output ---- */

/* ---- helpers ---- */

/* Whether the sign bit of any lane is set: of a mask, whether any lane is. */
MP_INLINE int mp_any8(mp_i8 mask) {
#if defined(MP_HAVE_SHUFFLE) && defined(__SSE2__)
  typedef int64_t i4 __attribute__((vector_size(32)));
  typedef int64_t i2 __attribute__((vector_size(16)));
  typedef double v2 __attribute__((vector_size(16)));
  i4 four = __builtin_shufflevector(mask, mask, 0, 1, 2, 3) | __builtin_shufflevector(mask, mask, 4, 5, 6, 7);
  i2 two = __builtin_shufflevector(four, four, 0, 1) | __builtin_shufflevector(four, four, 2, 3);
  return __builtin_ia32_movmskpd((v2)two);
#else
  int64_t all = mask[0] | mask[1] | mask[2] | mask[3] | mask[4] | mask[5] | mask[6] | mask[7];
  return all < 0;
#endif
}
#define MP_RARELY8(mask) __builtin_expect(mp_any8(mask), 0)

/* Sign bits set where x < low, x > high or x is NaN; 0 < low < high. Bits of positive doubles are ordered as they are;
 * a set sign bit of x survives one of the two differences. */
MP_INLINE mp_i8 mp_outside8(mp_v8 x, double low, double high) {
  return (mp_i8)(((mp_u8)x - (mp_u8)mp_splat8(low)) | ((mp_u8)mp_splat8(high) - (mp_u8)x));
}
MP_INLINE mp_v8 mp_abs8(mp_v8 x) { return (mp_v8)((mp_i8)x & INT64_MAX); }
MP_INLINE mp_i8 mp_sign_bit8(mp_v8 x) { return (mp_i8)x & INT64_MIN; }
/* Sign bits set where |x| > limit or x is NaN. */
MP_INLINE mp_i8 mp_beyond8(mp_v8 x, double limit) { return (mp_i8)mp_splat8(limit) - (mp_i8)mp_abs8(x); }
/* x, which is not negative, with the sign of y */
MP_INLINE mp_v8 mp_signed8(mp_v8 x, mp_v8 y) { return (mp_v8)((mp_i8)x | mp_sign_bit8(y)); }
MP_INLINE mp_v8 mp_flip8(mp_v8 x, mp_i8 sign_bit) { return (mp_v8)((mp_i8)x ^ sign_bit); }
/* Sign bits spread over the lane. */
MP_INLINE mp_i8 mp_mask8(mp_i8 signs) { return -(mp_i8)((mp_u8)signs >> 63); }
/* The masks of a < limit and a > limit for a >= 0; NaN counts as above infinity. */
MP_INLINE mp_i8 mp_below8(mp_v8 a, double limit) { return mp_mask8((mp_i8)a - (mp_i8)mp_splat8(limit)); }
MP_INLINE mp_i8 mp_above8(mp_v8 a, double limit) { return mp_mask8((mp_i8)mp_splat8(limit) - (mp_i8)a); }
/* The exponent k of x = 2^k m, sqrt(1/2) <= m < sqrt(2), for normal x > 0 */
MP_INLINE mp_i8 mp_exponent8(mp_v8 x) {
  return (mp_i8)(((mp_u8)x + (0x4000000000000000 - 0x3fe6a09e667f3bcd)) >> 52) - 1024;
}
/* 2^n for integers -1022 <= n <= 1023 */
MP_INLINE mp_v8 mp_power_of_two8(mp_i8 n) { return (mp_v8)(((mp_u8)n + 1023) << 52); }
/* From a small integer to a double, and from a double to which MP_SHIFT8 has been added to the integer. */
MP_INLINE mp_v8 mp_double8(mp_i8 n) { return (mp_v8)((mp_u8)n + (mp_u8)mp_splat8(MP_SHIFT8)) - MP_SHIFT8; }
MP_INLINE mp_i8 mp_integer8(mp_v8 shifted) { return (mp_i8)((mp_u8)shifted - (mp_u8)mp_splat8(MP_SHIFT8)); }
/* The sign bit from bit 0 or 1 */
MP_INLINE mp_i8 mp_sign_of8(mp_i8 n, int bit) { return (mp_i8)((mp_u8)n << (63 - bit)) & INT64_MIN; }
/* The upper 26 bits: products of two such are exact. */
MP_INLINE mp_v8 mp_upper8(mp_v8 x) { return (mp_v8)((mp_i8)x & -(INT64_C(1) << 27)); }

MP_INLINE mp_v8 mp_mantissa8(mp_v8 x, mp_i8 k) { return (mp_v8)((mp_u8)x - ((mp_u8)k << 52)); }

/* What x y lacks to x * y (the product of the lower halves is rounded: error 2^-106). */
MP_INLINE mp_v8 mp_product_error8(mp_v8 x, mp_v8 y, mp_v8 product) {
  mp_v8 xh = mp_upper8(x), xl = x - xh, yh = mp_upper8(y), yl = y - yh;
  return ((xh * yh - product) + (xh * yl + xl * yh)) + xl * yl;
}

/* c[0] + c[1] x + ...: four chains that interleave, so that latency counts a quarter. count is a constant. */
MP_INLINE mp_v8 mp_poly8(mp_v8 x, int count, const double *c) {
  mp_v8 x2 = x * x, x4 = x2 * x2, sum;
  int top = (count - 1) / 4 * 4, rest = count - top;
  if (rest == 1) sum = mp_splat8(c[top]);
  else if (rest == 2) sum = c[top] + c[top + 1] * x;
  else if (rest == 3) sum = (c[top] + c[top + 1] * x) + c[top + 2] * x2;
  else sum = (c[top] + c[top + 1] * x) + (c[top + 2] + c[top + 3] * x) * x2;
#pragma GCC unroll 16
  for (int i = top - 4; i >= 0; i -= 4) sum = sum * x4 + ((c[i] + c[i + 1] * x) + (c[i + 2] + c[i + 3] * x) * x2);
  return sum;
}
#define MP_TABLE8(x, name) mp_poly8(x, sizeof mp_table_##name / sizeof(double), mp_table_##name)

/* ---- roots and rounding ---- */

/* A lane loop, which compilers turn into vector instructions (without math-errno). */
MP_INLINE mp_v8 mp_sqrt8(mp_v8 x) {
  mp_v8 y;
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) y[i] = __builtin_sqrt(x[i]);
  return y;
}

/* |x| to the nearest integer, by adding 2^52; from there on every double is one. */
MP_INLINE mp_v8 mp_rint_abs8(mp_v8 x) {
  mp_v8 a = mp_abs8(x);
  return mp_select8(mp_mask8(mp_beyond8(x, 0x1p52)), a, (a + 0x1p52) - 0x1p52);
}
MP_INLINE mp_v8 mp_floor8(mp_v8 x) {
  mp_v8 nearest = mp_signed8(mp_rint_abs8(x), x);
  return nearest - (mp_v8)((mp_i8)mp_splat8(1.0) & mp_mask8((mp_i8)(x - nearest)));
}
/* ceil(-0.5) = -0: what floor(-x) gives, with its sign turned */
MP_INLINE mp_v8 mp_ceil8(mp_v8 x) { return -mp_floor8(-x); }

/* x = 2^(3 k + j) m with 1 <= m < 2: the cube root of m from a polynomial to 27 bits, cut to 23, so that its square is
 * exact; then one step of Halley's, which cubes the relative error. */
MP_INLINE mp_v8 mp_cbrt8(mp_v8 x) {
  mp_v8 a = mp_abs8(x);
  mp_i8 rare = mp_outside8(a, 0x1p-1022, 0x1.fffffffffffffp+1023);
  int any = MP_RARELY8(rare);
  if (any) a = mp_select8(a < 0x1p-1022, a * 0x1p54, a);
  mp_i8 exponent = (mp_i8)((mp_u8)a >> 52);
  mp_v8 m = mp_mantissa8(a, exponent - 1023);
  mp_v8 e = mp_double8(exponent - 1023), shifted = (e - 1.0) * 0x1.5555555555555p-2 + MP_SHIFT8;
  mp_v8 third = shifted - MP_SHIFT8, rest = e - 3.0 * third;
  mp_v8 root = mp_select8(mp_above8(rest, 0.5), mp_splat8(0x1.428a2f98d728bp+0), mp_splat8(1.0)); /* cbrt(2) */
  root = mp_select8(mp_above8(rest, 1.5), mp_splat8(0x1.965fea53d6e3dp+0), root);                 /* cbrt(4) */
  root *= MP_TABLE8(m, cbrt) * mp_power_of_two8(mp_integer8(shifted));
  root = (mp_v8)((mp_i8)root & -(INT64_C(1) << 30));
  mp_v8 other = a / (root * root);
  root += root * ((other - root) / (2.0 * root + other));
  if (any) {
    mp_v8 itself = mp_abs8(x);
    root = mp_select8(itself < 0x1p-1022, root * 0x1p-18, root);
    root = mp_select8((itself > 0.0) & (itself < __builtin_inf()), root, itself);
  }
  return mp_signed8(root, x);
}

/* sqrt(x^2 + y^2), scaled by a power of two where a square would leave the range. */
MP_INLINE mp_v8 mp_hypot8(mp_v8 x, mp_v8 y) {
  mp_v8 a = mp_abs8(x), b = mp_abs8(y), sum = a + b;
  if (!MP_RARELY8(mp_outside8(sum, 0x1p-450, 0x1p500))) return mp_sqrt8(a * a + b * b);
  mp_v8 down = mp_select8(sum > 0x1p500, mp_splat8(0x1p-600), mp_splat8(1.0));
  down = mp_select8(sum < 0x1p-450, mp_splat8(0x1p600), down);
  mp_v8 as = a * down, bs = b * down, root = mp_sqrt8(as * as + bs * bs) * (1.0 / down);
  mp_i8 infinite = (a == __builtin_inf()) | (b == __builtin_inf());
  return mp_select8(infinite, mp_splat8(__builtin_inf()), root);
}

/* x - y trunc(x / y), exactly: m 2^n mod d for the mantissas, eleven bits at a time so that nothing overflows. */
MP_OUTLINE double mp_fmod1(double x, double y) {
  const uint64_t hidden = UINT64_C(1) << 52, infinity = UINT64_C(0x7ff) << 52;
  uint64_t a, b;
  memcpy(&a, &x, sizeof a);
  memcpy(&b, &y, sizeof b);
  uint64_t sign = a & UINT64_C(1) << 63;
  a ^= sign;
  b &= INT64_MAX;
  if (a >= infinity || b > infinity || b == 0) return __builtin_nan("");
  if (a < b) return x;
  uint64_t ea = a >> 52, eb = b >> 52;
  uint64_t m = ea ? a % hidden + hidden : a, d = eb ? b % hidden + hidden : b;
  ea += !ea; /* a subnormal has the unit of the lowest normal numbers */
  eb += !eb;
  m %= d;
  uint64_t n = ea - eb;
  for (; n > 11 && m; n -= 11) m = (m << 11) % d;
  if (m) m = (m << n) % d;
  if (m) { /* back to a double, normal unless the exponent ends first */
    uint64_t up = (uint64_t)__builtin_clzll(m) - 11;
    if (up > eb - 1) up = eb - 1;
    m <<= up;
    if (m >= hidden) m += (eb - up - 1) << 52;
  }
  m |= sign;
  memcpy(&x, &m, sizeof x);
  return x;
}
MP_INLINE mp_v8 mp_fmod8(mp_v8 x, mp_v8 y) {
  mp_v8 r;
  for (int i = 0; i < 8; i++) r[i] = mp_fmod1(x[i], y[i]);
  return r;
}

/* ---- exponentials and logarithms ---- */

/* expm1(r) - r, |r| <= log(2) / 2; without the rounding error of mp_expm1_core8 */
MP_INLINE mp_v8 mp_exp_rest8(mp_v8 r) { return (r * r) * MP_TABLE8(r, exp); }

/* y 2^n for n from -2000 to 2000, in two halves: subnormal results are rounded once, others come out as infinity or 0. */
MP_INLINE mp_v8 mp_scale8(mp_v8 y, mp_i8 n) {
  mp_i8 half = (mp_i8)((((mp_u8)n + 4096) >> 1) - 2048);
  return y * mp_power_of_two8(half) * mp_power_of_two8((mp_i8)((mp_u8)n - (mp_u8)half));
}
/* exp(x + low) 2^extra for |x| <= 1000 and |low| < 1e-12, as mp_exp8 does it */
MP_INLINE mp_v8 mp_exp_pair8(mp_v8 x, mp_v8 low, int extra) {
  mp_v8 shifted = x * 0x1.71547652b82fep+0 + MP_SHIFT8, e = mp_expm1_core8(mp_reduce8(x, shifted - MP_SHIFT8));
  return mp_scale8(1.0 + (e + (low + low * e)), mp_integer8(shifted + extra));
}

/* 2^n ((1 - 2^-n) + expm1(r)): for n = 0 it is expm1(x), otherwise nothing cancels much. The sign of x is that of the
 * result and keeps -0. */
MP_INLINE mp_v8 mp_expm1_8(mp_v8 x) {
  mp_v8 a = mp_select8(x < -40.0, mp_splat8(-40.0), x);
  mp_v8 shifted = a * 0x1.71547652b82fep+0 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_i8 exponent = mp_integer8(shifted);
  mp_v8 most = a - n * 0x1.62e42feep-1, less = n * 0x1.a39ef35793c76p-33, r = most - less;
  mp_v8 low = (most - r) - less, e = mp_exp_rest8(r);
  mp_v8 y = (((1.0 - mp_power_of_two8((mp_i8) - (mp_u8)exponent)) + r) + (e + low)) * mp_power_of_two8(exponent);
  if (MP_RARELY8((mp_i8)(709.0 - x))) y = mp_select8(x > 709.0, mp_exp8(x), y);
  return mp_signed8(y, x);
}

/* log(x): as mp_log8 for normal x, subnormals after a shift. */
MP_INLINE mp_v8 mp_log_any8(mp_v8 x) {
  int any = MP_RARELY8((mp_i8)x | (mp_i8)((mp_u8)x - (mp_u8)mp_splat8(0x1p-1022)));
  mp_v8 normal = any ? mp_abs8(mp_select8(x < 0x1p-1022, x * 0x1p54, x)) : x, y = mp_log8(normal);
  if (any) {
    y = mp_select8(x < 0x1p-1022, y - 0x1.2b708872320e2p+5, y); /* 54 log 2 */
    y = mp_select8(x == 0.0, mp_splat8(-__builtin_inf()), y);
    y = mp_select8(x < 0.0, mp_splat8(__builtin_nan("")), y);
  }
  return y;
}

/* log(u + low) for normal u > 0 below 2^1000 and |low| < ulp(u); near is u + low - 1, for u from sqrt(1/2) to sqrt(2).
 * As mp_log8: u = 2^k (1 + f), s = f / (2 + f). */
MP_INLINE mp_v8 mp_log_pair8(mp_v8 u, mp_v8 low, mp_v8 near) {
  mp_i8 k = mp_exponent8(u), other = mp_mask8(k | -k);
  mp_v8 f = mp_select8(other, mp_mantissa8(u, k) - 1.0, near);
  mp_v8 fl = low * (mp_v8)((mp_i8)mp_power_of_two8(-k) & other), n = mp_double8(k);
  mp_v8 s = f / (2.0 + f), z = s * s;
  mp_v8 rest = s * (f - z * MP_TABLE8(z, log));
  return n * 0x1.62e42feep-1 + (f + (((fl - fl * f) + n * 0x1.a39ef35793c76p-33) - rest));
}

/* log(1 + x + low) for -1 < x < 2^1000, |low| < ulp(x): 1 + x with its rounding error (Knuth's sum). */
MP_INLINE mp_v8 mp_log1p_pair8(mp_v8 x, mp_v8 low) {
  mp_v8 u = 1.0 + x, part = u - 1.0, error = (x - part) + (1.0 - (u - part));
  return mp_log_pair8(u, error + low, x + low);
}
MP_INLINE mp_v8 mp_log1p8(mp_v8 x) {
  mp_v8 u = 1.0 + x, y = mp_log1p_pair8(x, mp_splat8(0.0));
  mp_i8 rare = mp_outside8(u, 0x1p-60, 0x1p60);
  if (MP_RARELY8(rare)) { /* x >= 2^60 or x <= -1 or NaN */
    y = mp_select8(mp_mask8(rare), mp_log8(mp_abs8(u)), y);
    y = mp_select8(u == 0.0, mp_splat8(-__builtin_inf()), y);
    y = mp_select8(u < 0.0, mp_splat8(__builtin_nan("")), y);
  }
  return mp_signed8(y, x);
}

/* (2^shift x)^y for normal x > 0 and |y| <= 2^66, as 2^(y log2 x), the logarithm with more than 62 bits. x = 2^k m,
 * f = m - 1, s = f / (2 + f) in two parts, the first of 26 bits: log2(m) = 2 / (3 log 2) s (3 + s^2 + s^4 Q). Leading parts
 * are cut to 26 bits wherever they are multiplied, so that products are exact. */
MP_INLINE mp_v8 mp_pow_positive8(mp_v8 x, mp_v8 shift, mp_v8 y) {
  mp_i8 k = mp_exponent8(x);
  mp_v8 f = mp_mantissa8(x, k) - 1.0, n = mp_double8(k) + shift;
  mp_v8 d = 2.0 + f, inverse = 1.0 / d, dh = mp_upper8(d), dl = (2.0 - dh) + f;
  mp_v8 s = f * inverse, sh = mp_upper8(s), sl = ((f - sh * dh) - sh * dl) * inverse;
  s = sh + sl;
  mp_v8 z = s * s, zh = sh * sh, square_rest = sl * (sh + s) + (z * z) * MP_TABLE8(z, log_tail);
  mp_v8 th = mp_upper8(3.0 + zh + square_rest), tl = square_rest - ((th - 3.0) - zh);
  mp_v8 u = sh * th, v = sl * th + tl * s, ph = mp_upper8(u + v), pl = v - (ph - u);
  mp_v8 lh = ph * 0x1.ec709ep-1, ll = ph * -0x1.e2fe0145b01f5p-28 + pl * 0x1.ec709dc3a03fdp-1;
  mp_v8 high = mp_upper8((lh + ll) + n), low = ll - ((high - n) - lh);
  mp_v8 yh = mp_upper8(y), least = (y - yh) * high + y * low, most = yh * high, sum = most + least;
  mp_i8 far = mp_above8(mp_abs8(sum), 1100.0);
  most = mp_select8(far, mp_signed8(mp_splat8(1100.0), sum), most);
  least = (mp_v8)((mp_i8)least & ~far);
  /* 2^(most + least), with the fraction times log 2 in two parts */
  mp_v8 shifted = (most + least) + MP_SHIFT8, integer = shifted - MP_SHIFT8, fraction = most - integer;
  mp_v8 wh = mp_upper8(fraction + least), wl = least - (wh - fraction);
  mp_v8 rh = wh * 0x1.62e43p-1, rl = wh * -0x1.05c610ca86c39p-29 + wl * 0x1.62e42fefa39efp-1;
  mp_v8 r = rh + rl, y1 = 1.0 + r, rest = mp_exp_rest8(r) + (((1.0 - y1) + r) + (rl - (r - rh)));
  return mp_scale8(y1 + rest, mp_integer8(shifted));
}
MP_INLINE mp_v8 mp_pow8(mp_v8 x, mp_v8 y) {
  mp_v8 a = x, b = y, shift = mp_splat8(0.0), one = mp_splat8(1.0);
  int any = MP_RARELY8(mp_outside8(x, 0x1p-1022, 0x1.fffffffffffffp+1023) | mp_beyond8(y, 0x1p66));
  if (any) { /* beyond 2^66 the power is 0, 1 or infinite anyhow */
    b = mp_select8(mp_mask8(mp_beyond8(y, 0x1p66)), mp_signed8(mp_splat8(0x1p66), y), y);
    mp_i8 small = mp_abs8(x) < 0x1p-1022;
    shift = mp_select8(small, mp_splat8(-54.0), shift);
    a = mp_select8(small, mp_abs8(x) * 0x1p54, mp_abs8(x));
  }
  mp_v8 power = mp_pow_positive8(a, shift, b);
  if (any) {
    mp_i8 rising = y > 0.0, falling = y < 0.0, zero = x == 0.0, infinite = mp_abs8(x) == __builtin_inf();
    power = mp_select8((zero & rising) | (infinite & falling), mp_splat8(0.0), power);
    power = mp_select8((zero & falling) | (infinite & rising), mp_splat8(__builtin_inf()), power);
    power = mp_select8(a == 1.0, one, power);
    mp_v8 ay = mp_abs8(y);
    mp_i8 whole = mp_rint_abs8(y) == ay, odd = whole & (ay < 0x1p53) & (2.0 * mp_rint_abs8(0.5 * y) != ay);
    power = mp_flip8(power, mp_sign_bit8(x) & odd);
    mp_i8 nan = (x != x) | (y != y) | ((x < 0.0) & ~infinite & ~whole);
    power = mp_select8(nan, mp_splat8(__builtin_nan("")), power);
    power = mp_select8((y == 0.0) | (x == 1.0), one, power); /* NaN^0 = 1^NaN = 1 */
  }
  return power;
}

/* ---- trigonometric functions ---- */

/* The first 1280 bits of 2 / pi behind 64 zeros. */
static const uint64_t mp_two_over_pi[21] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
    0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
    0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
    0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d};

/* x = n pi / 2 + r + low with |r| <= pi / 4; returns n mod 8. Payne & Hanek (1983): of the product of the mantissa and
 * 2 / pi only 192 bits matter, those worth whole turns are left out. For 2^16 < |x|. */
MP_OUTLINE int64_t mp_quadrant(double x, double *r, double *low) {
  uint64_t bits, w[3];
  memcpy(&bits, &x, sizeof bits);
  int negative = (int)(bits >> 63), exponent = (int)(bits >> 52 & 0x7ff) - 1075;
  *r = *low = x - x;
  if (exponent == 0x7ff - 1075) return 0;
  uint64_t m = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
  int at = exponent + 61, word = at >> 6, up = at & 63;
  for (int i = 0; i < 3; i++) {
    w[i] = mp_two_over_pi[word + i] << up;
    if (up) w[i] |= mp_two_over_pi[word + i + 1] >> (64 - up);
  }
  /* m w mod 2^192, in which the upper three bits are the whole of 2 x / pi */
  unsigned __int128 p0 = (unsigned __int128)m * w[2], p1 = (unsigned __int128)m * w[1] + (uint64_t)(p0 >> 64);
  uint64_t high = m * w[0] + (uint64_t)(p1 >> 64), middle = (uint64_t)p1, lowest = (uint64_t)p0;
  uint64_t n = (high + (UINT64_C(1) << 60)) >> 61;
  high -= n << 61;
  int minus = (int)(high >> 63), shift = 3;
  if (minus) {
    high = ~high, middle = ~middle, lowest = ~lowest;
    if (!++lowest && !++middle) high++;
  }
  if (!high) high = middle, middle = lowest, lowest = 0, shift -= 64;
  int zeros = high ? __builtin_clzll(high) : 0;
  if (zeros) {
    high = high << zeros | middle >> (64 - zeros);
    middle = middle << zeros | lowest >> (64 - zeros);
  }
  /* the fraction in two parts of 53 bits, times pi / 2 in two parts (of it the upper 26 bits apart) */
  uint64_t unit_bits = (uint64_t)(1023 + shift - zeros) << 52;
  double unit;
  memcpy(&unit, &unit_bits, sizeof unit);
  double upper = (double)(high >> 38) * 0x1p-26, lower = (double)(high >> 11 & 0x7ffffff) * 0x1p-53;
  double first = upper + lower, second = (double)((high & 0x7ff) << 42 | middle >> 22) * 0x1p-106;
  const double c = 0x1.921fb54442d18p+0, c_low = 0x1.1a62633145c07p-54, c_upper = 0x1.921fb54p+0, c_lower = c - c_upper;
  double product = first * c;
  double error = ((upper * c_upper - product) + (upper * c_lower + lower * c_upper)) + lower * c_lower;
  error += first * c_low + second * c;
  unit = minus ^ negative ? -unit : unit;
  *r = (product + error) * unit;
  *low = (error - ((product + error) - product)) * unit;
  return (int64_t)(negative ? -n : n);
}
/* The lanes beyond 1e5 anew; in memory, so that the common case keeps its vectors in registers. */
MP_OUTLINE void mp_quadrants(const double *x, int64_t *n, double *r, double *low) {
  for (int i = 0; i < 8; i++)
    if (!(x[i] <= 1e5 && x[i] >= -1e5)) n[i] = mp_quadrant(x[i], r + i, low + i);
}

/* x = n pi / 2 + r + low for |x| <= 1e5: pi / 2 in parts of 37, 37 and 53 bits (Cody & Waite 1980), so that the first
 * two products and the first difference are exact. n stands in the low bits of the result. */
MP_INLINE mp_i8 mp_turn8(mp_v8 x, mp_v8 *r, mp_v8 *low) {
  mp_v8 shifted = x * 0x1.45f306dc9c883p-1 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_v8 a = x - n * 0x1.921fb5444p+0, second = n * 0x1.68c234c4cp-39, b = a - second;
  mp_v8 third = n * 0x1.98a2e03707345p-77 - ((a - b) - second);
  *r = b - third;
  *low = (b - *r) - third;
  mp_i8 quadrant = (mp_i8)shifted;
  if (MP_RARELY8(mp_beyond8(x, 1e5))) {
    double lanes[3][8];
    int64_t quadrants[8];
    mp_store8(lanes[0], x);
    mp_store8(lanes[1], *r);
    mp_store8(lanes[2], *low);
    memcpy(quadrants, &quadrant, sizeof quadrant);
    mp_quadrants(lanes[0], quadrants, lanes[1], lanes[2]);
    *r = mp_load8(lanes[1]);
    *low = mp_load8(lanes[2]);
    memcpy(&quadrant, quadrants, sizeof quadrant);
  }
  return quadrant;
}
/* sin(n pi / 2 + r), |r| <= pi / 4: in odd quadrants the polynomial of the cosine, chosen coefficient by coefficient.
 * Signs are such that sin(-0) = -0. */
MP_INLINE mp_v8 mp_sin_core8(mp_i8 n, mp_v8 r) {
  mp_i8 odd = mp_mask8(mp_sign_of8(n, 0));
  mp_v8 z = r * r, z2 = z * z, half = 0.5 * z, one = 1.0 - half;
#define C(i) mp_select8(odd, mp_splat8(mp_table_cos[i]), mp_splat8(mp_table_sin[i]))
  mp_v8 p = ((C(0) + C(1) * z) + (C(2) + C(3) * z) * z2) + (C(4) + C(5) * z) * (z2 * z2);
#undef C
  mp_v8 rest = (z * mp_select8(odd, z, r)) * p + (mp_v8)((mp_i8)(half - (1.0 - one)) & odd);
  return mp_flip8(mp_select8(odd, one, r) - rest, mp_sign_of8(n, 1));
}
MP_INLINE mp_v8 mp_sin8(mp_v8 x) {
  mp_v8 r, low;
  mp_i8 n = mp_turn8(x, &r, &low);
  return mp_sin_core8(n, r);
}
MP_INLINE mp_v8 mp_cos8(mp_v8 x) {
  mp_v8 r, low;
  mp_i8 n = mp_turn8(x, &r, &low);
  return mp_sin_core8(n + 1, r);
}
/* tan(r), |r| up to pi / 4, or -1 / tan(r) after an odd number of quarter turns; 1 + 1.5 z is near enough to the slope. */
MP_INLINE mp_v8 mp_tan8(mp_v8 x) {
  mp_v8 r, low;
  mp_i8 n = mp_turn8(x, &r, &low), odd = mp_mask8(mp_sign_of8(n, 0));
  mp_v8 z = r * r, rest = (r * z) * MP_TABLE8(z, tan) - low * (1.0 + 1.5 * z), t = r - rest;
  low = (r - t) - rest;
  mp_v8 quotient = mp_select8(odd, mp_splat8(-1.0), t) / mp_select8(odd, t, mp_splat8(1.0));
  return mp_select8(odd, quotient + quotient * (quotient * low), t);
}

/* ---- hyperbolic functions ---- */

/* With |x| = n log 2 + r: sinh |x| = cosh(r) sinh(n log 2) + sinh(r) cosh(n log 2), where the hyperbolic functions of
 * n log 2 are sums of two powers of two. Above 700 exp(|x|) / 2 is all. */
MP_INLINE mp_v8 mp_hyperbolic8(mp_v8 a, int cosine) {
  mp_v8 shifted = a * 0x1.71547652b82fep+0 + MP_SHIFT8, n = shifted - MP_SHIFT8;
  mp_i8 exponent = mp_integer8(shifted);
  mp_v8 most = a - n * 0x1.62e42feep-1, less = n * 0x1.a39ef35793c76p-33, r = most - less, low = (most - r) - less;
  mp_v8 z = r * r, odd = low + (r * z) * MP_TABLE8(z, sinh), even = z * MP_TABLE8(z, cosh); /* sinh(r) is r + odd */
  mp_v8 up = mp_power_of_two8(exponent), down = mp_power_of_two8((mp_i8) - (mp_u8)exponent);
  mp_v8 sum = up + down, difference = up - down, y; /* twice the hyperbolic functions, until the end */
  if (cosine) y = sum + (even * sum + (r + odd) * difference);
  else y = (difference + r * up) + (r * down + (even * difference + odd * sum)); /* the first products are exact */
  y *= 0.5;
  mp_i8 rare = (mp_i8)(700.0 - a);
  if (MP_RARELY8(rare))
    y = mp_select8(a > 700.0, mp_exp_pair8(mp_select8(a > 720.0, mp_splat8(720.0), a), mp_splat8(0.0), -1), y);
  return y;
}
MP_INLINE mp_v8 mp_sinh8(mp_v8 x) { return mp_signed8(mp_hyperbolic8(mp_abs8(x), 0), x); }
MP_INLINE mp_v8 mp_cosh8(mp_v8 x) { return mp_hyperbolic8(mp_abs8(x), 1); }

/* |x| > 1/2: log(a + sqrt(a^2 + 1)) with the rounding errors of the square, the root and the sum */
MP_INLINE mp_v8 mp_asinh8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), z = a * a;
  mp_v8 y = a - (a * z) * MP_TABLE8(z, asinh);
  if (mp_any8((mp_i8)(0.5 - a))) {
    mp_v8 error = mp_product_error8(a, a, z), q = z + 1.0, part = q - z;
    error += (z - (q - part)) + (1.0 - part);
    mp_v8 root = mp_sqrt8(q), square = root * root;
    mp_v8 root_error = ((q - square) - mp_product_error8(root, root, square) + error) / (2.0 * root);
    mp_v8 u = a + root, low = root_error + (a - (u - root));
    mp_v8 l = mp_log_pair8(u, low, u);
    if (MP_RARELY8((mp_i8)(0x1p28 - a))) l = mp_select8(mp_above8(a, 0x1p28), mp_log8(a) + 0x1.62e42fefa39efp-1, l);
    y = mp_select8(mp_above8(a, 0.5), l, y);
  }
  return mp_signed8(y, x);
}

/* With t = x - 1: log(1 + (t + sqrt(t (2 + t)))), again with the rounding errors. */
MP_INLINE mp_v8 mp_acosh8(mp_v8 x) {
  mp_v8 t = x - 1.0, other = 2.0 + t, part = other - t, z = t * other;
  mp_v8 error = mp_product_error8(t, other, z) + t * ((t - (other - part)) + (2.0 - part));
  mp_v8 root = mp_sqrt8(z), square = root * root;
  mp_v8 root_error = ((z - square) - mp_product_error8(root, root, square) + error) / (2.0 * root);
  mp_v8 u = t + root, low = root_error + (t - (u - root));
  mp_v8 y = mp_log1p_pair8(u, low);
  if (MP_RARELY8(mp_outside8(x, 0x1.0000000000001p+0, 0x1p28))) {
    y = mp_select8(x > 0x1p28, mp_log8(mp_abs8(x)) + 0x1.62e42fefa39efp-1, y);
    y = mp_select8(x == 1.0, mp_splat8(0.0), y);
    y = mp_select8(x >= 1.0, y, mp_splat8(__builtin_nan("")));
  }
  return y;
}

/* log(1 + 2 a / (1 - a)) / 2 with the rounding error of the quotient */
MP_INLINE mp_v8 mp_atanh8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), d = 1.0 - a, dl = (1.0 - d) - a, q = 2.0 * a / d, product = q * d;
  mp_v8 low = (((2.0 * a - product) - mp_product_error8(q, d, product)) - q * dl) / d;
  mp_v8 y = 0.5 * mp_log1p_pair8(q, low);
  if (MP_RARELY8((mp_i8)(0x1.fffffffffffffp-1 - a))) {
    y = mp_select8(a == 1.0, mp_splat8(__builtin_inf()), y);
    y = mp_select8(a <= 1.0, y, mp_splat8(__builtin_nan("")));
  }
  return mp_signed8(y, x);
}

/* ---- inverse trigonometric functions ---- */

/* asin(a) in s + rest for 0 <= a <= 1/2; above, where *upper is set, asin(a) = pi / 2 - 2 (s + rest), s^2 = (1 - a) / 2. */
MP_INLINE mp_v8 mp_asin_core8(mp_v8 a, mp_i8 *upper, mp_v8 *rest) {
  mp_v8 z = a * a, s = a;
  *upper = mp_above8(a, 0.5);
  if (mp_any8(*upper)) {
    z = mp_select8(*upper, 0.5 - 0.5 * a, z);
    s = mp_select8(*upper, mp_sqrt8(z), a);
  }
  *rest = (s * z) * MP_TABLE8(z, asin);
  return s;
}
MP_INLINE mp_v8 mp_asin8(mp_v8 x) {
  mp_i8 upper;
  mp_v8 rest, s = mp_asin_core8(mp_abs8(x), &upper, &rest);
  mp_v8 right = 0x1.921fb54442d18p+0 - 2.0 * s, lost = (0x1.921fb54442d18p+0 - right) - 2.0 * s;
  mp_v8 far = right + ((lost + 0x1.1a62633145c07p-54) - 2.0 * rest);
  return mp_signed8(mp_select8(upper, far, s + rest), x);
}
MP_INLINE mp_v8 mp_acos8(mp_v8 x) {
  mp_i8 upper, sign = mp_sign_bit8(x);
  mp_v8 rest, s = mp_asin_core8(mp_abs8(x), &upper, &rest);
  mp_v8 near = 0x1.921fb54442d18p+0 - (mp_flip8(s, sign) - (0x1.1a62633145c07p-54 - mp_flip8(rest, sign)));
  mp_v8 far = 2.0 * (s + rest), left = 0x1.921fb54442d18p+1 - (2.0 * s - (0x1.1a62633145c07p-53 - 2.0 * rest));
  return mp_select8(upper, mp_select8(mp_mask8(sign), left, far), near);
}

MP_INLINE mp_v8 mp_atan8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), q = a;
  mp_i8 upper = mp_above8(a, 1.0);
  if (mp_any8(upper)) q = mp_select8(upper, 1.0 / a, a);
  mp_v8 z = q * q, rest = (q * z) * MP_TABLE8(z, atan);
  mp_v8 far = 0x1.921fb54442d18p+0 - (q - (0x1.1a62633145c07p-54 + rest));
  return mp_signed8(mp_select8(upper, far, q - rest), x);
}
/* The smaller of |x| and |y| over the larger; the angle of the nearer half axis is base, what it lacks to the multiple of
 * pi / 2 a fixed fraction of it. */
MP_INLINE mp_v8 mp_atan2_8(mp_v8 y, mp_v8 x) {
  mp_v8 ax = mp_abs8(x), ay = mp_abs8(y);
  mp_i8 steep = mp_mask8((mp_i8)ax - (mp_i8)ay);
  mp_v8 most = mp_select8(steep, ay, ax), least = mp_select8(steep, ax, ay), q = least / most;
  if (MP_RARELY8(mp_outside8(most, 0x1p-1022, 0x1.fffffffffffffp+1023))) {
    q = mp_select8((most == 0.0) & (least == 0.0), mp_splat8(0.0), q);
    q = mp_select8((most == __builtin_inf()) & (least == most), mp_splat8(1.0), q);
  }
  mp_v8 z = q * q, rest = -((q * z) * MP_TABLE8(z, atan));
  mp_i8 left = mp_mask8(mp_sign_bit8(x)), sign = (left ^ steep) & INT64_MIN;
  mp_v8 base = mp_select8(steep, mp_splat8(0x1.921fb54442d18p+0),
                          mp_select8(left, mp_splat8(0x1.921fb54442d18p+1), mp_splat8(0.0)));
  mp_v8 angle = base + (mp_flip8(q, sign) + (base * 0x1.678afae35cdd1p-55 + mp_flip8(rest, sign)));
  return mp_signed8(angle, y);
}

/* ---- gamma function and its logarithmic derivatives ---- */

/* y - round(y) for y >= 0 */
MP_INLINE mp_v8 mp_fraction8(mp_v8 y) { return y - mp_rint_abs8(y); }
/* Below 3 the argument goes to 2 + d, |d| <= 1/2, by the recurrence; d is exact. Sets d and the masks of the steps:
 * y < 1/2 (two up), y < 3/2 (one up), y >= 5/2 (one down). */
MP_INLINE mp_v8 mp_gamma_steps8(mp_v8 y, mp_i8 *two, mp_i8 *up, mp_i8 *down) {
  *two = mp_below8(y, 0.5);
  *up = mp_below8(y, 1.5);
  *down = ~mp_below8(y, 2.5);
  mp_v8 offset = mp_select8(*up, mp_splat8(1.0), mp_splat8(2.0));
  offset = mp_select8(*two, mp_splat8(0.0), offset);
  return y - mp_select8(*down, mp_splat8(3.0), offset);
}

/* log gamma(y), y > 0: from 3 on Stirling's formula, otherwise log gamma(2 + d) with the logarithm of the factors between.
 * One logarithm serves both. */
MP_INLINE mp_v8 mp_lgamma_positive8(mp_v8 y) {
  mp_i8 two, up, down, tail = ~mp_below8(y, 3.0);
  mp_v8 d = mp_gamma_steps8(y, &two, &up, &down);
  mp_v8 factor = mp_select8(up, mp_select8(two, y + y * y, y), mp_select8(down, y - 1.0, mp_splat8(1.0)));
  mp_v8 l = mp_log_any8(mp_select8(tail, y, factor)), result = l;
  if (mp_any8(~tail)) result = d * MP_TABLE8(d, lgamma) + mp_flip8(l, up & INT64_MIN);
  if (mp_any8(tail)) {
    mp_v8 w = 1.0 / y, rest = w * MP_TABLE8(w * w, stirling);
    result = mp_select8(tail, (y - 0.5) * (l - 1.0) + (0x1.acfe390c97d69p-2 + rest), result);
  }
  return result;
}
/* Below zero: gamma(y) gamma(-y) = -pi / (y sin(pi y)), y = |x|. */
MP_INLINE mp_v8 mp_lgamma8(mp_v8 x) {
  mp_v8 y = mp_abs8(x), result = mp_lgamma_positive8(y);
  if (MP_RARELY8((mp_i8)x)) {
    mp_v8 r = mp_fraction8(y), s = mp_abs8(r * MP_TABLE8(r * r, sin_pi));
    mp_v8 reflected = -mp_log_any8(y * s * 0x1.45f306dc9c883p-2) - result;
    reflected = mp_select8(s == 0.0, mp_splat8(__builtin_inf()), reflected);
    reflected = mp_select8(y < 0x1p-60, result, reflected);
    reflected = mp_select8(y == __builtin_inf(), -y, reflected);
    result = mp_select8(x < 0.0, reflected, result);
  }
  return result;
}

/* cot(pi y), y >= 0, and |sin(pi y)|; from q, the distance to the nearer zero of sine or cosine, which is exact. */
MP_INLINE mp_v8 mp_cot_pi8(mp_v8 y, mp_v8 *sine) {
  mp_v8 r = mp_fraction8(y), a = mp_abs8(r);
  mp_i8 swap = mp_above8(a, 0.25);
  mp_v8 q = mp_select8(swap, 0.5 - a, a), z = q * q, s = q * MP_TABLE8(z, sin_pi), c = 1.0 - z * MP_TABLE8(z, cos_pi);
  *sine = mp_select8(swap, c, s);
  return mp_signed8(mp_select8(swap, s, c) / *sine, r);
}

/* digamma(y), y > 0: the same two ranges. */
MP_INLINE mp_v8 mp_digamma_positive8(mp_v8 y) {
  mp_i8 two, up, down, tail = ~mp_below8(y, 3.0);
  mp_v8 d = mp_gamma_steps8(y, &two, &up, &down), one = mp_splat8(1.0), zero = mp_splat8(0.0);
  mp_v8 above = mp_select8(up, mp_select8(two, 1.0 + 2.0 * y, one), mp_select8(down, -one, zero));
  mp_v8 below = mp_select8(up, mp_select8(two, y + y * y, y), mp_select8(down, y - 1.0, one));
  mp_v8 w = mp_select8(tail, one, above) / mp_select8(tail, y, below), result = zero;
  if (mp_any8(~tail)) result = MP_TABLE8(d, digamma) - w;
  if (mp_any8(tail)) {
    mp_v8 z = w * w;
    result = mp_select8(tail, mp_log8(mp_select8(tail, y, one)) - (0.5 * w + z * MP_TABLE8(z, digamma_tail)), result);
  }
  return result;
}
/* Below zero: digamma(-y) = digamma(y) + 1 / y + pi cot(pi y). */
MP_INLINE mp_v8 mp_digamma8(mp_v8 x) {
  mp_v8 y = mp_abs8(x), result = mp_digamma_positive8(y);
  if (MP_RARELY8((mp_i8)x)) {
    mp_v8 sine, cotangent = mp_cot_pi8(y, &sine);
    mp_v8 reflected = (result + 1.0 / y) + 0x1.921fb54442d18p+1 * cotangent;
    reflected = mp_select8(sine == 0.0, mp_splat8(__builtin_nan("")), reflected);
    reflected = mp_select8(y < 0x1p-60, 1.0 / y, reflected);
    result = mp_select8(mp_mask8((mp_i8)x), reflected, result);
  }
  return result;
}

/* B(2 k) (2 k + m - 1)! / (2 k)! for order m = 1 .. 4, k = 1 .. 12, B the Bernoulli numbers */
static const double mp_polygamma_tail[4][12] = {
    {0.16666666666666666, -0.03333333333333333, 0.023809523809523808, -0.03333333333333333, 0.07575757575757576,
     -0.2531135531135531, 1.1666666666666667, -7.092156862745098, 54.971177944862156, -529.1242424242424,
     6192.123188405797, -86580.25311355312},
    {0.5, -0.16666666666666666, 0.16666666666666666, -0.3, 0.8333333333333334, -3.2904761904761903, 17.5,
     -120.56666666666666, 1044.452380952381, -11111.60909090909, 142418.83333333334, -2164506.327838828},
    {2.0, -1.0, 1.3333333333333333, -3.0, 10.0, -46.06666666666667, 280.0, -2170.2, 20889.04761904762, -244455.4,
     3418052.0, -56277164.52380952},
    {10.0, -7.0, 12.0, -33.0, 130.0, -691.0, 4760.0, -41233.8, 438670.0, -5622474.2, 85451300.0, -1519483442.142857}};

/* The derivative of order 1 to 4 of digamma, y > 0: steps of one up to 10, then the asymptotic series (Abramowitz & Stegun
 * 6.4.6 and 6.4.11). */
MP_INLINE mp_v8 mp_polygamma_positive8(int order, mp_v8 y) {
  double factorial = order == 1 ? 1.0 : order == 2 ? 2.0 : order == 3 ? 6.0 : 24.0;
  mp_v8 sum = mp_splat8(0.0), zero = sum;
  for (int step = 0; step < 10; step++) {
    mp_i8 low = mp_below8(y, 10.0);
    if (!mp_any8(low)) break;
    mp_v8 w = 1.0 / y, w2 = w * w;
    mp_v8 power = order == 1 ? w2 : order == 2 ? w2 * w : order == 3 ? w2 * w2 : w2 * w2 * w;
    sum += mp_select8(low, power, zero);
    y += mp_select8(low, mp_splat8(1.0), zero);
  }
  mp_v8 w = 1.0 / y, w2 = w * w, power = order == 1 ? w : order == 2 ? w2 : order == 3 ? w2 * w : w2 * w2;
  mp_v8 tail = factorial / order + w * (0.5 * factorial + w * mp_poly8(w2, 12, mp_polygamma_tail[order - 1]));
  mp_v8 result = factorial * sum + power * tail;
  return order % 2 ? result : -result;
}
/* Below zero the reflection formula, for which the derivatives of pi cot(pi x) are polynomials of the cotangent. */
MP_INLINE mp_v8 mp_polygamma8(int order, mp_v8 x) {
  mp_i8 negative = x < 0.0;
  int any = MP_RARELY8(negative);
  if (order < 1 || order > 4) return mp_splat8(__builtin_nan(""));
  mp_v8 result = mp_polygamma_positive8(order, mp_select8(negative, 1.0 - x, mp_abs8(x)));
  if (any) {
    const double pi = 0x1.921fb54442d18p+1;
    mp_v8 y = mp_abs8(x), sine, c = -mp_cot_pi8(y, &sine), c2 = c * c, w = 1.0 / (sine * sine), slope;
    if (order == 1) slope = -pi * pi * w;
    else if (order == 2) slope = 2.0 * pi * pi * pi * (c * w);
    else if (order == 3) slope = -2.0 * pi * pi * pi * pi * (w * (3.0 * c2 + 1.0));
    else slope = 8.0 * pi * pi * pi * pi * pi * ((c * w) * (3.0 * c2 + 2.0));
    mp_v8 reflected = (order % 2 ? -result : result) - slope;
    mp_v8 pole = mp_splat8(order % 2 ? __builtin_inf() : -__builtin_inf());
    reflected = mp_select8((sine == 0.0) | (y == __builtin_inf()), pole, reflected);
    result = mp_select8(negative, reflected, result);
  }
  return result;
}

/* ---- error function and the normal distribution ---- */

/* exp(a^2) erfc(a), a >= 0; one division for the argument of the polynomial and the factor 1 / (1 + 2 a) */
MP_INLINE mp_v8 mp_erfcx_positive8(mp_v8 a) {
  mp_v8 b = a + 4.0, c = 1.0 + 2.0 * a, inverse = 1.0 / (b * c);
  mp_v8 t = (a - 4.0) * (c * inverse), y = MP_TABLE8(t, erfcx) * (b * inverse);
  if (MP_RARELY8((mp_i8)(1e10 - a))) y = mp_select8(a > 1e10, 0x1.20dd750429b6dp-1 / a, y); /* 1 / (a sqrt(pi)) */
  return y;
}
/* exp(factor a^2), factor 1, -1 or -1/2, with the rounding error of the square; a >= 0 */
MP_INLINE mp_v8 mp_exp_square8(mp_v8 a, double factor) {
  double limit = factor > 0.0 ? 26.8 : factor < -0.5 ? 27.6 : 39.0; /* from there on it is infinite or 0 */
  a = mp_select8(mp_above8(a, limit), mp_splat8(limit), a);
  mp_v8 square = a * a;
  return mp_exp_pair8(factor * square, factor * mp_product_error8(a, a, square), 0);
}
MP_INLINE mp_v8 mp_erf8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = a * MP_TABLE8(a * a, erf);
  mp_i8 far = mp_above8(a, 1.0);
  if (mp_any8(far)) y = mp_select8(far, 1.0 - mp_erfcx_positive8(a) * mp_exp_square8(a, -1.0), y);
  return mp_signed8(y, x);
}
MP_INLINE mp_v8 mp_erfc8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = mp_erfcx_positive8(a) * mp_exp_square8(a, -1.0);
  return mp_select8(mp_mask8((mp_i8)x), 2.0 - y, y);
}
MP_INLINE mp_v8 mp_erfcx8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = mp_erfcx_positive8(a);
  mp_i8 negative = mp_mask8((mp_i8)x);
  if (mp_any8(negative)) y = mp_select8(negative, 2.0 * mp_exp_square8(a, 1.0) - y, y);
  return y;
}
/* The square of |x| itself goes into the exponential, not that of the rounded |x| / sqrt(2). */
MP_INLINE mp_v8 mp_ndtr8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = 0.5 * mp_erfcx_positive8(0x1.6a09e667f3bcdp-1 * a) * mp_exp_square8(a, -0.5);
  return mp_select8(mp_mask8((mp_i8)x), y, 1.0 - y);
}
/* x < 0: log(erfcx(|x| / sqrt(2)) / 2) - x^2 / 2, both negative; otherwise log(1 - ndtr(-x)) */
MP_INLINE mp_v8 mp_log_ndtr8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), m = 0.5 * mp_erfcx_positive8(0x1.6a09e667f3bcdp-1 * a), zero = mp_splat8(0.0);
  mp_i8 left = mp_mask8((mp_i8)x);
  mp_v8 q = mp_select8(left, zero, m) * mp_exp_square8(a, -0.5), u = 1.0 - q;
  mp_v8 low = (1.0 - u) - q;
  mp_v8 l = mp_log_pair8(mp_select8(left, m, u), mp_select8(left, zero, low), mp_select8(left, m - 1.0, -q));
  return mp_negative_abs8(l - mp_select8(left, x * (0.5 * x), zero)); /* -0 for the right tail */
}

/* ---- Bessel functions of an imaginary argument, scaled by exp(-|x|) ---- */

MP_INLINE mp_v8 mp_bessel_tail8(mp_v8 a, int order) {
  mp_v8 t = 16.0 / a - 1.0;
  return (order ? MP_TABLE8(t, i1_tail) : MP_TABLE8(t, i0_tail)) / mp_sqrt8(a);
}
MP_INLINE mp_v8 mp_i0e8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = mp_exp_pair8(-a, mp_splat8(0.0), 0) * MP_TABLE8(a * a, i0);
  mp_i8 far = mp_above8(a, 8.0);
  if (mp_any8(far)) y = mp_select8(far, mp_bessel_tail8(a, 0), y);
  return y;
}
MP_INLINE mp_v8 mp_i1e8(mp_v8 x) {
  mp_v8 a = mp_abs8(x), y = mp_exp_pair8(-a, mp_splat8(0.0), 0) * (a * MP_TABLE8(a * a, i1));
  mp_i8 far = mp_above8(a, 8.0);
  if (mp_any8(far)) y = mp_select8(far, mp_bessel_tail8(a, 1), y);
  return mp_signed8(y, x);
}

#endif
