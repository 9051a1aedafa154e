"""Bodies for AVX-512 on every machine: small ones, whole, in the emulator, as float64 has their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.compiler.x86 import AVX512, Arena, Argument, BodyPlan, Product, Shape, View, pack
from mlbench.compiler.x86.body import code_of_plan
from mlbench.compiler.x86.products import blocks, gemm
from mlbench.compiler.x86.stages import DONE, Stage
from mlbench.compiler.x86.sweeps.expressions import SUM, apply, read, reduce, spread
from mlbench.compiler.x86.sweeps.formula import Formula
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from support.emulator import OBJDUMP, Emulator
from support.machine_code import expected_of, guarded, numbers

pytestmark = pytest.mark.skipif(OBJDUMP is None, reason="needs objdump")
Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
ROWS = (1, 2, 15, 31)
"""One row, blocks of all kinds, and more rows than a tile has."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A product with its steps, and what it has to compute.

    Attributes:
        weight: its weight.
        width: vectors of a panel.
        steps: names of the element-wise steps.
        operands: what they read.
        packed: the weight as the code reads it.
    """

    weight: Floats
    width: int
    steps: tuple[str, ...]
    operands: tuple[Floats, ...]
    packed: Floats

    def stage(self, source: View, target: View) -> Product:
        """Return it as a stage."""
        inputs, columns = self.weight.shape
        shape = Shape(inputs, columns, self.width, self.steps)
        return Product(shape, address(self.packed), tuple(map(address, self.operands)), source, target)

    def exact(self, x: npt.NDArray[np.floating]) -> Wide:
        """Return in float64 what it makes of a value."""
        return expected_of(x.astype(np.float64) @ self.weight, self.steps, self.operands)


def linear(inputs: int, columns: int, width: int, *steps: str) -> Linear:
    """Return a product of random numbers."""
    weight = numbers(inputs, columns, seed=inputs + columns)
    operands = tuple(
        guarded(np.array(0.25, np.float32)) if step == "leaky_relu" else numbers(columns, seed=columns) for step in steps if step != "relu"
    )
    return Linear(weight, width, steps, operands, pack(weight, width, AVX512))


def address(array: Floats) -> int:
    """Return where an array lies."""
    return int(array.ctypes.data)


def rows_of(base: int | Arena | Argument, columns: int) -> View:
    """Return a view of rows that follow each other."""
    return View(base, 4 * columns)


def emulator(stages: Sequence[Stage], inputs: int, outputs: int, tile: int = 30, arena: int = 0) -> Emulator:
    """Return a body in the emulator, with one value that comes in and one that goes out."""
    return Emulator(code_of_plan(AVX512, BodyPlan(tuple(stages), (4 * inputs, 4 * outputs), tile, arena)))


def run(body: Emulator, x: Floats, outputs: int) -> Floats:
    """Return what a body makes of a value; it neither reads nor writes beyond its arrays."""
    y = guarded(np.full((len(x), outputs), np.nan, np.float32))
    places = np.array([address(x), address(y)], np.uint64)
    assert body.call(int(places.ctypes.data), len(x)) == DONE
    return y


def check_product(product: Linear, rows: Sequence[int], tile: int = 30) -> list[int]:
    """Compare a body of one product with float64, and return how many lines each call has asked for."""
    inputs, columns = product.weight.shape
    body = emulator([product.stage(rows_of(Argument(0), inputs), rows_of(Argument(1), columns))], inputs, columns, tile)
    asked = []
    for number in rows:
        x, before = numbers(number, inputs, seed=number), body.executed_of["prefetcht1"]
        np.testing.assert_allclose(run(body, x, columns), product.exact(x), rtol=1e-5, atol=1e-5)
        asked.append(body.executed_of["prefetcht1"] - before)
    return asked


@pytest.mark.parametrize(("columns", "width"), [(1, 1), (16, 1), (19, 2), (32, 2), (45, 3), (48, 3), (65, 4)], ids=str)
def test_one_code_serves_every_number_of_rows(columns: int, width: int) -> None:
    """Whole panels, ragged ones and both: each number of rows takes its routines from the tables."""
    check_product(linear(2, columns, width, "add"), ROWS)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_height_is_right(width: int) -> None:
    """Each height that one block may have, and two blocks."""
    check_product(linear(1, 16 * width + 3, width), range(1, 16), tile=16)


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 7, 9])
def test_turns_and_what_is_left_of_them(inputs: int) -> None:
    """Loops of no turn, of one and of several, for blocks with accumulators for every second or fourth k and for one in each k."""
    check_product(linear(inputs, 21, 2), (1, 2, 4, 9, 13))


@pytest.mark.parametrize(
    "steps", [("add", "relu"), ("maximum",), ("add", "leaky_relu"), ("add", "maximum", "add"), ("relu", "add")], ids=str
)
def test_steps_follow_a_block(steps: tuple[str, ...]) -> None:
    """Rows and scalars are read with and without a mask."""
    check_product(linear(5, 35, 2, *steps), (1, 15))


@pytest.mark.parametrize("inputs", [8, 11])
@pytest.mark.parametrize("columns", [5, 37])
def test_many_inputs_come_in_chunks(inputs: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two or more chunks are added up, whether one block or several make a panel, and the steps run once."""
    for module in (blocks, gemm):
        monkeypatch.setattr(module, "CHUNK_INPUTS", 4)
    check_product(linear(inputs, columns, 2, "add", "relu"), (1, 15, 23), tile=20)


@pytest.mark.parametrize("huge", [False, True], ids=["large", "huge"])
def test_lines_of_a_large_weight_are_asked_for(huge: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # a parameter of a test
    """The loops that ask for lines compute what the others do."""
    for module in (blocks, gemm):
        monkeypatch.setattr(module, "CHUNK_INPUTS", 4)
    monkeypatch.setattr(blocks, "is_large", lambda *_: True)
    monkeypatch.setattr(blocks, "is_huge", lambda *_: huge)
    asked = check_product(linear(9, 53, 2, "add"), (3, 8, 17))
    assert [count > 0 for count in asked] == [False, huge, True]


def _difference(f: Formula, one: int, other: int) -> int:
    return f.sub(one, other)


@pytest.mark.parametrize("tile", [1, 6, 16])
def test_stages_follow_each_other_tile_after_tile(tile: int) -> None:
    """A product, a sweep over its rows and another product, with what lies between them in the arena."""
    one, two = linear(5, 35, 2, "add", "relu"), linear(35, 3, 1, "add")
    arena = np.zeros(tile * 70 + 16, np.float32)
    up, between = rows_of(Arena(0), 35), rows_of(Arena(4 * 35 * tile), 35)
    value = read(up, is_wide=True)
    sweep = Sweep(35, ((between, apply(_difference, value, spread(reduce(SUM, value)))),))
    stages = one.stage(rows_of(Argument(0), 5), up), sweep, two.stage(between, rows_of(Argument(1), 3))
    body = emulator(stages, 5, 3, tile, address(arena))
    for rows in (1, 7, 17):
        x = numbers(rows, 5, seed=rows)
        hidden = one.exact(x)
        np.testing.assert_allclose(run(body, x, 3), two.exact(hidden - hidden.sum(axis=1, keepdims=True)), rtol=1e-4, atol=2e-3)


def test_views_may_be_columns_of_a_wider_array() -> None:
    """A product reads some columns of its rows and writes others; what lies between stays."""
    product, wide = linear(5, 19, 1), numbers(20, 31)
    source, target = View(Argument(0), 4 * 31, 4 * 7), View(Argument(1), 4 * 29, 4 * 3)
    body = emulator([product.stage(source, target)], 31, 29, 16)
    for rows in (1, 14, 20):
        y = run(body, guarded(wide[:rows]), 29)
        np.testing.assert_allclose(y[:, 3:22], product.exact(wide[:rows, 7:12]), rtol=1e-5, atol=1e-5)
        assert np.isnan(np.delete(y, np.s_[3:22], axis=1)).all()


@pytest.mark.parametrize(("columns", "width", "most"), [(64, 2, 9500), (10, 1, 6300), (48, 3, 6000), (128, 4, 4200)], ids=str)
def test_code_for_all_heights_is_short(columns: int, width: int, most: int) -> None:
    """Blocks of many accumulators share what lies before and behind their loops, and blocks of one vector are no higher than wide ones."""
    shape = Shape(64, columns, width, ("add", "relu"))
    product = Product(shape, 1 << 40, (1 << 41,), rows_of(Argument(0), 64), rows_of(Argument(1), columns))
    assert len(code_of_plan(AVX512, BodyPlan((product,), (256, 4 * columns), 64))) < most
