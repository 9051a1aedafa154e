"""The body: machine code for all stages of a run, with the C ABI and no Python object in it.

    int body(const void *const *places, int64_t rows)

`places` are the addresses of the arrays that come with a call. `rows` is read at run time, so that one code serves every number of rows
from 1 on. The stages run on a tile of rows from the first to the last, so that what lies between them stays in the second cache, and then
on the next tile. The result is DONE, or CLOSED where the threads of a team are no more, or REFUSED where an index was in no table.
"""

from __future__ import annotations

import numpy as np

from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.encoding.abi import restore, save
from mlbench.compiler.x86.encoding.assembler import RAX, RDI, RSI, RSP, Mem
from mlbench.compiler.x86.encoding.executable import Code
from mlbench.compiler.x86.encoding.isa import Vectors
from mlbench.compiler.x86.products.product import Product
from mlbench.compiler.x86.sharing import emit_shared_body, handed_words
from mlbench.compiler.x86.stages import ARENA_BASE, FRAME_BASE, Writer, argument
from mlbench.compiler.x86.team.threads import Team
from mlbench.compiler.x86.tiles import Plan, emit_result, emit_tiles, forget_refusal


class Body:
    """The code of a run, for as long as this object lives.

    Args:
        vectors: the instructions.
        plan: what it runs.
        kept: what lives as long as the body, because its code has the address.
        team: the threads that share it: the rows of a call, if the plan has an arena for each of them, or else each stage; None for the
            calling thread alone. Its calls come one at a time.
        caches: of the processor, which the code of products follows; None for this one.

    Attributes:
        address: of the function.
        size_bytes: of the code.
        code: where it lies.
        team: the threads.
        refusal: what the last call could not compute: REFUSED or 0; an index as float32, and in the upper half the entries of its table.

    Raises:
        CodeError: when the system gives no memory that code may run in.
    """

    def __init__(self, vectors: Vectors, plan: Plan, *kept: object, team: Team | None = None, caches: Caches | None = None) -> None:
        handed = np.zeros(handed_words(plan), np.uint64)
        self.refusal = np.zeros(2, np.uint64)
        code = code_of_plan(vectors, plan, team, int(handed.ctypes.data), int(self.refusal.ctypes.data), caches=caches)
        self.code = Code(code)
        self.address = self.code.address
        self.size_bytes = len(code)
        self.team = team
        self._kept = (handed, kept)


def code_of_plan(
    vectors: Vectors, plan: Plan, team: Team | None = None, handed: int = 0, refusal: int = 0, *, caches: Caches | None = None
) -> bytes:
    """Return the code of a body.

    Args:
        vectors: the instructions.
        plan: what it runs.
        team: the threads that share it.
        handed: address of what a call hands over to the other threads.
        refusal: address of what `Body.refusal` is.
        caches: of the processor, which the code of products follows; None for this one.
    """
    weights_bytes = sum(stage.weight_bytes for stage in plan.stages if isinstance(stage, Product))
    writer = Writer(vectors, plan.tile_rows, refusal, caches, weights_bytes)
    if team is None:
        _emit_body(writer, plan)
    else:
        emit_shared_body(writer, plan, team, handed)
    return writer.finish()


def _emit_body(writer: Writer, plan: Plan) -> None:
    a = writer.a
    save(a, plan.frame_bytes)
    a.mov(FRAME_BASE, RSP)
    for index in range(len(plan.strides)):
        a.load(RAX, Mem(RDI, 8 * index))
        a.store(argument(index), RAX)
    a.mov_number(ARENA_BASE, plan.arena)
    forget_refusal(writer, plan)
    a.mov(RAX, RSI)
    emit_tiles(writer, plan)
    a.vzeroupper()
    emit_result(writer, plan)
    restore(a, plan.frame_bytes)
