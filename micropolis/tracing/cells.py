"""Cell: the memory of a traced array, which its views share, and what was written into it."""

from __future__ import annotations

import bisect
import functools
from typing import Any

import numpy as np

from .derivatives import as_place
from .graph import Graph, Node


class Cell:
    """The memory of a traced array: a node, and over it the segments that were written since.

    Segments are kept apart until somebody reads across them: a loop over time steps that writes each in its place makes
    a program as long as the loop, not as its square.
    """

    def __init__(self, node: Node, size: int, argument: bool = False) -> None:
        self._node, self.size, self.argument = node, size, argument
        self._starts: list[int] = []
        self._segments: dict[int, tuple[int, Node]] = {}  # start -> (stop, elements)

    @functools.cached_property
    def numbers(self) -> Any:
        return np.arange(self.size)

    @property
    def graph(self) -> Graph:
        return self._node.graph

    @property
    def node(self) -> Node:
        """All elements; a node of one element stands for as many equal ones."""
        if self._segments:
            self._node = self._range(0, self.size)
            self._starts, self._segments = [], {}
        return self._node

    def read(self, numbers: Any) -> Node:
        """The elements of these numbers."""
        if not self._segments:
            return self._node if self._node.size == 1 else self.graph.gather(self._node, numbers)
        flat = np.asarray(numbers).reshape(-1)
        if flat.size == 0:
            return self.graph.constant(np.empty(0))
        place = as_place(flat)
        if isinstance(place, tuple):
            return self._range(*place)
        return self.graph.gather(self.graph.full(self.node, self.size), flat)

    def _range(self, start: int, stop: int) -> Node:
        """Elements start .. stop - 1, from the segments and from what lies below them."""
        graph = self.graph
        parts, at = [], start
        k = max(bisect.bisect_right(self._starts, start) - 1, 0)
        for first in self._starts[k:]:
            last, node = self._segments[first]
            if last <= at:
                continue
            if first >= stop:
                break
            if first > at:
                parts.append(self._below(at, first))
                at = first
            end = min(last, stop)
            node = graph.full(node, last - first)
            parts.append(node if (at, end) == (first, last) else graph.gather(node, np.arange(at - first, end - first)))
            at = end
        if at < stop:
            parts.append(self._below(at, stop))
        return graph.concatenate(parts)

    def _below(self, start: int, stop: int) -> Node:
        if self._node.size == 1:
            return self.graph.full(self._node, stop - start)
        return self.graph.gather(self._node, np.arange(start, stop))

    def write(self, numbers: Any, value: Node) -> None:
        """Set the elements of these numbers; of an element that is named twice the last value counts."""
        flat = np.asarray(numbers).reshape(-1)
        if flat.size == 0:
            return
        graph, place = self.graph, as_place(flat)
        if isinstance(place, tuple):
            start, stop = place
            if stop - start == self.size:
                self._node, self._starts, self._segments = value, [], {}
                return
            k = bisect.bisect_left(self._starts, start)
            clash = k < len(self._starts) and self._starts[k] < stop
            if (clash and not (self._starts[k] == start and self._segments[start][0] == stop)) or (
                k and self._segments[self._starts[k - 1]][0] > start
            ):
                self._node = self.node
            if start not in self._segments:
                bisect.insort(self._starts, start)
            self._segments[start] = (stop, value)
            return
        last = {int(number): i for i, number in enumerate(flat)}
        if len(last) < flat.size:
            flat, kept = np.array(list(last)), np.array(list(last.values()))
            value = value if value.size == 1 else graph.gather(value, kept)
        below = graph.full(self.node, self.size)
        inside = np.zeros(self.size)
        inside[flat] = 1.0
        if below.is_constant:
            rest = graph.constant(np.where(inside != 0, 0.0, below.data))
            self._node = graph.assemble([rest, value], [(0, self.size), flat], self.size)
        else:
            spread = graph.assemble([value], [flat], self.size)
            self._node = graph.where(graph.constant(inside), spread, below)
