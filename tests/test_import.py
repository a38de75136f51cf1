"""What `import micropolis` costs and shows: no optional package, no SciPy, and every public name."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import micropolis as mp

HEAVY = {"numba", "sklearn", "matplotlib", "arviz", "scipy", "tqdm", "pandas", "llvmlite"}
PARAMETERS = ("Real", "Positive", "Interval", "Ordered", "Simplex", "Lower", "Upper", "CorrelationCholesky")
NAMES = ("Density", "sample", "resume", "Trace", "init", "step", "densities", "errors", "kernels", *PARAMETERS)
KERNELS = ("RandomWalk", "MALA", "HMC", "NUTS", "RMHMC", "RMNUTS")


def loaded_by(code):
    """Top-level packages in sys.modules after running code in a fresh interpreter."""
    code += "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    # -P: not the folder we happen to be in, and the same micropolis as here
    code = f"import sys; sys.path.insert(0, {str(Path(mp.__file__).parents[1])!r}); {code}"
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import micropolis",
        "import micropolis as mp; mp.sample(mp.densities.Gaussian([0.0]), mp.NUTS(), draws=10, warmup=10, chains=1)",
    ],
)
def test_import_and_a_run_load_nothing_optional(code):
    assert loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("name", [*NAMES, *KERNELS])
def test_public_names(name):
    assert getattr(mp, name) is not None
    assert name in dir(mp)


def test_every_listed_name_exists():
    for name in mp.__all__:
        assert getattr(mp, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Nuts'"):
        mp.Nuts  # noqa: B018


def test_array_kernels_and_errors():
    from micropolis.kernels import leapfrog, metropolis_accept

    assert callable(leapfrog)
    assert callable(metropolis_accept)
    assert issubclass(mp.errors.InputError, mp.errors.MicropolisError)
    assert issubclass(mp.errors.InputError, ValueError)


def test_the_package_is_typed():
    folder = Path(mp.__file__).parent
    assert (folder / "py.typed").exists()
    compiled = {path.name.split(".")[0] for path in folder.glob("*.so")}
    assert compiled
    assert compiled | {"__init__"} == {path.stem for path in folder.glob("*.pyi")}


@pytest.mark.parametrize("package", ["micropolis", "micropolis.neural", "micropolis.estimators"])
def test_names_loaded_on_first_use_have_types(package):
    """Type checkers and editors take the stub for what the package has: the same names from the same modules."""
    module = importlib.import_module(package)
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    imported = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    assert all(alias.asname == alias.name for node in imported for alias in node.names)  # a re-export
    typed = {alias.name: node.module for node in imported for alias in node.names}
    assert typed == dict.fromkeys(getattr(module, "_MODULES", ())) | module._PUBLIC
    declared = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert set(module.__all__) == {*typed, *declared} | ({"__version__"} if package == "micropolis" else set())
