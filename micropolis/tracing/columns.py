"""Arrays of a few columns are computed column by column: sums over short rows become sums of columns.

A table of A rows and K <= 8 columns, such as the terms of a mixture, is reduced along rows of K elements (logsumexp,
sum), or along its columns to K elements. Neither fills a vector. Here both are rewritten in terms of the columns, each
an array of A elements; what makes a column is pushed through elementwise operations down to what the table is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .elementwise import ELEMENTWISE
from .graph import Graph, Node, rebuild

MOST_COLUMNS, LEAST_ROWS = 8, 16


class _Columns:
    """Columns of tables, each made once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._made: dict[tuple[int, int, int], Node] = {}

    def __call__(self, node: Node, k: int, width: int) -> Node:
        """Column k of a table of `width` columns; of one element, which stands for all, that."""
        if node.size == 1:
            return node
        key = (node.number, k, width)
        if key not in self._made:
            self._made[key] = self._make(node, k, width)
        return self._made[key]

    def _make(self, node: Node, k: int, width: int) -> Node:
        graph, rows = self.graph, node.size // width
        if node.op in ELEMENTWISE:
            return graph.apply(node.op, *[self(a, k, width) for a in node.args])
        if node.op == "expand":
            a, r, b = node.data
            if node.args[0].size == 1:
                return node.args[0]
            if b == 1 and r == width:
                return node.args[0]
            if b % width == 0:  # whole rows repeat
                column = self(node.args[0], k, width) if b > width or a > 1 else graph.gather(node.args[0], [k])
                return column if column.size == 1 else graph.expand(column, a, r, b // width)
        if node.op == "sum":
            a, r, b = node.data
            if b % width == 0 and b > width:
                return graph.sum(self(node.args[0], k, width), a, r, b // width)
        if node.op == "assemble":
            numbers = np.arange(k, node.size, width)
            for part, place in zip(node.args, node.data, strict=True):
                if not isinstance(place, tuple) and place.size == rows and np.array_equal(place, numbers):
                    others = [p for p in node.data if p is not place]
                    if not any(isinstance(p, tuple) or np.any(p % width == k) for p in others):
                        return part
        return graph.gather(node, np.arange(k, node.size, width))


def by_columns(outputs: Sequence[Node], graph: Graph) -> list[Node]:
    """The outputs with reductions of narrow tables written in columns."""
    column = _Columns(graph)

    def change(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op in ("sum", "greatest", "logsumexp"):
            (a, r, b), x = node.data, args[0]
            if b == 1 and 2 <= r <= MOST_COLUMNS and a >= LEAST_ROWS:
                return _along_rows(graph, node.op, [column(x, k, r) for k in range(r)], a)
            if node.op == "sum" and a == 1 and 2 <= b <= MOST_COLUMNS and r >= LEAST_ROWS:
                return graph.concatenate([graph.sum(graph.full(column(x, k, b), r), 1, r, 1) for k in range(b)])
        if node.op == "gather" and node.size >= LEAST_ROWS:
            width = _stride(node)
            if width:
                first = int(node.data[0])
                if args[0].op in ELEMENTWISE or args[0].op == "expand":
                    return graph.full(column(args[0], first, width), node.size)
        return None

    return rebuild(outputs, graph, change)


def _along_rows(graph: Graph, op: str, columns: list[Node], rows: int) -> Node:
    total = columns[0]
    if op == "sum":
        for c in columns[1:]:
            total = total + c
    elif op == "greatest":
        for c in columns[1:]:
            total = graph.apply("maximum", total, c)
    else:
        top = _along_rows(graph, "greatest", columns, rows)
        shift = graph.where(graph.apply("isfinite", top), top, 0.0)
        terms = [graph.apply("exp", c - shift) for c in columns]
        total = shift + graph.apply("log", _along_rows(graph, "sum", terms, rows))
    return graph.full(total, rows)


def _stride(node: Node) -> int:
    """The number of columns of which a gather takes one, or 0."""
    numbers, size = node.data, node.args[0].size
    if size % node.size:
        return 0
    width = size // node.size
    if not 2 <= width <= MOST_COLUMNS or numbers[0] >= width:
        return 0
    return width if np.array_equal(numbers, np.arange(numbers[0], size, width)) else 0
