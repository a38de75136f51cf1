"""Types of csrc/_neural.pyx."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]  # of the network's dtype
Rows = NDArray[np.int64]

KINDS: dict[str, int]
LOSSES: dict[str, int]
ENGINES: dict[str, int]
LAYER_DTYPE: np.dtype[np.void]

def blas_addresses(dtype: DTypeLike) -> tuple[int, int, int]: ...

class CNetwork:
    layers: NDArray[np.void]
    dtype: np.dtype[Any]
    engine: str
    def __init__(
        self,
        layers: NDArray[np.void],
        n_parameters: int,
        n_inputs: int,
        n_outputs: int,
        dtype: DTypeLike,
        engine: str,
        blas: tuple[int, int, int] | None = None,
        threads: int = 1,
    ) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_inputs(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    def with_threads(self, threads: int) -> CNetwork: ...
    def work(self, n_rows: int) -> NDArray[np.uint8]: ...
    def forward(self, theta: Array, data: CData, rows: Rows | None = None) -> Array: ...
    def predict(self, draws: Array, data: CData, result: Array) -> None: ...
    def losses(self, loss: CLoss, theta: Array, data: CData, rows: Rows | None = None) -> NDArray[np.float64]: ...
    def loss_sum(
        self, loss: CLoss, theta: Array, data: CData, rows: Rows | None = None, threshold: float = ...
    ) -> tuple[float, int]: ...
    def loss_grad(self, loss: CLoss, theta: Array, data: CData, rows: Rows | None = None) -> tuple[float, Array]: ...
    def loss_hvp(self, loss: CLoss, theta: Array, vector: Array, data: CData, rows: Rows | None = None) -> Array: ...

class CData:
    inputs: Array
    labels: NDArray[np.int64] | None
    targets: NDArray[np.float64] | None
    dtype: np.dtype[Any]
    def __init__(
        self,
        network: CNetwork,
        inputs: Array,
        labels: NDArray[np.int64] | None = None,
        targets: NDArray[np.float64] | None = None,
        pack: bool = True,
    ) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def n(self) -> int: ...

class CLoss:
    kind: str
    def __init__(
        self, kind: str, scale: float = 1.0, row: int = 0, context: int = 0, keep_alive: object = None
    ) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def scale(self) -> float: ...

def posterior_templates() -> tuple[int, int]: ...
