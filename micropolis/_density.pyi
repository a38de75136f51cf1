"""Types of csrc/_density.pyx."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

def simd_level() -> str: ...
def library() -> dict[str, int]: ...
def python_density(
    dim: int, logp_grad: Callable[[Array], tuple[float, Array]], value: Callable[[Array], float] | None = None
) -> CDensity: ...

class PythonTarget:
    error: BaseException | None
    where: Array | None
    def __init__(
        self, logp_grad: Callable[[Array], tuple[float, Array]], value: Callable[[Array], float] | None = None
    ) -> None: ...

class CDensity:
    @property
    def target(self) -> PythonTarget | None: ...
    @property
    def dim(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def functions(self) -> dict[str, int]: ...
    def __init__(
        self,
        dim: int,
        *,
        user_data: int = 0,
        keep_alive: object = None,
        template: int = 0,
        logp_grad: int = 0,
        value: int = 0,
        hessian: int = 0,
        hvp: int = 0,
        third_product: int = 0,
        batch: int = 0,
        explain: Callable[[Array], BaseException | None] | None = None,
    ) -> None: ...
    def failure(self, status: int, x: Array) -> BaseException: ...
    def value(self, x: Array) -> Array: ...
    def value_and_grad(self, x: Array) -> tuple[Array, Array]: ...
    def hessian(self, x: Array) -> Array: ...
    def hvp(self, x: Array, v: Array) -> Array: ...
    def third_product(self, x: Array, m: Array) -> Array: ...
