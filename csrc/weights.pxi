"""Loops over a network's weights: C structs filled from arrays and from the objects of _neural, run without the GIL."""

cdef extern from "neural/network.h" nogil:
    ctypedef struct mp_network:
        pass
    ctypedef struct mp_data:
        int64_t n
        const void *inputs
        const void *tiles
        const int64_t *labels
        const double *targets
    ctypedef struct mp_loss:
        pass
    size_t mp_network_packed_size(const mp_network *, int64_t)
    int64_t mp_network_loss_sum(const mp_network *, const mp_loss *, const void *, const mp_data *, const int64_t *,
                                int64_t, double, double *, void *)

cdef extern from "metropolis/optimizer.h" nogil:
    ctypedef struct mp_schedule:
        const double *values
        int64_t n
        int64_t first
    ctypedef struct mp_step_record:
        pass
    ctypedef struct mp_weight_walk:
        const mp_network *network
        const mp_loss *loss
        const mp_data *data
        bitgen_t *rng
        mp_schedule lr
        mp_schedule temperature
        double tau
        int32_t sums
        int64_t step
        void *theta
        void *proposal
        double penalty
        double *normals
        void *work
    ctypedef struct mp_optimizer:
        mp_weight_walk walk
        int32_t early_rejection
        int32_t sorts
        int64_t age
        const mp_data *source
        mp_data arranged
        int64_t *order
        int64_t *spare
        double *losses
        double sum
        void *best
        double best_sum
    double mp_walk_penalty(const mp_weight_walk *, const void *)
    int mp_loss_is_nonnegative(const mp_loss *)
    void mp_optimizer_arrange(mp_optimizer *)
    void mp_optimizer_start(mp_optimizer *)
    void mp_optimizer_run(mp_optimizer *, int64_t, mp_step_record *, const int32_t *, int64_t *)

cdef extern from "metropolis/minibatch.h" nogil:
    ctypedef struct mp_minibatch:
        mp_weight_walk walk
        int32_t test
        double noise
        int64_t batch_size
        int64_t *permutation
        double *current
        double *proposed
    enum:
        MP_TEST_NAIVE, MP_TEST_BARKER, MP_TEST_EXACT
    void mp_minibatch_run(mp_minibatch *, int64_t, mp_step_record *, const int32_t *, int64_t *)
    double mp_barker_correction(double)
    uint64_t mp_bounded(bitgen_t *, uint64_t)

cdef extern from "metropolis/barker_correction.h":
    enum:
        MP_BARKER_ATOMS
    ctypedef struct mp_barker_atom:
        double value
        double weight
    const mp_barker_atom *mp_barker

TESTS = {"naive": MP_TEST_NAIVE, "barker": MP_TEST_BARKER, "exact": MP_TEST_EXACT}

# mp_step_record, field by field
STEP_RECORD = np.dtype([("sample_nll", "f8"), ("proposal_nll", "f8"), ("log_ratio", "f8"), ("variance", "f8"),
                        ("rows_used", "i8"), ("accept", "?"), ("non_finite", "?")], align=True)
if STEP_RECORD.itemsize != sizeof(mp_step_record):
    raise ImportError(f"mp_step_record has {sizeof(mp_step_record)} bytes, expected {STEP_RECORD.itemsize}")


def barker_table():
    """Atoms and weights of the Barker test's correction."""
    return (np.array([mp_barker[i].value for i in range(MP_BARKER_ATOMS)]),
            np.array([mp_barker[i].weight for i in range(MP_BARKER_ATOMS)]))


def barker_correction(const double[::1] uniforms):
    """X_corr at numbers in [0, 1)."""
    out = np.empty(uniforms.shape[0])
    cdef double[::1] values = out
    cdef Py_ssize_t i
    for i in range(uniforms.shape[0]):
        if not 0.0 <= uniforms[i] < 1.0:
            raise ValueError(f"uniforms: expected numbers in [0, 1), got {uniforms[i]}")
        values[i] = mp_barker_correction(uniforms[i])
    return out


def bounded(object bit_generator, uint64_t bound, uint64_t[::1] out):
    """Fill `out` with integers in 0 .. bound - 1."""
    cdef bitgen_t *rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
    cdef Py_ssize_t i
    if bound == 0:
        raise ValueError("bound: expected an integer > 0, got 0")
    with bit_generator.lock, nogil:
        for i in range(out.shape[0]):
            out[i] = mp_bounded(rng, bound)


cdef class WeightWalk:
    """Two weight vectors, a random stream, a network, a loss and data, and the memory that steps need.

    Parameters
    ----------
    network : CNetwork
    loss : CLoss
    data : CData
    bit_generator : numpy.random.BitGenerator
    theta : array (n_parameters,)
        Where to begin, of the network's dtype.
    tau : float
        Precision of the prior; 0 for none.
    sums : bool
    step : int
        Steps made before.
    """
    cdef mp_weight_walk *walk
    cdef object network, data, loss, bit_generator, vectors, schedules, keep_alive
    cdef readonly object dtype

    cdef int _prepare(self, mp_weight_walk *walk, network, loss, data, bit_generator, double tau, bint sums,
                      int64_t step) except -1:
        if not looked_at_sfc64:
            recognise_sfc64()
        self.walk = walk
        self.dtype = network.dtype
        walk.rng = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        walk.network = <const mp_network *><uintptr_t>network.address
        walk.loss = <const mp_loss *><uintptr_t>loss.address
        walk.data = <const mp_data *><uintptr_t>data.address
        walk.tau, walk.sums, walk.step = tau, sums, step
        self.vectors = [self._vector(network.n_parameters) for _ in range(2)]
        walk.theta = <void *><uintptr_t>address(self.vectors[0])
        walk.proposal = <void *><uintptr_t>address(self.vectors[1])
        normals, work = aligned(network.n_parameters), network.work(data.n)
        walk.normals = <double *><uintptr_t>address(normals)
        walk.work = <void *><uintptr_t>address(work)
        self.keep_alive = (network, loss, data, bit_generator, normals, work)
        return 0

    cdef object _vector(self, size_t n):
        """n zeros of the network's dtype, 64-byte aligned."""
        return aligned(n).view(self.dtype)[:n]

    @property
    def theta(self):
        """View of the current weights, until the next run."""
        return self.vectors[0 if <uintptr_t>self.walk.theta == address(self.vectors[0]) else 1]

    @property
    def step(self):
        """Steps made."""
        return self.walk.step

    @property
    def n(self):
        """Rows of the data."""
        return self.walk.data.n

    def loss_sum(self):
        """Sum of the losses at theta over all rows."""
        cdef double total
        with nogil:
            mp_network_loss_sum(self.walk.network, self.walk.loss, self.walk.theta, self.walk.data, NULL,
                                self.walk.data.n, INFINITY, &total, self.walk.work)
        return total

    def place(self, theta):
        """Go to `theta`."""
        self.theta[:] = theta
        self.walk.penalty = mp_walk_penalty(self.walk, self.walk.theta)

    def schedule(self, lr, int64_t lr_first, temperature, int64_t temperature_first):
        """Tables of step lengths and temperatures, float64, and the steps at which they begin."""
        self.schedules = (lr, temperature)
        self.walk.lr = mp_schedule(<const double *><uintptr_t>address(lr), len(lr), lr_first)
        self.walk.temperature = mp_schedule(<const double *><uintptr_t>address(temperature), len(temperature),
                                            temperature_first)

    cdef mp_step_record *_records(self, records) except NULL:
        if records.dtype != STEP_RECORD or not records.flags.c_contiguous:
            raise ValueError(f"records: expected a contiguous array of STEP_RECORD, got {records.dtype}")
        return <mp_step_record *><uintptr_t>address(records)


LARGEST_COPY = 2**28  # bytes of inputs that are copied, to have them in an order of our own


cdef class Optimizer(WeightWalk):
    """Full-batch Metropolis-Hastings; `place` and `start` come before the first `run`.

    Parameters as for `WeightWalk`, and `early_rejection`; `order` (n,) or None and `age` are what those of an earlier
    object on the same data were.
    """
    cdef mp_optimizer c
    cdef object best_vector, copies

    def __init__(self, network, loss, data, bit_generator, double tau, bint sums, int64_t step, bint early_rejection,
                 order=None, int64_t age=0):
        self._prepare(&self.c.walk, network, loss, data, bit_generator, tau, sums, step)
        self.best_vector = self._vector(network.n_parameters)
        self.c.best = <void *><uintptr_t>address(self.best_vector)
        self.c.sorts = mp_loss_is_nonnegative(self.c.walk.loss)
        self.c.early_rejection = early_rejection and self.c.sorts
        self.c.source, self.c.age = self.c.walk.data, age
        if data.inputs.nbytes > LARGEST_COPY:
            self.c.sorts = False
        else:
            self._copy(network, data, order)

    cdef int _copy(self, network, data, order) except -1:
        """Memory for rows in another order than the source's."""
        cdef mp_data *to = &self.c.arranged
        cdef size_t packed = mp_network_packed_size(self.c.walk.network, data.n)
        rows = np.arange(data.n) if order is None else np.array(order, dtype=np.int64)
        if not np.array_equal(np.sort(rows), np.arange(data.n)):
            raise ValueError(f"order: expected the numbers 0..{data.n - 1}, each once")
        inputs, tiles = np.empty_like(data.inputs), aligned((packed + 7) // 8)
        labels = None if data.labels is None else np.empty_like(data.labels)
        targets = None if data.targets is None else np.empty_like(data.targets)
        spare, losses = np.empty_like(rows), np.empty(data.n)
        self.copies = (rows, inputs, tiles, labels, targets, spare, losses)
        to.n = data.n
        to.inputs = <const void *><uintptr_t>address(inputs)
        to.tiles = <const void *><uintptr_t>address(tiles) if packed else NULL
        to.labels = <const int64_t *><uintptr_t>address(labels)
        to.targets = <const double *><uintptr_t>address(targets)
        self.c.order = <int64_t *><uintptr_t>address(rows)
        self.c.spare = <int64_t *><uintptr_t>address(spare)
        self.c.losses = <double *><uintptr_t>address(losses)
        with nogil:
            mp_optimizer_arrange(&self.c)
        self.c.walk.data = to
        return 0

    @property
    def order(self):
        """Row of the data at each place, or None where they stay in their order."""
        return None if self.copies is None else self.copies[0].copy()

    @property
    def age(self):
        """Steps made on these data."""
        return self.c.age

    def start(self):
        """Sum of the losses at theta, which is the best there is."""
        with nogil:
            mp_optimizer_start(&self.c)
        return self.c.sum

    @property
    def early_rejection(self):
        """Whether proposals are given up early: wanted, and no loss can be negative."""
        return bool(self.c.early_rejection)

    @property
    def sum(self):
        """Sum of the losses at theta, as it was when theta was accepted."""
        return self.c.sum

    @sum.setter
    def sum(self, double value):
        self.c.sum = value

    @property
    def best(self):
        """(weights, sum of the losses) of the best model."""
        return self.best_vector.copy(), self.c.best_sum

    @best.setter
    def best(self, value):
        self.best_vector[:], self.c.best_sum = value

    def run(self, records, const int32_t[::1] control, int64_t[::1] progress):
        """Steps into `records`, until control[0] is not 0; progress: steps made, accepted ones among them."""
        cdef mp_step_record *out = self._records(records)
        cdef int64_t n = len(records)
        with nogil:
            mp_optimizer_run(&self.c, n, out, &control[0], &progress[0])


cdef class Minibatch(WeightWalk):
    """Minibatch Metropolis-Hastings; `place` comes before the first `run`."""
    cdef mp_minibatch c
    cdef readonly object permutation
    cdef object losses

    def __init__(self, network, loss, data, bit_generator, double tau, bint sums, int64_t step, str test, double noise,
                 cnp.ndarray permutation):
        self._prepare(&self.c.walk, network, loss, data, bit_generator, tau, sums, step)
        if permutation.dtype != np.int64 or not np.array_equal(np.sort(permutation), np.arange(data.n)):
            raise ValueError(f"permutation: expected the numbers 0..{data.n - 1} as int64, each once")
        self.permutation = np.array(permutation)
        self.losses = np.empty((2, data.n))
        self.c.test, self.c.noise = TESTS[test], noise
        self.c.permutation = <int64_t *><uintptr_t>address(self.permutation)
        self.c.current = <double *><uintptr_t>address(self.losses[0])
        self.c.proposed = <double *><uintptr_t>address(self.losses[1])

    def run(self, records, int64_t batch_size, const int32_t[::1] control, int64_t[::1] progress):
        """As Optimizer.run, on minibatches of 1 .. n rows."""
        cdef mp_step_record *out = self._records(records)
        cdef int64_t n = len(records)
        if not 1 <= batch_size <= self.c.walk.data.n:
            raise ValueError(f"batch_size: expected an integer in 1..{self.c.walk.data.n}, got {batch_size}")
        self.c.batch_size = batch_size
        with nogil:
            mp_minibatch_run(&self.c, n, out, &control[0], &progress[0])
