"""The listing of a block: each instruction has its bytes and its meaning, which the arithmetic of the block confirms."""

from __future__ import annotations

import re
import sys

import pytest

from mlbench.compiler.pipeline import compile_graph, passes_named
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import AVX512, find
from mlbench.models import mlp
from mlbench.results.listing import Listing
from mlbench.runtime import OptimizedRunner
from mlbench.studies.explain.listings import executed, listings_of
from mlbench.studies.explain.sweep_code import NUMBERS, sweep_listings
from support.branched import RESIDUAL, WIDTH
from support.exhaustive import tries
from support.graphs import random_graph


def program() -> Program:
    """Return an MLP whose second product has a ragged last vector."""
    return compile_graph(mlp(20, 24, 10).graph(), 40).program


@pytest.fixture
def listings() -> tuple[Listing, ...]:
    """The blocks of its products, where this machine runs generated code."""
    pytest.importorskip("capstone", reason="needs the extra 'report'")
    if find()[0] is None:
        pytest.skip("needs a machine that generated code runs on")
    return listings_of(program())[0]


def test_a_block_stores_every_element_once(listings: tuple[Listing, ...]) -> None:
    """The stores name each row with the same columns, one after the other, and no place twice."""
    for listing in listings:
        stored = [each.what.removeprefix("store the result of ") for each in listing.instructions if each.what.startswith("store")]
        rows = {each.partition(", ")[0] for each in stored}
        columns = {each.partition(", ")[2] for each in stored}
        assert len(stored) == len(set(stored)) == len(rows) * len(columns)
        assert listing.title.partition(": ")[2].startswith(f"{len(rows)} rows by ")


def test_the_last_vector_ends_with_the_result(listings: tuple[Listing, ...]) -> None:
    """Of 10 columns no store reaches beyond column 9."""
    last = listings[1]
    assert max(int(each) for row in last.instructions for each in re.findall(r"columns \d+ to (\d+)", row.what)) == 9


def test_every_product_is_of_one_k(listings: tuple[Listing, ...]) -> None:
    """What is multiplied belongs to one k, and to the row of the sum that it is added to."""
    for listing in listings:
        fused = [each.what for each in listing.instructions if each.text.startswith("vfmadd")]
        assert fused
        for what in fused:
            assert len(set(re.findall(r"k \+ \d+", what))) == 1
            row = re.search(r"^row (\d+)", what)
            assert row is None or f"[row {row[1]}, " in what


def test_the_bias_has_its_name(listings: tuple[Listing, ...]) -> None:
    """What a step reads is called by its constant."""
    assert any("b0[columns" in each.what for each in listings[0].instructions)


def test_the_loop_is_where_the_jump_goes(listings: tuple[Listing, ...]) -> None:
    """It ends with the jump back to its first instruction."""
    listing = listings[0]
    first, end = listing.loop
    assert listing.instructions[end - 1].text == f"jne {listing.instructions[first].offset:#x}"


def test_the_bytes_are_whole(listings: tuple[Listing, ...]) -> None:
    """Each instruction begins where the one before it ended."""
    place = 0
    for each in listings[0].instructions:
        assert each.offset == place
        place += len(bytes.fromhex(each.code))


def test_without_generated_code_there_is_a_reason() -> None:
    """A program that NumPy runs has no listing."""
    found = listings_of(compile_graph(mlp(20, 24, 10).graph(), 40, passes_named(["fuse"])).program)
    assert found[0] == ()
    assert found[1] != ""


def test_without_a_disassembler_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is missing is named."""
    if find()[0] is None:
        pytest.skip("needs a machine that generated code runs on")

    monkeypatch.setitem(sys.modules, "capstone", None)
    assert "install capstone" in listings_of(program())[1]


def test_a_call_is_counted_exactly() -> None:
    """The multiply-adds of a call are the arithmetic of its products; what NumPy runs is not counted."""
    pytest.importorskip("capstone", reason="needs the extra 'report'")
    vectors, why = find()
    if vectors is None:
        pytest.skip(why)
    model = mlp(64, 32, 16)
    told = " ".join(executed(OptimizedRunner(model, 16), 16))
    assert f"{16 * (64 * 32 + 32 * 16) // vectors.lanes:,} of them multiply-adds" in told
    assert executed(OptimizedRunner(model, 16, passes=["fuse", "static"]), 16) == ()


# --- sweeps ----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("listings")
def test_products_of_one_code_share_a_listing() -> None:
    """Of two layers of one shape the first has the listing, which names the other; the last one has no ReLU and its own."""
    (first, _), _ = listings_of(compile_graph(mlp(16, (16, 16), 16).graph(), 40).program)
    assert (first.value, first.alike) == ("v2", ("v5",))


@pytest.mark.usefixtures("listings")
def test_a_row_of_a_sweep_reads_and_writes_by_name() -> None:
    """A residual sum of six columns loads both values and stores their sum, in one masked vector and without a loop."""
    (sweep,) = (each for each in listings_of(compile_graph(RESIDUAL, 40).program)[0] if each.over != "k")
    assert sweep.title == f"y: add_values, one row of {WIDTH} columns"
    told = [each.what for each in sweep.instructions]
    assert {f"load x[row, c to c + {WIDTH - 1}]", f"load s1[row, c to c + {WIDTH - 1}]"} <= set(told)
    assert f"store t1 as y[row, c to c + {WIDTH - 1}]" in told
    assert sweep.loop == (0, 0)


@pytest.mark.usefixtures("listings")
@pytest.mark.parametrize("seed", range(tries(6, 200)))
def test_every_value_of_generated_code_is_listed(seed: int) -> None:
    """In graphs of any ops each output that generated code computes has a listing, and all that is read or stored has a name."""
    program = compile_graph(random_graph(seed)[0], 40).program
    found, _ = listings_of(program)
    wide = sweep_listings(program, AVX512, pytest.importorskip("capstone"))  # code that this machine need not run
    assert [each.title for each in wide] == [each.title for each in found if each.over != "k"] or find()[0] is AVX512
    found += wide
    named = {name for each in found for alike in (each.value, *each.alike) for name in alike.split(", ")}
    made = {node.output for node in program.graph.nodes if program.of(node).is_generated}
    copied = {node.output for node in program.graph.nodes if node.op in ("gather", "concat")}  # rows of a table, and what is there already
    assert (made & set(program.graph.outputs)) - copied <= named <= made
    known = {NUMBERS, *program.graph.inputs, *program.graph.constants, *made, *(node.output for node in program.graph.nodes)}
    assert {name for each in found for line in each.instructions for name in re.findall(r"(\w+)\[", line.what)} <= known


@pytest.mark.usefixtures("listings")
def test_what_is_too_much_is_left_out_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listings end where the page would be too large, and the values of the others are named."""
    monkeypatch.setattr("mlbench.studies.explain.listings.MOST_INSTRUCTIONS", 200)
    found, why = listings_of(program())
    assert len(found) == 1
    assert why.endswith("are left out")
