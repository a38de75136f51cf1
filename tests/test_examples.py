"""Every script in examples/ runs and finds what it claims; the README's code does too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import micropolis

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = (
    "README.md",
    "docs/densities.md",
    "docs/fast_densities.md",
    "docs/sampling.md",
    "docs/kernels.md",
    "docs/riemannian.md",
    "docs/estimators.md",
    "docs/networks_demo.md",
)


def run(*arguments, folder):
    """A fresh interpreter with the micropolis that the tests use."""
    environment = os.environ | {"PYTHONPATH": str(Path(micropolis.__file__).parents[1]), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-P", "-W", "ignore::UserWarning", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    ended = run(path, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, tmp_path):
    """All Python blocks of a page, one after another in one process."""
    pytest.importorskip("numba")
    pytest.importorskip("arviz")
    pytest.importorskip("sklearn")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    ended = run(script, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
