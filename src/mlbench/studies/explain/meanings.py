"""What a vector instruction of a sweep computes, in words: its operands are named already."""

from __future__ import annotations

from collections.abc import Sequence

_BETWEEN = {"vaddps": "+", "vsubps": "-", "vmulps": "*", "vdivps": "/", "vpaddd": "+", "vpsubd": "-"}
_OF_TWO = {
    "vmaxps": "the larger of {} and {}",
    "vminps": "the smaller of {} and {}",
    "vandps": "the bits that {} and {} have",
    "vpandd": "the bits that {} and {} have",
    "vandnps": "the bits of {1} that {0} has not",
    "vpandnd": "the bits of {1} that {0} has not",
    "vorps": "the bits of {} or {}",
    "vpord": "the bits of {} or {}",
    "vxorps": "the bits that only one of {} and {} has",
    "vpxord": "the bits that only one of {} and {} has",
    "vblendmps": "{1} where the mask is set, else {0}",
    "vblendvps": "{1} where {2} is set, else {0}",
    "vpslld": "the bits of {} moved up by {}",
    "vpsrld": "the bits of {} moved down by {}",
    "vpsrad": "the bits of {} moved down by {}, with their sign",
    "vptestmd": "a mask of the lanes of {} that are set",
    "vpternlogd": "all bits where the comparison held",
}
_OF_ONE = {
    "vsqrtps": "the root of {}",
    "vcvtps2dq": "{}, rounded, as a whole number",
    "vcvtdq2ps": "{} as float32",
    "vroundps": "{} rounded",
    "vrndscaleps": "{} rounded",
    "vpermilps": "{}, neighbouring lanes exchanged",
    "vperm2f128": "{}, halves exchanged",
    "vshuff32x4": "{}, quarters exchanged",
}
_COMPARISONS = {
    "vcmpeqps": "=",
    "vcmpltps": "<",
    "vcmpleps": "<=",
    "vcmpunordps": "is NaN or",
    "vcmpneqps": "is not",
    "vcmpngeps": "is NaN or <",
}


def copies(name: str) -> bool:
    """Whether an instruction only brings something into its register."""
    return name.startswith(("vmov", "vbroadcast", "vmaskmov"))


def meaning_of(name: str, operands: Sequence[str]) -> str:
    """Return what an instruction computes.

    Args:
        name: of the instruction.
        operands: what they are called; the first one is the register that it writes, with what it held before.

    >>> meaning_of("vfmadd213ps", ("x", "x", "0.5")), meaning_of("vmaxps", ("t1", "0", "x"))
    ('x * x + 0.5', 'the larger of 0 and x')
    """
    to, *others = operands
    if name.startswith(("vfmadd", "vfnmadd")):
        one, other = others
        product, more = (f"{one} * {to}", other) if "213" in name else (f"{one} * {other}", to)
        return f"{more} - {product}" if name.startswith("vfnmadd") else f"{product} + {more}"
    if name in _BETWEEN:
        whole = ", as whole numbers" if name.startswith("vp") else ""
        return f"{others[0]} {_BETWEEN[name]} {others[1]}{whole}"
    if name in _COMPARISONS:
        return f"all bits where {others[0]} {_COMPARISONS[name]} {others[1]}"
    if name in _OF_TWO:
        return _OF_TWO[name].format(*others)
    return _OF_ONE.get(name, f"{name} of {{}}").format(others[0])
