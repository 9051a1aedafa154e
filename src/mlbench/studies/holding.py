"""What a callable holds between calls, beyond what a call allocates.

A runner of ours says itself what it holds, part by part, wherever the callable has it: the callable is its `run`, closes over it, is a
method of an object that has it, reads it from its module, or takes it as an argument. Of everything else a person has to name what counts,
because nobody else knows what belongs to a callable: through its objects a function can reach half of its process.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from mlbench.errors import UsageError
from mlbench.measure import closed_over, object_bytes
from mlbench.results import OBJECTS, RUNNER, STATED, StaticBytes
from mlbench.runtime import BaselineRunner, Engine, OptimizedRunner, engine_of
from mlbench.studies.cases import plan_of_compiled
from mlbench.units import format_bytes


@dataclass(frozen=True, slots=True)
class Held:
    """What is held between calls.

    Attributes:
        static: the bytes, part by part.
        counted: RUNNER, OBJECTS, STATED, or None where nothing was counted.
        plan: of the one compiled runner among it, as `Measurement.plan`; None where there is none, or more than one.
    """

    static: StaticBytes
    counted: str | None
    plan: dict[str, Any] | None


def held_by(named: object, target: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Held:
    """Return what a callable holds now.

    Args:
        named: what counts besides runners of ours: an object with all that it refers to, or a number of bytes; None for nothing.
        target: the callable.
        args: its arguments.
        kwargs: its arguments.

    Raises:
        UsageError: for a negative number of bytes.
    """
    engines = {id(each): each for each in _engines_near([target, *args, *kwargs.values()])}

    def is_runner(each: object) -> bool:
        found = _engine_of(each)
        if found is not None:
            engines[id(found)] = found
        return found is not None or isinstance(each, BaselineRunner)

    objects, counted = 0, ""
    if isinstance(named, (int, np.integer)):
        if named < 0:
            raise UsageError(f"holds is {named}; expected an object, or a number of bytes of 0 or more")
        objects, counted = int(named), STATED
    elif named is not None:
        objects, counted = object_bytes([named], is_runner), OBJECTS
    return Held(_static(engines.values(), objects), counted or (RUNNER if engines else None), _plan(list(engines.values())))


def still_grows(first: Held, later: Held) -> tuple[str, ...]:
    """Return a warning where a callable holds more after some calls than after the first one."""
    if later.static.total <= first.static.total:
        return ()
    grown = f"from {format_bytes(first.static.total)} after the first call to {format_bytes(later.static.total)}"
    return (f"what is held between calls grew {grown}: it may grow with each call",)


def _engine_of(each: object) -> Engine | None:
    """Return what a compiled runner, or its `run`, runs with; None of anything else."""
    return engine_of(each.run if isinstance(each, OptimizedRunner) else each)


def _engines_near(roots: Sequence[object]) -> Iterator[Engine]:
    todo, seen = list(roots), set()
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType)):
            continue
        seen.add(id(each))
        found = _engine_of(each)
        if found is not None:
            yield found
        elif isinstance(each, FunctionType):
            todo += [*closed_over(each), *(each.__defaults__ or ())]
            yield from _engines_among(each.__globals__.get(name) for name in each.__code__.co_names)
        elif isinstance(each, partial):
            todo += [each.func, *each.args, *each.keywords.values()]
        elif isinstance(each, MethodType):
            todo += [each.__self__, each.__func__]
        else:
            parts = gc.get_referents(each)  # its attributes, whose dictionary may stand between, without any code of its class
            yield from _engines_among([*parts, *(value for part in parts if isinstance(part, dict) for value in part.values())])


def _engines_among(values: Iterable[object]) -> Iterator[Engine]:
    yield from (found for each in values if (found := _engine_of(each)) is not None)


def _static(engines: Iterable[Engine], objects: int) -> StaticBytes:
    parts = [each.memory for each in engines]
    staging = sum(each.staging_bytes for each in parts)
    return StaticBytes(
        arena=sum(each.arena_bytes for each in parts),
        operands=sum(each.operand_bytes for each in parts),
        staging=staging,
        staging_if_needed=staging,
        weight_copies=sum(each.weight_copy_bytes for each in parts),
        objects=objects,
    )


def _plan(engines: Sequence[Engine]) -> dict[str, Any] | None:
    return plan_of_compiled(engines[0].compiled) if len(engines) == 1 else None
