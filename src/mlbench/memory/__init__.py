"""Graph -> MemoryPlan: liveness, the planner, and a checker that trusts no planner."""

from mlbench.alignment import ALIGNMENT_BYTES
from mlbench.memory.check import check_plan
from mlbench.memory.liveness import buffers_of, lower_bound_bytes, scratch_names, strip_rows_of
from mlbench.memory.plan import Buffer, MemoryPlan
from mlbench.memory.planner import place, plan_beside_output, plan_memory

__all__ = [
    "ALIGNMENT_BYTES",
    "Buffer",
    "MemoryPlan",
    "buffers_of",
    "check_plan",
    "lower_bound_bytes",
    "place",
    "plan_beside_output",
    "plan_memory",
    "scratch_names",
    "strip_rows_of",
]
