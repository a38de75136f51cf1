"""Where draws go: arrays in memory, or a memory-mapped file whose room on the disk is reserved."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, InputTypeError
from .trace_files import mapped


def path(name: str, value: Any) -> Path | None:
    """The argument `name`, a path in a folder that exists, or None."""
    if value is None:
        return None
    try:
        where = Path(os.fsdecode(value))
    except TypeError:
        raise InputTypeError(f"{name}: expected a path, got {type(value).__name__}") from None
    if where.is_dir():
        raise InputError(f"{name}: {where} is a folder, expected a file")
    if not where.parent.is_dir():
        raise InputError(f"{name}: the folder of {where} does not exist")
    return where


def check(shape: tuple[int, int, int], warmup: int, info: np.dtype[Any], dtype: Any, store: Path | None) -> None:
    """Raise where draws of this shape cannot be kept, before anything runs."""
    chains, draws, dim = shape
    numbers = chains * draws * dim * np.dtype(dtype).itemsize
    memory = chains * (draws + warmup) * info.itemsize + (numbers if store is None else 0)
    # asked of the machine, since Linux hands out more memory than there is and kills the process that uses it
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory > there:
        hint = "; store= keeps the draws in a file" if store is None and numbers > memory // 2 else ""
        raise InputError(
            f"draws, warmup, chains: {chains} chains of {warmup} + {draws} draws of dimension {dim} need "
            f"{memory / 2**30:.3g} GiB of memory, this machine has {there / 2**30:.3g} GiB{hint}"
        )


def check_other(where: Sink, draws: NDArray[Any], saved: Path | None) -> None:
    """Raise where a new run would replace the file that `draws` are mapped from, or the one that they are saved in."""
    files: dict[str, Any] = {"store": mapped(draws), "checkpoint": {saved}}
    for name, held in files.items():
        file = getattr(where, name)
        if file is not None and file.resolve() in held:
            raise InputError(f"{name}: {file} holds the draws of the run to be resumed, expected another file")


def allocate(
    shape: tuple[int, int, int], warmup: int, info: np.dtype[Any], dtype: Any, store: Path | None
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Draws, statistics and warm-up statistics."""
    try:
        draws = np.empty(shape, dtype) if store is None else _memory_map(store, shape, dtype)
        # not zeroed: fresh pages from calloc cost ten times as much as what the chain does to fill them
        return draws, np.empty(shape[:2], info), np.empty((shape[0], warmup), info)
    except MemoryError as error:
        raise InputError(f"draws, warmup, chains: no memory for draws of shape {shape}: {error}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"store: no room for draws of shape {shape}, {dtype}, in {store}: {error}") from error


def _memory_map(file: Path, shape: tuple[int, int, int], dtype: Any) -> NDArray[Any]:
    """A new .npy file in place of one that may still be mapped by an earlier trace.

    Its blocks are reserved: writing to a hole of a file on a full disk would be a bus error in a worker thread.
    """
    temporary = f"{file}.{os.urandom(6).hex()}.tmp"
    try:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        with open(temporary, "r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, os.path.getsize(temporary))
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    draws: NDArray[Any] = np.lib.format.open_memmap(file, mode="r+")
    return draws


class Sink(NamedTuple):
    """Where draws and checkpoints go."""

    dtype: str
    store: Path | None
    checkpoint: Path | None


def _kept_dtype(value: Any) -> str:
    """The name of a dtype that draws are kept in, however NumPy lets it be given."""
    try:
        name = np.dtype(value).name if isinstance(value, str | type | np.dtype) else None
    except TypeError:  # a string that names none
        name = None
    if name not in ("float64", "float32"):
        raise InputError(f"dtype: expected 'float64' or 'float32', got {value!r}")
    return name


def sink(dtype: Any, store: Any, checkpoint: Any, data: frozenset[Path]) -> Sink:
    """What the arguments of the same names say, each checked; the files of `data` are not to be replaced."""
    where = Sink(_kept_dtype(dtype), path("store", store), path("checkpoint", checkpoint))
    if where.store is not None and where.checkpoint is not None and where.store.resolve() == where.checkpoint.resolve():
        raise InputError(f"store, checkpoint: expected two files, got {where.store} for both")
    for name, file in (("store", where.store), ("checkpoint", where.checkpoint)):
        if file is not None and file.resolve() in data:
            raise InputError(f"{name}: {file} holds the data of the log density, expected another file")
    return where
