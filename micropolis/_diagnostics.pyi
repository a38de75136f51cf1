"""Types of csrc/_diagnostics.pyx."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

def convergence(draws: NDArray[np.float64] | NDArray[np.float32]) -> tuple[Array, Array]: ...
