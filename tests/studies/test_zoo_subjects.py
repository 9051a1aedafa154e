"""The zoo as what a command measures: by name, with a hash that every machine gives."""

from __future__ import annotations

import pytest

from mlbench.cli import main
from mlbench.errors import FileError, ModelError, UsageError
from mlbench.models.zoo import ZOO
from mlbench.studies.cases import Case, case_of, network_cells
from mlbench.studies.subjects import NetworkFile, brought, brought_all


def test_a_network_of_the_zoo_is_called_by_its_name() -> None:
    """Its cells have the name alone, and a saved row finds it again."""
    cell = network_cells(brought("zoo:policy"), [8])[0]
    assert cell.id == "policy-b8"
    assert case_of(Case(cell, "optimized").identity()) == Case(cell, "optimized")


def test_the_hash_is_of_the_numbers() -> None:
    """It is that of the first machine, so that results of two machines are about one network."""
    assert brought("zoo:policy").sha256.startswith("85ba5b193dac")


def test_another_zoo_is_refused() -> None:
    """A result of an older zoo, whose weights were others, is not gone on with."""
    with pytest.raises(FileError, match="zoo:policy: has changed"):
        NetworkFile("zoo:policy", "0" * 64, "policy").model()


def test_the_whole_zoo_is_every_network() -> None:
    """In its order."""
    assert [each.name for each in brought_all("zoo")] == list(ZOO)


def test_inputs_belong_to_one_network() -> None:
    """Networks of the zoo have inputs of different names."""
    with pytest.raises(UsageError, match="name one of the zoo, such as zoo:batch-norm-mlp"):
        brought_all("zoo", inputs="x.npz")


def test_an_unknown_animal_is_named() -> None:
    """The message lists those there are."""
    with pytest.raises(ModelError, match="there are batch-norm-mlp"):
        brought("zoo:cat")


def test_a_command_for_one_network_takes_no_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    """It says how one of them is named."""
    assert main(["explain", "zoo"]) == 2
    assert "such as zoo:batch-norm-mlp" in capsys.readouterr().err
