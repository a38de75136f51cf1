/* Array programs: densities traced from NumPy code, as micropolis/tracing/program.py lays them out in memory.
 *
 * A program is a list of stages: scalar operations on slots of the work memory, loops over elements in tiles, and
 * operations on whole arrays. All memory belongs to one handle; nothing is allocated in a call. */
#ifndef MICROPOLIS_ARRAY_PROGRAM_H
#define MICROPOLIS_ARRAY_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Doubles in a tile: sixteen tiles are half of a first-level cache of 64 KB, and a loop of eight pays 32 times over. */
enum { MP_TILE = 256 };

enum { MP_STAGE_SCALAR, MP_STAGE_LOOP, MP_STAGE_WHOLE };

/* How an operand lies: in a tile, in an array that the loop goes along, one number or one block of 8 for all elements. */
enum { MP_TILED, MP_MOVING, MP_NUMBER, MP_BLOCK };

typedef struct {
  uint32_t code, d, a, b, c; /* slots of the work memory */
} mp_scalar_op;

typedef struct {
  int32_t code;
  uint8_t mode[4];
  double *d;
  const double *a, *b, *c;
  const void *auxiliary; /* element numbers, or a matrix */
  int64_t k[4];
} mp_array_op;

typedef struct {
  int32_t kind, count;
  int64_t size; /* doubles that a loop goes over */
  const void *operations;
} mp_array_stage;

typedef struct {
  double *start;
  int64_t count;
} mp_array_range;

typedef struct {
  double *work;
  const mp_array_stage *stages;
  int64_t n_stages;
  const mp_array_range *clear; /* zeroed before each run */
  int64_t n_clear;
  double *inputs[3], *outputs[2];
} mp_array_call;

void mp_array_run(const mp_array_call *call);
void mp_array_scalars(const mp_scalar_op *op, int64_t count, double *work);
double mp_array_number(int32_t code, double a, double b);
void mp_array_loop(const mp_array_op *operations, int64_t count, int64_t size);
void mp_array_whole(const mp_array_op *operations, int64_t count);
void mp_array_eigh(double *d, const double *a, double *scratch, int64_t n);
void mp_array_expm(double *d, const double *a, double *scratch, int64_t n);

#endif
