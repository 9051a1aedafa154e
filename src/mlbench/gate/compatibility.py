"""Which machine a result is from, as far as a comparison cares: the same, one of the same class, or another.

The name of the machine is not asked for: what decides is what was recorded. The version of mlbench is left out on purpose, because it is
what changes between two runs that are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlbench.measure import Environment

CLASS = ("cpu", "python", "numpy", "blas", "threads", "heap", "settings")
"""What ratios depend on: kernels, interpreter, allocator."""
FINGERPRINT = (*CLASS, "cores", "system", "governor", "cpu_limit", "memory_limit_bytes")
"""What must agree besides before seconds are compared."""

SAME, ALIKE, OTHER = "the same machine", "a machine of the same class", "another machine"


@dataclass(frozen=True, slots=True)
class Kinship:
    """How two results' machines are related.

    Attributes:
        relation: SAME, ALIKE or OTHER.
        differences: what differs, for people, such as `numpy 2.0.2 -> 2.4.6`.
        same_numpy: NumPy and memray, with which memory was measured, agree.
        same_python: Python, on whose version the sizes of its objects depend, agrees.
        same_blas: BLAS and its kernels agree; without that plans may differ for no reason of the code's.
    """

    relation: str
    differences: tuple[str, ...]
    same_numpy: bool
    same_python: bool
    same_blas: bool


def kinship(before: Environment, after: Environment) -> Kinship:
    """Compare the machines of two results."""
    differing = [name for name in FINGERPRINT if getattr(before, name) != getattr(after, name)]
    relation = OTHER if any(name in CLASS for name in differing) else ALIKE if differing else SAME
    return Kinship(
        relation,
        tuple(f"{name.removesuffix('_bytes').replace('_', ' ')} {_told(before, name)} -> {_told(after, name)}" for name in differing),
        (before.numpy, before.memray) == (after.numpy, after.memray),
        before.python == after.python,
        before.blas == after.blas,
    )


def _told(found: Environment, name: str) -> str:
    value = getattr(found, name)
    return "none" if value is None or value == {} else str(value)
