"""Functions of Python around a body of machine code: the one that a caller calls, and the one that Python's own way calls.

A body is code that computes some rows, and knows no object of Python (`mlbench.compiler.x86.body`). Its places are the addresses of the
inputs, and then those of the outputs.

`entry` returns `run(x0, x1, ..., out=None)` as a caller knows it. It takes plain arrays that can be read where they lie, and looks at no
more of them than it has to. Anything else goes to a function of Python, with the same arguments: another type or layout, rows that do not
fit, memory that overlaps, a result asked for elsewhere than in one plain array, a runner that somebody is using, a team that is closed.

`inner` returns `function(x0, x1, ..., y0, y1, ...)` for that function of Python, which has checked the arrays and taken the guard.

Work that takes long gives the interpreter's lock away meanwhile, as NumPy's products do. What is long is a number of rows, known when the
code is written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

from mlbench.compiler.x86.calls.arrays import F32, ArrayChecks, Arrays
from mlbench.compiler.x86.calls.guard import FREE, IN_CODE, Guard
from mlbench.compiler.x86.calls.whole import Whole, emit_conversion
from mlbench.compiler.x86.calls.work import Own, Work
from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI, RSP, Assembler, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code, builtin, interpreter_address
from mlbench.compiler.x86.layout import ARRAY_DATA, ARRAY_DTYPE, ARRAY_SHAPE, IS_READABLE, IS_WRITEABLE, TUPLE_ITEMS, TUPLE_SIZE
from mlbench.compiler.x86.stages import DONE, REFUSED
from mlbench.compiler.x86.team.threads import emit_look

_OUT = sys.intern("out")
"""CPython interns the names of arguments, so that equal ones are the same object."""


def entry(arrays: Arrays, work: Work, own: Own, otherwise: Callable[..., Any], about: object, text: str) -> Callable[..., Any]:
    """Return `run`.

    Args:
        arrays: that come with a call.
        work: what a call does.
        own: what a call without `out` uses.
        otherwise: takes whatever this function does not.
        about: what `known_of` returns for the function.
        text: its documentation, as `builtin` takes it.
    """
    code = Code(_EntryWriter(arrays, work).entry(own, otherwise))
    return builtin("run", code, work, own, otherwise, _OUT, F32, about=about, text=text, takes_keywords=True)


def inner(arrays: Arrays, work: Work) -> Callable[..., Any]:
    """Return `function(x0, x1, ..., y0, y1, ...)`, which returns y0, or x0 where an input cannot be read or the team is closed.

    The rows are those of x0. There is one at least. It raises what `Work.refuse` does where the body refuses.
    """
    return builtin("rows", Code(_EntryWriter(arrays, work).inner()), work)


class _EntryWriter:
    """Writes the two functions.

    The stack has the places of the arrays, then the object to return, what the interpreter gave for its lock, the number of rows or what
    the body returned, the arguments of the function, and of each input the address of whole numbers. In code that checks, rsi, rdx and rcx
    have the arguments, r8 the object to return, and r10 the rows.
    """

    def __init__(self, arrays: Arrays, work: Work) -> None:
        self.a = Assembler()
        self._arrays = arrays
        self._work = work
        self._inputs, self._outputs = len(arrays.inputs), len(arrays.outputs)
        words = self._inputs + self._outputs
        self._result, self._state, self._rows = (Mem(RSP, 8 * (words + index)) for index in range(3))
        self._given = [Mem(RSP, 8 * (words + 3 + index)) for index in range(3)]
        self._whole = [Mem(RSP, 8 * (words + 6 + index)) for index in range(self._inputs)]
        self._frame = 8 * (words + 6 + self._inputs) // 16 * 16 + 8
        self._otherwise, self._failed = Label(), Label()
        self._checks = ArrayChecks(self.a, self._otherwise)

    def entry(self, own: Own, otherwise: Callable[..., Any]) -> bytes:
        """Return the code of `run`."""
        a = self.a
        a.sub_number(RSP, self._frame)
        for register, place in zip((RSI, RDX, RCX), self._given, strict=True):
            a.store(place, register)
        without_out, called = Label(), Label()
        self._arguments(without_out)
        if self._outputs == 1:
            self._inputs_as_they_lie(own)
            self._place_given(own)
            a.jump(called)
        a.put(without_out)
        self._inputs_as_they_lie(own)
        self._own_places(own)
        a.put(called)
        a.mov_number(R9, own.guard.address)
        a.load32(RAX, Mem(R9))
        a.cmp_number(RAX, FREE)
        a.jump_if("ne", self._otherwise)
        if self._work.team is not None:
            a.mov(R11, R8)
            emit_look(a, self._work.team.address, self._otherwise)
            a.mov(R8, R11)
        a.store(self._result, R8)
        for place, whole in zip(self._whole, own.whole, strict=False):
            if whole is not None:
                emit_conversion(a, place, whole, self._otherwise)
        self._call(own.guard)
        self._return()
        a.put(self._failed)
        a.put(self._otherwise)
        a.mov_number(RDI, id(otherwise))
        for register, place in zip((RSI, RDX, RCX), self._given, strict=True):
            a.load(register, place)
        a.mov_number(RAX, interpreter_address("PyObject_Vectorcall"))
        a.call(RAX)
        a.add_number(RSP, self._frame)
        a.ret()
        return a.finish()

    def inner(self) -> bytes:
        """Return the code of the function that Python's own way calls."""
        a = self.a
        a.sub_number(RSP, self._frame)
        a.store(self._given[0], RSI)
        for index in range(self._inputs + self._outputs):
            a.load(RAX, Mem(RSI, 8 * index))
            a.load(RCX, Mem(RAX, ARRAY_DATA))
            a.store(Mem(RSP, 8 * index), RCX)
            if index < self._inputs:
                self._checks.flags(RAX, IS_READABLE)
        a.load(R9, Mem(RSI))
        a.load(R9, Mem(R9, ARRAY_SHAPE))
        a.load(R10, Mem(R9))
        if self._work.team is not None:
            emit_look(a, self._work.team.address, self._otherwise)
        a.load(R8, Mem(RSI, 8 * self._inputs))
        a.store(self._result, R8)
        self._call(None)
        self._return()
        a.put(self._failed)
        if self._work.refuse is not None:
            a.cmp_number(RAX, REFUSED)
            a.jump_if("ne", self._otherwise)
            self._raise(self._work.refuse)
        a.put(self._otherwise)
        a.load(RSI, self._given[0])
        a.load(R8, Mem(RSI))
        a.store(self._result, R8)
        self._return()
        return a.finish()

    def _arguments(self, without_out: Label) -> None:
        """Look which arguments there are: the inputs alone, or with `out`, whose object is then in r8."""
        a = self.a
        by_name, given = Label(), Label()
        a.cmp_number(RCX, 0)
        a.jump_if("ne", by_name)
        a.cmp_number(RDX, self._inputs)
        a.jump_if("e", without_out)
        if self._inputs > 1:
            a.jump(self._otherwise)
        else:
            a.cmp_number(RDX, 2)
            a.jump_if("ne", self._otherwise)
            a.load(R8, Mem(RSI, 8))
            a.jump(given)
        a.put(by_name)
        a.cmp_number(RDX, self._inputs)
        a.jump_if("ne", self._otherwise)
        a.load(RAX, Mem(RCX, TUPLE_SIZE))
        a.cmp_number(RAX, 1)
        a.jump_if("ne", self._otherwise)
        a.load(RAX, Mem(RCX, TUPLE_ITEMS))
        self._checks.same(RAX, id(_OUT))
        a.load(R8, Mem(RSI, 8 * self._inputs))
        a.put(given)
        a.mov_number(R9, id(None))
        a.cmp(R8, R9)
        a.jump_if("e", without_out)
        if self._outputs > 1:
            a.jump(self._otherwise)

    def _inputs_as_they_lie(self, own: Own) -> None:
        """Keep the places of inputs that can be read where they lie."""
        a = self.a
        for index, (columns, whole) in enumerate(zip_longest(self._arrays.inputs, own.whole)):
            a.load(RAX, Mem(RSI, 8 * index))
            self._checks.plain(RAX, columns, IS_READABLE, None if whole is None else whole.dtype)
            if index == 0:
                a.load(R10, Mem(R9))
                a.lea(R11, Mem(R10, -self._arrays.least_rows))
                a.mov_number(R9, self._arrays.most_rows - self._arrays.least_rows)
                a.cmp(R11, R9)
                a.jump_if("a", self._otherwise)
            else:
                a.cmp(R10, Mem(R9))
                a.jump_if("ne", self._otherwise)
            if whole is None:
                self._keep(RAX, index, columns, own)
            else:
                self._keep_whole(RAX, index, columns, own, whole)

    def _keep_whole(self, place: int, index: int, columns: int, own: Own, whole: Whole) -> None:
        """Keep the place of whole numbers, and that of the float32 they become; they are read before anything is written."""
        a, is_float, done = self.a, Label(), Label()
        a.load(R9, Mem(place, ARRAY_DTYPE))
        a.mov_number(RDI, id(whole.dtype))
        a.cmp(R9, RDI)
        a.jump_if("ne", is_float)
        a.load(RDI, Mem(place, ARRAY_DATA))
        a.store(self._whole[index], RDI)
        a.mov_number(RDI, whole.memory.ctypes.data)
        a.store(Mem(RSP, 8 * index), RDI)
        a.jump(done)
        a.put(is_float)
        a.mov_number(RDI, 0)
        a.store(self._whole[index], RDI)
        self._keep(place, index, columns, own)
        a.put(done)

    def _place_given(self, own: Own) -> None:
        """Keep the place of the only output, an array that the caller gives; it is in r8."""
        a = self.a
        (columns,) = self._arrays.outputs
        self._checks.plain(R8, columns, IS_WRITEABLE)
        a.cmp(R10, Mem(R9))
        a.jump_if("ne", self._otherwise)
        self._keep(R8, self._inputs, columns, own)
        for index, width in enumerate(self._arrays.inputs):
            apart = Label()
            a.load(R9, Mem(RSP, 8 * index))
            a.cmp(R11, R9)
            a.jump_if("be", apart)
            self._checks.move_on(R9, width)
            a.cmp(RDI, R9)
            a.jump_if("b", self._otherwise)
            a.put(apart)

    def _own_places(self, own: Own) -> None:
        """Keep the places of the runner's own outputs, and load what it returns for so many rows."""
        a = self.a
        a.mov_number(R9, own.results.address)
        a.lea_scaled(R9, R9, R10, 8)
        a.load(R8, Mem(R9))
        a.cmp_number(R8, 0)
        a.jump_if("e", self._otherwise)
        for index, output in enumerate(own.results.outputs):
            a.mov_number(RAX, output.ctypes.data)
            a.store(Mem(RSP, 8 * (self._inputs + index)), RAX)

    def _keep(self, place: int, index: int, columns: int, own: Own) -> None:
        """Keep the place of an array that lies apart from the runner's own memory; leave its first address in rdi and its end in r11."""
        self._checks.load_span(place, columns)
        self.a.store(Mem(RSP, 8 * index), RDI)
        self._checks.apart(own.memory)

    def _call(self, guard: Guard | None) -> None:
        """Run the body on the rows in r10, and go elsewhere where its team turned out to be closed, or it refused."""
        a = self.a
        short, done = Label(), Label()
        least = self._work.released_rows
        if least > 1:
            a.mov_number(R9, least)
            a.cmp(R10, R9)
            a.jump_if("b", short)
        self._call_without_lock(guard)
        if least > 1:
            a.jump(done)
            a.put(short)
            self._call_body()
            a.put(done)
        if self._work.team is not None or self._work.refuse is not None:
            a.cmp_number(RAX, DONE)
            a.jump_if("ne", self._failed)

    def _call_without_lock(self, guard: Guard | None) -> None:
        a = self.a
        a.store(self._rows, R10)
        if guard is not None:
            a.mov_number(R9, guard.address)
            a.mov_number(RAX, IN_CODE)
            a.store32(Mem(R9), RAX)
        a.mov_number(RAX, interpreter_address("PyEval_SaveThread"))
        a.call(RAX)
        a.store(self._state, RAX)
        a.load(R10, self._rows)
        self._call_body()
        a.store(self._rows, RAX)
        a.load(RDI, self._state)
        a.mov_number(RAX, interpreter_address("PyEval_RestoreThread"))
        a.call(RAX)
        a.load(RAX, self._rows)
        if guard is not None:
            a.mov_number(R9, guard.address)
            a.mov_number(RCX, FREE)
            a.store32(Mem(R9), RCX)

    def _call_body(self) -> None:
        a = self.a
        a.mov(RDI, RSP)
        a.mov(RSI, R10)
        a.mov_number(RAX, self._work.body.address)
        a.call(RAX)

    def _raise(self, refuse: Callable[[], object]) -> None:
        """Call what raises, and return as a function does that raised."""
        a = self.a
        a.mov_number(RDI, id(refuse))
        a.mov(RSI, RSP)
        a.mov_number(RDX, 0)
        a.mov_number(RCX, 0)
        a.mov_number(RAX, interpreter_address("PyObject_Vectorcall"))
        a.call(RAX)
        a.add_number(RSP, self._frame)
        a.ret()

    def _return(self) -> None:
        """Return the object, with a reference for the caller."""
        a = self.a
        a.load(RAX, self._result)
        a.load(RCX, Mem(RAX))
        a.add_number(RCX, 1)
        a.store(Mem(RAX), RCX)
        a.add_number(RSP, self._frame)
        a.ret()
