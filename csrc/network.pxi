"""The C declarations of networks, their data and their losses, and of posteriors."""

cdef extern from "neural/network.h" nogil:
    cdef enum:
        MP_FLOAT32, MP_FLOAT64
        MP_ENGINE_TILES, MP_ENGINE_BLAS
        MP_LINEAR, MP_CONV2D, MP_MAX_POOL2D, MP_FLATTEN, MP_RELU, MP_TANH, MP_SELU, MP_SIGMOID
        MP_MULTICLASS, MP_BINARY, MP_REGRESSION, MP_POISSON, MP_USER_LOSS
    ctypedef struct mp_layer:
        int32_t kind
        int32_t kernel
        int64_t[3] inputs "in"
        int64_t[3] outputs "out"
        int64_t weight
        int64_t bias
    ctypedef void (*mp_gemm_fn)(char *, char *, int *, int *, int *, void *, void *, int *, void *, int *, void *, void *,
                                int *)
    ctypedef struct mp_network:
        const mp_layer *layers
        int64_t n_layers, n_parameters, n_inputs, n_outputs
        int32_t dtype
        int32_t engine
        mp_gemm_fn gemm
        void (*set_blas_threads)(int)
        int (*get_blas_threads)()
        int32_t threads
    ctypedef struct mp_data:
        int64_t n
        const void *inputs
        const void *tiles
        const int64_t *labels
        const double *targets
    ctypedef double (*mp_row_loss_fn)(size_t, const double *, const double *, double *, void *)
    ctypedef struct mp_loss:
        int32_t kind
        double scale
        mp_row_loss_fn row
        void *context
    size_t mp_network_work_size(const mp_network *, int64_t)
    size_t mp_network_packed_size(const mp_network *, int64_t)
    void mp_network_pack(const mp_network *, int64_t, const void *, void *)
    void mp_network_forward(const mp_network *, const void *, const mp_data *, const int64_t *, int64_t, void *, void *)
    void mp_network_losses(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *, int64_t,
                           double *, void *)
    int64_t mp_network_loss_sum(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *,
                                int64_t, double, double *, void *)
    void mp_network_loss_grad(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *,
                              int64_t, double *, void *, void *)
    int mp_network_loss_hvp(const mp_network *, const mp_loss *, const void *, const void *, const mp_data *,
                            const int64_t *, int64_t, void *, void *)

cdef extern from "neural/posterior.h" nogil:
    ctypedef struct mp_density:
        pass
    const mp_density mp_posterior_first_order, mp_posterior_second_order
