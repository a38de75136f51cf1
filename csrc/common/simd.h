/* Vector types and target clones: one source for SSE2 to AVX-512, the same bits from each.
 *
 * Sums run over 8 striped accumulators, element i into lane i mod 8, folded in one fixed order; the readable kernels have
 * the same helper (micropolis/linalg.py: dot). Without FMA contraction every width gives the same rounding. */
#ifndef MICROPOLIS_SIMD_H
#define MICROPOLIS_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef MP_HAVE_TARGET_CLONES
#define MP_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MP_CLONES
#endif
#define MP_INLINE static inline __attribute__((always_inline))

/* The clone that the loader picks on this machine. */
MP_INLINE const char *mp_simd_level(void) {
#ifdef MP_HAVE_TARGET_CLONES
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
  return "baseline of the compiler (x86-64-v3 and v4 are built in too)";
#else
  return "baseline of the compiler (built without target clones)";
#endif
}

#define MP_LANES 8
typedef double mp_v8 __attribute__((vector_size(64)));

MP_INLINE mp_v8 mp_load8(const double *p) {
  mp_v8 v;
  memcpy(&v, p, sizeof v);
  return v;
}
MP_INLINE void mp_store8(double *p, mp_v8 v) { memcpy(p, &v, sizeof v); }

/* Keeps a loop over a few numbers scalar: a vector load of numbers just stored one by one stalls until they have left the
 * store buffer, longer than the whole loop takes. */
#define MP_SCALAR(i) __asm__("" : "+r"(i))

/* The first n < 8 elements of p, zeros behind them. */
MP_INLINE mp_v8 mp_load_tail(const double *p, size_t n) {
  mp_v8 v = {0};
  for (size_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
/* The same fold of 8 lanes in memory. A loop tail adds its terms there one by one: scalar accesses behind a vector store
 * are forwarded, a vector load behind scalar stores stalls. */
MP_INLINE double mp_fold_lanes(const double *s) {
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}
MP_INLINE double mp_fold8(mp_v8 s) { return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])); }

/* dim rounded up to whole vectors: kernels keep their vectors padded with zeros to this length, so that loops have no
 * tail; a zero more in a sum changes no bit. */
MP_INLINE size_t mp_padded(size_t dim) { return (dim + MP_LANES - 1) / MP_LANES * MP_LANES; }

/* Vectors of a work area start 64-byte aligned; a stride of a whole number of pages would put all of them into the same
 * cache sets, so it gets one more cache line. */
MP_INLINE size_t mp_stride(size_t dim) {
  size_t stride = mp_padded(dim);
  return stride % 512 == 0 ? stride + MP_LANES : stride;
}

#endif
