"""Tables and the summary, from measurements made by hand; nothing here was timed."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import pytest

from mlbench.measure import Environment, Footprint
from mlbench.measure.stats import Interval
from mlbench.report import Table, progress, render, summary, sweep_speedup, tables
from mlbench.report.doubts import doubt_lines
from mlbench.report.tables.cases import latency_table, memory_table, reference_table
from mlbench.report.terminal import render_plain
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, StaticBytes, Timing, time_of
from mlbench.results.pairs import Pair, pairs, reduction

KB = 1024
ENVIRONMENT = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
SMALL = Table("Two cells", ("cell", "time", "ratio"), (("b1-h8", "1.50 us", "2.00x"), ("b512-h256", "12.3 ms", "-")), ("A note.",))


def interval(estimate: float, low: float | None = None, high: float | None = None) -> Interval:
    """Return an interval of five processes."""
    return Interval(estimate, low or estimate, high or estimate, 0.95, 5, 75)


def baseline(cell: str = "b8-h64", median_s: float = 4e-05, peak_bytes: int = 8 * KB, **more: Any) -> Measurement:
    """Return a baseline: 40 us, 8 KB in 5 allocations, without page faults."""
    given: dict[str, Any] = {
        "case": {"id": f"baseline-{cell}", "cell": cell, "runner": "baseline", "model": "mlp", "batch": 8},
        "footprint": Footprint(peak_bytes, 5, "memray"),
        "timing": Timing(median_s, 1.5, 2000, 0.0, ((median_s,),) * 5),
        "ratios": {"floor_ratio": interval(2.5)},
    }
    return Measurement(**given | more)


def optimized(cell: str = "b8-h64", median_s: float = 2e-05, speedup: float = 2.0, **more: Any) -> Measurement:
    """Return an optimized runner: 20 us, 2 KB of arena, nothing in the call."""
    given: dict[str, Any] = {
        "case": {"id": f"optimized-{cell}", "cell": cell, "runner": "optimized", "model": "mlp", "batch": 8},
        "footprint": Footprint(0, 0, "memray"),
        "static": StaticBytes(arena=2 * KB, staging_if_needed=KB, weight_copies=512),
        "timing": Timing(median_s, 1.25, 2000, 0.0, ((median_s,),) * 5),
        "ratios": {"floor_ratio": interval(1.25), "speedup": interval(speedup, speedup - 0.25, speedup + 0.25)},
    }
    return Measurement(**given | more)


def digits(measured: Measurement) -> Measurement:
    """Return the measurement as one of the trained model."""
    cell = "digits-b360"
    return dataclasses.replace(measured, case=measured.case | {"model": "digits", "cell": cell, "batch": 360})


def row(table: Table, index: int = 0) -> dict[str, str]:
    """Return a row of a table by its headers."""
    return dict(zip(table.headers, table.rows[index], strict=True))


def one_line(text: str) -> str:
    """Return the text without its line breaks, which depend on the width."""
    return " ".join(text.split())


def test_plain_rendering_to_the_character() -> None:
    """Without any library: title, aligned columns, text to the left and numbers to the right, a rule, notes."""
    assert render_plain(SMALL) == (
        "Two cells\n\ncell          time  ratio\n---------  -------  -----\nb1-h8      1.50 us  2.00x\nb512-h256  12.3 ms      -\n\nA note."
    )


def test_rendering_without_rich_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rich is absent, a table is drawn all the same."""
    for name in ("rich", "rich.table", "rich.console", "rich.box"):
        monkeypatch.setitem(sys.modules, name, None)
    assert render(SMALL, colour=True) == render_plain(SMALL)


def test_rendering_with_rich_has_every_cell() -> None:
    """With rich a table has the same cells in the same order, and no control characters without colour."""
    drawn = render(SMALL)
    assert "\x1b" not in drawn
    words = [word for word in drawn.split() if set(word) - set("-\u2500")]
    assert words == [word for word in render_plain(SMALL).split() if set(word) - set("-")]


def test_colour_is_only_on_request() -> None:
    """A terminal gets colours when asked for; the cells are the same."""
    assert "\x1b[" in render(SMALL, colour=True)


def test_a_wide_table_is_not_wrapped_into_a_log() -> None:
    """Without a width no row of ordinary tables is cut or wrapped: each cell stands on one line."""
    drawn = render(latency_table(pairs([baseline(), optimized()])))
    assert any(all(cell in line for cell in ("b8-h64", "40.0 us", "1.75x to 2.25x", "1.50 -> 1.25")) for line in drawn.splitlines())


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/nothing]", "test[a-\\[b]]", ":heart:", "case[:x:]"])
@pytest.mark.parametrize("way", ["rich", "plain"])
def test_text_that_looks_like_markup_is_printed_literally(name: str, way: str) -> None:
    """The ids of other people's tests may hold anything; what looks like markup or an emoji code is text."""
    table = Table(f"of {name}", ("cell", f"time of {name}"), ((name, "1 us"),), (f"note on {name}",))
    drawn = render(table) if way == "rich" else render_plain(table)
    assert drawn.count(name) == 4


def test_pairs_are_the_two_runners_of_each_cell() -> None:
    """Runners of one cell come together, whatever stands between them, in the order of the cells."""
    one, other, late = baseline("b1-h8"), baseline("b2-h8"), optimized("b1-h8")
    assert pairs([one, other, late]) == (Pair("b1-h8", one, late), Pair("b2-h8", other, None))


def test_a_callable_of_the_user_is_no_pair() -> None:
    """What is none of our runners is in the table of callables and in no other."""
    mine = Measurement({"id": "test_mine", "cell": "test_mine", "runner": "mine"}, timing=Timing(1e-6, None, 0, None, ((1e-6,),)))
    assert pairs([mine]) == ()
    assert [table.title for table in tables([mine])] == ["Callables"]


def test_no_measurement_is_no_table() -> None:
    """There is no empty table."""
    assert tables([]) == ()
    assert reference_table([baseline()]) is None


def test_the_latency_row() -> None:
    """Median of both, speed-up with its interval, distance to the floor, tail and faults."""
    found = row(latency_table(pairs([baseline(), optimized()])))
    expected = {
        "cell": "b8-h64",
        "baseline": "40.0 us",
        "optimized": "20.0 us",
        "speed-up": "2.00x",
        "95 % interval": "1.75x to 2.25x",
        "kept heap": "-",
        "over products": "-",
        "floor ratio": "1.25x",
        "p99/median": "1.50 -> 1.25",
        "faults/call": "0 -> 0",
    }
    assert expected == found


def test_every_ratio_is_above_1_where_the_compiled_runner_is_faster() -> None:
    """Its time / the products', as a file holds it, is told the other way round, as the speed-up is."""
    ratios = {"speedup": interval(2.0), "products_ratio": interval(0.8)}
    assert row(latency_table(pairs([baseline(), optimized(ratios=ratios)])))["over products"] == "1.25x"


def test_a_time_is_estimated_as_its_ratio_is() -> None:
    """By the geometric mean of the processes' medians, so that the quotient of two times is the speed-up next to them."""
    rounds = ((1e-6, 1e-6, 9e-6), (4e-6,))
    assert time_of(baseline(timing=Timing(1e-6, None, 0, None, rounds))) == pytest.approx(2e-6)
    assert time_of(baseline(timing=Timing(1e-6, None, 0, None, ()))) == 1e-6
    assert time_of(baseline(timing=None)) is None


def test_what_neither_runner_has_is_one_dash() -> None:
    """Without single calls there is no arrow between two dashes."""
    bare = Timing(4e-05, None, 0, None, ((4e-05,),) * 5)
    found = row(latency_table(pairs([baseline(timing=bare), optimized(timing=bare)])))
    assert (found["p99/median"], found["faults/call"]) == ("-", "-")


def test_the_kept_heap_has_a_column() -> None:
    """Where it was measured, the speed-up without page faults stands beside the other."""
    ratios = {"speedup": interval(2.0), "speedup_kept_heap": interval(1.25)}
    assert row(latency_table(pairs([baseline(), optimized(ratios=ratios)])))["kept heap"] == "1.25x"


def test_the_memory_row() -> None:
    """The optimized side counts all it holds, copies of weights too; without them, and with staging, it has columns of its own."""
    found = row(memory_table(pairs([baseline(), optimized()])))
    expected = {
        "cell": "b8-h64",
        "baseline peak": "8.00 KB",
        "optimized": "2.50 KB",
        "reduction": "68.8 %",
        "without copies": "2.00 KB",
        "reduction then": "75.0 %",
        "call": "0 B",
        "static": "2.50 KB",
        "weight copies": "512 B",
        "with staging": "56.2 %",
        "allocations": "5 -> 0",
    }
    assert expected == found


def test_a_missing_runner_shows_dashes() -> None:
    """Half a cell is a row with dashes for what is not there, and no ratio is made up."""
    found = pairs([baseline()])
    latency, memory = row(latency_table(found)), row(memory_table(found))
    assert (latency["baseline"], latency["optimized"], latency["speed-up"]) == ("40.0 us", "-", "-")
    assert latency["p99/median"] == "1.50 -> -"
    assert (memory["baseline peak"], memory["optimized"], memory["reduction"]) == ("8.00 KB", "-", "-")
    assert memory["allocations"] == "5 -> -"


def test_a_row_without_numbers_shows_dashes() -> None:
    """What was interrupted before the first number is a row of dashes that says so."""
    case = {"id": "baseline-b8-h64", "cell": "b8-h64", "runner": "baseline"}
    found = row(latency_table(pairs([Measurement(case, INTERRUPTED)])))
    assert found.pop("cell") == "b8-h64 (interrupted)"
    assert {"-"} == {part for cell in found.values() for part in cell.split(" -> ")}


@pytest.mark.parametrize("which", ["baseline", "optimized"])
def test_an_interrupted_row_says_so(which: str) -> None:
    """If either half was interrupted, both tables say so beside the cell."""
    both = [
        dataclasses.replace(each, status=INTERRUPTED if each.case["runner"] == which else COMPLETE) for each in (baseline(), optimized())
    ]
    for table in tables(both):
        assert row(table)["cell"] == "b8-h64 (interrupted)"


def test_no_reduction_of_nothing() -> None:
    """Where the baseline's peak is 0 bytes there is no share to state."""
    nothing = baseline(peak_bytes=0)
    assert reduction(nothing, optimized(), 0) is None
    assert row(memory_table(pairs([nothing, optimized()])))["reduction"] == "-"


def test_more_memory_is_a_negative_reduction() -> None:
    """A runner that takes more is not hidden: its reduction is below zero."""
    assert row(memory_table(pairs([baseline(peak_bytes=KB), optimized()])))["reduction"] == "-150.0 %"


def test_the_memory_table_names_its_instruments() -> None:
    """Below the table stands what measured it."""
    by_hand = optimized(footprint=Footprint(0, None, "tracemalloc"))
    note = memory_table(pairs([baseline(), by_hand])).notes[0]
    assert note.startswith("Measured by memray and tracemalloc.")
    assert row(memory_table(pairs([baseline(), by_hand])))["allocations"] == "5 -> -"


def test_the_table_of_callables() -> None:
    """A user's callable has its latency, its ratio to the reference, both peaks and counts; interrupted ones say so."""
    case = {"id": "test_mine", "cell": "test_mine", "runner": "mine"}
    mine = Measurement(
        case,
        footprint=Footprint(KB, 2, "memray"),
        reference_footprint=Footprint(4 * KB, 9, "memray"),
        timing=Timing(3e-06, None, 10, 0.0, ((3e-06,),)),
        ratios={"reference_ratio": interval(3.0, 2.5, 3.5)},
    )
    table = reference_table([mine, Measurement(case | {"id": "test_half", "cell": "test_half"}, INTERRUPTED)])
    assert table is not None
    found = row(table)
    assert (found["case"], found["latency"], found["reference / this"], found["95 % interval"]) == (
        "test_mine",
        "3.00 us",
        "3.00x",
        "2.50x to 3.50x",
    )
    assert (found["peak"], found["reference peak"], found["allocations"]) == ("1.00 KB", "4.00 KB", "9 -> 2")
    assert row(table, 1)["case"] == "test_half (interrupted)"


def test_summary_of_one_cell() -> None:
    """One cell is the headline and no sweep."""
    text = summary([baseline(), optimized()], ENVIRONMENT)
    assert text.startswith("b8-h64: one call\n")
    assert "Time 0.0000400 sec   Peak Memory 8.0 KB" in text
    assert "Time 0.0000200 sec   Peak Memory 2.5 KB" in text
    assert "Speedup 2.00x faster" in text
    assert "(95 % interval 1.75x to 2.25x, 5 processes)" in text
    assert "68.8 % reduction in peak allocation   (75.0 % without copies of weights)" in text
    assert "Sweep" not in text


def test_summary_with_the_digits() -> None:
    """The trained model is the headline wherever it stands, and the sweep is of the other cells."""
    cells = [baseline("b1-h8"), optimized("b1-h8"), baseline("b2-h8"), optimized("b2-h8")]
    text = summary([*cells, digits(baseline(median_s=1e-06)), digits(optimized(median_s=1e-06))], ENVIRONMENT)
    assert text.startswith("Trained digits model, 360 held-out images in one call (digits-b360)")
    assert "Sweep of 2 cells" in text


def test_summary_of_a_sweep() -> None:
    """Geometric mean with its interval, the worst and the best cell, and the range of the reductions, each with its cell."""
    cells = [
        *(baseline("b1-h8", peak_bytes=4 * KB), optimized("b1-h8", 2e-05, 2.0)),
        *(baseline("b2-h8", peak_bytes=8 * KB), optimized("b2-h8", 5e-06, 8.0)),
    ]
    text = one_line(summary(cells, ENVIRONMENT))
    assert "Sweep of 2 cells: geometric mean 4.00x faster (95 % interval 4.00x to 4.00x)" in text
    assert "from 2.00x (b1-h8) to 8.00x (b2-h8)" in text
    assert "Memory reduction from 37.5 % (b1-h8) to 68.8 % (b2-h8) without copies of weights from 50.0 % (b1-h8) to 75.0 % (b2-h8)" in text


def test_a_runner_without_copies_of_weights_has_one_number() -> None:
    """Where there are none the summary does not say the same number twice."""
    bare = StaticBytes(arena=2 * KB)
    cells = [baseline(), optimized(static=bare), baseline("b2-h8"), optimized("b2-h8", static=bare)]
    assert "without copies of weights" not in summary(cells, ENVIRONMENT)


def test_without_digits_the_longest_call_is_the_headline() -> None:
    """The headline of a sweep is the cell whose call takes longest."""
    cells = [baseline("b1-h8"), optimized("b1-h8"), baseline("b9-h9", 9e-05), optimized("b9-h9"), baseline("b2-h8"), optimized("b2-h8")]
    assert summary(cells, ENVIRONMENT).startswith("b9-h9: one call")


def test_the_mean_of_a_sweep_comes_from_paired_rounds() -> None:
    """Cells of 2x and 8x have the mean 4x, from the rounds that were kept, process by process."""
    cells = [baseline("b1-h8"), optimized("b1-h8", 2e-05), baseline("b2-h8"), optimized("b2-h8", 5e-06)]
    found = sweep_speedup(pairs(cells))
    assert (found.estimate, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))


def test_summary_says_slower() -> None:
    """A runner that lost is called slower, and nowhere in the headline faster."""
    text = summary([baseline(), optimized(median_s=5e-05, speedup=0.8)], ENVIRONMENT)
    headline = text.partition("\n\n")[0]
    assert "0.80x" in headline
    assert "slower" in headline
    assert "faster" not in headline


def test_a_sweep_that_lost_is_not_called_faster() -> None:
    """A geometric mean below 1 is not "faster", no more than in the headline."""
    cells = [each for cell in ("b1-h8", "b2-h8") for each in (baseline(cell), optimized(cell, 5e-05, 0.8))]
    text = one_line(summary(cells, ENVIRONMENT))
    assert "geometric mean 0.80x" in text
    assert "0.80x faster" not in text


def test_summary_says_more_memory() -> None:
    """A runner that takes more memory is said to, as a positive number."""
    assert "Memory 150.0 % more peak allocation" in summary([baseline(peak_bytes=KB), optimized()], ENVIRONMENT)


def test_summary_without_a_peak() -> None:
    """Where the baseline's peak is 0 there is no reduction to state."""
    assert "no reduction to state" in summary([baseline(peak_bytes=0), optimized()], ENVIRONMENT)


@pytest.mark.parametrize(
    "measured",
    [
        [],
        [baseline()],
        [optimized()],
        [baseline(), optimized(status=INTERRUPTED)],
        [baseline(status=INTERRUPTED), optimized()],
        [baseline(), optimized(timing=None)],
    ],
    ids=["nothing", "baseline-alone", "optimized-alone", "optimized-interrupted", "baseline-interrupted", "no-timing"],
)
def test_summary_of_nothing_complete(measured: list[Measurement]) -> None:
    """Where no cell has both runners complete, nothing is summed up."""
    assert summary(measured, ENVIRONMENT) == "No cell has complete measurements of both runners, so there is nothing to sum up."


def test_an_interrupted_cell_is_in_no_headline() -> None:
    """Complete cells are summed up; an interrupted one among them counts nowhere."""
    cells = [baseline("b1-h8"), optimized("b1-h8"), baseline("b9-h9", 9e-05), optimized("b9-h9", speedup=99.0, status=INTERRUPTED)]
    text = summary(cells, ENVIRONMENT)
    assert text.startswith("b1-h8: one call")
    assert "99.00x" not in text


def test_tracemalloc_is_named_with_what_the_extra_adds() -> None:
    """Peaks from tracemalloc carry a note that says what they are and what would be better."""
    assert "tracemalloc" not in summary([baseline(), optimized()], ENVIRONMENT)
    text = summary([baseline(footprint=Footprint(KB, None, "tracemalloc")), optimized()], ENVIRONMENT)
    assert "Peaks come from tracemalloc" in text
    assert "'bench'" in text


@pytest.mark.parametrize(("faults", "said"), [(0.95, False), (1.0, True), (None, False)], ids=["below", "one", "not-counted"])
def test_page_faults_of_the_baseline_are_said(faults: float | None, said: bool) -> None:
    """From one page fault a call on, the reader learns that part of the speed-up is the kernel's."""
    timing = Timing(4e-05, None, 0, faults, ((4e-05,),) * 5)
    assert said == (
        "the baseline pays for page faults (b8-h64: 1 a call)" in one_line(summary([baseline(timing=timing), optimized()], ENVIRONMENT))
    )


def test_the_speedup_without_faults_is_in_the_headline_and_the_sweep() -> None:
    """Both speed-ups are stated where both were measured; a cell without a second one counts with its first."""
    ratios = {"speedup": interval(4.0), "speedup_kept_heap": interval(2.0)}
    cells = [baseline("b1-h8"), optimized("b1-h8", 1e-05, ratios=ratios), baseline("b2-h8", 1e-06), optimized("b2-h8", 1e-06, 8.0)]
    text = summary(cells, ENVIRONMENT)
    assert "Speedup 2.00x where freed memory is kept" in text
    assert "where freed memory is kept (the other cells as they are): geometric mean 4.00x" in text


def test_what_is_said_of_many_rows_is_one_line() -> None:
    """The names of the first rows and how many more, which intervals are wide, and what to do."""
    wide = [(f"row-{place}", f"{ratio}: the interval 1.{place} to 2.5 is wide: busy; again")
            for place in range(5) for ratio in ("speedup", "floor_ratio")]  # fmt: skip
    steady = [("row-1", "footprint: repeats did not agree"), ("row-7", "footprint: repeats did not agree")]
    assert doubt_lines([*wide, *steady]) == [
        "row-0, row-1, row-2 and 2 more: the interval of speed-up and floor ratio is wide: busy; again",
        "row-1, row-7: footprint: repeats did not agree",
    ]


def test_a_peak_that_was_not_measured_has_no_unit() -> None:
    """A dash is no number of KB."""
    assert "Peak Memory not measured\n" in summary([baseline(), optimized(footprint=None)], ENVIRONMENT)


def test_warnings_are_in_the_summary() -> None:
    """Each warning stands there once, with the case it is about."""
    warned = optimized(warnings=("speedup: the interval is wide", "footprint: repeats did not agree"))
    text = one_line(summary([baseline(), warned], ENVIRONMENT))
    assert text.count("optimized-b8-h64: speedup: the interval is wide") == 1
    assert "optimized-b8-h64: footprint: repeats did not agree" in text


def test_what_does_not_count_is_said_in_bytes() -> None:
    """The staging buffer is in neither peak, copies of weights are in one; the summary says how large they get."""
    text = one_line(summary([baseline(), optimized()], ENVIRONMENT))
    assert "The optimized one contains copies of weights, up to 512 B." in text
    assert "staging buffer of up to 1.00 KB" in text


@pytest.mark.parametrize(("threads", "said"), [(1, True), (2, False)])
def test_one_thread_is_said(threads: int, said: bool) -> None:
    """The machine is named, and so is the one thread that BLAS had."""
    text = one_line(summary([baseline(), optimized()], dataclasses.replace(ENVIRONMENT, threads=threads)))
    assert "Machine: Some CPU, 2 cores, Linux 6; Python 3.12.1, NumPy 2.1.0" in text
    assert said == ("BLAS had one thread" in text)


def test_progress_in_a_log_says_lines_and_draws_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is no terminal, each line that is said is a line there, and steps print nothing."""
    with progress(3) as shown:
        shown.step("b1-h8")
        shown.say("[1/3] [red]done[/red]")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "[1/3] [red]done[/red]\n")


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal there is a bar on standard error, and what is said stays, literally."""
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(2) as shown:
        shown.step("b1-h8")
        shown.say("[1/2] [red]done[/red]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[1/2] [red]done[/red]" in captured.err
