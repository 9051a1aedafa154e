"""What is compared: the ladder from the baseline to everything, each optimisation by itself, and everything without it.

The passes come from the table of the compiler; ORDER says in which order they climb, and one that it does not know climbs last.
"""

from __future__ import annotations

from collections.abc import Collection

from mlbench.compiler.pipeline import PASSES
from mlbench.results import BASELINE
from mlbench.results.ablation import Rung

_NAMES = tuple(each.name for each in PASSES)
_FIRST = ("static", "in_place", "fuse", "fold_bias", "canonicalize", "tile", "strips", "layout", "codegen", "parallelize")
ORDER = (*(name for name in _FIRST if name in _NAMES), *(name for name in _NAMES if name not in _FIRST))
"""The rungs of the ladder, from what every textbook has to what only measuring suggests."""
CONTROL = "baseline again"
NOTHING = "compiled, nothing on" if "static" in _NAMES else "static buffers"
"""What a compiled runner without any pass is called."""

Passes = tuple[str, ...]


def rungs() -> tuple[Rung, ...]:
    """Return every comparison, in the order of the table."""
    everything = ordered(ORDER)
    ladder = [Rung(NOTHING, NOTHING, (), None)]
    ladder += [Rung(f"+ {name}", name, ordered(ORDER[: index + 1]), ordered(ORDER[:index])) for index, name in enumerate(ORDER)]
    alone = [Rung(f"only {name}", name, (name,), ()) for name in ORDER]
    without = [Rung(f"all but {name}", name, everything, ordered(set(ORDER) - {name})) for name in ORDER]
    return (*ladder, *alone, *without)


def variants() -> tuple[Passes, ...]:
    """Return the passes of every compiled runner that a rung compares, each once."""
    every = [passes for rung in rungs() for passes in (rung.with_it, rung.without_it) if passes is not None]
    return tuple(dict.fromkeys(every))


def ordered(names: Collection[str]) -> Passes:
    """Return names in the order in which their passes run."""
    return tuple(name for name in _NAMES if name in names)


def name_of(passes: Passes | None) -> str:
    """Return what the runner with these passes is called; None is the baseline."""
    return BASELINE if passes is None else " + ".join(passes) or NOTHING
