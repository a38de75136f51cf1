"""What every family's extension module shares: a chain's C struct filled from arrays, and the loop without the GIL."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy

cimport numpy as cnp
import numpy as np

from micropolis.protocol import own_flags

cnp.import_array()

cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void *state
        uint64_t (*next_uint64)(void *) nogil

cdef extern from "common/stream.h" nogil:
    ctypedef struct mp_sfc64:
        uint64_t a
        uint64_t b
        uint64_t c
        uint64_t counter
    uint64_t (*mp_numpy_sfc64)(void *)
    uint64_t mp_sfc64_next(mp_sfc64 *)

cdef extern from "micropolis/kernel.h" nogil:
    ctypedef struct mp_density:
        size_t dim
    ctypedef struct mp_info:
        pass
    ctypedef struct mp_state:
        size_t n_buffers
        void **buffers
        void **spare
    ctypedef struct mp_tuning:
        pass
    ctypedef int (*mp_step_fn)(const void *, const mp_density *, bitgen_t *, mp_state *, double *, mp_info *)
    ctypedef size_t (*mp_work_size_fn)(const void *, size_t)
    int mp_state_init(const mp_density *, mp_state *, double *)
    void mp_standard_normal(bitgen_t *, size_t, double *)
    double mp_uniform(bitgen_t *)

cdef extern from "common/chain.h" nogil:
    ctypedef struct mp_adaptation:
        pass
    ctypedef struct mp_chain:
        mp_step_fn step
        void *options
        const mp_density *density
        bitgen_t *rng
        mp_state state
        double *places
        double *work
        int64_t thin
        double *draws
        float *draws_float
        char *stats
        size_t info_size
        size_t n_flags
        size_t *flags
        const mp_adaptation *adaptation
        double *memory
        double *adaptation_work
        const int32_t *control
        int64_t *progress
    size_t mp_places_size(size_t)
    int mp_chain_run(mp_chain *, int64_t, int64_t)
    size_t mp_adaptation_size(const mp_adaptation *, size_t)
    size_t mp_adaptation_work_size(const mp_adaptation *, size_t)
    int mp_adaptation_start(const mp_adaptation *, mp_tuning *, const mp_density *, bitgen_t *, const mp_state *,
                            double *, double *)
    enum:
        MAX_BUFFERS "MP_MAX_BUFFERS"

cdef enum:
    LONG = 1 << 14  # shorter vectors are copied within the second cache


cdef inline uintptr_t address(object array) except? 0:
    """Address of an array's first byte; 0 for None."""
    return 0 if array is None else <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray?>array)


cdef bint looked_at_sfc64 = False


cdef void recognise_sfc64():
    """Let kernels draw from NumPy's SFC64 inline, once it is seen that its memory and its numbers are what they take them for."""
    global mp_numpy_sfc64, looked_at_sfc64
    cdef bitgen_t *rng
    cdef mp_sfc64 words
    looked_at_sfc64 = True
    generator = np.random.SFC64(1)
    rng = <bitgen_t *>PyCapsule_GetPointer(generator.capsule, "BitGenerator")
    memcpy(&words, rng.state, sizeof(words))
    if [words.a, words.b, words.c, words.counter] != generator.state["state"]["state"].tolist():
        return
    if [mp_sfc64_next(&words) for _ in range(4)] == generator.random_raw(4).tolist():
        mp_numpy_sfc64 = rng.next_uint64


def inlines_sfc64():
    """Whether kernels draw from NumPy's SFC64 inline, and not by calls through its pointers."""
    if not looked_at_sfc64:
        recognise_sfc64()
    return mp_numpy_sfc64 != NULL


cdef class Chain:
    """One chain of one kernel: pointers into arrays that Python owns.

    Parameters
    ----------
    name : str
        The algorithm.
    options : structured array (1,)
        The kernel's OPTIONS record, its pointers filled in.
    density : CDensity
    bit_generator : numpy.random.BitGenerator
    buffers : list of array
        The state's buffers in the order in which the kernel declares them.
    adaptation : structured array (1,) or None
        The ADAPTATION record of the warm-up rule.
    memory : array or None
        What the warm-up remembers; allocated here when None.
    """
    cdef mp_chain c
    cdef void *pointers[MAX_BUFFERS]
    cdef object keep_alive
    cdef readonly object memory

    def __init__(self, str name, object options, object density, object bit_generator, list buffers,
                 object adaptation=None, object memory=None):
        cdef size_t size, i, dim = density.dim
        step, work_size, options_size, info_size = kernels()[name]
        if options.dtype.itemsize != options_size:
            raise ValueError(f"{name}: options record of {options.dtype.itemsize} bytes, the C struct has {options_size}")
        if len(buffers) > MAX_BUFFERS:
            raise ValueError(f"{name}: more than {MAX_BUFFERS} state buffers")
        self.c.step = <mp_step_fn><uintptr_t>step
        self.c.options = <void *><uintptr_t>address(options)
        self.c.density = <const mp_density *><uintptr_t>density.address
        if not looked_at_sfc64:
            recognise_sfc64()
        self.c.rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        for i, buffer in enumerate(buffers):
            self.pointers[i] = <void *><uintptr_t>address(buffer)
        self.c.state.n_buffers = len(buffers)
        self.c.state.buffers = self.pointers
        self.c.info_size = info_size
        places = None
        if name == "hmc" and dim >= LONG:
            places = aligned(mp_places_size(dim))
            self.c.places = <double *><uintptr_t>address(places)
        size = (<mp_work_size_fn><uintptr_t>work_size)(self.c.options, dim)
        work = aligned(size)
        self.c.work = <double *><uintptr_t>address(work)
        adaptation_work = None
        if adaptation is not None:
            self.c.adaptation = <const mp_adaptation *><uintptr_t>address(adaptation)
            size = mp_adaptation_size(self.c.adaptation, dim)
            if memory is None:
                memory = np.zeros(size)
            if memory.shape != (size,):
                raise ValueError(f"{name}: warm-up memory of shape {memory.shape}, expected ({size},)")
            adaptation_work = aligned(mp_adaptation_work_size(self.c.adaptation, dim))
            self.c.adaptation_work = <double *><uintptr_t>address(adaptation_work)
            self.c.memory = <double *><uintptr_t>address(memory)
        self.memory = memory
        self.keep_alive = (options, density, bit_generator, buffers, adaptation, memory, places, work, adaptation_work)

    def init_state(self, object grad):
        """Fill logp and grad from x; `grad` is the state's buffer or scratch. An mp_status."""
        cdef double *out = <double *><uintptr_t>address(grad)
        cdef int status
        with nogil:
            status = mp_state_init(self.c.density, &self.c.state, out)
        return status

    def start_adaptation(self):
        """Metric and step size from the initial point. An mp_status."""
        cdef int status
        with nogil:
            status = mp_adaptation_start(self.c.adaptation, <mp_tuning *>self.c.options, self.c.density, self.c.rng,
                                         &self.c.state, self.c.memory, self.c.adaptation_work)
        return status

    def run_block(self, int64_t start, int64_t stop, object draws, object stats, const int32_t[::1] control,
                  int64_t[::1] progress, int64_t thin=1):
        """Draws start .. stop - 1 into this chain's rows `draws` (n, dim) or None, and `stats` (n,). An mp_status."""
        cdef int status
        self.c.thin = thin
        self.c.draws = NULL
        self.c.draws_float = NULL
        if draws is not None:
            if draws.dtype == np.float64:
                self.c.draws = <double *><uintptr_t>address(draws)
            else:
                self.c.draws_float = <float *><uintptr_t>address(draws)
        if stats.dtype.itemsize != self.c.info_size:
            raise ValueError(f"info record of {stats.dtype.itemsize} bytes, the C record has {self.c.info_size}")
        self.c.stats = <char *><uintptr_t>address(stats)
        self.c.n_flags = 0
        for name in own_flags(stats.dtype):
            self.c.flags[self.c.n_flags] = stats.dtype.fields[name][1]
            self.c.n_flags += 1
        self.c.control = &control[0]
        self.c.progress = &progress[0]
        with nogil:
            status = mp_chain_run(&self.c, start, stop)
        return status


cdef object aligned(size_t n):
    """n zeros, 64-byte aligned."""
    raw = np.zeros(n + 8)
    offset = (-<uintptr_t>address(raw) % 64) // 8
    return raw[offset:offset + n]
