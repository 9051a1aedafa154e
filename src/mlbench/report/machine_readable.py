"""A judgement for machines: our JSON with its schema, and JUnit XML, which every CI system reads."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from mlbench.gate import NEW, OPEN, RED, Finding, Judgement, Row
from mlbench.measure.stats import Interval
from mlbench.results.documents import Form, check_document, plain, read_json

FORM = Form("mlbench-verdicts", 1, "verdicts.json", "judgement")
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow (section 2.2)."""


def verdicts_json(judgement: Judgement, *, inconclusive_passes: bool = False) -> str:
    """Return a judgement as JSON text; its form is FORM. An end of an interval that is infinite becomes null."""
    head: dict[str, Any] = {
        "schema": FORM.version,
        "kind": FORM.kind,
        "verdict": judgement.verdict,
        "exit_code": judgement.exit_code(inconclusive_passes=inconclusive_passes),
    }
    return json.dumps(head | plain(dataclasses.asdict(judgement)), indent=1, allow_nan=False) + "\n"


def has_verdicts(data: Any) -> bool:  # whatever JSON holds
    """Whether JSON data say that they hold a judgement."""
    return isinstance(data, dict) and data.get("kind") == FORM.kind


def load_verdicts(path: str | Path) -> Judgement:
    """Read a judgement that `--format json` wrote; an end of an interval that is null is infinite.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without jsonschema.
    """
    data = read_json(path)
    check_document(path, data, FORM)
    rows = tuple(Row(**{**row, "findings": tuple(map(_finding, row["findings"])), "graphs": tuple(row["graphs"])}) for row in data["rows"])
    return Judgement(data["before"], data["after"], rows, tuple(data["notes"]))


def _finding(data: dict[str, Any]) -> Finding:
    change = data["change"]
    if change is not None:
        ends: dict[str, Any] = {"estimate": math.nan, "low": -math.inf, "high": math.inf}
        change = Interval(**{name: ends[name] if value is None else value for name, value in change.items()})
    return Finding(**{**data, "change": change})


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
