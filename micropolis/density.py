"""Density: a log density with its derivatives, what every sampler samples."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from ._density import CDensity, python_density
from .errors import DensityError, InputError, InputTypeError

Array = NDArray[np.float64]

# Step of a central difference, relative to max(1, |x|): balances truncation (h^2) against rounding (eps / h).
DIFFERENCE_STEP = float(np.finfo(np.float64).eps ** (1 / 3))
SINGLE_STEP = float(np.finfo(np.float32).eps) ** (1 / 3)


class Density:
    """A log density over `dim` unconstrained real coordinates.

    Made by `Density.from_numpy`, `from_numba`, `from_pointer`, `from_callable`, or taken from `micropolis.densities`.
    A subclass implements `_bind`; everything else follows from it.

    Parameters
    ----------
    dim : int
        Number of coordinates, at least 1.
    names : sequence of str, optional
        One name per coordinate; default ``x[0]``, ``x[1]``, ...

    Attributes
    ----------
    dim : int
    names : tuple of str
    parameters : micropolis.parameters.ParameterSpace or None
        Named, constrained parameters behind the coordinates.

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> d = mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), dim=2)
    >>> d(np.zeros(2)), d(np.ones((3, 2))).shape
    (0.0, (3,))
    """

    parameters: Any = None
    # (function, data) of a readable log density logp_grad(x, grad, data) -> float for Numba and CUDA, or None
    readable: tuple[Callable[..., float], Any] | None = None
    holds_gil: bool = False  # whether evaluating needs the interpreter: chains of it run one after another
    files: frozenset[Path] = frozenset()  # that evaluating reads through a memory map

    def __init__(self, dim: int, names: Sequence[str] | None = None) -> None:
        self.dim = checks.integer("dim", dim, least=1)
        self.names = tuple(names) if names is not None else tuple(f"x[{i}]" for i in range(self.dim))
        if len(self.names) != self.dim:
            raise InputError(f"names: expected {self.dim} names, got {len(self.names)}")
        self._handles: dict[int, CDensity] = {}

    def __repr__(self) -> str:
        of = "" if self.parameters is None else f" of {', '.join(self.parameters.parameters)}"
        return f"<{type(self).__name__}{of}: {self.dim} dimension{'s' * (self.dim > 1)}>"

    def _bind(self) -> CDensity:
        """A fresh C density for use by one thread."""
        raise InputTypeError(
            f"{type(self).__name__} is abstract: use Density.from_numpy, from_numba, from_pointer or from_callable"
        )

    def prepare(self, *names: str) -> None:
        """Build derivatives ("hessian", "hvp", "third_product") so that C densities bound from now on have them."""

    def explain(self) -> str:
        """What evaluating the density does and costs: stages, operations, estimated times, and what makes it slow.

        Of densities traced from NumPy code; of others what they are.

        Examples
        --------
        >>> import micropolis as mp, numpy as np
        >>> print(mp.Density.from_numpy(lambda x: -0.5 * np.sum(x**2), dim=3).explain().splitlines()[0])
        value and gradient: ... operations on ... elements, about ... ns
        """
        return f"{self!r}: compiled, nothing to explain"

    def compile(self) -> Density:
        """This density, evaluated by code that Numba compiles for it where it was traced from NumPy code.

        Worth it for small models and for recursions in time. Compiling takes a second or a few, once in a process for
        all densities of one structure; other densities are compiled already, or stay what they are.

        Raises
        ------
        MissingExtraError
            Without Numba.
        KernelError
            If there are too many scalar operations to compile, as in loops that were unrolled.

        Examples
        --------
        >>> import micropolis as mp, numpy as np
        >>> d = mp.Density.from_numpy(lambda x: -0.5 * np.sum(x**2), dim=3).compile()
        >>> d.grad(np.ones(3))
        array([-1., -1., -1.])
        """
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": {}}

    # -- evaluation ----------------------------------------------------------------------------------------------

    @property
    def _c(self) -> CDensity:
        # one for each thread: a C density may hold scratch memory, and `step` runs without the interpreter lock
        thread = threading.get_ident()
        if thread not in self._handles:
            self._handles[thread] = self._bind()
        return self._handles[thread]

    def _rows(self, x: ArrayLike) -> tuple[Array, tuple[int, ...]]:
        points = checks.points("x", x, self.dim)
        return points.reshape(-1, self.dim), points.shape[:-1]

    def __call__(self, x: ArrayLike) -> Any:
        """Log density at x (..., dim): a float for one point, an array (...) for many."""
        rows, shape = self._rows(x)
        logp = self._c.value(rows)
        return float(logp[0]) if shape == () else logp.reshape(shape)

    def value_and_grad(self, x: ArrayLike) -> tuple[Any, Array]:
        """Log density (...) and gradient (..., dim) at x (..., dim)."""
        rows, shape = self._rows(x)
        logp, grad = self._c.value_and_grad(rows)
        return (float(logp[0]) if shape == () else logp.reshape(shape)), grad.reshape(*shape, self.dim)

    def grad(self, x: ArrayLike) -> Array:
        """Gradient (..., dim) of the log density at x (..., dim)."""
        return self.value_and_grad(x)[1]

    def hessian(self, x: ArrayLike) -> Array:
        """Hessian (..., dim, dim) of the log density at x (..., dim).

        Where the density has none of its own: central differences of the gradient, relative error about 1e-10 times
        the condition of the problem.
        """
        rows, shape = self._rows(x)
        if self._c.functions["hessian"]:
            return self._c.hessian(rows).reshape(*shape, self.dim, self.dim)
        columns = np.stack([self._grad_difference(rows, np.eye(self.dim)[i]) for i in range(self.dim)], axis=-1)
        return (0.5 * (columns + columns.swapaxes(-1, -2))).reshape(*shape, self.dim, self.dim)

    def hvp(self, x: ArrayLike, v: ArrayLike) -> Array:
        """Hessian-vector product (..., dim) at x (..., dim) with v (..., dim); differences as in `hessian`."""
        x, v = np.broadcast_arrays(checks.points("x", x, self.dim), checks.points("v", v, self.dim))
        rows, vectors = np.ascontiguousarray(x.reshape(-1, self.dim)), np.ascontiguousarray(v.reshape(-1, self.dim))
        if self._c.functions["hvp"]:
            return self._c.hvp(rows, vectors).reshape(x.shape)
        if self._c.functions["hessian"]:
            return np.einsum("nij,nj->ni", self.hessian(rows), vectors).reshape(x.shape)
        return self._grad_difference(rows, vectors).reshape(x.shape)

    def third_derivative_product(self, x: ArrayLike, m: ArrayLike) -> Array:
        """c_k = sum_ij m_ij d3 log p / dx_i dx_j dx_k at x (..., dim) for m (..., dim, dim).

        Where the density has none of its own: central differences of the Hessian.
        """
        points, matrices = checks.points("x", x, self.dim), checks.points("m", m, self.dim)
        if matrices.ndim < 2 or matrices.shape[-2] != self.dim:
            raise InputError(f"m: expected shape (..., {self.dim}, {self.dim}), got {matrices.shape}")
        shape = np.broadcast_shapes(points.shape[:-1], matrices.shape[:-2])
        rows = np.ascontiguousarray(np.broadcast_to(points, (*shape, self.dim)).reshape(-1, self.dim))
        flat = np.ascontiguousarray(np.broadcast_to(matrices, (*shape, self.dim, self.dim)).reshape(-1, self.dim**2))
        if self._c.functions["third_product"]:
            return self._c.third_product(rows, flat).reshape(*shape, self.dim)
        product = np.empty_like(rows)
        for k in range(self.dim):
            # the Hessian of a density without one is a difference itself: its noise wants a longer step
            step = (DIFFERENCE_STEP if self._c.functions["hessian"] else 1e-3) * np.maximum(1.0, np.abs(rows[:, k]))
            ahead, behind = rows.copy(), rows.copy()
            ahead[:, k] += step
            behind[:, k] -= step
            slope = (self.hessian(ahead) - self.hessian(behind)).reshape(-1, self.dim**2)
            product[:, k] = np.einsum("nm,nm->n", slope, flat) / (ahead[:, k] - behind[:, k])
        return product.reshape(*shape, self.dim)

    def _grad_difference(self, rows: Array, direction: Array) -> Array:
        """Derivative of the gradient along `direction` at each row, by a central difference."""
        length = np.sqrt(np.sum(direction * direction, axis=-1, keepdims=True))
        unit = direction / np.where(length > 0, length, 1.0)
        step = DIFFERENCE_STEP * np.maximum(1.0, np.max(np.abs(rows), axis=-1, keepdims=True))
        ahead = self._c.value_and_grad(rows + step * unit)[1]
        behind = self._c.value_and_grad(rows - step * unit)[1]
        return length * (ahead - behind) / (2 * step)

    # -- the ways in ---------------------------------------------------------------------------------------------

    @staticmethod
    def from_numpy(f: Callable[..., Any], dim: int | Mapping[str, Any]) -> Density:
        """Plain NumPy code, traced once; exact derivatives, evaluated in C without the interpreter.

        Parameters
        ----------
        f : callable
            ``f(x) -> logp`` with x (dim,), or ``f(mu=..., tau=..., ...)`` with the constrained parameters by name:
            scalars of shape (), arrays of the shape of the parameter. NumPy functions, operators, indexing and loops;
            data are NumPy arrays from outside. Decisions on values (``if x > 0``) are written with ``np.where``.
        dim : int or mapping of str to Parameter
            Number of coordinates, or ``{"mu": Real(), "tau": Positive(), ...}``: the density is then one over
            unconstrained coordinates, log Jacobians added.

        Returns
        -------
        Density

        Raises
        ------
        DensityError
            If the value is no real scalar, if a line of the code cannot be traced (the message names it), or if the
            traced value differs from the function's own.

        Examples
        --------
        >>> import micropolis as mp, numpy as np
        >>> d = mp.Density.from_numpy(lambda x: -0.5 * np.sum(x**2), dim=3)
        >>> d.grad(np.ones(3))
        array([-1., -1., -1.])
        """
        from .from_numpy import from_numpy

        return from_numpy(f, dim)

    @staticmethod
    def from_callable(f: Callable[..., Any], dim: int, grad: Callable[..., Any] | None = None) -> Density:
        """Any Python function of x (dim,): slow and correct.

        Parameters
        ----------
        f : callable
            ``f(x) -> logp`` or ``f(x) -> (logp, grad)``.
        dim : int
        grad : callable, optional
            ``grad(x) -> (dim,)``. Without it, and where f returns a number alone, the gradient is taken by central
            differences (2 dim more calls, error about 1e-10, of float32 1e-4; for `RMHMC` see docs/riemannian.md).

        Returns
        -------
        Density

        Examples
        --------
        >>> import micropolis as mp
        >>> mp.Density.from_callable(lambda x: -abs(x[0]), dim=1)([2.0])
        -2.0
        """
        return CallableDensity(f, dim, grad)

    @staticmethod
    def from_numba(logp_grad: Callable[..., Any], dim: int, data: Any = None) -> Density:
        """A function that Numba compiles: ``logp_grad(x, grad) -> float`` or ``logp_grad(x, grad, data) -> float``.

        Parameters
        ----------
        logp_grad : function or numba.njit function
            Returns the log density at x (dim,) and assigns its gradient to every element of grad (dim,), which comes
            uninitialised; it must not write to x. Array accesses are not checked against their bounds. To reject a
            point it returns ``-np.inf``; an exception is a DensityError that stops the chain. A plain function is
            compiled with ``error_model="numpy"`` (1 / 0 is inf), an njit function keeps its own options.
        dim : int
        data : array, number, or tuple, namedtuple or dict of them, optional
            The third argument; a dict arrives as a namedtuple (``data.y``). Arrays are referred to, not copied, and
            not frozen into the compiled code: densities of other data of the same types compile nothing.

        Returns
        -------
        Density
            It pickles.

        Raises
        ------
        InputTypeError
            If the function takes other arguments, does not compile or does not return a float, or the data have no
            Numba type.
        InputError
            If a call at x = 0 shows that an element of the gradient is not set or memory outside x and grad is used.

        Examples
        --------
        >>> import micropolis as mp, numpy as np
        >>> def logp_grad(x, grad, data):
        ...     logp = 0.0
        ...     for i in range(x.size):
        ...         z = (x[i] - data.mean[i]) / data.sd
        ...         logp -= 0.5 * z * z
        ...         grad[i] = -z / data.sd
        ...     return logp
        >>> d = mp.Density.from_numba(logp_grad, dim=2, data={"mean": np.array([1.0, 2.0]), "sd": 0.5})
        >>> d.value_and_grad([1.0, 3.0])
        (-2.0, array([-0., -4.]))
        """
        from .jit_density import NumbaDensity

        return NumbaDensity(logp_grad, dim, data)

    @staticmethod
    def from_pointer(address: Any, dim: int | None = None, user_data: Any = 0, keep_alive: Any = None) -> Density:
        """A compiled function ``int f(size_t dim, const double *x, double *grad, double *logp, void *user_data)``.

        It writes the log density and its gradient and returns 0; a positive code rejects the point, a negative one
        stops the chain. Chains call it from several threads at once, without the interpreter lock.

        Parameters
        ----------
        address : int, scipy.LowLevelCallable, ctypes function, numba cfunc or bridgestan.StanModel
            A declared signature is checked. Nothing can be checked about a plain address: a wrong one crashes the
            process. A Numba cfunc that throws prints the exception and counts as a point of log density NaN;
            `from_numba` raises instead.
        dim : int
            Number of coordinates; may be left out for a BridgeStan model, which knows it.
        user_data : int, ctypes pointer or structure, or C-contiguous ndarray
            Handed to the function as it is (an array as the address of its first element, not copied). All chains
            share it, so the function must not write to it.
        keep_alive : object
            Held as long as the density lives; whatever is passed in any other argument is held anyway.

        Returns
        -------
        Density
            It cannot be pickled.

        Raises
        ------
        InputTypeError
            If the function has another signature, or a ctypes function none.
        InputError
            If an address is zero or negative, or `user_data` is an array with gaps.

        Notes
        -----
        A BridgeStan model is evaluated without constants and with Jacobians (``propto=True, jacobian=True``); its
        chains run one after another unless it was compiled with ``STAN_THREADS=true``. This way in was tested against
        the C interface of BridgeStan 2.9 with a stand-in library, not with a compiled Stan model.

        Examples
        --------
        >>> import ctypes
        >>> import micropolis as mp
        >>> P = ctypes.POINTER(ctypes.c_double)
        >>> @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, P, P, P, ctypes.c_void_p)
        ... def normal(dim, x, grad, logp, user_data):
        ...     logp[0] = -0.5 * x[0] ** 2
        ...     grad[0] = -x[0]
        ...     return 0
        >>> mp.Density.from_pointer(normal, dim=1)([2.0])
        -2.0
        """
        from .pointers import PointerDensity

        return PointerDensity(address, dim, user_data, keep_alive)

    @staticmethod
    def from_blocks(terms: Sequence[Density]) -> Density:
        """The sum of log densities on the same unconstrained coordinates, each a block that `SplitHMC` takes alone.

        Examples
        --------
        >>> import micropolis as mp
        >>> mp.Density.from_blocks([mp.densities.Gaussian([0.0]), mp.densities.Gaussian([2.0])]).grad([3.0])
        array([-4.])
        """
        from .densities.blocks import BlockDensity

        return BlockDensity(terms)


class CallableDensity(Density):
    """A Python function as a density; see `Density.from_callable`."""

    holds_gil = True

    def __init__(self, f: Callable[..., Any], dim: int, grad: Callable[..., Any] | None = None) -> None:
        super().__init__(dim)
        if not callable(f):
            raise InputTypeError(f"f: expected a callable, got {type(f).__name__}")
        if grad is not None and not callable(grad):
            raise InputTypeError(f"grad: expected a callable, got {type(grad).__name__}")
        self._f, self._grad = f, grad

    def _bind(self) -> CDensity:
        return python_density(self.dim, self._logp_grad, self._value)

    def _value(self, x: Array) -> float:
        result = self._f(x)
        return _scalar(result[0] if isinstance(result, tuple) else result)

    def _logp_grad(self, x: Array) -> tuple[float, Array]:
        result = self._f(x.copy())
        if isinstance(result, tuple):
            if len(result) != 2:
                raise DensityError(f"the log density returned a tuple of {len(result)}, expected (logp, grad)")
            return _scalar(result[0]), self._vector(result[1])
        logp = _scalar(result)
        if self._grad is not None:
            return logp, self._vector(self._grad(x))
        gradient, single = np.empty(self.dim), np.asarray(result).dtype == np.float32
        for i in range(self.dim):
            ahead, behind = x.copy(), x.copy()
            step = (SINGLE_STEP if single else DIFFERENCE_STEP) * max(1.0, abs(x[i]))
            ahead[i], behind[i] = x[i] + step, x[i] - step
            width = ahead[i] - behind[i]  # before the calls: the function may change its argument
            gradient[i] = (_scalar(self._f(ahead)) - _scalar(self._f(behind))) / width
        return logp, gradient

    def _vector(self, value: Any) -> Array:
        given = np.asarray(value)
        if given.shape != (self.dim,) or given.dtype.kind not in "fiub":
            got = f"shape {given.shape} dtype {given.dtype}"
            raise DensityError(f"the gradient of the log density has {got}, expected ({self.dim},) real numbers")
        return np.array(given, dtype=np.float64, order="C")


def _scalar(value: Any) -> float:
    """A log density value as a float; a size-1 array is accepted, as NumPy code often returns one."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiub":
        got = f"shape {array.shape} dtype {array.dtype}"
        raise DensityError(f"the log density returned {got}, expected one real number")
    return float(array.reshape(()))
