/* The BLAS library's own threads, held back while the engine runs. */
#ifndef MICROPOLIS_BLAS_THREADS_H
#define MICROPOLIS_BLAS_THREADS_H

#include "neural/network.h"

void mp_blas_enter(const mp_network *network);
void mp_blas_leave(const mp_network *network);

#endif
