"""The C contract: the installed headers and library serve C, C++ and Cython, and lay records out as NumPy does."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import micropolis as mp
from micropolis.adaptation.rule import ADAPTATION
from micropolis.protocol import INFO_HEAD, KERNELS, OPTIONS_HEAD

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

HERE = Path(__file__).parent
INCLUDE = ["-I", mp.get_include(), "-I", np.get_include()]
LIBRARY = [f"{mp.get_library_dir()}/libmicropolis.a", "-lm"]
HEADERS = sorted(str(path.relative_to(mp.get_include())) for path in Path(mp.get_include()).rglob("*.h"))
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
FLAGS = ["-O2", "-ffp-contract=off"]


def run(*command):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_there_are_headers():
    assert {"micropolis/density.h", "micropolis/kernel.h", "micropolis/random.h", "common/chain.h"} <= set(HEADERS)
    for name, cls in KERNELS.items():
        assert f"{cls.family}/{name}.h" in HEADERS


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("language", ["c", "c++"])
def test_headers_stand_alone(header, language, tmp_path):
    compiler = {"c": ["gcc", "-std=c11"], "c++": ["g++", "-std=c++17"]}[language]
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    source = tmp_path / f"includes.{language.replace('++', 'pp')}"
    source.write_text(f"#include <{header}>\n#include <{header}>\nint main(void) {{ return 0; }}\n")
    run(*compiler, *WARNINGS, *INCLUDE, "-fsyntax-only", source)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("contract") / "contract"
    run("gcc", "-std=c11", *WARNINGS, *FLAGS, *INCLUDE, HERE / "c/contract.c", *LIBRARY, "-o", path)
    run("gcc", "-std=c11", "-DCONTRACT_LIBRARY", "-shared", "-fPIC", *FLAGS, *INCLUDE, HERE / "c/contract.c", "-o",
        path.with_suffix(".so"))  # fmt: skip
    return path


CONTRACT_KERNELS = {
    "nuts": mp.NUTS(step_size=0.4, inverse_mass=[1.0, 4.0]),
    "hmc": mp.HMC(0.4, 5, inverse_mass=[1.0, 4.0], jitter=0.5),
    "splitting": mp.SplitHMC(0.4, 5, inverse_mass=[1.0, 4.0], jitter=0.5),
    "langevin": mp.MALA(0.4, inverse_mass=[1.0, 4.0]),
    "riemannian_nuts": mp.RMNUTS(0.4, max_depth=6),
    "riemannian": mp.RMHMC(0.4, 5, jitter=0.5),
    "random_walk": mp.RandomWalk(scale=[0.4, 0.8], target_accept=None),
}


def draws_of(program, kernel, n, seed):
    words = np.random.SFC64(np.random.SeedSequence(seed).spawn(1)[0]).state["state"]["state"]
    lines = run(program, kernel, n, *map(int, words)).split()
    return np.array([float.fromhex(word) for word in lines]).reshape(n, 2)


def density_of(program):
    library = ctypes.CDLL(str(program.with_suffix(".so")))
    slope = np.array([0.5])
    address = ctypes.cast(library.contract_logp_grad, ctypes.c_void_p).value
    return mp.Density.from_pointer(address, 2, user_data=slope, keep_alive=library)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_c_program_draws_what_python_draws(program, kernel):
    """The same density, generator and options: the same bits."""
    trace = mp.sample(
        density_of(program), CONTRACT_KERNELS[kernel], draws=500, warmup=0, chains=1, init=[0.5, -0.25], seed=11,
        progress=False,
    )  # fmt: skip
    # a random walk's scale (0.4, 0.8) is 0.4 times (1, 2) up to rounding
    expected, got = trace.draws[0], draws_of(program, kernel, 500, 11)
    if kernel == "random_walk":
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    else:
        np.testing.assert_array_equal(got, expected)


def test_c_program_samples_the_target(program):
    """Variances 1 and 4 + 0.5^2, covariance 0.5, within five standard errors of 20,000 nearly independent draws."""
    draws = draws_of(program, "nuts", 20_000, 12)
    cov = np.array([[1.0, 0.5], [0.5, 4.25]])
    ess = 0.3 * len(draws)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0)), 5 * np.sqrt(np.diag(cov) / ess))
    error = np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / ess)
    np.testing.assert_array_less(np.abs(np.cov(draws.T) - cov), 5 * error)


def test_cpp_program_links(program, tmp_path):
    """The headers declare C linkage."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    source = tmp_path / "contract.cpp"
    source.write_text((HERE / "c/contract.c").read_text())
    run("g++", "-std=c++17", "-fpermissive", "-w", *FLAGS, *INCLUDE, source, *LIBRARY, "-o", tmp_path / "contract")
    np.testing.assert_array_equal(draws_of(tmp_path / "contract", "nuts", 50, 3), draws_of(program, "nuts", 50, 3))


def test_cython_module(tmp_path):
    pytest.importorskip("Cython")
    (tmp_path / "contract.pyx").write_text((HERE / "c/contract.pyx").read_text())
    run(sys.executable, "-m", "cython", "-3", tmp_path / "contract.pyx")
    target = tmp_path / f"contract{sysconfig.get_config_var('EXT_SUFFIX')}"
    run("gcc", "-shared", "-fPIC", "-O1", "-ffp-contract=off", "-DNPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION", *INCLUDE,
        "-I", sysconfig.get_path("include"), tmp_path / "contract.c", *LIBRARY, "-o", target)  # fmt: skip
    spec = importlib.util.spec_from_file_location("contract", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    density = mp.Density.from_pointer(module.address(), 3)
    assert density([1.0, 2.0, 3.0]) == -7.0
    kernel = mp.NUTS(step_size=0.9, inverse_mass=np.ones(3))
    trace = mp.sample(density, kernel, draws=300, warmup=0, chains=1, init=np.zeros(3), seed=5, progress=False)
    stream = np.random.SFC64(np.random.SeedSequence(5).spawn(1)[0])
    np.testing.assert_array_equal(module.sample(stream, np.zeros(3), 0.9, 300), trace.draws[0])


# -- records ---------------------------------------------------------------------------------------------------------


def layout(header, struct, fields, tmp_path):
    """(size, offsets) of a C struct."""
    prints = "\n".join(f'  printf("%zu\\n", offsetof({struct}, {field}));' for field in fields)
    source = tmp_path / "layout.c"
    source.write_text(
        f"#include <{header}>\n#include <stddef.h>\n#include <stdio.h>\n"
        f'int main(void) {{\n  printf("%zu\\n", sizeof({struct}));\n{prints}\n  return 0;\n}}\n'
    )
    run("gcc", "-std=c11", *INCLUDE, source, "-o", tmp_path / "layout")
    size, *offsets = map(int, run(tmp_path / "layout").split())
    return size, offsets


def offsets_of(dtype):
    return [dtype.fields[name][1] for name in dtype.names]


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_records_are_laid_out_as_their_dtypes(name, tmp_path):
    cls = KERNELS[name]
    for kind, dtype, head, member in (
        ("options", cls.OPTIONS, OPTIONS_HEAD, "tuning"),
        ("info", cls.INFO, INFO_HEAD, "head"),
    ):
        own = dtype.names[len(head) :]
        fields = [f"{member}.{field}" for field, _ in head] + list(own)
        size, offsets = layout(f"{cls.family}/{name}.h", f"mp_{name}_{kind}", fields, tmp_path)
        assert (size, offsets) == (dtype.itemsize, offsets_of(dtype))


def test_warm_up_rule_is_laid_out_as_its_dtype(tmp_path):
    size, offsets = layout("common/adaptation.h", "mp_adaptation", ADAPTATION.names, tmp_path)
    assert (size, offsets) == (ADAPTATION.itemsize, offsets_of(ADAPTATION))
