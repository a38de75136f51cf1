/* One standard normal at a time, inlined: Marsaglia & Tsang (2000) with 256 layers, the stream of NumPy's Generator.
 *
 * The sign is a bit of the raw number and decides nothing, yet a branch on it is mispredicted every second time, which
 * is most of the cost of the usual form; here it is xored into the sign bit. */
#ifndef MICROPOLIS_ZIGGURAT_H
#define MICROPOLIS_ZIGGURAT_H

#include <micropolis/random.h>
#include <stdint.h>
#include <string.h>

extern const uint64_t mp_ziggurat_k[256]; /* acceptance bounds of the layers */
extern const double mp_ziggurat_w[256];   /* widths */

/* The 1.2 % of raw numbers that miss the inner rectangle of their layer, and all that follows from them. */
double mp_normal_outer(bitgen_t *rng, uint64_t raw, double x);

/* The fast path, with the generator's members in registers: the compiler must otherwise read them again after each call. */
static inline __attribute__((always_inline)) double mp_normal_from(bitgen_t *rng, uint64_t (*next)(void *),
                                                                   void *state) {
  uint64_t raw = next(state), layer = raw & 0xff, sign = (raw & 0x100) << 55, image;
  uint64_t bits = (raw >> 9) & UINT64_C(0x000fffffffffffff);
  double x = (double)(int64_t)bits * mp_ziggurat_w[layer];
  memcpy(&image, &x, sizeof x);
  image ^= sign;
  memcpy(&x, &image, sizeof x);
  return __builtin_expect(bits < mp_ziggurat_k[layer], 1) ? x : mp_normal_outer(rng, raw, x);
}

#endif
