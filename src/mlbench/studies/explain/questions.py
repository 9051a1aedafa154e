"""A question before each step, which the step answers: a reader who guesses first remembers better."""

from __future__ import annotations

from mlbench.compiler.pipeline import PassStep
from mlbench.results.explanation import Question, State
from mlbench.units import format_bytes

_CHANGES = ("less", "the same", "more")
_YES_NO = ("yes", "no")
_BYTES = ("tile", "in_place", "strips", "parallelize")
"""Passes about which the question is the arena."""
_TRAFFIC = ("codegen", "fold_bias")
"""Passes about which the question is what a call moves."""


def question_of(step: PassStep, before: State, after: State) -> Question:
    """Return the question that a step answers."""
    name, why = step.by.name, step.idle_reason or step.note
    if name == "static":
        right = int(bool(after.arrays))
        return Question(f"A call makes {before.arrays} arrays. Will {name} make that none?", _YES_NO, right, _sentence(why))
    if name in _BYTES:
        change = f"{format_bytes(before.arena_bytes)} before, {format_bytes(after.arena_bytes)} after. {_sentence(why)}"
        return Question(f"Will {name} make the arena smaller?", _CHANGES, _change(before.arena_bytes, after.arena_bytes), change)
    if name in _TRAFFIC:
        was, now = (each.read_bytes + each.written_bytes for each in (before, after))
        change = f"{format_bytes(was)} before, {format_bytes(now)} after. {_sentence(why)}"
        return Question(
            f"A call reads and writes {format_bytes(was)}. How much will it be after {name}?", _CHANGES, _change(was, now), change
        )
    right = int(step.is_idle)
    return Question(f"{name}: {step.by.summary}. Will it change anything in this network?", _YES_NO, right, _sentence(why))


def _change(before: int, after: int) -> int:
    return 1 + (after > before) - (after < before)


def _sentence(clause: str) -> str:
    return clause[:1].upper() + clause[1:] + ("" if clause.endswith(".") else ".")
