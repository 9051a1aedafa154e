"""Bodies: one code for every number of rows, as float64 has the results, and nothing touched beyond."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.compiler import x86 as machine
from mlbench.compiler.x86 import AVX2, AVX512, Argument, Body, BodyPlan, Product, Shape, Vectors, View, pack
from mlbench.compiler.x86.body import DONE, code_of_plan

FOUND, WHY = machine.find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
HERE: tuple[Vectors, ...] = () if FOUND is None else (AVX2,) if FOUND is AVX2 else (AVX512, AVX2)
Floats = npt.NDArray[np.float32]


def run(body: Body, arrays: Sequence[Floats], rows: int) -> int:
    """Call a body by its C ABI, and return what it returns."""
    places = np.array([array.ctypes.data for array in arrays], np.uint64)
    code: int = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)(places.ctypes.data, rows)
    return code


def one_product(vectors: Vectors, weight: Floats, bias: Floats, width: int, tile: int) -> Body:
    """Return the body of one product with a bias."""
    inputs, columns = weight.shape
    packed = pack(weight, width, vectors)
    views = View(Argument(0), 4 * inputs), View(Argument(1), 4 * columns)
    product = Product(Shape(inputs, columns, width, ("add",)), int(packed.ctypes.data), (int(bias.ctypes.data),), *views)
    return Body(vectors, BodyPlan((product,), (4 * inputs, 4 * columns), tile), packed, bias)


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize(("inputs", "columns", "tile", "most"), [(20, 70, 40, 90), (64, 10, 64, 64), (20, 13, 3, 9), (3, 96, 512, 120)])
def test_one_code_serves_every_number_of_rows(vectors: Vectors, width: int, inputs: int, columns: int, tile: int, most: int) -> None:
    """From one row to more than a tile has, with ragged columns; the row behind the last one stays as it was."""
    numbers = np.random.default_rng(0).standard_normal
    weight, bias = numbers((inputs, columns), dtype=np.float32), numbers(columns, dtype=np.float32)
    body = one_product(vectors, weight, bias, width, tile)
    x = numbers((most, inputs), dtype=np.float32)
    exact = x.astype(np.float64) @ weight + bias
    for rows in range(1, most + 1):
        y = np.full((most + 1, columns), np.nan, np.float32)
        assert run(body, [x, y], rows) == DONE
        assert np.isnan(y[rows:]).all()
        np.testing.assert_allclose(y[:rows], exact[:rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
def test_both_sets_of_instructions_have_code(vectors: Vectors) -> None:
    """The code is written on any machine, the same each time."""
    product = Product(Shape(30, 70, 2, ("add",)), 1 << 40, (1 << 41,), View(Argument(0), 120), View(Argument(1), 280))
    plan = BodyPlan((product,), (120, 280), 64)
    assert code_of_plan(vectors, plan) == code_of_plan(vectors, plan)
