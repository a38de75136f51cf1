/* Standard normals from a NumPy bit generator: the stream of Generator.standard_normal without its sign branch.
 *
 * Marsaglia & Tsang (2000), 256 layers. The sign is a bit of the raw number and decides nothing, yet a branch on it is
 * mispredicted every second time, which is most of the cost of the usual form; here it is xored into the sign bit. */
#include <math.h>
#include <micropolis/random.h>
#include <stdint.h>
#include <string.h>

#include "common/ziggurat_tables.h"

/* The 1.2 % of draws that miss the inner rectangle; *done tells whether one was accepted. */
static __attribute__((noinline, cold)) double outer(bitgen_t *rng, unsigned layer, uint64_t bits, double x, int *done) {
  *done = 1;
  if (layer == 0) { /* the tail: Marsaglia (1964); log1p(-u) keeps clear of log(0) */
    for (;;) {
      double excess = -log1p(-rng->next_double(rng->state)) * (1.0 / ziggurat_r);
      double height = -log1p(-rng->next_double(rng->state));
      if (height + height > excess * excess) return (bits >> 8) & 1 ? -(ziggurat_r + excess) : ziggurat_r + excess;
    }
  }
  double upper = ziggurat_f[layer - 1], lower = ziggurat_f[layer];
  *done = (upper - lower) * rng->next_double(rng->state) + lower < exp(-0.5 * x * x);
  return x;
}

void mp_standard_normal(bitgen_t *rng, size_t n, double *out) {
  uint64_t (*next)(void *) = rng->next_uint64;
  void *state = rng->state;
  for (size_t i = 0; i < n;) {
    uint64_t raw = next(state);
    unsigned layer = raw & 0xff;
    uint64_t sign = (raw & 0x100) << 55, bits = (raw >> 9) & 0x000fffffffffffffULL, image;
    double x = (double)(int64_t)bits * ziggurat_w[layer];
    memcpy(&image, &x, sizeof x);
    image ^= sign;
    memcpy(&x, &image, sizeof x);
    if (__builtin_expect(bits < ziggurat_k[layer], 1)) {
      out[i++] = x;
    } else {
      int done;
      x = outer(rng, layer, bits, x, &done);
      if (done) out[i++] = x;
    }
  }
}
