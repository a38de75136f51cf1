/* Operands of tiles, and a loop over a tile for every elementwise operation that is more than arithmetic. */
#ifndef MICROPOLIS_ARRAY_FUNCTIONS_H
#define MICROPOLIS_ARRAY_FUNCTIONS_H

#include "densities/array_elementwise.h"

/* Where an operand's elements start in a tile, and a mask for the distance: all ones, or zero where one block serves. */
typedef struct {
  const double *p;
  int64_t mask;
} mp_operand;

#define AT(o, i) mp_load8((o).p + ((i) & (o).mask))

#define MP_DECLARE_U(name, expression) void mp_array_##name(double *d, mp_operand a, int64_t n);
#define MP_DECLARE_B(name, expression) void mp_array_##name(double *d, mp_operand a, mp_operand b, int64_t n);
#define MP_NOTHING(name, expression)
MP_TRANSCENDENTAL(MP_DECLARE_U, MP_DECLARE_B, MP_NOTHING)

#define MP_LOOP_U(name, expression)                                    \
  MP_CLONES void mp_array_##name(double *d, mp_operand a, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                               \
      mp_v8 x = AT(a, i);                                              \
      mp_store8(d + i, expression);                                    \
    }                                                                  \
  }
#define MP_LOOP_B(name, expression)                                                  \
  MP_CLONES void mp_array_##name(double *d, mp_operand a, mp_operand b, int64_t n) { \
    for (int64_t i = 0; i < n; i += 8) {                                             \
      mp_v8 x = AT(a, i), y = AT(b, i);                                              \
      mp_store8(d + i, expression);                                                  \
    }                                                                                \
  }

#endif
