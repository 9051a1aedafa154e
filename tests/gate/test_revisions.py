"""Verdicts of a comparison: every one of them and every exit code, on comparisons that are made up; and how they are kept."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import FileError
from mlbench.gate import BROKEN, IMPROVED, INCONCLUSIVE, MISSING, NEW, PASS, REGRESSION
from mlbench.gate.revisions.footprints import wants_weight, weight_findings
from mlbench.gate.revisions.judge import judge, open_rows, standings
from mlbench.report import junit, markdown, verdict_text
from mlbench.results.comparison import COMPARISON_FILE, Comparison, PairedPolicy
from mlbench.results.samples import Memory, Visit
from mlbench.results.storage import holds, read, write
from support.comparisons import ROW, comparison, ended, memory, visit, weighed
from support.exhaustive import tries

OTHER = "benchmarks/test_mine.py::test_cube"
LIGHT = weighed(memory(), memory())
HEAVY = weighed(memory(), memory(8192, 4))


def latency(*heads: float, control: float = 1.0, once: bool = False) -> Comparison:
    """Return a comparison of one row with these ratios, one a set; the first set is weighed."""
    weights = [{} if once else LIGHT] + [{}] * (len(heads) - 1)
    return comparison([[visit(head=head, control=control, weights=each, once=once)] for head, each in zip(heads, weights, strict=True)])


def heap(*each: Mapping[str, Memory] | None) -> Comparison:
    """Return a comparison of eight sets or more of one row at the same speed, the first of which have these footprints."""
    weights = [*each, *([None] * (8 - len(each)))]
    return comparison([[visit(weights=found)] for found in weights])


@pytest.mark.parametrize(
    ("made", "verdict", "code", "passing"),
    [
        (latency(*[1.0] * 8), PASS, 0, 0),
        (latency(*[0.8] * 8), IMPROVED, 0, 0),
        (latency(*[1.1] * 16), REGRESSION, 1, 1),
        (latency(*[1.1] * 8), INCONCLUSIVE, 3, 0),
        (latency(*[1.1] * 16, control=1.2), INCONCLUSIVE, 3, 0),
        (comparison([], head_rows=[]), MISSING, 1, 1),
        (comparison([[visit("a", weights=LIGHT)]] * 8, rows=["a"], head_rows=["a", ROW]), NEW, 0, 0),
        (comparison([], rows=[], head_rows=[ROW]), REGRESSION, 1, 1),
        (comparison([]), INCONCLUSIVE, 3, 0),
        (comparison([], rows=[]), REGRESSION, 1, 1),
    ],
    ids=["pass", "improved", "red", "open", "noisy", "missing", "new", "only-new", "unmeasured", "empty"],
)
def test_each_verdict_and_exit_code_can_happen(made: Comparison, verdict: str, code: int, passing: int) -> None:
    """Verdict, exit code, and the exit code where doubt passes."""
    found = judge(made)
    assert found.verdict == verdict
    assert found.exit_code() == code
    assert found.exit_code(inconclusive_passes=True) == passing


@pytest.mark.parametrize(
    ("made", "parts"),
    [
        (latency(*[1.1] * 16), ("+10.0 % (+10.0 % to +10.0 %, 16 sets)", "slower by more than +2.0 %", "8 fresh sets", "up to 0.0 %")),
        (latency(*[0.8] * 8), ("-20.0 %", "faster by more than the noise")),
        (latency(*[1.1] * 8), ("looks slower by more than +2.0 %, which 8 fresh sets alone have to confirm", "about 8 more sets")),
        (
            latency(*[1.0, 1.06] * 4),
            ("neither surely less than +4.0 % nor surely more than +2.0 %", "more sets of processes would settle it"),
        ),
        (latency(*[1.1] * 16, control=1.2), ("but not surely more than the noise: the base against itself differs by up to 20.0 %",)),
        (
            latency(*[0.7 + 0.007 * number for number in range(96)]),
            ("96 sets did not settle it: run it where less else runs, or with --most-sets 192",),
        ),
        (latency(*[1.1] * 8, once=True), ("because each can call the target only once",)),
    ],
    ids=["red", "improved", "open", "unsure", "noisy", "most", "once"],
)
def test_a_verdict_says_why(made: Comparison, parts: tuple[str, ...]) -> None:
    """One sentence with the numbers; for an open row what would settle it."""
    (row,) = judge(made).rows
    for part in parts:
        assert part in row.why


def test_numbers_stand_beside_the_verdict() -> None:
    """Latency has medians of both sides in seconds, its ratio and what was tolerated; memory has bytes and counts."""
    found, peak, count = judge(latency(*[1.1] * 16)).rows[0].findings
    assert (found.before, found.after, found.unit) == pytest.approx((1e-6, 1.1e-6, "s"))
    assert found.change is not None
    assert found.change.estimate == pytest.approx(1.1)
    assert found.tolerance == 0.02
    assert (peak.quantity, peak.before, peak.after, peak.unit) == ("peak bytes", 4096, 4096, "bytes")
    assert (count.quantity, count.before, count.after, count.unit) == ("allocations", 3, 3, "count")


@pytest.mark.parametrize(
    ("made", "peak", "count"),
    [
        (heap(HEAVY), INCONCLUSIVE, INCONCLUSIVE),
        (heap(*[HEAVY] * 7), INCONCLUSIVE, INCONCLUSIVE),
        (heap(*[HEAVY] * 8), REGRESSION, REGRESSION),
        (heap(HEAVY, LIGHT), INCONCLUSIVE, INCONCLUSIVE),
        (heap(*[HEAVY] * 10, LIGHT), INCONCLUSIVE, INCONCLUSIVE),
        (heap(*[HEAVY] * 7, LIGHT, *[HEAVY] * 4), REGRESSION, REGRESSION),
        (heap(HEAVY, LIGHT, HEAVY, LIGHT), PASS, PASS),
        (heap(LIGHT), PASS, PASS),
        (heap(*[weighed(memory(), memory(4096, 4))] * 8), PASS, REGRESSION),
        (heap(*[weighed(memory(), memory(4097))] * 8), REGRESSION, PASS),
        (heap(*[weighed(memory(), memory(2048, 2))] * 3), IMPROVED, IMPROVED),
        (heap(*[weighed(memory(), memory(4095))] * 3), IMPROVED, PASS),
        (heap(*[weighed(memory(), memory(4095))] * 2), PASS, PASS),
        (heap(*[weighed(memory(), memory(4095))] * 2, LIGHT), PASS, PASS),
    ],
    ids=["once", "seven", "eight", "not-again", "eleven", "twelve", "twice-not", "same", "one-allocation", "one-byte", "less",
         "one-byte-less", "less-twice", "less-not-always"],
)  # fmt: skip
def test_memory_is_compared_exactly(made: Comparison, peak: str, count: str) -> None:
    """One byte or allocation more is red when eight sets of fresh processes have it, or all but one of twelve; less in three is a gain."""
    _, found_peak, found_count = judge(made).rows[0].findings
    assert (found_peak.verdict, found_count.verdict) == (peak, count)


@pytest.mark.parametrize(
    ("head", "control", "expected"),
    [
        ((4200, 4300), (4096, 4096), REGRESSION),
        ((4100, 4300), (4096, 4200), PASS),
        ((4096, 9999), (4096, 4096), PASS),
        ((4200, 4200), (4096, 4200), PASS),
        ((4201, 4201), (4096, 4200), REGRESSION),
    ],
    ids=["above", "overlap", "touches", "touches-control", "above-control"],
)
def test_unsteady_memory_must_lie_above_both_processes_of_the_base(head: tuple[int, int], control: tuple[int, int], expected: str) -> None:
    """Ranges that meet are no growth."""
    weights = weighed(memory(), memory(head), memory(control))
    assert judge(heap(*[weights] * 8)).rows[0].findings[1].verdict == expected


def test_memory_that_differs_between_processes_is_hardly_ever_red() -> None:
    """Of rows whose processes allocate at random, the same in all arms, so few are red as the rule says: 3.6 of 20,000."""
    chance = random.Random(7)
    red = 0
    for _ in range(tries(4000, 20_000)):
        visits: list[Visit] = []
        while wants_weight(visits):
            visits.append(visit(weights=weighed(*(memory(chance.randrange(10**6)) for _ in range(3)))))
        red += any(each.verdict not in {PASS, IMPROVED} for each in weight_findings(visits))
    assert red <= tries(5, 12)


def test_memory_that_varies_says_so() -> None:
    """The reader learns why more bytes pass."""
    peak, _ = weight_findings([visit(weights=each) for each in (HEAVY, LIGHT, LIGHT)])
    assert peak.why == (
        "peak bytes 4.00 KB -> 4.00 KB to 8.00 KB, but it varies: more than both processes of the base in 1 of 3 sets of fresh processes"
    )


def test_ranges_are_told() -> None:
    """What is not steady is shown from its least to its most."""
    weights = weighed(memory(), memory((8192, 9216)))
    assert "peak bytes 4.00 KB -> 8.00 KB to 9.00 KB, more than both processes of the base in 8 of 8 sets" in (
        judge(heap(*[weights] * 8)).rows[0].why
    )


def test_what_is_held_between_calls_is_compared_exactly() -> None:
    """A byte more is red when eight sets have it; a version that does not say is not compared."""
    small, large, silent = (dataclasses.replace(memory(), held_bytes=held) for held in ((128, 128), (129, 129), None))
    assert [each.verdict for each in judge(heap(*[weighed(small, large)] * 8)).rows[0].findings] == [PASS, PASS, PASS, REGRESSION]
    assert "held bytes 128 B -> 129 B" in judge(heap(*[weighed(small, large)] * 8)).rows[0].why
    assert [each.quantity for each in weight_findings([visit(weights=weighed(small, silent))])] == ["peak bytes", "allocations"]


def test_different_instruments_are_not_compared() -> None:
    """memray sees what tracemalloc does not, so that their bytes decide nothing, which is not green."""
    weights = weighed(memory(), memory(99999, None, "tracemalloc"))
    _, peak = judge(heap(weights, weights)).rows[0].findings
    assert (peak.verdict, peak.why) == (
        INCONCLUSIVE,
        "measured by memray in the base and by tracemalloc in the head; install memray in both (--install '-e .' --install memray)",
    )


def test_tracemalloc_counts_nothing() -> None:
    """Without counts on both sides there is no finding about them."""
    weights = weighed(memory(4096, None, "tracemalloc"), memory(4096, None, "tracemalloc"))
    assert [each.quantity for each in judge(heap(weights)).rows[0].findings] == ["latency", "peak bytes"]


@pytest.mark.parametrize(
    ("ends", "verdict", "why"),
    [
        ({"head": "failed: E  ZeroDivisionError: oh"}, REGRESSION, "failed in topic: ZeroDivisionError: oh"),
        ({"head": "died: killed"}, REGRESSION, "broke off in topic: killed"),
        (dict.fromkeys(("base", "control", "head"), "failed: E  oh"), BROKEN, "failed in both versions alike: oh"),
        ({"base": "died: killed", "head": "died: killed"}, BROKEN, "broke off in both versions alike: killed"),
        ({"base": "failed: E  a", "head": "died: b"}, BROKEN, "failed in main: a, and broke off in topic: b"),
        ({"head": "failed: E  OSError: [Errno 98] Address already in use"}, INCONCLUSIVE, "wants a port that another arm holds"),
        ({"head": "skipped: no GPU"}, MISSING, "was skipped in topic: no GPU"),
        ({"head": "unused"}, MISSING, "did not call `benchmark` in topic"),
        ({"base": "failed", "head": "skipped"}, MISSING, "was skipped in topic"),
        ({"base": "failed", "control": "failed", "head": "passed"}, NEW, "failed in main, so that there is nothing to compare with"),
        ({"base": "skipped: no GPU", "head": "passed"}, NEW, "was skipped in main"),
        ({"base": "skipped", "head": "failed"}, REGRESSION, "failed in topic"),
        ({"base": "died: killed", "head": "unreached"}, INCONCLUSIVE, "broke off in main, before topic was through with it: killed"),
        ({"head": "died: killed", "base": "unreached"}, INCONCLUSIVE, "broke off in topic, before main was through with it: killed"),
        ({"control": "died: killed"}, INCONCLUSIVE, "broke off in one of two processes of main: killed"),
        ({"head": "unlike"}, INCONCLUSIVE, "cold is not compared with warm"),
    ],
)
def test_how_a_test_ended_decides(ends: dict[str, str], verdict: str, why: str) -> None:
    """A test that does not pass in the head is red, one that is skipped there alone is missing, one that the base lacks is new."""
    (row,) = judge(comparison([[ended(**ends)]] * 2)).rows
    assert (row.verdict, row.findings[0].quantity) == (verdict, "test")
    assert why in row.why


def test_a_death_says_how_and_what_was_printed_last() -> None:
    """The line that a process printed last may say nothing; how it ended does."""
    died = "died: the process died (exit code 3); it printed last:\ncollecting\ntest_it.py ."
    (row,) = judge(comparison([[ended(**dict.fromkeys(("base", "control", "head"), died))]] * 2)).rows
    assert row.verdict == BROKEN
    assert row.why == "broke off in both versions alike: the process died (exit code 3); it printed last: test_it.py ."


@pytest.mark.parametrize("ends", [{"head": "failed: oh"}, {"head": "skipped"}, {"base": "failed", "head": "passed"}])
def test_one_bad_end_alone_is_doubt(ends: dict[str, str]) -> None:
    """Where the run was broken off before another set could tell."""
    (row,) = judge(comparison([[ended(**ends)]])).rows
    assert row.verdict == INCONCLUSIVE
    assert row.why.endswith("another set would show whether that was chance")


@pytest.mark.parametrize("ends", [{"base": "skipped: no GPU", "head": "skipped: no GPU"}, {"base": "skipped", "head": "unused"}])
def test_what_neither_version_measures_is_no_row(ends: dict[str, str]) -> None:
    """A test that both skip is left out, and named; without any other row nothing was judged, which is red."""
    found = judge(comparison([[ended(**ends)]] * 2))
    assert found.rows == ()
    assert found.exit_code() == 1
    reason = "skipped in both versions: no GPU" if "skipped" in ends["head"] else "no call of `benchmark`"
    assert f"{ROW}: {reason}; not judged" in found.notes


@pytest.mark.parametrize(
    ("bad", "good", "verdict", "why"),
    [
        ([{"head": "failed: E  oh"}], 8, INCONCLUSIVE, "failed in topic in 1 of 9 sets: oh, and passed in others"),
        ([{"head": "failed: E  oh"}] * 2, 8, REGRESSION, "failed in topic in 2 of 10 sets: oh"),
        ([{"head": "died: killed"}] * 2, 1, REGRESSION, "broke off in topic in 2 of 3 sets: killed"),
        ([{"head": "skipped: no"}] * 2, 8, MISSING, "was skipped in topic in 2 of 10 sets: no"),
        ([{"head": "unlike"}] * 2, 8, INCONCLUSIVE, "and passed in others"),
        ([{"head": "died: killed", "base": "unreached"}] * 2, 8, PASS, ""),
        ([{"head": "failed"}, {"head": "failed"}, {"base": "failed"}], 8, INCONCLUSIVE, "failed in topic in 2 of 11 sets"),
        ([{"base": "failed", "head": "passed"}, {"head": "failed"}], 0, INCONCLUSIVE, "failed in topic in 1 of 2 sets"),
        ([{"base": "died", "head": "unreached"}, {"head": "failed"}, {"head": "failed"}], 0, REGRESSION, "failed in topic"),
        (
            [{"control": "failed: E  net", "head": "passed"}, {"base": "failed: E  net", "head": "passed"}],
            0,
            INCONCLUSIVE,
            "failed in main in 1 of 2 sets: net, and in one of its two processes in others",
        ),
    ],
    ids=["once", "twice", "death", "skips", "unlike", "unreached-base", "both-sides", "never-measured", "unreached", "flaky-base"],
)
def test_bad_ends_beside_good_sets(bad: list[dict[str, str]], good: int, verdict: str, why: str) -> None:
    """What fails in the head twice is red; once leaves doubt, and so does a base that fails now and then and was never measured."""
    (row,) = judge(comparison([[visit(weights=LIGHT)]] * good + [[ended(**each)] for each in bad])).rows
    assert row.verdict == verdict
    assert why in row.why


@pytest.mark.parametrize("heads", [1.0, 1.5])
def test_a_hiccup_of_the_base_leaves_the_verdict_to_the_other_sets(heads: float) -> None:
    """The row is neither new nor lost, and a note says what happened."""
    made = comparison([[ended(base="died: no answer", head="passed")], *[[visit(head=heads, weights=LIGHT)]] * 16])
    found = judge(made)
    assert found.rows[0].verdict == (PASS if heads == 1.0 else REGRESSION)
    assert found.notes == (f"{ROW} broke off in main in 1 of 17 sets: no answer; the other sets decide",)


@pytest.mark.parametrize("how", ["failed: E  net", "skipped: net"])
def test_a_hiccup_of_both_versions_is_nobodys_fault(how: str) -> None:
    """What fails everywhere at once, twice, is the machine's: the sets that measured it decide."""
    made = comparison([[visit(weights=LIGHT)]] * 8 + [[ended(**dict.fromkeys(("base", "head", "control"), how))]] * 2)
    found = judge(made)
    assert found.verdict == PASS
    assert "in main in 2 of 10 sets: net; the other sets decide" in found.notes[0]


def test_a_slowdown_beside_a_hiccup_is_red() -> None:
    """One failure of the head takes nothing from what the other sets say."""
    made = comparison([[ended(head="failed: oh")], *[[visit(head=1.5, weights=LIGHT)]] * 16])
    row = judge(made).rows[0]
    assert row.verdict == REGRESSION
    assert {each.quantity: each.verdict for each in row.findings}["test"] == INCONCLUSIVE


def test_an_odd_process_of_the_base_in_the_first_set_hides_no_growth() -> None:
    """Its other processes and eleven sets say more."""
    odd, grown = weighed(memory(100), memory(110), memory(120)), weighed(memory(100), memory(110))
    assert wants_weight([visit(weights=odd)])
    assert judge(heap(odd, *[grown] * 11)).rows[0].findings[1].verdict == REGRESSION
    assert judge(heap(odd, LIGHT, LIGHT)).rows[0].findings[1].verdict == PASS
    assert not wants_weight([visit(weights=each) for each in (odd, weighed(memory(100), memory(100)), weighed(memory(5), memory(5)))])


def test_rows_of_one_version_are_listed_beside_the_others() -> None:
    """Missing and new rows stand with those that were measured, and the worst decides."""
    made = comparison([[visit(weights=LIGHT)]] * 8, rows=[ROW, "gone"], head_rows=[ROW, "fresh"])
    found = judge(made)
    assert {row.id: row.verdict for row in found.rows} == {ROW: PASS, "gone": MISSING, "fresh": NEW}
    assert [row.why for row in found.rows[1:]] == ["topic has no such benchmark", "main has no such benchmark"]
    assert (found.verdict, found.exit_code()) == (MISSING, 1)


def test_a_file_that_only_the_head_cannot_collect_is_red() -> None:
    """It is a row of its own, with the last line of the error."""
    made = comparison([[visit(weights=LIGHT)]] * 8)
    made.head = dataclasses.replace(made.head, errors={"test_a.py": "Traceback\nE   ImportError: no x\nmore"})
    row = judge(made).rows[-1]
    assert (row.id, row.verdict, row.why) == ("test_a.py", REGRESSION, "could not be collected in topic: ImportError: no x")


def test_a_file_that_the_base_cannot_collect_is_noted() -> None:
    """It is no fault of the head."""
    made = comparison([[visit(weights=LIGHT)]] * 8)
    made.base = dataclasses.replace(made.base, errors={"test_a.py": "boom"})
    found = judge(made)
    assert found.verdict == PASS
    assert "test_a.py could not be collected in main: boom" in found.notes


def test_a_file_that_neither_version_can_collect_is_broken() -> None:
    """Its benchmarks were left out, so that the answer is not green."""
    made = comparison([[visit(weights=LIGHT)]] * 8)
    for side in ("base", "head"):
        setattr(made, side, dataclasses.replace(getattr(made, side), errors={"test_a.py": "boom"}))
    found = judge(made)
    assert (found.rows[-1].verdict, found.rows[-1].why) == (BROKEN, "could not be collected in either version: boom")
    assert found.exit_code() == 3
    assert found.exit_code(inconclusive_passes=True) == 0


def test_names_that_change_from_process_to_process_are_in_doubt() -> None:
    """Two processes of the base disagree about them, so that they are neither missing nor new."""
    made = comparison([[visit(weights=LIGHT)]] * 8, rows=[ROW, "t.py::a[0x1]"], head_rows=[ROW, "t.py::a[0x3]", "t.py::b"])
    made.base = dataclasses.replace(made.base, unstable=("t.py::a[0x1]", "t.py::a[0x2]"))
    found = {row.id: row for row in judge(made).rows}
    assert {name: row.verdict for name, row in found.items()} == {
        ROW: PASS, "t.py::a[0x1]": INCONCLUSIVE, "t.py::a[0x3]": INCONCLUSIVE, "t.py::b": NEW,
    }  # fmt: skip
    assert "its name changes from one process to the next" in found["t.py::a[0x3]"].why


def test_other_parameters_of_the_same_test_are_noted() -> None:
    """Their rows are missing and new; a note says that the tests are the same."""
    made = comparison([], rows=["t.py::a[old]", "t.py::b", "t.py::gone[x]"], head_rows=["t.py::a[new]", "t.py::b[x]", "t.py::come[x]"])
    notes = judge(made).notes
    assert [note for note in notes if note.startswith("t.py::a, t.py::b: the same tests in both versions, with other parameters")]
    assert not [note for note in notes if "gone" in note or "come" in note]


def test_a_test_that_is_gone_is_told_apart_from_one_with_other_parameters() -> None:
    """Rows of one reason share a line, so that a test that nobody has any more must not share that of renamed ones."""
    made = comparison([], rows=["t.py::a[old]", "t.py::gone[x]"], head_rows=["t.py::a[new]", "t.py::come[x]"])
    found = {row.id: row.why for row in judge(made).rows}
    base, head = made.base.revision, made.head.revision
    assert found == {
        "t.py::a[old]": f"{head} has this test with other parameters only",
        "t.py::gone[x]": f"{head} has no such benchmark",
        "t.py::a[new]": f"{base} has this test with other parameters only",
        "t.py::come[x]": f"{base} has no such benchmark",
    }


def test_what_a_measurement_cannot_mean_is_noted() -> None:
    """Calls that make coroutines, targets whose data ran out, and marks without the fixture."""
    odd = dataclasses.replace(visit(weights=LIGHT), coroutine=True, exhausted="StopIteration: ")
    made = comparison([[odd]] * 8)
    for side in ("base", "head"):
        setattr(made, side, dataclasses.replace(getattr(made, side), marked=("t.py::marked",)))
    notes = " ".join(judge(made).notes)
    assert "a call makes a coroutine and does not run it" in notes
    assert f"{ROW} cannot be called more often than the rounds of pedantic say (StopIteration:)" in notes
    assert "t.py::marked: the mark `benchmark`, and no use of the fixture" in notes


def test_a_target_that_ran_out_before_a_round_says_so() -> None:
    """There is nothing to judge, and the reader learns why."""
    row = judge(comparison([[Visit(ROW, ends=dict.fromkeys(("base", "head", "control"), ("passed", "")), exhausted="KeyError: 5")]])).rows[
        0
    ]
    assert (row.verdict, row.why) == (INCONCLUSIVE, "could not be called as often as one comparison needs: KeyError: 5")


def test_one_reason_is_one_line() -> None:
    """Fifty rows that fail alike take a line of the table and a sentence; a name that is long or has line ends is cut."""
    rows = [f"t.py::test_{number}[{'x' * 500}\n]" for number in range(50)]
    made = comparison([[ended(row, **dict.fromkeys(("base", "control", "head"), "failed: E  oh")) for row in rows]] * 2, rows=rows)
    text = verdict_text(judge(made), colour=False)
    assert text.count("failed in both versions alike: oh") == 1
    assert "and 49 more: failed in both versions alike" in " ".join(text.split())
    assert max(map(len, text.splitlines())) < 200
    assert text.startswith("broken (exit code 3; --inconclusive=pass lets it pass): 50 rows: 50 broken in both")
    assert markdown(judge(made)).count("failed in both versions alike") == 1
    assert junit(judge(made)).count("<testcase") == 50


def test_a_file_that_the_base_cannot_collect_leaves_its_rows_in_doubt() -> None:
    """They are not new: nobody knows. Where all rows are such, that is no pass."""
    made = comparison([], rows=[], head_rows=[ROW])
    made.base = dataclasses.replace(made.base, errors={ROW.partition("::")[0]: "E  ImportError: no x"})
    found = judge(made)
    assert [(row.verdict, row.why) for row in found.rows] == [(INCONCLUSIVE, "its file could not be collected in main: ImportError: no x")]
    assert found.exit_code() == 3


def test_a_file_that_skips_itself_says_why_its_rows_are_missing() -> None:
    """In the head the rows are missing with the reason; in both versions there is a note."""
    file = ROW.partition("::")[0]
    made = comparison([], head_rows=[])
    made.head = dataclasses.replace(made.head, skipped={file: "no GPU"})
    assert [(row.verdict, row.why) for row in judge(made).rows] == [(MISSING, "its file was skipped in topic: no GPU")]
    made = comparison([[visit("a", weights=LIGHT)]] * 8, rows=["a"])
    made.base, made.head = (dataclasses.replace(each, skipped={file: "no GPU"}) for each in (made.base, made.head))
    assert judge(made).notes == (f"{file} was skipped in both versions: no GPU",)


def test_planted_rows_are_told() -> None:
    """Nobody is to take a calibration for a bad result."""
    made = comparison([[visit(weights=LIGHT)]] * 8, plants={ROW: {"slower": 0.05}})
    assert judge(made).notes[0].startswith("Slowdowns or allocations were planted in 1 rows")


def test_only_new_rows_are_told() -> None:
    """Where the base has none of the benchmarks nothing was compared: a note says what that may be."""
    assert "main has none of the benchmarks of topic: nothing was compared" in judge(comparison([], rows=[], head_rows=[ROW])).notes[0]


def test_an_ordinary_comparison_has_no_notes() -> None:
    """Complete, two versions, the same packages."""
    assert judge(latency(*[1.0] * 8)).notes == ()


def test_notes_say_what_a_reader_should_know() -> None:
    """The same version twice, other packages, targets that can be called once, no benchmark at all, and what was broken off."""
    made = latency(*[1.0] * 8, once=True)
    made.status = "interrupted"
    made.head = dataclasses.replace(made.head, commit=made.base.commit, versions={**made.head.versions, "numpy": "2.4.0"})
    notes = "\n".join(judge(made).notes)
    for part in ("this is an A/A comparison", "numpy 2.1.0 in main and 2.4.0 in topic", "1 of the targets may be called once only",
                 "Broken off: what was still open counts as inconclusive"):  # fmt: skip
        assert part in notes
    assert "No test that was collected asks for the fixture `benchmark`" in judge(comparison([], rows=[])).notes[0]


@pytest.mark.parametrize(
    ("revision", "commit", "expected"),
    [
        ("main", "a" * 40, "main (aaaaaaaaa)"),
        ("a" * 40, "a" * 40, "a" * 40),
        ("aaaa", "a" * 40, "aaaa"),
        ("working tree", "a" * 40 + "+123", "working tree (aaaaaaaaa and changes)"),
    ],
)
def test_a_version_is_named_with_its_commit(revision: str, commit: str, expected: str) -> None:
    """What the user called it, with the beginning of the commit where that is something else."""
    made = comparison([])
    made.head = dataclasses.replace(made.head, revision=revision, commit=commit)
    assert judge(made).after == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (latency(*[1.0] * 8), {}),
        (latency(*[1.1] * 8), {ROW: False}),
        (latency(*[1.1] * 16), {}),
        (latency(*[1.1] * 16, control=1.2), {ROW: False}),
        (latency(*[1.1] * 96, control=1.2), {}),
        (latency(*[1.1] * 8, once=True), {ROW: False}),
        (heap(), {ROW: True}),
        (heap(HEAVY), {ROW: True}),
        (heap(*[HEAVY] * 8), {}),
        (heap(HEAVY, LIGHT), {ROW: True}),
        (heap(HEAVY, LIGHT, LIGHT), {}),
        (comparison([]), {ROW: True}),
        (comparison([[ended(head="failed")]]), {ROW: True}),
        (comparison([[ended(head="failed")]] * 2), {}),
        (comparison([[visit(weights=LIGHT)], *[[visit()]] * 7, [ended(head="failed")]]), {}),
        (comparison([[visit(weights=LIGHT)], *[[visit()]] * 6, [ended(base="failed")]]), {ROW: False}),
        (comparison([[ended(base="failed")]] * 2), {}),
        (comparison([[visit(weights=LIGHT)]] * 3 + [[ended(head="failed")]] * 2), {}),
        (comparison([[visit(weights=LIGHT)]] * 3 + [[ended(base="failed")]] * 2), {ROW: False}),
        (comparison([], head_rows=[]), {}),
    ],
)
def test_open_rows_are_those_that_another_set_may_settle(made: Comparison, expected: dict[str, bool]) -> None:
    """Open latency up to the most sets, memory that was not taken or differs; what ended badly twice is settled."""
    assert open_rows(made) == expected


@pytest.mark.parametrize(("most", "is_open"), [(8, False), (11, False), (12, True)])
def test_no_batch_exceeds_the_most_sets(most: int, is_open: bool) -> None:
    """A row of eight sets is open as long as a whole batch may follow."""
    made = latency(*[1.1] * 8)
    made.policy = PairedPolicy(most=most)
    assert bool(open_rows(made)) is is_open


def test_standings_are_of_measured_rows() -> None:
    """Rows that failed or were not measured have none."""
    made = comparison([[visit(), ended(OTHER, head="failed")]] * 8, rows=[ROW, OTHER, "never"])
    assert {row: stand.sets for row, stand in standings(made).items()} == {ROW: 8}


def test_markup_in_names_changes_nothing() -> None:
    """Brackets, pipes and angle brackets of a test id and of a reason are shown as they are, or as HTML shows them."""
    row = "test_x.py::test[[red]a|b<c>&]"
    made = comparison([[ended(row, head="failed: E  <script> | [bold]")]], rows=[row])
    found = judge(made)
    assert row in verdict_text(found, colour=False)
    assert "<script>" not in markdown(found, inconclusive_passes=False)
    assert "<script>" not in junit(found, inconclusive_passes=False)


def full() -> Comparison:
    """Return a comparison with everything in it."""
    made = comparison([[visit(weights=HEAVY), ended(OTHER, head="failed: x", base="passed")], [visit(once=True)]], rows=[ROW, OTHER])
    made.base = dataclasses.replace(made.base, errors={"a.py": "boom"})
    made.plants, made.spent_s, made.status = {ROW: {"slower": 0.05}}, 12.5, "interrupted"
    return made


def test_a_comparison_survives_a_round_trip(tmp_path: Path) -> None:
    """Everything that was saved is there when it is loaded."""
    made = full()
    assert read(write(made, tmp_path / "ab.json", COMPARISON_FILE), COMPARISON_FILE) == made
    assert holds(json.loads((tmp_path / "ab.json").read_text()), COMPARISON_FILE)


@pytest.mark.parametrize("data", [{}, {"kind": "mlbench-result"}, [], None, "mlbench-ab"])
def test_other_data_hold_no_comparison(data: object) -> None:
    """Only its own kind is a comparison."""
    assert not holds(data, COMPARISON_FILE)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kind", "mlbench-result", "no comparison of mlbench"),
        ("schema", 2, "schema version 2; this mlbench reads version 3"),
        ("machine", {}, "not a valid comparison at $.machine"),
        ("status", "fine", "$.status"),
        ("sets", [[{"id": "x"}]], "$.sets[0][0]"),
        ("policy", {"tolerance": -1}, "$.policy"),
        ("extra", 1, "extra"),
        ("spent_s", "long", "$.spent_s"),
    ],
)
def test_foreign_and_damaged_files_are_refused(tmp_path: Path, name: str, value: object, message: str) -> None:
    """Nothing of them is used; the message says where the fault is."""
    path = write(full(), tmp_path / "ab.json", COMPARISON_FILE)
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(FileError) as refused:
        read(path, COMPARISON_FILE)
    assert message in str(refused.value)


@pytest.mark.parametrize("rounds", [[], [0.0], [-1.0]])
def test_rounds_must_be_positive_times(tmp_path: Path, rounds: list[float]) -> None:
    """A file with impossible times is refused where it is read, not where they are divided."""
    made = comparison([[Visit(ROW, {"base": rounds, "head": [1.0], "control": [1.0]})]])
    path = write(made, tmp_path / "ab.json", COMPARISON_FILE)
    with pytest.raises(FileError, match="rounds_s"):
        read(path, COMPARISON_FILE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda each: each["rounds_s"].pop("control"), "found rounds of base and head; expected all of base, head, control"),
        (lambda each: each["rounds_s"]["head"].pop(), "has different numbers of rounds in its arms"),
        (lambda each: each["ends"].pop("head"), ".ends: benchmarks/test_mine.py::test_square lacks some of base, head, control"),
        (lambda each: each["rounds_s"].update(other=[1.0]), "found 'other'; expected 'base' or"),
        (lambda each: each["memory"].pop("head"), "found that of base and control; expected that of base and head"),
        (lambda each: each["ends"].update(head=["fine", ""]), "found 'fine'; expected 'passed' or"),
    ],
)
def test_visits_that_no_set_can_make_are_refused(tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str) -> None:
    """An arm without rounds, of another length, or without an end."""
    path = write(full(), tmp_path / "ab.json", COMPARISON_FILE)
    data = json.loads(path.read_text())
    damage(data["sets"][0][0])
    path.write_text(json.dumps(data))
    with pytest.raises(FileError) as refused:
        judge(read(path, COMPARISON_FILE))
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"kind": NaN}'])
def test_what_is_no_json_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    """Truncated files, other JSON, and numbers that are none."""
    (tmp_path / "ab.json").write_text(text)
    with pytest.raises(FileError):
        read(tmp_path / "ab.json", COMPARISON_FILE)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(FileError, match="no such file"):
        read(tmp_path / "none.json", COMPARISON_FILE)
