"""A log density that is the sum of others: the blocks that splitting integrators evaluate one at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._density import CDensity, library
from ..density import Density
from ..errors import InputError, InputTypeError
from .target import Array, words

MOST_BLOCKS = 4096  # MP_MOST_BLOCKS


class BlockDensity(Density):
    """The sum of log densities over the same coordinates; see `Density.from_blocks`.

    Parameters
    ----------
    terms : sequence of Density
        1 to 4096 of the same dimension, on unconstrained coordinates: with constrained parameters in each of them the
        log Jacobian would count as often.

    Raises
    ------
    InputTypeError
        Not a sequence of densities.
    InputError
        None or too many, of different dimensions, or more than one with parameters of its own.

    Examples
    --------
    >>> import micropolis as mp
    >>> BlockDensity([mp.densities.Gaussian([0.0]), mp.densities.Gaussian([2.0])]).hessian([3.0])
    array([[-2.]])
    """

    def __init__(self, terms: Sequence[Density]) -> None:
        if not isinstance(terms, Sequence) or not all(isinstance(term, Density) for term in terms):
            got = [type(term).__name__ for term in terms] if isinstance(terms, Sequence) else type(terms).__name__
            raise InputTypeError(f"terms: expected a sequence of densities, got {got}")
        if not 1 <= len(terms) <= MOST_BLOCKS:
            raise InputError(f"terms: expected 1 to {MOST_BLOCKS} densities, got {len(terms)}")
        dims = {term.dim for term in terms}
        if len(dims) > 1:
            raise InputError(f"terms: expected densities of one dimension, got {sorted(dims)}")
        named = [term for term in terms if term.parameters is not None]
        if len(named) > 1:
            raise InputError(
                f"terms: expected at most one with constrained parameters, got {len(named)}, each with its log Jacobian"
            )
        self.terms = tuple(terms)
        first = named[0] if named else terms[0]
        self.parameters = first.parameters
        self.holds_gil = any(term.holds_gil for term in terms)
        self.files = frozenset().union(*(term.files for term in terms))
        super().__init__(first.dim, first.names)

    def _bind(self) -> CDensity:
        handles = [term._bind() for term in self.terms]
        curved = all(handle.functions["hessian"] and handle.functions["hvp"] for handle in handles)
        scratch = np.empty(self.dim**2 if curved else self.dim)
        addresses = words(*(handle.address for handle in handles))
        struct = words(len(handles), addresses, scratch)

        def explain(x: Array) -> BaseException | None:
            """The exception of the term that failed, which raises it again where it left none behind."""
            for handle in handles:
                if handle.target is not None and handle.target.error is not None:
                    return handle.failure(-1, x)
            for handle in handles:
                code, _ = handle.call_logp_grad(x, np.empty(self.dim))
                if code < 0:
                    return handle.failure(code, x)
            return None

        return CDensity(
            self.dim,
            user_data=struct.ctypes.data,
            keep_alive=(struct, addresses, scratch, handles),
            template=library()["blocks_curved" if curved else "blocks"],
            n_blocks=len(handles),
            explain=explain,
            targets=tuple(target for handle in handles for target in handle.targets),
        )

    def __repr__(self) -> str:
        return f"<BlockDensity: {self.dim} dimensions, {len(self.terms)} terms>"
