"""Expressions: what a sweep computes for a row, element by element and along the row.

A wide expression has a number for each column, a narrow one has one number for the row. A reduction makes a narrow expression of a wide
one, and all that depends on it belongs to the next level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlbench.compiler.x86.stages import View
from mlbench.compiler.x86.sweeps.formula import Formula

SUM, MAX, MIN, ANY_BIT = "sum", "max", "min", "or"
"""Reductions; ANY_BIT has the bits that any of the numbers has."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """Something that is known for a row.

    Attributes:
        kind: "read", "number", "apply" or "reduce".
        is_wide: it has a number for each column.
        level: reductions that must have been before it.
        arguments: what it is computed from.
        view: where it is read.
        number: its value.
        emit: what computes it, as a formula.
        reduction: SUM, MAX, MIN or ANY_BIT.
    """

    kind: str
    is_wide: bool
    level: int = 0
    arguments: tuple[Expression, ...] = ()
    view: View | None = None
    number: float = 0.0
    emit: Callable[..., int] | None = None
    reduction: str = ""


def read(view: View, *, is_wide: bool = True) -> Expression:
    """A value in memory; a row of numbers that is the same for each row has a stride of 0."""
    return Expression("read", is_wide, view=view)


def number(value: float) -> Expression:
    """A constant."""
    return Expression("number", is_wide=False, number=value)


def apply(emit: Callable[..., int], *arguments: Expression) -> Expression:
    """What a formula makes of expressions."""
    return Expression("apply", any(each.is_wide for each in arguments), max(each.level for each in arguments), arguments, emit=emit)


def reduce(reduction: str, argument: Expression) -> Expression:
    """The sum, the largest or the smallest number, or all bits, of a row."""
    return Expression("reduce", is_wide=False, level=argument.level + 1, arguments=(argument,), reduction=reduction)


def spread(argument: Expression) -> Expression:
    """The same number for each column."""
    return Expression("apply", is_wide=True, level=argument.level, arguments=(argument,), emit=_itself)


def _itself(_: Formula, value: int) -> int:
    return value


def below(expressions: Sequence[Expression]) -> Iterator[Expression]:
    """Give expressions and all that they are computed from, each once."""
    seen: set[Expression] = set()
    todo = list(expressions)
    while todo:
        each = todo.pop()
        if each not in seen:
            seen.add(each)
            yield each
            todo += each.arguments
