"""backend="cuda" in Numba's simulator gives the chains of the CPU bit for bit; its kernels type-check for real CUDA."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import micropolis as mp
from micropolis.chains import ChainJob
from micropolis.errors import KernelError
from micropolis.sfc64 import sfc64_random

pytest.importorskip("numba_cuda")

PRELUDE = f"""
import sys, warnings
sys.path.insert(0, {str(Path(mp.__file__).parents[1])!r})
import numpy as np
import micropolis as mp
warnings.simplefilter("ignore")
"""

SIMULATOR = """
def normal(x, grad, data):
    logp = 0.0
    for i in range(x.size):
        grad[i] = -x[i] / data[i]
        logp += 0.5 * x[i] * grad[i]
    return logp

def same(kernel, target, **options):
    options = {"draws": 5, "warmup": 20, "chains": 2, "seed": 5, **options}
    a, b = (mp.sample(target, kernel, backend=backend, **options) for backend in ("c", "cuda"))
    assert a.draws.tobytes() == b.draws.tobytes(), kernel
    for one, other in ((a.stats, b.stats), (a.warmup_stats, b.warmup_stats)):
        for field in one.dtype.names:
            assert np.array_equal(one[field], other[field], equal_nan=True), (kernel, field)
    for one, other in zip(a.states, b.states):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    for one, other in zip(a.adaptation, b.adaptation):
        assert one["step_size"] == other["step_size"] and one["scale"].tobytes() == other["scale"].tobytes()
    assert repr(a.rng_states) == repr(b.rng_states)

funnel, numba = mp.densities.Funnel(3), mp.Density.from_numba(normal, 9, np.linspace(0.5, 2.0, 9))
for kernel in (mp.RandomWalk(covariance="dense"), mp.RandomWalk(temperature=[3.0, 1.0]), mp.MALA(),
               mp.HMC(0.2, 3, target_accept=0.8, jitter=0.5), mp.NUTS(max_depth=4),
               mp.SplitHMC(0.2, 3, target_accept=0.8, jitter=0.5)):
    same(kernel, funnel)
same(mp.NUTS(metric="dense", max_depth=4), numba)
same(mp.HMC(2.0, 3), funnel, thin=2, chains=3, dtype="float32")
same(mp.MALA(0.3), mp.densities.Gaussian([0.0], std=[1.0]), warmup=0, draws=0)

interrupted = mp.sample(funnel, mp.HMC(0.2, 3), draws=4, warmup=3, chains=2, seed=5, backend="cuda")
whole = mp.sample(funnel, mp.HMC(0.2, 3), draws=8, warmup=3, chains=2, seed=5, backend="c")
more = mp.resume(interrupted, draws=4)
assert np.concatenate([interrupted.draws, more.draws], axis=1).tobytes() == whole.draws.tobytes()
print("equal")
"""

# Compiling a device function asks for the device first, so one is made up; what then fails is the search for NVIDIA's
# compiler, which comes after typing and lowering.
COMPILE = """
import numba.cuda.dispatcher
from numba import cuda
from numba.cuda.typing.typeof import Purpose, typeof
from micropolis import cuda as backend
from micropolis.adaptation.rule import ADAPTATION

class Device:
    compute_capability = (8, 0)

numba.cuda.dispatcher.get_current_device = Device
n, dim, words = 2, 3, np.zeros(2, np.int64)
density = mp.densities.Gaussian(np.zeros(dim), std=np.ones(dim))
for kernel, adapting in ((mp.RandomWalk, 1), (mp.MALA, 1), (mp.HMC, 1), (mp.SplitHMC, 1), (mp.NUTS, 0)):
    state = tuple(np.zeros((n, *b.shape(dim)), b.dtype) for b in kernel.BUFFERS)
    plane = np.zeros((n, 4))
    arguments = (
        np.zeros(n, kernel.OPTIONS), plane, np.zeros(1), density.readable[1], np.zeros((n, 4), np.uint64), state,
        np.zeros((n, 4, dim)), np.zeros(1, ADAPTATION), plane, plane, 1, np.zeros((n, 2, dim)),
        np.zeros((n, 2), kernel.INFO), words, words, np.zeros((n, 1), np.int32), np.zeros((n, 2), np.int64), words,
    )
    signature = tuple(typeof(argument, Purpose.argument) for argument in arguments)
    function = backend.make_kernel(kernel, density.readable[0], jit=lambda f: f)[1 - adapting]
    try:
        code = cuda.compile(function, signature, device=False, abi="numba", cc=(8, 0))[0]
        assert ".entry" in code
    except Exception as error:
        assert type(error).__name__ in ("DynamicLibNotFoundError", "NvvmSupportError"), error
print("typed")
"""


def run(code, simulator):
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": str(simulator)}
    command = [sys.executable, "-P", "-c", PRELUDE + code]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout.strip()


def test_chains_in_the_simulator_are_those_of_the_cpu():
    assert run(SIMULATOR, 1) == "equal"


def test_kernels_have_types_on_a_real_device():
    assert run(COMPILE, 0) == "typed"


@pytest.mark.parametrize("seed", [1, 2])
def test_stream_is_that_of_numpy(seed):
    """10^6 normals reach the wedges of the ziggurat and its tail (one in 4000)."""
    numba = pytest.importorskip("numba")
    generator = np.random.SFC64(seed)
    stream, random = generator.state["state"]["state"].copy(), sfc64_random(numba.njit)
    normal, uniform = random

    @numba.njit
    def fill(stream, normals, uniforms):
        for i in range(normals.size):
            normals[i] = normal(stream)
        for i in range(uniforms.size):
            uniforms[i] = uniform(stream)

    normals, uniforms = np.empty(1_000_000), np.empty(1000)
    fill(stream, normals, uniforms)
    expected = np.random.Generator(generator)
    np.testing.assert_array_equal(normals, expected.standard_normal(normals.size))
    np.testing.assert_array_equal(uniforms, expected.random(uniforms.size))
    np.testing.assert_array_equal(stream, generator.state["state"]["state"])

    interpreted = sfc64_random(lambda f: f)
    assert [interpreted.normal(stream) for _ in range(2000)] == expected.standard_normal(2000).tolist()


def test_errors_say_what_to_do():
    from numba import cuda

    target, opaque = mp.densities.Funnel(3), mp.Density.from_callable(lambda x: -x @ x, 2)
    with pytest.raises(KernelError, match="from_numba"):
        mp.sample(opaque, mp.HMC(), backend="cuda", draws=1, warmup=0, chains=1)
    if not cuda.is_available():
        with pytest.raises(KernelError, match="no CUDA device"):
            mp.sample(target, mp.HMC(), backend="cuda", draws=1, warmup=0, chains=1)


@pytest.mark.parametrize("backend", ["cuda", "c"])
def test_ctrl_c_leaves_the_host_side_of_cuda_chains_alone(backend):
    """What comes before the first draw is made by the host for all of them, and has no draw to go back to."""
    job = ChainJob(0, mp.HMC(0.1, 2), mp.densities.Gaussian([0.0]), np.random.SFC64(1), 0, backend)
    job.break_off()
    assert job.handle.stopped == (backend == "c")
    assert job.handle.call_logp_grad(np.zeros(1), np.empty(1))[0] == (-1 if backend == "c" else 0)
