"""What the record of an explanation says: states, counts, values on their way, questions, and subsets of the passes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlbench.cli import main
from mlbench.compiler.memory.traffic import Traffic, arrays_of, traffic_of
from mlbench.compiler.pipeline import PASSES, compile_graph, passes_named
from mlbench.errors import FileError
from mlbench.measure import has_memray
from mlbench.models import mlp
from mlbench.results.explanation import EXPLANATION_FILE
from mlbench.results.storage import read, write
from mlbench.runtime import BaselineRunner
from mlbench.studies.cases import mlp_cell
from mlbench.studies.explain import explain
from mlbench.studies.explain.counts import calls_of, counts_of
from support.explanations import MEASURE, explanation, run_of
from support.programs import program_of

FLOAT = 4


def test_the_first_state_is_the_graph_as_written() -> None:
    """It has a node for each operation, and a call makes an array for each."""
    first = explanation().states[0]
    assert [node.op for node in first.nodes] == ["matmul", "add", "relu", "matmul", "add", "relu", "matmul", "add"]
    assert (first.arrays, first.is_static, first.facts) == (8, False, ())


def test_every_pass_is_a_step() -> None:
    """The steps are the passes in the order in which they run."""
    assert [step.name for step in explanation().steps] == [each.name for each in PASSES]


def test_a_step_that_changes_nothing_keeps_its_state() -> None:
    """Its number is that of the step before, and it says why."""
    found = explanation()
    numbers = [0, *(step.state for step in found.steps)]
    for before, step in zip(numbers[:-1], found.steps, strict=True):
        assert (before == step.state) == step.is_idle
        assert bool(step.idle_reason) == step.is_idle


def test_the_buffers_of_a_state_are_those_of_the_plan() -> None:
    """The arena ends where the last buffer ends, and no buffer is smaller than its value."""
    last = explanation().states[explanation().steps[-1].state]
    assert last.arena_bytes == max(each.offset_bytes + each.size_bytes for each in last.buffers)
    assert last.arena_bytes >= last.lower_bound_bytes


# --- what a call moves and counts ----------------------------------------------------------------------------------------


def test_a_product_reads_its_value_and_its_weight() -> None:
    """Of 8 rows: 8 x 4 numbers and the 4 x 6 weight are read, 8 x 6 are written."""
    program = program_of(mlp(4, 6, 2).graph(), 8)
    assert traffic_of(program, program.graph.nodes[0]) == Traffic(FLOAT * (8 * 4 + 4 * 6), FLOAT * 8 * 6)


def test_a_tile_reads_the_weight_again() -> None:
    """Of two tiles the weight is read twice, and the rows once each."""
    program = program_of(mlp(4, 6, 2).graph(), 8, tile_rows=4)
    assert traffic_of(program, program.graph.nodes[0]).read_bytes == FLOAT * (8 * 4 + 2 * 4 * 6)


def test_an_epilogue_of_numpys_moves_the_result_again() -> None:
    """A bias and a ReLU behind a product read and write it twice more."""
    program = compile_graph(mlp(4, 6, 2).graph(), 8, passes_named(["fuse"])).program
    moved = traffic_of(program, program.graph.nodes[0])
    assert moved == Traffic(FLOAT * (8 * 4 + 4 * 6 + 6 + 2 * 8 * 6), FLOAT * 3 * 8 * 6)


def test_static_buffers_make_no_arrays() -> None:
    """Without them a call makes one for each value."""
    graph = mlp(4, 6, 2).graph()
    assert arrays_of(program_of(graph, 8)) == 5
    assert arrays_of(compile_graph(graph, 8, passes_named(["static"])).program) == 0


def test_calls_are_those_of_functions_and_operators() -> None:
    """The eager runner of Linear, ReLU, Linear makes five, and asks nothing else."""
    runner, x = BaselineRunner(mlp(4, 6, 2)), np.ones((3, 4), np.float32)
    assert calls_of(lambda: runner.run(x)) == 5


def test_counting_leaves_a_debugger_in_place() -> None:
    """A tracer that was there is there again, after an error too."""

    def tracer(*_: object) -> None:
        return None

    def fail() -> None:
        raise ZeroDivisionError

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with pytest.raises(ZeroDivisionError):
            calls_of(fail)
        kept = sys.gettrace()
    finally:
        sys.settrace(before)
    assert kept is tracer


@pytest.mark.skipif(not has_memray(), reason="needs memray")
def test_an_eager_call_holds_what_it_allocates() -> None:
    """Nothing is held between calls, and the peak has the largest two values at least."""
    found = counts_of(BaselineRunner(mlp(4, 512, 2)), (np.ones((64, 4), np.float32),))
    assert found.held_bytes == 0
    assert found.peak_bytes >= 2 * FLOAT * 64 * 512


def test_a_compiled_call_allocates_nothing() -> None:
    """After the last step no allocation is counted, and the arena is held."""
    last = explanation().steps[-1]
    assert last.counts is not None
    assert last.counts.allocations in (0, None)
    assert last.counts.held_bytes >= explanation().states[last.state].arena_bytes


# --- values on their way -------------------------------------------------------------------------------------------------


def test_both_runners_show_the_same_numbers() -> None:
    """A value of one name has the same numbers in another place, up to rounding."""
    flow = explanation().flow
    eager = {each.name: each for each in flow.eager}
    for each in flow.compiled:
        expected, found = (np.array(shown.rows, float) for shown in (eager[each.name], each))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)
        assert each.place != eager[each.name].place


def test_the_errors_are_within_what_rounding_explains() -> None:
    """The distance of both results from float64 is below the tolerance."""
    flow = explanation().flow
    assert max(float(flow.eager_error), float(flow.compiled_error)) <= float(flow.tolerance)


def test_a_value_whose_bias_moved_on_has_no_error() -> None:
    """Where the bias of a hidden layer moved into the next one the value of that name is another one."""
    found = explain(mlp_cell(2, (64,), outputs=64), ["fold_bias"], measure=MEASURE).flow
    errors = {each.name: each.error for each in found.compiled}
    assert errors["v1"] == ""
    assert errors["v4"] != ""


# --- questions and subsets ------------------------------------------------------------------------------------------------


def test_a_question_has_the_right_answer() -> None:
    """Fusion changes an MLP; static buffers end the making of arrays; a small batch has no smaller arena from tiles."""
    questions = {step.name: step.question for step in explanation().steps}
    answers = {name: each.choices[each.right] for name, each in questions.items()}
    assert {name: answers[name] for name in ("fuse", "static", "tile", "widen")} == {
        "fuse": "yes", "static": "yes", "tile": "the same", "widen": "no",
    }  # fmt: skip


def test_no_question_gives_the_answer_away() -> None:
    """The question has none of the figures of the answer."""
    assert all(each.question.why not in each.question.text for each in explanation().steps)


def test_every_subset_has_its_state() -> None:
    """No pass is the graph as written, all passes are the last step, and there is one state for each subset."""
    found = explanation()
    assert found.switches is not None
    assert len(found.switches.states) == 2 ** len(found.switches.names)
    assert found.switches.states[0] == 0
    assert found.switches.states[-1] == found.steps[-1].state


def test_a_subset_is_what_the_compiler_makes_of_it() -> None:
    """Fusion alone leaves a node for each Linear, and no arena."""
    switches, states = explanation().switches, explanation().states
    assert switches is not None
    alone = states[switches.states[1 << switches.names.index("fuse")]]
    assert ([node.op for node in alone.nodes], alone.is_static) == (["matmul"] * 3, False)


def test_a_large_network_has_the_telling_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of many nodes is switched itself: no pass, all, all but one, one alone, and each prefix, as the compiler makes them."""
    monkeypatch.setattr("mlbench.studies.explain.switches.MOST_NODES", 0)
    found = explain(mlp_cell(8, (16, 12)), measure=MEASURE)
    switches, every = found.switches, explanation().switches
    assert switches is not None
    assert every is not None
    all_of_them = 2 ** len(switches.names) - 1
    bits = [1 << bit for bit in range(len(switches.names))]
    wanted = {0, all_of_them, *bits, *(all_of_them - bit for bit in bits), *(bit - 1 for bit in bits)}
    assert wanted <= set(switches.subsets)
    assert (switches.network, len(switches.subsets)) == (every.network, len(set(switches.subsets)))
    for subset, state in zip(switches.subsets, switches.states, strict=True):
        assert found.states[state] == explanation().states[every.states[subset]]


def test_a_subset_of_passes_that_are_not_there_is_refused(tmp_path: Path) -> None:
    """A file whose subset has a bit of no pass is not read."""
    found = explanation()
    assert found.switches is not None
    wrong = replace(found, switches=replace(found.switches, states=(0,), subsets=(2 ** len(found.switches.names),)))
    with pytest.raises(FileError, match="found subset"):
        read(write(run_of(wrong), tmp_path / "a.json", EXPLANATION_FILE), EXPLANATION_FILE)


# --- the file and the command ---------------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    """A run survives its file."""
    run = run_of(explanation())
    assert read(write(run, tmp_path / "a.json", EXPLANATION_FILE), EXPLANATION_FILE) == run


def test_a_state_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A file whose step names no state is not read."""
    found = explanation()
    wrong = replace(found, steps=(replace(found.steps[0], state=999), *found.steps[1:]))
    with pytest.raises(FileError, match="found state 999; expected one of"):
        read(write(run_of(wrong), tmp_path / "a.json", EXPLANATION_FILE), EXPLANATION_FILE)


def test_the_terminal_gives_reasons_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each pass has what it did and what it refused, and a call of both runners is counted."""
    assert main(["explain", "--batch", "4", "--hidden", "8", "--passes", "fuse,in_place"]) == 0
    printed = capsys.readouterr().out
    assert "done: v1, v2, v4: of v0, v1, v3 each is read by nobody else" in printed
    assert "  Changed nothing: in_place.\n    in_place: v2, v4: a matrix product reads each" in printed
    assert "fuse: nodes are gone, and a call moves as many bytes." in printed
    assert "the eager runner: 5 calls from Python" in printed
    assert "What a call moves, at least" in printed


def test_measuring_chooses_the_passes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """--measure with --passes is refused before anything is measured."""
    assert main(["explain", "--measure", "--passes", "fuse"]) == 2
    assert "--measure switches optimisations itself" in capsys.readouterr().err
