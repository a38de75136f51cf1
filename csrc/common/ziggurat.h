/* The ziggurat of standard normals: its tables, and what follows when a raw number misses the inner rectangle of its layer. */
#ifndef MICROPOLIS_ZIGGURAT_H
#define MICROPOLIS_ZIGGURAT_H

#include <micropolis/random.h>
#include <stdint.h>

/* A layer by the low 9 bits of the raw number: 8 choose it, the ninth is the sign, which so costs neither a branch (it would be
 * mispredicted every second time, most of the cost of the usual form) nor an instruction. */
typedef struct mp_ziggurat_layer {
  double width; /* signed */
  uint64_t bound;
} mp_ziggurat_layer;
extern const mp_ziggurat_layer mp_ziggurat[512];

/* The 1.2 % of raw numbers outside, and all draws that follow from them. */
double mp_normal_outer(bitgen_t *rng, uint64_t raw, double x);

#endif
