"""Latency, footprint, environment, worker processes. Nothing here knows what a graph is."""

from mlbench.measure.environment import Environment, describe, environment
from mlbench.measure.footprint import Footprint, footprint, has_memray, held_bytes, record, render_flame_graph
from mlbench.measure.latency import ArmTimes, take_turns
from mlbench.measure.threads import blas_threads
from mlbench.measure.worker import FRESH_HEAP, HEAPS, KEPT_HEAP, Worker

__all__ = [
    "FRESH_HEAP",
    "HEAPS",
    "KEPT_HEAP",
    "ArmTimes",
    "Environment",
    "Footprint",
    "Worker",
    "blas_threads",
    "describe",
    "environment",
    "footprint",
    "has_memray",
    "held_bytes",
    "record",
    "render_flame_graph",
    "take_turns",
]
