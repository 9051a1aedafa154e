"""The two runners, the code they are lowered to, and the float64 reference that judges them."""

from mlbench.runtime.baseline import BaselineRunner
from mlbench.runtime.engine import Engine, StaticMemory, engine_of
from mlbench.runtime.optimized import OptimizedRunner
from mlbench.runtime.reference import Agreement, check_result, reference

__all__ = ["Agreement", "BaselineRunner", "Engine", "OptimizedRunner", "StaticMemory", "check_result", "engine_of", "reference"]
