/* The BLAS engine in double. */

#include "neural/blas.h"

const mp_engine mp_blas_double = {work_size, forward, losses, loss_sum, loss_grad, loss_hvp};
