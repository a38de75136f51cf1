"""Types of csrc/_hamiltonian.pyx."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._density import CDensity

Array = NDArray[np.float64]

def ascend(density: CDensity, n_steps: int, x: Array) -> int: ...
def inlines_sfc64() -> bool: ...
def kernels() -> dict[str, tuple[int, int, int, int]]: ...
def leapfrog(
    density: CDensity, step_size: float, n_steps: int, inverse_mass: Array, q: Array, p: Array, logp: Array, grad: Array
) -> tuple[int, int]: ...
def riemannian(
    density: CDensity,
    options: NDArray[Any],
    step_size: float,
    n_steps: int,
    q: Array,
    p: Array,
    energy: Array,
    force: Array,
    status: NDArray[np.int32],
    iterations: NDArray[np.int64],
) -> int: ...
def eigen(matrix: Array, lapack: int = 0) -> tuple[Array, Array, int]: ...

class Chain:
    @property
    def memory(self) -> Array | None: ...
    def __init__(
        self,
        name: str,
        options: NDArray[Any],
        density: CDensity,
        bit_generator: np.random.BitGenerator,
        buffers: list[NDArray[Any]],
        adaptation: NDArray[Any] | None = None,
        memory: Array | None = None,
    ) -> None: ...
    def init_state(self, grad: Array) -> int: ...
    def start_adaptation(self) -> int: ...
    def run_block(
        self,
        start: int,
        stop: int,
        draws: NDArray[np.float64] | NDArray[np.float32] | None,
        stats: NDArray[Any],
        control: NDArray[np.int32],
        progress: NDArray[np.int64],
        thin: int = 1,
    ) -> int: ...
