"""What a saved result says of a network that somebody brought, and whether two rows of one name are about the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.results.schema import Name


@dataclass(frozen=True, slots=True)
class NetworkFields:
    """What a file says of a network that somebody brought.

    Attributes:
        name: what its cases are called.
        file: where it was, absolute.
        sha256: of the content of the file.
        outputs: names of the outputs that were computed; empty for all.
        inputs_file: where its inputs were; None for random numbers.
        inputs_sha256: of the content of that file; None for random numbers.
    """

    name: Name
    file: Name
    sha256: Name
    outputs: list[str]
    inputs_file: Name | None
    inputs_sha256: Name | None


def other_network(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return why two cases of one id are about different networks, as a clause; empty where they are about the same one.

    A file that was moved is the same network: its content counts.

    >>> network = {"file": "a.onnx", "sha256": "12", "outputs": [], "inputs_sha256": None}
    >>> other_network({"network": network}, {"network": network | {"file": "b/a.onnx"}})
    ''
    >>> other_network({"network": network}, {"network": network | {"sha256": "34"}})
    'the content of its file has changed (SHA-256 12, now 34)'
    """
    old, new = before.get("network"), after.get("network")
    if old is None and new is None:
        return ""
    if old is None or new is None:
        return "one is a network in a file, and the other is not"
    if old["sha256"] != new["sha256"]:
        return f"the content of its file has changed (SHA-256 {old['sha256'][:12]}, now {new['sha256'][:12]})"
    if old["outputs"] != new["outputs"]:
        return f"other outputs were computed ({_outputs(old)}, now {_outputs(new)})"
    if old["inputs_sha256"] != new["inputs_sha256"]:
        return f"other inputs were used ({_inputs(old)}, now {_inputs(new)})"
    return ""


def network_key(case: Mapping[str, Any]) -> str:
    """Return one text for everything that `other_network` compares; empty of what is no network in a file."""
    network = case.get("network")
    return "" if network is None else "/".join((network["sha256"], *network["outputs"], network["inputs_sha256"] or ""))


def _outputs(network: Mapping[str, Any]) -> str:
    return ", ".join(network["outputs"]) or "all"


def _inputs(network: Mapping[str, Any]) -> str:
    return "random numbers" if network["inputs_sha256"] is None else f"SHA-256 {network['inputs_sha256'][:12]}"
