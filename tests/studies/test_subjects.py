"""What cells measure, above all networks in files: their names, their inputs, and that a file that has changed is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.errors import FileError, UsageError
from mlbench.ir import Graph
from mlbench.measure.worker import decoded
from mlbench.models import Model, Network, load_digits_mlp, mlp
from mlbench.results import BASELINE, OPTIMIZED, RUNNERS
from mlbench.runtime import OptimizedRunner
from mlbench.studies.cases import (
    Case,
    Cell,
    case_of,
    check,
    digits_cell,
    inputs_of,
    mlp_cell,
    network_cells,
    network_notes,
    parse_network_case,
)
from mlbench.studies.subjects import NetworkFile, Sizes, TrainedDigits, brought, name_of, work_flop
from support.branched import BRANCHED, TWO_HEADS, TWO_INPUTS, network_of


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """A file of a network with one input and two outputs."""
    return network_of(TWO_HEADS).save(tmp_path / "heads.npz")


def arrays(folder: Path, **given: npt.NDArray[Any]) -> Path:
    """Return an archive of inputs."""
    place = folder / "inputs.npz"
    np.savez(place, **given)  # type: ignore[arg-type]  # the stub wants the keywords to be options
    return place


@pytest.mark.parametrize(
    ("path", "name"),
    [("/nets/policy.onnx", "policy"), ("a b/my net(2).v1.npz", "my_net_2_.v1"), ("digits.npz", "digits.npz"), ("mlp.onnx", "mlp.onnx")],
)
def test_the_name_of_a_network(path: str, name: str) -> None:
    """It is the file's, in characters that an id may have, and none that a model of ours has."""
    assert name_of(path) == name


def test_the_id_of_a_network_s_case(heads: Path) -> None:
    """Name, batch, and what differs from the default."""
    network = brought(heads)
    assert Case(Cell(8, network), OPTIMIZED).id == "optimized-heads-b8"
    assert Case(Cell(8, network, 2, tuned=True), BASELINE).id == "baseline-heads-b8-t2-tuned"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_case_of_a_network_comes_back_from_a_saved_row(heads: Path, runner: str) -> None:
    """What a result holds of it is JSON, and enough to find the network again."""
    for cell in (Cell(8, brought(heads)), Cell(3, brought(heads, ("a2",), arrays(heads.parent, x=np.ones((2, 6)))), 2, tuned=True)):
        case = Case(cell, runner)
        assert case_of(json.loads(json.dumps(case.identity()))) == case


def test_a_case_of_ours_comes_back_from_a_saved_row() -> None:
    """The id alone says what it is."""
    for cell in (mlp_cell(8, (16, 4), 5, 3, 2), digits_cell()):
        assert case_of(Case(cell, OPTIMIZED).identity()) == Case(cell, OPTIMIZED)


def test_a_case_may_leave_the_name_out(heads: Path) -> None:
    """Where the network is known, `optimized-b8` is enough; the case of another network is refused."""
    network = brought(heads)
    assert parse_network_case("optimized-b8", network) == parse_network_case("optimized-heads-b8", network)
    for text in ("optimized-tails-b8", "optimized-heads", "optimized-b0", "optimized-b8-t0", "fast-b8"):
        with pytest.raises(UsageError, match=text):
            parse_network_case(text, network)


@pytest.mark.parametrize(
    "cell", [mlp_cell(8, (16,)), digits_cell(), Cell(2, NetworkFile("/a/b.onnx", "12", "b", ("y",)))], ids=["mlp", "digits", "file"]
)
def test_a_worker_is_sent_a_cell(cell: Cell) -> None:
    """JSON data become the cell that they were, whatever it measures."""
    assert decoded(Cell, json.loads(json.dumps(dataclasses.asdict(cell)))) == cell


def test_a_file_that_has_changed_is_refused(heads: Path) -> None:
    """A process that finds another content than the one that was named measures nothing."""
    named = NetworkFile(str(heads), "0" * 64, "heads")
    with pytest.raises(FileError, match=r"heads\.npz: has changed: its SHA-256 was 000000000000 and is [0-9a-f]{12}"):
        named.model()


def test_inputs_that_have_changed_are_refused(heads: Path) -> None:
    """The archive is part of what is measured."""
    network = brought(heads, inputs=arrays(heads.parent, x=np.ones((2, 6))))
    with pytest.raises(FileError, match=r"inputs\.npz: has changed"):
        dataclasses.replace(network, inputs_sha256="0" * 64).arrays(1)


def test_an_mlp_of_ours_is_a_network_too(tmp_path: Path) -> None:
    """A file that `Model.save` wrote has the input x."""
    network = brought(mlp(5, (7, 3), 2).save(tmp_path / "net.npz"))
    assert isinstance(network.model(), Model)
    assert inputs_of(Cell(4, network))[0].shape == (4, 5)
    assert check(Case(Cell(4, network), OPTIMIZED)).worst <= 1


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", BRANCHED)
def test_a_network_is_checked_as_models_are(tmp_path: Path, name: str, runner: str) -> None:
    """Branches, several inputs and several outputs agree with float64 on both runners."""
    network = brought(network_of(BRANCHED[name]).save(tmp_path / f"{name}.npz"))
    assert check(Case(Cell(5, network), runner)).worst <= 1


def test_random_inputs_are_the_same_every_time(tmp_path: Path) -> None:
    """They are seeded, float32, and as wide as the network says; no two inputs have the same numbers."""
    network = brought(network_of(TWO_INPUTS).save(tmp_path / "two.npz"))
    left, right = network.arrays(4)
    assert [left.shape, right.shape] == [(4, 6), (4, 3)]
    assert {left.dtype, right.dtype} == {np.dtype(np.float32)}
    assert not np.array_equal(left[:, :3], right)
    for one, other in zip(network.arrays(4), (left, right), strict=True):
        np.testing.assert_array_equal(one, other)


def test_real_inputs_are_repeated(heads: Path) -> None:
    """A batch above the rows of the archive begins anew with the first one, and that is said."""
    rows = np.arange(18, dtype=np.float64).reshape(3, 6)
    network = brought(heads, inputs=arrays(heads.parent, x=rows))
    np.testing.assert_array_equal(network.arrays(5)[0], rows[[0, 1, 2, 0, 1]])
    (note,) = network_notes(network_cells(network, (2, 5)))
    assert note.endswith("inputs.npz: has 3 rows; batch 5 repeats them from the first on")
    assert network_notes(network_cells(network, (2, 3))) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y": np.ones((2, 6))}, "found the arrays y; expected one for each input of the network: x"),
        ({}, "found the arrays none; expected one for each input of the network: x"),
        ({"x": np.ones((2, 5))}, r"x has shape \(2, 5\); expected \(rows, 6\) with one row or more"),
        ({"x": np.ones((0, 6))}, r"x has shape \(0, 6\); expected \(rows, 6\) with one row or more"),
        ({"x": np.ones(6)}, r"x has shape \(6,\); expected \(rows, 6\)"),
        ({"x": np.full((2, 6), "one")}, "x is <U3; expected numbers"),
        ({"x": np.full((2, 6), 2**24 + 1)}, "x has whole numbers above 16,777,216, which float32 does not hold exactly"),
    ],
    ids=["name", "nothing", "columns", "rows", "rank", "text", "integers"],
)
def test_inputs_that_do_not_fit_are_refused(heads: Path, given: dict[str, npt.NDArray[Any]], message: str) -> None:
    """The message says what was found and what fits."""
    with pytest.raises(UsageError, match=message):
        brought(heads, inputs=arrays(heads.parent, **given))


def test_inputs_of_several_rows_are_refused(tmp_path: Path) -> None:
    """All inputs are of one batch."""
    place = network_of(TWO_INPUTS).save(tmp_path / "two.npz")
    with pytest.raises(UsageError, match=r"the arrays differ in their rows \(left 2, right 3\)"):
        brought(place, inputs=arrays(tmp_path, left=np.ones((2, 6)), right=np.ones((3, 3))))


def test_chosen_outputs_are_computed_alone(heads: Path) -> None:
    """What only other outputs need is left out, and the order is the one that was asked for."""
    chosen = brought(heads, ("a2",)).model()
    assert isinstance(chosen, Network)
    assert (chosen.output_names, chosen.graph().outputs) == (("a2",), ("a2",))
    assert {node.output for node in chosen.graph().nodes} == {"p0", "s0", "a0", "p2", "s2", "a2"}
    assert set(chosen.graph().constants) == {"w0", "b0", "w2", "b2"}
    both = brought(heads, ("a2", "class"))
    assert [y.shape[1] for y in OptimizedRunner(both.model(), 2).run(*both.arrays(2))] == [1, 4]


def test_outputs_that_are_not_there_are_refused(heads: Path, tmp_path: Path) -> None:
    """The message lists those there are; an MLP of ours has none to choose."""
    with pytest.raises(UsageError, match=r"--outputs b: .*heads\.npz has no such output; there are class, a2"):
        brought(heads, ("b",))
    with pytest.raises(UsageError, match="is an MLP of ours, with one output that has no name"):
        brought(mlp(4, 8, 2).save(tmp_path / "net.npz"), ("y",))


def test_a_fixed_batch_is_the_only_one(tmp_path: Path) -> None:
    """It is measured and said where no batch was asked for; another one is refused."""
    network = brought(network_of(TWO_HEADS, 16).save(tmp_path / "fixed.npz"))
    cells = network_cells(network)
    assert [cell.batch for cell in cells] == [16]
    assert network_notes(cells)[0].endswith("fixed.npz: the file fixes the batch, so that everything is measured at batch 16")
    with pytest.raises(UsageError, match=r"batch 8: .*fixed\.npz runs at batch 16 alone"):
        network_cells(network, (16, 8))


def test_a_free_batch_is_what_was_asked_for(heads: Path) -> None:
    """Each batch once, or else the default ones."""
    network = brought(heads)
    assert [cell.batch for cell in network_cells(network, (3, 1, 3))] == [3, 1]
    assert [cell.batch for cell in network_cells(network)] == [1, 8, 64, 512]


def test_sizes_know_the_work_of_their_graph() -> None:
    """A sweep leaves out cells by their work without making them; it is that of the graph."""
    sizes = Sizes((16, 3), 5, 2)
    assert sizes.work_flop(7) == work_flop(sizes.model().graph(), 7)


def test_sizes_know_how_large_their_graph_is() -> None:
    """Constants, the input and the results of products; biases are left out, which are small."""
    sizes, digits = Sizes((16, 3), 5, 2), TrainedDigits()
    assert sizes.size(7) == (7 * (5 + 16 + 3 + 2) + 5 * 16 + 16 * 3 + 3 * 2, 3)
    weights = sum(layer.weight.size + layer.bias.size for layer in load_digits_mlp()[0].layers)
    assert digits.size(7) == (7 * (64 + 128 + 10) + weights, 2)


def test_a_graph_without_products_has_no_work() -> None:
    """As of a network that scales its input."""
    graph = TWO_HEADS.with_nodes(())
    assert work_flop(Graph(graph.inputs, {}, (), ()), 8) == 0


def test_a_file_above_the_limit_is_refused(heads: Path) -> None:
    """The limit is the caller's, and goes to every process that reads the file."""
    size = heads.stat().st_size
    assert brought(heads, most_bytes=4 * size).most_bytes == 4 * size
    with pytest.raises(FileError, match=f"heads.npz: larger than {size - 1:,} bytes"):
        brought(heads, most_bytes=size - 1)
    with pytest.raises(FileError, match="larger than 3 bytes"):
        dataclasses.replace(brought(heads), most_bytes=3).model()


def test_tensors_in_other_files_are_part_of_the_content(tmp_path: Path) -> None:
    """An ONNX model may have its weights beside it; the same model with other weights is another network, wherever both lie."""
    onnx = pytest.importorskip("onnx", reason="ONNX files are written by the onnx package")
    found = []
    for number, folder in ((0.5, "one"), (0.5, "two"), (0.25, "three")):
        place = tmp_path / folder / "net.onnx"
        place.parent.mkdir()
        weight = onnx.numpy_helper.from_array(np.full((64, 8), number, np.float32), "w")
        node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
        ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", width]) for name, width in (("x", 64), ("y", 8))]
        graph = onnx.helper.make_graph([node], "net", ends[:1], ends[1:], [weight])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, place, save_as_external_data=True, location="net.data", size_threshold=0)
        found.append(brought(place).sha256)
    assert found[0] == found[1] != found[2]
