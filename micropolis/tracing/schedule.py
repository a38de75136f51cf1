"""The order in which a graph is computed: scalar code, fused loops over equal numbers of elements, whole operations.

A stage runs at a time t: scalar code at 3 l, loops at 3 l + 1, whole operations at 3 l + 2, for levels l = 0, 1, ... A
loop goes over its elements in tiles; what one operation of it leaves in a tile the next ones take from there, so that
only what other stages need is stored. Sums and scatters belong to the loop over their operand's elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .columns import by_columns
from .elementwise import ELEMENTWISE
from .graph import Graph, Node, reachable, rebuild

SCALAR, LOOP, WHOLE = 0, 1, 2
# Operations of a loop over their operand's elements, whose result is complete when the loop is.
REDUCTIONS = frozenset(["sum", "greatest", "matvec_t"])


@dataclass(frozen=True)
class Item:
    """A node to compute, or one part of an `assemble` to put in its place."""

    node: Node
    part: int = -1


@dataclass
class Stage:
    """Operations that run together; `size` is the number of elements of a loop."""

    kind: int
    size: int
    items: list[Item] = field(default_factory=list)


@dataclass
class Schedule:
    """Stages in order, and which results of loops are stored.

    Attributes
    ----------
    outputs : list of Node
    order : list of Node
        All nodes that are needed.
    stages : list of Stage
    stored : set of int
        Numbers of the nodes that need memory of their own outside of tiles.
    added : set of int
        Numbers of the `assemble` nodes whose parts are added to zeros, not just put.
    """

    outputs: list[Node]
    order: list[Node]
    stages: list[Stage]
    stored: set[int]
    added: set[int]


def lowered(outputs: Sequence[Node], graph: Graph) -> list[Node]:
    """The outputs in the operations that are computed."""

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op == "logsumexp":
            (a, r, b), x = node.data, args[0]
            top = graph.greatest(x, a, r, b)
            shift = graph.where(graph.apply("isfinite", top), top, 0.0)
            terms = graph.apply("exp", x - graph.expand(shift, a, r, b))
            return shift + graph.apply("log", graph.sum(terms, a, r, b))
        return args[0] if node.op == "mark" else None

    return rebuild(by_columns(outputs, graph), graph, change)


def is_alias(node: Node) -> bool:
    """Whether a node is a piece of the memory of its operand."""
    return node.op == "gather" and (node.size == 1 or is_straight(node.data))


def is_straight(numbers: np.ndarray) -> bool:
    return int(numbers[-1]) - int(numbers[0]) == numbers.size - 1 and bool(np.all(numbers[1:] - numbers[:-1] == 1))


def schedule(outputs: Sequence[Node]) -> Schedule:
    order = reachable(outputs)
    time: dict[int, int] = {}  # when a node is complete; missing: from the start
    resident: dict[int, int] = {}  # size of the loop in whose tiles a node is
    scalar: set[int] = set()  # computed by scalar code
    alias: set[int] = set()
    stored: set[int] = {node.number for node in outputs}
    added: set[int] = set()
    stages: dict[tuple[int, int], Stage] = {}

    def put(kind: int, size: int, earliest: int, item: Item) -> int:
        at = earliest + (kind - earliest) % 3
        stage = stages.get((at, size if kind == LOOP else 0))
        if stage is None:
            stage = stages[at, size if kind == LOOP else 0] = Stage(kind, size if kind == LOOP else 1)
        stage.items.append(item)
        return at

    def after(arg: Node, kind: int, size: int, aligned: bool) -> int:
        """The earliest time for a use of `arg` by a stage of a kind."""
        if arg.number not in time:
            return 0
        at = time[arg.number]
        if (kind == SCALAR and arg.number in scalar) or (kind == WHOLE and at % 3 == WHOLE):
            return at
        if kind == LOOP and aligned and resident.get(arg.number) == size:
            return at
        return at + 1

    for node in order:
        op, args = node.op, node.args
        if op in ("input", "constant"):
            continue
        if is_alias(node):
            source = args[0]
            alias.add(node.number)
            stored.add(source.number)
            if source.number in time:
                time[node.number] = time[source.number]
                if source.number in scalar:
                    scalar.add(node.number)
            continue
        if op == "assemble":
            latest, all_scalar = 0, True
            if not _disjoint(node):
                added.add(node.number)
            for i, (part, place) in enumerate(zip(args, node.data, strict=True)):
                count = place[1] - place[0] if isinstance(place, tuple) else place.size
                if part.is_constant and node.number not in added:
                    continue  # in the memory from the start
                if count == 1 and part.size == 1 and isinstance(place, tuple):
                    at = put(SCALAR, 1, after(part, SCALAR, 1, False), Item(node, i))
                else:
                    at = put(LOOP, count, after(part, LOOP, count, part.size == count), Item(node, i))
                    all_scalar = False
                latest = max(latest, at)
            time[node.number] = latest
            stored.add(node.number)
            if all_scalar:
                scalar.add(node.number)
            continue
        if op in ELEMENTWISE and node.size == 1:
            time[node.number] = put(SCALAR, 1, max([after(a, SCALAR, 1, False) for a in args], default=0), Item(node))
            scalar.add(node.number)
            continue
        if op in ELEMENTWISE:
            size, aligned = node.size, [a.size == node.size for a in args]
        elif op in REDUCTIONS:
            size = args[-1].size
            aligned = [op != "matvec_t"] if len(args) == 1 else [False, True]
        elif op in ("gather", "expand", "matvec"):
            size, aligned = node.size, [False] * len(args)
        else:
            time[node.number] = put(WHOLE, 1, max(after(a, WHOLE, 1, False) for a in args), Item(node))
            stored.add(node.number)
            continue
        earliest = max(after(a, LOOP, size, ok) for a, ok in zip(args, aligned, strict=True))
        time[node.number] = put(LOOP, size, earliest, Item(node))
        if op in REDUCTIONS:
            stored.add(node.number)
        else:
            resident[node.number] = size
    # what is used outside of the stage that computes it
    for (at, _), stage in stages.items():
        for item in stage.items:
            node = item.node
            used = [node.args[item.part]] if item.part >= 0 else node.args
            for k, arg in enumerate(used):
                if arg.number not in resident:
                    continue
                inside = stage.kind == LOOP and resident[arg.number] == stage.size and time[arg.number] == at
                if not inside or (item.part < 0 and not _aligned(node, k)):
                    stored.add(arg.number)
    for node in order:  # a piece of memory wants its memory
        if node.number in alias:
            stored.add(node.args[0].number)
    return Schedule(list(outputs), order, [stages[key] for key in sorted(stages)], stored, added)


def _aligned(node: Node, k: int) -> bool:
    """Whether operand k of a node in a loop is taken element by element."""
    if node.op in ELEMENTWISE or node.op in ("sum", "greatest"):
        return True
    return node.op == "matvec_t" and k == 1


def _disjoint(node: Node) -> bool:
    """Whether no element of an `assemble` is written twice."""
    seen = np.zeros(node.size, dtype=bool)
    for place in node.data:
        if isinstance(place, tuple):
            if seen[slice(*place)].any():
                return False
            seen[slice(*place)] = True
        else:
            if seen[place].any() or np.unique(place).size < place.size:
                return False
            seen[place] = True
    return True
