"""Make docs/images/demo.png, the picture of the README: the demo's, smaller and in few colours (needs Pillow)."""

import os
import tempfile
from pathlib import Path

from PIL import Image

from micropolis.__main__ import PICTURE, main

TARGET = Path(__file__).parent.resolve() / "images" / "demo.png"
WIDTH, COLOURS = 1000, 32

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        main(["demo"])
        picture = Image.open(PICTURE).convert("RGB")
    picture = picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)
    picture.quantize(COLOURS).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1024:.0f} KB")
