"""A product as a stage of a body.

There are two ways through a product of many inputs or of a large weight. If the rows are one block, the chunks of a panel follow each
other; with more rows, all panels are computed for one chunk before the next. Otherwise one way serves any number of rows.

Rsi has the address of the value, rdi of the panel's columns of the result, rdx of the panel's weights,
and OPERANDS those of what the steps read. The code of the blocks changes rax, rbx, r8, r9, r11 and r14.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from mlbench.compiler.x86.encoding.assembler import R8, R9, R11, R14, RAX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.products.blocks import (
    ADDS,
    ENDS,
    PANELS_LEFT,
    RAGGED,
    STEP,
    STEP_BYTES,
    WHOLE,
    Cut,
    Kind,
    Panel,
    Routines,
    Slots,
)
from mlbench.compiler.x86.products.gemm import AHEAD_BYTES
from mlbench.compiler.x86.products.microkernel import FLOAT_BYTES, OPERANDS, STEPS, Shape
from mlbench.compiler.x86.stages import View, Writer


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product with its element-wise steps.

    Attributes:
        shape: of the product; its strides are those of the views.
        weight: address of the packed weight.
        operands: addresses of what the steps read.
        source: the value.
        target: the result.
    """

    shape: Shape
    weight: int
    operands: tuple[int, ...]
    source: View
    target: View

    @property
    def weight_bytes(self) -> int:
        """Size of the weight."""
        return FLOAT_BYTES * self.shape.inputs * self.shape.columns

    @property
    def strided(self) -> Shape:
        """The shape with the strides of the views."""
        return replace(self.shape, value_stride=self.source.stride_bytes, result_stride=self.target.stride_bytes)

    def emit(self, writer: Writer) -> None:
        """Put the code."""
        self.emit_panels(writer, None)

    def emit_panels(self, writer: Writer, panels: tuple[int, int] | None) -> None:
        """Put the code for some panels, from the first to before the second; None for all."""
        cut = Cut(self.strided, writer.a.vectors, writer.caches, writer.weights_bytes)
        _ProductWriter(writer, self, cut, panels or (0, cut.panels)).write()


class _ProductWriter:
    """Writes the code of some panels of a product."""

    def __init__(self, writer: Writer, product: Product, cut: Cut, panels: tuple[int, int]) -> None:
        self._writer, self._a = writer, writer.a
        self._product, self._cut = product, cut
        self._routines = Routines(writer, cut)
        self._first, end = panels
        self._ragged = cut.ragged if end == cut.panels else None
        self._whole = end - self._first - (self._ragged is not None)
        self._panel_bytes = cut.panel.row_bytes * cut.shape.inputs

    def write(self) -> None:
        """Put the code."""
        a, cut, routines = self._a, self._cut, self._routines
        many, start, end = Label(), Label(), Label()
        is_common = len(cut.chunks) == 1 and not cut.is_large
        self._writer.rows(RCX)
        if routines.has_many:
            a.cmp_number(RCX, cut.panel.most)
            a.jump_if("a", many)
        for panel, slots in self._kinds():
            routines.look_up_one(panel, slots)
        if not is_common:
            self._addresses()
            self._by_panels()
        if routines.has_many:
            a.jump(start if is_common else end)
            a.put(many)
            for panel, slots in self._kinds():
                routines.look_up_many(panel, slots)
        if routines.has_many or is_common:
            a.put(start)
            self._addresses()
            self._by_chunks()
        a.put(end)

    def _kinds(self) -> Iterator[tuple[Panel, Slots]]:
        """Return the kinds of panels that are here, and where the frame has how they are cut."""
        if self._whole:
            yield self._cut.panel, WHOLE
        if self._ragged is not None:
            yield self._ragged, RAGGED

    def _addresses(self) -> None:
        """Load all addresses, and the mask."""
        a, product = self._a, self._product
        if self._ragged is not None and self._ragged.last_lanes:
            a.set_mask(self._ragged.last_lanes, self._writer.masks)
        self._writer.address(RSI, product.source)
        self._writer.address(RDI, product.target)
        a.mov_number(RDX, product.weight)
        for register, address in zip(OPERANDS, product.operands, strict=False):
            a.mov_number(register, address)
        self._forward(self._first, self._first * self._panel_bytes)

    def _by_panels(self) -> None:
        """Put the chunks of a panel, and then the next panel; each panel is one block."""
        if self._whole:
            with self._each_whole_panel():
                self._panel_in_chunks(self._cut.panel, WHOLE)
                self._forward(1, self._panel_bytes - self._cut.chunks[-1][0] * self._cut.panel.row_bytes)
        if self._ragged is not None:
            self._panel_in_chunks(self._ragged, RAGGED)

    def _panel_in_chunks(self, panel: Panel, slots: Slots) -> None:
        a = self._a
        asked = self._cut.asked_bytes(panel, min(panel.most, self._writer.most_rows))
        if asked:
            a.mov_number(STEP, asked)
        for at, kind in self._cut.chunks:
            a.lea(R8, Mem(RSI, FLOAT_BYTES * at))
            a.mov(R9, RDI)
            if asked:
                a.lea(R14, Mem(RDX, AHEAD_BYTES))
            self._say_which(at, kind)
            a.mov_number(R11, 1)
            a.call_at(slots.code(self._cut.kinds.index(kind), 1))
            if at != self._cut.chunks[-1][0]:
                a.add_distance(RDX, kind.inputs * panel.row_bytes)

    def _by_chunks(self) -> None:
        """Put all panels of a chunk, and then the next chunk."""
        a, cut = self._a, self._cut
        for at, kind in cut.chunks:
            self._say_which(at, kind)
            if self._whole:
                if self._asks(cut.panel):
                    a.load(STEP, STEP_BYTES)
                with self._each_whole_panel():
                    self._blocks(cut.panel, WHOLE, kind)
                    self._forward(1, self._panel_bytes)
            back = -self._whole * self._panel_bytes + kind.inputs * cut.panel.row_bytes
            if self._ragged is not None:
                apart = at * (self._ragged.row_bytes - cut.panel.row_bytes)
                if apart:
                    a.add_distance(RDX, apart)
                self._blocks(self._ragged, RAGGED, kind)
                back -= apart
            if at != cut.chunks[-1][0]:
                self._forward(-self._whole, back)
                a.add_number(RSI, FLOAT_BYTES * kind.inputs)

    def _blocks(self, panel: Panel, slots: Slots, kind: Kind) -> None:
        """Put the calls for one panel."""
        a, index = self._a, self._cut.kinds.index(kind)
        a.mov(R8, RSI)
        a.mov(R9, RDI)
        if self._asks(panel):
            a.lea(R14, Mem(RDX, self._panel_bytes))
        if not self._routines.has_many:
            a.mov_number(R11, 1)
            a.call_at(slots.code(index, 1))
            return
        is_even = Label()
        a.load(R11, slots.count(1))
        a.call_at(slots.code(index, 1))
        a.load(R11, slots.count(0))
        a.cmp_number(R11, 0)
        a.jump_if("e", is_even)
        a.call_at(slots.code(index, 0))
        a.put(is_even)

    def _asks(self, panel: Panel) -> bool:
        """Whether one of several blocks of a panel asks for lines."""
        return self._cut.asked_bytes(panel) > 0

    def _say_which(self, at: int, kind: Kind) -> None:
        """Store what the routines of a chunk read of it."""
        a = self._a
        for word, told, is_so in ((ADDS, kind.adds, at > 0), (ENDS, kind.ends, at == self._cut.chunks[-1][0])):
            if told is None:
                a.mov_number(RAX, is_so)
                a.store32(word, RAX)

    @contextmanager
    def _each_whole_panel(self) -> Iterator[None]:
        """Put what is put inside as a loop over the whole panels, whose counter is in rcx or, if that has the step, in the frame."""
        a, again, in_frame = self._a, Label(), self._cut.is_large
        if self._whole > 1:
            a.mov_number(RAX if in_frame else RCX, self._whole)
            if in_frame:
                a.store(PANELS_LEFT, RAX)
            a.align(16)
            a.put(again)
        yield
        if self._whole > 1:
            if in_frame:
                a.load(RAX, PANELS_LEFT)
            a.sub_number(RAX if in_frame else RCX, 1)
            if in_frame:
                a.store(PANELS_LEFT, RAX)
            a.jump_if("ne", again)

    def _forward(self, panels: int, weight_bytes: int) -> None:
        """Go some panels on, and so many bytes in the weight."""
        a, step = self._a, panels * self._cut.panel.row_bytes
        if weight_bytes:
            a.add_distance(RDX, weight_bytes)
        if not panels:
            return
        a.add_distance(RDI, step)
        operands = iter(OPERANDS)
        for name in self._cut.shape.steps:
            for register in itertools.islice(operands, STEPS[name]):
                if name != "leaky_relu":
                    a.add_distance(register, step)
