"""Derivatives of array programs: gradients in reverse mode, directional derivatives forward, both as nodes again.

Adjoints are selected, never multiplied by zero: where a branch was not taken (np.where, np.maximum, an element that an
index left out) the adjoint is 0 whatever the derivative behind it is, NaN and infinity included. Such adjoints are
`masked`, and what is multiplied with them is guarded unless it is known to be finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .elementwise import COMPARISONS, ELEMENTWISE, guard
from .graph import Graph, Index, Node, Place, reachable
from .linalg_rules import LINALG
from .matrix_functions import MATRIX_FUNCTIONS
from .scans import SCANS

# Results in a bounded range for every finite operand.
_BOUNDED = frozenset(["sign", "sin", "cos", "tanh", "share", "expit", "arctan", "arctan2", "erf", "ndtr", "copysign"])
_FINITE_OF_FINITE = _BOUNDED | frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "negative",
        "square",
        "absolute",
        "maximum",
        "minimum",
        "fmax",
        "fmin",
        "where",
        "guard",
        "gather",
        "assemble",
        "expand",
        "sum",
        "cumsum",
        "greatest",
        "softplus",
        "logaddexp",
        "floor",
        "ceil",
        "arcsinh",
        "matvec",
        "matvec_t",
        "matmul",
    ]
)


_MATRICES = LINALG | MATRIX_FUNCTIONS | SCANS


class _Finite:
    """Whether a node is finite wherever the inputs are, of moderate size."""

    def __init__(self) -> None:
        self._known: dict[int, bool] = {}
        self._clean: dict[int, bool] = {}

    def __call__(self, root: Node) -> bool:
        waiting = [root]
        while waiting:
            node = waiting[-1]
            if node.number in self._known:
                waiting.pop()
                continue
            answer: bool | None = None
            if node.op == "constant":
                answer = bool(np.all(np.isfinite(node.data)))
            elif node.op == "input" or node.op in COMPARISONS:
                answer = True
            elif node.op not in _FINITE_OF_FINITE:
                answer = False
            if answer is None:
                unknown = [a for a in node.args if a.number not in self._known]
                if unknown:
                    waiting.extend(unknown)
                    continue
                answer = all(self._known[a.number] for a in node.args)
            self._known[node.number] = answer
            waiting.pop()
        return self._known[root.number]

    def is_clean(self, root: Node) -> bool:
        """Whether a node is a constant, or made of constants that are all finite."""
        if root.is_constant:
            return True
        if root.number not in self._clean:
            self._clean[root.number] = all(
                bool(np.all(np.isfinite(node.data))) for node in reachable([root]) if node.op == "constant"
            )
        return self._clean[root.number]


class _Adjoints:
    """What has been added to the adjoint of each node."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole: dict[int, list[Node]] = {}
        self.placed: dict[int, list[tuple[Place, Node]]] = {}
        self.masked: set[int] = set()  # nodes whose adjoint may be zero because something was not taken

    def add(self, node: Node, part: Node, masked: bool) -> None:
        if part.is_value(0.0):
            return
        self.whole.setdefault(node.number, []).append(part)
        if masked:
            self.masked.add(node.number)

    def place(self, node: Node, place: Place, part: Node, masked: bool) -> None:
        if part.is_value(0.0):
            return
        self.placed.setdefault(node.number, []).append((place, part))
        if masked:
            self.masked.add(node.number)

    def take(self, node: Node) -> tuple[Node | None, bool]:
        """The adjoint of a node (one element stands for all equal), and whether it is masked."""
        whole, placed = self.whole.pop(node.number, []), self.placed.pop(node.number, [])
        masked = node.number in self.masked
        if placed:
            if not whole and not masked and not _covers([place for place, _ in placed], node.size):
                masked = True
            places, parts = _merged(self.graph, placed)
            whole.append(self.graph.assemble(parts, places, node.size))
        if not whole:
            return None, masked
        total = whole[0]
        for part in whole[1:]:
            total = total + part
        return total, masked


def _covers(places: Sequence[Place], size: int) -> bool:
    seen = np.zeros(size, dtype=bool)
    for place in places:
        seen[slice(*place) if isinstance(place, tuple) else place] = True
    return bool(np.all(seen))


def _merged(graph: Graph, placed: Sequence[tuple[Place, Node]]) -> tuple[list[Place], list[Node]]:
    """Single elements that stand at the same place are added first; parts in the order of their places."""
    single: dict[int, Node] = {}
    rest: list[tuple[Place, Node]] = []
    for place, part in placed:
        if isinstance(place, tuple) and place[1] - place[0] == 1:
            single[place[0]] = single[place[0]] + part if place[0] in single else part
        else:
            rest.append((place, part))
    everything = rest + [((start, start + 1), single[start]) for start in sorted(single)]
    return [place for place, _ in everything], [part for _, part in everything]


def as_place(numbers: Index) -> Place:
    """Element numbers as (start, stop) where they are consecutive."""
    first, count = int(numbers[0]), numbers.size
    if int(numbers[-1]) - first == count - 1 and bool(np.all(numbers[1:] - numbers[:-1] == 1)):
        return (first, first + count)
    return numbers


def gradient(output: Node, inputs: Sequence[Node]) -> list[Node]:
    """Derivatives (the inputs' sizes) of a single element by each of the inputs."""
    graph = output.graph
    found = _reverse(output, graph.constant(1.0), inputs)
    zero = graph.constant(0.0)
    return [graph.full(zero if d is None else d, node.size) for node, d in zip(inputs, found, strict=True)]


def vector_product(output: Node, d: Node, inputs: Sequence[Node], masked: bool = False) -> list[Node | None]:
    """The adjoint d of a node carried back to what it is computed from, None where it does not depend on that."""
    return _reverse(output, d, inputs, masked)


def _reverse(output: Node, d: Node, inputs: Sequence[Node], masked: bool = False) -> list[Node | None]:
    finite, ends = _Finite(), {node.number for node in inputs}
    adjoints = _Adjoints(output.graph)
    adjoints.add(output, d, masked)
    found: dict[int, Node] = {}
    for node in reversed(reachable([output], ends)):
        adjoint, masked = adjoints.take(node)
        if adjoint is None:
            continue
        if node.number in ends:
            found[node.number] = adjoint
        elif node.op in ELEMENTWISE:
            _through_elementwise(node, adjoint, masked, adjoints, finite)
        elif node.depends and node.op != "input":
            _through(node, adjoint, masked, adjoints, finite)
    return [found.get(node.number) for node in inputs]


def _through_elementwise(node: Node, d: Node, masked: bool, adjoints: _Adjoints, finite: _Finite) -> None:
    graph, rule, args = node.graph, ELEMENTWISE[node.op], node.args
    for i, arg in enumerate(args):
        if not arg.depends:
            continue
        if node.op == "where":
            if i == 0:
                continue
            part = graph.where(args[0], d, 0.0) if i == 1 else graph.where(args[0], 0.0, d)
        elif node.op == "guard":
            if i == 0:
                continue
            part = graph.apply("guard", args[0], d)
        else:
            rule_of = rule.partials[i]
            if rule_of is None:
                continue
            partial = rule_of(node, *args)
            if isinstance(partial, float):
                part = d if partial == 1.0 else d * partial
            else:
                part = d * partial
                if masked and not finite(partial):
                    part = guard(d, part)
        if arg.size == 1 and node.size > 1:
            part = graph.total(part) if part.size > 1 else part * float(node.size)
        adjoints.add(arg, part, masked or rule.masks or node.op == "guard")


def _through(node: Node, d: Node, masked: bool, adjoints: _Adjoints, finite: _Finite) -> None:
    graph, args = node.graph, node.args
    if node.op == "gather":
        place = as_place(node.data) if node.size > 1 else (int(node.data[0]), int(node.data[0]) + 1)
        adjoints.place(args[0], place, d, masked)
    elif node.op == "assemble":
        for part, place in zip(args, node.data, strict=True):
            if part.depends:
                count = place[1] - place[0] if isinstance(place, tuple) else place.size
                numbers = np.arange(*place) if isinstance(place, tuple) else place
                piece = d if d.size == 1 else graph.gather(d, numbers)
                if part.size == 1 and count > 1:
                    piece = graph.total(piece) if piece.size > 1 else piece * float(count)
                adjoints.add(part, piece, masked)
    elif node.op == "expand":
        a, r, b = node.data
        adjoints.add(args[0], graph.sum(d, a, r, b) if d.size > 1 else d * float(r), masked)
    elif node.op == "sum":
        adjoints.add(args[0], d if d.size == 1 else graph.expand(d, *node.data), masked)
    elif node.op == "cumsum":
        a, r, b, backwards = node.data
        adjoints.add(args[0], graph.cumsum(graph.full(d, node.size), a, r, b, not backwards), masked)
    elif node.op == "logsumexp":
        a, r, b = node.data
        weights = softmax_weights(node)
        spread = d if d.size == 1 else graph.expand(d, a, r, b)
        adjoints.add(args[0], guard(spread, spread * weights) if masked else spread * weights, masked)
    elif node.op == "matvec" or node.op == "matvec_t":
        other = "matvec_t" if node.op == "matvec" else "matvec"
        part = graph.node(other, (_known(args[0]), graph.full(d, node.size)), node.data, args[1].size)
        adjoints.add(args[1], part, masked)
    elif node.op == "matmul":
        _through_matmul(node, graph.full(d, node.size), masked, adjoints, finite)
    elif node.op in SCANS:
        _add_all(adjoints, args, SCANS[node.op].adjoint(node, graph.full(d, node.size), masked), masked)
    elif node.op in _MATRICES:
        _add_all(adjoints, args, _MATRICES[node.op].adjoint(node, graph.full(d, node.size)), masked)
    elif node.op != "greatest":
        raise AssertionError(f"no adjoint of {node.op}")


def _add_all(adjoints: _Adjoints, args: Sequence[Node], parts: Sequence[Node | None], masked: bool) -> None:
    for arg, part in zip(args, parts, strict=True):
        if part is not None and arg.depends:
            adjoints.add(arg, part, masked)


def softmax_weights(node: Node) -> Node:
    """exp(a - logsumexp(a)), zeros where every term is log 0."""
    graph = node.graph
    total = graph.where(graph.apply("equal", node, -np.inf), 0.0, node)
    return graph.apply("exp", node.args[0] - graph.expand(total, *node.data))


def _known(matrix: Node) -> Node:
    """A constant matrix with zeros where it is not finite: adjoints of 0 select the rows of missing data."""
    if not matrix.is_constant or np.all(np.isfinite(matrix.data)):
        return matrix
    return matrix.graph.constant(np.where(np.isfinite(matrix.data), matrix.data, 0.0))


def _through_matmul(node: Node, d: Node, masked: bool, adjoints: _Adjoints, finite: _Finite) -> None:
    graph, (x, y), (m, k, n, tx, ty) = node.graph, node.args, node.data
    left, right = _known(x), _known(y)
    if masked and not finite.is_clean(x):  # rows whose adjoints are all zero have no say
        rows = graph.sum(graph.apply("absolute", d), m, n, 1)
        left = guard(graph.expand(rows, 1, k, m) if tx else graph.expand(rows, m, k, 1), left)
    if masked and not finite.is_clean(y):
        columns = graph.sum(graph.apply("absolute", d), 1, m, n)
        right = guard(graph.expand(columns, n, k, 1) if ty else graph.expand(columns, 1, k, n), right)
    if x.depends:
        part = graph.matmul(right, d, k, n, m, ty, True) if tx else graph.matmul(d, right, m, n, k, False, not ty)
        adjoints.add(x, part, masked)
    if y.depends:
        part = graph.matmul(d, left, n, m, k, True, tx) if ty else graph.matmul(left, d, k, m, n, not tx, False)
        adjoints.add(y, part, masked)


# -- forward mode ----------------------------------------------------------------------------------------------------


def tangent(outputs: Sequence[Node], along: Mapping[Node, Node | None]) -> list[Node]:
    """Derivatives of the outputs as the inputs move along the given directions."""
    graph = outputs[0].graph
    moves: dict[int, Node | None] = {node.number: direction for node, direction in along.items()}
    for node in reachable(outputs, moves):
        if node.number in moves:
            continue
        if not node.depends or all(moves[a.number] is None for a in node.args):
            moves[node.number] = None
            continue
        move = _forward(node, [moves[a.number] for a in node.args])
        moves[node.number] = None if move is None or move.is_value(0.0) else move
    zeros = [graph.full(graph.constant(0.0), node.size) for node in outputs]
    result = [moves[node.number] for node in outputs]
    return [
        graph.full(r, node.size) if r is not None else zero
        for r, node, zero in zip(result, outputs, zeros, strict=True)
    ]


def _forward(node: Node, moves: Sequence[Node | None]) -> Node | None:
    graph, args = node.graph, node.args
    zero = graph.constant(0.0)
    if node.op in ELEMENTWISE:
        return _forward_elementwise(node, moves)
    if node.op in _MATRICES:
        return _MATRICES[node.op].tangent(node, moves)
    full = [graph.full(zero if t is None else t, a.size) for a, t in zip(args, moves, strict=True)]
    if node.op == "gather":
        return graph.gather(full[0], node.data)
    if node.op == "assemble":
        kept = [(t, place) for t, m, place in zip(full, moves, node.data, strict=True) if m is not None]
        return graph.assemble([t for t, _ in kept], [place for _, place in kept], node.size)
    if node.op in ("sum", "expand"):
        made: Node = getattr(graph, node.op)(full[0], *node.data)
        return made
    if node.op == "cumsum":
        return graph.cumsum(full[0], *node.data)
    if node.op == "logsumexp":
        return graph.sum(softmax_weights(node) * full[0], *node.data)
    if node.op in ("matvec", "matvec_t"):
        return graph.node(node.op, (args[0], full[1]), node.data, node.size)
    if node.op == "matmul":
        parts = []
        if moves[0] is not None:
            parts.append(graph.matmul(full[0], args[1], *node.data))
        if moves[1] is not None:
            parts.append(graph.matmul(args[0], full[1], *node.data))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
    if node.op == "greatest":
        return None
    raise AssertionError(f"no tangent of {node.op}")


def _forward_elementwise(node: Node, moves: Sequence[Node | None]) -> Node | None:
    graph, args = node.graph, node.args
    zero = graph.constant(0.0)
    if node.op == "where":
        return graph.where(args[0], moves[1] or zero, moves[2] or zero) if moves[1] or moves[2] else None
    if node.op == "guard":
        return graph.apply("guard", args[0], moves[1]) if moves[1] else None
    if node.op in ("maximum", "minimum"):
        (a, b), (s, t), better = args, [m or zero for m in moves], "greater" if node.op == "maximum" else "less"
        middle = graph.where(graph.apply(better, b, a), t, 0.5 * (s + t))
        return graph.where(graph.apply(better, a, b), s, middle)
    total: Node | None = None
    for rule, move in zip(ELEMENTWISE[node.op].partials, moves, strict=True):
        if rule is None or move is None:
            continue
        partial = rule(node, *args)
        part = move if isinstance(partial, float) and partial == 1.0 else move * partial
        total = part if total is None else total + part
    return graph.full(total, node.size) if total is not None and total.size != node.size and node.size > 1 else total
