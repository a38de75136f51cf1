/* A climb from a random initial point to where the log density is no longer a cliff. */
#ifndef MICROPOLIS_ASCENT_H
#define MICROPOLIS_ASCENT_H

#include <micropolis/density.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Move x[dim] uphill by at most n_steps steps (and ten returns into the support), as long as every 10 of them gain more than dim + 10 in log density,
 * several times what it varies by within a typical set; x stays where it is if the first 10 do not. `work` has 4 dim
 * numbers. 0, or the density's negative code. */
int mp_ascend(const mp_density *density, int n_steps, double *x, double *work);

#ifdef __cplusplus
}
#endif
#endif
