/* The tile engine in float. */
#define MP_SINGLE
#include "neural/tiles.h"

const mp_engine mp_tiles_float = {work_size, forward, losses, loss_sum, loss_grad, loss_hvp};
