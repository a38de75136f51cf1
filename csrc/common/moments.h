/* Sums and sums of squares of the rows of a matrix. */
#ifndef MICROPOLIS_MOMENTS_H
#define MICROPOLIS_MOMENTS_H

#include <stddef.h>

/* sums[dim] += sum over n rows of (draws - center), squares[dim] likewise of its square */
void mp_batch_moments(size_t n, size_t dim, const double *draws, const double *center, double *sums, double *squares);
void mp_batch_moments_float(size_t n, size_t dim, const float *draws, const double *center, double *sums,
                            double *squares);

#endif
