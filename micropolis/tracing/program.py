"""Array programs as the C interpreter takes them: memory laid out, stages as records of codes and addresses.

A program is compiled for one point, or for eight in the lanes of a vector (`lanes`): then every element is a block of
eight doubles, and what is scalar code for one point is a loop over one block. Constants are shared by all handles of a
program, work memory is each handle's own. The records are those of csrc/densities/array_program.h.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .elementwise import ELEMENTWISE
from .graph import Node
from .schedule import LOOP, SCALAR, WHOLE, Item, Schedule, Stage, is_alias, lowered, schedule

LANES = 8
TILE = 256  # doubles; MP_TILE in array_program.h
SLACK = 8  # doubles behind every array, which whole vectors may run over

TILE_OP = np.dtype(
    [("code", "i4"), ("mode", "u1", 4), ("address", "i8", 4), ("auxiliary", "i8"), ("k", "i8", 4)], align=True
)
SCALAR_OP = np.dtype([("code", "u4"), ("d", "u4"), ("a", "u4"), ("b", "u4"), ("c", "u4")])
STAGE = np.dtype([("kind", "i4"), ("count", "i4"), ("size", "i8"), ("operations", "i8")])
CALL = np.dtype(
    [
        ("work", "i8"),
        ("stages", "i8"),
        ("n_stages", "i8"),
        ("clear", "i8"),
        ("n_clear", "i8"),
        ("inputs", "i8", 3),
        ("outputs", "i8", 2),
    ]
)
# how an operand lies: in a tile, in an array that the loop goes along, a number for all elements, a block for all
TILED, MOVING, NUMBER, BLOCK = range(4)


@cache
def codes() -> dict[str, int]:
    """Codes of the interpreter's operations by name."""
    from .._density import operations

    return {name: code for code, name in enumerate(operations())}


Reference = tuple[int, int]  # 0 and an offset into the work memory, or 1 + the number of a shared array and an offset


def padded(size: int) -> int:
    return (size + 7) // 8 * 8 + SLACK


def aligned_zeros(size: int) -> NDArray[np.float64]:
    """Zeros at a 64-byte boundary."""
    raw = np.zeros(size + 8)
    offset = (-raw.ctypes.data // 8) % 8
    return raw[offset : offset + size]


class Program:
    """A compiled program: inputs by name, outputs in order.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : mapping of str to int
        Sizes, in the order in which they are passed.
    lanes : int
        1, or 8 for as many points at once.
    """

    def __init__(self, outputs: Sequence[Node], inputs: Mapping[str, int], lanes: int = 1) -> None:
        self.lanes, self.inputs = lanes, dict(inputs)
        graph = outputs[0].graph
        self.schedule = schedule(lowered([graph.full(o, o.size) for o in outputs], graph))
        self.shared: list[Any] = []  # constants and tables of element numbers
        self._shared_of: dict[Any, int] = {}
        self._fixed: list[tuple[int, NDArray[np.float64]]] = []  # (offset, values) of the work memory
        self.size = 0  # doubles of work memory
        self._home: dict[int, int] = {}
        self._tile: dict[int, int] = {}
        self._stages: list[tuple[int, int, Any]] = []  # kind, size, records
        self._clear: list[tuple[int, int]] = []
        _Encoder(self, self.schedule).run()

    def bind(self) -> tuple[NDArray[Any], Any]:
        """A fresh handle: the C record of a call, and what keeps its memory alive."""
        work = aligned_zeros(self.size)
        for offset, values in self._fixed:
            work[offset : offset + values.size] = values
        base = work.ctypes.data
        starts = np.array([base, *[array.ctypes.data for array in self.shared]], dtype=np.int64)
        held: list[Any] = [work, self.shared]
        stages = np.zeros(len(self._stages), STAGE)
        for record, (kind, size, operations) in zip(stages, self._stages, strict=True):
            if kind != SCALAR:
                template, where = operations
                operations = template.copy()
                operations["address"] += starts[where[:, :4]]
                operations["auxiliary"] += starts[where[:, 4]]
            held.append(operations)
            record["kind"], record["count"], record["size"] = kind, len(operations), size
            record["operations"] = operations.ctypes.data
        clear = np.array([(base + 8 * start, count) for start, count in self._clear], dtype=np.int64).reshape(-1, 2)
        call = np.zeros(1, CALL)
        call["work"] = base
        call["stages"], call["n_stages"], call["clear"], call["n_clear"] = (
            stages.ctypes.data, len(stages), clear.ctypes.data, len(clear),
        )  # fmt: skip
        call["inputs"][0, : len(self.inputs)] = [base + 8 * self.input_places[name] for name in self.inputs]
        places = self.output_places[:2]
        call["outputs"][0, : len(places)] = [base + 8 * place for place in places]
        held += [stages, clear]
        return call, held

    input_places: dict[str, int]
    output_places: list[int]

    @property
    def scalars(self) -> int:
        """Operations of scalar code."""
        return sum(len(records) for kind, _, records in self._stages if kind == SCALAR)

    @property
    def counts(self) -> tuple[int, int]:
        """Operations and elements that they compute."""
        operations = elements = 0
        for kind, size, records in self._stages:
            n = len(records) if kind == SCALAR else len(records[0])
            operations += n
            elements += n * size
        return operations, elements


class _Encoder:
    """Lays out the memory of a program and writes its records."""

    def __init__(self, program: Program, plan: Schedule) -> None:
        self.program, self.plan, self.lanes = program, plan, program.lanes
        self.home = program._home
        self.users: dict[int, int] = {}
        for node in plan.order:
            for arg in node.args:
                self.users[arg.number] = self.users.get(arg.number, 0) + 1
        for node in plan.outputs:
            self.users[node.number] = self.users.get(node.number, 0) + 1

    def run(self) -> None:
        program, plan = self.program, self.plan
        by_name = {node.data: node for node in plan.order if node.op == "input"}
        program.input_places = {}
        for name, size in program.inputs.items():
            place = self.reserve(size)
            program.input_places[name] = place
            if name in by_name:
                self.home[by_name[name].number] = place
        self.dropped: set[Item] = set()
        self.registers = 0
        for node in plan.order:  # arrays first, so that numbers can be put straight into them
            if node.op == "assemble":
                self.lay_out(node)
        self.fused: set[int] = set()
        for stage in plan.stages:
            if stage.kind == LOOP or self.lanes > 1:
                self.find_fused(stage)
        self.tile_registers = [self.allocate_tiles(stage) if stage.kind == LOOP else {} for stage in plan.stages]
        self.tiles = self.reserve(self.registers * TILE)
        for stage, registers in zip(plan.stages, self.tile_registers, strict=True):
            self.tile = registers
            if stage.kind == SCALAR and self.lanes == 1:
                self.scalar_stage(stage)
            else:
                self.vector_stage(stage)
        program.output_places = [self.place(node) for node in plan.outputs]

    # -- memory ------------------------------------------------------------------------------------------------------

    def reserve(self, elements: int) -> int:
        start = self.program.size
        size = padded(elements * self.lanes) if elements > 1 or self.lanes > 1 else 1
        if size > 1:
            start = (start + 7) // 8 * 8
        self.program.size = start + size
        return start

    def lay_out(self, node: Node) -> None:
        """Memory of an `assemble`; numbers and whole vectors among its parts are computed where they belong."""
        start = self.home.setdefault(node.number, self.reserve(node.size))
        self.program.size = max(self.program.size, start + padded(node.size * self.lanes))
        if node.number in self.plan.added:
            self.program._clear.append((start, node.size * self.lanes))
            return
        for i, (part, place) in enumerate(zip(node.args, node.data, strict=True)):
            if part.is_constant:
                values = np.zeros(node.size)
                values[slice(*place) if isinstance(place, tuple) else place] = part.data
                keep = np.zeros(node.size, dtype=bool)
                keep[slice(*place) if isinstance(place, tuple) else place] = True
                for index in np.flatnonzero(keep) if not isinstance(place, tuple) else [None]:
                    if index is None:
                        first, block = place[0], values[place[0] : place[1]]
                    else:
                        first, block = int(index), values[index : index + 1]
                    self.program._fixed.append((start + first * self.lanes, np.repeat(block, self.lanes)))
                continue
            if not isinstance(place, tuple) or part.number in self.home or part.size != place[1] - place[0]:
                continue
            computed = part.op in ELEMENTWISE or (part.op in ("gather", "expand", "matvec") and not is_alias(part))
            whole = part.size == 1 and part.op in ELEMENTWISE
            fits = part.size * self.lanes % 8 == 0 or place[1] == node.size
            if whole or (computed and fits and part.size > 1):
                self.home[part.number] = start + place[0] * self.lanes
                self.plan.stored.add(part.number)
                self.dropped.add(Item(node, i))

    def place(self, node: Node) -> int:
        """Where in the work memory a node is."""
        if node.number not in self.home:
            if is_alias(node):
                self.home[node.number] = self.place(node.args[0]) + int(node.data[0]) * self.lanes
            else:
                self.home[node.number] = self.reserve(node.size)
                if node.is_constant:
                    self.program._fixed.append((self.home[node.number], np.repeat(node.data, self.lanes)))
        return self.home[node.number]

    def shared(self, key: Any, make: Any) -> int:
        """The number of a shared array, made when it is first asked for."""
        program = self.program
        if key not in program._shared_of:
            program.shared.append(make())
            program._shared_of[key] = len(program.shared)
        return program._shared_of[key]

    def constant(self, node: Node) -> Reference:
        """A constant array outside of the work memory."""

        def make() -> NDArray[np.float64]:
            array = aligned_zeros(padded(node.size * self.lanes))
            array[: node.size * self.lanes] = np.repeat(node.data, self.lanes)
            return array

        return self.shared(("constant", node.number), make), 0

    def allocate_tiles(self, stage: Stage) -> dict[int, int]:
        """A tile for every result of a loop that is not stored, given back after its last use."""
        last: dict[int, int] = {}
        reads: list[set[int]] = []
        for i, item in enumerate(stage.items):
            args = [item.node.args[item.part]] if item.part >= 0 else item.node.args
            through = [b for a in args for b in (a.args if a.number in self.fused else (a,))]
            reads.append({a.number for a in through})
            last.update(dict.fromkeys(reads[-1], i))
        free: list[int] = []
        held: dict[int, int] = {}
        used = 0
        for i, item in enumerate(stage.items):
            node = item.node
            if item.part < 0 and node.number in self.fused:
                continue
            if item.part < 0 and node.number not in self.plan.stored:
                if free:
                    held[node.number] = free.pop()
                else:
                    held[node.number] = used
                    used += 1
            for number in reads[i]:
                if number in held and last[number] == i:
                    free.append(held[number])
        self.registers = max(self.registers, used)
        return held

    # -- records -----------------------------------------------------------------------------------------------------

    def scalar_stage(self, stage: Stage) -> None:
        known = codes()
        rows: list[tuple[int, ...]] = []
        for item in stage.items:
            node = item.node
            if item.part >= 0:
                if item in self.dropped:
                    continue
                part, start = node.args[item.part], self.place(node) + node.data[item.part][0]
                if node.number in self.plan.added:
                    rows.append((known["add"], start, start, self.place(part), 0))
                else:
                    rows.append((known["copy"], start, self.place(part), 0, 0))
                continue
            slots = [self.place(a) for a in node.args]
            rows.append((known[node.op], self.place(node), *slots, *[0] * (3 - len(slots))))
        if rows:
            self.program._stages.append((SCALAR, 1, np.array(rows, dtype=SCALAR_OP)))

    def vector_stage(self, stage: Stage) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.where: list[tuple[int, ...]] = []
        for item in stage.items:
            if item in self.dropped or (item.part < 0 and item.node.number in self.fused):
                continue
            if item.part >= 0:
                self.encode_part(item, stage)
            elif stage.kind == WHOLE:
                self.encode_whole(item.node)
            else:
                self.encode(item.node, stage)
        if self.rows:
            records = np.zeros(len(self.rows), TILE_OP)
            for record, row in zip(records, self.rows, strict=True):
                record["code"], record["mode"], record["address"], record["auxiliary"], record["k"] = row
            size = (1 if stage.kind == SCALAR else stage.size) * self.lanes
            kind = LOOP if stage.kind == SCALAR else stage.kind
            self.program._stages.append((kind, size, (records, np.array(self.where))))

    def find_fused(self, stage: Stage) -> None:
        """Products that are summed at once, or added to something, need no operation of their own."""
        inside = {item.node.number for item in stage.items if item.part < 0}

        def free(node: Node) -> bool:
            return (
                node.number in inside and self.users[node.number] == 1 and node.number not in self.plan.stored
                and node.number not in self.fused
            )  # fmt: skip

        for item in stage.items:
            node = item.node
            if item.part >= 0:
                continue
            if node.op == "sum" and node.size == 1 and node.args[0].op in ("multiply", "square") and free(node.args[0]):
                self.fused.add(node.args[0].number)
            elif node.op in ("add", "subtract") and node.number in inside:
                for arg in node.args:
                    if arg.op == "multiply" and free(arg) and arg.size == node.size:
                        self.fused.add(arg.number)
                        break

    def operand(self, node: Node, stage: Stage, whole: bool = False) -> tuple[int, Reference]:
        """Mode and address of an operand of a loop; of a `whole` operation, a matrix or a table, where it starts."""
        if node.size == 1 and not whole:
            if self.lanes > 1:
                return BLOCK, (0, self.place(node))
            return NUMBER, (0, self.place(node))
        if node.number in self.tile and not whole:
            return TILED, (0, self.tiles + self.tile[node.number] * TILE)
        if node.is_constant:
            return MOVING, self.constant(node)
        return MOVING, (0, self.place(node))

    def emit(
        self,
        name: str,
        d: tuple[int, Reference],
        *operands: tuple[int, Reference],
        table: int = 0,
        k: Sequence[int] = (),
    ) -> None:
        every = [d, *operands, *[(TILED, (0, 0))] * (3 - len(operands))]
        self.rows.append(
            (
                codes()[name],
                [mode for mode, _ in every],
                [8 * offset for _, (_, offset) in every],
                0,
                [*k, *[0] * (4 - len(k))],
            )
        )
        self.where.append((*[number for _, (number, _) in every], table))

    def encode(self, node: Node, stage: Stage) -> None:
        """An operation of a loop."""
        d = self.operand(node, stage)
        if node.size == 1:  # the result of a sum, or in lanes a number
            d = (MOVING, (0, self.place(node)))
        op, lanes = node.op, self.lanes

        def take(a: Node) -> tuple[int, Reference]:
            return self.operand(a, stage)

        if op in ("add", "subtract") and any(a.number in self.fused for a in node.args):
            left, right = node.args
            if left.number in self.fused:
                self.emit("muladd" if op == "add" else "mulsub", d, take(left.args[0]), take(left.args[1]), take(right))
            else:
                name = "muladd" if op == "add" else "submul"
                self.emit(name, d, take(right.args[0]), take(right.args[1]), take(left))
        elif op in ELEMENTWISE:
            self.emit(op, d, *map(take, node.args))
        elif op == "sum":
            a, r, b = node.data
            source = node.args[0]
            if source.number in self.fused:
                left, right = source.args if source.op == "multiply" else source.args * 2
                if lanes == 1:
                    self.emit("dot", d, take(left), take(right))
                else:
                    self.emit("dot_blocks", d, take(left), take(right), k=(r, lanes, 1))
            elif a == b == 1 and lanes == 1:
                self.emit("total", d, take(source))
            else:
                self.emit("sum", d, take(source), k=(r, b * lanes, a))
        elif op == "greatest":
            a, r, b = node.data
            self.emit("greatest", d, take(node.args[0]), k=(r, b * lanes, a))
        elif op == "expand":
            a, r, b = node.data
            self.emit("expand", d, self.operand(node.args[0], stage, whole=True), k=(r, b * lanes))
        elif op == "gather":
            where = self.operand(node.args[0], stage, whole=True)
            self.emit("gather" if lanes == 1 else "gather_blocks", d, where, table=self.table(node.data))
        elif op in ("matvec", "matvec_t"):
            rows, columns = node.data
            matrix, vector = node.args
            whole = self.operand(vector, stage, whole=True) if op == "matvec" else take(vector)
            name = op if lanes == 1 else op + "_blocks"
            self.emit(name, d, whole, table=self.matrix(matrix, rows, columns), k=(columns, rows))
        else:
            raise AssertionError(f"no loop of {op}")

    def encode_part(self, item: Item, stage: Stage) -> None:
        """One part of an `assemble`."""
        node, place = item.node, item.node.data[item.part]
        part, add, lanes = node.args[item.part], item.node.number in self.plan.added, self.lanes
        a = self.operand(part, stage)
        if isinstance(place, tuple):
            d = (MOVING, (0, self.place(node) + place[0] * lanes))
            self.emit("place_add" if add else "place", d, a)
        else:
            d = (MOVING, (0, self.place(node)))
            name = "scatter" if lanes == 1 else "scatter_blocks"
            self.emit(name, d, a, table=self.table(place), k=(int(add),))

    def encode_whole(self, node: Node) -> None:
        """An operation on whole arrays, with scratch memory behind its last operand."""
        if node.op == "scan":
            self.encode_scan(node)
            return
        lanes, data = self.lanes, node.data if isinstance(node.data, tuple) else (node.data,)
        k = [int(v) for v in data]
        if node.op == "cumsum":
            k = [k[1], k[2] * lanes, k[0], k[3]]
        elif node.op == "matmul":
            k = [*k[:3], k[3] + 2 * k[4]]
        elif node.op == "triangular":
            k = [*k[:2], k[2] + 2 * k[3] + 4 * k[4]]
        # the matrix itself is an operand for the sake of its derivative; only its factors are read
        used = {"solve": node.args[1:], "slogdet": node.args[1:], "det": node.args[1:]}.get(node.op, node.args)
        operands = [self.operand(a, self.plan.stages[0], whole=True) for a in used]
        if node.op == "linear_scan":
            self.emit(node.op, (BLOCK if lanes > 1 else MOVING, (0, self.place(node))), *operands, k=k)
            return
        operands += [(TILED, (0, 0))] * (2 - len(operands))
        sizes = [a.size for a in used] + [0] * (2 - len(used)) + [node.size]
        own = _scratch(node)
        scratch = self.reserve(own + (sum(sizes) if lanes > 1 else 0) + 1)
        in_lanes = lanes > 1 and node.op != "cumsum"
        table = self.shared(("sizes", *sizes), lambda: np.array(sizes, dtype=np.int64)) if in_lanes else 0
        d = (BLOCK if in_lanes else MOVING, (0, self.place(node)))
        self.emit(node.op, d, *operands, (MOVING, (0, scratch)), table=table, k=k)

    def encode_scan(self, node: Node) -> None:
        """A recurrence: a table of where its streams lie, and its body as scalar code on registers."""
        (first, *streams), (times, m, body, outputs), lanes = node.args, node.data, self.lanes
        places = [(self.place(s), lanes if s.size > 1 else 0) for s in streams]
        start = {"h": 0, "s": m, "b": m + len(streams)}
        rows = []
        for j, (op, references) in enumerate(body):
            registers = [start[kind] + i for kind, i in references]
            rows.append((codes()[op], start["b"] + j, *registers, *[0] * (3 - len(registers))))
        table = [times, m, len(streams), len(body), *(v for place in places for v in place), self.place(first), 0]
        table += [start["b"] + i for i in outputs]
        of_table = self.shared(("scan", node.number), lambda: np.array(table, dtype=np.int64))
        of_body = self.shared(("body", node.number), lambda: np.array(rows, dtype=SCALAR_OP))
        d = (BLOCK if lanes > 1 else MOVING, (0, self.place(node)))
        self.emit("scan", d, (MOVING, (0, 0)), (MOVING, (of_body, 0)), table=of_table)

    def table(self, numbers: Any) -> int:
        """Element numbers as 32-bit integers."""

        def make() -> NDArray[np.int32]:
            table = np.zeros(numbers.size + 16, dtype=np.int32)
            table[: numbers.size] = numbers
            return table

        return self.shared(("table", numbers.tobytes()), make)

    def matrix(self, node: Node, rows: int, columns: int) -> int:
        """A constant matrix by tiles of rows, each of them by columns; by rows where a row meets whole blocks."""

        def make() -> NDArray[np.float64]:
            x = node.data.reshape(rows, columns)
            if self.lanes > 1:
                array = aligned_zeros(padded(x.size))
                array[: x.size] = x.reshape(-1)
                return array
            array = aligned_zeros((rows + TILE) * columns + SLACK)
            at = 0
            for start in range(0, rows, TILE):
                block = x[start : start + TILE]
                height = (len(block) + 7) // 8 * 8
                array[at : at + height * columns].reshape(columns, height)[:, : len(block)] = block.T
                at += height * columns
            return array

        return self.shared(("matrix", node.number), make)


def _scratch(node: Node) -> int:
    """Doubles of scratch memory that an operation on whole arrays needs, see csrc/densities/array_linalg.c."""
    if node.op == "matmul":
        _, k, n, _, turned = node.data
        return k * n if turned else 0
    if node.op == "solve":
        return node.size
    if node.op in ("cholesky", "cholesky_adjoint"):  # rows of whole vectors
        return (1 if node.op == "cholesky" else 2) * int(node.data) * ((int(node.data) + 7) // 8 * 8)
    if node.op in ("eigh", "expm"):  # see csrc/densities/array_matrix_functions.c
        n, width = int(node.data), (int(node.data) + 7) // 8 * 8
        return (2 * n + 5) * width if node.op == "eigh" else 8 * n * n + 2 * n
    return 2 * node.size if node.op == "cofactor" else 0


def run(program: Program, points: Sequence[Mapping[str, Any]], handle: Any = None) -> list[list[NDArray[np.float64]]]:
    """The outputs at one point, or at as many as the program has lanes; for tests and for looking into programs."""
    from .._density import run_array_program

    call, held = program.bind() if handle is None else handle
    work, lanes = held[0], program.lanes

    def block(place: int, size: int) -> NDArray[np.float64]:
        return work[place : place + size * lanes].reshape(size, lanes)

    for lane, point in enumerate(points):
        for name, size in program.inputs.items():
            block(program.input_places[name], size)[:, lane] = point[name]
    run_array_program(call)
    outputs = zip(program.output_places, program.schedule.outputs, strict=True)
    results = [np.array(block(place, node.size)) for place, node in outputs]
    return [[result[:, lane] for result in results] for lane in range(len(points))]
