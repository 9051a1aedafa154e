"""The zoo as ONNX files: what comes back through the importer is the same network."""

from __future__ import annotations

import numpy as np
import pytest

from mlbench.ir import interpret
from mlbench.models.zoo import ZOO, load_zoo
from mlbench.studies.peers.zoo_files import zoo_bytes
from support.strategies import batch_of

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")


@pytest.mark.parametrize("name", ZOO)
def test_a_network_comes_back_from_its_file(name: str) -> None:
    """It computes what it did, and has the same names."""
    from mlbench.models.onnx import from_onnx  # noqa: PLC0415  # needs the extra

    network, again = load_zoo(name), from_onnx(onnx.load_model_from_string(zoo_bytes(name)))
    assert (again.inputs, again.outputs) == (network.inputs, network.outputs)
    xs = [batch_of(3, columns, seed) for seed, columns in enumerate(network.inputs.values())]
    for one, other in zip(interpret(network.graph(), xs), interpret(again.graph(), xs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
