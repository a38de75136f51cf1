/* Activations, their slopes and the changes of these, over the first places of n features of a tile: both engines include
 * this file. */
#ifndef MICROPOLIS_ACTIVATIONS_H
#define MICROPOLIS_ACTIVATIONS_H

#include "neural/reals.h"

/* Klambauer et al. 2017: scale x for x > 0, scale alpha (exp(x) - 1) else */
#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_LIMIT ((real)(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717))

MP_INLINE vreal selu(vreal x) {
  vreal negative = SELU_LIMIT * VECTOR_MATH(expm1_negative)((vreal)((vinteger)x & ~(x > (real)0)));
  return pick(x > (real)0, SELU_SCALE * x, negative);
}

/* The derivative where the activation has the value a. */
MP_INLINE vreal slope_at(int kind, vreal a) {
  switch (kind) {
  case MP_TANH: return (real)1 - a * a;
  case MP_SIGMOID: return a * ((real)1 - a);
  case MP_SELU: return pick(a > (real)0, splat(SELU_SCALE), a + SELU_LIMIT);
  default: return (vreal)((vinteger)splat(1) & (a > (real)0));
  }
}

/* The derivative of slope_at as a moves by da. */
MP_INLINE vreal slope_change(int kind, vreal a, vreal da) {
  switch (kind) {
  case MP_TANH: return (real)-2 * a * da;
  case MP_SIGMOID: return ((real)1 - (real)2 * a) * da;
  case MP_SELU: return (vreal)((vinteger)da & ~(a > (real)0));
  default: return splat(0);
  }
}

/* A loop for each kind, so that none tests it inside. */
#define FOR_EACH_ACTIVATION(kind, body)    \
  switch (kind) {                          \
  case MP_TANH: body(MP_TANH) break;       \
  case MP_SIGMOID: body(MP_SIGMOID) break; \
  case MP_SELU: body(MP_SELU) break;       \
  default: body(MP_RELU)                   \
  }

MP_INLINE vreal activation(int kind, vreal x) {
  switch (kind) {
  case MP_TANH: return VECTOR_MATH(tanh)(x);
  case MP_SIGMOID: return VECTOR_MATH(sigmoid)(x);
  case MP_SELU: return selu(x);
  default: return positive_part(x);
  }
}

/* values = activation(x); both may be one array */
static MP_CLONES void activate_tile(int kind, int64_t n, int64_t places, const real *x, real *values) {
#define BODY(KIND)                                \
  for (int64_t at = 0; at < n * TILE; at += TILE) \
    for (int64_t i = at; i < at + places; i += LANES) store(values + i, activation(KIND, load(x + i)));
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

/* delta *= derivative of the activation */
static MP_CLONES void slope_tile(int kind, int64_t n, int64_t places, const real *values, real *delta) {
#define BODY(KIND)                                    \
  for (int64_t at = 0; at < n * TILE; at += TILE)     \
    for (int64_t i = at; i < at + places; i += LANES) \
      store(delta + i, load(delta + i) * slope_at(KIND, load(values + i)));
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

/* The same, and its derivative: tangent = slope tangent + (change of slope) delta, then delta *= slope. */
static MP_CLONES void curvature_tile(int kind, int64_t n, int64_t places, const real *values, const real *tangents,
                                     real *delta, real *tangent) {
#define BODY(KIND)                                                                \
  for (int64_t at = 0; at < n * TILE; at += TILE)                                 \
    for (int64_t i = at; i < at + places; i += LANES) {                           \
      vreal a = load(values + i), d = load(delta + i), slope = slope_at(KIND, a); \
      vreal change = slope_change(KIND, a, load(tangents + i));                   \
      store(tangent + i, slope * load(tangent + i) + change * d);                 \
      store(delta + i, slope * d);                                                \
    }
  FOR_EACH_ACTIVATION(kind, BODY)
#undef BODY
}

#endif
