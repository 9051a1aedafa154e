"""The listings of a program: a block of each product, a row of each sweep, and what a whole call executes."""

from __future__ import annotations

import importlib
import itertools
import math

from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import find
from mlbench.results.listing import Listing
from mlbench.runtime import OptimizedRunner
from mlbench.studies.code import code_of_runner, levels_text
from mlbench.studies.explain.code import block_listings
from mlbench.studies.explain.sweep_code import sweep_listings
from mlbench.units import format_bytes, format_percent

MOST_INSTRUCTIONS = 8_000
"""Of all listings of a network; the page takes some 400 bytes for each."""


def listings_of(program: Program) -> tuple[tuple[Listing, ...], str]:
    """Return the listings of generated code, products first; and why there is none or not all, or an empty text."""
    vectors, why = find()
    if vectors is None or not any(program.of(node).is_generated for node in program.graph.nodes):
        return (), why if vectors is None else "no node runs in generated code"
    try:
        disassembler = importlib.import_module("capstone")
    except ImportError:
        return (), "the disassembler is missing; install capstone, which the extra 'report' brings"
    found = (*block_listings(program, vectors, disassembler), *sweep_listings(program, vectors, disassembler))
    lengths = itertools.accumulate(len(each.instructions) for each in found)
    shown = tuple(each for each, length in zip(found, lengths, strict=True) if length <= MOST_INSTRUCTIONS)
    left = [each.value for each in found[len(shown) :]]
    return shown, f"there would be more than {MOST_INSTRUCTIONS:,}; those of {', '.join(left)} are left out" if left else ""


def executed(runner: OptimizedRunner, rows: int) -> tuple[str, ...]:
    """Return in sentences what generated code executes in a call, counted; none where NumPy or several threads take part."""
    found = code_of_runner(runner, rows)
    if found is None:
        return ()
    levels = f"In a model of the caches ({found.hierarchy}) it moves: {levels_text(found.levels)}."
    share = format_percent(found.multiply_adds / found.instructions)
    return (
        f"A call of {rows:,} rows executes {found.instructions:,} instructions, {found.multiply_adds:,} of them multiply-adds ({share}).",
        f"Its loads read {format_bytes(found.load_bytes)} and its stores write {format_bytes(found.store_bytes)}, from whatever cache.",
        *((levels,) if found.levels else ()),
        f"At two multiply-adds in a cycle it takes {math.ceil(found.multiply_adds / 2):,} cycles at least: that is the peak of the core.",
    )
