"""What is red or in doubt is measured again, and red stays what fresh processes confirm."""

from __future__ import annotations

import datetime as dt

import pytest

from mlbench.gate import INCONCLUSIVE, MEAN_ROW, PASS, REGRESSION, Judgement, judge_results
from mlbench.gate.confirm import Twice, settle
from mlbench.results import FAILED, Measurement, Result
from support.saved_results import ROW, SPREAD, case, result

WILD = (1.0, 1.6, 1.4, 1.3, 1.8)
SLOW = case(ratio=1.68)
UNSURE = case(spread=WILD)
FINE = case()


def settled(first: Measurement, fresh: Measurement | None, pooled: Measurement | None = None) -> tuple[Judgement, list[str]]:
    """Judge a row that is then measured again; return the judgement and which rows were measured."""
    asked = []

    def again(measured: Measurement) -> Twice | None:
        asked.append(measured.case["id"])
        return None if fresh is None else ([fresh], [pooled or fresh])

    def judge(after: Result) -> Judgement:
        return judge_results(result(case()), after, None, dt.date(2026, 1, 2))

    return settle(judge, result(first), again), asked


@pytest.mark.parametrize(
    ("first", "fresh", "pooled", "verdict"),
    [
        (SLOW, SLOW, SLOW, REGRESSION),
        (SLOW, SLOW, FINE, REGRESSION),
        (SLOW, FINE, SLOW, INCONCLUSIVE),
        (SLOW, FINE, FINE, PASS),
        (SLOW, UNSURE, SLOW, INCONCLUSIVE),
        (UNSURE, FINE, FINE, PASS),
        (UNSURE, UNSURE, FINE, PASS),
        (UNSURE, UNSURE, UNSURE, INCONCLUSIVE),
        (UNSURE, SLOW, SLOW, REGRESSION),
        (UNSURE, SLOW, UNSURE, INCONCLUSIVE),
        (UNSURE, SLOW, FINE, INCONCLUSIVE),
        (UNSURE, FINE, SLOW, INCONCLUSIVE),
    ],
)
def test_what_holds_after_measuring_again(first: Measurement, fresh: Measurement, pooled: Measurement, verdict: str) -> None:
    """Red where fresh processes alone are, and were before or are together; else what all of them together say, of which red is doubt."""
    found, asked = settled(first, fresh, pooled)
    assert (found.verdict, asked) == (verdict, [ROW])
    assert found.notes[-1] == f"measured again in fresh processes: {ROW}"


def test_the_sentence_says_whether_it_was_confirmed() -> None:
    """A red row says that it was confirmed, and a doubtful one that it was not."""
    assert settled(SLOW, SLOW)[0].rows[0].why.endswith("; confirmed by fresh processes alone")
    assert settled(SLOW, FINE, SLOW)[0].rows[0].why.endswith("; fresh processes alone did not confirm it")


@pytest.mark.parametrize("first", [FINE, case(ratio=0.5), case(status=FAILED, error="wrong")], ids=["pass", "improved", "failed"])
def test_what_is_settled_is_not_measured_again(first: Measurement) -> None:
    """Rows that pass, and tests that failed, stay as they are."""
    assert settled(first, SLOW)[1] == []


def test_what_cannot_be_measured_again_stays() -> None:
    """A callable has no process of its own: its verdict stays."""
    found, asked = settled(SLOW, None)
    assert (found.verdict, asked, found.notes) == (REGRESSION, [ROW], ())


def test_memory_has_to_be_confirmed_too() -> None:
    """One byte more is red only if a fresh process sees it as well."""
    hungry = case(static_bytes=4097)
    assert settled(hungry, hungry)[0].verdict == REGRESSION
    assert settled(hungry, FINE, hungry)[0].verdict == INCONCLUSIVE


def test_each_quantity_is_confirmed_by_itself() -> None:
    """A row that was slower, and whose fresh processes are hungrier instead, is red in neither."""
    found, _ = settled(SLOW, case(static_bytes=4097), FINE)
    assert {each.quantity: each.verdict for each in found.rows[0].findings if each.verdict != PASS} == {"peak bytes": INCONCLUSIVE}


def test_both_runners_of_a_cell_are_measured_once() -> None:
    """Where measuring again gave the other runner of the cell too, it is not measured a second time."""
    eager = case("baseline-b8-h64", ratio=3.0, plan=None)
    asked = []

    def again(measured: Measurement) -> Twice:
        asked.append(measured.case["id"])
        rows = [case(), case("baseline-b8-h64", ratio=2.0, plan=None)]
        return rows, rows

    def judge(after: Result) -> Judgement:
        return judge_results(result(case(), case("baseline-b8-h64", ratio=2.0, plan=None)), after, None, dt.date(2026, 1, 2))

    found = settle(judge, result(SLOW, eager), again)
    assert (found.verdict, asked) == (PASS, [ROW])
    assert len(SPREAD) == 5


NAMES = [f"optimized-b{batch}-h64" for batch in (1, 8, 64, 512, 4096)]


@pytest.mark.parametrize(("again", "verdict"), [(1.05, REGRESSION), (1.0, PASS)], ids=["confirmed", "not-confirmed"])
def test_a_mean_that_is_red_is_measured_again(again: float, verdict: str) -> None:
    """No row is red by itself, so all that the mean is of are measured again, and red stays what they confirm."""
    asked = []

    def judge(after: Result) -> Judgement:
        return judge_results(result(*map(case, NAMES)), after, None, dt.date(2026, 1, 2))

    def measure(measured: Measurement) -> Twice:
        asked.append(measured.case["id"])
        fresh = [case(measured.case["id"], ratio=1.2 * again)]
        return fresh, fresh

    found = settle(judge, result(*(case(name, ratio=1.2 * 1.05) for name in NAMES)), measure)
    assert asked == NAMES
    assert (found.rows[-1].id, found.rows[-1].verdict, found.verdict) == (MEAN_ROW, verdict, verdict)
