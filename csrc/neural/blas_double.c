/* The blas engine in double. */
#include "neural/network.h"

const mp_engine mp_blas_double = {0};
