"""Footprints by memray, counted in a process of their own: a test file that runs as a program prints them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one call allocated.

    Attributes:
        peak_bytes: most bytes that were allocated at once.
        total_bytes: bytes of all allocations.
        allocations: how many there were.
    """

    peak_bytes: int
    total_bytes: int
    allocations: int


def footprint(call: Callable[[], object]) -> Footprint:
    """Return what `call` allocates, after a warm-up of the callable and of the tracker."""
    import memray  # noqa: PLC0415  # absent on Windows, where nothing here is called

    frees = {memray.AllocatorType.FREE, memray.AllocatorType.MUNMAP, memray.AllocatorType.PYMALLOC_FREE}
    with tempfile.TemporaryDirectory() as folder:
        for path in (Path(folder) / "warm-up", Path(folder) / "run"):
            call()
            with memray.Tracker(path):
                call()
        reader = memray.FileReader(Path(folder) / "run")
        sizes = [record.size for record in reader.get_allocation_records() if record.allocator not in frees]
        found = Footprint(reader.metadata.peak_memory, sum(sizes), len(sizes))
        reader.close()
    return found


def run_as_program(path: str) -> dict[str, Footprint]:
    """Run a test file as a program with one BLAS thread and without coverage; return the footprints that it prints."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")} | threads
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return {cell: Footprint(**facts) for cell, facts in json.loads(done.stdout).items()}


def print_footprints(calls: dict[str, Callable[[], object]]) -> None:
    """Print what each call allocates, as JSON."""
    footprint(lambda: None)
    print(json.dumps({cell: asdict(footprint(call)) for cell, call in calls.items()}))
