# cython: language_level=3, boundscheck=False, wraparound=False
"""Networks, data and losses behind their C structs: arrays in, one call without the GIL, arrays out."""

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.math cimport INFINITY

cimport numpy as cnp
import numpy as np

from micropolis.errors import InputError, InputTypeError

cnp.import_array()

include "network.pxi"

KINDS = {"Linear": MP_LINEAR, "Conv2d": MP_CONV2D, "MaxPool2d": MP_MAX_POOL2D, "Flatten": MP_FLATTEN, "ReLU": MP_RELU,
         "Tanh": MP_TANH, "SELU": MP_SELU, "Sigmoid": MP_SIGMOID}
LOSSES = {"multiclass": MP_MULTICLASS, "binary": MP_BINARY, "regression": MP_REGRESSION, "poisson": MP_POISSON,
          "user": MP_USER_LOSS}
ENGINES = {"tiles": MP_ENGINE_TILES, "blas": MP_ENGINE_BLAS}

# mp_layer, field by field
LAYER_DTYPE = np.dtype([("kind", "i4"), ("kernel", "i4"), ("in", "i8", 3), ("out", "i8", 3), ("weight", "i8"),
                        ("bias", "i8")])
if LAYER_DTYPE.itemsize != sizeof(mp_layer):
    raise ImportError(f"mp_layer has {sizeof(mp_layer)} bytes, expected {LAYER_DTYPE.itemsize}")


def blas_addresses(dtype):
    """Of the BLAS that SciPy was built with: Fortran sgemm or dgemm; the functions that set and get its number of threads.

    The last two are 0 where the library has none that is known here.
    """
    import ctypes

    from scipy.linalg import cython_blas

    capsule = cython_blas.__pyx_capi__["sgemm" if np.dtype(dtype) == np.float32 else "dgemm"]
    cdef const char *name = PyCapsule_GetName(capsule)
    gemm = <uintptr_t>PyCapsule_GetPointer(capsule, name)
    library = ctypes.CDLL(cython_blas.__file__)  # finds what it depends on too
    for known in ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads"):
        try:
            functions = [getattr(library, known.format(verb)) for verb in ("set", "get")]
        except AttributeError:
            continue
        return gemm, *(ctypes.cast(function, ctypes.c_void_p).value for function in functions)
    return gemm, 0, 0


cdef object aligned(size_t size):
    """Uninitialised bytes from the start of a cache line on."""
    memory = np.empty(size + 64, dtype=np.uint8)
    cdef size_t start = -<uintptr_t>cnp.PyArray_DATA(memory) % 64
    return memory[start:start + size]


cdef void *checked(str name, object array, object dtype, tuple shape) except? NULL:
    """Address of an array of exactly this dtype and shape, C-contiguous."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype or not array.flags.c_contiguous or not array.flags.aligned:
        got = f"{array.dtype}, strides {array.strides}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputTypeError(f"{name}: expected a C-contiguous array of {np.dtype(dtype).name}, got {got}")
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, got {array.shape}")
    return cnp.PyArray_DATA(<cnp.ndarray>array)


cdef tuple layer_parameters(dict layer):
    """(numbers of weights, numbers of biases) of a layer."""
    if layer["kind"] == MP_LINEAR:
        return int(np.prod(layer["in"])) * int(np.prod(layer["out"])), int(np.prod(layer["out"]))
    if layer["kind"] == MP_CONV2D:
        return layer["in"][0] * layer["out"][0] * layer["kernel"] ** 2, layer["out"][0]
    return 0, 0


def check_layers(layers, n_parameters, n_inputs, n_outputs, engine):
    """Raise unless the structs describe a network that no function of network.h reads or writes beyond."""
    previous = None
    for number, record in enumerate(layers):
        layer = {name: record[name].tolist() for name in LAYER_DTYPE.names}
        kind, kernel, before, after = layer["kind"], layer["kernel"], layer["in"], layer["out"]
        right = kind in KINDS.values() and min(before) > 0 and min(after) > 0
        right = right and (np.prod(before) == n_inputs if previous is None else before == previous)
        if kind in (MP_CONV2D, MP_MAX_POOL2D):
            right = right and kernel > 0 and engine == "blas"
            if kind == MP_CONV2D:
                right = right and after[1:] == [side - kernel + 1 for side in before[1:]]
            else:
                right = right and after == [before[0]] + [side // kernel for side in before[1:]]
        elif kind == MP_FLATTEN:
            right = right and after == [before[0] * before[1] * before[2], 1, 1]
        elif kind != MP_LINEAR:
            right = right and after == before
        weights, biases = layer_parameters(layer)
        if weights:
            right = right and 0 <= layer["weight"] <= n_parameters - weights
            right = right and (layer["bias"] == -1 or 0 <= layer["bias"] <= n_parameters - biases)
        if not right:
            raise InputError(f"layers: number {number} contradicts itself or the one before: {layer}")
        previous = after
    if previous is None or np.prod(previous) != n_outputs:
        raise InputError(f"layers: expected {n_outputs} outputs, got {previous}")


cdef class CNetwork:
    """One mp_network and the array of its layers.

    Parameters
    ----------
    layers : ndarray of LAYER_DTYPE
    n_parameters, n_inputs, n_outputs : int
    dtype : "float32" or "float64"
    engine : "tiles" or "blas"
    blas : tuple, optional
        `blas_addresses` of `dtype` for the engine "blas".
    threads : int
        Of the engine "blas" in one call.
    """
    cdef mp_network c
    cdef readonly object layers
    cdef readonly object dtype
    cdef readonly str engine
    cdef object blas

    def __init__(self, layers, int64_t n_parameters, int64_t n_inputs, int64_t n_outputs, dtype, str engine,
                 object blas=None, int32_t threads=1):
        self.layers = np.array(layers, dtype=LAYER_DTYPE).reshape(-1)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise InputTypeError(f"dtype: expected float32 or float64, got {self.dtype}")
        if engine not in ENGINES:
            raise InputError(f"engine: expected 'tiles' or 'blas', got {engine!r}")
        if (engine == "blas") != (blas is not None):
            raise InputError("blas: expected blas_addresses(dtype) for the engine 'blas' and None for 'tiles'")
        check_layers(self.layers, n_parameters, n_inputs, n_outputs, engine)
        self.engine = engine
        self.c.layers = <const mp_layer *>cnp.PyArray_DATA(<cnp.ndarray>self.layers)
        self.c.n_layers = len(self.layers)
        self.c.n_parameters, self.c.n_inputs, self.c.n_outputs = n_parameters, n_inputs, n_outputs
        self.c.dtype = MP_FLOAT32 if self.dtype == np.float32 else MP_FLOAT64
        self.c.engine = ENGINES[engine]
        self.blas = blas
        if blas is not None:
            gemm, set_threads, get_threads = blas
            self.c.gemm = <mp_gemm_fn><uintptr_t>gemm
            self.c.set_blas_threads = <void (*)(int) noexcept nogil><uintptr_t>set_threads
            self.c.get_blas_threads = <int (*)() noexcept nogil><uintptr_t>get_threads
        if threads < 1:
            raise InputError(f"threads: expected an integer >= 1, got {threads}")
        self.c.threads = threads

    @property
    def address(self):
        return <uintptr_t>&self.c

    @property
    def n_parameters(self):
        return self.c.n_parameters

    @property
    def n_inputs(self):
        return self.c.n_inputs

    @property
    def n_outputs(self):
        return self.c.n_outputs

    def with_threads(self, int32_t threads):
        """The same network, evaluated by so many threads in one call."""
        return CNetwork(self.layers, self.c.n_parameters, self.c.n_inputs, self.c.n_outputs, self.dtype, self.engine,
                        self.blas, threads)

    def work(self, int64_t n_rows):
        """Memory for one thread's calls on up to `n_rows` rows."""
        if n_rows < 0:
            raise InputError(f"n_rows: expected an integer >= 0, got {n_rows}")
        return aligned(mp_network_work_size(&self.c, n_rows))

    cdef const int64_t *_rows(self, CData data, object rows, int64_t *n) except? NULL:
        """Checked row numbers and how many; NULL for all rows."""
        if not data.fits(self):
            raise InputError(f"data: made for a network of {data.c_inputs} inputs, {data.c_outputs} outputs and "
                             f"{data.dtype}, this one has {self.c.n_inputs}, {self.c.n_outputs} and {self.dtype}")
        if rows is None:
            n[0] = data.c.n
            return NULL
        cdef const int64_t *numbers = <const int64_t *>checked("rows", rows, np.int64, (np.size(rows),))
        n[0] = len(rows)
        if n[0] and not (0 <= rows.min() and rows.max() < data.c.n):
            raise InputError(f"rows: expected numbers in 0..{data.c.n - 1}, got {rows.min()}..{rows.max()}")
        return numbers

    def forward(self, theta, CData data, rows=None):
        """Outputs (n, n_outputs)."""
        cdef int64_t n
        cdef const int64_t *numbers = self._rows(data, rows, &n)
        cdef void *parameters = checked("theta", theta, self.dtype, (self.c.n_parameters,))
        work, result = self.work(n), np.empty((n, self.c.n_outputs), dtype=self.dtype)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        cdef void *outputs = cnp.PyArray_DATA(<cnp.ndarray>result)
        with nogil:
            mp_network_forward(&self.c, parameters, &data.c, numbers, n, outputs, scratch)
        return result

    def predict(self, draws, CData data, result):
        """Outputs (S, n, n_outputs) into `result` for parameters (S, n_parameters), both of the network's dtype."""
        cdef int64_t n, s, many = len(draws), size = self.dtype.itemsize
        self._rows(data, None, &n)
        cdef char *parameters = <char *>checked("draws", draws, self.dtype, (many, self.c.n_parameters))
        cdef char *outputs = <char *>checked("result", result, self.dtype, (many, n, self.c.n_outputs))
        work = self.work(n)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        with nogil:
            for s in range(many):
                mp_network_forward(&self.c, parameters + s * self.c.n_parameters * size, &data.c, NULL, n,
                                   outputs + s * n * self.c.n_outputs * size, scratch)

    def losses(self, CLoss loss, theta, CData data, rows=None):
        """Loss of every row, float64 (n,)."""
        cdef int64_t n
        cdef const int64_t *numbers = self._rows(data, rows, &n)
        cdef void *parameters = checked("theta", theta, self.dtype, (self.c.n_parameters,))
        data.check_answers(loss)
        work, result = self.work(n), np.empty(n)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        cdef double *values = <double *>cnp.PyArray_DATA(<cnp.ndarray>result)
        with nogil:
            mp_network_losses(&self.c, &loss.c, parameters, &data.c, numbers, n, values, scratch)
        return result

    def loss_sum(self, CLoss loss, theta, CData data, rows=None, double threshold=INFINITY):
        """(sum of the losses, rows looked at); gives up where the running sum is not below the threshold."""
        cdef int64_t n, looked
        cdef double total
        cdef const int64_t *numbers = self._rows(data, rows, &n)
        cdef void *parameters = checked("theta", theta, self.dtype, (self.c.n_parameters,))
        data.check_answers(loss)
        work = self.work(n)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        with nogil:
            looked = mp_network_loss_sum(&self.c, &loss.c, parameters, &data.c, numbers, n, threshold, &total, scratch)
        return total, looked

    def loss_grad(self, CLoss loss, theta, CData data, rows=None):
        """(sum of the losses, its gradient (n_parameters,))."""
        cdef int64_t n
        cdef double total
        cdef const int64_t *numbers = self._rows(data, rows, &n)
        cdef void *parameters = checked("theta", theta, self.dtype, (self.c.n_parameters,))
        data.check_answers(loss)
        work, result = self.work(n), np.empty(self.c.n_parameters, dtype=self.dtype)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        cdef void *gradient = cnp.PyArray_DATA(<cnp.ndarray>result)
        with nogil:
            mp_network_loss_grad(&self.c, &loss.c, parameters, &data.c, numbers, n, &total, gradient, scratch)
        return total, result

    def loss_hvp(self, CLoss loss, theta, vector, CData data, rows=None):
        """Hessian of the sum of the losses times `vector`, (n_parameters,)."""
        cdef int64_t n
        cdef const int64_t *numbers = self._rows(data, rows, &n)
        cdef void *parameters = checked("theta", theta, self.dtype, (self.c.n_parameters,))
        cdef void *direction = checked("vector", vector, self.dtype, (self.c.n_parameters,))
        data.check_answers(loss)
        if loss.c.kind == MP_USER_LOSS:
            raise InputError("loss: a user loss has no second derivative")
        work, result = self.work(n), np.empty(self.c.n_parameters, dtype=self.dtype)
        cdef void *scratch = cnp.PyArray_DATA(<cnp.ndarray>work)
        cdef void *product = cnp.PyArray_DATA(<cnp.ndarray>result)
        with nogil:
            mp_network_loss_hvp(&self.c, &loss.c, parameters, direction, &data.c, numbers, n, product, scratch)
        return result


cdef class CData:
    """One mp_data and the arrays behind it.

    Parameters
    ----------
    network : CNetwork
    inputs : ndarray (n, n_inputs) of the network's dtype
        C-contiguous; stays where it is, so it may be a memory map.
    labels : ndarray (n,) int64, optional
        0 .. n_outputs - 1.
    targets : ndarray (n, n_outputs) float64, optional
    pack : bool
        Whether to keep a copy of the inputs in the tile engine's order.
    """
    cdef mp_data c
    cdef readonly int64_t c_inputs, c_outputs
    cdef readonly object dtype, inputs, labels, targets
    cdef object tiles

    def __init__(self, CNetwork network, inputs, labels=None, targets=None, bint pack=True):
        self.c_inputs, self.c_outputs, self.dtype = network.c.n_inputs, network.c.n_outputs, network.dtype
        self.inputs, self.labels, self.targets = inputs, labels, targets
        self.c.n = len(inputs) if np.ndim(inputs) else 0
        self.c.inputs = checked("inputs", inputs, network.dtype, (self.c.n, network.c.n_inputs))
        if labels is not None:
            self.c.labels = <const int64_t *>checked("labels", labels, np.int64, (self.c.n,))
            if self.c.n and not (0 <= labels.min() and labels.max() < network.c.n_outputs):
                raise InputError(f"labels: expected integers in 0..{network.c.n_outputs - 1}, got "
                                 f"{labels.min()}..{labels.max()}")
        if targets is not None:
            self.c.targets = <const double *>checked("targets", targets, np.float64, (self.c.n, network.c.n_outputs))
        cdef size_t size = mp_network_packed_size(&network.c, self.c.n)
        cdef void *packed
        if pack and size:
            self.tiles = aligned(size)
            packed = cnp.PyArray_DATA(<cnp.ndarray>self.tiles)
            with nogil:
                mp_network_pack(&network.c, self.c.n, self.c.inputs, packed)
            self.c.tiles = packed

    @property
    def address(self):
        return <uintptr_t>&self.c

    @property
    def n(self):
        return self.c.n

    cdef bint fits(self, CNetwork network):
        return (self.c_inputs == network.c.n_inputs and self.c_outputs == network.c.n_outputs
                and self.dtype == network.dtype)

    cdef int check_answers(self, CLoss loss) except -1:
        """Raise where the loss compares with what is not there."""
        if loss.c.kind == MP_MULTICLASS:
            if self.labels is None:
                raise InputError("data: this loss needs labels, and the data have none")
        elif self.targets is None:
            raise InputError("data: this loss needs targets, and the data have none")
        return 0


cdef class CLoss:
    """One mp_loss; `kind` is a key of LOSSES.

    Parameters
    ----------
    kind : str
    scale : float
        Precision of the noise (regression).
    row, context : int
        Address of an mp_row_loss_fn and of what it gets last (user losses).
    keep_alive : object
        Held as long as this object lives.
    """
    cdef mp_loss c
    cdef readonly str kind
    cdef object keep_alive

    def __init__(self, str kind, double scale=1.0, uintptr_t row=0, uintptr_t context=0, keep_alive=None):
        if kind not in LOSSES:
            raise InputError(f"kind: expected one of {', '.join(map(repr, LOSSES))}, got {kind!r}")
        if not 0 < scale < INFINITY:
            raise InputError(f"scale: expected a finite number > 0, got {scale}")
        if (kind == "user") != (row != 0):
            raise InputError("row: expected an address for the kind 'user' and none for the others")
        self.kind, self.keep_alive = kind, keep_alive
        self.c.kind = LOSSES[kind]
        self.c.scale = scale
        self.c.row = <mp_row_loss_fn>row
        self.c.context = <void *>context

    @property
    def address(self):
        return <uintptr_t>&self.c

    @property
    def scale(self):
        return self.c.scale


def posterior_templates():
    """Addresses of the posterior's mp_density for losses without and with second derivatives."""
    return <uintptr_t>&mp_posterior_first_order, <uintptr_t>&mp_posterior_second_order
