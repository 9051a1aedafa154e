"""A/B of two versions: a project's own pytest-benchmark suite, in live processes of both versions that take turns."""

from mlbench.ab.checkouts import Checkout, Repository, check_out, find_repository, held, is_installable, packages
from mlbench.ab.environments import DEFAULT_INSTALL, prepare
from mlbench.ab.judging import judge, open_rows, standings
from mlbench.ab.process import Arm, ArmError
from mlbench.ab.records import FORM, Comparison, Version, has_comparison, load_comparison, save_comparison
from mlbench.ab.session import Interrupted, Session, draw_graphs
from mlbench.ab.visits import Effort, Memory, Visit

__all__ = [
    "DEFAULT_INSTALL",
    "FORM",
    "Arm",
    "ArmError",
    "Checkout",
    "Comparison",
    "Effort",
    "Interrupted",
    "Memory",
    "Repository",
    "Session",
    "Version",
    "Visit",
    "check_out",
    "draw_graphs",
    "find_repository",
    "has_comparison",
    "held",
    "is_installable",
    "judge",
    "load_comparison",
    "open_rows",
    "packages",
    "prepare",
    "save_comparison",
    "standings",
]
