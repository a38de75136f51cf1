"""C kernels, warm-up rules and bad densities under AddressSanitizer and UBSan; for longer runs see docs/testing.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "c/run_sanitizers.sh"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_c_kernels_under_sanitizers():
    environment = os.environ | {"QUICK": "1", "PYTHON": sys.executable}
    result = subprocess.run(["sh", SCRIPT, "200", "33"], env=environment, capture_output=True, text=True, timeout=600)
    if "cannot find -lasan" in result.stderr or "cannot find libasan" in result.stderr:
        pytest.skip("gcc has no sanitizer libraries here")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "runner: 0 failures" in result.stdout and "clean" in result.stdout
