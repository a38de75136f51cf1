/* The blas engine in float. */
#include "neural/network.h"

const mp_engine mp_blas_float = {0};
