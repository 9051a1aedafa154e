"""mlbench measures what compiler-style optimisations buy in neural-network inference on NumPy.

    from mlbench import mlp, load_digits_mlp, BaselineRunner, OptimizedRunner

`import mlbench` needs NumPy alone. Names load on first use, so that the pytest plugin costs nothing in a project that does not
use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlbench._version import __version__

if TYPE_CHECKING:
    from mlbench.compiler.memory import MemoryPlan
    from mlbench.compiler.schedule.schedule import Schedule
    from mlbench.errors import MlbenchError
    from mlbench.models import Digits, Layer, Model, Network, load, load_digits_mlp, mlp
    from mlbench.models.onnx import from_onnx
    from mlbench.models.sklearn import from_sklearn
    from mlbench.runtime import BaselineRunner, OptimizedRunner
    from mlbench.studies.autotune import tune

_HOMES = {
    "BaselineRunner": "mlbench.runtime",
    "Digits": "mlbench.models",
    "Layer": "mlbench.models",
    "MemoryPlan": "mlbench.compiler.memory",
    "MlbenchError": "mlbench.errors",
    "Model": "mlbench.models",
    "Network": "mlbench.models",
    "OptimizedRunner": "mlbench.runtime",
    "Schedule": "mlbench.compiler.schedule.schedule",
    "from_onnx": "mlbench.models.onnx",
    "from_sklearn": "mlbench.models.sklearn",
    "load": "mlbench.models",
    "load_digits_mlp": "mlbench.models",
    "mlp": "mlbench.models",
    "tune": "mlbench.studies.autotune",
}

__all__ = [
    "BaselineRunner",
    "Digits",
    "Layer",
    "MemoryPlan",
    "MlbenchError",
    "Model",
    "Network",
    "OptimizedRunner",
    "Schedule",
    "__version__",
    "from_onnx",
    "from_sklearn",
    "load",
    "load_digits_mlp",
    "mlp",
    "tune",
]


def __getattr__(name: str) -> Any:  # PEP 562: whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module 'mlbench' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
