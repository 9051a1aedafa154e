"""Instructions of generated code as records, each with what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mlbench.results.schema import MAY_LACK, Bounds, Name, Size

Index = Annotated[int, Bounds(ge=0, le=2**31)]


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction of generated code.

    Attributes:
        offset: of its first byte in the block.
        code: its bytes, as text.
        text: as an assembler writes it.
        what: what it does here.
        register: the vector register that it writes; -1 for none.
        holds: what is in that register then; empty for none.
    """

    offset: Size
    code: Name
    text: Name
    what: Name
    register: Annotated[int, Bounds(ge=-1, le=31)]
    holds: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The instructions of one block of a product, or of one row of a sweep.

    Attributes:
        value: name of the value that they compute.
        title: for people.
        registers: vector registers that there are.
        loop: first instruction of the innermost loop, and the end of it; of a sweep with several the longest.
        counts: sentences on what the instructions come to.
        instructions: in order.
        other_loops: the same as `loop` of the others.
        over: what the loops run over.
        alike: other values that the same instructions compute, from other addresses.
    """

    value: Name
    title: Name
    registers: Annotated[int, Bounds(ge=1, le=32)]
    loop: tuple[Index, Index]
    counts: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    other_loops: Annotated[tuple[tuple[Index, Index], ...], MAY_LACK] = ()
    over: Annotated[str, MAY_LACK] = "k"
    alike: Annotated[tuple[Name, ...], MAY_LACK] = ()
