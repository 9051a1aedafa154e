"""Peers that other packages bring: entry points in the group `mlbench.peers`.

A name is what the peer is called on the command line; its value is a module that holds the adapter, or `module:object`. Only a process that
measures the peer imports it.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from mlbench.results.peers import OURS

GROUP = "mlbench.peers"


def brought_peers(taken: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """Return the peers of other packages, by name, and what is wrong with those that are left out, a line each.

    Args:
        taken: names that are in use.
    """
    found: dict[str, str] = {}
    trouble = []
    for entry in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        package = entry.dist.name if entry.dist is not None else "a package"
        if entry.name in {*taken, *found, OURS}:
            trouble.append(f"{entry.name}: {package} brings a peer of this name, which is taken; its entry point needs another one")
        elif not entry.name or "," in entry.name or entry.name != entry.name.strip():
            trouble.append(f"{entry.name!r}: {package} brings a peer of this name; expected one without commas and spaces around it")
        else:
            found[entry.name] = entry.value.partition("[")[0].strip()
    return found, trouble
