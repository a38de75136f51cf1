/* The engine that a network names does the work. */
#include "neural/network.h"

#include "common/simd.h"

enum { TILE = 64 }; /* as in reals.h */

static const mp_engine *engine_of(const mp_network *network) {
  if (network->engine == MP_ENGINE_BLAS) return network->dtype == MP_FLOAT32 ? &mp_blas_float : &mp_blas_double;
  return network->dtype == MP_FLOAT32 ? &mp_tiles_float : &mp_tiles_double;
}

size_t mp_network_work_size(const mp_network *network, int64_t n_rows) {
  return engine_of(network)->work_size(network, n_rows);
}

void mp_network_forward(const mp_network *network, const void *theta, const mp_data *data, const int64_t *rows,
                        int64_t n, void *outputs, void *work) {
  engine_of(network)->forward(network, theta, data, rows, n, outputs, work);
}

void mp_network_losses(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                       const int64_t *rows, int64_t n, double *losses, void *work) {
  engine_of(network)->losses(network, loss, theta, data, rows, n, losses, work);
}

int64_t mp_network_loss_sum(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                            const int64_t *rows, int64_t n, double threshold, double *sum, void *work) {
  return engine_of(network)->loss_sum(network, loss, theta, data, rows, n, threshold, sum, work);
}

void mp_network_loss_grad(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                          const int64_t *rows, int64_t n, double *sum, void *gradient, void *work) {
  engine_of(network)->loss_grad(network, loss, theta, data, rows, n, sum, gradient, work);
}

int mp_network_loss_hvp(const mp_network *network, const mp_loss *loss, const void *theta, const void *vector,
                        const mp_data *data, const int64_t *rows, int64_t n, void *product, void *work) {
  return engine_of(network)->loss_hvp(network, loss, theta, vector, data, rows, n, product, work);
}

static size_t real_size(const mp_network *network) {
  return network->dtype == MP_FLOAT32 ? sizeof(float) : sizeof(double);
}

size_t mp_network_packed_size(const mp_network *network, int64_t n) {
  if (network->engine == MP_ENGINE_BLAS) return 0;
  return (size_t)((n + TILE - 1) / TILE * TILE * network->n_inputs) * real_size(network);
}

/* [tiles][n_inputs][TILE] of reals of `size` bytes, the last row repeated to the end of its tile */
MP_INLINE void pack(const size_t size, int64_t width, int64_t n, const char *inputs, char *tiles) {
  for (int64_t start = 0; start < n; start += TILE)
    for (int64_t j = 0; j < width; j++)
      for (int64_t i = start; i < start + TILE; i++, tiles += size)
        memcpy(tiles, inputs + (size_t)((i < n ? i : n - 1) * width + j) * size, size);
}

void mp_network_pack(const mp_network *network, int64_t n, const void *inputs, void *tiles) {
  if (network->engine == MP_ENGINE_BLAS) return;
  if (network->dtype == MP_FLOAT32) pack(sizeof(float), network->n_inputs, n, inputs, tiles);
  else pack(sizeof(double), network->n_inputs, n, inputs, tiles);
}
