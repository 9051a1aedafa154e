"""Saved results of networks in files: what is read again, what is refused, and that another network under a name is not compared."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import FileError
from mlbench.gate import MISSING, PASS, judge_results
from mlbench.report.charts.heatmap import MEMORY, heat_maps
from mlbench.report.inputs import Files
from mlbench.report.page.compared import beside
from mlbench.results import RUNNERS, Measurement, load, save
from mlbench.results.network import network_key, other_network
from mlbench.results.pairs import pairs
from mlbench.results.peers import PEERS_FILE, PeerCell
from mlbench.results.storage import read, write
from support.records import measured, peer_cell, peers_result
from support.saved_results import case, result

TODAY = dt.date(2026, 1, 2)
NETWORK: dict[str, Any] = {
    "name": "net",
    "file": "/nets/net.onnx",
    "sha256": "12" * 32,
    "outputs": [],
    "inputs_file": None,
    "inputs_sha256": None,
}
OTHERS = {
    "content": ({"sha256": "34" * 32}, "the content of its file has changed (SHA-256 121212121212, now 343434343434)"),
    "outputs": ({"outputs": ["value"]}, "other outputs were computed (all, now value)"),
    "inputs": ({"inputs_file": "x.npz", "inputs_sha256": "56" * 32}, "other inputs were used (random numbers, now SHA-256 565656565656)"),
}


def row(name: str = "optimized-net-b8", **network: Any) -> Measurement:
    """Return a row of a network."""
    made = case(name, peak_bytes=2_000 if name.startswith("baseline") else 0)
    made.case.update(batch=8, threads=1, model="file", tuned=False, network=NETWORK | network)
    return made


def test_a_row_of_a_network_is_read_again(tmp_path: Path) -> None:
    """It has a batch and no sizes, and says where the network was."""
    (found,) = load(save(result(row()), tmp_path / "now.json")).measurements
    assert found.case["network"] == NETWORK
    assert "hidden" not in found.case


@pytest.mark.parametrize("lost", ["batch", "sha256"])
def test_a_row_that_does_not_say_what_it_is_about_is_refused(tmp_path: Path, lost: str) -> None:
    """The message names the field."""
    broken = row()
    broken.case["network"] = {name: value for name, value in broken.case["network"].items() if name != lost}
    broken.case.pop(lost, None)
    with pytest.raises(FileError, match=lost):
        load(save(result(broken), tmp_path / "now.json"))


def test_the_same_network_elsewhere_is_compared() -> None:
    """A file that was moved has the same content."""
    judged = judge_results(result(row()), result(row(file="/elsewhere/net.onnx")), None, TODAY)
    assert (judged.verdict, [each.verdict for each in judged.rows]) == (PASS, [PASS])


@pytest.mark.parametrize(("changed", "why"), OTHERS.values(), ids=OTHERS)
def test_another_network_of_the_same_name_is_red(changed: dict[str, Any], why: str) -> None:
    """Its numbers are not compared: the row is missing, with the reason and what to do."""
    judged = judge_results(result(row()), result(row(**changed)), None, TODAY)
    (found,) = judged.rows
    assert (found.verdict, judged.exit_code()) == (MISSING, 1)
    assert [each.quantity for each in found.findings] == ["test"]
    assert found.why == f"this is another network of the same name: {why}; replace the baseline by 'mlbench baseline update'"


def test_a_model_of_ours_in_the_place_of_a_network_is_red() -> None:
    """A file may be called as a case of the sweep is."""
    judged = judge_results(result(row()), result(case("optimized-net-b8")), None, TODAY)
    assert judged.rows[0].why.startswith("this is another network of the same name: one is a network in a file, and the other is not")


def test_another_network_has_no_part_in_the_mean() -> None:
    """The mean of all rows is of those that were compared."""
    names = [f"optimized-net-b{batch}" for batch in range(1, 9)]
    before = result(*(row(name) for name in names))
    same = judge_results(before, result(*(row(name) for name in names)), None, TODAY)
    other = judge_results(before, result(*(row(name, sha256="34" * 32) for name in names)), None, TODAY)
    assert (len(same.rows), len(other.rows)) == (9, 8)


def test_another_network_side_by_side_is_said() -> None:
    """The page shows both, and warns that their numbers are about different networks."""
    files = Files(beside=[("old.json", result(row())), ("same.json", result(row())), ("new.json", result(row(sha256="34" * 32)))])
    warnings = [text for text in beside(files).text if text.startswith("Warning")]
    assert warnings == ["Warning: new.json is about another network under the name of net-b8; its numbers say nothing about the code."]


@pytest.mark.parametrize("changed", [changed for changed, _ in OTHERS.values()], ids=OTHERS)
def test_the_key_is_what_is_compared(changed: dict[str, Any]) -> None:
    """Whatever makes it another network changes the key, and nothing else does."""
    before, moved, after = ({"network": NETWORK | each} for each in ({}, {"file": "/elsewhere"}, changed))
    assert network_key(before) == network_key(moved) != network_key(after)
    assert not other_network(before, moved)
    assert other_network(before, after)
    assert network_key({"batch": 8}) == ""


def test_networks_have_a_map_of_their_own() -> None:
    """Their names stand where those of models of ours have hidden sizes, and the title says so where both are shown."""
    both = pairs([row("baseline-net-b8"), row()])
    (alone,) = heat_maps(MEMORY, both)
    assert [(each["batch"], each["hidden"], each["columns"]) for each in alone.spec["data"]["values"]] == [(8, "net", "network")]
    assert (alone.title, alone.spec["encoding"]["x"]["title"]) == ("Memory reduction", "network")
    sizes, networks = heat_maps(MEMORY, [*pairs([measured(runner, 8, 64) for runner in RUNNERS]), *both])
    assert sizes.title.startswith("Memory reduction, model mlp")
    assert networks.title.startswith("Memory reduction, networks in files")


def network_cell(**outcomes: float) -> PeerCell:
    """Return runtimes on a network."""
    made = peer_cell(8, **outcomes)
    sizes = {"batch": 8, "model": "file", "network": NETWORK, "threads": 1, "tuned": True}
    return PeerCell(sizes, made.outcomes, made.processes, made.weighed)


def test_peers_on_a_network_are_read_again(tmp_path: Path) -> None:
    """The cell is called as the network is."""
    found = read(write(peers_result(network_cell(mlbench=10.0, xla=20.0)), tmp_path / "peers.json", PEERS_FILE), PEERS_FILE)
    assert [(cell.name, cell.shape) for cell in found.cells] == [("net b8", "net")]


def test_peers_on_nothing_are_refused(tmp_path: Path) -> None:
    """A cell has the sizes of an MLP, or a network."""
    cell = network_cell(mlbench=10.0, xla=20.0)
    del cell.cell["network"]
    with pytest.raises(FileError, match=r"cells\[0\]\.cell: found no field 'hidden'; expected the sizes of an MLP, or a network"):
        read(write(peers_result(cell), tmp_path / "peers.json", PEERS_FILE), PEERS_FILE)
