"""Latency, footprint, environment, worker processes. Nothing here knows what a graph is."""

from mlbench.measure.footprint import Footprint, footprint, has_memray, held_bytes, record, render_flame_graph
from mlbench.measure.latency import ArmTimes, time_interleaved
from mlbench.measure.objects import closed_over, object_bytes
from mlbench.measure.rounds import interleaved
from mlbench.measure.spinning import SPIN_S, wait_for_threads
from mlbench.measure.system.caches import Caches, caches, eviction_bytes, eviction_text, evictor
from mlbench.measure.system.environment import Environment, describe, environment, kernel_key
from mlbench.measure.worker import FRESH_HEAP, HEAPS, WARM_HEAP, Worker

__all__ = [
    "FRESH_HEAP",
    "HEAPS",
    "SPIN_S",
    "WARM_HEAP",
    "ArmTimes",
    "Caches",
    "Environment",
    "Footprint",
    "Worker",
    "caches",
    "closed_over",
    "describe",
    "environment",
    "eviction_bytes",
    "eviction_text",
    "evictor",
    "footprint",
    "has_memray",
    "held_bytes",
    "interleaved",
    "kernel_key",
    "object_bytes",
    "record",
    "render_flame_graph",
    "time_interleaved",
    "wait_for_threads",
]
