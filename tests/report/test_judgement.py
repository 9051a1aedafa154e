"""A judgement told: for the terminal, as Markdown, as JSON and as JUnit XML."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from mlbench.gate import BROKEN, IMPROVED, INCONCLUSIVE, MISSING, NEW, PASS, REGRESSION, VERDICTS, Finding, Judgement, Row, row_of
from mlbench.measure.stats import Interval
from mlbench.report import junit, markdown, verdict_text, verdicts_json
from mlbench.report.judgement import headline, verdict_table
from mlbench.report.machine_readable import VERDICTS_FILE
from mlbench.report.markdown import MOST_CHARACTERS, escaped
from mlbench.results.schema import fault

CHANGE = Interval(1.4, 1.3, 1.5, 0.95, 5, 10)
OPEN = replace(CHANGE, low=0.0, high=math.inf)
ROWS = (
    row_of("same", [Finding("peak bytes", PASS, "peak bytes 10 -> 10: as before", 10, 10, "bytes")]),
    row_of("doubtful", [Finding("products ratio", INCONCLUSIVE, "cannot tell", 1.0, 1.4, "ratio", OPEN)]),
    row_of("slow", [Finding("latency", REGRESSION, "became slower", 1e-6, 1.4e-6, "s", CHANGE, 0.1),
                    Finding("allocations", PASS, "", 0, 0, "count")]),
    row_of("gone", [Finding("test", MISSING, "not there")]),
    row_of("odd", [Finding("test", BROKEN, "failed in both versions")]),
    row_of("fresh", [Finding("test", NEW, "not there before")]),
    row_of("lean", [Finding("peak bytes", IMPROVED, "less", 10, 8, "bytes")]),
)  # fmt: skip
EVERY = Judgement("main", "this", ROWS, ("another machine",))
NASTY = "test[a|b]`<script>`\n@somebody *x* \x00\x1b[31m&\ud800"


def only(*verdicts: str) -> Judgement:
    """Return a judgement of the rows with these verdicts."""
    return replace(EVERY, rows=tuple(row for row in ROWS if row.verdict in verdicts))


def test_the_headline_counts_the_worst_first() -> None:
    """The verdict of the whole, then how many rows have which."""
    assert headline(EVERY) == "regression: 7 rows: 1 worse, 1 missing, 1 broken in both, 1 inconclusive, 1 improved, 1 new, 1 pass"
    assert headline(only(PASS)) == "pass: 1 row: 1 pass"
    assert headline(replace(EVERY, rows=())) == "nothing was compared, which is red: 0 rows"


def test_the_headline_says_what_doubt_means() -> None:
    """Whether an inconclusive whole fails, and how to let it pass."""
    assert headline(only(INCONCLUSIVE)).startswith("inconclusive (exit code 3; --inconclusive=pass lets it pass): ")
    assert headline(only(INCONCLUSIVE), inconclusive_passes=True).startswith("inconclusive, which may pass here: ")


def test_the_table_has_the_worst_first_and_no_passes() -> None:
    """A line for each finding that decides; rows that pass are in the count alone, unless everything is asked for."""
    assert [row[0] for row in verdict_table(EVERY).rows] == ["slow", "gone", "odd", "doubtful", "lean", "fresh"]
    assert verdict_table(EVERY).rows[0] == ("slow", REGRESSION, "latency", "1.00 us", "1.40 us", "+40.0 %", "+30.0 % to +50.0 %")
    everything = verdict_table(EVERY, everything=True).rows
    assert [row[2] for row in everything if row[0] == "slow"] == ["latency", "allocations"]
    assert everything[-1] == ("same", PASS, "peak bytes", "10 B", "10 B", "0", "-")


def test_a_ratio_is_told_as_a_time_and_what_it_is_of() -> None:
    """It has no x as a speed-up has, and below the table stands why it is not 1 / the speed-up; without one nothing is explained."""
    found = verdict_table(only(INCONCLUSIVE))
    assert found.rows[0][3:6] == ("1.00", "1.40", "+40.0 %")
    assert ["not 1 / the speed-ups" in note for note in found.notes] == [True]
    assert verdict_table(only(REGRESSION)).notes == ()
    assert escaped("not 1 / the speed-ups") in markdown(only(INCONCLUSIVE))


def test_the_text_has_sentences_graphs_and_notes() -> None:
    """What is red or in doubt is explained, flame graphs and notes are named; no sentence for what passes."""
    shown = verdict_text(replace(EVERY, rows=(replace(ROWS[2], graphs=("after/slow.html",)), *ROWS)), colour=False)
    for line in (
        "slow: became slower.",
        "gone: not there.",
        "doubtful: cannot tell.",
        "slow: flame graphs after/slow.html",
        "Note: another machine.",
    ):
        assert line in shown.splitlines()
    assert "less." not in shown
    assert verdict_text(replace(only(PASS), notes=()), colour=False) == "pass: 1 row: 1 pass"


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_told_in_every_format(verdict: str) -> None:
    """No verdict is forgotten by a format."""
    found = only(verdict)
    for text in (verdict_text(found, colour=False), markdown(found), verdicts_json(found)):
        assert verdict in text
    assert ET.fromstring(junit(found)).find("testsuite/testcase") is not None


def test_markdown_shows_names_as_they_are() -> None:
    """Nothing in a name is markup, HTML, a mention, a new cell or a new line."""
    assert escaped("a|b") == r"a\|b"
    told = markdown(Judgement(NASTY, "this", (row_of(NASTY, [Finding("test", MISSING, NASTY)]),)))
    line = next(line for line in told.splitlines() if line.startswith("| test"))
    assert line.replace(r"\|", "").count("|") == 4
    for forbidden in ("<script", "@", "\x00", "\x1b", "\ud800", "*x*"):
        assert forbidden not in told.replace(r"\*", "")


def test_markdown_folds_what_passes() -> None:
    """A headline, a table of what does not pass with the worst first, the rest folded away, the notes."""
    told = markdown(EVERY)
    assert told.startswith("### :x: mlbench: regression: 7 rows")
    assert told.index("| slow |") < told.index("| gone |") < told.index("| doubtful |") < told.index("<details>") < told.index("| same |")
    assert "- another machine" in told
    assert "<details>" not in markdown(only(REGRESSION))


def test_markdown_fits_a_comment() -> None:
    """However many rows there are, GitHub takes it as a comment, and what does not fit is counted."""
    rows = tuple(row_of(f"row-{number}", [Finding("test", MISSING, f"not there {number} " * 20)]) for number in range(2000))
    told = markdown(Judgement("main", "this", (*rows, *ROWS[:1] * 2000)))
    assert len(told) <= MOST_CHARACTERS
    assert "more do not fit here" in told


def test_json_fits_its_schema() -> None:
    """Every verdict, infinite intervals too, is valid; the exit code follows what doubt means."""
    data = json.loads(verdicts_json(EVERY))
    assert fault(data, VERDICTS_FILE) is None
    assert (data["verdict"], data["exit_code"]) == (REGRESSION, 1)
    doubtful = json.loads(verdicts_json(only(INCONCLUSIVE)))
    assert (doubtful["exit_code"], doubtful["rows"][0]["findings"][0]["change"]["high"]) == (3, None)
    assert json.loads(verdicts_json(only(INCONCLUSIVE), inconclusive_passes=True))["exit_code"] == 0


@pytest.mark.parametrize(("passes", "failures", "skipped"), [(False, 4, 0), (True, 2, 2)], ids=["doubt-fails", "doubt-passes"])
def test_junit_counts(passes: bool, failures: int, skipped: int) -> None:
    """Red rows are failures; doubt is one too, or skipped where it may pass; the rest are plain cases."""
    root = ET.fromstring(junit(EVERY, inconclusive_passes=passes))
    (suite,) = root.findall("testsuite")
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["7", str(failures), "0", str(skipped)]
    assert len(root.findall(".//failure")) == failures
    assert len(root.findall(".//skipped")) == skipped
    slow = next(each for each in suite.findall("testcase") if each.get("name") == "slow")
    failure = slow.find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("became slower", REGRESSION)


def test_junit_has_no_character_that_xml_forbids() -> None:
    """Control characters and lone surrogates in names and sentences are replaced, and markup is escaped."""
    found = junit(Judgement(NASTY, NASTY, (Row(NASTY, MISSING, (Finding("test", MISSING, NASTY),), (NASTY,)),), (NASTY,)))
    (case,) = ET.fromstring(found.encode()).iter("testcase")
    assert case.get("name") == "test[a|b]`<script>`\n@somebody *x* ??[31m&?"


def test_junit_of_nothing_is_a_failure() -> None:
    """A suite without a case would be green in CI."""
    root = ET.fromstring(junit(Judgement("main", "this", ())))
    assert root.get("failures") == "1"
