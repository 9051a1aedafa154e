"""What the worker of a test is asked to call."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A dataclass with a tuple in it, and perhaps a number."""

    name: str
    numbers: tuple[float, ...]
    more: int | None


@dataclass(frozen=True)
class Whole:
    """A dataclass with others in it."""

    parts: dict[str, Part]
    count: int


def whole_of(parts: tuple[Part, ...], more: dict[str, Part]) -> Whole:
    """Put parts together."""
    found = {each.name: each for each in parts} | more
    return Whole(found, len(found))


def wait_for_ever() -> None:
    """Hang."""
    threading.Event().wait()


def add(one: Any, other: Any) -> dict[str, Any]:
    """Return a sum, and everything that JSON has."""
    return {"sum": one + other, "seen": [one, other, None, True]}


def fail(message: str) -> None:
    """Raise."""
    raise LookupError(message)


def chatter(lines: int) -> int:
    """Print what looks like answers."""
    for number in range(lines):
        print('{"ok": "a lie"}', number)
    os.write(1, b'{"ok": "from below Python"}\n')
    return lines


def no_json() -> set[int]:
    """Return what JSON cannot hold."""
    return {1, 2, 3}


def leave(code: int) -> None:
    """End the process."""
    sys.exit(code)


def interrupt() -> str:
    """Send this process a Ctrl-C."""
    os.kill(os.getpid(), 2)
    return "still here"


def path() -> list[str]:
    """Return where modules are looked for."""
    return sys.path
