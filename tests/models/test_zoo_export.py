"""The zoo as ONNX files: what comes back through the importer is the same network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.ir import interpret
from mlbench.models.zoo import ZOO, load_zoo
from support.strategies import batch_of

pytest.importorskip("onnx", reason="needs the extra 'onnx'")
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "export_zoo.py"


@pytest.mark.parametrize("name", ZOO)
def test_a_network_comes_back_from_its_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes what it did, and has the same names."""
    from mlbench.models.onnx import from_onnx  # noqa: PLC0415  # needs the extra

    spec = importlib.util.spec_from_file_location("export_zoo", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "export_zoo", script)
    spec.loader.exec_module(script)
    network, again = load_zoo(name), from_onnx(script.exported(name))
    assert (again.inputs, again.outputs) == (network.inputs, network.outputs)
    xs = [batch_of(3, columns, seed) for seed, columns in enumerate(network.inputs.values())]
    for one, other in zip(interpret(network.graph(), xs), interpret(again.graph(), xs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
