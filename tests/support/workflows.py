"""Workflows of GitHub and the action as data: their steps, and the shell commands of the action with their inputs filled in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def read(place: str) -> dict[Any, Any]:
    """Return a YAML file of the repository."""
    found: dict[Any, Any] = yaml.safe_load((ROOT / place).read_text(encoding="utf-8"))
    return found


def action_steps() -> dict[str, dict[str, Any]]:
    """Return the named steps of the action."""
    return {step["name"]: step for step in read("action.yml")["runs"]["steps"] if "name" in step}


def environment(step: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """Return the variables of a step, with the given inputs and the defaults of the others."""
    defaults = {name: str(each["default"]) for name, each in read("action.yml")["inputs"].items()}
    values = {**defaults, **given}
    return {name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text) for name, text in step["env"].items()}
