# cython: language_level=3, boundscheck=False, wraparound=False
"""Log densities behind the C contract: addresses in, arrays out, and the way back into Python callables."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uintptr_t
from libc.math cimport INFINITY, NAN
from libc.string cimport memcpy

import numpy as np

from micropolis.errors import DensityError

cdef extern from "micropolis/density.h" nogil:
    ctypedef int (*mp_logp_grad_fn)(size_t, const double *, double *, double *, void *)
    ctypedef int (*mp_value_fn)(size_t, const double *, double *, void *)
    ctypedef int (*mp_hessian_fn)(size_t, const double *, double *, void *)
    ctypedef int (*mp_hvp_fn)(size_t, const double *, const double *, double *, void *)
    ctypedef int (*mp_third_product_fn)(size_t, const double *, const double *, double *, void *)
    ctypedef int (*mp_batch_fn)(size_t, size_t, const double *, double *, double *, void *)
    ctypedef int (*mp_block_fn)(size_t, const double *, size_t, double *, double *, void *)
    ctypedef struct mp_density:
        uint32_t version
        size_t dim
        void *user_data
        mp_logp_grad_fn logp_grad
        mp_value_fn value
        mp_hessian_fn hessian
        mp_hvp_fn hvp
        mp_third_product_fn third_product
        mp_batch_fn batch
        mp_block_fn block
        size_t n_blocks
    uint32_t MP_DENSITY_VERSION
    int mp_density_logp_grad(const mp_density *, const double *, double *, double *)
    int mp_density_value(const mp_density *, const double *, double *, double *)

cdef extern from "densities/densities.h" nogil:
    const mp_density mp_bridgestan
    const mp_density mp_gaussian
    const mp_density mp_gaussian_dense
    const mp_density mp_gaussian_mixture
    const mp_density mp_funnel
    const mp_density mp_rough_well
    const mp_density mp_banana
    const mp_density mp_logistic_regression
    const mp_density mp_array_program
    const mp_density mp_blocks
    const mp_density mp_blocks_curved
    const char *const mp_array_operations[]

cdef extern from "densities/array_program.h" nogil:
    ctypedef struct mp_array_call:
        pass
    void mp_array_run(const mp_array_call *)

cdef extern from "common/simd.h" nogil:
    const char *mp_simd_level()


def simd_level():
    """The instruction set that hot functions use on this machine."""
    return mp_simd_level().decode()


def operations():
    """Names of the array programs' operations, in the order of their codes."""
    names, i = [], 0
    while mp_array_operations[i] != NULL:
        names.append(mp_array_operations[i].decode())
        i += 1
    return names


def run_array_program(object call):
    """Run the program behind the record `call` (1,) on its own memory."""
    cdef uintptr_t where = call.ctypes.data
    with nogil:
        mp_array_run(<const mp_array_call *>where)


def library():
    """Addresses of the compiled targets' mp_density templates, by name."""
    return {
        "bridgestan": <uintptr_t>&mp_bridgestan,
        "gaussian": <uintptr_t>&mp_gaussian,
        "gaussian_dense": <uintptr_t>&mp_gaussian_dense,
        "gaussian_mixture": <uintptr_t>&mp_gaussian_mixture,
        "funnel": <uintptr_t>&mp_funnel,
        "rough_well": <uintptr_t>&mp_rough_well,
        "banana": <uintptr_t>&mp_banana,
        "logistic_regression": <uintptr_t>&mp_logistic_regression,
        "array_program": <uintptr_t>&mp_array_program,
        "blocks": <uintptr_t>&mp_blocks,
        "blocks_curved": <uintptr_t>&mp_blocks_curved,
    }


cdef class CDensity:
    """One mp_density and the objects that keep its memory alive.

    Parameters
    ----------
    dim : int
    user_data : int
        Address handed to every function.
    keep_alive : object
        Held as long as this object lives.
    template : int
        Address of an mp_density whose functions are taken over.
    logp_grad, value, hessian, hvp, third_product, batch, block : int
        Addresses of single functions, over the template's.
    n_blocks : int
        Into how many terms `block` splits the log density; 0 for none.
    explain : callable, optional
        ``explain(x)`` -> the exception behind a fatal code at x (dim,), or None.
    targets : tuple of PythonTarget
        The Python functions behind it, which can be told to stop.
    """
    cdef mp_density c, whole
    cdef object keep_alive, explain
    cdef readonly bint stopped
    cdef readonly PythonTarget target
    cdef readonly tuple targets
    cdef readonly object where

    def __init__(self, size_t dim, *, uintptr_t user_data=0, object keep_alive=None, uintptr_t template=0,
                 uintptr_t logp_grad=0, uintptr_t value=0, uintptr_t hessian=0, uintptr_t hvp=0,
                 uintptr_t third_product=0, uintptr_t batch=0, uintptr_t block=0, size_t n_blocks=0,
                 object explain=None, tuple targets=()):
        if template:
            self.c = (<mp_density *>template)[0]
        self.c.version = MP_DENSITY_VERSION
        self.c.dim = dim
        self.c.user_data = <void *>user_data
        if logp_grad: self.c.logp_grad = <mp_logp_grad_fn>logp_grad
        if value: self.c.value = <mp_value_fn>value
        if hessian: self.c.hessian = <mp_hessian_fn>hessian
        if hvp: self.c.hvp = <mp_hvp_fn>hvp
        if third_product: self.c.third_product = <mp_third_product_fn>third_product
        if batch: self.c.batch = <mp_batch_fn>batch
        if block: self.c.block = <mp_block_fn>block
        self.c.n_blocks = n_blocks if self.c.block != NULL else 0
        if self.c.logp_grad == NULL:
            raise ValueError("a density needs logp_grad")
        self.keep_alive, self.explain, self.targets = keep_alive, explain, targets
        self.target = None

    def stop(self):
        """From another thread: until `go`, every call ends in a fatal code, without an error.

        A Python function of a chain under Numba as well; not a compiled one, which such a chain calls by its address.
        """
        if self.stopped:
            return
        self.whole, self.stopped = self.c, True
        # kernels call through the struct, so that this costs them nothing
        self.c.logp_grad = &stopped_logp_grad
        if self.c.value: self.c.value = &stopped_value
        if self.c.hessian: self.c.hessian = &stopped_value
        if self.c.hvp: self.c.hvp = &stopped_product
        if self.c.third_product: self.c.third_product = &stopped_product
        if self.c.batch: self.c.batch = &stopped_batch
        if self.c.block: self.c.block = &stopped_block
        for target in self.targets:
            (<PythonTarget>target).stopped = True

    def go(self):
        """Undo `stop`, in the thread that calls."""
        if self.stopped:
            self.c, self.stopped = self.whole, False
            for target in self.targets:
                (<PythonTarget>target).stopped = False

    @property
    def dim(self):
        return self.c.dim

    @property
    def address(self):
        """Address of the mp_density struct, valid as long as this object lives."""
        return <uintptr_t>&self.c

    @property
    def functions(self):
        """Addresses of the functions (0: not available) and of user_data."""
        return {
            "logp_grad": <uintptr_t>self.c.logp_grad, "value": <uintptr_t>self.c.value,
            "hessian": <uintptr_t>self.c.hessian, "hvp": <uintptr_t>self.c.hvp,
            "third_product": <uintptr_t>self.c.third_product, "batch": <uintptr_t>self.c.batch,
            "block": <uintptr_t>self.c.block,
            "user_data": <uintptr_t>self.c.user_data,
        }

    def recording(self):
        """The same density, keeping in `where` the point of the last call that ended in a fatal code."""
        where = np.full(self.c.dim, NAN)
        cdef double[::1] view = where
        words = np.array([<uintptr_t>&self.c, <uintptr_t>&view[0]], dtype=np.uintp)
        cdef size_t[::1] record = words
        cdef CDensity density = CDensity(
            self.c.dim, user_data=<uintptr_t>&record[0], keep_alive=(self, words), logp_grad=<uintptr_t>&record_logp_grad,
            value=<uintptr_t>&record_value if self.c.value else 0,
            hessian=<uintptr_t>&record_hessian if self.c.hessian else 0, hvp=<uintptr_t>&record_hvp if self.c.hvp else 0,
            third_product=<uintptr_t>&record_third_product if self.c.third_product else 0,
            block=<uintptr_t>&record_block if self.c.block else 0, n_blocks=self.c.n_blocks)
        density.where = where
        return density

    def failure(self, int status, const double[::1] x, bint exact=True):
        """The exception behind the fatal code `status` at x (dim,): a Python target's own, or a DensityError.

        Not `exact`: somewhere in a step from x.
        """
        if self.target is not None and self.target.error is not None:
            error, self.target.error = self.target.error, None
            return error
        point = np.array(x)
        cause = self.explain(point) if exact and self.explain is not None else None
        what = f"returned the fatal code {status}" if cause is None else f"raised {type(cause).__name__}: {cause}".rstrip(": ")
        place = "at x" if exact else "in a step from x"
        error = DensityError(f"the compiled log density {what}, {place} = {np.array2string(point, threshold=10)}")
        error.__cause__ = cause
        return cause if cause is not None and not isinstance(cause, Exception) else error  # Ctrl-C stays what it is

    def call_logp_grad(self, const double[::1] x, double[::1] grad):
        """The contract itself: x (dim,) -> (code, logp), grad (dim,) filled."""
        cdef double logp
        cdef int code = mp_density_logp_grad(&self.c, &x[0], &grad[0], &logp)
        return code, logp

    def call_value(self, const double[::1] x, double[::1] scratch):
        """The contract itself: x (dim,) -> (code, logp)."""
        cdef double logp
        cdef int code = mp_density_value(&self.c, &x[0], &scratch[0], &logp)
        return code, logp

    def call_hessian(self, const double[::1] x, double[:, ::1] out):
        """The contract itself, only where `functions["hessian"]`: x (dim,) -> code, out (dim, dim) filled."""
        return self.c.hessian(self.c.dim, &x[0], &out[0, 0], self.c.user_data)

    def call_third_product(self, const double[::1] x, const double[:, ::1] m, double[::1] product):
        """The contract itself, only where `functions["third_product"]`: x (dim,), m (dim, dim) -> code."""
        return self.c.third_product(self.c.dim, &x[0], &m[0, 0], &product[0], self.c.user_data)

    def call_block(self, const double[::1] x, size_t number, double[::1] grad):
        """The contract itself, only where `n_blocks`: x (dim,) -> (code, logp), grad (dim,) filled."""
        cdef double logp = NAN
        if number >= self.c.n_blocks:
            raise IndexError(f"block {number} of {self.c.n_blocks}")
        cdef int code = self.c.block(self.c.dim, &x[0], number, &grad[0], &logp, self.c.user_data)
        return code, logp

    cdef int _settle(self, int status, const double[::1] x, double *logp, double[::1] out) except -1:
        """A fatal code raises the error behind it; a rejected point is -inf with NaN derivatives."""
        if status < 0:
            raise self.failure(status, x)
        if status > 0:
            if logp != NULL:
                logp[0] = -INFINITY
            out[:] = NAN
        return 0

    @property
    def n_blocks(self):
        return self.c.n_blocks

    def block(self, const double[::1] x, size_t number):
        """Value and gradient (dim,) of term `number` at x (dim,); only where `n_blocks`."""
        cdef double logp
        out = np.empty(self.c.dim)
        code, logp = self.call_block(x, number, out)
        self._settle(code, x, &logp, out)
        return logp, out

    def value(self, const double[:, ::1] x):
        """(n, dim) -> (n,)."""
        out = np.empty(x.shape[0])
        cdef double[::1] logp = out, scratch = np.empty(self.c.dim)
        cdef Py_ssize_t i
        for i in range(x.shape[0]):
            self._settle(mp_density_value(&self.c, &x[i, 0], &scratch[0], &logp[i]), x[i], &logp[i], scratch)
        return out

    def value_and_grad(self, const double[:, ::1] x):
        """(n, dim) -> (n,), (n, dim)."""
        values, grads = np.empty(x.shape[0]), np.empty((x.shape[0], x.shape[1]))
        cdef double[::1] logp = values
        cdef double[:, ::1] grad = grads
        cdef Py_ssize_t i
        for i in range(x.shape[0]):
            self._settle(mp_density_logp_grad(&self.c, &x[i, 0], &grad[i, 0], &logp[i]), x[i], &logp[i], grad[i])
        return values, grads

    def batch(self, const double[:, ::1] x, bint gradient):
        """(n, dim) -> (n,), (n, dim) or None; only where `functions["batch"]`."""
        values, grads = np.empty(x.shape[0]), np.empty((x.shape[0], x.shape[1])) if gradient else None
        cdef double[::1] logp = values
        cdef double[:, ::1] grad = grads
        cdef double *out = &grad[0, 0] if gradient else NULL
        cdef int status = self.c.batch(x.shape[0], self.c.dim, &x[0, 0], out, &logp[0], self.c.user_data)
        if status < 0:
            raise self.failure(status, x[0], False)
        return values, grads

    def hessian(self, const double[:, ::1] x):
        """(n, dim) -> (n, dim * dim); only where `functions["hessian"]`."""
        out = np.empty((x.shape[0], x.shape[1] * x.shape[1]))
        cdef double[:, ::1] h = out
        cdef Py_ssize_t i
        for i in range(x.shape[0]):
            self._settle(self.c.hessian(self.c.dim, &x[i, 0], &h[i, 0], self.c.user_data), x[i], NULL, h[i])
        return out

    def hvp(self, const double[:, ::1] x, const double[:, ::1] v):
        """(n, dim), (n, dim) -> (n, dim); only where `functions["hvp"]`."""
        out = np.empty((x.shape[0], x.shape[1]))
        cdef double[:, ::1] product = out
        cdef Py_ssize_t i
        for i in range(x.shape[0]):
            self._settle(self.c.hvp(self.c.dim, &x[i, 0], &v[i, 0], &product[i, 0], self.c.user_data), x[i], NULL,
                         product[i])
        return out

    def third_product(self, const double[:, ::1] x, const double[:, ::1] m):
        """(n, dim), (n, dim * dim) -> (n, dim); only where `functions["third_product"]`."""
        out = np.empty((x.shape[0], x.shape[1]))
        cdef double[:, ::1] product = out
        cdef Py_ssize_t i
        for i in range(x.shape[0]):
            self._settle(self.c.third_product(self.c.dim, &x[i, 0], &m[i, 0], &product[i, 0], self.c.user_data), x[i], NULL,
                         product[i])
        return out


include "density_functions.pxi"


def python_density(dim, logp_grad, value=None):
    """CDensity of Python functions: logp_grad(x) -> (float, float64 array (dim,)), value(x) -> float."""
    cdef PythonTarget target = PythonTarget(logp_grad, value)
    cdef CDensity density = CDensity(
        dim, user_data=<uintptr_t><void *>target, keep_alive=target, logp_grad=<uintptr_t>&call_logp_grad,
        value=<uintptr_t>&call_value if value is not None else 0, targets=(target,))
    density.target = target
    return density
