/* The tile engine in double. */
#include "neural/tiles.h"

const mp_engine mp_tiles_double = {work_size, forward, losses, loss_sum, loss_grad, loss_hvp};
