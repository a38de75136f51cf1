"""Trees of plain values and arrays in .npz files: exact to the bit, without pickle, replaced in one step."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputTypeError, TraceFileError, TraceWriteError

VERSION = 1
HEADER = "micropolis"  # the member that says what the file is: JSON as bytes, arrays by the name of their member

# What a damaged zip archive, .npy header or JSON text raises when it is read.
DAMAGE = (
    OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def mapped(*values: Any) -> frozenset[Path]:
    """The files that arrays, views of them and tuples of these are mapped from."""
    files: set[Path] = set()
    for value in values:
        if isinstance(value, tuple):
            files |= mapped(*value)
        array = value
        while isinstance(array, np.ndarray):
            if isinstance(array, np.memmap) and array.filename is not None:
                files.add(Path(array.filename).resolve())
            array = array.base
    return frozenset(files)


def write(path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
    """Write a tree of None, bool, int, float, str, list, tuple, dict (str keys), NumPy scalars and arrays.

    A temporary file in the same folder takes the bytes and then the place of `path`, so that a process killed at any
    moment, or a full disk, leaves what was at `path` before. ``numpy.load(path)["draws"]`` reads an array of it.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced; a symbolic link is followed.
    tree : dict

    Raises
    ------
    InputTypeError
        For a value that a file cannot hold without pickle, named by its place in the tree.
    TraceWriteError
        If the file cannot be written: the path and the system's reason.
    """
    arrays: dict[str, NDArray[Any]] = {}
    header = {"version": VERSION, "tree": _pack(tree, "", arrays)}
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    target = os.path.realpath(_checked(path))
    temporary = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            raise OSError("it exists and is not a regular file")
        temporary, file = _temporary(target)
        with file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                for name, array in [(HEADER, text), *arrays.items()]:
                    with archive.open(zipfile.ZipInfo(name + ".npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise TraceWriteError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tree in a file made by `write`.

    Raises
    ------
    TraceFileError
        If the file is missing, foreign, damaged, or of another version: the path and what is wrong with it.
    """
    name = _checked(path)
    try:
        with open(name, "rb") as file:
            return _read(file)
    except TraceFileError as error:
        raise TraceFileError(f"{name}: {error}") from error.__cause__
    except OSError as error:
        raise TraceFileError(f"{name}: cannot be read: {error.strerror or error}") from error


def _checked(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str):
        raise InputTypeError(f"path: expected a str or a path, got {type(path).__name__}")
    return name


def _temporary(target: str) -> tuple[str, IO[bytes]]:
    """A new file next to `target`, with the permissions that the user's umask gives (tempfile's are 0600)."""
    folder, name = os.path.split(target)
    path = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.tmp")
    return path, open(path, "xb")


def _pack(value: Any, where: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """`value` for JSON; arrays go to `arrays` under a name that says where they were."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            raise InputTypeError(f"{where}: an array of Python objects cannot be saved")
        name = where if where not in arrays and where != HEADER else f"{where}#{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array" if isinstance(value, np.ndarray) else "scalar": name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{where}/{i}", arrays) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(item, f"{where}/{key}" if where else key, arrays) for key, item in value.items()}}
    raise InputTypeError(f"{where}: a {type(value).__name__} cannot be saved")


def _unpack(value: Any, archive: zipfile.ZipFile) -> Any:
    if isinstance(value, list):
        return [_unpack(item, archive) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _unpack(item, archive) for key, item in content.items()}
    if kind == "tuple":
        return tuple(_unpack(item, archive) for item in content)
    array = _member(archive, content)
    return array if kind == "array" else array[()]


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    if name + ".npy" not in archive.namelist():
        raise TraceFileError(f"the member {name!r} is missing")
    try:
        with archive.open(name + ".npy") as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # reading to the end is also what makes zipfile compare the checksum
                raise ValueError("it is longer than its array")
    except DAMAGE as error:
        raise TraceFileError(f"the member {name!r} is damaged: {error}") from error
    return array


def _read(file: IO[bytes]) -> dict[str, Any]:
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise TraceFileError(f"not a saved trace, or cut off: {error}") from error
    with archive:
        if HEADER + ".npy" not in archive.namelist():
            raise TraceFileError(f"not a saved trace: the member {HEADER!r} is missing")
        try:
            header = json.loads(_member(archive, HEADER).tobytes())
            version = header["version"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, TraceFileError):
                raise
            raise TraceFileError(f"the member {HEADER!r} is damaged: {error}") from error
        if version != VERSION:
            raise TraceFileError(f"its format is version {version!r}, this release reads version {VERSION}")
        try:
            tree = _unpack(header["tree"], archive)
            return dict(tree)
        except TraceFileError:
            raise
        except DAMAGE as error:
            raise TraceFileError(f"the member {HEADER!r} is damaged: {error}") from error
