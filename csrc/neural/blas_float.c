/* The BLAS engine in float. */
#define MP_SINGLE
#include "neural/blas.h"

const mp_engine mp_blas_float = {work_size, forward, losses, loss_sum, loss_grad, loss_hvp};
