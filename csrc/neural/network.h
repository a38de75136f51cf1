/* A feed-forward network as a compiled function of one flat parameter vector: forward, per-row losses, gradient, Hessian-vector
 * product.
 *
 * Two engines do the same work: `mp_tiles` (fully connected layers; fused over tiles of rows, rows in the SIMD lanes, no BLAS)
 * and `mp_blas` (every layer; matrix products by the BLAS whose addresses the network carries). The functions below call the
 * one that the network names. A network, its layers and its data are read only and may be shared by threads; `work` is one
 * thread's own, mp_network_work_size bytes, 64-byte aligned. Reals are float or double as `dtype` says; losses and their sums
 * are double. */
#ifndef MICROPOLIS_NETWORK_H
#define MICROPOLIS_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { MP_FLOAT32, MP_FLOAT64 } mp_dtype;
typedef enum { MP_ENGINE_TILES, MP_ENGINE_BLAS } mp_engine_kind;
typedef enum {
  MP_LINEAR,
  MP_CONV2D,
  MP_MAX_POOL2D,
  MP_FLATTEN,
  MP_RELU,
  MP_TANH,
  MP_SELU,
  MP_SIGMOID,
} mp_layer_kind;

/* A layer maps (channels, height, width) to (channels, height, width); a vector of n features is (n, 1, 1). */
typedef struct mp_layer {
  int32_t kind; /* mp_layer_kind */
  int32_t kernel; /* side of the window of Conv2d (stride 1, no padding) and MaxPool2d (stride = side), else 0 */
  int64_t in[3]; /* channels, height, width */
  int64_t out[3]; /* the same behind the layer */
  int64_t weight; /* offset of the weights in theta: [out][in], Conv2d [out][in][kernel][kernel] */
  int64_t bias; /* offset of the biases [out], -1 for none */
} mp_layer;

typedef void (*mp_gemm_fn)(char *, char *, int *, int *, int *, void *, void *, int *, void *, int *, void *, void *,
                           int *);

typedef struct mp_network {
  const mp_layer *layers;
  int64_t n_layers, n_parameters, n_inputs, n_outputs;
  int32_t dtype; /* mp_dtype */
  int32_t engine; /* mp_engine_kind */
  mp_gemm_fn gemm; /* Fortran sgemm or dgemm by dtype; NULL where the engine is MP_ENGINE_TILES */
  void (*set_blas_threads)(int); /* of the library behind gemm, NULL where it has no such function */
  int (*get_blas_threads)(void);
  int32_t threads; /* of the BLAS engine in one call; sums round differently for each number */
} mp_network;

/* n rows; the inputs stay in place, a memory map may stand behind them. */
typedef struct mp_data {
  int64_t n;
  const void *inputs; /* real [n][n_inputs] */
  const void *tiles; /* the same as mp_network_pack writes it, or NULL: rows are gathered as they are needed */
  const int64_t *labels; /* [n], multiclass: 0 .. n_outputs - 1; else NULL */
  const double *targets; /* [n][n_outputs], binary (0 or 1), regression, Poisson counts, user losses; else NULL */
} mp_data;

/* Negative log likelihood of one row, by kind:
 *   multiclass   log sum_k exp(f_k) - f_label                                  (>= 0)
 *   binary       sum_k [log(1 + exp(f_k)) - y_k f_k]                           (>= 0)
 *   regression   scale/2 sum_k (f_k - y_k)^2 - n_outputs/2 log(scale / (2 pi))  (scale: the noise's precision tau_out)
 *   Poisson      sum_k [exp(f_k) - y_k f_k + log y_k!]
 *   user         row(n_outputs, f, y, gradient by f, context), all double */
typedef enum { MP_MULTICLASS, MP_BINARY, MP_REGRESSION, MP_POISSON, MP_USER_LOSS } mp_loss_kind;
typedef double (*mp_row_loss_fn)(size_t n_outputs, const double *output, const double *target, double *gradient,
                                 void *context);
typedef struct mp_loss {
  int32_t kind; /* mp_loss_kind */
  double scale;
  mp_row_loss_fn row;
  void *context;
} mp_loss;

/* What a call will need: bytes of `work` for up to n_rows rows at a time of any function below. */
size_t mp_network_work_size(const mp_network *network, int64_t n_rows);

/* Bytes of, and, the copy of the inputs that saves the tile engine its transposition; the BLAS engine needs none (0 bytes). */
size_t mp_network_packed_size(const mp_network *network, int64_t n);
void mp_network_pack(const mp_network *network, int64_t n, const void *inputs, void *tiles);

/* In all of these: rows[n] are indices into the data, NULL for rows 0 .. n - 1 in order. Packed data, data that are not, and
 * rows 0 .. n - 1 written out give the same bits; so do the sums of loss_sum (INFINITY) and loss_grad. */

/* outputs [n][n_outputs], of the network's dtype */
void mp_network_forward(const mp_network *network, const void *theta, const mp_data *data, const int64_t *rows,
                        int64_t n, void *outputs, void *work);

/* losses[n], as defined above; multiclass and binary ones clamped at >= 0 (a NaN stays a NaN) */
void mp_network_losses(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                       const int64_t *rows, int64_t n, double *losses, void *work);

/* Sum of the losses, in one fixed order that does not depend on `threshold`; gives up, with what it has so far, as soon as the
 * running sum is not < threshold (INFINITY: never, nor at a NaN). Returns how many rows it looked at. */
int64_t mp_network_loss_sum(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                            const int64_t *rows, int64_t n, double threshold, double *sum, void *work);

/* Sum of the losses and its gradient[n_parameters] (real), overwritten */
void mp_network_loss_grad(const mp_network *network, const mp_loss *loss, const void *theta, const mp_data *data,
                          const int64_t *rows, int64_t n, double *sum, void *gradient, void *work);

/* product[n_parameters] = Hessian of the sum of the losses times vector[n_parameters] (reals); max pooling and ReLU have their
 * piecewise derivative. User losses have no second derivative: returns -1 for them, else 0. */
int mp_network_loss_hvp(const mp_network *network, const mp_loss *loss, const void *theta, const void *vector,
                        const mp_data *data, const int64_t *rows, int64_t n, void *product, void *work);

/* One engine: the functions above without dispatch. */
typedef struct mp_engine {
  size_t (*work_size)(const mp_network *, int64_t);
  void (*forward)(const mp_network *, const void *, const mp_data *, const int64_t *, int64_t, void *, void *);
  void (*losses)(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *, int64_t, double *,
                 void *);
  int64_t (*loss_sum)(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *, int64_t,
                      double, double *, void *);
  void (*loss_grad)(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *, int64_t,
                    double *, void *, void *);
  int (*loss_hvp)(const mp_network *, const mp_loss *, const void *, const void *, const mp_data *, const int64_t *,
                  int64_t, void *, void *);
} mp_engine;
extern const mp_engine mp_tiles_float, mp_tiles_double, mp_blas_float, mp_blas_double;

#ifdef __cplusplus
}
#endif
#endif
