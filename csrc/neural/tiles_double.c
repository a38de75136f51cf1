/* The tiles engine in double. */
#include "neural/network.h"

const mp_engine mp_tiles_double = {0};
