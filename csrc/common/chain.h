/* A run of draws: the one loop that every kernel shares. */
#ifndef MICROPOLIS_CHAIN_H
#define MICROPOLIS_CHAIN_H

#include "common/adaptation.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the main thread asks of a chain. Anything but MP_CONTROL_RUN is answered between two draws. */
enum mp_control {
  MP_CONTROL_RUN = 0,
  MP_CONTROL_CANCEL = 1 /* between two steps of a thinned draw as well */
};

#define MP_MAX_FLAGS 8
#define MP_MAX_BUFFERS 8

typedef struct mp_chain {
  mp_step_fn step;
  void *options; /* begins with an mp_tuning */
  const mp_density *density;
  bitgen_t *rng;
  mp_state state;
  double *places; /* [mp_places_size(dim)] zeros that x and grad move about in, or NULL */
  double *work;
  int64_t thin;       /* steps per kept draw */
  double *draws;      /* [n][dim], or NULL */
  float *draws_float; /* the same in single precision, or NULL */
  char *stats;        /* [n] info records */
  size_t info_size;
  size_t n_flags,
      flags[MP_MAX_FLAGS]; /* offsets of the record's own booleans (uint8_t), which are of any step of a draw */
  const mp_adaptation *adaptation; /* NULL: sampling */
  double *memory, *adaptation_work;
  const volatile int32_t *control; /* mp_control */
  volatile int64_t *progress;      /* [0] draws made, [1] divergences among them */
} mp_chain;

size_t mp_places_size(size_t dim); /* in doubles */

/* Draws start .. stop - 1. MP_OK, MP_CANCELLED, MP_BROKEN_OFF, or the negative status of a step; progress[0] says how far
 * it came. After the last two state and stream are somewhere inside the draw that was not finished. */
int mp_chain_run(mp_chain *chain, int64_t start, int64_t stop);

#ifdef __cplusplus
}
#endif
#endif
