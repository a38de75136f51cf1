"""Compiled functions as densities: addresses, LowLevelCallable, ctypes functions, Numba cfuncs, BridgeStan models."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np

from . import checks
from ._density import CDensity, library
from .density import Density
from .errors import InputError, InputTypeError
from .trace_files import mapped

SIGNATURE = "int (size_t, const double *, double *, double *, void *)"

# Spellings that mean the same to the calling convention: any 8-byte integer for the dimension, an int for the code.
_INT = {"int", "int32", "int32_t", "signed", "signed int", "c_int"}
_SIZE = {
    "size_t", "std::size_t", "unsigned long", "unsigned long int", "long unsigned int", "ulong", "ulonglong",
    "unsigned long long", "uint64", "uint64_t", "std::uint64_t", "uintptr_t", "npy_uintp", "long", "long int",
    "long long", "longlong", "ssize_t", "Py_ssize_t", "npy_intp", "int64", "int64_t", "intptr_t", "ptrdiff_t",
}  # fmt: skip
_DOUBLE = {"double *", "npy_double *", "float64 *", "float64_t *", "npy_float64 *", "void *"}
_PARAMETERS = (_SIZE, _DOUBLE, _DOUBLE, _DOUBLE, {"void *"})

_CFuncPtr = ctypes.CFUNCTYPE(None).__mro__[1]
_PYTHON_API = 4  # FUNCFLAG_PYTHONAPI of ctypes: the function expects the interpreter lock


class PointerDensity(Density):
    """A compiled function of the contract as a density; see `Density.from_pointer`."""

    def __init__(self, address: Any, dim: Any, user_data: Any = 0, keep_alive: Any = None) -> None:
        if _is_a(address, "bridgestan", "StanModel"):
            checked, names = _stan_dimension(address, dim)
            super().__init__(checked, names)
            if not (isinstance(user_data, int) and user_data == 0):
                raise InputError("user_data: a BridgeStan model brings its own, expected 0")
            # Stan's automatic differentiation keeps its stack per process unless the model was built for threads:
            # then chains must run one after another, as those of a Python function do.
            self.holds_gil = "stan_threads=true" not in str(address.model_info()).lower()
            self._user_data, kept = _stan_functions(address)
            self._address = library()["bridgestan"]
            self._options: dict[str, Any] = {"template": self._address}
        else:
            super().__init__(dim)
            self._address, inner, owner = _function(address)
            if inner and not (isinstance(user_data, int) and user_data == 0):
                raise InputError("user_data: the LowLevelCallable carries its own, expected 0")
            self._user_data, kept = (inner, None) if inner else _user_data(user_data)
            kept = (owner, kept)
            self._options = {"logp_grad": self._address}
        self._keep_alive = (kept, keep_alive)
        self.files = mapped(user_data, keep_alive)

    def _bind(self) -> CDensity:
        return CDensity(self.dim, user_data=self._user_data, keep_alive=self._keep_alive, **self._options)

    def __reduce__(self) -> Any:
        raise InputTypeError("a density made of an address cannot be pickled or copied: build it again from its source")


def _is_a(value: Any, package: str, name: str) -> bool:
    """Whether `value` is an instance of `package`'s class `name`, without importing the package."""
    return any(c.__name__ == name and c.__module__.split(".")[0] == package for c in type(value).__mro__)


# -- functions -------------------------------------------------------------------------------------------------------


def _function(value: Any) -> tuple[int, int, Any]:
    """Address of the function, user_data that it brings along (or 0), and the object that owns it."""
    if _is_a(value, "scipy", "LowLevelCallable"):
        return _low_level_callable(value)
    if isinstance(value, _CFuncPtr):
        _check_ctypes(value)
        address = ctypes.cast(value, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
    elif _is_a(value, "numba", "CFunc"):
        returned, arguments = value._sig.return_type, value._sig.args
        check_signature(f"{returned} ({', '.join(map(str, arguments))})", "Numba cfunc")
        address = value.address
    else:
        if isinstance(value, bool) or not hasattr(type(value), "__index__"):
            raise InputTypeError(
                "address: expected an int, a SciPy LowLevelCallable, a ctypes function, a Numba cfunc or a BridgeStan "
                f"model, got {type(value).__name__}"
            )
        address = int(value.__index__())
    if not 0 < address < 2**64:
        raise InputError(f"address: expected the address of a function, a positive integer below 2**64, got {address}")
    return address, 0, value


def _low_level_callable(value: Any) -> tuple[int, int, Any]:
    """A SciPy LowLevelCallable: a capsule with the function, named by its signature, user_data as its context."""
    capsule = tuple.__getitem__(value, 0)  # its own __getitem__ raises
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetContext.restype, api.PyCapsule_GetContext.argtypes = ctypes.c_void_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    name = api.PyCapsule_GetName(capsule)
    if name is not None:
        check_signature(name.decode(), "LowLevelCallable")
    return api.PyCapsule_GetPointer(capsule, name), api.PyCapsule_GetContext(capsule) or 0, value


def check_signature(text: str, what: str) -> None:
    """Raise unless `text`, a C function type, is one that the contract may call."""
    match = re.fullmatch(r"\s*([^()]*?)\s*\(([^()]*)\)\s*(?:noexcept)?\s*(?:nogil)?\s*", text)
    if match:
        got = [_plain_type(part) for part in (match[1], *match[2].split(","))]
        allowed = (_INT, *_PARAMETERS)
        if len(got) == len(allowed) and all(g in a for g, a in zip(got, allowed, strict=True)):
            return
    raise InputTypeError(f"address: expected a function of signature '{SIGNATURE}', got a {what} of '{text.strip()}'")


def _plain_type(text: str) -> str:
    """A C type without qualifiers, one space before its stars."""
    words = re.sub(r"\b(const|restrict|__restrict|volatile)\b", " ", text)
    return " ".join(words.replace("*", " * ").split())


def _check_ctypes(function: Any) -> None:
    if function._flags_ & _PYTHON_API:
        raise InputTypeError(
            "address: a function of PyDLL or PYFUNCTYPE needs the interpreter lock: use CDLL or CFUNCTYPE"
        )
    if function.argtypes is None:
        raise InputTypeError(
            "address: the ctypes function has no argtypes, so its signature cannot be checked; declare f.restype = "
            "ctypes.c_int and f.argtypes = [ctypes.c_size_t, P, P, P, ctypes.c_void_p] with "
            "P = ctypes.POINTER(ctypes.c_double)"
        )
    check_signature(f"{_c_name(function.restype)} ({', '.join(map(_c_name, function.argtypes))})", "ctypes function")


def _c_name(kind: Any) -> str:
    """A ctypes type in C."""
    if kind is None:
        return "void"
    if kind is ctypes.c_void_p:
        return "void *"
    if isinstance(kind, type) and issubclass(kind, ctypes._Pointer):
        return f"{_c_name(kind._type_)} *"
    if hasattr(kind, "_dtype_"):  # numpy.ctypeslib.ndpointer
        return "void *" if kind._dtype_ is None else f"{kind._dtype_} *"
    return str(getattr(kind, "__name__", kind)).removeprefix("c_")


def _user_data(value: Any) -> tuple[int, Any]:
    """Address of user_data and the object that owns the memory."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or not value.flags.c_contiguous:
            raise InputError(
                f"user_data: expected a C-contiguous array of numbers, got dtype {value.dtype}, shape {value.shape}, "
                f"strides {value.strides}"
            )
        return value.ctypes.data, value
    if isinstance(value, ctypes.c_void_p | ctypes._Pointer):
        return ctypes.cast(value, ctypes.c_void_p).value or 0, value
    if isinstance(value, ctypes.Structure | ctypes.Array):
        return ctypes.addressof(value), value
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        got = type(value).__name__
        raise InputTypeError(f"user_data: expected an int, a ctypes pointer or a NumPy array, got {got}")
    return checks.integer("user_data", value, least=0, most=2**64 - 1), None


# -- BridgeStan ------------------------------------------------------------------------------------------------------


class _StanFunctions(ctypes.Structure):
    """user_data of csrc/densities/bridgestan.c."""

    _fields_ = [
        ("log_density_gradient", ctypes.c_void_p),
        ("free_error_message", ctypes.c_void_p),
        ("model", ctypes.c_void_p),
    ]


def _stan_dimension(model: Any, dim: Any) -> tuple[int, list[str]]:
    found = int(model.param_unc_num())
    if dim is not None and checks.integer("dim", dim, least=1) != found:
        raise InputError(f"dim: the BridgeStan model has {found} unconstrained parameters, got {dim}")
    return found, list(model.param_unc_names())


def _stan_functions(model: Any) -> tuple[int, Any]:
    functions = _StanFunctions(
        ctypes.cast(model.stanlib.bs_log_density_gradient, ctypes.c_void_p),
        ctypes.cast(model.stanlib.bs_free_error_msg, ctypes.c_void_p),
        model.model,
    )
    return ctypes.addressof(functions), (functions, model)
