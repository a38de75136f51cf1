/* A climb from a random initial point to where the log density is no longer a cliff. */
#ifndef MICROPOLIS_ASCENT_H
#define MICROPOLIS_ASCENT_H

#include <micropolis/density.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Move x[dim] uphill with at most n_evaluations of the density, as long as every 10 steps gain more than dim + 10 in log
 * density, several times what it varies by within a typical set; x stays where it is if the first 10 do not. A step out
 * of the support is taken back, and counts. `work` has 5 dim numbers. 0, or the density's negative code. */
int mp_ascend(const mp_density *density, int n_evaluations, double *x, double *work);

#ifdef __cplusplus
}
#endif
#endif
