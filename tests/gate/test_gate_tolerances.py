"""The tolerance file: what a person allows, with a reason and an end; and everything that does not belong in it refused."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.errors import FileError
from mlbench.gate import INCONCLUSIVE, MISSING, PASS, REGRESSION, Judgement, judge_results, load_tolerances, matches
from mlbench.gate.tolerances import beside
from mlbench.results import FAILED, Measurement
from support.saved_results import ENVIRONMENT, PLAN, ROW, case, result

TODAY = dt.date(2026, 6, 30)
HEAD = 'kind = "mlbench-tolerances"\nschema = 1\n'
END = 'reason = "because"\nexpires = 2026-06-30\n'


def written(folder: Path, body: str, head: str = HEAD) -> Path:
    """Write a tolerance file and return it."""
    path = folder / "baseline.toml"
    path.write_text(head + body, encoding="utf-8")
    return path


def entry(kind: str, quantity: str, more: str, rows: str = "*") -> str:
    """Return an entry of the file as text."""
    return f'[[{kind}]]\nrows = "{rows}"\nquantity = "{quantity}"\n{more}\n{END}'


WIDE = entry("tolerance", "products ratio", "tolerance = 0.9")
DAY = "expires = 2026-06-30"
PLACE = "not a valid tolerance file at $."


def judged(folder: Path, body: str, after: Measurement | None, today: dt.date = TODAY) -> Judgement:
    """Judge a row by the plain one with these tolerances."""
    rows = () if after is None else (after,)
    return judge_results(result(case()), result(*rows), load_tolerances(written(folder, body)), today)


@pytest.mark.parametrize(
    ("body", "after", "verdict"),
    [
        (entry("tolerance", "products ratio", "tolerance = 0.5"), case(ratio=1.7), PASS),
        (entry("tolerance", "products ratio", "tolerance = 0.5"), case(ratio=2.4), REGRESSION),
        (entry("tolerance", "products ratio", "tolerance = 0.5\nlimit = 0.55"), case(ratio=1.85), INCONCLUSIVE),
        (entry("tolerance", "products ratio", "tolerance = 0.2"), case(ratio=1.38), PASS),
        (entry("tolerance", "latency", "tolerance = 3"), replace(case(), timing=case(latency_s=3e-5).timing), PASS),
        (entry("tolerance", "peak bytes", "tolerance = 0.5"), case(static_bytes=6144), PASS),
        (entry("tolerance", "peak bytes", "tolerance = 0.5"), case(static_bytes=6145), REGRESSION),
        (entry("tolerance", "peak bytes", "tolerance = 0\nextra = 10"), case(static_bytes=4106), PASS),
        (entry("tolerance", "allocations", "tolerance = 0\nextra = 2"), case(allocations=2), PASS),
        (entry("tolerance", "allocations", "tolerance = 0\nextra = 2"), case(allocations=3), REGRESSION),
        (entry("tolerance", "products ratio", "tolerance = 0.5", "baseline-*"), case(ratio=1.7), REGRESSION),
        (WIDE + entry("tolerance", "products ratio", "tolerance = 0.1", ROW), case(ratio=1.7), REGRESSION),
        (entry("accepted", "peak bytes", "up_to = 5000"), case(static_bytes=5000), PASS),
        (entry("accepted", "peak bytes", "up_to = 5000"), case(static_bytes=5001), REGRESSION),
        (entry("accepted", "peak bytes", "up_to = 5000"), case(static_bytes=5000, ratio=1.7), REGRESSION),
        (entry("accepted", "products ratio", "up_to = 1.75"), case(ratio=1.7), PASS),
        (entry("accepted", "missing", ""), None, PASS),
        (entry("accepted", "peak bytes", "up_to = 5000"), None, MISSING),
        (entry("accepted", "missing", ""), case(status=FAILED, error="wrong"), REGRESSION),
    ],
)  # fmt: skip
def test_what_is_allowed(tmp_path: Path, body: str, after: Measurement | None, verdict: str) -> None:
    """An entry loosens or tightens one quantity of the rows it fits, the last entry counts, and nothing excuses a test that fails."""
    assert judged(tmp_path, body, after).rows[0].verdict == verdict


def test_a_stated_tolerance_replaces_that_of_other_plans(tmp_path: Path) -> None:
    """What a person says of a row holds whether the comparison would be exact or not."""
    tolerances = load_tolerances(written(tmp_path, entry("tolerance", "peak bytes", "tolerance = 0.01")))
    after = result(case(static_bytes=5000, plan=PLAN | {"tile_rows": 7}), environment=replace(ENVIRONMENT, blas="another"))
    assert judge_results(result(case()), after, None, TODAY).verdict == PASS
    assert judge_results(result(case()), after, tolerances, TODAY).verdict == REGRESSION


def test_reasons_are_told(tmp_path: Path) -> None:
    """The sentence of what was accepted names the reason and the end."""
    found = judged(tmp_path, entry("accepted", "peak bytes", "up_to = 5000"), case(static_bytes=5000))
    assert found.rows[0].findings[0].why == "peak bytes 4,096 -> 5,000 (+22.1 %): compared exactly; accepted until 2026-06-30: because"


@pytest.mark.parametrize(("day", "verdict"), [(TODAY, PASS), (TODAY + dt.timedelta(1), REGRESSION)], ids=["last-day", "day-after"])
@pytest.mark.parametrize("body", [entry("accepted", "peak bytes", "up_to = 5000"), entry("tolerance", "peak bytes", "tolerance = 1")])
def test_entries_expire(tmp_path: Path, body: str, day: dt.date, verdict: str) -> None:
    """On its last day an entry counts, on the next it does not, and a note says so with its reason."""
    found = judged(tmp_path, body, case(static_bytes=5000), day)
    assert found.verdict == verdict
    expired = (
        f"{tmp_path / 'baseline.toml'}: the entry for '*' (peak bytes) expired on 2026-06-30 and no longer counts; its reason was: because"
    )
    assert found.notes == (() if verdict == PASS else (expired,))


def test_an_entry_that_fits_no_row_is_named(tmp_path: Path) -> None:
    """A pattern with a typing error would loosen nothing in silence."""
    found = judged(tmp_path, entry("tolerance", "latency", "tolerance = 1", "optimised-*"), case())
    assert found.notes == (f"{tmp_path / 'baseline.toml'}: the entry for 'optimised-*' (latency) fits no row",)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [("test_x[1]", "test_x[1]", True), ("test_x[*]", "test_x[b|8]", True), ("b?", "b8", True), ("b?", "b64", False),
     ("b8", "b8-h64", False), ("*", "a\nb", True), ("a.c", "abc", False), ("[ab]", "a", False)],
)  # fmt: skip
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    """* and ? stand for anything; brackets, which test ids have, and dots stand for themselves; the whole name has to fit."""
    assert matches(pattern, name) is fits


@pytest.mark.parametrize(
    ("head", "body", "told"),
    [
        ("", "", "no tolerance file of mlbench (its kind is not 'mlbench-tolerances')"),
        (HEAD.replace("1", "2"), "", "schema version 2; this mlbench reads version 1"),
        (HEAD, "tolerances = []", "not a valid tolerance file at $: found a field 'tolerances'; expected schema, kind, "),
        (HEAD, entry("tolerance", "products ratio", "tolerence = 1"), f"{PLACE}tolerance[0]"),
        (HEAD, entry("tolerance", "products ratio", "tolerance = -1"), f"{PLACE}tolerance[0]"),
        (HEAD, entry("tolerance", "products ratio", "tolerance = nan"), "cannot be read as TOML (nan is no finite number)"),
        (HEAD, entry("tolerance", "products ratio", "tolerance = inf"), "cannot be read as TOML (inf is no finite number)"),
        (HEAD, entry("tolerance", "peak bytes", "tolerance = 1\nlimit = 2"), f"{PLACE}tolerance[0]"),
        (HEAD, entry("tolerance", "speed", "tolerance = 1"), f"{PLACE}tolerance[0]"),
        (HEAD, entry("accepted", "peak bytes", ""), f"{PLACE}accepted[0]"),
        (HEAD, entry("accepted", "missing", "").replace('"because"', '""'), f"{PLACE}accepted[0]"),
        (HEAD, entry("accepted", "missing", "").replace("expires = 2026-06-30\n", ""), f"{PLACE}accepted[0]"),
        (HEAD, entry("accepted", "missing", "").replace("2026-06-30", '"2026-06-31"'), f"{PLACE}accepted[0].expires: found '2026-06-31'; "),
        (HEAD, entry("accepted", "missing", "").replace("2026-06-30", "2026-06-30T01:02:03"), f"{PLACE}accepted[0]"),
        (HEAD, "[[tolerance]", "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_what_does_not_belong_is_refused(tmp_path: Path, head: str, body: str, told: str) -> None:
    """With the file, the place and what is wrong; nothing of it is used."""
    path = written(tmp_path, body, head)
    with pytest.raises(FileError, match=re.escape(f"{path}: {told}")):
        load_tolerances(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """Named, it has to be there; next to the baseline it may be or not."""
    with pytest.raises(FileError, match="no such file"):
        load_tolerances(tmp_path / "none.toml")
    assert beside(tmp_path / "baseline.json") is None
    assert beside(tmp_path / "baseline.json") != written(tmp_path, "")
    assert beside(tmp_path / "baseline.json") == tmp_path / "baseline.toml"
