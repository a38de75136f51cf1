"""In-place build: run meson in build/inplace and copy extension modules, library and headers into the Python package.

After `python setup.py`, `PYTHONPATH=. python -P` uses the checkout.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.resolve()
BUILD = ROOT / "build" / "inplace"


def main() -> None:
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(BUILD), str(ROOT)], check=True)
    subprocess.run(["meson", "compile", "-C", str(BUILD)], check=True)
    installed = subprocess.run(
        ["meson", "introspect", "--installed", str(BUILD)], check=True, capture_output=True, text=True
    ).stdout
    for built, target in json.loads(installed).items():
        if (built.startswith(str(BUILD)) and target.endswith((".so", ".a"))) or target.endswith(".h"):
            relative = pathlib.Path(target).parts[pathlib.Path(target).parts.index("micropolis") :]
            place = ROOT / pathlib.Path(*relative)
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = place.with_name(f".{place.name}.new")
            shutil.copy2(built, fresh)
            os.replace(fresh, place)  # in one step: a process that has the old file open goes on with it


if __name__ == "__main__":
    sys.exit(main())
