"""What is made of the numbers of the runtimes: ratios, tables, the headline, the file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import FileError
from mlbench.measure import Environment
from mlbench.report.tables.peers import batches_table, bytes_table, compare_table, headline, peers_text, runtimes_text, times_table
from mlbench.report.terminal import render_plain
from mlbench.results.peers import FAILED, OURS, PEERS_FILE, SLOW, WRONG, Outcome, PeerCell
from mlbench.results.storage import holds, read, read_json, write
from support.records import peer_cell as cell
from support.records import peers_result as result

HERE = Environment("Some CPU", 2, "Linux 6", "3.12.1", "2.1.0", "openblas 0.3", 1, "fresh", None, "0.1.0", None, None, None, {})
US = 1e-6


def test_the_fastest_peer_over_ours() -> None:
    """The ratio is the fastest peer over ours, the processes' geometric mean, and the spread is that of the two."""
    found = cell(mlbench=10.0, a=((20.0, 20.0), (22.0, 22.0)), b=30.0)
    assert found.fastest_peer == "a"
    assert found.ratio is not None
    assert found.ratio.estimate == pytest.approx((2.0 * 2.2) ** 0.5)
    assert found.spread == pytest.approx(1.1)


def test_a_process_in_which_one_was_lost_makes_no_ratio() -> None:
    """Ratios are of processes in which both ran to the end."""
    found = cell(mlbench=10.0, a=((20.0, 20.0), ()))
    assert found.ratios("a") == [[pytest.approx(2.0)] * 2]
    assert found.spread is None


@pytest.mark.parametrize("found", [cell(mlbench=10.0), cell(a=10.0), cell(mlbench=10.0, a=((), ()))], ids=["alone", "not-ours", "no-round"])
def test_without_both_there_is_no_ratio(found: PeerCell) -> None:
    """Ours alone, a peer alone, or a peer without rounds has no ratio, and the table has dashes."""
    assert (found.fastest_peer, found.ratio, found.spread) == (None, None, None)
    assert times_table(result(found)).rows[0][-3:] == ("-", "-", "-")
    assert "no ratio to state" in headline(result(found))


def test_the_table_marks_the_fastest() -> None:
    """Ours stands first, the fastest of all is marked, the fastest peer is named with the ratio, and two processes are a mark."""
    table = times_table(result(cell(mlbench=10.0, a=20.0, b=30.0), cell(64, mlbench=50.0, a=40.0, b=30.0)))
    assert table.headers == ("cell", OURS, "a", "b", "fastest peer", "peer / ours", "95 % interval")
    assert table.rows[0] == ("64-64-10 b8", "10.0 us*", "20.0 us", "30.0 us", "a", "2.00x", "2.00x to 2.00x, 2 processes")
    assert table.rows[1] == ("64-64-10 b64", "50.0 us", "40.0 us", "30.0 us*", "b", "0.60x", "0.60x to 0.60x, 2 processes")


def test_the_table_says_what_went_wrong() -> None:
    """A wrong, a failed and a slow runtime have a word in their cell, and the reason stands below."""
    good = cell(mlbench=10.0, a=20.0)
    bad = {"b": Outcome(WRONG, "b gave 3"), "c": Outcome(FAILED, "exit code 7"), "d": Outcome(SLOW, "too long", cost_s=0.5)}
    found = dataclasses.replace(good, outcomes=good.outcomes | bad)
    table = times_table(result(found, runtimes=("a", "b", "c", "d", "e")))
    assert table.rows[0][1:7] == ("10.0 us*", "20.0 us", "wrong", "failed", "~500 ms", "-")
    assert {"64-64-10 b8, b: b gave 3", "64-64-10 b8, c: exit code 7"} <= set(table.notes)
    assert bytes_table(result(found, runtimes=("a", "b", "c", "d"))).rows[0] == (
        "64-64-10 b8", "1.00 KB + 2.00 KB", "1.00 KB + 2.00 KB", "-", "-", "-", "1.00 KB + 1.50 KB"
    )  # fmt: skip


def test_the_headline_has_mean_worst_and_spread() -> None:
    """2.0 and 0.55 have the geometric mean 1.05; the worst cell is named, and how far the processes are apart."""
    steady, shaky = cell(mlbench=10.0, a=20.0), cell(64, mlbench=10.0, a=((5.0, 5.0), (6.0, 6.0)))
    text = headline(result(steady, shaky)).replace("\n", " ")
    assert "over 2 cells: geometric mean 1.05x" in text
    assert "at least as fast in 1 of them; the worst is 0.55x (64-64-10 b64)" in text
    assert "2 sets of processes differ by 10.0 % in the median cell and by 20.0 % at most" in text


def test_each_batch_size_has_its_figures() -> None:
    """Geometric mean, worst cell, cells below 1.0 and those of them whose interval excludes 1, for each batch size and for all."""
    ahead, behind = cell(mlbench=10.0, a=20.0), cell(64, mlbench=10.0, a=8.0)
    unsure = cell(mlbench=10.0, a=((9.0, 9.0), (9.9, 9.9)))
    table = batches_table(result(ahead, behind, dataclasses.replace(unsure, cell=unsure.cell | {"inputs": 32})))
    assert [(row[0], row[1], row[2], *row[4:]) for row in table.rows] == [
        ("8", "2", "1.37x", "0.94x 32-64-10 b8", "1", "0"),
        ("64", "1", "0.80x", "0.80x 64-64-10 b64", "1", "1"),
        ("all", "3", "1.15x", "0.80x 64-64-10 b64", "2", "1"),
    ]
    text = headline(result(ahead, behind)).replace("\n", " ")
    assert "slower, with an interval that excludes 1, in 1 of them: 64-64-10 b64." in text
    assert "in none of them." in headline(result(ahead)).replace("\n", " ")
    assert "By batch size" in peers_text(result(ahead), colour=False)


def test_the_table_names_who_was_left_out() -> None:
    """A peer with turns in fewer sets than the cell has, because it was too far behind, has a note with its cells; others have none."""
    found = dataclasses.replace(cell(mlbench=((1.0,),) * 3, a=((2.0,),) * 3, b=((9.0,),) * 2), processes=3)
    notes = times_table(result(found)).notes
    assert "b had turns in 2 of 3 sets, because it was too far behind the fastest peer: 64-64-10 b8." in notes
    assert len(times_table(result(cell(mlbench=1.0, a=2.0))).notes) == len(notes) - 1


def test_missing_runtimes_are_named() -> None:
    """What is missing stands below with the reason, and is no column."""
    assert "  tensorrt: needs an NVIDIA GPU" in runtimes_text(result())
    assert "  a: a 1.0; fast" in runtimes_text(result())
    assert "tensorrt" not in times_table(result(cell(mlbench=1.0))).headers


def test_two_runs_are_compared() -> None:
    """Each cell has both ratios and their ratio; the agreement is stated as median and maximum, and another machine is named."""
    one = result(cell(mlbench=10.0, a=20.0), cell(64, mlbench=10.0, a=20.0), cell(512, mlbench=10.0, a=20.0))
    other = result(cell(mlbench=10.0, a=22.0), cell(64, mlbench=10.0, a=30.0, b=20.0))
    table = compare_table(one, dataclasses.replace(other, environment=dataclasses.replace(HERE, cpu="Other CPU")))
    assert table.rows == (
        ("64-64-10 b8", "2.00x", "2.20x", "1.100", "no", "a"),
        ("64-64-10 b64", "2.00x", "2.00x", "1.000", "yes", "a / b"),
    )
    text = render_plain(table).replace("\n", " ")
    assert "differ by 5.0 % in the median cell and by 10.0 % at most; their geometric means by 4.9 %" in text
    assert "environments differ" in text
    assert compare_table(one, result()).rows == ()


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    """What is saved is what is loaded, lost processes and missing runtimes included."""
    made = result(cell(mlbench=10.0, a=((20.0, 21.0), ())), dataclasses.replace(cell(64), outcomes={"a": Outcome(FAILED, "why")}))
    path = write(made, tmp_path / "peers.json", PEERS_FILE)
    assert holds(read_json(path), PEERS_FILE)
    assert read(path, PEERS_FILE) == made
    assert "64-64-10 b8" in peers_text(read(path, PEERS_FILE), colour=False)


def test_a_file_of_version_1_is_read(tmp_path: Path) -> None:
    """There the held bytes of ours were without copies of weights, which are added; a peer's held bytes stay."""
    made = result(cell(mlbench=10.0, a=20.0))
    path = write(made, tmp_path / "peers.json", PEERS_FILE)
    data = json.loads(path.read_text())
    data["schema"] = 1
    data["cells"][0]["outcomes"][OURS]["held_bytes"] -= 512
    path.write_text(json.dumps(data))
    assert read(path, PEERS_FILE) == made


def test_a_file_of_version_2_is_read(tmp_path: Path) -> None:
    """There no outcome names a switch, and the bytes are what they are."""
    made = result(cell(mlbench=10.0, a=20.0))
    path = write(made, tmp_path / "peers.json", PEERS_FILE)
    data = json.loads(path.read_text())
    data["schema"] = 2
    for each in data["cells"][0]["outcomes"].values():
        del each["chosen"]
    path.write_text(json.dumps(data))
    assert read(path, PEERS_FILE) == made


def test_the_table_names_the_switch_that_was_faster() -> None:
    """A runtime that was measured with a documented switch has a note with its cells; the usual settings have none."""

    def switched(found: PeerCell) -> PeerCell:
        return dataclasses.replace(found, outcomes=found.outcomes | {"a": dataclasses.replace(found.outcomes["a"], chosen="a switch")})

    found = [switched(cell(mlbench=10.0, a=20.0)), switched(cell(64, mlbench=10.0, a=20.0)), cell(512, mlbench=10.0, a=20.0)]
    notes = times_table(result(*found)).notes
    assert "a with a switch, which was faster there than its usual settings: 64-64-10 b8, 64-64-10 b64." in notes
    assert len(times_table(result(found[2])).notes) == len(notes) - 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data.update(kind="mlbench-result"), "its kind is not 'mlbench-peers'"),
        (lambda data: data.update(schema=4), "schema version 4; this mlbench reads version 3"),
        (lambda data: data["cells"][0]["outcomes"]["a"].update(state="fine"), "$.cells[0].outcomes.a.state"),
        (lambda data: data["cells"][0]["outcomes"]["a"].update(rounds_s=[[0]]), "$.cells[0].outcomes.a.rounds_s[0][0]"),
        (lambda data: data["environment"].pop("cpu"), "$.environment"),
    ],
    ids=["kind", "version", "state", "zero", "environment"],
)
def test_a_file_that_was_edited_is_refused(tmp_path: Path, edit: Callable[[Any], object], message: str) -> None:
    """A file of another kind or version, or with something in it that cannot be, is an error with the place."""
    path = write(result(cell(mlbench=10.0, a=20.0)), tmp_path / "peers.json", PEERS_FILE)
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))
    with pytest.raises(FileError) as raised:
        read(path, PEERS_FILE)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_run_without_bytes_has_no_table_of_them() -> None:
    """A quick run counts no bytes, so a table of dashes is left out."""
    weighed = cell(mlbench=10.0, a=20.0)
    assert "Peak of a call" in peers_text(result(dataclasses.replace(weighed, weighed=True)), colour=False)
    assert "Peak of a call" not in peers_text(result(dataclasses.replace(weighed, weighed=False)), colour=False)
