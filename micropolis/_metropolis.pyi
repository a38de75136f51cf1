"""Types of csrc/_metropolis.pyx."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._density import CDensity
from ._neural import CData, CLoss, CNetwork

Array = NDArray[np.float64]

def inlines_sfc64() -> bool: ...
def kernels() -> dict[str, tuple[int, int, int, int]]: ...
def ziggurat() -> tuple[NDArray[np.int64], Array]: ...
def standard_normal(bit_generator: np.random.BitGenerator, out: Array) -> None: ...
def accept(
    bit_generator: np.random.BitGenerator,
    logp: Array,
    proposed: Array,
    log_q_ratio: Array,
    temperature: Array,
    out: NDArray[np.uint8],
) -> None: ...

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

TESTS: dict[str, int]
STEP_RECORD: np.dtype[np.void]

def barker_table() -> tuple[Array, Array]: ...
def barker_correction(uniforms: Array) -> Array: ...
def bounded(bit_generator: np.random.BitGenerator, bound: int, out: NDArray[np.uint64]) -> None: ...

class WeightWalk:
    dtype: np.dtype[Any]
    @property
    def theta(self) -> NDArray[Any]: ...
    @property
    def step(self) -> int: ...
    @property
    def n(self) -> int: ...
    def place(self, theta: NDArray[Any]) -> None: ...
    def schedule(self, lr: Array, lr_first: int, temperature: Array, temperature_first: int) -> None: ...
    def loss_sum(self) -> float: ...

class Optimizer(WeightWalk):
    def __init__(
        self,
        network: CNetwork,
        loss: CLoss,
        data: CData,
        bit_generator: np.random.BitGenerator,
        tau: float,
        sums: bool,
        step: int,
        early_rejection: bool,
        order: NDArray[np.int64] | None = None,
        age: int = 0,
    ) -> None: ...
    def start(self) -> float: ...
    @property
    def early_rejection(self) -> bool: ...
    @property
    def order(self) -> NDArray[np.int64] | None: ...
    @property
    def age(self) -> int: ...
    sum: float
    best: tuple[NDArray[Any], float]
    def run(self, records: NDArray[np.void], control: NDArray[np.int32], progress: NDArray[np.int64]) -> None: ...

class Minibatch(WeightWalk):
    permutation: NDArray[np.int64]
    def __init__(
        self,
        network: CNetwork,
        loss: CLoss,
        data: CData,
        bit_generator: np.random.BitGenerator,
        tau: float,
        sums: bool,
        step: int,
        test: str,
        noise: float,
        permutation: NDArray[np.int64],
    ) -> None: ...
    def run(
        self,
        records: NDArray[np.void],
        batch_size: int,
        control: NDArray[np.int32],
        progress: NDArray[np.int64],
    ) -> None: ...
