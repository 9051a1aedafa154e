"""Files of every kind, damaged in hundreds of ways: each is refused or shown, and none is a traceback, a hang, or obeyed by a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("vl_convert")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import damage_files

from mlbench.cli import main
from mlbench.errors import FileError, UsageError
from mlbench.gate.tolerances import TOLERANCES_FILE, load_tolerances, matches
from mlbench.measure.stats.ranks import signed_rank_quantile
from mlbench.report.machine_readable import VERDICTS_FILE
from mlbench.results import RESULT_FILE, save
from mlbench.results.ablation import ABLATION_FILE
from mlbench.results.comparison import COMPARISON_FILE, MOST_SETS
from mlbench.results.explanation import EXPLANATION_FILE
from mlbench.results.peers import PEERS_FILE
from mlbench.results.roofline import ROOFLINE_FILE
from mlbench.results.schema import Schema, json_schema
from mlbench.results.storage import read, read_json, write
from mlbench.studies import memory_record
from mlbench.studies.cases import parse_case
from mlbench.studies.memory_record import is_drawn, memory_of
from mlbench.units import visible
from support.comparisons import comparison, visit
from support.exhaustive import tries
from support.saved_results import case, result

FILES = tries(16, 120)
KINDS = (
    "model", "result", "pytest-benchmark", "baseline", "peers", "ablation", "explanation", "roofline", "verdicts", "ab", "calibration",
    "tolerances", "cache",
)  # fmt: skip
SCHEMAS: tuple[Schema[Any], ...] = (
    RESULT_FILE, ABLATION_FILE, EXPLANATION_FILE, ROOFLINE_FILE, PEERS_FILE, COMPARISON_FILE, VERDICTS_FILE, TOLERANCES_FILE,
)  # fmt: skip
EVIL = "b1\x1b]0;title\x07\x1b[2J\x9b1m\u202etxt\r\x7f"


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, damage_files.Use]]]:
    """A whole file of each kind, and what is done with it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLBENCH_CACHE", "")
        for holder, name, new in damage_files.quickened():
            patched.setattr(holder, name, new)
        yield damage_files.kinds(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_is_a_traceback(kind: str, every: dict[str, tuple[Path, damage_files.Use]]) -> None:
    """Bytes flipped, cut, inserted, values exchanged: an error of ours that names the file, or all of it can be shown."""
    counts, told = damage_files.count(kind, *every[kind], range(FILES), seed=1)
    assert told == []
    assert counts[damage_files.REFUSED] > FILES / 4


def test_every_kind_is_damaged(every: dict[str, tuple[Path, damage_files.Use]]) -> None:
    """A kind of file that is new stands in both places."""
    assert tuple(every) == KINDS


def numbers(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every place of a schema that may hold a number."""
    if isinstance(node, dict):
        kinds = node.get("type")
        if {"number", "integer"} & set(kinds if isinstance(kinds, list) else [kinds] if isinstance(kinds, str) else []):
            yield place, node
        for name, each in node.items():
            yield from numbers(each, f"{place}/{name}")
    elif isinstance(node, list):
        for index, each in enumerate(node):
            yield from numbers(each, f"{place}/{index}")


def test_every_number_of_a_schema_has_bounds() -> None:
    """A number without an end is a loop without one somewhere."""
    for schema in SCHEMAS:
        found = list(numbers(json_schema(schema), schema.kind))
        assert found
        for place, node in found:
            assert {"minimum", "exclusiveMinimum"} & node.keys(), place
            assert {"maximum", "exclusiveMaximum"} & node.keys(), place


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda each: each.kind)
def test_a_schema_states_its_version_and_history(schema: Schema[Any]) -> None:
    """The generated JSON Schema of each kind names its version, says what each version changed, and allows no other field."""
    found = json_schema(schema)
    whole = found["$defs"][found["$ref"].rpartition("/")[2]]
    assert whole["properties"]["schema"] == {"enum": [schema.version]}
    assert whole["properties"]["kind"] == {"enum": [schema.kind]}
    assert f"{schema.version}: " in found["$comment"]
    assert whole["additionalProperties"] is False


# --- a comparison ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["screen", "batch", "most"])
def test_a_policy_that_nobody_could_wait_for_is_refused(name: str, tmp_path: Path) -> None:
    """To judge by batches of a thousand million sets takes for ever."""
    path = write(comparison([[visit(head=1.1)] for _ in range(8)]), tmp_path / "ab.json", COMPARISON_FILE)
    data = json.loads(path.read_text(encoding="utf-8"))
    data["policy"][name] = 10**9
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FileError, match=rf"policy\.{name}: found 1000000000; expected int <= {MOST_SETS}"):
        read(path, COMPARISON_FILE)


def test_a_policy_without_room_is_refused(tmp_path: Path) -> None:
    """Between the tolerance and the limit lies what settles a row."""
    path = write(comparison([[visit(head=1.1)] for _ in range(8)]), tmp_path / "ab.json", COMPARISON_FILE)
    path.write_text(path.read_text(encoding="utf-8").replace('"limit": 0.04', '"limit": 0.02'), encoding="utf-8")
    with pytest.raises(FileError, match=r"its tolerance is 0\.02; expected less than its limit of 0\.02"):
        read(path, COMPARISON_FILE)


def test_the_most_sets_are_judged_soon() -> None:
    """So many values have their quantile by arithmetic on arrays, and the normal approximation agrees."""
    count, tail = MOST_SETS, 0.025
    mean, deviation = count * (count + 1) / 4, (count * (count + 1) * (2 * count + 1) / 24) ** 0.5
    assert abs(signed_rank_quantile(count, tail) - (mean - 1.959964 * deviation)) < 0.001 * mean


# --- a report -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    ["b64-h64-t300", "b1-h" + "x".join(["1"] * 200), "b8-h64-tuned", "b40000000-h1-i1-o1", "b1-h100000-i900-o1"],
    ids=["threads", "depth", "search", "rows", "weights"],
)
def test_a_name_in_a_file_starts_nothing_large(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report builds no runner of more threads than cores, of many layers, after a search, or of hundreds of megabytes."""
    monkeypatch.setattr(memory_record, "optimized_runner", lambda _: pytest.fail("built"))
    monkeypatch.setattr(memory_record, "call_of", lambda _: pytest.fail("built"))
    assert not is_drawn(parse_case(f"baseline-{cell}").cell)
    assert memory_of({"id": f"baseline-{cell}"}) is None


def test_a_case_of_endless_digits_is_no_case() -> None:
    """Python refuses to read 5,000 digits as a number, with an error of its own."""
    with pytest.raises(UsageError, match="no case is called"):
        parse_case(f"baseline-b{'9' * 5000}-h8")
    assert memory_of({"id": f"baseline-b{'9' * 5000}-h8"}) is None


# --- text -----------------------------------------------------------------------------------------------------------------


def test_text_is_shown_and_not_obeyed() -> None:
    """Colours are left out, other control characters are spelled, line ends and other scripts stay."""
    assert visible("a\x1b[1;31mb\x1b[0mc") == "abc"
    assert visible(EVIL) == r"b1\x1b]0;title\x07\x1b[2J\x9b1m\u202etxt\r\x7f"
    assert visible("Zähler 数字\n\t\U0001f469\u200d\U0001f4bb") == "Zähler 数字\n\t\U0001f469\u200d\U0001f4bb"
    assert visible("half a pair: \ud83d") == r"half a pair: \ud83d"  # which no terminal and no file takes


def test_nothing_in_a_file_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names, the command, the environment, warnings, errors and reasons, shown, judged or refused, in whatever format."""
    row = case()
    row.case.update(id=EVIL, cell=EVIL)
    path = save(result(row, case("baseline-b8-h64", status="failed", error=EVIL)), tmp_path / "now.json")
    text = path.read_text(encoding="utf-8").replace('"mlbench run"', json.dumps(EVIL)).replace('"CPU"', json.dumps(EVIL))
    path.write_text(text, encoding="utf-8")
    bad = tmp_path / "bad.json"
    bad.write_text(text.replace('"status"', json.dumps(EVIL)), encoding="utf-8")
    (tmp_path / "now.toml").write_text(
        'schema = 1\nkind = "mlbench-tolerances"\n[[accepted]]\nrows = "*"\nquantity = "gone"\nexpires = 2026-01-01\nreason = '
        + json.dumps(EVIL)
    )
    assert main(["show", str(path)]) == 0
    assert main(["show", str(bad)]) == 2
    for form in ("terminal", "markdown", "json", "junit"):
        main(["gate", str(path), str(path), "--format", form])
    told = capsys.readouterr()
    assert "title" in told.out
    assert not set(told.out + told.err) & set("\x1b\x07\x9b\u202e\r\x7f")


def test_a_file_is_read_with_visible_text(tmp_path: Path) -> None:
    """Names of fields too."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps({EVIL: [EVIL]}), encoding="utf-8")
    assert read_json(path) == {visible(EVIL): [visible(EVIL)]}


def test_tolerances_have_visible_text(tmp_path: Path) -> None:
    """Reasons are printed."""
    path = tmp_path / "a.toml"
    path.write_text(damage_files.TOLERANCES.replace("a trade", json.dumps(EVIL)[1:-1]), encoding="utf-8")
    assert load_tolerances(path).accepted[0].reason == visible(EVIL)


def test_a_pattern_of_many_stars_is_matched_soon() -> None:
    """A backtracking search would take longer than anybody lives; brackets stand for themselves."""
    assert not matches("*a" * 40 + "b", "a" * 400)
    assert matches("t[*-?]", "t[a-b]")
    assert not matches("t[ab]", "ta")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that no file of ours comes near."""
    monkeypatch.setattr("mlbench.results.storage.MOST_BYTES", 10)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([1] * 10))
    with pytest.raises(FileError, match="larger than 10 bytes"):
        read_json(path)
