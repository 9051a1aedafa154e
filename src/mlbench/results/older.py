"""Measurements of older versions of the schema, brought to the newest. They are JSON data that nobody has checked yet."""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 5
OLD_VERSIONS = (1, 2, 3, 4)
_PASSES = {"clean": "canonicalize", "threads": "parallelize"}
OLD_FLOOR_RATIO, OLD_FLOOR_ARM = "generated_floor_ratio", "generated_floor"
HISTORY = """\
1: first version. 2: a measurement has its plan and, where its test failed, the status failed and the error; a result may list what was
accepted into it; of a plan, ways are generated where they once were packed, and code names the instructions of generated code. Version 1 is
read with the plan unknown. 3: a measurement has floor_s, a bound that no code under test is part of, and its floor_ratio is the time / that
bound; its arms are this, products and baseline, with a warm heap; a baseline may hold further runs of the same version. What versions 1 and
2 call floor_ratio and floor is read as generated_floor_ratio and generated_floor, and not compared. 4: a measurement says by what the bytes
held between calls were counted, and static has objects, what was named in a test; of earlier versions only cases are read as counted.
5: of a plan, ops are what was called ways, and the passes clean and threads are called canonicalize and parallelize; earlier versions are
read with the new names. A measurement may have code, what generated code executes in a call and, with levels, what that moves between the
levels of memory; files before that lack it."""


def upgrade(row: Any, version: int) -> None:  # whatever JSON holds
    """Bring a measurement of an old version to the newest in place.

    Version 1 has no plan. The floor of 1 and 2 was the bare products as generated code ran them: its ratio keeps its meaning under the name
    `generated_floor_ratio`, its rounds under `generated_floor`, and nothing is compared with them. None of these three counted what the
    callable of a test holds. Until 4, a plan has ways where it now has ops, and two passes have other names.
    """
    if not isinstance(row, dict):
        return
    if version == 1:
        row.setdefault("plan", None)
        row.setdefault("error", None)
    if version < 3:
        row.setdefault("floor_s", None)
        row.setdefault("runs", [])
        for part, old, new in (("ratios", "floor_ratio", OLD_FLOOR_RATIO), ("arms", "floor", OLD_FLOOR_ARM)):
            if isinstance(row.get(part), dict) and old in row[part]:
                row[part][new] = row[part].pop(old)
    case, static = row.get("case"), row.get("static")
    if version < 4:
        row.setdefault("counted", "runner" if isinstance(case, dict) and "batch" in case else None)
        if isinstance(static, dict):
            static.setdefault("objects", 0)
    _rename_plan(row.get("plan"))


def _rename_plan(plan: Any) -> None:  # whatever JSON holds
    """Give what a plan holds the names of today."""
    if not isinstance(plan, dict):
        return
    if "ways" in plan:
        plan["ops"] = plan.pop("ways")
    if isinstance(plan.get("passes"), list):
        plan["passes"] = [_PASSES.get(str(name), name) for name in plan["passes"]]
