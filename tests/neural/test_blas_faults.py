"""The BLAS engine reads nothing behind the caller's inputs, gives back threads, and pooling keeps a NaN."""

import os
import subprocess
import sys

import numpy as np
import pytest

from micropolis.neural import Conv2d, MaxPool2d, Sequential

# inputs that end where readable memory ends: one element further kills the process
BEYOND = """
import ctypes
import numpy as np
from micropolis.neural import Linear, Sequential, Tanh
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
page = 4096
base = libc.mmap(None, 2 * page, 3, 0x22, -1, 0)
assert libc.mprotect(base + page, page, 0) == 0
size = 3 * 8 * 8
X = np.frombuffer((ctypes.c_char * size).from_address(base + page - size)).reshape(3, 8)
net = Sequential(Tanh(), Linear(8, 2), engine="blas")
data = net.data(X, [0, 1, 0], pack=False)
assert data.inputs.ctypes.data == X.ctypes.data
print(net.bind().forward(net.parameters, data).shape)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mmap and mprotect by their Linux constants")
def test_an_activation_in_front_reads_no_further_than_the_data():
    done = subprocess.run([sys.executable, "-c", BEYOND], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "(3, 2)\n"), done.stderr


# a network at work in another thread, whose library is asked in forked processes before and after a call of their own
FORKED = """
import ctypes, os, threading
import numpy as np
from micropolis.hamiltonian.riemannian import openblas_threads
from micropolis.neural import Linear, Sequential, Tanh
address = openblas_threads()[0]
if not address or (all_of_them := (threads := ctypes.CFUNCTYPE(ctypes.c_int)(address))()) == 1:
    print("one")
    raise SystemExit
net, X, seen, ended = Sequential(Linear(784, 300), Tanh(), Linear(300, 10)), np.ones((2000, 784)), set(), []

def work():
    while not ended:
        net(X)

worker = threading.Thread(target=work)
worker.start()
while seen <= {0}:  # forked between two calls
    child = os.fork()
    if child == 0:
        held, _ = threads() == 1, net(X[:10])
        os._exit(held + 2 * (threads() != all_of_them))
    seen.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ended.append(True)
worker.join()
print(seen <= {0, 1})
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_under_a_network_gets_the_threads_back():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if done.stdout == "one\n":
        pytest.skip("a library of one thread")
    assert done.stdout == "True\n"


@pytest.mark.parametrize(("side", "size"), [(2, 2), (8, 2), (3, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pooling_keeps_a_nan_wherever_it_stands(dtype, side, size):
    """Two channels overflow to infinity at one place and are subtracted: NaN there, numbers elsewhere."""
    layers = Conv2d(1, 2, 1), Conv2d(2, 1, 1)
    before = Sequential(*layers, input_shape=(1, side, side), dtype=dtype)
    pooled = Sequential(*layers, MaxPool2d(size), input_shape=(1, side, side), dtype=dtype)
    before.parameters = pooled.parameters = np.array([10, 10, 0, 0, 1, -1, 0], dtype)
    for place in range(side * side):
        x = np.ones((1, 1, side, side), dtype)
        x.flat[place] = np.finfo(dtype).max
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(before(x))), [place])
        assert np.isnan(pooled(x)).sum() == 1
