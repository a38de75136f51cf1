"""A density written in C: compiled against micropolis' headers, loaded by ctypes, sampled without the interpreter."""

import ctypes
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import micropolis as mp


class Student(ctypes.Structure):
    """user_data of student.c."""

    _fields_ = [("degrees", ctypes.c_double)]


with tempfile.TemporaryDirectory() as folder:
    library = Path(folder) / "student.so"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    source = Path(__file__).with_name("student.c")
    flags = ["-O2", "-shared", "-fPIC", f"-I{mp.get_include()}"]
    subprocess.run([*compiler, *flags, str(source), "-o", str(library), "-lm"], check=True)
    logp_grad = ctypes.CDLL(str(library)).student_logp_grad

double_p = ctypes.POINTER(ctypes.c_double)
logp_grad.restype = ctypes.c_int
logp_grad.argtypes = [ctypes.c_size_t, double_p, double_p, double_p, ctypes.c_void_p]

density = mp.Density.from_pointer(logp_grad, dim=3, user_data=Student(5.0))
print("log density and gradient at (1, 0, -1):", density.value_and_grad([1.0, 0.0, -1.0]))
trace = mp.sample(density, mp.NUTS(), draws=2000, seed=1)
print(trace)
print("standard deviations", trace.draws.std(axis=(0, 1)), "; exactly", np.sqrt(5 / 3))
assert np.allclose(trace.draws.std(axis=(0, 1)), np.sqrt(5 / 3), rtol=0.15)
