"""What the compiler does to a model: told in order on a terminal, and as a record that a page shows."""

from mlbench.studies.explain.record import explain
from mlbench.studies.explain.text import explanation

__all__ = ["explain", "explanation"]
