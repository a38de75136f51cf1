/* The tiles engine in float. */
#include "neural/network.h"

const mp_engine mp_tiles_float = {0};
