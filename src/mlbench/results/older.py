"""Results of older versions of the schema, brought to the newest; the history stands in the `$comment` of `results/schemas/result.json`.

They are JSON data that nobody has checked yet: what is no result is left as it is, to be refused.
"""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 4
_OLD_VERSIONS = (1, 2, 3)
OLD_FLOOR_RATIO, OLD_FLOOR_ARM = "generated_floor_ratio", "generated_floor"


def is_old(version: Any) -> bool:  # whatever JSON holds
    """Whether a version is one of those that can be brought to the newest."""
    return isinstance(version, int) and not isinstance(version, bool) and version in _OLD_VERSIONS


def upgraded(data: Any) -> Any:  # whatever JSON holds
    """Bring a result to the newest version in place, and return it."""
    if isinstance(data, dict) and is_old(data.get("schema")) and isinstance(data.get("measurements"), list):
        for each in data["measurements"]:
            upgrade(each, data["schema"])
        data["schema"] = SCHEMA_VERSION
    return data


def upgrade(row: Any, version: Any) -> None:  # whatever JSON holds
    """Bring a measurement of this version to the newest in place.

    Version 1 has no plan. The floor of 1 and 2 was the bare products as generated code ran them: its ratio keeps its meaning under the name
    `generated_floor_ratio`, its rounds under `generated_floor`, and nothing is compared with them. None of the three counted what the
    callable of a test holds.
    """
    if not isinstance(row, dict) or not is_old(version):
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
    row.setdefault("counted", "runner" if isinstance(case, dict) and "batch" in case else None)
    if isinstance(static, dict):
        static.setdefault("objects", 0)
    if row.get("schema") == version:
        row["schema"] = SCHEMA_VERSION
