"""What a runner accepts as inputs and as places for results, and what it says when it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.errors import InputError
from mlbench.ir import FloatArray, Graph, table_entries, verify
from mlbench.models import EXACT, Model, Network

Source = Model | Network | Graph
"""What a runner runs."""
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class WholeInput:
    """An input of whole numbers.

    Attributes:
        dtype: that the file has for it.
        entries: for each column the entries of the table that it is an index of; 0 where it is of none.
        least: the smallest number of all columns.
        most: the largest number of all columns.
    """

    dtype: str
    entries: npt.NDArray[np.int64]
    least: int
    most: int

    @property
    def is_index(self) -> bool:
        """Whether each column is an index, so that a table refuses whatever does not fit."""
        return self.dtype != "bool" and bool((self.entries > 0).all())


@dataclass(frozen=True, slots=True)
class Signature:
    """What a caller gives and gets.

    Attributes:
        inputs: what messages and callers call each input, to its columns.
        outputs: the same of the outputs.
        max_batch: most rows; None for any number.
        batch: the only number of rows; None for any.
        whole: what callers call the inputs of whole numbers, to what fits.
    """

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    max_batch: int | None = None
    batch: int | None = None
    whole: Mapping[str, WholeInput] = field(default_factory=dict)


def graph_of(model: Source) -> Graph:
    """Return the program of what a runner is given."""
    return model if isinstance(model, Graph) else model.graph()


def signature_of(model: Source, max_batch: int | None = None) -> Signature:
    """Return what a caller of a runner gives and gets: by the names of the file, where the model came from one.

    Raises:
        GraphError: for a graph that breaks a law; models and networks keep them.
    """
    if isinstance(model, Network):
        return Signature(model.inputs, model.outputs, max_batch, model.batch, whole_inputs(model))
    graph = graph_of(model)
    verify(graph)
    return Signature(graph.inputs, {name: graph.columns_of(name) for name in graph.outputs}, max_batch)


def whole_inputs(model: Network) -> dict[str, WholeInput]:
    """Return the inputs of a network that are whole numbers or truth."""
    entries = table_entries(model.program) if any(dtype != "float32" for dtype in model.input_dtypes) else {}
    named = zip(model.input_names, model.input_dtypes, model.program.inputs, strict=True)
    found = {name: (dtype, entries[value]) for name, dtype, value in named if dtype != "float32"}
    limits = {name: _limits(each) for name, (_, each) in found.items()}
    return {name: WholeInput(*each, int(limits[name][0].min()), int(limits[name][1].max())) for name, each in found.items()}


def _limits(entries: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the smallest and the largest number of each column: an index, from the end below 0, or what float32 holds exactly."""
    return np.where(entries > 0, -entries, -EXACT), np.where(entries > 0, entries - 1, EXACT)


def checked_all(xs: Sequence[object], signature: Signature) -> tuple[Floats, ...]:
    """Return one plain array of floats for each input, in order, without copying them.

    Args:
        xs: what the caller gave: an array for each input, or one mapping of names to arrays.
        signature: what fits.

    Raises:
        InputError: with what was found and what fits.
    """
    inputs = signature.inputs
    given = _by_name(xs[0], inputs) if len(xs) == 1 and isinstance(xs[0], Mapping) else xs
    if len(given) != len(inputs):
        raise InputError(
            f"found {_counted(len(given), 'array')}; expected one for each input, {', '.join(inputs)}, or a dict by these names"
        )
    arrays = tuple(checked(x, columns, signature, name) for x, (name, columns) in zip(given, inputs.items(), strict=True))
    rows = [len(array) for array in arrays]
    if len(set(rows)) > 1:
        raise InputError(f"the inputs {', '.join(inputs)} have {', '.join(map(str, rows))} rows; expected the same number")
    return arrays


def checked_one(x: object, signature: Signature) -> Floats:
    """Return `x`, or the array that it has for the one input's name, as a plain array of floats that fits, without copying it.

    Raises:
        InputError: with what was found and what fits.
    """
    ((name, columns),) = signature.inputs.items()
    if x.__class__ is not np.ndarray and isinstance(x, Mapping):
        (x,) = _by_name(x, signature.inputs)
    return checked(x, columns, signature, name)


def checked(x: object, columns: int, signature: Signature, name: str = "x") -> Floats:
    """Return `x` as a plain array of floats that fits, without copying it.

    Args:
        x: what the caller gave.
        columns: columns of this input.
        signature: which numbers of rows fit.
        name: what messages call it.

    Raises:
        InputError: with what was found and what fits.
    """
    if not isinstance(x, np.ndarray):
        raise InputError(f"{name} is a {type(x).__name__}; this model takes a NumPy array of shape {_fits(columns, signature)}")
    if x.__class__ is not np.ndarray:
        _refuse_mask(x, name)
    if x.ndim != 2 or x.shape[1] != columns or not _has_fitting_rows(x.shape[0], signature):
        hint = ""
        if x.shape == (columns,):
            hint = f"; one row needs two dimensions: {name}[np.newaxis]"
        elif x.ndim == 2 and x.shape[1] == columns and signature.batch is not None:
            hint = f"; its file fixes the batch: call it on {_counted(signature.batch, 'row')}, or export it with a batch of any size"
        elif x.ndim == 2 and x.shape[1] == columns:
            hint = f"; make the runner with a larger max_batch or call it on parts of {name}"
        raise InputError(f"{name} has shape {x.shape}; this model takes {_fits(columns, signature)}{hint}")
    if name in signature.whole:
        return checked_whole(np.asarray(x), signature.whole[name], name)
    if x.dtype.kind != "f":
        raise InputError(f"{name} is {x.dtype}; this model takes float32 (float16 and float64 are converted): {name}.astype(np.float32)")
    return np.asarray(x)


def checked_whole(x: npt.NDArray[Any], whole: WholeInput, name: str) -> npt.NDArray[Any]:
    """Return an input of whole numbers if float32 holds them and tables have them, as far as one look at all of them tells.

    The largest and the smallest are found by `argmax` and `argmin`, because `max` and `min` malloc an iterator. Where columns are indices
    of tables of different sizes, the kernel looks at each.

    Raises:
        InputError: with the row and the number.
    """
    if x.dtype.kind not in "iub" and not (x.dtype.kind == "f" and np.array_equal(x, np.rint(x))):
        raise InputError(f"{name} is {x.dtype}; this model takes whole numbers: {name}.astype(np.{np.dtype(whole.dtype)})")
    if x.size and (x.item(int(x.argmin())) < whole.least or x.item(int(x.argmax())) > whole.most):
        check_each(x, whole, name)
    return x


def check_each(x: npt.NDArray[Any], whole: WholeInput, name: str) -> None:
    """Refuse a number that its column cannot have.

    Raises:
        InputError: with the row and the number.
    """
    lowest, highest = _limits(whole.entries)
    places = np.argwhere((x < lowest) | (x > highest))
    if len(places):
        row, column = places[0]
        entries, found = int(whole.entries[column]), x[row, column]
        fits = f"an index of {entries} entries: 0 to {entries - 1}, or from the end {-entries} to -1" if entries else (
            f"whole numbers up to {EXACT:,}, which float32 holds exactly")  # fmt: skip
        raise InputError(f"{name} has {found} in row {row}, column {column}; expected {fits}")


def checked_outs(out: object, signature: Signature, rows: int) -> tuple[FloatArray, ...]:
    """Return a place for each output, if a runner can write its results there: an array, or a tuple of them for several outputs.

    Raises:
        InputError: with what was found and what fits.
    """
    outputs = signature.outputs
    if len(outputs) == 1:
        return (checked_out(out, (rows, *outputs.values())),)
    if not isinstance(out, (tuple, list)) or len(out) != len(outputs):
        found = _counted(len(out), "array") if isinstance(out, (tuple, list)) else f"a {type(out).__name__}"
        raise InputError(f"out is {found}; expected a tuple of one array for each output: {', '.join(outputs)}")
    places = tuple(
        checked_out(each, (rows, columns), f"out for {name}") for each, (name, columns) in zip(out, outputs.items(), strict=True)
    )
    for index, place in enumerate(places):
        if any(np.may_share_memory(place, other) for other in places[:index]):
            raise InputError(f"out for {list(outputs)[index]} overlaps another one; expected memory of its own for each output")
    return places


def checked_out(out: object, shape: tuple[int, ...], name: str = "out") -> FloatArray:
    """Return `out` if a runner can write its result there.

    Raises:
        InputError: with what was found and what fits.
    """
    if not isinstance(out, np.ndarray):
        raise InputError(f"{name} is a {type(out).__name__}; expected a float32 array of shape {shape}")
    if out.__class__ is not np.ndarray:
        _refuse_mask(out, name)
    if out.shape != shape or out.dtype != np.float32:
        raise InputError(f"{name} is {out.dtype} of shape {out.shape}; expected float32 of shape {shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        found = "is read-only" if not out.flags.writeable else f"has strides {out.strides}"
        raise InputError(f"{name} {found}; expected a writeable, C-contiguous, aligned array")
    return np.asarray(out)


def _by_name(given: Mapping[Any, object], inputs: Mapping[str, int]) -> tuple[object, ...]:
    """Return the arrays of a mapping in the order of the inputs."""
    if given.keys() != inputs.keys():
        raise InputError(f"found arrays for {', '.join(map(repr, given)) or 'no name'}; expected them for {', '.join(map(repr, inputs))}")
    return tuple(given[name] for name in inputs)


def _has_fitting_rows(rows: int, signature: Signature) -> bool:
    if signature.batch is not None:
        return rows == signature.batch
    return signature.max_batch is None or rows <= signature.max_batch


def _fits(columns: int, signature: Signature) -> str:
    if signature.batch is not None:
        return f"({signature.batch}, {columns})"
    return f"(batch, {columns})" + (f" with batch <= {signature.max_batch}" if signature.max_batch is not None else "")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _refuse_mask(array: object, name: str) -> None:
    """A product has no value for a number that is masked out, and to leave the mask away would be a wrong result."""
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; a runner takes plain numbers: np.ma.filled({name}, value) with the value you choose")
