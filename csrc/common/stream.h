/* The random stream of one chain inside a kernel: the generator's words in registers where it is NumPy's SFC64, calls otherwise.
 *
 * micropolis gives every chain an SFC64 (Doty-Humphrey's small fast chaotic generator). A call through its pointer costs more
 * than the generator itself, so a kernel opens a stream, draws from it inline, and closes it before anything else may draw. */
#ifndef MICROPOLIS_STREAM_H
#define MICROPOLIS_STREAM_H

#include <micropolis/random.h>
#include <stdint.h>
#include <string.h>

#include "common/simd.h"
#include "common/ziggurat.h"

typedef struct mp_sfc64 {
  uint64_t a, b, c, counter;
} mp_sfc64;

/* NumPy's own function for its SFC64; NULL until mp_sfc64_recognise has seen that the state begins with the four words. */
extern uint64_t (*mp_numpy_sfc64)(void *);

MP_INLINE uint64_t mp_sfc64_next(mp_sfc64 *s) {
  uint64_t raw = s->a + s->b + s->counter++;
  s->a = s->b ^ (s->b >> 11);
  s->b = s->c + (s->c << 3);
  s->c = (s->c << 24 | s->c >> 40) + raw;
  return raw;
}

MP_INLINE int mp_stream_inlined(const bitgen_t *rng) { return rng->next_uint64 == mp_numpy_sfc64; }

/* Only for a generator that mp_stream_inlined. */
typedef struct mp_stream {
  bitgen_t *rng;
  mp_sfc64 words;
} mp_stream;

MP_INLINE mp_stream mp_stream_open(bitgen_t *rng) {
  const uint64_t *words = rng->state;
  mp_stream stream = {rng, {words[0], words[1], words[2], words[3]}};
  MP_SCALAR(stream.words.a); /* a vector load of words stored one by one would stall */
  MP_SCALAR(stream.words.c);
  return stream;
}

MP_INLINE void mp_stream_close(const mp_stream *stream) {
  mp_sfc64 words = stream->words;
  uint64_t *out = stream->rng->state;
  MP_SCALAR(words.a);
  MP_SCALAR(words.c);
  out[0] = words.a, out[1] = words.b, out[2] = words.c, out[3] = words.counter;
}

/* [0, 1), as mp_uniform */
MP_INLINE double mp_stream_uniform(mp_stream *stream) {
  return (double)(int64_t)(mp_sfc64_next(&stream->words) >> 11) * 0x1p-53;
}

/* What a raw number says at first sight: a standard normal, and whether it stands (98.8 %). */
MP_INLINE double mp_ziggurat_inner(uint64_t raw, int *stands) {
  const mp_ziggurat_layer *layer = mp_ziggurat + (raw & 0x1ff);
  uint64_t bits = raw << 3 >> 12;
  *stands = bits < layer->bound;
  return (double)(int64_t)bits * layer->width;
}

/* One standard normal: Marsaglia & Tsang (2000) with 256 layers, the stream of NumPy's Generator. */
MP_INLINE double mp_stream_normal(mp_stream *stream) {
  int stands;
  uint64_t raw = mp_sfc64_next(&stream->words);
  double x = mp_ziggurat_inner(raw, &stands);
  if (__builtin_expect(stands, 1)) return x;
  mp_stream_close(stream);
  x = mp_normal_outer(stream->rng, raw, x);
  *stream = mp_stream_open(stream->rng);
  return x;
}

#endif
