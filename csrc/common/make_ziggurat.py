"""Write ziggurat_tables.h: the 256-layer ziggurat of the standard normal, read off the installed NumPy.

    python csrc/common/make_ziggurat.py > csrc/common/ziggurat_tables.h

Marsaglia & Tsang (2000), "The ziggurat method for generating random variables". The layers are determined by
mathematics, but NumPy's last bits by the rounding of whoever tabulated them, and the stream of
Generator.standard_normal is to be reproduced bit for bit. So a bit generator is fed chosen raw numbers: a draw from
layer i with mantissa 2^51 shows the width w[i], and bisection on the mantissa finds the acceptance bound k[i]. The
result is checked against the recurrence of the paper to 1e-13.
"""

import ctypes
import math

import numpy as np

LAYERS = 256


class BitGen(ctypes.Structure):
    """bitgen_t of numpy/random/bitgen.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("state", "next_uint64", "next_uint32", "next_double", "next_raw")]


class Probe:
    """A NumPy Generator whose raw numbers we choose."""

    def __init__(self) -> None:
        self.bit_generator = np.random.SFC64(0)
        self.feed: list[int] = []
        self.doubles = self.layer = 0
        self.callbacks = (
            ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(lambda _: self.feed.pop(0)),
            ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(self.next_double),
        )
        bitgen = ctypes.cast(self.bit_generator.ctypes.bit_generator, ctypes.POINTER(BitGen)).contents
        bitgen.next_uint64 = ctypes.cast(self.callbacks[0], ctypes.c_void_p).value
        bitgen.next_double = ctypes.cast(self.callbacks[1], ctypes.c_void_p).value
        self.generator = np.random.Generator(self.bit_generator)  # copies the pointers, so it comes last

    def next_double(self, _: int) -> float:
        """A first uniform of 0 ends the tail's loop at once and lets all of layer 1 through; near 1 refuses a wedge."""
        self.doubles += 1
        return 0.0 if self.layer < 2 and self.doubles == 1 else 1.0 - 2.0**-53

    def draw(self, layer: int, mantissa: int) -> tuple[float, bool]:
        """The number drawn, and whether it lay inside the layer's rectangle."""
        self.feed[:] = [mantissa << 9 | layer, 0]  # the second raw number ends a draw that was sent back
        self.doubles, self.layer = 0, layer
        x = self.generator.standard_normal()
        return x, self.doubles == 0

    def width(self, layer: int) -> float:
        return self.draw(layer, 1 << 51)[0] / 2**51

    def bound(self, layer: int) -> int:
        low, high = 0, 1 << 52
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.draw(layer, middle)[1] else (low, middle)
        return low


def recurrence() -> tuple[list[float], list[float]]:
    """Widths and relative bounds by the paper's recurrence from the tabulated right end."""
    r = 3.6541528853610088
    volume = r * math.exp(-r * r / 2) + math.sqrt(math.pi / 2) * math.erfc(r / math.sqrt(2))
    x = [0.0] * LAYERS
    x[0], x[255] = volume / math.exp(-r * r / 2), r
    for i in range(254, 0, -1):
        x[i] = math.sqrt(-2 * math.log(volume / x[i + 1] + math.exp(-(x[i + 1] ** 2) / 2)))
    return [v / 2**52 for v in x], [r / x[0], 0.0] + [x[i - 1] / x[i] for i in range(2, LAYERS)]


def rows(items: list[str]) -> str:
    return "".join("    " + ", ".join(items[i : i + 2]) + ",\n" for i in range(0, len(items), 2))


def main() -> None:
    probe = Probe()
    bounds = [probe.bound(i) for i in range(LAYERS)]
    expected_widths, expected_bounds = recurrence()
    widths = [probe.width(i) for i in range(LAYERS)]
    np.testing.assert_allclose(widths, expected_widths, rtol=1e-13)
    np.testing.assert_allclose(np.array(bounds) / 2**52, expected_bounds, rtol=1e-13)
    densities = [1.0] + [math.exp(-0.5 * (w * 2**52) ** 2) for w in widths[1:]]
    print("/* Tables of the normal ziggurat; written by make_ziggurat.py, do not edit. */")
    print(f"static const double ziggurat_r = {(widths[255] * 2**52).hex()};")
    layers = [f"{{{sign}{w.hex()}, 0x{k:013x}ULL}}" for sign in ("", "-") for w, k in zip(widths, bounds, strict=True)]
    print("const mp_ziggurat_layer mp_ziggurat[512] = {\n" + rows(layers) + "};")
    print("static const double ziggurat_f[256] = {\n" + rows([f.hex() for f in densities]) + "};")


if __name__ == "__main__":
    main()
