"""Make the pictures of README and docs: those of the demos, smaller and in few colours (needs Pillow).

python docs/make_picture.py          # all of them; digits takes half a minute
"""

import os
import runpy
import tempfile
from pathlib import Path

from PIL import Image

from micropolis.__main__ import main
from micropolis.demos import digits, moons, posteriors

HERE = Path(__file__).parent.resolve()
WIDTH = 1000
# file written by a demo -> (picture of the docs, number of colours)
PICTURES = {
    posteriors.PICTURE: ("demo", 32),
    moons.PICTURE: ("moons", 256),
    digits.PICTURE: ("digits", 256),
    "bayesian_network.png": ("bayesian_network", 256),
}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main(["demo"])
        main(["digits"])
        runpy.run_path(str(HERE.parent / "examples" / "bayesian_network.py"))
        for file, (name, colours) in PICTURES.items():
            picture = Image.open(file).convert("RGB")
            picture = picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)
            target = HERE / "images" / f"{name}.png"
            picture.quantize(colours).save(target, optimize=True)
            print(f"{target}: {target.stat().st_size / 1024:.0f} KB")
