/* The compiled library of targets: one mp_density template each, whose user_data the Python class fills in.
 *
 * user_data is a struct of 8-byte words: pointers, int64 and double (densities/target.py: words). */
#ifndef MICROPOLIS_DENSITIES_H
#define MICROPOLIS_DENSITIES_H

#include <micropolis/density.h>

extern const mp_density mp_bridgestan;
extern const mp_density mp_gaussian;
extern const mp_density mp_gaussian_dense;
extern const mp_density mp_gaussian_mixture;
extern const mp_density mp_funnel;
extern const mp_density mp_rough_well;
extern const mp_density mp_banana;
extern const mp_density mp_logistic_regression;
extern const mp_density mp_array_program;
extern const char *const mp_array_operations[]; /* names in the order of their codes, NULL behind the last */
extern const mp_density mp_blocks;
extern const mp_density mp_blocks_curved;

#endif
