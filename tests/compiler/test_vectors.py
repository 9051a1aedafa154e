"""Vector code: instructions as objdump reads them, functions within the error that they state, and sweeps as float64 has them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.compiler.x86 import AVX2, AVX512, Argument, Body, BodyPlan, Vectors, View, find
from mlbench.compiler.x86.body import code_of_plan
from mlbench.compiler.x86.encoding.assembler import R9, R12, RBX, RDI, Mem
from mlbench.compiler.x86.encoding.isa import AT_LEAST, LESS, NEAREST, UNORDERED, VectorAssembler
from mlbench.compiler.x86.sweeps import vector_math as functions
from mlbench.compiler.x86.sweeps.along_rows import place_along
from mlbench.compiler.x86.sweeps.elementwise import BINARY, EMITS
from mlbench.compiler.x86.sweeps.expressions import MAX, MIN, SUM, Expression, apply, number, read, reduce, spread
from mlbench.compiler.x86.sweeps.formula import Formula
from mlbench.compiler.x86.sweeps.registers import allocate
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.ir import OPS, Graph, Node, frozen
from mlbench.ir.reference import REFERENCES
from mlbench.runtime import BaselineRunner
from support.emulator import OBJDUMP, Emulator
from support.exhaustive import tries

FOUND, WHY = find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
HERE: tuple[Vectors, ...] = () if FOUND is None else (AVX2,) if FOUND is AVX2 else (AVX512, AVX2)
ANYWHERE = [pytest.param(each, id=each.name) for each in (*HERE, *(AVX512,) * (AVX512 not in HERE and OBJDUMP is not None))]
"""Where the processor has no AVX-512, an emulator runs its code."""
Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

# --- instructions -------------------------------------------------------------------------------------------------------

Put = Callable[[VectorAssembler], object]
INSTRUCTIONS: list[tuple[Put, str, str, str, str]] = [
    (lambda a: a.vsub(9, 2, Mem(R12, 64)), "vsubps ymm9,ymm2,YMMWORD [r12+0x40]", "c4 41 6c 5c 4c 24 40",
     "vsubps zmm9,zmm2,ZMMWORD [r12+0x40]", "62 51 6c 48 5c 4c 24 01"),
    (lambda a: a.vdiv(1, 10, 11), "vdivps ymm1,ymm10,ymm11", "c4 c1 2c 5e cb",
     "vdivps zmm1,zmm10,zmm11", "62 d1 2c 48 5e cb"),
    (lambda a: a.vmin(3, 4, Mem(RBX, 4096)), "vminps ymm3,ymm4,YMMWORD [rbx+0x1000]", "c4 e1 5c 5d 9b 00 10 00 00",
     "vminps zmm3,zmm4,ZMMWORD [rbx+0x1000]", "62 f1 5c 48 5d 5b 40"),
    (lambda a: a.vsqrt(13, 12), "vsqrtps ymm13,ymm12", "c4 41 7c 51 ec",
     "vsqrtps zmm13,zmm12", "62 51 7c 48 51 ec"),
    (lambda a: a.vmove(12, 3), "vmovaps ymm12,ymm3", "c4 61 7c 28 e3",
     "vmovaps zmm12,zmm3", "62 71 7c 48 28 e3"),
    (lambda a: a.vfma_over(9, 10, Mem(RBX)), "vfmadd213ps ymm9,ymm10,YMMWORD [rbx]", "c4 62 2d a8 0b",
     "vfmadd213ps zmm9,zmm10,ZMMWORD [rbx]", "62 72 2d 48 a8 0b"),
    (lambda a: a.vfnma(1, 2, 11), "vfnmadd231ps ymm1,ymm2,ymm11", "c4 c2 6d bc cb",
     "vfnmadd231ps zmm1,zmm2,zmm11", "62 d2 6d 48 bc cb"),
    (lambda a: a.vfnma_over(8, 1, 2), "vfnmadd213ps ymm8,ymm1,ymm2", "c4 62 75 ac c2",
     "vfnmadd213ps zmm8,zmm1,zmm2", "62 72 75 48 ac c2"),
    (lambda a: a.vand(1, 9, Mem(R9, 128)), "vandps ymm1,ymm9,YMMWORD [r9+0x80]", "c4 c1 34 54 89 80 00 00 00",
     "vpandd zmm1,zmm9,ZMMWORD [r9+0x80]", "62 d1 35 48 db 49 02"),
    (lambda a: a.vandnot(1, 2, 3), "vandnps ymm1,ymm2,ymm3", "c4 e1 6c 55 cb",
     "vpandnd zmm1,zmm2,zmm3", "62 f1 6d 48 df cb"),
    (lambda a: a.vor(9, 2, 3), "vorps ymm9,ymm2,ymm3", "c4 61 6c 56 cb",
     "vpord zmm9,zmm2,zmm3", "62 71 6d 48 eb cb"),
    (lambda a: a.vxor(1, 10, 3), "vxorps ymm1,ymm10,ymm3", "c4 e1 2c 57 cb",
     "vpxord zmm1,zmm10,zmm3", "62 f1 2d 48 ef cb"),
    (lambda a: a.vadd_whole(1, 2, 11), "vpaddd ymm1,ymm2,ymm11", "c4 c1 6d fe cb",
     "vpaddd zmm1,zmm2,zmm11", "62 d1 6d 48 fe cb"),
    (lambda a: a.vsub_whole(9, 2, Mem(RBX, 32)), "vpsubd ymm9,ymm2,YMMWORD [rbx+0x20]", "c4 61 6d fa 4b 20",
     "vpsubd zmm9,zmm2,ZMMWORD [rbx+0x20]", "62 71 6d 48 fa 8b 20 00 00 00"),
    (lambda a: a.vshift_left(9, 2, 23), "vpslld ymm9,ymm2,0x17", "c4 e1 35 72 f2 17",
     "vpslld zmm9,zmm2,0x17", "62 f1 35 48 72 f2 17"),
    (lambda a: a.vshift_right(1, 10, 4), "vpsrld ymm1,ymm10,0x4", "c4 c1 75 72 d2 04",
     "vpsrld zmm1,zmm10,0x4", "62 d1 75 48 72 d2 04"),
    (lambda a: a.vshift_signed(9, 10, 1), "vpsrad ymm9,ymm10,0x1", "c4 c1 35 72 e2 01",
     "vpsrad zmm9,zmm10,0x1", "62 d1 35 48 72 e2 01"),
    (lambda a: a.vfloat(9, 2), "vcvtdq2ps ymm9,ymm2", "c4 61 7c 5b ca",
     "vcvtdq2ps zmm9,zmm2", "62 71 7c 48 5b ca"),
    (lambda a: a.vwhole(1, 10), "vcvtps2dq ymm1,ymm10", "c4 c1 7d 5b ca",
     "vcvtps2dq zmm1,zmm10", "62 d1 7d 48 5b ca"),
    (lambda a: a.vround(9, 10, NEAREST), "vroundps ymm9,ymm10,0x8", "c4 43 7d 08 ca 08",
     "vrndscaleps zmm9,zmm10,0x8", "62 53 7d 48 08 ca 08"),
    (lambda a: a.vcompare(9, 10, Mem(RBX, 64), LESS), "vcmpltps ymm9,ymm10,YMMWORD [rbx+0x40]", "c4 61 2c c2 4b 40 01",
     "vcmpltps k2,zmm10,ZMMWORD [rbx+0x40]; vpternlogd zmm9{k2}{z},zmm9,zmm9,0xff", "62 f1 2c 48 c2 53 01 01 62 53 35 ca 25 c9 ff"),
    (lambda a: a.vblend(9, 2, 11, 4), "vblendvps ymm9,ymm2,ymm11,ymm4", "c4 43 6d 4a cb 40",
     "vptestmd k2,zmm4,zmm4; vblendmps zmm9{k2},zmm2,zmm11", "62 f2 5d 48 27 d4 62 52 6d 4a 65 cb"),
    (lambda a: a.vkeep(9, 2, 11), "vblendvps ymm9,ymm2,ymm11,ymm15", "c4 43 6d 4a cb f0",
     "vblendmps zmm9{k1},zmm2,zmm11", "62 52 6d 49 65 cb"),
    (lambda a: a.vswap(9, 10, 1), "vpermilps ymm9,ymm10,0xb1", "c4 43 7d 04 ca b1",
     "vpermilps zmm9,zmm10,0xb1", "62 53 7d 48 04 ca b1"),
    (lambda a: a.vswap(1, 2, 2), "vpermilps ymm1,ymm2,0x4e", "c4 e3 7d 04 ca 4e",
     "vpermilps zmm1,zmm2,0x4e", "62 f3 7d 48 04 ca 4e"),
    (lambda a: a.vswap(9, 10, 4), "vperm2f128 ymm9,ymm10,ymm10,0x1", "c4 43 2d 06 ca 01",
     "vshuff32x4 zmm9,zmm10,zmm10,0xb1", "62 53 2d 48 23 ca b1"),
    (lambda a: a.vstore_first(Mem(RDI, 8), 9), "vmovss DWORD [rdi+0x8],xmm9", "c4 61 7e 11 4f 08",
     "vmovss DWORD [rdi+0x8],xmm9", "62 71 7e 48 11 4f 02"),
    (lambda a: a.vpick(9, 10, Mem(RBX, 64)), "vpermps ymm9,ymm10,YMMWORD [rbx+0x40]", "c4 62 2d 16 4b 40", "", ""),
    (lambda a: a.vpick(25, 26, Mem(RBX, 64)), "", "",
     "vpermps zmm25,zmm26,ZMMWORD [rbx+0x40]", "62 62 2d 40 16 4b 01"),
    (lambda a: a.vtruncated(R9, Mem(R12, 4)), "vcvttss2si r9d,DWORD [r12+0x4]", "c4 41 7e 2c 4c 24 04", "", ""),
    (lambda a: a.vcompare(9, 10, 2, AT_LEAST), "vcmpgeps ymm9,ymm10,ymm2", "c4 61 2c c2 ca 0d", "", ""),
    (lambda a: a.vswap(9, 10, 8), "", "",
     "vshuff32x4 zmm9,zmm10,zmm10,0x4e", "62 53 2d 48 23 ca 4e"),
    (lambda a: a.vsub(29, 22, Mem(R12, 64)), "", "",
     "vsubps zmm29,zmm22,ZMMWORD [r12+0x40]", "62 41 4c 40 5c 6c 24 01"),
    (lambda a: a.vdiv(17, 30, 27), "", "",
     "vdivps zmm17,zmm30,zmm27", "62 81 0c 40 5e cb"),
    (lambda a: a.vcompare(25, 26, 31, UNORDERED), "", "",
     "vcmpunordps k2,zmm26,zmm31; vpternlogd zmm25{k2}{z},zmm25,zmm25,0xff", "62 91 2c 40 c2 d7 03 62 03 35 c2 25 c9 ff"),
    (lambda a: a.vblend(25, 18, 27, 30), "", "",
     "vptestmd k2,zmm30,zmm30; vblendmps zmm25{k2},zmm18,zmm27", "62 92 0d 40 27 d6 62 02 6d 42 65 cb"),
    (lambda a: a.vshift_left(25, 26, 23), "", "",
     "vpslld zmm25,zmm26,0x17", "62 91 35 40 72 f2 17"),
    (lambda a: a.vfma_over(25, 26, Mem(RBX, 128)), "", "",
     "vfmadd213ps zmm25,zmm26,ZMMWORD [rbx+0x80]", "62 62 2d 40 a8 4b 02"),
]  # fmt: skip
"""What is put, as GNU objdump 2.40 reads it back and its bytes: with 8 lanes, then with 16, which have upper registers and masks, and
displacements in units of a vector; empty where one set has no such form."""
FORMS = [
    pytest.param(vectors, put, expected, id=text)
    for put, narrow, of_8, wide, of_16 in INSTRUCTIONS for vectors, text, expected in ((AVX2, narrow, of_8), (AVX512, wide, of_16)) if text
]  # fmt: skip


@pytest.mark.parametrize(("vectors", "put", "expected"), FORMS)
def test_instructions_are_encoded(vectors: Vectors, put: Put, expected: str) -> None:
    """Bytes as GNU objdump reads them back."""
    a = VectorAssembler(vectors)
    put(a)
    assert bytes(a.code).hex(" ") == expected


# --- registers ----------------------------------------------------------------------------------------------------------


def test_a_value_that_is_needed_again_keeps_its_register() -> None:
    """A multiply-add writes over an operand that dies there, and over no other."""
    f = Formula()
    x, y, z = f.source(0), f.source(1), f.source(2)
    first = f.fma(x, y, z)
    second = f.fma(x, first, z)
    allocated = allocate(f, [f.add(f.add(second, first), f.add(x, y))])
    live: dict[int, int] = {}
    for value, instruction in allocated.instructions:
        for argument in instruction.arguments:
            assert live[allocated.registers[argument]] == argument
        live[allocated.registers[value]] = value


def test_equal_instructions_are_there_once() -> None:
    """The square of one value is computed once, whoever asks for it."""
    f = Formula()
    x = f.source(0)
    assert f.mul(x, x) == f.mul(x, x)
    assert len(f.instructions) == 2


def test_what_nobody_needs_takes_no_instruction() -> None:
    """Code is there for the roots alone."""
    f = Formula()
    x = f.source(0)
    functions.exp(f, x)
    assert [instruction.name for _, instruction in allocate(f, [f.add(x, x)]).instructions] == ["source", "add"]


# --- sweeps -------------------------------------------------------------------------------------------------------------


def swept(vectors: Vectors, make: Callable[..., Expression], *xs: Floats, columns: int = 0, kept: object = None) -> Floats:
    """Run a sweep over all rows, in tiles of 7 rows, and return its result; nothing behind the result may change."""
    rows, widest = len(xs[0]), max(x.shape[1] for x in xs)
    views = [View(Argument(index), 4 * x.shape[1]) for index, x in enumerate(xs)]
    values = [read(view, is_wide=x.shape[1] == widest) for view, x in zip(views, xs, strict=True)]
    result = make(*values)
    y = np.full((rows + 1, columns or (widest if result.is_wide else 1)), 7, np.float32)
    sweep = Sweep(columns or widest, ((View(Argument(len(xs)), 4 * y.shape[1]), result),))
    run(vectors, (sweep,), *xs, y)
    assert (y[rows] == 7).all(), kept
    return y[:rows]


def run(vectors: Vectors, sweeps: tuple[Sweep, ...], *arrays: Floats) -> None:
    """Run sweeps on arrays, as many rows as the first has."""
    plan = BodyPlan(sweeps, tuple(array.strides[0] for array in arrays), 7)
    places = np.array([array.ctypes.data for array in arrays], np.uint64)
    if vectors not in HERE:
        Emulator(code_of_plan(vectors, plan)).call(places.ctypes.data, len(arrays[0]))
        return
    body = Body(vectors, plan)
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)(places.ctypes.data, len(arrays[0]))


def numbers(rows: int, columns: int, seed: int = 0) -> Floats:
    """Return normal numbers."""
    return (3 * np.random.default_rng(seed).standard_normal((rows, columns))).astype(np.float32)


SHAPES = [(1, 1), (3, 7), (20, 8), (5, 33), (2, 64), (9, 100), (1, 688)]


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_reductions_take_all_columns(vectors: Vectors, rows: int, columns: int) -> None:
    """Sum, largest and smallest number of each row, of any number of columns."""
    x = numbers(rows, columns)
    np.testing.assert_allclose(swept(vectors, lambda v: reduce(SUM, v), x)[:, 0], x.sum(axis=1, dtype=np.float64), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(swept(vectors, lambda v: reduce(MAX, v), x)[:, 0], x.max(axis=1))
    np.testing.assert_array_equal(swept(vectors, lambda v: reduce(MIN, v), x)[:, 0], x.min(axis=1))


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_columns_that_are_no_vector_count_nothing(vectors: Vectors, rows: int, columns: int) -> None:
    """The sum of exp(0 - x) has no exp(0) of lanes behind the last column."""
    x = np.full((rows, columns), -50, np.float32)
    found = swept(vectors, lambda v: reduce(SUM, apply(functions.exp, v)), x)
    np.testing.assert_allclose(found[:, 0], columns * np.exp(-50.0), rtol=1e-5)


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", BINARY)
def test_one_column_meets_many(vectors: Vectors, name: str) -> None:
    """A value of one column is the same for each column of the other, on either side."""
    x, y = np.abs(numbers(10, 21)), np.abs(numbers(10, 1, 1))
    np.testing.assert_allclose(swept(vectors, lambda v, w: apply(BINARY[name], v, w), x, y), REFERENCES[name](x, y), rtol=1e-6)
    np.testing.assert_allclose(swept(vectors, lambda v, w: apply(BINARY[name], w, v), x, y), REFERENCES[name](y, x), rtol=1e-6)


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", ["maximum_values", "minimum_values"])
def test_nan_is_larger_and_smaller_than_all(vectors: Vectors, name: str) -> None:
    """NaN on either side is NaN, as NumPy has it and no processor."""
    x, y = numbers(4, 12), numbers(4, 12, 1)
    x[0, 3] = y[1, 5] = np.nan
    found = swept(vectors, lambda v, w: apply(BINARY[name], v, w), x, y)
    np.testing.assert_array_equal(found, REFERENCES[name](x, y))


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
def test_a_narrow_value_is_written_and_spread(vectors: Vectors) -> None:
    """One number of a row goes to a matrix of one column, or to all columns."""
    x = numbers(10, 40)

    def half(v: Expression) -> Expression:
        return apply(Formula.mul, reduce(SUM, v), number(0.5))

    narrow = swept(vectors, half, x)
    assert narrow.shape == (10, 1)
    np.testing.assert_array_equal(swept(vectors, lambda v: spread(half(v)), x), np.repeat(narrow, 40, axis=1))


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
def test_what_was_written_is_read_again(vectors: Vectors) -> None:
    """A later loop reads a value where an earlier one has put it, though the result then goes there too."""
    x, y = numbers(10, 40), np.zeros((10, 40), np.float32)
    powers = apply(functions.exp, read(View(Argument(0), 160)))
    target = View(Argument(1), 160)
    run(vectors, (Sweep(40, ((target, powers), (target, apply(Formula.div, powers, reduce(SUM, powers))))),), x, y)
    wide = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(y, wide / wide.sum(axis=1, keepdims=True), rtol=2e-6)


SPECIAL = (0.0, -0.0, 0.4, -0.4, 0.5, -0.5, 1.5, 2.5, -2.5, 1.0, -1.0, 2.0**23 + 1, 2.0**25, -3e38, 1e-45, -1e-45, np.inf, -np.inf, np.nan)
"""Numbers at which ops that choose or round differ from each other."""
EXACT = (
    "floor", "ceil", "round", "trunc", "sign", "equal", "less", "less_equal", "greater", "greater_equal", "equal_values", "less_values",
    "less_equal_values", "where", "where_else", "fmod", "fmod_values",
)  # fmt: skip


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", EXACT)
def test_what_chooses_or_rounds_is_exactly_numpys(vectors: Vectors, name: str) -> None:
    """Of all pairs of special numbers, NaN and the sign of zero included, as the eager runner has it."""
    op = OPS[name]
    grid = [np.array(each, np.float32).reshape(1, -1) for each in np.meshgrid(SPECIAL, SPECIAL)]
    arrays = [*grid, grid[0] + 1][: op.values + op.constants]
    inputs = tuple(f"x{index}" for index in range(op.values))
    constants = {"k": frozen(arrays[-1][0])} if op.constants else {}
    node = Node(name, (*inputs, *constants), "y", grid[0].size)
    eager = BaselineRunner(Graph(dict.fromkeys(inputs, grid[0].size), constants, (node,), ("y",)))
    with np.errstate(invalid="ignore"):
        expected = eager.run(*arrays[: op.values])
    found = swept(vectors, lambda *values: apply(EMITS[name], *values), *arrays)
    np.testing.assert_array_equal(found, expected)
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(expected)[is_number])


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
def test_a_remainder_is_exact_for_quotients_of_any_size(vectors: Vectors) -> None:
    """Of random bit patterns, and of numbers that are close to a multiple of the other one."""
    random = np.random.default_rng(0)
    size = tries(200_000, 20_000_000) if vectors in HERE else 200
    x, y = (random.integers(0, 2**32, size, dtype=np.uint64).astype(np.uint32).view(np.float32) for _ in range(2))
    with np.errstate(all="ignore"):
        close = (random.integers(1, 2**24, size) * y.astype(np.float64)).astype(np.float32)
        for one in (x, close, np.nextafter(close, np.float32(0))):
            found = swept(vectors, lambda v, w: apply(functions.remainder, v, w), one.reshape(1, -1), y.reshape(1, -1))[0]
            np.testing.assert_array_equal(found, np.fmod(one, y))


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("columns", [1, 37])
def test_a_place_is_the_first_of_equals_or_the_first_nan(vectors: Vectors, columns: int) -> None:
    """Wherever they are in the row, as NumPy has it; infinities are numbers like others."""
    random = np.random.default_rng(columns)
    x = random.choice(np.array([-np.inf, -1, -0.0, 0, 1, np.inf], np.float32), (12, columns))
    x[:2] = [[-np.inf], [np.inf]]
    x[6:] = np.where(random.random((6, columns)) < 2 / columns, np.float32(np.nan), x[6:])
    numbered = np.arange(columns, dtype=np.float32)
    places = read(View(int(numbered.ctypes.data), 0))
    for reduction, expected in ((MAX, x.argmax(axis=1)), (MIN, x.argmin(axis=1))):
        found = swept(vectors, lambda v, reduction=reduction: place_along(reduction, v, places), x, kept=numbered)
        np.testing.assert_array_equal(found[:, 0], expected)


# --- functions ----------------------------------------------------------------------------------------------------------


def _function(name: str) -> Callable[..., int]:
    found: Callable[..., int] = getattr(functions, name, None) or EMITS[name]
    return found


def _reference(name: str) -> Callable[[Wide], Wide]:
    if name == "expm1_below":
        return np.expm1
    if name == "mish":  # tanh(log(1 + e)) without the rounding of 1 + e
        return lambda x: x * np.tanh(np.where(x < 0, np.log1p(np.exp(np.minimum(x, 0))), np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))))
    if name == "softplus":
        return lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    found: Callable[[Wide], Wide] = REFERENCES[name]
    return found


def _sample(name: str, vectors: Vectors) -> Floats:
    """Return float32 of every size, those of the most interest densely, and all that is special; few for an emulator."""
    step, dense = (tries(20_011, 1), 100_001) if vectors in HERE else (5_000_011, 501)
    every = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 3.4e38, -3.4e38, 88.722, 88.73, -87.3, -103.9, -104.1, 1, -1])
    x = np.concatenate([special.astype(np.float32), every, np.linspace(-12, 12, dense).astype(np.float32)])
    if name == "expm1_below":
        return x[~(x > 0)]
    return x[~(x < -87)] if name in WITH_EXP_OF_MINUS_X else x


BOUNDS = {
    "exp": 1.1, "expm1_below": 1.0, "log": 0.9, "tanh": 4.8, "erf": 5.1, "sigmoid": 2.5, "silu": 3.5, "softplus": 4.2, "mish": 5.0,
    "sin": 1.2, "cos": 1.2,
}  # fmt: skip
NEAR_QUARTERS = np.array([
    7.729178919452902e28, 21999384576.0, 1.5458357838905804e29, 43998769152.0, 252.89820861816406, 4.638183382783466e25, 1522788990976.0,
    8.11762663906456e22, 4.3865578967101227e33, 42781604.0, 4.71238899230957, 1.0341291951386403e27, 1.5282689358063206e17,
    52516.43359375, 3.795570704093031e30, 2709675.5, 8.773115793420245e33, 1.2841008908830159e22, 1.2614587862244266e38,
], np.float32)  # fmt: skip
"""The float32 numbers that are closest to a whole number of quarters of a turn."""
WITH_EXP_OF_MINUS_X = ("sigmoid", "silu", "mish")
"""Functions that are 0 below -88, or as exact as a denormal exponential: exp(-x) is infinite there."""


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", BOUNDS)
def test_functions_err_by_no_more_units_than_they_say(vectors: Vectors, name: str) -> None:
    """Over all float32, NaN and infinities included: the bound of the docstring, in units in the last place."""
    x = _sample(name, vectors)
    with np.errstate(all="ignore"):
        exact = _reference(name)(x.astype(np.float64))
        single = exact.astype(np.float32)
        found = swept(vectors, lambda v: apply(_function(name), v), x.reshape(1, -1))[0]
        units = np.spacing(np.maximum(np.abs(np.where(np.isfinite(single), single, 1)), np.float32(2.0**-126)))
        error = np.abs(found - exact) / units
    is_finite = np.isfinite(single)
    np.testing.assert_array_equal(found[~is_finite], single[~is_finite])
    worst = int(np.where(is_finite, error, 0).argmax())
    assert error[worst] <= BOUNDS[name], f"{x[worst]!r}: {found[worst]!r}, and {exact[worst]!r} is right"


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_an_angle_close_to_a_whole_quarter_keeps_its_digits(vectors: Vectors, name: str) -> None:
    """Of all sizes, where the result is nearly nothing; and a sine has the sign of a zero."""
    whole = np.floor(2.0 ** np.linspace(1, 100, 2000 if vectors in HERE else 100))
    x = np.concatenate([(whole * (np.pi / 2)).astype(np.float32), NEAR_QUARTERS])
    exact = _reference(name)(x.astype(np.float64))
    found = swept(vectors, lambda v: apply(_function(name), v), x.reshape(1, -1))[0]
    assert (np.abs(found - exact) <= BOUNDS[name] * np.spacing(np.abs(exact).astype(np.float32))).all()
    zeros = swept(vectors, lambda v: apply(EMITS["sin"], v), np.array([[0.0, -0.0]], np.float32))
    np.testing.assert_array_equal(np.signbit(zeros), [[False, True]])


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", WITH_EXP_OF_MINUS_X)
def test_far_below_zero_is_nearly_nothing(vectors: Vectors, name: str) -> None:
    """Between 0 and the exact value, or 4 of the smallest numbers for each unit of x beyond it."""
    x = np.linspace(-200, -87, 10_001 if vectors in HERE else 301).astype(np.float32).reshape(1, -1)
    with np.errstate(all="ignore"):
        exact = np.abs(_reference(name)(x.astype(np.float64)))
    found = np.abs(swept(vectors, lambda v: apply(_function(name), v), x))
    assert (found <= exact * (1 + 4 * 2.0**-24) + 4 * 200 * 2.0**-149).all()


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_a_gelu_errs_by_3_units_of_its_argument(vectors: Vectors, name: str) -> None:
    """Below zero it is a difference of numbers close to each other, so its error is as large as theirs."""
    x = _sample(name, vectors)
    x = x[np.abs(x) < 1e30]
    exact = REFERENCES[name](x.astype(np.float64))
    found = swept(vectors, lambda v: apply(_function(name), v), x.reshape(1, -1))[0]
    assert (np.abs(found - exact) <= 3 * 2.0**-24 * np.abs(x) + 2.0**-149).all()


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_no_result_is_beyond_one(vectors: Vectors, name: str) -> None:
    """Rounding takes neither function beyond its limits, which it reaches."""
    x = np.concatenate([np.linspace(3, 12, 300_001 if vectors in HERE else 301), [np.inf]]).astype(np.float32).reshape(1, -1)
    found = swept(vectors, lambda v: apply(_function(name), v), x)[0]
    assert found.max() == found[-1] == 1


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
def test_powers_of_special_numbers_are_those_of_c(vectors: Vectors) -> None:
    """Zeros, infinities, NaN, odd and even exponents, with the sign of zero: what NumPy gives."""
    special = [0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38, 16777217, -7, 1.0000001, 0.9999999]
    x, y = (np.array(each, np.float32).reshape(1, -1) for each in np.meshgrid(special, special))
    found = swept(vectors, lambda v, w: apply(functions.power, v, w), x, y)
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2.0**-149)
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(expected)[is_number])


@needs_code
@pytest.mark.parametrize("vectors", ANYWHERE)
@pytest.mark.parametrize(("base", "exponent"), [((0.5, 2), 120), ((1e-30, 1e30), 1.2), ((0, 100), 10), ((0.999, 1.001), 50_000)])
def test_a_power_errs_by_6_units(vectors: Vectors, base: tuple[float, float], exponent: float) -> None:
    """Of bases close to 1 and far from it, wherever the result is no denormal."""
    random = np.random.default_rng(0)
    size = tries(100_000, 20_000_000) if vectors in HERE else 100
    x, y = (random.uniform(*ends, size).astype(np.float32).reshape(1, -1) for ends in (base, (-exponent, exponent)))
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
        found = swept(vectors, lambda v, w: apply(functions.power, v, w), x, y)
        single = exact.astype(np.float32)
        known = np.isfinite(single) & (exact > 2.0**-126)
        assert (np.abs(found - exact)[known] <= 6 * np.spacing(single)[known]).all()


def test_every_op_has_code() -> None:
    """An op is a product or is swept."""
    elsewhere = {
        "matmul",
        "softmax",
        "log_softmax",
        "layer_norm",
        "rms_norm",
        "concat",
        "slice",
        "repeat_column",
        "gather",
        "argmax",
        "argmin",
    }
    reductions = {name for name in OPS if name.startswith("reduce_")}
    assert {*EMITS, *elsewhere, *reductions} == set(OPS)
