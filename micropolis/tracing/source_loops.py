"""One loop of emitted source: a fused group of operations over equal numbers of elements, see source.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementwise import ELEMENTWISE
from .graph import Node
from .schedule import Item, Stage

if TYPE_CHECKING:
    from .source import Emitter

UNROLLED = 32
Place = tuple[str, int]  # array and offset


def at(place: Place, index: str = "") -> str:
    """An element of an array, `index` counted from where a node starts."""
    array, offset = place
    if not index:
        return f"{array}[{offset}]"
    return f"{array}[{offset} + {index}]" if offset else f"{array}[{index}]"


def indented(lines: Sequence[str]) -> list[str]:
    return [" " + line for line in lines]


class Loop:
    """Element i after the other; where rows of a table are summed or repeated, in nested loops.

    A table (A, R, B) is gone through as ``for j in A: for k in R: for l in B``, without those of one step.
    """

    def __init__(self, emitter: Emitter, stage: Stage) -> None:
        self.emitter, self.stage, self.literal = emitter, stage, emitter.literal
        self.before: list[str] = []
        self.before_row: list[str] = []
        self.body: list[str] = []
        self.after_row: list[str] = []
        self.after: list[str] = []
        self.residents: list[int] = []
        self.shape: tuple[int, int, int] | None = None
        for item in stage.items:
            if item.part < 0 and item.node.op in ("sum", "greatest", "expand") and self.shape is None:
                a, _, b = item.node.data
                self.shape = item.node.data if a > 1 or b > 1 else None

    def run(self) -> None:
        emitter = self.emitter
        for item in self.stage.items:
            if item in emitter.dropped:
                continue
            if item.part >= 0:
                self.put(item)
            elif item.node.op in ELEMENTWISE:
                self.keep(item.node, emitter.expression(item.node.op, [self.element(a) for a in item.node.args]))
            else:
                getattr(self, item.node.op)(item.node)
        for number in self.residents:
            del emitter.local[number]
        emitter.say(*self.before, *(self.nested() if self.body else []), *self.after)

    def nested(self) -> list[str]:
        if self.shape is None:
            return [f"for i in range({self.stage.size}):", *indented(self.body)]
        a, r, b = self.shape
        number = f"j * {r} + k" if a > 1 and r > 1 else "j" if a > 1 else "k"
        if b > 1:
            number = f"({number}) * {b} + l" if a > 1 or r > 1 else "l"
        lines = [f"i = {number}", *self.body]
        if b > 1:
            lines = [f"for l in range({b}):", *indented(lines)]
        if r > 1:
            lines = [f"for k in range({r}):", *indented(lines)]
        lines = [*self.before_row, *lines, *self.after_row]
        return [f"for j in range({a}):", *indented(lines)] if a > 1 else lines

    # -- operands and results ----------------------------------------------------------------------------------------

    def element(self, node: Node) -> str:
        """Element i of a node, or the one that it has."""
        if node.size == 1:
            return self.emitter.scalar(node)
        if node.number in self.emitter.local:
            return self.emitter.local[node.number]
        return at(self.emitter.place(node), "i")

    def keep(self, node: Node, text: str) -> None:
        """An element of this loop as a local variable; in memory too, where others need it."""
        emitter = self.emitter
        name = emitter.name()
        self.body.append(f"{name} = {text}")
        if node.size > 1:
            if node.number in emitter.stored:
                self.body.append(f"{at(emitter.place(node), 'i')} = {name}")
            self.residents.append(node.number)
        emitter.local[node.number] = name

    def reduced(self, node: Node) -> str:
        """The number of the element of a reduced table that element i of it belongs to."""
        a, r, b = node.data
        if self.shape == (a, r, b):
            return "j" if b == 1 else "l" if a == 1 else f"j * {b} + l"
        row = f"i // {r * b}" if a > 1 else ""
        if b == 1:
            return row
        return f"({row} * {b} + i % {b})" if row else f"i % {b}"

    def index(self, numbers: Any, place: Place) -> str:
        """An element of an array by element numbers, which may go in even steps."""
        array, offset = place
        step = int(numbers[1] - numbers[0]) if numbers.size > 1 else 0
        if np.all(numbers[1:] - numbers[:-1] == step):
            first = offset + int(numbers[0])
            return f"{array}[{first} + {step} * i]" if step >= 0 else f"{array}[{first} - {-step} * i]"
        return f"{array}[t[{self.emitter.table(numbers + offset)} + i]]"

    # -- operations --------------------------------------------------------------------------------------------------

    def put(self, item: Item) -> None:
        """One part of an `assemble`."""
        node, place = item.node, item.node.data[item.part]
        array, start = self.emitter.place(node)
        target = at((array, start + place[0]), "i") if isinstance(place, tuple) else self.index(place, (array, start))
        sign = "+=" if node.number in self.emitter.plan.added else "="
        self.body.append(f"{target} {sign} {self.element(node.args[item.part])}")

    def gather(self, node: Node) -> None:
        self.keep(node, self.index(node.data, self.emitter.place(node.args[0])))

    def expand(self, node: Node) -> None:
        source = node.args[0]
        if source.size == 1:
            self.keep(node, self.emitter.scalar(source))
        else:
            self.keep(node, at(self.emitter.place(source), self.reduced(node)))

    def sum(self, node: Node) -> None:
        self.reduce(node, 0.0, "{0} += {1}")

    def greatest(self, node: Node) -> None:
        """NaN stays."""
        element = self.emitter.name()
        self.body.append(f"{element} = {self.element(node.args[0])}")
        self.reduce(node, -np.inf, f"{{0}} = {element} if {element} > {{0}} or {element} != {element} else {{0}}")

    def reduce(self, node: Node, start: float, update: str) -> None:
        emitter, element = self.emitter, self.element(node.args[0])
        if node.size == 1:
            name = emitter.local[node.number] = emitter.name()
            self.before.append(f"{name} = {self.literal(start)}")
            self.body.append(update.format(name, element))
            return
        place, (_, _, b) = emitter.place(node), node.data
        if self.shape == node.data and b == 1:
            name = emitter.name()
            self.before_row.append(f"{name} = {self.literal(start)}")
            self.body.append(update.format(name, element))
            self.after_row.append(f"{at(place, 'j')} = {name}")
            return
        self.before += [f"for i in range({node.size}):", f" {at(place, 'i')} = {self.literal(start)}"]
        self.body.append(update.format(at(place, self.reduced(node)), element))

    def matvec(self, node: Node) -> None:
        (matrix, vector), (rows, columns), emitter = node.args, node.data, self.emitter
        start = self.matrix(matrix, rows, columns)
        if columns <= UNROLLED:
            terms = [f"c[{start + j * rows} + i] * {emitter.element(vector, j)}" for j in range(columns)]
            emitter.instructions += columns
            self.keep(node, " + ".join(terms))
            return
        total = emitter.name()
        self.body += [f"{total} = {self.literal(0.0)}", f"for m in range({columns}):"]
        self.body.append(f" {total} += c[{start} + i * {columns} + m] * {at(emitter.place(vector), 'm')}")
        self.keep(node, total)

    def matvec_t(self, node: Node) -> None:
        (matrix, vector), (rows, columns), emitter = node.args, node.data, self.emitter
        start, place, element = self.matrix(matrix, rows, columns), emitter.place(node), self.element(vector)
        if columns <= UNROLLED:
            for j in range(columns):
                total = emitter.name()
                self.before.append(f"{total} = {self.literal(0.0)}")
                self.body.append(f"{total} += c[{start + j * rows} + i] * {element}")
                self.after.append(f"{at(place, str(j))} = {total}")
            return
        self.before += [f"for m in range({columns}):", f" {at(place, 'm')} = {self.literal(0.0)}"]
        self.body.append(f"for m in range({columns}):")
        self.body.append(f" {at(place, 'm')} += c[{start} + i * {columns} + m] * {element}")

    def matrix(self, node: Node, rows: int, columns: int) -> int:
        """Where a constant matrix starts: by columns where they are written out, otherwise by rows."""
        if columns > UNROLLED:
            return self.emitter.constants(("constant", node.number), node.data)
        return self.emitter.constants(("columns", node.number, rows), node.data.reshape(rows, columns).T)
