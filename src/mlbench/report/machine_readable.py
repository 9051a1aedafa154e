"""A judgement for machines: our JSON with its schema, and JUnit XML, which every CI system reads."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET

from mlbench.gate import NEW, OPEN, RED, Finding, Judgement, Row
from mlbench.gate.verdict import EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_REGRESSION, VERDICTS
from mlbench.measure.stats import Interval
from mlbench.results.schema import Bounds, Schema, Size, convert
from mlbench.results.storage import checked, read_json, to_json

_Value = Annotated[float, Bounds(ge=-1e18, le=1e18)]
_Verdict = Annotated[str, Bounds(one_of=VERDICTS)]
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow (section 2.2)."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A judgement as a file holds it.

    Attributes:
        verdict: the worst of the rows.
        exit_code: of the command that judged.
        before: what the baseline is, for people.
        after: what is judged.
        rows: one for each benchmark of either side.
        notes: what the reader should know.
    """

    verdict: _Verdict
    exit_code: Annotated[int, Bounds(one_of=(EXIT_PASS, EXIT_REGRESSION, EXIT_INCONCLUSIVE))]
    before: str
    after: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


VERDICTS_FILE = Schema(
    "mlbench-verdicts",
    1,
    Verdicts,
    "judgement",
    "1: first version.",
    bounds={
        Row: {"verdict": _Verdict, "findings": Annotated[tuple[Finding, ...], Bounds(min_length=1)]},
        Finding: {
            "verdict": _Verdict,
            "before": _Value | None,
            "after": _Value | None,
            "unit": Annotated[str, Bounds(one_of=("", "s", "bytes", "count", "ratio"))],
            "tolerance": Annotated[float, Bounds(ge=0, le=1e6)] | None,
        },
        Interval: {
            "estimate": _Value | None,
            "low": _Value | None,
            "high": _Value | None,
            "confidence": Annotated[float, Bounds(ge=0, le=1)],
            "processes": Size,
            "rounds": Size,
        },
    },
)


def verdicts_json(judgement: Judgement, *, inconclusive_passes: bool = False) -> str:
    """Return a judgement as JSON text. An end of an interval that is infinite becomes null."""
    code = judgement.exit_code(inconclusive_passes=inconclusive_passes)
    found = Verdicts(judgement.verdict, code, judgement.before, judgement.after, judgement.rows, judgement.notes)
    return json.dumps(to_json(found, VERDICTS_FILE), indent=1, allow_nan=False) + "\n"


def load_verdicts(path: str | Path) -> Judgement:
    """Read a judgement that `--format json` wrote; an end of an interval that is null is infinite.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without msgspec.
    """
    data, _ = checked(path, read_json(path), VERDICTS_FILE)
    for change in (finding["change"] for row in data["rows"] for finding in row["findings"]):
        for name, value in (("estimate", math.nan), ("low", -math.inf), ("high", math.inf)):
            if change is not None and change[name] is None:
                change[name] = value
    found = convert(data, VERDICTS_FILE)
    return Judgement(found.before, found.after, found.rows, found.notes)


def junit(judgement: Judgement, *, inconclusive_passes: bool = False) -> str:
    """Return a judgement as JUnit XML: red is a failure, and so is what is inconclusive, unless it may pass: then it is skipped."""
    cases = [_case(row, inconclusive_passes=inconclusive_passes) for row in judgement.rows]
    if all(row.verdict == NEW for row in judgement.rows):
        cases.append(_nothing())
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
    }
    suites = ET.Element("testsuites", counts | {"name": "mlbench"})
    suite = ET.SubElement(suites, "testsuite", counts | {"name": _clean(f"{judgement.after} against {judgement.before}")})
    suite.extend(cases)
    if judgement.notes:
        ET.SubElement(suite, "system-out").text = _clean("\n".join(judgement.notes))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _case(row: Row, *, inconclusive_passes: bool) -> ET.Element:
    case = ET.Element("testcase", {"classname": "mlbench.gate", "name": _clean(row.id), "time": "0"})
    told = "\n".join([*(f"{each.verdict}: {each.why}" for each in row.findings), *row.graphs])
    if row.verdict in RED or (row.verdict in OPEN and not inconclusive_passes):
        ET.SubElement(case, "failure", {"message": _clean(row.why), "type": row.verdict}).text = _clean(told)
    elif row.verdict in OPEN:
        ET.SubElement(case, "skipped", {"message": _clean(row.why)})
    else:
        ET.SubElement(case, "system-out").text = _clean(told)
    return case


def _nothing() -> ET.Element:
    case = ET.Element("testcase", {"classname": "mlbench.gate", "name": "any row", "time": "0"})
    ET.SubElement(case, "failure", {"message": "there is no row to judge", "type": "missing"})
    return case


def _clean(text: str) -> str:
    return _NO_XML.sub("?", text)
