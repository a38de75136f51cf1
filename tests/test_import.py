"""What `import micropolis` costs and shows: no optional package, no SciPy, and every public name."""

import subprocess
import sys
from pathlib import Path

import pytest

import micropolis as mp

HEAVY = {"numba", "casadi", "sklearn", "matplotlib", "arviz", "scipy", "tqdm", "pandas", "llvmlite"}
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
    assert compiled == {path.stem for path in folder.glob("*.pyi")}
