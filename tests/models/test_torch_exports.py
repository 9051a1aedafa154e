"""What both exporters of PyTorch write, against PyTorch; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.models.onnx import load_onnx
from mlbench.runtime import BaselineRunner, OptimizedRunner

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed", allow_module_level=True)
import torch
from torch import nn

HAS_NEW_EXPORTER = importlib.util.find_spec("onnxscript") is not None
ENTRIES, WIDTH, COLUMNS = 50, 6, 4


class Embedding(nn.Module):  # type: ignore[misc]  # PyTorch may be missing
    """Indices with an offset for each column into one table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(ENTRIES, WIDTH)
        self.head = nn.Linear(COLUMNS * WIDTH, 3)
        self.register_buffer("offsets", torch.tensor([0, 10, 20, 30]))

    def forward(self, ids: Any) -> Any:
        """Return scores."""
        entries = self.table(ids + self.offsets)
        return self.head(entries.flatten(1))


class Gate(nn.Module):  # type: ignore[misc]  # as above
    """Comparisons, a choice and the place of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        """Return what is chosen, and a label."""
        scores = self.first(x)
        chosen = torch.where((scores > 0.1) & ~(scores > 1), scores, scores.new_full((), -1.0))
        return chosen, scores.argmax(dim=1)


def mlp() -> nn.Module:
    """Return an MLP with batch normalisation, dropout and GELU."""
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(), nn.GELU(), nn.Linear(16, 3), nn.Softplus())


NETS: dict[str, tuple[Any, Any]] = {
    "mlp": (mlp, lambda random: random.standard_normal((16, 8), np.float32)),
    "embedding": (Embedding, lambda random: random.integers(0, 10, (16, COLUMNS))),
    "gate": (Gate, lambda random: random.standard_normal((16, 8), np.float32)),
}


@pytest.mark.parametrize("new", [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_NEW_EXPORTER, reason="onnxscript is missing"))])
@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore")
def test_a_module_through_an_exporter(name: str, new: bool, tmp_path: Path) -> None:
    """Both runners give what the module gives, at another batch than that of the export."""
    torch.manual_seed(0)
    make, inputs = NETS[name]
    net, x = make().eval(), inputs(np.random.default_rng(0))
    path = str(tmp_path / "net.onnx")
    batch: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if new else {"dynamic_axes": {"x": {0: "batch"}}}
    torch.onnx.export(net, (torch.from_numpy(x[:2]),), path, input_names=["x"], dynamo=new, **batch)
    with torch.no_grad():
        right = net(torch.from_numpy(x))
    network = load_onnx(path)
    assert network.batch is None
    for run in (BaselineRunner(network).run, OptimizedRunner(network, max_batch=16).run):
        found = network.as_declared(run(x))
        for mine, its in zip(found if isinstance(found, tuple) else (found,), right if isinstance(right, tuple) else (right,), strict=True):
            np.testing.assert_allclose(mine.reshape(its.shape), its.numpy(), rtol=1e-4, atol=1e-5)
