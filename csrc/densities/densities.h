/* The compiled library of targets: one mp_density template each, whose user_data the Python class fills in. */
#ifndef MICROPOLIS_DENSITIES_H
#define MICROPOLIS_DENSITIES_H

#include <micropolis/density.h>

extern const mp_density mp_gaussian;
extern const mp_density mp_casadi;

#endif
