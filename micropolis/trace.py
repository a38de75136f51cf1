"""Trace: the draws and statistics of a run, with what a later run needs to go on where this one stopped."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import checks, diagnostics, trace_files, workers
from .errors import InputError, MicropolisError, TraceFileError, UnknownNameError
from .protocol import KERNELS, Kernel, options_as_dict

# ArviZ's conventional names of the fields of our info records.
ARVIZ_NAMES = {
    "divergent": "diverging",
    "logp": "lp",
    "accept_prob": "acceptance_rate",
    "n_grad": "n_steps",
    "depth": "tree_depth",
}
QUANTILES = (0.05, 0.5, 0.95)


@dataclasses.dataclass(kw_only=True, eq=False, repr=False)
class Trace:
    """Draws of several chains, their statistics, and the final state of everything that a resumed run needs.

    Made by `micropolis.sample`. ``trace["tau"]`` is a parameter by name, on its constrained scale, (chains, draws,
    *shape); ``trace["theta[2]"]`` is one element of it. Iteration and `keys` go over the names, ``len(trace)`` is the
    number of draws of each chain.

    Parameters
    ----------
    draws : ndarray or memmap of float64 or float32, (chains, draws, dim)
        Unconstrained coordinates.
    stats : structured ndarray, (chains, draws)
        The kernel's info record of each kept draw.
    warmup_stats : structured ndarray, (chains, warmup)
    kernels : tuple of Kernel
        Tuned kernel of each chain.
    names : tuple of str
        One flat name per coordinate.
    parameters : micropolis.parameters.ParameterSpace, optional
        Named, constrained parameters behind the coordinates.
    states : list of dict of ndarray
        Final state buffers of each chain.
    rng_states : list of dict
        Final ``bit_generator.state`` of each chain.
    thin : int
        Steps per kept draw.
    recipe : tuple, optional
        (class name, arguments) of a library density; a run with any other density is resumed by passing it again.
    ragged : list of dict
        Where a run was interrupted: per chain the ``draws`` (n, dim) and ``stats`` (n,) beyond the common length.
    warmup_done : int
        Completed warm-up draws.
    seconds : tuple of float
        Wall time of the run, warm-up included.
    settings : dict
        What else `resume` needs: plain values and arrays.
    adaptation : list of dict or None, optional
        State of a warm-up that was interrupted, per chain.

    Raises
    ------
    InputError, InputTypeError
        If shapes or lengths do not fit each other.
    """

    draws: NDArray[Any]
    stats: NDArray[Any]
    warmup_stats: NDArray[Any]
    kernels: tuple[Kernel, ...]
    names: tuple[str, ...]
    parameters: Any = None
    states: list[dict[str, NDArray[Any]]]
    rng_states: list[dict[str, Any]]
    thin: int = 1
    recipe: tuple[Any, ...] | None = None
    ragged: list[dict[str, NDArray[Any]]] = dataclasses.field(default_factory=list)
    warmup_done: int = 0
    seconds: tuple[float, ...] = (0.0, 0.0)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    adaptation: list[Any] | None = None
    file = cast("Path | None", None)  # where this very trace was last saved, or loaded from; not a field: not saved

    def __post_init__(self) -> None:
        if not (isinstance(self.draws, np.ndarray) and self.draws.ndim == 3 and self.draws.dtype in ("f4", "f8")):
            raise InputError(f"draws: expected a float array (chains, draws, dim), got {_described(self.draws)}")
        chains = len(self.draws)
        for name, shape in (("stats", self.draws.shape[:2]), ("warmup_stats", (chains, None))):
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and array.ndim == 2 and array.dtype.names) or any(
                expected not in (None, got) for expected, got in zip(shape, array.shape, strict=True)
            ):
                expected = ", ".join("warmup" if n is None else str(n) for n in shape)
                raise InputError(f"{name}: expected a structured array ({expected}), got {_described(array)}")
        self.names, self.kernels = tuple(self.names), tuple(self.kernels)
        if len(self.names) != self.dim:
            raise InputError(f"names: expected {self.dim} names, got {len(self.names)}")
        for name in ("kernels", "states", "rng_states"):
            if len(getattr(self, name)) != chains:
                raise InputError(f"{name}: expected one per chain ({chains}), got {len(getattr(self, name))}")
        for name in ("ragged", "adaptation"):
            if getattr(self, name) and len(getattr(self, name)) != chains:
                raise InputError(f"{name}: expected none or one per chain ({chains}), got {len(getattr(self, name))}")
        self.thin = checks.integer("thin", self.thin, least=1)
        self.warmup_done = checks.integer("warmup_done", self.warmup_done, least=0)

    # -- what is in it -------------------------------------------------------------------------------------------

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return int(self.draws.shape[0])

    @property
    def n_draws(self) -> int:
        """Number of kept draws of each chain."""
        return int(self.draws.shape[1])

    @property
    def dim(self) -> int:
        """Number of unconstrained coordinates."""
        return int(self.draws.shape[2])

    def __len__(self) -> int:
        return self.n_draws

    def __bool__(self) -> bool:
        return True  # also without draws: `if trace:` asks whether there is one

    def __repr__(self) -> str:
        kernel = type(self.kernels[0]).__name__ if self.kernels else "no kernel"
        parts = [f"{self.n_chains} chains x {self.n_draws} draws", f"dim {self.dim}"]
        if self.warmup_done:
            parts.append(f"{self.warmup_done} warm-up draws")
        if self.thin > 1:
            parts.append(f"thin {self.thin}")
        if extra := sum(len(chain["draws"]) for chain in self.ragged):
            parts.append(f"interrupted, {extra} more draws in ragged")
        parts.append(f"{np.count_nonzero(self.stats['divergent'])} divergent")
        return f"<Trace of {kernel}: {', '.join(parts)}>"

    def __getstate__(self) -> dict[str, Any]:
        # a memory map pickles as an array: the other process may not have the file
        state = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**state, "draws": np.asarray(self.draws)}

    def _constrained(self, draws: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Parameters (chains, draws, *shape) by name; without a ParameterSpace the coordinates, as views.

        Coordinates named a[0], a[1], ... or w[0,0], w[0,1], ... in order and without a gap are one array.
        """
        if self.parameters is not None:
            return dict(self.parameters.constrain_draws(draws))
        stems: dict[str, list[tuple[int, tuple[int, ...]]]] = {}  # (position, index), () for a name without one
        for position, name in enumerate(self.names):
            match = re.fullmatch(r"(.+)\[(\d+(?:,\d+)*)\]", name)
            index = tuple(int(i) for i in match[2].split(",")) if match else ()
            stems.setdefault(match[1] if match else name, []).append((position, index))
        variables: dict[str, NDArray[Any]] = {}
        for stem, members in stems.items():
            first, shape, n = members[0][0], tuple(i + 1 for i in members[-1][1]), len(members)
            if math.prod(shape) == n and members == list(zip(itertools.count(first), np.ndindex(shape), strict=False)):
                variables[stem] = draws[:, :, first : first + n].reshape(*draws.shape[:2], *shape)
            else:
                variables.update({self.names[position]: draws[:, :, position] for position, _ in members})
        return variables

    @cached_property
    def _variables(self) -> dict[str, NDArray[Any]]:
        return self._constrained(self.draws)

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter, from one point: the draws may be many, or none."""
        return {name: array.shape[2:] for name, array in self._constrained(np.zeros((1, 1, self.dim))).items()}

    def keys(self) -> tuple[str, ...]:
        """Names of the parameters, or of the coordinates where the density has no named parameters."""
        return tuple(self._shapes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def _find(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """Parameter and index that a name stands for."""
        if name in self._shapes:
            return name, ()
        match = re.fullmatch(r"(.+)\[(\d+(?:, ?\d+)*)\]", name)
        if match is None or match[1] not in self._shapes:
            return None
        index, shape = tuple(int(i) for i in match[2].split(",")), self._shapes[match[1]]
        inside = len(index) == len(shape) and all(i < n for i, n in zip(index, shape, strict=True))
        return (match[1], index) if inside else None

    def _element(self, name: str, index: tuple[int, ...]) -> NDArray[Any]:
        where: tuple[Any, ...] = (slice(None), slice(None), *index)
        element: NDArray[Any] = self._variables[name][where]
        return element

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Draws of a parameter (chains, draws, *shape), constrained; of one element (chains, draws) by ``"a[1]"``.

        Raises
        ------
        UnknownNameError
            A KeyError; the message lists the names there are.
        """
        found = self._find(name) if isinstance(name, str) else None
        if found is None:
            known = [f"{key}{list(shape) if shape else ''}" for key, shape in self._shapes.items()]
            listed = ", ".join(known[:20]) + (f", ... ({len(known)} in all)" if len(known) > 20 else "")
            raise UnknownNameError(f"trace[{name!r}]: no such parameter; there are (with shapes) {listed}")
        return self._element(*found)

    # -- statistics ----------------------------------------------------------------------------------------------

    def diagnose(self) -> list[str]:
        """Warnings, one readable sentence each; empty if nothing was found.

        Looks at divergences, split R-hat, effective sample size, E-BFMI, saturated tree depth and chains that stand
        still, in one pass over the draws (see `micropolis.diagnostics`); `summary` has ArviZ's sharper statistics.

        Returns
        -------
        list of str
        """
        threads = self.settings.get("threads") or workers.available()
        return diagnostics.warnings(self.draws, self.stats, self.kernels, self.names, threads)

    def summary(self) -> Any:
        """Mean, sd, quantiles, Monte Carlo error, effective sample sizes and R-hat of every parameter.

        The diagnostics are ArviZ's own (rank-normalised R-hat, bulk and tail ESS; Vehtari et al. 2021).

        Returns
        -------
        pandas.DataFrame
            One row per scalar element; columns mean, sd, 5%, 50%, 95%, mcse_mean, ess_bulk, ess_tail, r_hat.

        Raises
        ------
        MissingExtraError
            Without ArviZ, with the pip command.
        """
        arviz = checks.extra("arviz", "arviz", "trace.summary")
        pandas = checks.extra("pandas", "arviz", "trace.summary")
        if self.n_draws == 0:
            raise InputError("trace.summary: the trace has no draws")
        rows = {}
        for name, shape in self._shapes.items():
            for index in itertools.product(*(range(n) for n in shape)):
                label = f"{name}[{','.join(map(str, index))}]" if shape else name
                rows[label] = _summary_row(arviz, np.asarray(self._element(name, index), dtype=np.float64))
        return pandas.DataFrame.from_dict(rows, orient="index")

    def to_arviz(self) -> Any:
        """The trace for ArviZ: groups posterior, sample_stats and, if there was a warm-up, warmup_sample_stats.

        Returns
        -------
        arviz.InferenceData or xarray.DataTree
            With ArviZ 0.x and 1.x. Statistics have ArviZ's conventional names (diverging, lp, n_steps ...).

        Raises
        ------
        MissingExtraError
            Without ArviZ, with the pip command.
        """
        arviz = checks.extra("arviz", "arviz", "trace.to_arviz")
        groups = {"posterior": dict(self._variables), "sample_stats": _arviz_stats(self.stats)}
        if self.warmup_stats.shape[1]:
            groups["warmup_sample_stats"] = _arviz_stats(self.warmup_stats)
        if int(arviz.__version__.split(".")[0]) == 0:
            data = arviz.from_dict(**groups, save_warmup=True)
        else:
            data = arviz.from_dict(groups, save_warmup=True)
        data["posterior"].attrs.update(inference_library="micropolis", sampler=type(self.kernels[0]).__name__)
        return data

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to an .npz file without pickle; what was at `path` is replaced in one step or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TraceWriteError
            A full disk, a folder that cannot be written to; names path and reason. The trace is intact.
        """
        tree = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        tree["kernels"] = [
            {"name": kernel.name, "module": type(kernel).__module__, "options": options_as_dict(kernel)}
            for kernel in self.kernels
        ]
        if self.parameters is not None:
            tree["parameters"] = self.parameters.to_json()
        trace_files.write(path, tree)
        self.file = Path(path).resolve()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """The trace that `save` wrote, the same to the bit.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        Trace

        Raises
        ------
        TraceFileError
            If the file is missing, cut off, damaged, not a trace, or of another format version.
        """
        tree = trace_files.read(path)
        expected = {field.name for field in dataclasses.fields(cls)}
        if tree.keys() != expected:
            wrong = ", ".join(sorted(tree.keys() ^ expected))
            raise TraceFileError(f"{os.fspath(path)}: not a saved trace: missing or unknown entries {wrong}")
        try:
            tree["kernels"] = tuple(_kernel(record) for record in tree["kernels"])
            if tree["parameters"] is not None:
                from .parameters import ParameterSpace

                tree["parameters"] = ParameterSpace.from_json(tree["parameters"])
            info = tree["kernels"][0].INFO
            tree["stats"], tree["warmup_stats"] = _records(tree["stats"], info), _records(tree["warmup_stats"], info)
            tree["ragged"] = [{**chain, "stats": _records(chain["stats"], info)} for chain in tree["ragged"]]
            trace = cls(**tree)
        except (MicropolisError, KeyError, TypeError, ValueError, AttributeError, IndexError, ImportError) as error:
            raise TraceFileError(f"{os.fspath(path)}: its content does not fit together: {error}") from error
        trace.file = Path(path).resolve()
        return trace


def _described(value: Any) -> str:
    return f"shape {value.shape} dtype {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__


def _records(stats: NDArray[Any], info: np.dtype[Any]) -> NDArray[Any]:
    """Info records from a file, which does not keep that their dtype is aligned."""
    if stats.dtype != info:
        raise ValueError(f"the statistics have dtype {stats.dtype}, those of the kernel {info}")
    return stats.view(info)


@np.errstate(all="ignore")  # ArviZ divides 0 by 0 for elements that are constant by their kind
def _summary_row(arviz: Any, x: NDArray[np.float64]) -> dict[str, Any]:
    """What `summary` says of an element (chains, draws)."""
    return {
        "mean": np.mean(x),
        "sd": np.std(x, ddof=1),
        **{f"{100 * q:g}%": value for q, value in zip(QUANTILES, np.quantile(x, QUANTILES), strict=True)},
        "mcse_mean": np.asarray(arviz.mcse(x, method="mean")).item(),  # ArviZ 0.x gives an array of one
        "ess_bulk": float(arviz.ess(x, method="bulk")),
        # the quantiles are given because ArviZ 0.x and 1.x differ in their default
        "ess_tail": float(arviz.ess(x, method="tail", prob=(0.05, 0.95))),
        "r_hat": float(arviz.rhat(x)),
    }


def _arviz_stats(stats: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {ARVIZ_NAMES.get(name, name): stats[name] for name in stats.dtype.names or ()}


def _kernel(record: dict[str, Any]) -> Kernel:
    """A kernel from its name and options; its module is imported only if it is one of ours."""
    if record["name"] not in KERNELS and re.fullmatch(r"micropolis(\.\w+)+", record["module"]):
        importlib.import_module(record["module"])
    if record["name"] not in KERNELS:
        raise ValueError(f"unknown kernel {record['name']!r}: import {record['module']}, which registers it, first")
    return KERNELS[record["name"]](**record["options"])
