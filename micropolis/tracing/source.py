"""The array program as Python source: one function ``logp_grad(x, grad, data) -> float``, a loop for each fused group.

Its text is what Numba compiles for the CPU and for CUDA, and what Python runs. It looks up no attributes and has loops,
numbers, elements of flat arrays and calls of the functions in scalar_functions.py and array_functions.py alone:

    x, grad   the arguments, (dim,)            w   work memory, made by ``make_memory(size)`` in each call
    c, t      ``data``: constants (float64) and element numbers (uint32), each one array that all nodes share

What is scalar is a local variable; what a loop computes for itself too. Matrices of up to UNROLLED columns lie by
columns and are written out, so that loops over rows become vectors; wider ones lie by rows. Sums run in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array_functions import SCRATCH
from .graph import Node
from .scalar_functions import OPERATORS
from .schedule import LOOP, SCALAR, Item, is_alias, lowered, schedule
from .source_loops import Loop, Place, at


@dataclass(frozen=True)
class Source:
    """One emitted function.

    Attributes
    ----------
    text : str
        Defines ``logp_grad``.
    memory : int
        Doubles of work memory.
    instructions : int
        Scalar operations that are written out: what compiling takes time for.
    data : tuple of array
        Constants and element numbers, the function's third argument.
    """

    text: str
    memory: int
    instructions: int
    data: tuple[NDArray[np.float64], NDArray[np.uint32]]


def emit(value: Node, gradient: Node, python: bool = False) -> Source:
    """The source of a value and its gradient by the input "x"; for `python` itself numbers are NumPy's doubles."""
    return Emitter(lowered([value, gradient], value.graph), python).run()


class Emitter:
    def __init__(self, outputs: Sequence[Node], python: bool) -> None:
        self.plan, self.python = schedule(outputs), python
        self.lines: list[str] = []  # of the function
        self.numbers: list[NDArray[np.float64]] = []
        self.tables: list[NDArray[np.uint32]] = []
        self.n_numbers = self.n_tables = self.memory = self.names = self.instructions = 0
        self.shared: dict[Any, int] = {}
        self.home: dict[int, Place] = {}
        self.local: dict[int, str] = {}  # names of numbers, and within a loop of its elements
        self.loaded: dict[Place, str] = {}  # of numbers in memory
        self.stored = set(self.plan.stored)
        self.dropped: set[Item] = set()

    def run(self) -> Source:
        value, gradient = self.plan.outputs
        if gradient.op not in ("input", "constant") and not is_alias(gradient) and gradient is not value:
            self.home[gradient.number] = ("grad", 0)
        for node in reversed(self.plan.order):  # what is part of another array is computed there
            if node.op == "assemble":
                self.lay_out(node)
        for stage in self.plan.stages:
            if stage.kind == SCALAR:
                for item in stage.items:
                    self.number(item)
            elif stage.kind == LOOP:
                Loop(self, stage).run()
            else:
                for item in stage.items:
                    self.whole(item.node)
        if self.home.get(gradient.number) != ("grad", 0) or gradient.size == 1:
            if gradient.size == 1:
                self.say(f"grad[0] = {self.scalar(gradient)}")
            else:
                self.copy(("grad", 0), self.place(gradient), gradient.size)
        body = [*self.lines, f"return {self.scalar(value)}"]
        head = ["def logp_grad(x, grad, data):", " c = data[0]", " t = data[1]"]
        head += [f" w = make_memory({self.memory})"] if self.memory else []
        numbers = np.concatenate([np.zeros(1), *self.numbers]) if self.numbers else np.zeros(1)
        tables = np.concatenate(self.tables) if self.tables else np.zeros(1, dtype=np.uint32)
        text = "\n".join([*head, *[" " + line for line in body], ""])
        return Source(text, self.memory, self.instructions, (numbers, tables))

    # -- text --------------------------------------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        self.lines += lines
        self.instructions += len(lines)

    def name(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def literal(self, value: float) -> str:
        text = repr(float(value)).replace("inf", "INF").replace("nan", "NAN")
        return f"D({text})" if self.python else f"({text})" if text.startswith("-") else text

    def expression(self, op: str, operands: Sequence[str]) -> str:
        if op in OPERATORS:
            return OPERATORS[op].format(*operands, one=self.literal(1.0))
        return f"{op}({', '.join(operands)})"

    # -- memory ------------------------------------------------------------------------------------------------------

    def reserve(self, size: int) -> Place:
        start = self.memory
        self.memory += size
        return "w", start

    def constants(self, key: Any, values: NDArray[np.float64]) -> int:
        """Where these constants are in `c`."""
        if key not in self.shared:
            self.shared[key] = self.n_numbers + 1
            self.numbers.append(np.ascontiguousarray(values, dtype=np.float64).reshape(-1))
            self.n_numbers += self.numbers[-1].size
        return self.shared[key]

    def table(self, numbers: NDArray[np.int64]) -> int:
        """Where these element numbers are in `t`."""
        key = ("table", numbers.tobytes())
        if key not in self.shared:
            self.shared[key] = self.n_tables
            self.tables.append(numbers.astype(np.uint32))
            self.n_tables += numbers.size
        return self.shared[key]

    def place(self, node: Node) -> Place:
        """Where the elements of a node are; a number that is a local variable is put into memory."""
        if node.number in self.home:
            return self.home[node.number]
        if node.op == "input":
            return "x", 0
        if node.is_constant:
            return "c", self.constants(("constant", node.number), node.data)
        if is_alias(node):
            array, offset = self.place(node.args[0])
            return array, offset + int(node.data[0])
        self.home[node.number] = place = self.reserve(node.size)
        if node.size == 1 and node.number in self.local:
            self.say(f"{at(place)} = {self.local[node.number]}")
        return place

    def view(self, node: Node) -> str:
        """The elements of a node as an array."""
        array, offset = self.place(node)
        return f"{array}[{offset} : {offset + node.size}]"

    def scalar(self, node: Node) -> str:
        """A node of one element, as a literal or a local variable."""
        if node.is_constant:
            return self.literal(node.data[0])
        if node.number not in self.local:
            self.local[node.number] = self.element(node, 0)
        return self.local[node.number]

    def element(self, node: Node, number: int) -> str:
        """A local variable that holds an element in memory."""
        array, offset = self.place(node)
        place = (array, offset + number)
        if place not in self.loaded:
            self.loaded[place] = self.name()
            self.lines.append(f"{self.loaded[place]} = {at(place)}")
        return self.loaded[place]

    def copy(self, to: Place, of: Place, size: int) -> None:
        self.say(f"for i in range({size}):", f" {at(to, 'i')} = {at(of, 'i')}")

    def lay_out(self, node: Node) -> None:
        """Memory of an `assemble` with what is in it from the start; parts that can be are computed in their places."""
        if node.number not in self.home:
            self.home[node.number] = self.reserve(node.size)
        array, start = self.home[node.number]
        initial, covered = np.zeros(node.size), np.zeros(node.size, dtype=bool)
        if node.number not in self.plan.added:
            for i, (part, place) in enumerate(zip(node.args, node.data, strict=True)):
                elements: Any = slice(*place) if isinstance(place, tuple) else place
                if part.is_constant:
                    initial[elements] = part.data
                    continue
                covered[elements] = True
                if not isinstance(place, tuple) or part.number in self.home or part.size != place[1] - place[0]:
                    continue
                if part.size > 1 and part.op != "input" and not is_alias(part):
                    self.home[part.number] = (array, start + place[0])
                    self.stored.add(part.number)
                    self.dropped.add(Item(node, i))
        if covered.all():
            return
        if node.size <= 4:
            for k in np.flatnonzero(~covered).tolist():
                self.say(f"{at((array, start + k))} = {self.literal(initial[k])}")
        elif initial.any():
            self.copy((array, start), ("c", self.constants(("initial", node.number), initial)), node.size)
        else:
            self.say(f"for i in range({node.size}):", f" {at((array, start), 'i')} = {self.literal(0.0)}")

    # -- numbers -----------------------------------------------------------------------------------------------------

    def number(self, item: Item) -> None:
        """A scalar operation, or a number that goes to its place in an array."""
        node = item.node
        if item.part >= 0:
            array, start = self.place(node)
            target = at((array, start + node.data[item.part][0]))
            sign = "+=" if node.number in self.plan.added else "="
            self.say(f"{target} {sign} {self.scalar(node.args[item.part])}")
            return
        text = self.expression(node.op, [self.scalar(a) for a in node.args])
        self.local[node.number] = self.name()
        self.say(f"{self.local[node.number]} = {text}")

    # -- whole arrays ------------------------------------------------------------------------------------------------

    def whole(self, node: Node) -> None:
        op, data = node.op, node.data if isinstance(node.data, tuple) else (node.data,)
        if op == "scan":
            self.scan(node)
            return
        if op == "linear_scan" and data[1] == 1:
            self.linear_scan(node)
            return
        # of a matrix and its factors the factors are read
        used = node.args[1:] if op in ("solve", "slogdet", "det") else node.args
        operands = [self.view(a) for a in used]
        if op in SCRATCH:
            _, start = self.reserve(SCRATCH[op](node.data))
            operands.append(f"w[{start} : {self.memory}]")
        sizes = [str(v) for v in data]
        if op == "det":
            self.local[node.number] = self.name()
            self.say(f"{self.local[node.number]} = determinant({', '.join([*operands, *sizes])})")
        else:
            self.say(f"{op}({', '.join([self.view(node), *operands, *sizes])})")

    def scan(self, node: Node) -> None:
        (first, *streams), (times, m, body, outputs) = node.args, node.data
        array, offset = self.place(first)
        states = [self.name() for _ in range(m)]
        self.say(*[f"{state} = {at((array, offset + i))}" for i, state in enumerate(states)])
        of_streams = [self.scalar(s) if s.size == 1 else at(self.place(s), "i") for s in streams]
        array, offset = self.place(node)
        made: list[str] = []
        of: dict[str, list[str]] = {"h": states, "s": of_streams, "b": made}
        self.say(f"for i in range({times}):")
        for op, operands in body:
            text = self.expression(op, [of[kind][i] for kind, i in operands])
            made.append(self.name())
            self.say(f" {made[-1]} = {text}")
        for i, (state, of_body) in enumerate(zip(states, outputs, strict=True)):
            self.say(f" {state} = {made[of_body]}", f" {at((array, offset + i), f'{m} * i')} = {state}")

    def linear_scan(self, node: Node) -> None:
        """The recurrence of one state."""
        (p, u, h), (times, _, backwards) = node.args, node.data
        state, (array, offset) = self.name(), self.place(node)
        factor, added = [at(self.place(a), "i") if a.size > 1 else self.scalar(a) for a in (p, u)]
        if not backwards:
            self.say(
                f"{state} = {self.scalar(h)}", f"for i in range({times}):", f" {state} = {factor} * {state} + {added}"
            )
        else:
            array_p, offset_p = self.place(p)
            factor = at((array_p, offset_p + 1), "i") if times > 1 else self.literal(0.0)
            array_u, offset_u = self.place(u)
            last = times - 1
            self.say(f"{state} = {at((array_u, offset_u + last))}", f"{at((array, offset + last))} = {state}")
            self.say(f"for i in range({last - 1}, -1, -1):", f" {state} = {factor} * {state} + {added}")
        self.say(f" {at((array, offset), 'i')} = {state}")
