"""Files that are damaged or foreign: each is refused in one line that names it, whatever is wrong, and never ends the report."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlbench.cli import main
from mlbench.report.inputs import read_files
from mlbench.report.page.page import render_page
from mlbench.report.page.sections import sections_of
from support.exhaustive import tries
from support.report_files import KINDS, RUNS, write_every_kind

pytest.importorskip("jinja2")
pytest.importorskip("vl_convert")

DAMAGE: tuple[Any, ...] = (
    None, True, 0, -1, -0.5, 1e308, 5e-324, 10**400, "", "text", "<script>alert(1)</script>", "\ud800", [], {}, [1], [[]], ["x"], {"a": 1},
    float("nan"), float("inf"),
)  # fmt: skip
REMOVED = object()
TRIES = tries(20, 60)
Place = tuple[str | int, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of whole files, one of each kind."""
    made = tmp_path_factory.mktemp("files")
    write_every_kind(made)
    return made


@pytest.fixture(autouse=True)
def without_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not recorded: it takes long, and no file decides what comes out of it."""
    monkeypatch.setattr("mlbench.studies.memory_record.memory_of", lambda _: None)


def places(data: Any, here: Place = ()) -> Iterator[Place]:
    """Give every place in a document."""
    yield here
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, part in parts:
        yield from places(part, (*here, name))


def damaged(data: Any, place: Place, value: object) -> Any:
    """Return the document with something else, or nothing, at this place."""
    if not place:
        return None if value is REMOVED else value
    changed = copy.deepcopy(data)
    holder = changed
    for name in place[:-1]:
        holder = holder[name]
    if value is REMOVED:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return changed


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ab.json"])
def test_no_damage_ends_the_report(kind: str, folder: Path, tmp_path: Path) -> None:
    """Whatever stands wherever, the file is refused in one line, or everything in it can be shown."""
    chosen = random.Random(kind)
    whole = json.loads((folder / kind).read_text(encoding="utf-8"))
    every: dict[Place, list[Place]] = {}
    for place in places(whole):
        every.setdefault(tuple("#" if isinstance(name, int) else name for name in place), []).append(place)
    bad = tmp_path / "bad.json"
    for _ in range(TRIES):
        place, value = chosen.choice(every[chosen.choice(list(every))]), chosen.choice([*DAMAGE, REMOVED])
        bad.write_text(json.dumps(damaged(whole, place, value)), encoding="utf-8")
        found = read_files([bad, folder / RUNS[0]])
        told = (place, value, found.refused)
        assert all(line.startswith(f"{bad}: ") and "\n" not in line and len(line) < len(str(bad)) + 500 for line in found.refused), told
        assert [gap for section in sections_of(found) for gap in section.gaps] == [], told
        assert len(found.results) >= 1, told


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        ("c.json", ("measurements", 0, "case", "batch"), "eight", "at $.measurements[0].case.batch: found 'eight'; expected int"),
        ("c.json", ("measurements", 0, "case", "hidden"), REMOVED, "at $.measurements[0].case: found no field 'hidden'; expected both"),
        ("c.json", ("measurements", 0, "timing", "median_s"), -1.0, "at $.measurements[0].timing.median_s: found -1.0; expected float >="),
        ("c.json", ("measurements", 0, "timing", "rounds_s", 0, 0), 1e308, "found 1e+308; expected float <= 1000000000.0"),
        ("c.json", ("date",), "yesterday", "at $.date: found 'yesterday'; expected str matching"),
        ("c.json", ("measurements",), {"text": "x" * 1000}, "at $.measurements: found an object; expected array"),
        ("c.json", ("schema",), 10**18, "schema version 1000000000000000000; this mlbench reads version 5"),
        ("c.json", ("measurements", 0, "timing", "median_s"), float("nan"), "at $.measurements[0].timing.median_s: NaN is no finite"),
        ("roofline.json", ("ceilings", "gemm_flop_per_s"), 5e-324, "at $.ceilings.gemm_flop_per_s: found 5e-324; expected float >= 1"),
        ("roofline.json", ("distances", 0, "limit", "calls"), 10**400, "at $.distances[0].limit.calls: 10000"),
        (
            "ablation.json",
            ("ablations", 0, "effects"),
            [],
            "at $.ablations[0].effects: found an empty array; expected array of length >= 1",
        ),
        (
            "peers.json",
            ("cells", 0, "outcomes", "mlbench", "rounds_s", 0, 0),
            0,
            "at $.cells[0].outcomes.mlbench.rounds_s[0][0]: found 0; expected float >= 1e-12",
        ),
        ("peers.json", ("cells", 0, "cell", "batch"), 8, "at $.cells: two of them are 64-64-10 b8; expected one of each"),
        ("gate.json", ("rows", 0, "findings", 0, "tolerance"), -1, "findings[0].tolerance: found -1; expected float >= 0"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".json") else "",
)
def test_a_refusal_says_where_what_and_what_was_expected(
    kind: str, place: Place, value: object, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error and on the page; what is whole is rendered."""
    bad, page = tmp_path / "bad.json", tmp_path / "page.html"
    whole = json.loads((folder / kind).read_text(encoding="utf-8"))
    bad.write_text(json.dumps(damaged(whole, place, value)), encoding="utf-8")
    assert main(["report", str(bad), str(folder / RUNS[0]), "-o", str(page)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{bad}: " in line
    assert message in line
    shown = page.read_text(encoding="utf-8")
    assert "Files that could not be used" in shown
    assert 'data-chart="speedup"' in shown


@pytest.mark.parametrize("benchmarks", [None, 5, {}, [5], [None], [{}], [{"extra_info": 5}], [{"extra_info": ["mlbench"]}],
                                        [{"extra_info": {"mlbench": 5}}], [{"extra_info": {"mlbench": {}}}],
                                        [{"extra_info": {"mlbench_ablation": 5}}]], ids=str)  # fmt: skip
def test_a_damaged_file_of_pytest_benchmark(benchmarks: Any, tmp_path: Path) -> None:
    """It is refused in one line, whatever its benchmarks are."""
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"benchmarks": benchmarks, "machine_info": {}, "datetime": "2026-01-02T03:04:05", "mlbench": {}}))
    (line,) = read_files([path]).refused
    assert line.startswith(f"{path}: ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"null", b"5", b"[]", b"[" * 100_000, b'{"a": NaN}', b"PK\x03\x04"])
def test_what_is_no_json_of_ours_is_refused(content: bytes, tmp_path: Path) -> None:
    """Empty, cut off, in no encoding of ours, too deep, an archive, a folder: one line each, and the page is made."""
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    found = read_files([path, tmp_path, tmp_path / "none.json"])
    assert [line.partition(": ")[0] for line in found.refused] == [str(path), str(tmp_path), str(tmp_path / "none.json")]
    assert "Files that could not be used" in render_page(sections_of(found), found.refused, "mlbench report", "today")
