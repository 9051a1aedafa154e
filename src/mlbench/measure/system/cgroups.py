"""What a container allows this process, by the files of control groups, version 2 and version 1.

A limit may be set on the group of the process or on any group above it, and the tightest holds. Inside a container the group's own
path is often not mounted, and the container's limit stands at the root of what is; so the root is looked at in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

Read = Callable[[str], str | None]

_ROOT = "/sys/fs/cgroup"
NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes a number near 2**63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a container allows.

    Attributes:
        cpu_limit: cores this process may use, or None without a limit.
        memory_limit_bytes: bytes it may use, or None without a limit.
        throttled: periods in which it was stopped because it had used its share up; None where nobody counts them.
    """

    cpu_limit: float | None = None
    memory_limit_bytes: int | None = None
    throttled: int | None = None


def container(read: Read) -> Container:
    """Look it up; `read` returns the text of a system file, or None where it does not exist."""
    groups = _groups(read("/proc/self/cgroup"))
    cpu = [cpu_limit(read(f"{folder}/cpu.max")) for folder in _folders(groups, "")]
    cpu += [_quota(read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us")) for folder in _folders(groups, "cpu")]
    memory = [bytes_limit(read(f"{folder}/memory.max")) for folder in _folders(groups, "")]
    memory += [bytes_limit(read(f"{folder}/memory.limit_in_bytes")) for folder in _folders(groups, "memory")]
    throttled = [_throttled(read(f"{folder}/cpu.stat")) for folder in (*_folders(groups, ""), *_folders(groups, "cpu"))]
    return Container(
        min((limit for limit in cpu if limit is not None), default=None),
        min((limit for limit in memory if limit is not None), default=None),
        max((count for count in throttled if count is not None), default=None),
    )


def cpu_limit(text: str | None) -> float | None:
    """Parse version 2's `cpu.max`: quota and period in microseconds, or `max`.

    >>> cpu_limit("150000 100000"), cpu_limit("max 100000")
    (1.5, None)
    """
    quota, _, period = (text or "max").partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100000)


def bytes_limit(text: str | None) -> int | None:
    """Parse a limit in bytes; `max`, or a number that no machine has, is none.

    >>> bytes_limit("1073741824"), bytes_limit("max"), bytes_limit("9223372036854771712")
    (1073741824, None, None)
    """
    return int(text) if text and text.isdecimal() and int(text) < NO_LIMIT_BYTES else None


def _quota(quota: str | None, period: str | None) -> float | None:
    """Parse version 1's quota and period in microseconds; -1 is no limit."""
    return int(quota) / int(period or 100000) if quota and quota.isdecimal() else None


def _throttled(text: str | None) -> int | None:
    counts = dict(line.split(maxsplit=1) for line in (text or "").splitlines() if " " in line)
    return int(counts["nr_throttled"]) if counts.get("nr_throttled", "").isdecimal() else None


def _groups(text: str | None) -> dict[str, tuple[str, str]]:
    """Return controller to its mount's name and the group's path; version 2 is the controller with an empty name."""
    found = {"": ("", "/")}
    for line in (text or "").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for name in controllers.split(","):
            found[name] = (controllers, path)
    return found


def _folders(groups: dict[str, tuple[str, str]], controller: str) -> Iterator[str]:
    """Yield the folder of the group and of each group above it, down to the root."""
    if controller not in groups:
        return
    mount, path = groups[controller]
    root = PurePosixPath(_ROOT) / mount
    group = root / path.lstrip("/")
    yield from (str(folder) for folder in (group, *group.parents) if folder == root or root in folder.parents)
