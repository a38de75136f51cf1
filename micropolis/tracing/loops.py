"""Python loops found again in a trace: a run of scalar operations that repeats becomes operations on arrays over time.

A loop over T time steps leaves T copies of its body, P operations each, in a row. Operand by operand the copies are
compared: the same node in all of them, a constant in each, an element of one array in each, or the result of operation
j of the copy L before. What depends on no earlier copy of itself becomes elementwise operations on arrays of T
elements; what does, a strongly connected component of the body, becomes a sum, a linear scan or a scan (scans.py).
Traces are made without sharing and simplifying, which would break the pattern where data repeat; both happen as the
graph is built again here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from . import scans
from .elementwise import ELEMENTWISE
from .graph import Graph, Node, again, reachable

LEAST_TIMES = 8  # copies of a body that make a loop
LONGEST_BODY = 400  # operations of a body that are looked for
MOST_STATES = 6  # numbers that a recurrence carries; its Jacobians have their square
LONGEST_SCAN = 200  # registers of a scan, MP_SCAN_REGISTERS in array_linalg.c


@dataclass
class _Operand:
    """What stands at one place of a body: a node for all times, one for each, or the result of a body's operation."""

    fixed: Node | None = None
    stream: list[Node] | None = None
    body: int = -1
    lag: int = 0


class _New(dict[int, Node]):
    """What the nodes of a trace are in the new graph; elements of a loop's arrays are made when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: dict[int, tuple[Node, int]] = {}

    def __contains__(self, number: object) -> bool:
        return super().__contains__(number) or number in self.elements

    def __missing__(self, number: int) -> Node:
        array, t = self.elements[number]
        node = self[number] = array.graph.gather(array, [t])
        return node


def rerolled(output: Node) -> Node:
    """The output in a graph of its own, shared and simplified, its loops found."""
    order = reachable([output])
    graph = Graph()
    new = _New()
    start = 0
    compute = [node for node in order if not _is_leaf(node)]
    kinds = _kinds(compute)
    for run in _runs(kinds):
        first, period, times = run
        loop = _Loop(compute, first, period, times)
        while times >= LEAST_TIMES and not loop.regular():
            first, times = first + period, times - 1  # the first copies differ from the rest
            if times < LEAST_TIMES or first > run[0] + 2 * period:
                times = 0
                break
            loop = _Loop(compute, first, period, times)
        if times < LEAST_TIMES:
            continue
        stop = first + period * times
        _copy(order, graph, new, start, compute[first].number)
        start = compute[stop - 1].number + 1 if loop.build(graph, new) else compute[first].number
    _copy(order, graph, new, start, None)
    return new[output.number]


def _copy(order: list[Node], graph: Graph, new: _New, start: int, stop: int | None) -> None:
    """Make the nodes numbered start .. stop - 1 in the new graph."""
    for node in order:
        if (node.number < start and not _is_leaf(node)) or node.number in new:
            continue
        if stop is not None and node.number >= stop:
            break
        if all(a.number in new for a in node.args):
            new[node.number] = again(graph, node, tuple([new[a.number] for a in node.args]))


def _is_leaf(node: Node) -> bool:
    return node.op in ("input", "constant") or (node.op == "gather" and node.size == 1)


def _kinds(compute: list[Node]) -> np.ndarray:
    """A number for the operation of each node; another for every node that no loop may have."""
    known: dict[str, int] = {}
    kinds = np.empty(len(compute), dtype=np.int64)
    for i, node in enumerate(compute):
        if node.op in ELEMENTWISE and node.size == 1:
            kinds[i] = known.setdefault(node.op, len(known))
        else:
            kinds[i] = -1 - i
    return kinds


def _runs(kinds: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of repeated operations, (first, period, times), that do not overlap; the longest are found first."""
    found: list[tuple[int, int, int]] = []
    pieces = [(0, kinds.size)]
    while pieces:
        low, high = pieces.pop()
        best = _longest(kinds[low:high])
        if best is None:
            continue
        first, period, times = best[0] + low, best[1], best[2]
        found.append((first, period, times))
        pieces += [(low, first), (first + period * times, high)]
    return sorted(found)


def _periods(kinds: np.ndarray) -> list[int]:
    """Distances at which four operations in a row come again often; up to four such places: a body may repeat them."""
    most = min(LONGEST_BODY, kinds.size // LEAST_TIMES)
    if kinds.size < 64:
        return list(range(1, most + 1))
    known = np.unique(kinds, return_inverse=True)[1].astype(np.int64) + 1
    row = ((known[:-3] * 8191 + known[1:-2]) * 8191 + known[2:-1]) * 8191 + known[3:]
    order = np.argsort(row, kind="stable")
    counts = np.zeros(most + 1, dtype=np.int64)
    for apart in range(1, 5):
        same = row[order[apart:]] == row[order[:-apart]]
        distances = (order[apart:] - order[:-apart])[same]
        counts += np.bincount(distances[distances <= most], minlength=most + 1)
    return np.flatnonzero(counts >= LEAST_TIMES - 1).tolist()


def _longest(kinds: np.ndarray) -> tuple[int, int, int] | None:
    n, best, covered = kinds.size, None, 0
    for period in _periods(kinds):
        same = np.flatnonzero(kinds[period:] != kinds[:-period])
        edges = np.concatenate([[-1], same, [n - period]])
        gaps = np.diff(edges) - 1
        k = int(np.argmax(gaps))
        times = int(gaps[k]) // period + 1
        if times >= LEAST_TIMES and times * period > 1.05 * covered:
            best, covered = (int(edges[k]) + 1, period, times), times * period
    return best


class _Loop:
    """T copies of a body of P operations."""

    def __init__(self, compute: list[Node], first: int, period: int, times: int) -> None:
        self.nodes = compute[first : first + period * times]
        self.period, self.times = period, times
        self.place = {node.number: i for i, node in enumerate(self.nodes)}
        self.before = self.nodes[0].number
        self.operands: list[list[_Operand]] = []

    def regular(self) -> bool:
        """Whether the operands of all copies follow one pattern, which is noted."""
        self.operands = []
        for j in range(self.period):
            copies = self.nodes[j :: self.period]
            row = []
            for q in range(len(copies[0].args)):
                operand = self._classify([node.args[q] for node in copies])
                if operand is None:
                    return False
                row.append(operand)
            self.operands.append(row)
        return True

    def _classify(self, args: list[Node]) -> _Operand | None:
        first, last = args[0], args[-1]
        if all(a is first for a in args):
            return _Operand(fixed=first) if self._outside(first) else None
        place = self.place.get(last.number)
        if place is None:
            return _Operand(stream=args) if all(a.size == 1 and self._outside(a) for a in args) else None
        shift = place - (self.times - 1) * self.period
        lag, body = -(shift // self.period), shift % self.period
        if lag < 0 or lag > 4 or lag >= self.times:
            return None
        for t in range(lag, self.times):
            if self.place.get(args[t].number) != (t - lag) * self.period + body:
                return None
        if not all(self._outside(a) and a.size == 1 for a in args[:lag]):
            return None
        return _Operand(stream=args[:lag], body=body, lag=lag)

    def _outside(self, node: Node) -> bool:
        """Whether a node is known before the loop begins."""
        if node.op == "gather":
            return self._outside(node.args[0])
        return node.number < self.before or node.is_constant

    # -- building ----------------------------------------------------------------------------------------------------

    def build(self, graph: Graph, new: _New) -> bool:
        """Make the loop's arrays in `graph`, and note in `new` what each of its nodes is now."""
        self.graph, self.new = graph, new
        self.made: list[Node | None] = [None] * self.period
        self.last: dict[int, Node] = {}  # of a running sum: the sum
        for component in self._components():
            recurrent = len(component) > 1 or any(o.body == component[0] for o in self.operands[component[0]])
            if not recurrent:
                self.made[component[0]] = self._operation(component[0])
            elif not (self._sum(component) or self._scan(component)):
                return False
        for j in range(self.period):
            array = self.made[j]
            assert array is not None
            for t in range(self.times):
                number = self.nodes[t * self.period + j].number
                if t == self.times - 1 and j in self.last:
                    new[number] = self.last[j]
                else:
                    new.elements[number] = (array, t)
        return True

    def _outer(self, node: Node) -> Node:
        """What a node from outside of the loop is in the new graph."""
        if node.number not in self.new:
            self.new[node.number] = again(self.graph, node, tuple([self._outer(a) for a in node.args]))
        return self.new[node.number]

    def _operation(self, j: int) -> Node:
        return self.graph.apply(self.nodes[j].op, *[self._array(o) for o in self.operands[j]])

    def _array(self, operand: _Operand) -> Node:
        """An operand over all times; one element where it is the same at all."""
        graph = self.graph
        if operand.fixed is not None:
            return self._outer(operand.fixed)
        if operand.body < 0:
            assert operand.stream is not None
            return graph.concatenate([self._outer(a) for a in operand.stream])
        array = self.made[operand.body]
        assert array is not None
        if operand.lag == 0:
            return array
        array = graph.full(array, self.times)
        first = [self._outer(a) for a in operand.stream or ()]
        return graph.concatenate([*first, graph.gather(array, np.arange(self.times - operand.lag))])

    def _components(self) -> list[list[int]]:
        """Strongly connected components of the body, each after those that it needs (Tarjan 1972)."""
        index: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        found: list[list[int]] = []

        def needs(j: int) -> list[int]:
            return [o.body for o in self.operands[j] if o.body >= 0]

        for root in range(self.period):
            if root in index:
                continue
            work = [(root, iter(needs(root)))]
            index[root] = low[root] = len(index)
            stack.append(root)
            while work:
                j, rest = work[-1]
                for k in rest:
                    if k not in index:
                        index[k] = low[k] = len(index)
                        stack.append(k)
                        work.append((k, iter(needs(k))))
                        break
                    if k in stack:
                        low[j] = min(low[j], index[k])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[j])
                    if low[j] == index[j]:
                        component = []
                        while True:
                            k = stack.pop()
                            component.append(k)
                            if k == j:
                                break
                        found.append(sorted(component))
        return found

    def _sum(self, component: list[int]) -> bool:
        """Numbers that are added up, or taken off, time after time."""
        members = set(component)
        carried = {(o.body, o.lag) for j in component for o in self.operands[j] if o.body in members and o.lag}
        if len(carried) != 1 or next(iter(carried))[1] != 1:
            return False
        carry = next(iter(carried))[0]
        terms: list[Node] = []
        for j in component:
            ours = [q for q, o in enumerate(self.operands[j]) if o.body in members]
            op = self.nodes[j].op
            if len(ours) != 1 or op not in ("add", "subtract") or (op == "subtract" and ours[0] != 0):
                return False
        start: Node | None = None
        for j in component:  # in the order of the body, which is that of the chain
            q = next(q for q, o in enumerate(self.operands[j]) if o.body in members)
            inner = self.operands[j][q]
            if inner.lag:
                start = self._outer((inner.stream or [])[0])
            term = self._array(self.operands[j][1 - q])
            terms.append(-term if self.nodes[j].op == "subtract" else term)
        assert start is not None
        graph, times = self.graph, self.times
        step = terms[0]
        for term in terms[1:]:
            step = step + term
        running = start + graph.cumsum(graph.full(step, times), 1, times, 1)
        self.made[carry] = running
        self.last[carry] = start + (graph.total(step) if step.size > 1 else step * float(times))
        before = graph.concatenate([start, graph.gather(running, np.arange(times - 1))])
        for j in self._chain(component, members):
            if j == carry:
                continue
            q = next(q for q, o in enumerate(self.operands[j]) if o.body in members)
            inner = self.operands[j][q]
            left = before if inner.lag else self.made[inner.body]
            assert left is not None
            self.made[j] = graph.apply(
                self.nodes[j].op,
                *([left, self._array(self.operands[j][1])] if q == 0 else [self._array(self.operands[j][0]), left]),
            )
        return True

    def _chain(self, component: list[int], members: set[int]) -> list[int]:
        """The members in an order in which each comes after those of the same time that it needs."""
        done: list[int] = []
        waiting = list(component)
        while waiting:
            ready = [
                j for j in waiting if all(o.body in done for o in self.operands[j] if o.body in members and o.lag == 0)
            ]
            done += ready
            waiting = [j for j in waiting if j not in ready]
        return done

    def _scan(self, component: list[int]) -> bool:
        """A recurrence of a few numbers."""
        members, graph, times = set(component), self.graph, self.times
        inside = [o for j in component for o in self.operands[j] if o.body in members]
        if any(o.lag > 1 for o in inside):
            return False
        # two that are one from the first step on may have begun as two
        starts = {(o.body, (first := self._outer((o.stream or [])[0])).number): first for o in inside if o.lag == 1}
        keys = sorted(starts)
        carried = [body for body, _ in keys]
        m, chain = len(carried), self._chain(component, members)
        streams: list[Node] = []
        body: list[tuple[str, tuple[scans.Reference, ...]]] = []
        for j in chain:
            references: list[scans.Reference] = []
            for o in self.operands[j]:
                if o.body in members and o.lag:
                    references.append(("h", keys.index((o.body, self._outer((o.stream or [])[0]).number))))
                elif o.body in members:
                    references.append(("b", chain.index(o.body)))
                else:
                    array = self._array(o)
                    if array not in streams:
                        streams.append(array)
                    references.append(("s", streams.index(array)))
            body.append((self.nodes[j].op, tuple(references)))
        if m > MOST_STATES or m + len(streams) + len(body) > LONGEST_SCAN:
            return False
        outputs = tuple(chain.index(j) for j in carried)
        start = graph.concatenate([starts[key] for key in keys])
        states = self._states(start, streams, tuple(body), outputs, m)
        columns = [scans.column(states, i, times, m) for i in range(m)]
        made = {j: c for j, c in zip(carried, columns, strict=True)}
        before = scans.earlier(states, start, times, m)
        previous = [scans.column(before, i, times, m) for i in range(m)]
        values: list[Node] = []
        of = {"h": previous, "s": streams, "b": values}
        for j, (op, operands) in zip(chain, body, strict=True):
            values.append(made[j] if j in made else graph.apply(op, *[of[kind][i] for kind, i in operands]))
            self.made[j] = graph.full(values[-1], times)
        return True

    def _states(self, start: Node, streams: list[Node], body: scans.Body, outputs: tuple[int, ...], m: int) -> Node:
        """The states by a linear scan where they can be had so, else by a scan."""
        graph, times = self.graph, self.times
        split = _linear_parts(graph, body, outputs, streams, m)
        if split is not None:
            p, u = split
            entries = [p[i][k] for i in range(m) for k in range(m)]
            return scans.linear(scans.stacked(graph, entries, times), scans.stacked(graph, u, times), start, times, m)
        data = (times, m, body, outputs)
        return graph.node("scan", (start, *streams), data, times * m)


def _scaled(op: str, factor: Node, x: Node) -> Node:
    return x * factor if op == "multiply" else x / factor


def _linear_parts(
    graph: Graph, body: scans.Body, outputs: tuple[int, ...], streams: list[Node], m: int
) -> tuple[list[list[Node]], list[Node]] | None:
    """h -> P h + u written out from a body of sums and products with streams, or None where it is no such map."""
    Form = tuple[list[Node | None], Node | None]  # coefficients of the states, the rest
    values: list[Form] = []

    def of(reference: scans.Reference) -> Form:
        kind, i = reference
        if kind == "h":
            return [graph.constant(1.0) if k == i else None for k in range(m)], None
        return ([None] * m, streams[i]) if kind == "s" else values[i]

    def combine(f: Callable[[Node], Node], x: Form) -> Form:
        return [None if c is None else f(c) for c in x[0]], None if x[1] is None else f(x[1])

    def both(x: Node | None, y: Node | None, sign: float) -> Node | None:
        if y is None:
            return x
        y = y if sign > 0 else -y
        return y if x is None else x + y

    for op, references in body:
        parts = [of(r) for r in references]
        if op in ("add", "subtract"):
            (a, u), (b, v) = parts
            sign = 1.0 if op == "add" else -1.0
            values.append(([both(x, y, sign) for x, y in zip(a, b, strict=True)], both(u, v, sign)))
        elif op == "negative":
            values.append(combine(lambda c: -c, parts[0]))
        elif op in ("multiply", "divide"):
            left, right = parts
            if op == "multiply" and all(c is None for c in left[0]):
                left, right = right, left
            factor = right[1]
            if any(c is not None for c in right[0]) or factor is None:
                return None
            values.append(combine(partial(_scaled, op, factor), left))
        else:
            return None
    zero = graph.constant(0.0)
    picked = [values[i] for i in outputs]
    return [[zero if c is None else c for c in row] for row, _ in picked], [zero if u is None else u for _, u in picked]
