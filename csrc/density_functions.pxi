"""The functions that CDensity puts into the C struct: a recorder's, those of a stopped density, and Python's."""

# -- the density behind `recording` --------------------------------------------------------------------------------------

cdef struct recorder:
    const mp_density *inner
    double *where


cdef int settle_record(recorder *r, int code, size_t dim, const double *x) noexcept nogil:
    if code < 0:
        memcpy(r.where, x, dim * sizeof(double))
    return code


cdef int record_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.logp_grad(dim, x, grad, logp, r.inner.user_data), dim, x)


cdef int record_value(size_t dim, const double *x, double *logp, void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.value(dim, x, logp, r.inner.user_data), dim, x)


cdef int record_hessian(size_t dim, const double *x, double *hessian, void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.hessian(dim, x, hessian, r.inner.user_data), dim, x)


cdef int record_hvp(size_t dim, const double *x, const double *v, double *product, void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.hvp(dim, x, v, product, r.inner.user_data), dim, x)


cdef int record_third_product(size_t dim, const double *x, const double *m, double *product,
                              void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.third_product(dim, x, m, product, r.inner.user_data), dim, x)


cdef int record_block(size_t dim, const double *x, size_t number, double *grad, double *logp,
                      void *user_data) noexcept nogil:
    cdef recorder *r = <recorder *>user_data
    return settle_record(r, r.inner.block(dim, x, number, grad, logp, r.inner.user_data), dim, x)


# -- what `stop` puts in the place of functions ------------------------------------------------------------------------

cdef int stopped_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) noexcept nogil:
    return -1

cdef int stopped_value(size_t dim, const double *x, double *out, void *user_data) noexcept nogil:
    return -1

cdef int stopped_product(size_t dim, const double *x, const double *with_, double *product,
                         void *user_data) noexcept nogil:
    return -1

cdef int stopped_batch(size_t n, size_t dim, const double *x, double *grad, double *logp,
                       void *user_data) noexcept nogil:
    return -1

cdef int stopped_block(size_t dim, const double *x, size_t number, double *grad, double *logp,
                       void *user_data) noexcept nogil:
    return -1


# -- Python functions --------------------------------------------------------------------------------------------------

cdef enum:
    RUN = 0  # as in micropolis/chains.py, as MARK
    MARK = 3
    # that a draw which was broken off makes again at most; a mark costs a fiftieth of them where they are quickest
    MARK_CALLS = 256


cdef class PythonTarget:
    """What the trampolines reach: a Python function x -> (logp, grad), one x -> logp, and the first error of either.

    While `stopped`, neither is called and every call ends in a fatal code without an error. Every MARK_CALLS `calls`, the
    chain that is watched is asked to note where it is, unless it was asked for something else.
    """
    cdef object logp_grad, value
    cdef public object error
    cdef public object where
    cdef bint stopped
    cdef public long long calls
    cdef int32_t *control
    cdef object held

    def __init__(self, logp_grad, value=None):
        self.logp_grad, self.value = logp_grad, value
        self.error = self.where = None
        self.stopped = False
        self.calls, self.control = 0, NULL

    def watch(self, int32_t[::1] control):
        """Take the switch of the chain that calls; held as long as this object lives."""
        self.held, self.control = control, &control[0]


cdef inline void count(PythonTarget target) noexcept:
    # under the GIL, as all that write to a control
    target.calls += 1
    if target.calls >= MARK_CALLS and target.control != NULL and target.control[0] == RUN:
        target.control[0] = MARK


cdef int call_logp_grad(size_t dim, const double *x, double *grad, double *logp, void *user_data) noexcept with gil:
    cdef PythonTarget target = <PythonTarget>user_data
    if target.stopped:
        return -1
    count(target)
    point = np.empty(dim)
    cdef double[::1] view = point, gradient
    memcpy(&view[0], x, dim * sizeof(double))
    try:
        value, slope = target.logp_grad(point)
        gradient = slope
        memcpy(grad, &gradient[0], dim * sizeof(double))
        logp[0] = value
        return 0
    except BaseException as error:
        target.error, target.where = error, point
        return -1


cdef int call_value(size_t dim, const double *x, double *logp, void *user_data) noexcept with gil:
    cdef PythonTarget target = <PythonTarget>user_data
    if target.stopped:
        return -1
    count(target)
    point = np.empty(dim)
    cdef double[::1] view = point
    memcpy(&view[0], x, dim * sizeof(double))
    try:
        logp[0] = target.value(point)
        return 0
    except BaseException as error:
        target.error, target.where = error, point
        return -1
