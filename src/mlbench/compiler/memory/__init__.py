"""From a program to its memory plan: liveness, the planner, and a validator that trusts no planner."""

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.memory.liveness import buffers_of, lower_bound_bytes, scratch_names, strip_rows_of
from mlbench.compiler.memory.plan import Buffer, MemoryPlan
from mlbench.compiler.memory.planner import place, plan_beside_outputs, plan_memory
from mlbench.compiler.memory.validate import check_plan

__all__ = [
    "ALIGNMENT_BYTES",
    "Buffer",
    "MemoryPlan",
    "buffers_of",
    "check_plan",
    "lower_bound_bytes",
    "place",
    "plan_beside_outputs",
    "plan_memory",
    "scratch_names",
    "strip_rows_of",
]
