"""Bodies: one code for every number of rows, as float64 has the results, and nothing touched beyond."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbench.compiler import x86 as machine
from mlbench.compiler.x86 import (
    AVX2,
    AVX512,
    Arena,
    Argument,
    Body,
    BodyPlan,
    Caches,
    Product,
    Shape,
    Team,
    Vectors,
    View,
    Writer,
    pack,
)
from mlbench.compiler.x86.body import code_of_plan
from mlbench.compiler.x86.encoding.assembler import RAX, RCX, RSI, Label, Mem
from mlbench.compiler.x86.products.blocks import heights_of
from mlbench.compiler.x86.products.gemm import CHUNK_INPUTS, split_rows
from mlbench.compiler.x86.products.microkernel import STEPS
from mlbench.compiler.x86.sharing import few_rows
from mlbench.compiler.x86.stages import CLOSED, DONE
from mlbench.errors import CrewError
from support.machine_code import expected_of, guarded, numbers

FOUND, WHY = machine.find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
HERE: tuple[Vectors, ...] = () if FOUND is None else (AVX2,) if FOUND is AVX2 else (AVX512, AVX2)
Floats = npt.NDArray[np.float32]


def run(body: Body, arrays: Sequence[Floats], rows: int) -> int:
    """Call a body by its C ABI, and return what it returns."""
    places = np.array([array.ctypes.data for array in arrays], np.uint64)
    code: int = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)(places.ctypes.data, rows)
    return code


def second_cache(size_bytes: float) -> Caches:
    """Return caches of which the second one has this size."""
    return Caches(32 * 1024, 8, int(size_bytes), 8)


def one_product(vectors: Vectors, weight: Floats, bias: Floats, width: int, tile: int, caches: Caches | None = None) -> Body:
    """Return the body of one product with a bias."""
    inputs, columns = weight.shape
    packed = pack(weight, width, vectors)
    views = View(Argument(0), 4 * inputs), View(Argument(1), 4 * columns)
    product = Product(Shape(inputs, columns, width, ("add",)), int(packed.ctypes.data), (int(bias.ctypes.data),), *views)
    return Body(vectors, BodyPlan((product,), (4 * inputs, 4 * columns), tile), packed, bias, caches=caches)


@dataclass(frozen=True, slots=True)
class Chain:
    """A Linear, ReLU, Linear as a plan, and what it has to compute."""

    arrays: tuple[Floats, Floats, Floats, Floats]
    kept: list[object]

    def plan(self, vectors: Vectors, width: int, tile: int, arenas: Sequence[Floats], alone_rows: int = 1) -> BodyPlan:
        """Return the plan of a body, whose values between the products lie in the arenas."""
        first, bias, second, last = self.arrays
        (inputs, hidden), outputs = first.shape, len(last)
        packed = [pack(weight, width, vectors) for weight in (first, second)]
        self.kept.append(packed)
        one, two = (int(each.ctypes.data) for each in packed)
        between = rows_of(Arena(64), hidden)
        up, down = Shape(inputs, hidden, width, ("add", "relu")), Shape(hidden, outputs, width, ("add",))
        stages = (
            Product(up, one, (address(bias),), rows_of(Argument(0), inputs), between),
            Product(down, two, (address(last),), between, rows_of(Argument(1), outputs)),
        )
        mine, *others = (address(arena) for arena in arenas)
        return BodyPlan(stages, (4 * inputs, 4 * outputs), tile, mine, tuple(others), alone_rows)

    def check(self, body: Body, rows: int) -> None:
        """Compare one call with float64."""
        first, bias, second, last = self.arrays
        x = random(rows, len(first), seed=rows)
        y = np.full((rows + 1, len(last)), np.nan, np.float32)
        assert run(body, [x, y], rows) == DONE
        assert np.isnan(y[rows]).all()
        exact = np.maximum(x.astype(np.float64) @ first + bias, 0) @ second + last
        np.testing.assert_allclose(y[:rows], exact, rtol=1e-4, atol=1e-4)


def address(array: Floats) -> int:
    """Return where an array lies."""
    return int(array.ctypes.data)


def random(*shape: int, seed: int = 0) -> Floats:
    """Return seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def rows_of(base: int | Arena | Argument, columns: int) -> View:
    """Return a view of rows that follow each other."""
    return View(base, 4 * columns)


def chain_of(inputs: int, hidden: int, outputs: int) -> Chain:
    """Return a chain of random numbers."""
    return Chain((random(inputs, hidden, seed=1), random(hidden, seed=2), random(hidden, outputs, seed=3), random(outputs, seed=4)), [])


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


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@pytest.mark.parametrize("inputs", [CHUNK_INPUTS + 1, 2 * CHUNK_INPUTS, 2 * CHUNK_INPUTS + 7, 3 * CHUNK_INPUTS])
@pytest.mark.parametrize("columns", [5, 37, 96])
def test_many_inputs_come_in_chunks(vectors: Vectors, inputs: int, columns: int) -> None:
    """The steps run once, whether one block or several make a panel, for whole and for ragged panels."""
    weight, bias, x = random(inputs, columns), random(columns, seed=1), random(45, inputs, seed=2)
    body = one_product(vectors, weight, bias, 2, 40)
    exact = x.astype(np.float64) @ weight + bias
    for rows in (1, 2, 5, 6, 7, 12, 13, 14, 15, 25, 40, 41, 45):
        y = np.full((rows + 1, columns), np.nan, np.float32)
        run(body, [x, y], rows)
        assert np.isnan(y[rows]).all()
        np.testing.assert_allclose(y[:rows], exact[:rows], rtol=1e-3, atol=1e-3)


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@pytest.mark.parametrize(("inputs", "columns"), [(1030, 70), (1030, 64), (50, 160)], ids=["ragged", "whole", "one-chunk"])
@pytest.mark.parametrize("share", [0.7, 4], ids=["large", "huge"])
@pytest.mark.parametrize("width", [1, 2])
def test_lines_of_a_large_weight_are_asked_for_ahead(vectors: Vectors, inputs: int, columns: int, share: float, width: int) -> None:
    """The loop that asks for lines computes what the other one does, for any number of blocks."""
    weight, bias, x = random(inputs, columns), random(columns, seed=1), random(60, inputs, seed=2)
    body = one_product(vectors, weight, bias, width, 60, second_cache(weight.nbytes / share))
    exact = x.astype(np.float64) @ weight + bias
    for rows in (1, 6, 7, 14, 15, 23, 60):
        y = np.full((rows, columns), np.nan, np.float32)
        run(body, [x, y], rows)
        np.testing.assert_allclose(y, exact[:rows], rtol=1e-3, atol=1e-3)


PREFETCH = b"\x0f\x18"


@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("products", "tile", "width", "share", "asks"),
    [(1, 60, 2, 0.6, True), (1, 60, 2, 0.4, False), (2, 60, 2, 0.3, True), (1, 6, 2, 4, False), (1, 9, 1, 4, True), (1, 9, 1, 0.9, False)],
    ids=["large", "small", "two-small", "one-low-block", "one-high-block", "one-high-block-large"],
)
def test_lines_are_asked_for_by_the_second_cache(vectors: Vectors, products: int, tile: int, width: int, share: float, asks: bool) -> None:
    """Beyond half of it by one of several blocks, beyond all of it by one of AHEAD_ROWS; the weights of a body count together."""
    views = rows_of(Argument(0), 64), rows_of(Arena(64), 64)
    stages = (Product(Shape(64, 64, width, ("add",)), 1 << 40, (1 << 41,), *views),) * products
    code = code_of_plan(vectors, BodyPlan(stages, (4 * 64,), tile, 1 << 42), caches=second_cache(4 * 64 * 64 / share))
    assert (PREFETCH in code) is asks


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 70),
    tile=st.integers(1, 70),
    inputs=st.integers(1, 70),
    columns=st.integers(1, 150),
    width=st.integers(1, 4),
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=3),
)
def test_any_product_is_right(vectors: Vectors, rows: int, tile: int, inputs: int, columns: int, width: int, steps: list[str]) -> None:
    """For any sizes and steps, within what rounding explains, next to pages that may not be touched."""
    x, weight = numbers(rows, inputs), random(inputs, columns, seed=1)
    operands = [numbers(*(() if step == "leaky_relu" else (columns,)), seed=2) for step in steps if STEPS[step]]
    for operand in operands:
        operand[...] = operand if operand.ndim else 0.1
    y, packed = guarded(np.full((rows, columns), np.nan, np.float32)), pack(weight, width, vectors)
    views = rows_of(Argument(0), inputs), rows_of(Argument(1), columns)
    product = Product(Shape(inputs, columns, width, tuple(steps)), address(packed), tuple(map(address, operands)), *views)
    assert run(Body(vectors, BodyPlan((product,), (4 * inputs, 4 * columns), tile)), [x, y], rows) == DONE
    exact = expected_of(x.astype(np.float64) @ weight, steps, operands)
    allowed = (inputs + 4) * 2.0**-24 * (np.abs(x).astype(np.float64) @ np.abs(weight) + 4)
    assert (np.abs(y - exact) <= allowed).all()


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@pytest.mark.parametrize("step", ["maximum", "relu", "leaky_relu"])
def test_nan_and_infinity_are_those_of_numpy(vectors: Vectors, step: str) -> None:
    """A NaN stays one, an infinity too, and so do both zeros."""
    x = np.array([[np.nan], [np.inf], [-np.inf], [0.0], [-0.0], [1.0], [-1.0]], np.float32)
    columns = vectors.lanes + 3
    operand = np.full(columns, 0.5, np.float32) if step == "maximum" else np.array(0.5, np.float32)
    y, packed = np.empty((7, columns), np.float32), pack(np.ones((1, columns), np.float32), 1, vectors)
    addresses = (address(operand),) if STEPS[step] else ()
    product = Product(Shape(1, columns, 1, (step,)), address(packed), addresses, rows_of(Argument(0), 1), rows_of(Argument(1), columns))
    run(Body(vectors, BodyPlan((product,), (4, 4 * columns), 7)), [x, y], 7)
    column = expected_of(x.astype(np.float64), [step], [operand[:1] if step == "maximum" else operand])
    np.testing.assert_array_equal(y, np.repeat(column, columns, axis=1))


@pytest.mark.parametrize("most", range(1, 29))
def test_every_height_has_a_routine(most: int) -> None:
    """Whatever number of rows comes is cut into heights that were foreseen."""
    foreseen = heights_of(most, most + 1, 10**9)
    for rows in [*range(most + 1, 2000), 10**9 - 1, 10**9]:
        for _, height in split_rows(rows, most):
            assert height in foreseen


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
@pytest.mark.parametrize("tile", [1, 16, 200])
def test_what_lies_between_products_is_in_the_arena(vectors: Vectors, tile: int) -> None:
    """Tile after tile, each in the same memory."""
    made, arena = chain_of(20, 70, 13), np.zeros(16 + tile * 70, np.float32)
    body = Body(vectors, made.plan(vectors, 2, tile, [arena]))
    for rows in (1, 2, 15, 16, 17, 33, 100):
        made.check(body, rows)


@needs_code
@pytest.mark.parametrize("vectors", HERE, ids=lambda each: each.name)
def test_views_may_be_columns_of_a_wider_array(vectors: Vectors) -> None:
    """A product reads some columns of its rows and writes others; what is beside them stays."""
    weight, wide = random(20, 13), random(50, 31, seed=1)
    packed = pack(weight, 1, vectors)
    product = Product(Shape(20, 13, 1, ()), address(packed), (), View(Argument(0), 4 * 31, 4 * 7), View(Argument(1), 4 * 29, 4 * 3))
    body = Body(vectors, BodyPlan((product,), (4 * 31, 4 * 29), 16))
    for rows in (1, 15, 16, 17, 50):
        y = np.full((rows, 29), 7, np.float32)
        run(body, [wide, y], rows)
        np.testing.assert_allclose(y[:, 3:16], wide[:rows, 7:27].astype(np.float64) @ weight, rtol=1e-4, atol=1e-4)
        assert (np.delete(y, np.s_[3:16], axis=1) == 7).all()


@needs_code
@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "team"])
def test_an_arena_may_be_far_away(is_shared: bool) -> None:  # a parameter of a test
    """An offset of more than 31 bits is added as one of fewer is."""
    values, far = np.ones((40, 3), np.float32), 3 << 30
    team = Team(3) if is_shared else None
    for offset, rows in ((far, 30), (12, 20)):
        stage = Double(View(Arena(offset), 12, 4))
        run(Body(HERE[0], BodyPlan((stage,), (), 40, address(values) - offset, alone_rows=0), team=team), [], rows)
    assert values[:, 1].tolist() == [4] * 20 + [2] * 10 + [1] * 10


@needs_code
def test_a_call_may_bring_several_arrays() -> None:
    """Two products with inputs and outputs of their own: each array has its own stride from tile to tile."""
    weights = [random(20, 13), random(9, 33, seed=1)]
    packed = [pack(weight, 2, HERE[0]) for weight in weights]
    places = [rows_of(Argument(2 * index + at), weight.shape[at]) for index, weight in enumerate(weights) for at in (0, 1)]
    stages = tuple(
        Product(Shape(weight.shape[0], weight.shape[1], 2, ()), address(packed[index]), (), places[2 * index], places[2 * index + 1])
        for index, weight in enumerate(weights)
    )
    strides = tuple(place.stride_bytes for place in places)
    body = Body(HERE[0], BodyPlan(stages, strides, 16))
    for rows in (1, 16, 40):
        x, z = random(rows, 20, seed=2), random(rows, 9, seed=3)
        y, w = np.zeros((rows, 13), np.float32), np.zeros((rows, 33), np.float32)
        run(body, [x, y, z, w], rows)
        np.testing.assert_allclose(y, x.astype(np.float64) @ weights[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(w, z.astype(np.float64) @ weights[1], rtol=1e-4, atol=1e-4)


# --- teams --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Double:
    """A stage that doubles one column of the rows: the simplest one that is not a product."""

    view: View

    def emit(self, writer: Writer) -> None:
        """Put the code."""
        a, again = writer.a, Label()
        writer.address(RSI, self.view)
        writer.rows(RCX)
        a.put(again)
        a.load32(RAX, Mem(RSI))
        a.add_number(RAX, 1 << 23)  # one more in the exponent
        a.store32(Mem(RSI), RAX)
        a.add_number(RSI, self.view.stride_bytes)
        a.sub_number(RCX, 1)
        a.jump_if("ne", again)


@needs_code
@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("tile", [1, 4, 16, 64])
@pytest.mark.parametrize("sizes", [(20, 300, 13), (20, 16, 300), (3, 1, 1)], ids=str)
def test_a_team_shares_each_stage(threads: int, tile: int, sizes: tuple[int, int, int]) -> None:
    """More threads than panels, than rows, than cores: every number is computed once, before somebody reads it."""
    made, arena, team = chain_of(*sizes), np.zeros(16 + tile * sizes[1], np.float32), Team(threads)
    for alone_rows in (0, 10):
        body = Body(HERE[0], made.plan(HERE[0], 1, tile, [arena], alone_rows), team=team)
        for rows in (1, 2, 3, 10, 64, 100):
            before = int(team.shared["job"])
            made.check(body, rows)
            assert int(team.shared["job"]) - before == (rows > alone_rows)


@needs_code
@pytest.mark.parametrize("base", ["fixed", "arena", "argument"])
def test_a_team_shares_the_rows_of_other_stages(base: str) -> None:
    """Each row is met once, wherever a value lies."""
    values = np.zeros((40, 3), np.float32)
    where: dict[str, int | Arena | Argument] = {"fixed": address(values), "arena": Arena(0), "argument": Argument(0)}
    stage = Double(View(where[base], 12, 4))
    body = Body(HERE[0], BodyPlan((stage, stage), (12,), 40, address(values), alone_rows=0), team=Team(3))
    for rows in (1, 2, 3, 17, 40):
        values[:] = 1
        run(body, [values], rows)
        assert (values[:rows, 1] == 4).all()
        assert (values[rows:] == 1).all()
        assert (values[:, ::2] == 1).all()


@needs_code
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("tile", [1, 4, 16])
@pytest.mark.parametrize("alone_rows", [0, 1, 20])
def test_a_team_shares_rows(threads: int, tile: int, alone_rows: int) -> None:
    """Each thread has rows and room of its own, or none; few rows are computed by the calling thread alone."""
    made = chain_of(20, 70, 13)
    arenas = [np.zeros(16 + tile * 70, np.float32) for _ in range(threads)]
    team = Team(threads)
    body = Body(HERE[0], made.plan(HERE[0], 2, tile, arenas, alone_rows), team=team)
    for rows in (1, 2, 3, 20, 21, 101) * 2:
        before = int(team.shared["job"])
        made.check(body, rows)
        assert int(team.shared["job"]) - before == (rows > alone_rows)


@needs_code
@pytest.mark.parametrize("is_by_rows", [True, False], ids=["rows", "stages"])
@pytest.mark.parametrize("is_noticed", [True, False], ids=["closed", "died"])
def test_a_closed_team_is_what_a_body_returns(is_by_rows: bool, is_noticed: bool) -> None:  # a parameter of a test
    """Whether the team is closed before the call or turns out to be: the call returns, and the next one at once."""
    made, team = chain_of(20, 70, 13), Team(2)
    arenas = [np.zeros(16 + 16 * 70, np.float32) for _ in range(2 if is_by_rows else 1)]
    body = Body(HERE[0], made.plan(HERE[0], 2, 16, arenas), team=team)
    made.check(body, 40)
    team._close()
    for helper in team._helpers:
        helper.join(60)
        assert not helper.is_alive()
    team.shared["stop"] = is_noticed
    x, y = random(40, 20), np.zeros((40, 13), np.float32)
    assert run(body, [x, y], 40) == CLOSED
    assert team.shared["stop"] == 1
    assert run(body, [x, y], 1) == CLOSED
    with pytest.raises(CrewError, match="the threads of this runner have ended"):
        team.check()


def team_threads() -> set[threading.Thread]:
    """Return the threads of all teams."""
    return {each for each in threading.enumerate() if each.name == "mlbench-team"}


def are_asleep(team: Team) -> bool:
    """Whether every thread but the calling one sleeps."""
    return bool(team.shared["lines"]["asleep"][1:].all())


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when something is so, which may take a moment."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@needs_code
def test_a_team_sleeps_wakes_and_ends() -> None:
    """After a pause longer than it watches, a call wakes it; when nobody holds it, its threads end."""
    before, made, arena = team_threads(), chain_of(20, 70, 13), np.zeros(16 + 40 * 70, np.float32)
    team = Team(3)
    mine = team_threads() - before
    body = Body(HERE[0], made.plan(HERE[0], 1, 40, [arena]), team=team)
    for _ in range(3):
        made.check(body, 40)
        wait_until(partial(are_asleep, team))
    assert len(mine) == 2
    del team, body
    gc.collect()
    wait_until(lambda: not mine & team_threads())


@needs_code
def test_a_team_works_on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer cores than threads nobody watches, and the answer is right."""
    monkeypatch.setattr("mlbench.compiler.x86.team.threads.os.sched_getaffinity", lambda _: {0})
    made, arena, team = chain_of(20, 70, 13), np.zeros(16 + 40 * 70, np.float32), Team(3)
    assert team.looks == 1
    body = Body(HERE[0], made.plan(HERE[0], 1, 40, [arena]), team=team)
    for rows in range(2, 42):
        made.check(body, rows)


@needs_code
def test_a_thread_stays_on_the_cores_that_it_may_use() -> None:
    """A team obeys a change of the cores of one of its threads, on the core of the calling thread too."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        pytest.skip("needs two cores")
    before, made, arena = team_threads(), chain_of(20, 70, 13), np.zeros(16 + 40 * 70, np.float32)
    team = Team(2)
    (thread,) = team_threads() - before
    body = Body(HERE[0], made.plan(HERE[0], 1, 40, [arena]), team=team)
    assert thread.native_id is not None
    try:
        for mine in (max(cores), min(cores)):
            os.sched_setaffinity(0, {mine})
            for allowed in ({mine}, cores, cores - {mine}):
                os.sched_setaffinity(thread.native_id, allowed)
                for _ in range(3):
                    made.check(body, 40)
                    assert os.sched_getaffinity(thread.native_id) == allowed
    finally:
        os.sched_setaffinity(0, cores)


@needs_code
def test_numbers_of_jobs_may_pass_their_end() -> None:
    """Counters have 32 bits: a team works on when they begin anew."""
    made, arena, team = chain_of(20, 70, 13), np.zeros(16 + 40 * 70, np.float32), Team(2)
    body = Body(HERE[0], made.plan(HERE[0], 1, 40, [arena]), team=team)
    made.check(body, 40)
    done = team.shared["lines"]["done"]
    done[:] = 2**32 - 3
    for _ in range(5):
        made.check(body, 40)
    assert done[0] == done[1] < 100


@needs_code
def test_a_body_keeps_what_its_code_needs() -> None:
    """What the code has the address of lives as long as the body, and no longer."""
    weight, bias = np.ones((3, 4), np.float32), np.zeros(4, np.float32)
    body, kept = one_product(HERE[0], weight, bias, 1, 8), weakref.ref(bias)
    del bias
    gc.collect()
    assert kept() is not None
    del body
    assert kept() is None


GIGABYTES = [(64, 2**16, 2**14), (64, 2**18, 2**12), (1, 2**20, 2**20), (2**22, 2**10, 1), (2**30, 1, 9)]
"""Rows, inputs and columns."""


@needs_code
@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
@pytest.mark.parametrize(("rows", "inputs", "columns"), GIGABYTES)
def test_distances_of_gigabytes_have_code(vectors: Vectors, rows: int, inputs: int, columns: int) -> None:
    """Weights, tiles and arenas of gigabytes have code, on one thread and on a team; nobody runs it here."""
    views = rows_of(Arena(3 << 30), inputs), rows_of(Argument(0), columns)
    stages = (Product(Shape(inputs, columns, 2, ("add",)), 1 << 40, (1 << 41,), *views),)
    for others in ((), (1 << 43,)):
        plan = BodyPlan(stages, (4 * columns,), rows, 1 << 42, others)
        assert code_of_plan(vectors, plan)
        assert code_of_plan(vectors, plan, Team(2), 1 << 44)


@needs_code
def test_a_teams_code_does_not_grow_with_its_threads() -> None:
    """The blocks are there once, and what each thread has of its own is short."""
    made = chain_of(256, 256, 256)
    arenas = [np.zeros(16 + 64 * 256, np.float32) for _ in range(4)]
    alone = Body(HERE[0], made.plan(HERE[0], 2, 64, arenas[:1])).size_bytes
    by_rows = Body(HERE[0], made.plan(HERE[0], 2, 64, arenas), team=Team(4)).size_bytes
    by_stages = Body(HERE[0], made.plan(HERE[0], 2, 64, arenas[:1]), team=Team(4)).size_bytes
    assert by_rows < alone + 2048
    assert by_stages < 2 * alone


def test_few_rows_are_those_of_little_work() -> None:
    """A small chain has some rows that a team would only delay, and a large one has none; more threads gain more."""
    assert few_rows(2 * (64 * 64 + 64 * 10), 2) == 7
    assert few_rows(2 * (64 * 64 + 64 * 10), 16) == 4
    assert few_rows(2 * 256 * 256, 2) == 0
