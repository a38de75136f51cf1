"""The array program as a graph: nodes are operations on flat arrays of doubles, equal ones are one node.

A node is a flat array of `size` elements in C order; shapes are the tracer's (arrays.py). Elementwise operations take
operands of their own size or single elements; every other kind of broadcasting is a node of its own (`expand`). What is
known when the graph is built is computed by NumPy itself, so that constants have NumPy's own values. Booleans are 0.0
and 1.0.

Operations that are not elementwise, with (A, R, B) for an array seen as A blocks of R rows of B elements:

    input      one of the program's arguments; data: its name
    constant   data: its elements
    gather     elements of a node; data: their numbers
    assemble   zeros, to which parts are added at places; data: one place for each part, (start, stop) or element
    numbers sum        over R; data: (A, R, B)             expand     the inverse: every element R times
    greatest   largest over R, without derivative  cumsum     running sum over R; data: (A, R, B, backwards)
    logsumexp  over R; data: (A, R, B)
    matvec     constant matrix times vector; data: the matrix; `matvec_t` by its transpose
    matmul     (m, k) times (k, n); data: (m, k, n, whether the first, the second comes transposed)
    and those of linear algebra, see linalg_rules.py and matrix_functions.py.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DensityError
from .elementwise import ELEMENTWISE

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Place = tuple[int, int] | Index

# Operations of a trace beyond which lines are counted, and beyond which it ends.
LONG, MOST_OPERATIONS = 2000, 1_000_000
# Parts of an `assemble` from which on elements of one array are put together again.
LEAST_ELEMENTS = 4
# Constants up to this size are compared by content wherever they come from, larger ones by where they lie first.
SMALL = 4096


class TooLong(DensityError):
    """A trace has more operations than can be worked with."""


class Node:
    """One operation; made by a Graph's methods alone."""

    __slots__ = ("args", "data", "depends", "graph", "number", "op", "size")

    def __init__(self, graph: Graph, op: str, args: tuple[Node, ...], data: Any, size: int, depends: bool) -> None:
        self.graph, self.op, self.args, self.data, self.size, self.depends = graph, op, args, data, size, depends
        self.number = len(graph.nodes)

    def __repr__(self) -> str:
        return f"<{self.number}: {self.op} of {[a.number for a in self.args]}, size {self.size}>"

    @property
    def is_constant(self) -> bool:
        return self.op == "constant"

    def is_value(self, value: float) -> bool:
        """Whether every element is the constant `value`."""
        if self.op != "constant" or not self.size or self.data.item(0) != value:
            return False
        return self.size == 1 or bool((self.data == value).all())

    def __add__(self, other: Node | float) -> Node:
        return self.graph.apply("add", self, other)

    def __radd__(self, other: float) -> Node:
        return self.graph.apply("add", other, self)

    def __sub__(self, other: Node | float) -> Node:
        return self.graph.apply("subtract", self, other)

    def __rsub__(self, other: float) -> Node:
        return self.graph.apply("subtract", other, self)

    def __mul__(self, other: Node | float) -> Node:
        return self.graph.apply("multiply", self, other)

    def __rmul__(self, other: float) -> Node:
        return self.graph.apply("multiply", other, self)

    def __truediv__(self, other: Node | float) -> Node:
        return self.graph.apply("divide", self, other)

    def __rtruediv__(self, other: float) -> Node:
        return self.graph.apply("divide", other, self)

    def __neg__(self) -> Node:
        return self.graph.apply("negative", self)


class Graph:
    """The nodes of one array program, in an order in which they can be computed.

    Parameters
    ----------
    raw : bool
        As code is traced: equal operations stay apart and nothing is simplified, so that loops leave a pattern.
    """

    def __init__(self, raw: bool = False) -> None:
        self.raw = raw
        self.nodes: list[Node] = []
        self._table: dict[Any, Node] = {}
        self._large: dict[Any, list[tuple[Any, Node]]] = {}
        self.lines: dict[tuple[str, int], int] = {}  # operations by the line that made them, of a long trace
        self.takes_apart = False  # whether NumPy may take long traced arrays apart into objects

    # -- leaves ------------------------------------------------------------------------------------------------------

    def node(self, op: str, args: tuple[Node, ...], data: Any, size: int, key: Any = None) -> Node:
        """The node of an operation: the one that there is, or a new one. `key` stands for data that do not hash."""
        if self.raw and args:
            made = Node(self, op, args, data, size, any(a.depends for a in args))
            self.nodes.append(made)
            if len(self.nodes) > LONG:
                self._note_line()
            return made
        known = (op, tuple([a.number for a in args]), data if key is None else key, size)
        found = self._table.get(known)
        if found is None:
            depends = op == "input" or any(a.depends for a in args)
            found = self._table[known] = Node(self, op, args, data, size, depends)
            self.nodes.append(found)
        return found

    def _note_line(self) -> None:
        """Count the line of the traced code that runs, for messages about long programs."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(("micropolis.tracing", "numpy")):
            frame = frame.f_back
        if frame is not None:
            place = (frame.f_code.co_filename, frame.f_lineno)
            self.lines[place] = self.lines.get(place, 0) + 1
        if len(self.nodes) > MOST_OPERATIONS:
            (file, line), count = max(self.lines.items(), key=lambda item: item[1])
            raise TooLong(
                f"it is longer than {MOST_OPERATIONS:,} operations, of which {count:,} come from {file}:{line}: write "
                "that loop as array operations"
            )

    def input(self, name: str, size: int) -> Node:
        return self.node("input", (), name, size)

    def constant(self, value: Any) -> Node:
        """A constant of the elements of `value`, which are copied."""
        if isinstance(value, Node):
            return value
        if isinstance(value, (float, int)):
            value = float(value)
            return self.node("constant", (), np.array([value]), 1, struct.pack("d", value))
        array = np.asarray(value)
        if array.size <= SMALL:
            flat = array.astype(np.float64).reshape(-1)
            return self.node("constant", (), flat, flat.size, flat.tobytes())
        place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        for held, node in self._large.get(place, ()):
            if np.array_equal(np.asarray(held, dtype=np.float64).reshape(-1), node.data, equal_nan=True):
                return node
        node = self.node("constant", (), array.astype(np.float64).reshape(-1), array.size, ("large", len(self.nodes)))
        self._large.setdefault(place, []).append((array, node))
        return node

    def full(self, node: Node, size: int) -> Node:
        """`node` of `size` elements, a single one repeated."""
        if node.size == size:
            return node
        if node.is_constant:
            return self.constant(np.full(size, node.data[0]))
        return self.node("expand", (node,), (1, size, 1), size)

    # -- elementwise -------------------------------------------------------------------------------------------------

    def apply(self, name: str, *operands: Any) -> Node:
        """The elementwise operation `name`."""
        args = tuple([v if v.__class__ is Node else self.constant(v) for v in operands])
        size, known = 1, True
        for a in args:
            if a.op != "constant":
                known = False
            if a.size != 1:
                if size != 1 and size != a.size:
                    raise AssertionError(f"{name}: operands of {[b.size for b in args]} elements")
                size = a.size
        rule = ELEMENTWISE[name]
        if known:
            with np.errstate(all="ignore"):
                return self.constant(np.asarray(rule.numpy(*[a.data for a in args]), dtype=np.float64))
        if self.raw:
            return self.node(name, args, None, size)
        if rule.simplify is not None:
            simpler = rule.simplify(self, size, *args)
            if simpler is not None:
                return simpler
        if rule.commutes and args[0].number > args[1].number:
            args = args[::-1]
        return self.node(name, args, None, size)

    def where(self, condition: Node, yes: Any, no: Any) -> Node:
        return self.apply("where", condition, yes, no)

    # -- moving elements ---------------------------------------------------------------------------------------------

    def gather(self, node: Node, index: Any) -> Node:
        """Elements of `node` by their numbers."""
        numbers = np.ascontiguousarray(index, dtype=np.int64).reshape(-1)
        size = numbers.size
        if size == 0:
            return self.constant(np.empty(0))
        if node.size == 1:
            return node if size == 1 else self.full(node, size)
        if node.op == "constant":
            return self.constant(node.data[numbers])
        first = int(numbers[0])
        if size == 1:
            return self._element(node, first)
        straight = int(numbers[-1]) - first == size - 1 and bool(np.all(numbers[1:] - numbers[:-1] == 1))
        if straight and size == node.size:
            return node
        if node.op == "gather":
            return self.gather(node.args[0], node.data[numbers])
        if node.op == "expand":
            (_, r, b), source = node.data, node.args[0]
            if source.size == 1:
                return self.full(source, size)
            return self.gather(source, numbers // (r * b) * b + numbers % b)
        if node.op == "assemble" and straight:
            for part, place in zip(node.args, node.data, strict=True):
                if isinstance(place, tuple) and place[0] <= first and first + size <= place[1]:
                    if all(_apart(place, other) for other in node.data if other is not place):
                        return self.gather(self.full(part, place[1] - place[0]), numbers - place[0])
                    break
        if first == 0 and size > node.size and size % node.size == 0:  # np.repeat, np.tile
            times, every = size // node.size, np.arange(node.size)
            if numbers[1] == 0 and bool(np.all(numbers.reshape(node.size, times) == every[:, None])):
                return self.expand(node, node.size, times, 1)
            if numbers[1] == 1 and bool(np.all(numbers.reshape(times, node.size) == every)):
                return self.expand(node, 1, times, node.size)
        return self.node("gather", (node,), numbers, size, numbers.tobytes())

    def _element(self, node: Node, number: int) -> Node:
        """One element, looked up through what only moves it."""
        if node.op == "assemble":
            found = None
            for part, place in zip(node.args, node.data, strict=True):
                if isinstance(place, tuple):
                    if place[0] <= number < place[1]:
                        if found is not None:
                            break
                        found = part if part.size == 1 else self.gather(part, [number - place[0]])
                elif np.any(place == number):
                    break
            else:
                return self.constant(0.0) if found is None else found
        numbers = np.array([number], dtype=np.int64)
        if node.op == "gather":
            return self.gather(node.args[0], node.data[numbers])
        if node.op == "expand":
            (_, r, b), source = node.data, node.args[0]
            return source if source.size == 1 else self.gather(source, [number // (r * b) * b + number % b])
        return self.node("gather", (node,), numbers, 1, number)

    def concatenate(self, parts: Sequence[Node]) -> Node:
        """The elements of the parts one after another."""
        parts = [p for p in parts if p.size]
        if len(parts) == 1:
            return parts[0]
        stops = np.cumsum([p.size for p in parts]).tolist()
        return self.assemble(parts, [(stop - p.size, stop) for p, stop in zip(parts, stops, strict=True)], stops[-1])

    def assemble(self, parts: Sequence[Node], places: Sequence[Place], size: int) -> Node:
        """Zeros (size,), to which each part is added at its place."""
        if all(p.is_constant for p in parts):
            total = np.zeros(size)
            for part, place in zip(parts, places, strict=True):
                if isinstance(place, tuple):
                    total[slice(*place)] += part.data
                else:
                    np.add.at(total, place, part.data)
            return self.constant(total)
        if len(parts) == 1 and isinstance(places[0], tuple) and places[0] == (0, size):
            return self.full(parts[0], size)
        if len(parts) > LEAST_ELEMENTS and not self.raw:
            parts, places = _rows_of_elements(self, parts, places)
            if len(parts) == 1:
                return self.assemble(parts, places, size)
        key = tuple([p if isinstance(p, tuple) else p.tobytes() for p in places])
        return self.node("assemble", tuple(parts), tuple(places), size, key)

    def expand(self, node: Node, a: int, r: int, b: int) -> Node:
        """(A, B) to (A, R, B)."""
        if r == 1:
            return node
        if a == b == 1:
            return self.full(node, r)
        if node.is_constant:
            return self.constant(np.repeat(node.data.reshape(a, 1, b), r, axis=1))
        if node.op == "expand" and node.args[0].size == 1:
            return self.full(node.args[0], a * r * b)
        return self.node("expand", (node,), (a, r, b), a * r * b)

    # -- reductions --------------------------------------------------------------------------------------------------

    def sum(self, node: Node, a: int, r: int, b: int) -> Node:
        """(A, R, B) to (A, B). Scalar factors and signs come out of a whole sum, terms that are products part."""
        if r == 1:
            return node
        if node.size == 1:  # stands for A R B equal elements
            return self.full(node * float(r), a * b)
        if node.is_constant:
            return self.constant(node.data.reshape(a, r, b).sum(axis=1))
        if node.op == "expand" and node.data == (a, r, b):
            return node.args[0] * float(r)
        if node.op == "negative":
            return -self.sum(node.args[0], a, r, b)
        if node.op == "multiply":
            for factor, rest in (node.args, node.args[::-1]):
                if factor.size == 1:
                    return factor * self.sum(rest, a, r, b)
        if a == b == 1 and node.op in ("add", "subtract"):
            left, right = node.args
            if _is_product(left) or _is_product(right):
                parts = [self.sum(p, 1, r, 1) if p.size > 1 else p * float(r) for p in (left, right)]
                return self.apply(node.op, *parts)
        return self.node("sum", (node,), (a, r, b), a * b)

    def total(self, node: Node) -> Node:
        return self.sum(node, 1, node.size, 1)

    def greatest(self, node: Node, a: int, r: int, b: int) -> Node:
        if r == 1:
            return node
        if node.is_constant:
            return self.constant(node.data.reshape(a, r, b).max(axis=1))
        return self.node("greatest", (node,), (a, r, b), a * b)

    def logsumexp(self, node: Node, a: int, r: int, b: int) -> Node:
        """log sum exp over R; of two terms it is logaddexp."""
        if r == 1:
            return node
        if node.is_constant:
            with np.errstate(all="ignore"):
                return self.constant(np.logaddexp.reduce(node.data.reshape(a, r, b), axis=1))
        if r == 2:
            rows = np.arange(a * r * b).reshape(a, r, b)
            return self.apply("logaddexp", self.gather(node, rows[:, 0]), self.gather(node, rows[:, 1]))
        return self.node("logsumexp", (node,), (a, r, b), a * b)

    def cumsum(self, node: Node, a: int, r: int, b: int, backwards: bool = False) -> Node:
        if r == 1:
            return node
        if node.is_constant:
            array = node.data.reshape(a, r, b)
            array = array[:, ::-1] if backwards else array
            total = np.cumsum(array, axis=1)
            return self.constant(total[:, ::-1] if backwards else total)
        return self.node("cumsum", (node,), (a, r, b, backwards), node.size)

    # -- products ----------------------------------------------------------------------------------------------------

    def matmul(self, x: Node, y: Node, m: int, k: int, n: int, tx: bool = False, ty: bool = False) -> Node:
        """(m, k) times (k, n), where the first lies as (k, m) if `tx`, the second as (n, k) if `ty`."""
        x, y = self.full(x, m * k), self.full(y, k * n)
        if x.is_constant and y.is_constant:
            left = x.data.reshape(k, m).T if tx else x.data.reshape(m, k)
            right = y.data.reshape(n, k).T if ty else y.data.reshape(k, n)
            return self.constant(left @ right)
        if k == 1:  # an outer product
            return self.expand(x, m, n, 1) * self.expand(y, 1, m, n)
        if m == n == 1:
            return self.total(x * y)
        if n == 1 and x.is_constant:
            return self.matvec(x, y, k if tx else m, tx)
        if m == 1 and y.is_constant:
            return self.matvec(y, x, n if ty else k, not ty)
        return self.node("matmul", (x, y), (m, k, n, bool(tx), bool(ty)), m * n)

    def matvec(self, matrix: Node, vector: Node, rows: int, transposed: bool) -> Node:
        """A constant matrix of `rows` rows, or its transpose, times a vector."""
        columns = matrix.size // rows
        if transposed:
            return self.node("matvec_t", (matrix, vector), (rows, columns), columns)
        return self.node("matvec", (matrix, vector), (rows, columns), rows)


def _apart(one: Place, other: Place) -> bool:
    """Whether two places surely have no element in common."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one[1] <= other[0] or other[1] <= one[0]
    if isinstance(other, tuple):
        return not isinstance(one, tuple) and _apart(other, one)
    return isinstance(one, tuple) and not bool(np.any((other >= one[0]) & (other < one[1])))


def _rows_of_elements(graph: Graph, parts: Sequence[Node], places: Sequence[Place]) -> tuple[list[Node], list[Place]]:
    """Single elements of one array, or constants, that are put side by side, as one part."""
    made: list[tuple[Node, Place]] = []
    row: list[tuple[Node, int]] = []

    def source(part: Node) -> object:
        return part.args[0] if part.op == "gather" else part.is_constant

    def close() -> None:
        if len(row) > 1:
            first = row[0][0]
            if first.is_constant:
                joined = graph.constant(np.concatenate([p.data for p, _ in row]))
            else:
                joined = graph.gather(first.args[0], np.concatenate([p.data for p, _ in row]))
            made.append((joined, (row[0][1], row[0][1] + len(row))))
        elif row:
            made.append((row[0][0], (row[0][1], row[0][1] + 1)))
        row.clear()

    for part, place in zip(parts, places, strict=True):
        element = part.size == 1 and isinstance(place, tuple) and place[1] - place[0] == 1
        if not (element and (part.op == "gather" or part.is_constant)):
            close()
            made.append((part, place))
            continue
        if row and not (row[-1][1] + 1 == place[0] and source(row[-1][0]) is source(part)):
            close()
        row.append((part, int(place[0])))
    close()
    return [part for part, _ in made], [place for _, place in made]


# Terms whose sum is taken apart from that of others: not plain differences, y - mu, which cancel term by term.
_PRODUCTS = frozenset(["square", "multiply", "log", "log1p", "logaddexp", "softplus", "exp", "gammaln", "sum"])


def _is_product(node: Node) -> bool:
    if node.op == "negative":
        return _is_product(node.args[0])
    if node.op == "multiply":
        for factor, rest in (node.args, node.args[::-1]):
            if factor.size == 1 and rest.size > 1:
                return _is_product(rest)
        return not any(a.is_constant for a in node.args)
    return node.op in _PRODUCTS


def reachable(outputs: Iterable[Node], ends: Collection[int] = ()) -> list[Node]:
    """The nodes that the outputs need, in order; what the nodes numbered in `ends` are made of is not looked at."""
    needed: set[int] = set()
    found: list[Node] = []
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node.number not in needed:
            needed.add(node.number)
            found.append(node)
            if node.number not in ends:
                waiting.extend(node.args)
    found.sort(key=lambda node: node.number)
    return found


def rebuild(
    outputs: Sequence[Node], graph: Graph, change: Callable[[Node, tuple[Node, ...]], Node | None]
) -> list[Node]:
    """The outputs in `graph`, every node as `change(node, its new operands)` makes it, or as it was where None."""
    new: dict[int, Node] = {}
    for node in reachable(outputs):
        args = tuple([new[a.number] for a in node.args])
        made = change(node, args)
        if made is None:
            same = node.graph is graph and all(a is b for a, b in zip(args, node.args, strict=True))
            made = node if same else again(graph, node, args)
        new[node.number] = made
    return [new[node.number] for node in outputs]


def again(graph: Graph, node: Node, args: tuple[Node, ...]) -> Node:
    """The same operation on other operands, simplified as when it was made."""
    if node.op in ELEMENTWISE:
        return graph.apply(node.op, *args)
    if node.op == "constant":
        return (
            graph.constant(node.data)
            if node.size <= SMALL
            else graph.node(node.op, (), node.data, node.size, id(node.data))
        )
    if node.op == "gather":
        return graph.gather(args[0], node.data)
    if node.op == "assemble":
        return graph.assemble(args, node.data, node.size)
    if node.op in ("sum", "expand", "greatest", "logsumexp", "cumsum"):
        made: Node = getattr(graph, node.op)(args[0], *node.data)
        return made
    if node.op == "matmul":
        return graph.matmul(args[0], args[1], *node.data)
    return graph.node(node.op, args, node.data, node.size)


def described(outputs: Sequence[Node]) -> list[Any]:
    """What `restored` makes the same nodes of: plain lists, which pickle however deep the graph is."""
    order = reachable(outputs)
    place = {node.number: i for i, node in enumerate(order)}
    rows = [(node.op, [place[a.number] for a in node.args], node.data, node.size) for node in order]
    return [rows, [place[node.number] for node in outputs]]


def restored(description: Sequence[Any]) -> list[Node]:
    """The outputs that were described, in a graph of their own."""
    rows, outputs = description
    graph = Graph()
    nodes: list[Node] = []
    for i, (op, args, data, size) in enumerate(rows):
        hashed = op in ("input", "sum", "expand", "greatest", "logsumexp", "cumsum", "matmul")
        key: Any = None if hashed else ("restored", i)
        if op == "constant" and size <= SMALL:
            key = data.tobytes() if size > 1 else struct.pack("d", float(data[0]))
        elif op in ELEMENTWISE:
            key = None
        nodes.append(graph.node(op, tuple([nodes[k] for k in args]), data, size, key))
    return [nodes[k] for k in outputs]
