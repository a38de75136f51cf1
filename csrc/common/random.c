/* Standard normals from a NumPy bit generator: the ziggurat's tables, its rare outer part, and filling arrays. */
#include <math.h>
#include <micropolis/random.h>

#include "common/stream.h"
#include "common/ziggurat_tables.h"

uint64_t (*mp_numpy_sfc64)(void *) = NULL;

double mp_normal_outer(bitgen_t *rng, uint64_t raw, double x) {
  unsigned layer = raw & 0xff;
  if (layer == 0) { /* the tail: Marsaglia (1964); log1p(-u) keeps clear of log(0) */
    for (;;) {
      double excess = -log1p(-rng->next_double(rng->state)) * (1.0 / ziggurat_r);
      double height = -log1p(-rng->next_double(rng->state));
      if (height + height > excess * excess) return (raw >> 17) & 1 ? -(ziggurat_r + excess) : ziggurat_r + excess;
    }
  }
  double upper = ziggurat_f[layer - 1], lower = ziggurat_f[layer];
  if ((upper - lower) * rng->next_double(rng->state) + lower < exp(-0.5 * x * x)) return x;
  mp_standard_normal(rng, 1, &x);
  return x;
}

MP_CLONES void mp_standard_normal(bitgen_t *rng, size_t n, double *out) {
  if (mp_stream_inlined(rng)) {
    mp_stream stream = mp_stream_open(rng);
    for (size_t i = 0; i < n; i++) out[i] = mp_stream_normal(&stream);
    mp_stream_close(&stream);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    int stands;
    uint64_t raw = rng->next_uint64(rng->state);
    out[i] = mp_ziggurat_inner(raw, &stands);
    if (__builtin_expect(!stands, 0)) out[i] = mp_normal_outer(rng, raw, out[i]);
  }
}
