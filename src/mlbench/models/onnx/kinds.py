"""What the numbers of a value stand for in the file, and which whole numbers float32 holds exactly.

Every value of a graph is float32. Truth is 1 or 0. A whole number is exact up to 2**24, and nothing that may be larger is computed with:
bounds are followed from the inputs and the indices on. Text is the index of a label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.errors import ModelError
from mlbench.models.network import DTYPES, EXACT, TEXT

__all__ = [
    "EXACT",
    "FLOAT",
    "RANGES",
    "TEXT",
    "TRUTH",
    "Kind",
    "RefusedError",
    "exact",
    "holds",
    "joined",
    "kind_after",
    "kind_of",
    "kind_of_array",
]

_FLOAT = "float32"


class RefusedError(ModelError):
    """A node of the file cannot be written as nodes of a graph; the message says why, and its caller says where."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What the numbers of a value stand for.

    Attributes:
        dtype: NumPy's name of the type that the file has for it, or TEXT.
        lowest: no whole number is below.
        highest: no whole number is above.
        is_exact: whether no number was rounded; a sum that was is out of range of any table, and a look-up alone may read it.
        labels: of TEXT, what each index stands for.
    """

    dtype: str = _FLOAT
    lowest: float = -math.inf
    highest: float = math.inf
    is_exact: bool = True
    labels: tuple[str, ...] = ()

    @property
    def is_float(self) -> bool:
        """Whether the numbers are numbers, and stand for nothing else."""
        return self.dtype == _FLOAT


FLOAT = Kind()
TRUTH = Kind("bool", 0, 1)


def kind_of(dtype: str) -> Kind | None:
    """Return the kind of an input of a type; None for types that float32 does not hold.

    Whole numbers up to 2**24 are held, and the runners refuse others.
    """
    if dtype in {_FLOAT, "bool"}:
        return FLOAT if dtype == _FLOAT else TRUTH
    if dtype not in DTYPES:
        return None
    info = np.iinfo(dtype)
    return Kind(dtype, max(info.min, -EXACT), min(info.max, EXACT))


def holds(dtype: str, kind: Kind) -> bool:
    """Whether a type has all numbers of a kind."""
    return dtype == "bool" or (np.iinfo(dtype).min <= kind.lowest and kind.highest <= np.iinfo(dtype).max)


def kind_of_array(array: npt.NDArray[Any]) -> Kind:
    """Return the kind of a constant."""
    if array.dtype.kind not in "iub":
        return FLOAT
    return Kind(array.dtype.name, float(array.min(initial=0)), float(array.max(initial=0)))


def exact(array: npt.NDArray[Any], what: str = "its constant") -> npt.NDArray[np.float32]:
    """Return a constant of whole numbers or truth as float32.

    Raises:
        RefusedError: where float32 does not have the numbers, or it is of another type.
    """
    if array.dtype.kind in "iub" and array.size:
        largest = max(abs(int(array.min())), abs(int(array.max())))
        if largest > EXACT:
            raise RefusedError(f"{what} has the whole number {largest:,}; float32 holds those up to {EXACT:,} exactly")
    elif array.dtype.kind not in "iub" and array.dtype != np.float32:
        raise RefusedError(f"{what} is {array.dtype}; expected float32 or whole numbers")
    return array.astype(np.float32)


def joined(kinds: Iterable[Kind]) -> Kind:
    """Return the kind of numbers that come from several values.

    Raises:
        RefusedError: where they are labels of different sets.
    """
    first, *others = list(kinds)
    if any(each.labels != first.labels or (each.dtype == TEXT) != (first.dtype == TEXT) for each in others):
        raise RefusedError("it joins labels of different sets; expected those of one")
    every = [first, *others]
    lowest, highest = min(each.lowest for each in every), max(each.highest for each in every)
    return Kind(first.dtype, lowest, highest, all(each.is_exact for each in every), first.labels)


Bounds = tuple[float, float]


def _products(one: Bounds, other: Bounds) -> Bounds:
    found = [0.0 if 0 in (a, b) else a * b for a in one for b in other]
    return min(found), max(found)


def _largest(*bounds: Bounds) -> Bounds:
    return max(low for low, _ in bounds), max(high for _, high in bounds)


def _smallest(*bounds: Bounds) -> Bounds:
    return min(low for low, _ in bounds), min(high for _, high in bounds)


def _clipped(value: Bounds, low: Bounds = (-math.inf, -math.inf), high: Bounds = (math.inf, math.inf)) -> Bounds:
    return _smallest(_largest(value, low), high)


def _absolute(value: Bounds) -> Bounds:
    return max(0.0, value[0], -value[1]), max(abs(value[0]), abs(value[1]))


RANGES: dict[str, Callable[..., Bounds]] = {
    "Abs": _absolute,
    "Add": lambda one, other: (one[0] + other[0], one[1] + other[1]),
    "Clip": _clipped,
    "Max": _largest,
    "Min": _smallest,
    "Mul": _products,
    "Neg": lambda value: (-value[1], -value[0]),
    "ReduceMax": lambda value, *_: value,
    "ReduceMin": lambda value, *_: value,
    "Relu": lambda value: _largest(value, (0, 0)),
    "Sign": lambda _: (-1, 1),
    "Sub": lambda one, other: (one[0] - other[1], one[1] - other[0]),
}
"""Ops that are computed of whole numbers: of the lowest and the highest of each input, those of the result."""


def kind_after(op: str, kinds: Sequence[Kind | None]) -> Kind:
    """Return the kind of what an op makes of whole numbers; None is an input that is left out."""
    named = [each for each in kinds if each is not None]
    left = [(-math.inf, math.inf) if each is None else (each.lowest, each.highest) for each in kinds]
    if op == "Clip":  # a bound that is left out
        left = [(math.inf if index == 2 else -math.inf,) * 2 if kinds[index] is None else each for index, each in enumerate(left)]
    lowest, highest = RANGES[op](*left)
    is_exact = all(each.is_exact for each in named) and lowest >= -EXACT and highest <= EXACT
    moves = op not in {"Add", "Mul", "Sub"} and all(each.is_exact for each in named)
    return Kind(named[0].dtype, lowest, highest, is_exact or moves)
