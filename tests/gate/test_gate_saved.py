"""One result judged by another: each verdict can happen, and nothing that is missing or broken is green."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import pytest

from mlbench.errors import FileError
from mlbench.gate import IMPROVED, INCONCLUSIVE, MEAN_ROW, MISSING, NEW, PASS, REGRESSION, Finding, Judgement, judge_results
from mlbench.measure import Environment
from mlbench.results import FAILED, INTERRUPTED, Measurement, Result, StaticBytes, Timing
from support.saved_results import CALLABLE, ENVIRONMENT, PLAN, ROW, SPREAD, callable_of_a_user, case, result

TODAY = dt.date(2026, 1, 2)
WILD = (1.0, 1.6, 1.4, 1.3, 1.8)
"""Of five processes, of which one alone is fast."""
OTHER = replace(ENVIRONMENT, cpu="another", blas="openblas (Zen)")


def judged(before: Measurement | Result, after: Measurement | Result) -> Judgement:
    """Return the judgement of two results, or of two rows."""
    one, other = (each if isinstance(each, Result) else result(each) for each in (before, after))
    return judge_results(one, other, None, TODAY)


def finding(found: Judgement, quantity: str) -> Finding:
    """Return what was found of a quantity in the only row."""
    (row,) = found.rows
    return next(each for each in row.findings if each.quantity == quantity)


def elsewhere(row: Measurement, environment: Environment = OTHER) -> Result:
    """Return a row as another machine measured it."""
    return result(row, environment=environment)


def test_the_same_result_passes() -> None:
    """A result judged by itself: every quantity is there, and passes; exit code 0."""
    found = judged(case(), case())
    assert (found.verdict, found.exit_code(), found.notes) == (PASS, 0, ())
    assert [each.quantity for each in found.rows[0].findings] == [
        "peak bytes",
        "allocations",
        "baseline ratio",
        "products ratio",
        "latency",
    ]


@pytest.mark.parametrize(
    ("ratio", "spread", "verdict", "code"),
    [
        (1.2 * 1.1, SPREAD, REGRESSION, 1),
        (1.2 * 1.05, SPREAD, PASS, 0),
        (1.2 * 1.02, SPREAD, PASS, 0),
        (1.2, WILD, INCONCLUSIVE, 3),
        (1.2 * 0.98, SPREAD, PASS, 0),
        (1.2 * 0.8, SPREAD, IMPROVED, 0),
    ],
    ids=["regression", "not-beyond-for-sure", "within", "inconclusive", "a-little-better", "improved"],
)
def test_judgement_on_the_ratios_to_the_yardsticks(ratio: float, spread: tuple[float, ...], verdict: str, code: int) -> None:
    """Red where the whole interval of both lies beyond 3 %; in doubt where neither excludes 25 %; green otherwise."""
    found = judged(case(), case(ratio=ratio, spread=spread))
    assert (finding(found, "products ratio").verdict, found.verdict, found.exit_code()) == (verdict, verdict, code)


@pytest.mark.parametrize(
    ("products", "eager", "verdict"),
    [
        (1.0, 1.5, PASS),
        (1.1, 1.0, PASS),
        (1.3, 1.0, REGRESSION),
        (1.1, 1.1, REGRESSION),
        (1.0, 0.5, PASS),
    ],
    ids=["eager-drifts", "products-drift", "both-runners-slower", "optimized-slower", "eager-slower"],
)
def test_one_yardstick_that_drifts_is_not_red(products: float, eager: float, verdict: str) -> None:
    """A little against one yardstick alone says nothing of the code; much against the products alone does, whatever the other does."""
    assert judged(case(), case(ratio=1.2 * products, eager_ratio=0.3 * eager)).verdict == verdict


def test_twice_the_time_is_red_whatever_both_runners_do() -> None:
    """A slowdown of what both runners use leaves their ratio as it was, and shows against NumPy's products."""
    found = judged(case(), case(ratio=2.4, eager_ratio=0.3))
    assert {each.quantity for each in found.rows[0].findings if each.verdict == REGRESSION} == {"products ratio"}
    assert "for this ratio alone" in found.rows[0].why


def test_the_eager_runner_fails_no_build_by_its_times() -> None:
    """It is a yardstick: ten times as slow is shown and passes, one byte more is red, and so is a row without times."""
    eager = case("baseline-b8-h64", plan=None)
    slow = judged(eager, case("baseline-b8-h64", plan=None, ratio=12.0, latency_s=1e-4))
    assert slow.verdict == PASS
    assert "shown, and not judged" in finding(slow, "products ratio").why
    assert finding(slow, "latency").change is not None
    assert judged(eager, case("baseline-b8-h64", plan=None, static_bytes=4097)).verdict == REGRESSION
    assert judged(eager, replace(eager, timing=None, arms={})).verdict == MISSING


def test_the_fastest_rounds_are_compared() -> None:
    """A neighbour that slowed down three of five processes, and the runners unlike each other, leaves the verdict as it was."""
    busy = (1.0, 1.8, 1.8, 1.005, 1.8)
    assert judged(case(), case(spread=busy)).verdict == PASS


def test_one_undisturbed_round_of_a_process_suffices() -> None:
    """Two rounds of three that a neighbour made longer leave the verdict as it was."""
    busy = replace(case(), arms={name: tuple((1.8 * each[0], each[0], 1.8 * each[0]) for each in rounds) if name == "this" else rounds
                                 for name, rounds in case().arms.items()})  # fmt: skip
    assert judged(case(), busy).verdict == PASS


def test_a_yardstick_that_moved_is_trusted_less() -> None:
    """Where the products themselves took 1.5 times as long the machine was in another state, and 8 % in the ratios prove nothing."""
    found = judged(case(), case(ratio=1.2 * 1.08, latency_s=1.5e-5))
    assert found.verdict != REGRESSION
    assert judged(case(), case(ratio=1.2 * 1.08)).verdict == REGRESSION


def several(ratios: tuple[float, ...]) -> Measurement:
    """Return a row of a baseline of several runs with these ratios to the products."""
    rows = [case(ratio=each) for each in ratios]
    arms = {name: sum((row.arms[name] for row in rows), ()) for name in rows[0].arms}
    return replace(rows[0], arms=arms, runs=(5,) * len(rows))


@pytest.mark.parametrize(("ratios", "verdict"), [((1.2, 1.203, 1.198, 1.2), REGRESSION), ((1.0, 1.45, 1.1, 1.35), INCONCLUSIVE)])
def test_a_baseline_of_several_runs_shows_how_much_they_differ(ratios: tuple[float, ...], verdict: str) -> None:
    """Runs that agree find 5 % more, which one run would let pass; runs that differ put it in doubt."""
    assert judged(several(ratios), case(ratio=1.2 * 1.055)).verdict == verdict
    assert judged(case(), case(ratio=1.2 * 1.055)).verdict == PASS


def test_runs_that_do_not_add_up_are_refused() -> None:
    """Nobody could say which process belongs to which run."""
    with pytest.raises(FileError, match=rf"{ROW}: runs \[5, 5\] do not add up to 5 processes"):
        judged(replace(case(), runs=(5, 5)), case())


NAMES = [f"optimized-b{batch}-h64" for batch in (1, 8, 64, 512, 4096, 8192)]


@pytest.mark.parametrize(("factor", "verdict"), [(1.05, REGRESSION), (1.02, PASS), (0.9, IMPROVED)])
def test_the_mean_of_the_rows_shows_what_no_row_does(factor: float, verdict: str) -> None:
    """Five per cent in every row pass in each of them, and are red in their mean."""
    found = judged(result(*map(case, NAMES)), result(*(case(name, ratio=1.2 * factor) for name in NAMES)))
    assert found.rows[-1].id == MEAN_ROW
    assert found.rows[-1].verdict == verdict
    if verdict == REGRESSION:
        assert {row.verdict for row in found.rows[:-1]} == {PASS}


def test_few_rows_have_no_mean() -> None:
    """Of three rows no mean is made, nor on another machine."""
    assert len(judged(result(*map(case, NAMES[:3])), result(*map(case, NAMES[:3]))).rows) == 3
    elsewhere_rows = result(*map(case, NAMES), environment=OTHER)
    assert len(judged(result(*map(case, NAMES)), elsewhere_rows).rows) == len(NAMES)


def test_a_file_of_before_the_yardsticks_is_told() -> None:
    """Its floor was code under test: times of cases are not compared by it, and a note says so."""
    old = replace(case(), arms={"generated_floor": case().arms["this"]})
    found = judged(old, case(ratio=9))
    assert [each.quantity for each in found.rows[0].findings] == ["peak bytes", "allocations", "latency"]
    assert found.notes[0].startswith("the baseline was measured before there were yardsticks")


def test_a_regression_tells_its_numbers() -> None:
    """Before, after, the change with its interval, the tolerance, and a sentence."""
    found = finding(judged(case(), case(ratio=1.68)), "products ratio")
    assert found.change is not None
    assert [found.before, found.after, found.tolerance] == pytest.approx([1.2 * 0.99, 1.68 * 0.99, 0.03])
    assert found.change.low < 1.4 < found.change.high
    assert found.why.startswith("products ratio 1.19 -> 1.66, +40.0 % (95 % interval +3")
    assert found.why.endswith("all of it lies beyond what is tolerated, +3.0 %, and so it does by the other yardstick")


def test_an_inconclusive_row_says_what_would_settle_it() -> None:
    """What cannot be excluded, and to measure again or with more processes; of a callable how many times."""
    why = finding(judged(case(), case(spread=WILD)), "products ratio").why
    assert "+25.0 % or more cannot be excluded, +3.0 % is tolerated; measure both again, when the machine is idle, or with more proc" in why


def test_doubt_may_pass_on_request() -> None:
    """Exit code 3 becomes 0 where inconclusive may pass; 1 stays 1."""
    assert judged(case(), case(spread=WILD)).exit_code(inconclusive_passes=True) == 0
    assert judged(case(), case(ratio=9)).exit_code(inconclusive_passes=True) == 1


def test_a_uniform_slowdown_shows() -> None:
    """Every row 40 % slower is red in every row: no median of the suite is divided out."""
    names = [f"optimized-b{batch}-h64" for batch in (1, 8, 64, 512)]
    found = judged(result(*(case(name) for name in names)), result(*(case(name, ratio=1.68, latency_s=1.4e-5) for name in names)))
    assert found.count(REGRESSION) == 5
    assert found.rows[-1].id == MEAN_ROW


@pytest.mark.parametrize(("factor", "verdict"), [(2.5, PASS), (4.0, REGRESSION)], ids=["twice", "four-times"])
def test_seconds_are_compared_on_the_same_machine(factor: float, verdict: str) -> None:
    """What slows down the yardsticks as well shows in the seconds, from three times on; a neighbour on the same core does not."""
    assert finding(judged(case(), case(latency_s=factor * 1e-5)), "latency").verdict == verdict


def test_seconds_of_another_machine_are_not_compared() -> None:
    """Another machine is named with what differs; ratios are held wider, and five times the seconds say nothing."""
    found = judged(result(case()), elsewhere(case(latency_s=5e-5, ratio=1.2 * 2)))
    assert found.verdict == PASS
    assert [each.quantity for each in found.rows[0].findings] == ["peak bytes", "allocations", "baseline ratio", "products ratio"]
    assert found.notes[0].startswith("another machine than the baseline's (cpu CPU -> another; blas openblas (Haswell) -> openblas (Zen))")
    assert judged(result(case()), elsewhere(case(ratio=1.2 * 5))).verdict == REGRESSION


def test_another_machine_says_how_much_slips_through() -> None:
    """Of cases, of callables with a reference, and of those without: whatever the two results have, and only that."""
    alone = callable_of_a_user("test_mine.py::test_alone", ratio=None)
    cases = "+300.0 % is tolerated in ratios of cases where nothing else is said, so that a slowdown to 4 times slips through"
    callables = (
        "+150.0 % is tolerated in ratios of callables to their references where nothing else is said, so that a slowdown to 2.5 times "
        "slips through"
    )
    (note,) = judged(result(case()), elsewhere(case())).notes
    assert note.endswith(f": seconds are not compared, and {cases}")
    (note,) = judged(result(callable_of_a_user()), elsewhere(callable_of_a_user())).notes
    assert note.endswith(f": seconds are not compared, and {callables}")
    head, lone = judged(result(alone), elsewhere(alone)).notes
    assert head.endswith("): seconds are not compared")
    assert lone == (
        "no time is compared on another machine for test_mine.py::test_alone, which has no reference: any slowdown slips through; give the "
        "callable a reference"
    )
    old = replace(case(), arms={})
    assert len(judged(result(old), elsewhere(old)).notes) == 1, "a case without yardsticks is told to be old elsewhere"
    every = (case(), callable_of_a_user(), alone)
    assert f"{cases}, and {callables}" in judged(result(*every), result(*every, environment=OTHER)).notes[0]


def test_a_machine_of_the_same_class_says_what_slips_through() -> None:
    """Ratios are held as tight as on the same one; the seconds of a callable without a reference are not compared."""
    alone = callable_of_a_user(ratio=None)
    found = judged(result(alone), elsewhere(replace(alone, timing=Timing(1.0, None, 0, None, ((1.0,),))), replace(ENVIRONMENT, cores=64)))
    assert found.verdict == PASS
    assert "no time is compared on a machine of the same class for test_mine.py::test_square" in found.notes[1]


def test_a_machine_of_the_same_class_has_the_same_bounds() -> None:
    """Other cores or another governor: no seconds, but ratios as tight as on the same machine."""
    alike = replace(ENVIRONMENT, governor="performance", cores=64)
    found = judged(result(case()), elsewhere(case(latency_s=1.05e-5, ratio=1.68), alike))
    assert finding(found, "products ratio").verdict == REGRESSION
    assert all(each.quantity != "latency" for each in found.rows[0].findings)
    assert found.notes[0].startswith("a machine of the same class as the baseline's (cores 2 -> 64; governor none -> performance)")


def test_another_version_of_mlbench_is_the_same_machine() -> None:
    """What is under test may change."""
    assert judged(result(case()), elsewhere(case(), replace(ENVIRONMENT, mlbench="9.9"))).notes == ()


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(4096, 4097, REGRESSION), (4096, 4096, PASS), (4096, 4095, IMPROVED)],
    ids=["one-byte-more", "the-same", "one-byte-less"],
)
def test_bytes_are_compared_exactly(before: int, after: int, verdict: str) -> None:
    """With the same NumPy, memray and plan one byte counts, held or at the peak of the call."""
    assert finding(judged(case(static_bytes=before), case(static_bytes=after)), "peak bytes").verdict == verdict
    rows = [case("baseline-b8-h64", peak_bytes=size, static_bytes=0, plan=None) for size in (before, after)]
    assert finding(judged(*rows), "peak bytes").verdict == verdict


@pytest.mark.parametrize(
    ("arena", "copies", "verdicts"),
    [
        (4096, 800_000, (REGRESSION, PASS)),
        (4096, 8001, (REGRESSION, PASS)),
        (4097, 8000, (REGRESSION, REGRESSION)),
        (4196, 7900, (PASS, REGRESSION)),
        (4096, 8000, (PASS, PASS)),
        (4096, 0, (IMPROVED, PASS)),
    ],
    ids=["a-hundred-times", "one-byte", "arena", "moved", "same", "gone"],
)
def test_bytes_are_compared_with_and_without_copies_of_weights(arena: int, copies: int, verdicts: tuple[str, str]) -> None:
    """Both numbers count exactly, so that neither more copies show nor what copies that went away would hide."""
    found = judged(case(weight_copies=8000), case(static_bytes=arena, weight_copies=copies))
    quantities = ("peak bytes", "peak bytes without weight copies")
    assert tuple(finding(found, quantity).verdict for quantity in quantities) == verdicts


def test_one_allocation_more_is_red() -> None:
    """Counts are exact as well."""
    found = judged(case(), case(allocations=1))
    assert (found.verdict, found.rows[0].why) == (REGRESSION, "allocations 0 -> 1: compared exactly")


@pytest.mark.parametrize(
    ("size", "verdict"), [(100_000 + 2000 + 1024, PASS), (100_000 + 2000 + 1025, REGRESSION)], ids=["within", "beyond"]
)
@pytest.mark.parametrize("why", ["numpy", "memray", "plan", "unknown"])
def test_bytes_have_a_stated_tolerance_where_something_differs(why: str, size: int, verdict: str) -> None:
    """2 % and 1 KB with another NumPy, memray or plan, or a plan that an old file does not tell; and the sentence says because of what."""
    plans = {"plan": PLAN | {"tile_rows": 96}, "unknown": None}
    environments = {"numpy": replace(ENVIRONMENT, numpy="2.0.2"), "memray": replace(ENVIRONMENT, memray="1.20")}
    before = case(static_bytes=100_000, plan=plans.get(why, PLAN))
    found = finding(judged(result(before), elsewhere(case(static_bytes=size), environments.get(why, ENVIRONMENT))), "peak bytes")
    assert found.verdict == verdict
    assert "because of a" in found.why


@pytest.mark.parametrize(("size", "verdict"), [(10_000, PASS), (40_000, REGRESSION)], ids=["three-times", "ten-times"])
def test_another_plan_for_another_blas_may_take_more(size: int, verdict: str) -> None:
    """The rules for tiles and packing know of BLAS; with its kernels and the plan both different 3.5 times is tolerated."""
    found = judged(result(case(static_bytes=4096)), elsewhere(case(static_bytes=size, plan=PLAN | {"tile_rows": 96})))
    assert finding(found, "peak bytes").verdict == verdict


def test_none_stays_none_on_any_machine() -> None:
    """A runner that allocated nothing may not begin to, whatever differs; one that allocated may allocate one in ten more, and one."""
    numpy = replace(ENVIRONMENT, numpy="2.0.2")
    assert finding(judged(result(case()), elsewhere(case(allocations=1), numpy)), "allocations").verdict == REGRESSION
    rows = [case("baseline-b8-h64", allocations=count, plan=None) for count in (10, 12, 13)]
    assert finding(judged(result(rows[0]), elsewhere(rows[1], numpy)), "allocations").verdict == PASS
    assert finding(judged(result(rows[0]), elsewhere(rows[2], numpy)), "allocations").verdict == REGRESSION


def test_memory_that_does_not_repeat_is_in_doubt() -> None:
    """Where repeats of the footprint did not agree, more bytes are no proof."""
    assert finding(judged(case(), case(static_bytes=9999, steady=False)), "peak bytes").verdict == INCONCLUSIVE


def holding(size: int, counted: str | None = "objects", peak_bytes: int = 0) -> Measurement:
    """Return a callable that holds so many bytes between calls."""
    return replace(callable_of_a_user(peak_bytes=peak_bytes), static=StaticBytes(objects=size if counted else 0), counted=counted)


@pytest.mark.parametrize("counted", ["objects", "runner", "stated"])
@pytest.mark.parametrize(("after", "verdict"), [(131_072, PASS), (131_073, REGRESSION), (26_843_546, REGRESSION), (65_536, IMPROVED)])
def test_what_a_callable_holds_is_compared_exactly(counted: str, after: int, verdict: str) -> None:
    """As the peak of its calls is, of which it is a part, whoever counted it."""
    found = judged(holding(131_072, counted), holding(after, counted))
    assert finding(found, "peak bytes").verdict == verdict
    assert found.notes == ()


def test_what_is_no_longer_counted_is_missing() -> None:
    """Who takes the option out of a test cannot hide what it counted."""
    found = finding(judged(holding(4096), holding(0, None)), "peak bytes")
    assert found.verdict == MISSING
    assert "counts what is held between calls, this run does not; name it in the test, as holds=" in found.why


def test_what_the_baseline_did_not_count_is_not_judged_and_said() -> None:
    """A baseline of before is compared by the peaks of the calls alone."""
    before = holding(0, None, peak_bytes=800)
    found = judged(before, holding(26_843_546, peak_bytes=800))
    assert (found.verdict, finding(found, "peak bytes").verdict) == (PASS, PASS)
    assert found.notes == (f"what {CALLABLE} holds between calls was not counted in the baseline, and is not judged; replace the baseline",)
    assert finding(judged(before, holding(0, peak_bytes=801)), "peak bytes").verdict == REGRESSION
    assert finding(judged(before, replace(holding(0, "runner", peak_bytes=801), plan=PLAN)), "peak bytes").verdict == REGRESSION


def test_what_was_counted_in_two_ways_cannot_be_compared() -> None:
    """A runner counts less of itself than all that it refers to."""
    found = finding(judged(holding(4096, "runner"), holding(8192)), "peak bytes")
    assert found.verdict == INCONCLUSIVE
    assert "counted by our runner itself in the baseline and object by object in this run" in found.why


@pytest.mark.parametrize(("counted", "size", "verdict"), [("objects", 102_000, PASS), ("objects", 104_000, REGRESSION),
                                                         ("runner", 100_001, REGRESSION)])  # fmt: skip
def test_objects_of_another_python_have_other_sizes(counted: str, size: int, verdict: str) -> None:
    """2 % and 1 KB more are allowed then, which is said; what a runner says of itself does not depend on it."""
    after = elsewhere(holding(size, counted), replace(ENVIRONMENT, python="3.13.0"))
    found = finding(judged(result(holding(100_000, counted)), after), "peak bytes")
    assert found.verdict == verdict
    assert ("another Python, whose objects have other sizes" in found.why) is (counted == "objects")


def test_a_runner_of_a_test_has_the_tolerance_of_its_plan() -> None:
    """Another BLAS decides on another plan, with which the same code holds more."""
    before, after = (replace(holding(size, "runner"), plan=plan) for size, plan in ((100_000, PLAN), (300_000, PLAN | {"tile_rows": 24})))
    assert finding(judged(result(before), elsewhere(after)), "peak bytes").verdict == PASS
    assert finding(judged(result(before), result(after)), "peak bytes").verdict == REGRESSION


def test_two_instruments_cannot_be_compared() -> None:
    """memray and tracemalloc see different things: inconclusive, and says which measured what."""
    found = finding(judged(case(), case(instrument="tracemalloc", allocations=None)), "peak bytes")
    assert (found.verdict, "memray measured the baseline and tracemalloc this run" in found.why) == (INCONCLUSIVE, True)


def test_a_missing_row_is_red_and_a_new_one_is_not() -> None:
    """A renamed row is both: the old name is missing, which is red, the new one is new."""
    found = judged(case(), case("optimized-b8-h65"))
    assert {row.id: row.verdict for row in found.rows} == {ROW: MISSING, "optimized-b8-h65": NEW}
    assert found.exit_code() == 1
    assert judged(result(case()), result(case(), case("optimized-b8-h65"))).verdict == NEW
    assert judged(result(case()), result(case(), case("optimized-b8-h65"))).exit_code() == 0


@pytest.mark.parametrize("before", [ROW, "optimized-b1-h1"], ids=["known", "new"])
def test_a_failed_row_is_red_with_its_error(before: str) -> None:
    """Whether the baseline has the row or not."""
    found = judged(result(case(before)), result(case(status=FAILED, error="AssertionError: wrong")))
    assert found.verdict == REGRESSION
    assert "the test failed: AssertionError: wrong" in [row.why for row in found.rows]


def test_a_row_that_was_broken_off_is_red() -> None:
    """Half a row may not pass, and the run says that it was broken off."""
    found = judged(result(case()), result(case(status=INTERRUPTED), status=INTERRUPTED))
    assert (found.verdict, found.rows[0].why, found.notes) == (MISSING, "measuring was broken off", ("this run was broken off",))


def test_half_a_baseline_row_decides_nothing() -> None:
    """Where the baseline itself is half a row, the answer is open, not green."""
    assert judged(case(status=INTERRUPTED), case()).verdict == INCONCLUSIVE


@pytest.mark.parametrize("part", ["footprint", "timing"])
def test_a_quantity_that_is_no_longer_measured_is_missing(part: str) -> None:
    """What the baseline has and this run has not is red, although the row is there."""
    lacking = replace(case(), footprint=None) if part == "footprint" else replace(case(), timing=None, arms={})
    assert judged(case(), lacking).verdict == MISSING


def test_a_count_that_is_no_longer_taken_is_missing() -> None:
    """The same for the count of allocations alone."""
    assert finding(judged(case(), case(allocations=None)), "allocations").verdict == MISSING


def test_no_rows_are_red() -> None:
    """A suite without a row judges nothing, and exit code 1 says so."""
    found = judged(result(), result())
    assert (found.verdict, found.exit_code()) == (REGRESSION, 1)
    assert found.notes[0] == (
        "no row was compared, which is red: the baseline has none, and this run has none; ask for the same sizes and threads, "
        "or replace the baseline"
    )
    assert judge_results(result(case()), result(), None, TODAY, left_out={ROW}).exit_code() == 1


def test_only_new_rows_are_red() -> None:
    """Other sizes or threads than the baseline's compare nothing: exit code 1, and the note names a row of each side."""
    other = case()
    other = replace(other, case={**other.case, "id": "optimized-b9-h9", "cell": "b9-h9"})
    found = judge_results(result(case()), result(other), None, TODAY, left_out={ROW})
    assert [row.verdict for row in found.rows] == [NEW]
    assert (found.verdict, found.exit_code(inconclusive_passes=True)) == (REGRESSION, 1)
    assert f"the baseline has 1 rows, such as {ROW}, and this run has 1 rows, such as optimized-b9-h9" in found.notes[-1]


def test_a_missing_row_says_why_where_that_is_known() -> None:
    """Its test was skipped, for example."""
    other = replace(case(), case={**case().case, "id": "other"})
    found = judge_results(result(case(), other), result(other), None, TODAY, reasons={ROW: "the test was skipped: no GPU"})
    assert found.rows[0].why == "the baseline has this row, this run does not: the test was skipped: no GPU"


def test_rows_that_were_left_out_are_told_and_not_judged() -> None:
    """Neither missing nor compared; a note counts them."""
    found = judge_results(result(case(), case("optimized-b1-h1")), result(case()), None, TODAY, left_out={"optimized-b1-h1"})
    assert (found.verdict, found.notes) == (PASS, ("left out, because other rows were chosen: optimized-b1-h1",))


@pytest.mark.parametrize("number", [math.nan, math.inf, 0.0], ids=["nan", "infinity", "zero"])
def test_what_is_no_number_is_never_green(number: float) -> None:
    """A time that is no positive number is red, even where doubt may pass."""
    rounds = ((number,) * 3,) * 5
    broken = replace(case(), timing=Timing(1.0, None, 0, None, rounds), arms={**case().arms, "this": rounds})
    assert judged(case(), broken).exit_code(inconclusive_passes=True) == 1


def test_nothing_to_compare_is_in_doubt() -> None:
    """A row without footprint and times on both sides cannot pass."""
    bare = Measurement({"id": ROW, "cell": "b8-h64", "runner": "optimized"})
    assert judged(bare, bare).verdict == INCONCLUSIVE


@pytest.mark.parametrize("damaged", [case(), case(ratio=1.7)], ids=["baseline", "current"])
def test_arms_of_other_processes_than_the_row_are_refused(damaged: Measurement) -> None:
    """The ratio could not be made, and the row would pass without it."""
    short = replace(damaged, arms={**damaged.arms, "products": damaged.arms["products"][1:]})
    with pytest.raises(FileError, match=rf"{ROW}: arms.products has 4 processes; expected 5, as the row has"):
        judged(*((short, case(ratio=1.7)) if damaged == case() else (case(), short)))


def test_two_rows_of_one_name_are_refused() -> None:
    """Nobody could say which of them counts."""
    with pytest.raises(FileError, match=f"the baseline: has two rows called {ROW}"):
        judged(result(case(), case()), result(case()))


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.5, PASS), (0.53, PASS), (0.6, INCONCLUSIVE), (0.8, REGRESSION), (0.3, IMPROVED)], ids=str
)
def test_a_callable_is_judged_by_its_reference(ratio: float, verdict: str) -> None:
    """Its time / its reference's, of one process, whose spread is assumed and said."""
    found = finding(judged(callable_of_a_user(), callable_of_a_user(ratio=ratio)), "reference ratio")
    assert found.verdict == verdict
    assert "one process, whose spread is taken to be 5 %" in found.why


def test_before_and_after_are_apart_by_the_change() -> None:
    """They are of the same estimator: not medians beside a change of trimmed means."""
    found = finding(judged(case(), case(spread=(1.0, 1.0, 1.0, 1.3, 1.3, 1.3))), "latency")
    assert found.before is not None
    assert found.after is not None
    assert found.change is not None
    assert found.after / found.before == pytest.approx(found.change.estimate)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, PASS), (2.5, INCONCLUSIVE), (6.0, REGRESSION)], ids=str)
def test_a_callable_alone_is_judged_by_its_seconds(factor: float, verdict: str) -> None:
    """Without a reference there is nothing else on the same machine; elsewhere its memory is all that is compared."""
    rows = [callable_of_a_user(ratio=None), callable_of_a_user(ratio=None, latency_s=factor * 1e-5)]
    assert finding(judged(*rows), "latency").verdict == verdict
    assert [each.quantity for each in judged(result(rows[0]), elsewhere(rows[1])).rows[0].findings] == ["peak bytes", "allocations"]


def test_a_callable_needs_no_plan_to_be_exact() -> None:
    """One byte more of a user's callable is red."""
    found = judged(callable_of_a_user(), callable_of_a_user(peak_bytes=801))
    assert (found.rows[0].id, found.verdict) == (CALLABLE, REGRESSION)
