"""Types of csrc/_diagnostics.pyx."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

def batch_moments(
    draws: NDArray[np.float64] | NDArray[np.float32], edges: NDArray[np.int64], center: Array
) -> tuple[Array, Array]: ...
