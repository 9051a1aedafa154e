"""The instructions of one row of a sweep, each with what it reads and does.

The bytes are those that the code generator writes for the sweep; a disassembler reads them. Where an operand lies says what it is: a value,
a constant of the network, or a number of the pool behind the code. Columns are counted from c, the first one of a turn of the loop. What is
neither loaded nor stored has a number: t1, t2 and so on.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlbench.compiler.memory import MemoryPlan, plan_memory
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import Arena, Argument, Vectors, View
from mlbench.compiler.x86.counts.decoding import REGISTERS
from mlbench.compiler.x86.stages import Writer
from mlbench.compiler.x86.sweeps.rowwise import POINTERS, Sweep, views_of
from mlbench.compiler.x86.sweeps.vectorize import POOL
from mlbench.ir import BYTES_PER_NUMBER, Node, op_named
from mlbench.results.listing import Instruction, Listing
from mlbench.runtime.x86_backend import computed_stages, runs_of
from mlbench.studies.explain.disassembly import PLAIN, Decoded, decoded, loops_of
from mlbench.studies.explain.meanings import copies, meaning_of

COLUMNS = "the columns"
"""What the loops of a row run over."""
SO_FAR = "the total so far"
_COUNT, _ROWS_LEFT = "rax", "rcx"
_Home = tuple[object, int, range]
"""Where a value lies: its base, the bytes from row to row, and which of these it takes."""
NUMBERS = "column_numbers"
"""What is read that is no constant of the network: the whole numbers from 0 on, for the place of the largest of a row."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A sweep, and what its memory is called.

    Attributes:
        sweep: the stage.
        values: what it computes, in order.
        title: for people.
        written: name of what each view that is written has.
        read: name of what each view that is read has.
    """

    sweep: Sweep
    values: tuple[str, ...]
    title: str
    written: Mapping[View, str]
    read: Mapping[View, str]


def sweep_listings(program: Program, vectors: Vectors, disassembler: Any) -> tuple[Listing, ...]:  # a module
    """Return the listing of a row of each sweep; sweeps of the same instructions share one."""
    alike: dict[object, list[tuple[_Row, list[Decoded], bytes]]] = {}
    for row in _rows(program):
        writer = Writer(vectors, program.schedule.tile_rows)
        row.sweep.emit(writer)
        code = writer.finish()
        first, end, pool = _one_row(list(decoded(code, disassembler)), code)
        found = list(decoded(code[first:end], disassembler))
        alike.setdefault((tuple(each.text for each in found), pool), []).append((row, found, pool))
    return tuple(
        replace(_listing(*first, vectors), alike=tuple(", ".join(row.values) for row, _, _ in others)) for first, *others in alike.values()
    )


def _one_row(found: Sequence[Decoded], code: bytes) -> tuple[int, int, bytes]:
    """Return where the code of a row begins and ends, and the pool of constants behind it."""
    jump = next(number for number, each in enumerate(found) if each.name == "jmp")
    pool = next(each for each in found if each.name == "lea" and "rip" in each.operands)
    distance = int(re.findall(r"0x[0-9a-f]+|\d+", pool.operands)[-1], 0)
    first, _ = max(loops_of(found[:jump]), key=lambda loop: loop[1])
    return found[first].address, found[jump].address, code[pool.address + len(pool.code) + distance :]


def _rows(program: Program) -> Iterator[_Row]:
    """Give the sweeps of a program in order. A buffer has several values, one after the other, so the place alone is not the name."""
    plan = plan_memory(program)
    offsets = {buffer.name: buffer.offset for buffer in plan.buffers}
    for run in runs_of(program, plan):
        home = functools.partial(_home, program, plan, run.arrays)
        for stage, nodes in computed_stages(program, plan, offsets, run):
            if isinstance(stage, Sweep):
                yield _row(program, stage, nodes, home)


def _home(program: Program, plan: MemoryPlan, arrays: Sequence[str], name: str) -> _Home:
    """Return where a value lies, in a run with these arrays."""
    graph = program.graph
    buffer = name if name in graph.inputs else plan.buffer_of(name).name
    base = Argument(arrays.index(buffer)) if buffer in arrays else Arena(plan.buffer_of(name).offset)
    home, first = program.home_of(name)
    columns = range(BYTES_PER_NUMBER * first, BYTES_PER_NUMBER * (first + graph.columns_of(name)))
    return base, BYTES_PER_NUMBER * graph.columns_of(home), columns


def _ops(program: Program, node: Node) -> list[str]:
    """Return what a sweep computes of a node: all of it, or of a product the steps behind it."""
    return [*([] if op_named(node.op).is_product else [node.op]), *(step.op for step in program.swept_steps(node))]


def _row(program: Program, sweep: Sweep, nodes: Sequence[Node], home: Callable[[str], _Home]) -> _Row:
    constants = {array.ctypes.data: name for name, array in program.graph.constants.items()}
    outputs = {node.output: home(node.output) for node in nodes}
    inputs = {name: home(name) for node in nodes for name in (*node.values, *((node.output,) if op_named(node.op).is_product else ()))}
    written = {view: _value_at(view, outputs) for view, _ in sweep.writes}
    read = {view: _source(view, constants, inputs, outputs) for view in views_of(sweep)}
    ops = [op for node in nodes for op in _ops(program, node)]
    values = tuple(dict.fromkeys(written.values()))
    first = min(view.shift_bytes for view, _ in sweep.writes) // BYTES_PER_NUMBER
    part = f"columns {first} to {first + sweep.columns - 1} of " if nodes[-1].op == "concat" else ""
    title = f"{part}{', '.join(values)}: {', '.join(ops)}, one row of {sweep.columns} column{'s' * (sweep.columns != 1)}"
    return _Row(sweep, values, title, written, read)


def _source(view: View, constants: Mapping[int, str], inputs: Mapping[str, _Home], outputs: Mapping[str, _Home]) -> str:
    """Return the name of what is read at a view."""
    if isinstance(view.base, int):
        return constants.get(view.base, NUMBERS)
    return _value_at(view, inputs) or _value_at(view, outputs)


def _value_at(view: View, homes: Mapping[str, _Home]) -> str:
    """Return the value in whose columns a view begins, the narrowest, and the last of those in the same place; empty if there is none."""
    found = [
        (len(taken), -number, name)
        for number, (name, (base, stride, taken)) in enumerate(homes.items())
        if (base, stride) == (view.base, view.stride_bytes) and view.shift_bytes in taken
    ]
    return min(found)[2] if found else ""


def _listing(row: _Row, found: Sequence[Decoded], pool: bytes, vectors: Vectors) -> Listing:
    reader = _Reader(row, pool, vectors)
    *inner, _ = loops_of(found)  # the last one is over the rows
    totals = {first: _totals(found[first:end]) for first, end in inner}
    instructions = tuple(reader.read(each, totals.get(place, ())) for place, each in enumerate(found))
    loops = sorted(inner, key=lambda loop: loop[0] - loop[1]) or [(0, 0)]
    return Listing(
        ", ".join(row.values), row.title, vectors.registers, loops[0], _counted(found, loops), instructions, tuple(loops[1:]), COLUMNS
    )


def _totals(turn: Sequence[Decoded]) -> tuple[int, ...]:
    """Return the registers that a turn of a loop reads before it writes them: sums and the like, over all turns."""
    read: set[int] = set()
    written: set[int] = set()
    for each in turn:
        if each.is_vector and each.registers:
            is_read_too = each.written < 0 or each.name.startswith(("vfmadd", "vfnmadd"))
            read |= set(each.registers[0 if is_read_too else 1 :]) - written
            written |= {each.written} - {-1}
    return tuple(read & written)


def _counted(found: Sequence[Decoded], loops: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Return what the instructions of a row come to, in sentences."""
    size = sum(len(each.code) for each in found)
    sentences = [f"The code of a row has {len(found)} instructions in {size:,} bytes."]
    for first, end in (each for each in loops if each[1]):
        turn = found[first:end]
        columns = max(int(each.operands.split(", ")[1], 0) for each in turn if each.name == "add") // BYTES_PER_NUMBER
        loads, stores = sum(each.is_load for each in turn), sum(each.is_vector and each.is_store for each in turn)
        sentences.append(
            f"A turn of {'its' if len(loops) == 1 else 'a'} loop computes {columns} columns in {len(turn)} instructions, with {loads} "
            f"operands from memory and {stores} stores."
        )
    if len(loops) > 1:
        sentences.append("The loops follow each other, because a later one needs a number of the whole row that an earlier one found.")
    if not loops[0][1]:
        sentences.append("The row is short, so no loop is needed.")
    return tuple(sentences)


class _Reader:
    """Says what instructions mean, in order, and keeps what the vector registers hold."""

    def __init__(self, row: _Row, pool: bytes, vectors: Vectors) -> None:
        self._row = row
        self._pool = pool
        self._lanes = vectors.lanes
        self._views = {REGISTERS[POINTERS[place]]: view for place, view in enumerate(views_of(row.sweep))}
        self._held = {} if vectors.has_masks else {vectors.registers - 1: "the mask of the last columns"}
        self._made = 0

    def read(self, each: Decoded, totals: Sequence[int]) -> Instruction:
        """Return an instruction with its meaning; `totals` are registers that have a total over the turns of a loop that begins here."""
        self._held |= dict.fromkeys(totals, SO_FAR)
        to = each.written
        what, holds = self._vector(each) if each.is_vector else (self._plain(each), "")
        if to >= 0:
            self._held[to] = holds
        return Instruction(each.address, each.code.hex(" "), each.text, what, to, holds if to >= 0 else "")

    def _plain(self, each: Decoded) -> str:
        """Return what an instruction without a vector does."""
        to, _, number = each.operands.partition(", ")
        if to in self._views and each.name in ("add", "sub", "lea"):
            bytes_on = int(re.findall(r"0x[0-9a-f]+|\d+", number)[-1], 0)
            back = (each.name == "sub") != ("-" in number)
            columns = bytes_on // BYTES_PER_NUMBER
            return f"go {'back' if back else 'on'} {columns} column{'s' * (columns != 1)}"
        if each.name == "sub":
            return f"one {'row' if to == _ROWS_LEFT else 'turn'} less is left"
        if each.name == "mov" and to == f"e{_COUNT[1:]}":
            return f"{int(number, 0)} turns of the loop are to come"
        return PLAIN.get(each.name, "prepare an address")

    def _vector(self, each: Decoded) -> tuple[str, str]:
        """Return what an instruction does, and what is in its register then."""
        is_masked = each.name == "vmaskmovps" or "{k" in each.operands
        operands = [self._operand(part, each, is_masked=is_masked) for part in each.operands.split(", ")]
        if each.is_store:
            return f"store {operands[-1]} as {operands[0]}", ""
        if copies(each.name):
            return f"{'load' if each.memory else 'copy'} {operands[-1]}", operands[-1]
        if len(set(each.registers)) == 1 and len(each.registers) == 3 and "xor" in each.name:
            return "start with 0", "0"
        if each.written < 0:
            return f"a mask of {meaning_of(each.name, operands)}", ""
        self._made += 1
        return f"t{self._made} = {meaning_of(each.name, operands)}", f"t{self._made}"

    def _operand(self, part: str, each: Decoded, *, is_masked: bool) -> str:
        """Return what an operand is called."""
        if "[" in part:
            assert each.memory is not None
            return self._memory(*each.memory, each, is_masked=is_masked)
        register = re.match(r"[xyz]mm(\d+)", part)
        if register:
            return self._held.get(int(register[1]), "what was kept")
        return part if part.startswith("k") else str(int(part, 0))

    def _memory(self, base: str, shift: int, each: Decoded, *, is_masked: bool) -> str:
        if base == REGISTERS[POOL]:
            return self._constant(shift, is_float=each.name.endswith("ps") and not re.match("v(and|or|xor|blend)", each.name))
        view = self._views[base]
        name = self._row.written.get(view, "") if each.is_store else self._row.read[view]
        if view.stride_bytes == BYTES_PER_NUMBER or "broadcast" in each.name:
            return f"{name}[row]" if view.stride_bytes else f"{name}[0]"
        first = shift // BYTES_PER_NUMBER
        lanes = self._row.sweep.columns % self._lanes if is_masked else self._lanes
        columns = f"c{_more(first)} to c{_more(first + lanes - 1)}" if lanes > 1 else f"c{_more(first)}"
        return f"{name}[{'row, ' if view.stride_bytes else ''}{columns}]"

    def _constant(self, shift: int, *, is_float: bool) -> str:
        """Return a number of the pool: as float32, or as bits where bits are what is computed with."""
        raw = self._pool[shift : shift + BYTES_PER_NUMBER]
        if is_float:
            return f"{np.frombuffer(raw, np.float32)[0]:.6g}"
        number = int.from_bytes(raw, "little")
        return str(number) if number < 2**10 else f"{number:#x}"


def _more(columns: int) -> str:
    """Return how far a column is from c."""
    return f" {'+' if columns > 0 else '-'} {abs(columns)}" if columns else ""
