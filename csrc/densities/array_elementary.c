/* Exponentials, logarithms, powers, trigonometric and hyperbolic functions of array programs, tile by tile. */
#include "densities/array_functions.h"

MP_ELEMENTARY(MP_LOOP_U, MP_LOOP_B, MP_NOTHING)
