"""What the generated code of a runner executes and moves in one call, counted and not measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mlbench.results.schema import MAY_LACK, Name, Size


@dataclass(frozen=True, slots=True)
class LevelBytes:
    """What a call moves between a level of memory and the one before it, in a model of the caches.

    Attributes:
        name: of the level, `L2`, `L3` or `memory`.
        read_bytes: of lines that loads and stores needed from it.
        prefetched_bytes: of lines that the code asked for in advance.
        written_bytes: of changed lines that went there.
    """

    name: Name
    read_bytes: Size
    prefetched_bytes: Size
    written_bytes: Size

    @property
    def total_bytes(self) -> int:
        """All of them."""
        return self.read_bytes + self.prefetched_bytes + self.written_bytes


@dataclass(frozen=True, slots=True)
class CodeCounts:
    """What the generated code of a runner executes in one call, counted from its bytes.

    Attributes:
        instruction_set: such as `AVX2`.
        instructions: all of them.
        multiply_adds: fused multiply-adds, each of all lanes of a vector.
        loads: instructions that read memory.
        stores: instructions that write memory.
        load_bytes: bytes that loads read, from whatever level of the memory.
        store_bytes: bytes that stores write.
        code_bytes: bytes of the code, without what fills its last page.
        hierarchy: sizes and ways of the caches that the code was generated for, and `levels` are counted for; empty in older files.
        levels: from the second level outwards, of a call that follows an equal one.
    """

    instruction_set: Name
    instructions: Size
    multiply_adds: Size
    loads: Size
    stores: Size
    load_bytes: Size
    store_bytes: Size
    code_bytes: Size
    hierarchy: Annotated[str, MAY_LACK] = ""
    levels: Annotated[tuple[LevelBytes, ...], MAY_LACK] = ()
