"""What is no plain array of float32: both runners take it for the same numbers, or refuse it with the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench import BaselineRunner, OptimizedRunner, mlp
from mlbench.errors import InputError
from mlbench.ir import FloatArray
from mlbench.runtime import check_result
from support.strategies import batch_of


class _Own(np.ndarray):
    """An array of somebody's own class."""


def _misaligned(x: FloatArray) -> FloatArray:
    return np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)


def _read_only(x: FloatArray) -> FloatArray:
    x = x.copy()
    x.flags.writeable = False
    return x


def _mapped(x: FloatArray, folder: Path) -> FloatArray:
    np.save(folder / "x.npy", x)
    loaded: FloatArray = np.load(folder / "x.npy", mmap_mode="r")
    return loaded


TAKEN: dict[str, Callable[[FloatArray], Any]] = {
    "matrix": lambda x: x.view(np.matrix),
    "record array": lambda x: x.view(np.recarray),
    "subclass": lambda x: x.view(_Own),
    "subclass of float64": lambda x: x.astype(np.float64).view(_Own),
    "byte-swapped": lambda x: x.astype(">f4"),
    "byte-swapped float64": lambda x: x.astype(">f8"),
    "float16": lambda x: x.astype(np.float16).astype(np.float32).astype(np.float16),
    "long double": lambda x: x.astype(np.longdouble),
    "backwards": lambda x: x[::-1, ::-1],
    "columns first": np.asfortranarray,
    "one row many times": lambda x: np.broadcast_to(x[:1], x.shape),
    "misaligned": _misaligned,
    "read-only": _read_only,
    "no rows": lambda x: x[:0],
}
REFUSED: dict[str, tuple[Callable[[FloatArray], Any], str]] = {
    "masked": (lambda x: np.ma.masked_array(x, mask=x > 0), "x is a masked array; .* np.ma.filled"),
    "masked, nothing masked out": (np.ma.masked_array, "x is a masked array"),
    "masked float64": (lambda x: np.ma.masked_array(x.astype(np.float64)), "x is a masked array"),
    "masked, of integers": (lambda x: np.ma.masked_array(x.astype(int)), "x is a masked array"),
    "objects": (lambda x: x.astype(object), "x is object"),
    "complex": (lambda x: x.astype(np.complex64), "x is complex64"),
    "integers": (lambda x: x.astype(int), "x is int64"),
    "truth values": (lambda x: x > 0, "x is bool"),
    "text": (lambda x: x.astype("U5"), "x is <U5"),
    "records": (lambda x: np.zeros(x.shape, [("a", "f4")]), "x is "),
    "times": (lambda x: np.zeros(x.shape, "M8[s]"), "x is datetime64"),
    "a list": (lambda x: x.tolist(), "x is a list"),
    "nothing": (lambda _: None, "x is a NoneType"),
    "a number": (lambda x: x[0, 0], "x is a float32"),
    "one row": (lambda x: x[0], "one row needs two dimensions"),
    "three dimensions": (lambda x: x[np.newaxis], "x has shape"),
    "too wide": (lambda x: np.hstack([x, x]), "x has shape"),
}
RUNNERS: dict[str, Callable[[Any], Any]] = {
    "baseline": BaselineRunner,
    "optimized": lambda model: OptimizedRunner(model, 8),
    "optimized, two threads": lambda model: OptimizedRunner(model, 8, threads=2),
    "optimized without code": lambda model: OptimizedRunner(model, 8, passes=["fuse", "static"]),
    "optimized without an arena": lambda model: OptimizedRunner(model, 8, passes=[]),
}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("form", [*TAKEN, "a mapped file"])
def test_what_holds_floats_is_taken(form: str, runner: str, activation: str, tmp_path: Path) -> None:
    """The result is a plain float32 array and agrees with float64, also when a plain x came before."""
    model = mlp(6, 8, 6, activation=activation)
    run, x = RUNNERS[runner](model).run, batch_of(8, 6)
    given = _mapped(x, tmp_path) if form == "a mapped file" else TAKEN[form](x)
    run(x)
    y = run(given)
    assert y.__class__ is np.ndarray
    assert y.dtype == np.float32
    check_result(model, np.ascontiguousarray(np.asarray(given), np.float32), y)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("form", REFUSED)
def test_what_holds_something_else_is_refused(form: str, runner: str, activation: str) -> None:
    """The same words from every runner, but for the batch that fits."""
    make, message = REFUSED[form]
    model = mlp(6, 8, 6, activation=activation)
    run, x = RUNNERS[runner](model).run, batch_of(8, 6)
    run(x)
    with pytest.raises(InputError, match=message) as error:
        run(make(x))
    with pytest.raises(InputError) as eager:
        BaselineRunner(model).run(make(x))
    assert str(error.value).replace(" with batch <= 8", "") == str(eager.value)


def test_a_masked_array_is_no_place_for_a_result() -> None:
    """Its mask would hide what is written there."""
    runner = OptimizedRunner(mlp(6, 8, 6), 8)
    with pytest.raises(InputError, match="out is a masked array"):
        runner.run(batch_of(8, 6), np.ma.masked_array(np.zeros((8, 6), np.float32)))
