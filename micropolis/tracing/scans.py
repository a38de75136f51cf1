"""Recurrences in the array program: states h_t = F(h_{t-1}, s_t) one after another, and their derivatives.

    scan         (h0, streams ...): the states (T, m), F a short list of elementwise operations on numbers.
                 data: (T, m, body, outputs), see `Body`
    linear_scan  (P, u, h0): h_t = P_t h_{t-1} + u_t, P (T, m, m), u (T, m); or, backwards, g_t = P_{t+1}' g_{t+1} + u_t
                 from the last, whatever h0. data: (T, m, backwards)

Adjoints of any recurrence are linear in the adjoints, with the Jacobians of F as coefficients; and given the states, F
and its Jacobians are array operations over all times at once. So a loop is run as a recurrence once, forwards, and its
derivatives are linear scans between array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementwise import guard
from .linalg_rules import MatrixRule

if TYPE_CHECKING:
    from .graph import Graph, Node

# (operation, operands), an operand ("h", i) of the state before, ("s", k) of stream k, or ("b", j) of the body itself.
Reference = tuple[str, int]
Body = tuple[tuple[str, tuple[Reference, ...]], ...]


def instance(
    graph: Graph, body: Body, outputs: Sequence[int], before: Sequence[Node], streams: Sequence[Node]
) -> list[Node]:
    """The states after, from the states before and the streams, as elementwise operations on arrays over time."""
    made: list[Node] = []
    of: dict[str, Any] = {"h": before, "s": streams, "b": made}
    for op, operands in body:
        made.append(graph.apply(op, *[of[kind][i] for kind, i in operands]))
    return [made[i] for i in outputs]


def column(states: Node, i: int, times: int, m: int) -> Node:
    return states if m == 1 else states.graph.gather(states, np.arange(i, times * m, m))


def earlier(states: Node, first: Node, times: int, m: int) -> Node:
    """The states one time before: `first`, and all but the last."""
    graph = states.graph
    return (
        graph.concatenate([graph.full(first, m), graph.gather(states, np.arange((times - 1) * m))])
        if times > 1
        else first
    )


def stacked(graph: Graph, columns: Sequence[Node], times: int) -> Node:
    """Arrays over time side by side, (T, columns)."""
    if len(columns) == 1:
        return graph.full(columns[0], times)
    width = len(columns)
    places = [np.arange(i, times * width, width) for i in range(width)]
    return graph.assemble([graph.full(c, times) for c in columns], places, times * width)


def linear(p: Node, u: Node, h0: Node, times: int, m: int, backwards: bool = False) -> Node:
    graph = u.graph
    args = (graph.full(p, times * m * m), graph.full(u, times * m), graph.full(h0, m))
    return graph.node("linear_scan", args, (times, m, bool(backwards)), times * m)


def _outer(a: Node, b: Node, times: int, m: int) -> Node:
    """a_t b_t' for every time, zero where the adjoint a is."""
    graph = a.graph
    spread = graph.expand(a, times * m, m, 1)
    return guard(spread, spread * graph.expand(b, times, m, m))


def _apply_rows(p: Node, v: Node, times: int, m: int, transposed: bool) -> Node:
    """P_t v_t, or P_t' v_t, for every time."""
    graph = p.graph
    if transposed:
        spread = graph.expand(v, times * m, m, 1)  # adjoints
        return graph.sum(guard(spread, p * spread), times, m, m)
    return graph.sum(p * graph.expand(v, times, m, m), times * m, m, 1)


# -- scan ------------------------------------------------------------------------------------------------------------


def _unrolled(node: Node) -> tuple[list[Node], list[Node], list[Node]]:
    """Nodes that stand for the states before and for the streams, and the states after, as arrays over time.

    They stand for others so that derivatives by these can be told from those by what these are made of, which is what
    the body may be simplified to: a sum with -(y - x)^2 becomes a difference with (y - x)^2.
    """
    (h0, *streams), (times, m, body, outputs) = node.args, node.data
    graph, before = node.graph, earlier(node, h0, times, m)
    marks = [graph.node("mark", (column(before, i, times, m),), i, times) for i in range(m)]
    streams = [graph.node("mark", (s,), m + k, s.size) if s.depends else s for k, s in enumerate(streams)]
    return marks, instance(graph, body, outputs, marks, streams), streams


def _jacobian(node: Node, before: list[Node], after: list[Node], streams: list[Node]) -> Node:
    from .derivatives import vector_product

    times, m, graph = node.data[0], node.data[1], node.graph
    one, zero = graph.full(graph.constant(1.0), times), graph.constant(0.0)
    entries: list[Node] = []
    for state in after:
        parts = vector_product(state, one, [*before, *streams])[:m]
        entries += [zero if part is None else part for part in parts]
    return stacked(graph, entries, times)


def _scan_adjoint(node: Node, d: Node, masked: bool) -> list[Node | None]:
    from .derivatives import vector_product

    times, m = node.data[0], node.data[1]
    before, after, streams = _unrolled(node)
    p = _jacobian(node, before, after, streams)
    along = linear(p, d, node.graph.constant(np.zeros(m)), times, m, True)
    totals: list[Node | None] = [None] * len(streams)
    for i, state in enumerate(after):
        parts = vector_product(state, column(along, i, times, m), [*before, *streams], masked)
        for k, part in enumerate(parts[m:]):
            if part is not None and streams[k].depends:
                so_far = totals[k]
                totals[k] = part if so_far is None else so_far + part
    first = node.graph.gather(along, np.arange(m))
    start = _apply_rows(node.graph.gather(p, np.arange(m * m)), first, 1, m, True)
    return [start, *totals]


def _scan_tangent(node: Node, moves: Sequence[Node | None]) -> Node | None:
    from .derivatives import tangent

    times, m = node.data[0], node.data[1]
    before, after, streams = _unrolled(node)
    p = _jacobian(node, before, after, streams)
    along: dict[Node, Node | None] = {**dict.fromkeys(before), **dict(zip(streams, moves[1:], strict=True))}
    change = tangent(after, along)
    first = moves[0] if moves[0] is not None else node.graph.constant(np.zeros(m))
    return linear(p, stacked(node.graph, change, times), first, times, m)


# -- linear scan -----------------------------------------------------------------------------------------------------


def _linear_adjoint(node: Node, d: Node, masked: bool) -> list[Node | None]:
    (p, u, h0), (times, m, backwards), graph = node.args, node.data, node.graph
    zero = graph.constant(np.zeros(m))
    if not backwards:
        along = linear(p, d, zero, times, m, True)
        to_p = _outer(along, earlier(node, h0, times, m), times, m) if p.depends else None
        first = graph.gather(along, np.arange(m))
        start = _apply_rows(graph.gather(p, np.arange(m * m)), first, 1, m, True) if h0.depends else None
        return [to_p, along if u.depends else None, start]
    along = linear(p, d, zero, times, m)
    to_p = _outer(node, earlier(along, zero, times, m), times, m) if p.depends else None
    return [to_p, along if u.depends else None, None]


def _linear_tangent(node: Node, moves: Sequence[Node | None]) -> Node | None:
    (p, _, h0), (times, m, backwards), graph = node.args, node.data, node.graph
    change = moves[1]
    if moves[0] is not None:
        dp = graph.full(moves[0], times * m * m)
        if backwards:
            part = _apply_rows(dp, node, times, m, True)  # at t what is added at t - 1
            rest = graph.gather(part, np.arange(m, times * m))
            part = graph.concatenate([rest, graph.constant(np.zeros(m))])
        else:
            part = _apply_rows(dp, earlier(node, h0, times, m), times, m, False)
        change = part if change is None else change + part
    first = moves[2] if moves[2] is not None else graph.constant(np.zeros(m))
    return linear(p, graph.constant(0.0) if change is None else change, first, times, m, backwards)


def _mark_adjoint(node: Node, d: Node, masked: bool) -> list[Node | None]:
    return [d]


def _mark_tangent(node: Node, moves: Sequence[Node | None]) -> Node | None:
    return moves[0]


SCANS: dict[str, MatrixRule] = {
    "scan": MatrixRule(_scan_adjoint, _scan_tangent),
    "linear_scan": MatrixRule(_linear_adjoint, _linear_tangent),
    # its operand; derivatives by it are not those by the operand
    "mark": MatrixRule(_mark_adjoint, _mark_tangent),
}
