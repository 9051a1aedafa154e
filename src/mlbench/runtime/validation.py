"""What a runner accepts as `x`, and what it says when it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mlbench.errors import InputError
from mlbench.ir import FloatArray, Graph


def checked_all(xs: object, inputs: Mapping[str, int], max_batch: int | None = None) -> tuple[npt.NDArray[np.floating[Any]], ...]:
    """Return one plain array of floats for each input, without copying them.

    Args:
        xs: what the caller gave.
        inputs: name and columns of each input.
        max_batch: most rows; None for any number.

    Raises:
        InputError: with what was found and what fits.
    """
    if not isinstance(xs, (tuple, list)) or len(xs) != len(inputs):
        found = f"{len(xs)} arrays" if isinstance(xs, (tuple, list)) else f"a {type(xs).__name__}"
        raise InputError(f"found {found}; expected a tuple of one array for each input: {', '.join(inputs)}")
    arrays = tuple(checked(x, columns, max_batch, name) for x, (name, columns) in zip(xs, inputs.items(), strict=True))
    rows = [len(array) for array in arrays]
    if len(set(rows)) > 1:
        raise InputError(f"the inputs {', '.join(inputs)} have {', '.join(map(str, rows))} rows; expected the same number")
    return arrays


def checked(x: object, columns: int, max_batch: int | None = None, name: str = "x") -> npt.NDArray[np.floating[Any]]:
    """Return `x` as a plain array of floats that fits, without copying it.

    Args:
        x: what the caller gave.
        columns: columns the model takes.
        max_batch: most rows; None for any number.
        name: what messages call it.

    Raises:
        InputError: with what was found and what fits.
    """
    fits = f"(batch, {columns})" + (f" with batch <= {max_batch}" if max_batch is not None else "")
    if not isinstance(x, np.ndarray):
        raise InputError(f"{name} is a {type(x).__name__}; this model takes a NumPy array of shape {fits}")
    if x.__class__ is not np.ndarray:
        _refuse_mask(x, name)
    if x.ndim != 2 or x.shape[1] != columns or (max_batch is not None and x.shape[0] > max_batch):
        hint = ""
        if x.shape == (columns,):
            hint = f"; one row needs two dimensions: {name}[np.newaxis]"
        elif x.ndim == 2 and x.shape[1] == columns:
            hint = f"; make the runner with a larger max_batch or call it on parts of {name}"
        raise InputError(f"{name} has shape {x.shape}; this model takes {fits}{hint}")
    if x.dtype.kind != "f":
        raise InputError(f"{name} is {x.dtype}; this model takes float32 (float16 and float64 are converted): {name}.astype(np.float32)")
    return np.asarray(x)


def refuse_single(graph: Graph) -> Callable[..., NoReturn]:
    """Return what stands for `run` where a graph has several inputs or outputs."""

    def run(*_: object, **__: object) -> NoReturn:
        raise InputError(
            f"run(x) is for one input and one output; this graph has the inputs {', '.join(graph.inputs)} and the outputs "
            f"{', '.join(graph.outputs)}: call run_all with a tuple of {len(graph.inputs)}"
        )

    return run


def checked_out(out: object, shape: tuple[int, int]) -> FloatArray:
    """Return `out` if a runner can write its result there.

    Raises:
        InputError: with what was found and what fits.
    """
    if not isinstance(out, np.ndarray):
        raise InputError(f"out is a {type(out).__name__}; expected a float32 array of shape {shape}")
    if out.__class__ is not np.ndarray:
        _refuse_mask(out, "out")
    if out.shape != shape or out.dtype != np.float32:
        raise InputError(f"out is {out.dtype} of shape {out.shape}; expected float32 of shape {shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        found = "is read-only" if not out.flags.writeable else f"has strides {out.strides}"
        raise InputError(f"out {found}; expected a writeable, C-contiguous, aligned array")
    return np.asarray(out)


def _refuse_mask(array: object, name: str) -> None:
    """A product has no value for a number that is masked out, and to leave the mask away would be a wrong result."""
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name} is a masked array; a runner takes plain numbers: np.ma.filled({name}, value) with the value you choose")
