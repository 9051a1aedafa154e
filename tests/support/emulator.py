"""An emulator of the few x86-64 instructions that bodies are made of, so that code for AVX-512 runs in tests on every machine.

It reads the text of GNU objdump, and works on real addresses: the arrays are those that the code would read and write itself.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

OBJDUMP = shutil.which("objdump")
_REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_LANES = 16
_STACK_BYTES = 1 << 16
_NOWHERE = 1
"""Where the function returns to."""
_LINE = re.compile(r"^\s*([0-9a-f]+):\t(?:[0-9a-f]{2} )+\s*\t(?:rex\S* )?(\S+)\s*(.*?)\s*(?:# (0x[0-9a-f]+))?$")
_MEMORY = re.compile(r"\[(\w+)(?:\+(\w+)\*([1248]))?([+-]0x[0-9a-f]+)?\]")
_RELATIVE = re.compile(r"\[rip[+-]0x[0-9a-f]+\]")
Bits = npt.NDArray[np.uint32]


class Emulator:
    """A processor with 16 general registers, 32 vectors of 16 lanes and 8 masks.

    Args:
        code: machine code, which begins with a function of the C ABI.

    Attributes:
        executed_of: how many times each instruction ran.
    """

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self._base = ctypes.addressof(self._code)
        self._bytes = code
        self._text: dict[int, tuple[int, str, list[str]]] = {}
        self._general = dict.fromkeys(("", *_REGISTERS), 0)
        self._vectors: list[Bits] = [np.zeros(_LANES, np.uint32) for _ in range(32)]
        self._masks: list[npt.NDArray[np.bool_]] = [np.ones(_LANES, bool) for _ in range(8)]
        self._stack = ctypes.create_string_buffer(_STACK_BYTES)
        self._difference = 0
        self.executed_of: Counter[str] = Counter()

    def call(self, *arguments: int) -> int:
        """Run the function with up to two arguments and return rax."""
        self._general.update(zip(("rdi", "rsi"), arguments, strict=False))
        self._general["rsp"] = ctypes.addressof(self._stack) + _STACK_BYTES - 64
        self._push(_NOWHERE)
        place = self._base
        with np.errstate(all="ignore"):
            while place != _NOWHERE:
                after, name, operands = self._decoded(place)
                self.executed_of[name] += 1
                if name == "call":
                    self._push(after)
                    place = self._read(operands[0])
                elif name == "ret":
                    place = self._pop()
                else:
                    place = self._step(name, operands) or after
        return self._general["rax"]

    def _push(self, number: int) -> None:
        self._general["rsp"] -= 8
        self._write("[rsp]", number)

    def _pop(self) -> int:
        number = self._read("[rsp]")
        self._general["rsp"] += 8
        return number

    def _decoded(self, place: int) -> tuple[int, str, list[str]]:
        if place not in self._text:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "code")
                path.write_bytes(self._bytes[place - self._base :])
                command = [OBJDUMP or "", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", f"--adjust-vma={place:#x}", str(path)]
                lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            found = [match for match in map(_LINE.match, lines) if match is not None]
            starts = [*(int(match[1], 16) for match in found), self._base + len(self._bytes)]
            for match, after in zip(found, starts[1:], strict=True):
                operands = re.split(r",(?![^\[]*\])", _RELATIVE.sub(f"[{match[4]}]", match[3])) if match[3] else []
                self._text.setdefault(int(match[1], 16), (after, match[2], operands))
        return self._text[place]

    # --- operands -----------------------------------------------------------------------------------------------------------

    def _address(self, operand: str) -> int:
        base, index, scale, shift = _parts(operand)
        return (self._general[base] + self._general[index] * scale + shift) % 2**64

    def _read(self, operand: str, size: int = 8) -> int:
        if "[" in operand:
            return int.from_bytes(ctypes.string_at(self._address(operand), 4 if operand.startswith("DWORD") else size), "little")
        if re.fullmatch(r"r\d+d|e\w\w", operand):
            full = operand[:-1] if operand.endswith("d") else f"r{operand[1:]}"
            return self._general[full] & 0xFFFFFFFF
        return self._general[operand] if operand in self._general else int(operand, 16)

    def _write(self, operand: str, value: int) -> None:
        if "[" in operand:
            size = 4 if operand.startswith("DWORD") else 8
            ctypes.memmove(self._address(operand), (value % 2 ** (8 * size)).to_bytes(size, "little"), size)
        elif re.fullmatch(r"r\d+d|e\w\w", operand):
            self._general[operand[:-1] if operand.endswith("d") else f"r{operand[1:]}"] = value % 2**32
        else:
            self._general[operand] = value % 2**64

    def _vector(self, operand: str) -> Bits:
        if "{1to16}" in operand or "BCST" in operand:  # as older and newer ones of objdump write it
            return np.full(_LANES, self._read(operand, 4), np.uint32)
        if "[" in operand:
            return np.frombuffer(ctypes.string_at(self._address(operand), 4 * _LANES), np.uint32)
        return self._vectors[int(re.match(r"[xyz]mm(\d+)", operand)[1])].copy()  # type: ignore[index]  # objdump's own spelling

    def _set(self, operand: str, value: npt.NDArray[np.generic]) -> None:
        """Write a vector to a register, in the lanes of its mask."""
        number = int(re.match(r"[xyz]mm(\d+)", operand)[1])  # type: ignore[index]  # objdump's own spelling
        bits = np.asarray(value).view(np.uint32)
        mask = re.search(r"\{k(\d)\}", operand)
        if mask is not None:
            kept = np.zeros(_LANES, np.uint32) if "{z}" in operand else self._vectors[number]
            bits = np.where(self._masks[int(mask[1])], bits, kept)
        self._vectors[number] = bits.astype(np.uint32)

    # --- instructions -------------------------------------------------------------------------------------------------------

    def _step(self, name: str, operands: list[str]) -> int | None:
        if name.startswith("j"):
            return int(operands[0], 16) if self._holds(name) else None
        if name == "vcvttss2si":
            self._write(operands[0], int(np.frombuffer(ctypes.string_at(self._address(operands[1]), 4), np.float32)[0]))
        elif name.startswith(("v", "k")):
            self._vector_step(name, operands)
        else:
            self._general_step(name, operands)
        return None

    def _holds(self, name: str) -> bool:
        less, equal = self._difference < 0, self._difference == 0
        known = {"jmp": True, "jne": not equal, "je": equal, "jbe": less or equal, "ja": not (less or equal), "jb": less, "jae": not less}
        return known[name]

    def _general_step(self, name: str, operands: list[str]) -> None:
        if name in ("push", "pop"):
            self._push(self._read(operands[0])) if name == "push" else self._write(operands[0], self._pop())
        elif name in ("mov", "movabs"):
            self._write(operands[0], self._read(operands[1]))
        elif name == "lea":
            self._general[operands[0]] = self._address(operands[1])
        elif name == "imul":
            self._write(operands[0], self._read(operands[1]) * int(operands[2], 16))
        elif name == "movsxd":
            number = self._read(operands[1], 4)
            self._write(operands[0], number - (number >> 31 << 32))
        elif name == "div":
            self._divide(operands[0])
        elif name in ("add", "sub", "cmp"):
            one, other = self._read(operands[0]), self._read(operands[1])
            other -= 2**64 if other >= 2**63 else 0
            self._difference = one - other
            if name != "cmp":
                self._write(operands[0], one + other if name == "add" else one - other)
        elif name not in ("nop", "nopw", "xchg", "cs", "data16", "nopl", "prefetcht1"):
            raise AssertionError(f"no instruction {name} {operands}")

    def _divide(self, operand: str) -> None:
        assert re.fullmatch(r"r\d+d|e\w\w", operand), operand
        divisor, number = self._read(operand), self._read("edx") << 32 | self._read("eax")
        self._write("eax", number // divisor)
        self._write("edx", number % divisor)

    def _vector_step(self, name: str, operands: list[str]) -> None:
        if name == "vzeroupper":
            return
        if name == "kmovw":
            value = self._read(operands[1])
            self._masks[int(operands[0][1])] = np.array([value >> lane & 1 for lane in range(_LANES)], bool)
        elif name in ("vmovups", "vmovaps"):
            self._move(operands)
        elif name == "vmovss":
            ctypes.memmove(self._address(operands[0]), self._vector(operands[1])[:1].tobytes(), 4)
        elif name == "vbroadcastss":
            self._set(operands[0], np.full(_LANES, self._read(operands[1], 4), np.uint32))
        elif name.startswith("vcmp"):
            one, other = (self._vector(each).view(np.float32) for each in operands[1:3])
            self._masks[int(operands[0][1])] = _COMPARISONS[name](one, other)
        elif name == "vptestmd":
            self._masks[int(operands[0][1])] = (self._vector(operands[1]) & self._vector(operands[2])) != 0
        elif name == "vblendmps":
            number = int(re.search(r"\{k(\d)\}", operands[0])[1])  # type: ignore[index]  # it always has a mask
            chosen = np.where(self._masks[number], self._vector(operands[2]), self._vector(operands[1]))
            self._set(operands[0].split("{")[0], chosen)
        elif name == "vpternlogd":
            assert operands[3] == "0xff"
            self._set(operands[0], np.full(_LANES, 0xFFFFFFFF, np.uint32))
        else:
            self._compute(name, operands)

    def _move(self, operands: list[str]) -> None:
        if "[" not in operands[0]:
            self._set(operands[0], self._vector_masked(operands))
            return
        mask = re.search(r"\{k(\d)\}", operands[0])
        lanes = self._masks[int(mask[1])] if mask is not None else np.ones(_LANES, bool)
        value, address = self._vector(operands[1]), self._address(operands[0])
        for lane in np.flatnonzero(lanes):
            ctypes.memmove(address + 4 * int(lane), value[lane : lane + 1].tobytes(), 4)

    def _vector_masked(self, operands: list[str]) -> Bits:
        """Read a vector of which memory is touched in the lanes of the mask alone."""
        mask = re.search(r"\{k(\d)\}", operands[0])
        if mask is None or "[" not in operands[1]:
            return self._vector(operands[1])
        address, lanes = self._address(operands[1]), self._masks[int(mask[1])]
        found = np.zeros(_LANES, np.uint32)
        for lane in np.flatnonzero(lanes):
            found[lane] = int.from_bytes(ctypes.string_at(address + 4 * int(lane), 4), "little")
        return found

    def _compute(self, name: str, operands: list[str]) -> None:
        to, *sources = operands
        if name[:-2] in _MULTIPLY_ADDS or name in _MULTIPLY_ADDS:
            values = [self._vector(each).view(np.float32).astype(np.float64) for each in operands]
            self._set(to, _MULTIPLY_ADDS[name](*values).astype(np.float32))
            return
        numbers = [int(each, 16) for each in sources if each.startswith("0x")]
        vectors = [self._vector(each) for each in sources if not each.startswith("0x")]
        self._set(to, _OPERATIONS[name](*vectors, *numbers))


@functools.cache
def _parts(operand: str) -> tuple[str, str, int, int]:
    """Return the base, the index, its scale and the shift of an operand in memory; the registers are "" where there is none."""
    found = _MEMORY.search(operand)
    assert found is not None, operand
    if found[1].startswith("0x"):
        return "", "", 0, int(found[1], 16)
    return found[1], found[2] or "", int(found[3] or 0), int(found[4] or "0", 16)


def _float(function: Callable[..., npt.NDArray[np.float32]]) -> Callable[..., npt.NDArray[np.float32]]:
    return lambda *vectors: function(*(each.view(np.float32) for each in vectors))


def _swapped(vector: Bits, lanes: int) -> Bits:
    return vector.reshape(-1, 2, lanes)[:, ::-1].reshape(-1).copy()


_COMPARISONS: dict[str, Callable[..., npt.NDArray[np.bool_]]] = {
    "vcmpltps": np.less,
    "vcmpleps": np.less_equal,
    "vcmpeqps": np.equal,
    "vcmpunordps": lambda one, other: np.isnan(one) | np.isnan(other),
    "vcmpneqps": np.not_equal,
    "vcmpgeps": np.greater_equal,
    "vcmpgtps": np.greater,
    "vcmpngeps": lambda one, other: ~(one >= other),
}
_MULTIPLY_ADDS: dict[str, Callable[..., npt.NDArray[np.float64]]] = {
    "vfmadd231ps": lambda to, one, other: to + one * other,
    "vfmadd213ps": lambda to, one, other: one * to + other,
    "vfnmadd231ps": lambda to, one, other: to - one * other,
    "vfnmadd213ps": lambda to, one, other: other - one * to,
}
"""In float64 the product is exact; the sum is rounded twice, which differs from once in a few cases of 2**29."""
_OPERATIONS: dict[str, Callable[..., npt.NDArray[np.generic]]] = {
    "vaddps": _float(np.add),
    "vsubps": _float(np.subtract),
    "vmulps": _float(np.multiply),
    "vdivps": _float(np.divide),
    "vsqrtps": _float(np.sqrt),
    "vmaxps": _float(lambda one, other: np.choose(one > other, (other, one))),
    "vminps": _float(lambda one, other: np.choose(one < other, (other, one))),
    "vpandd": np.bitwise_and,
    "vpandnd": lambda one, other: ~one & other,
    "vpord": np.bitwise_or,
    "vpxord": np.bitwise_xor,
    "vpaddd": np.add,
    "vpsubd": np.subtract,
    "vpslld": lambda one, bits: one << np.uint32(bits),
    "vpsrld": lambda one, bits: one >> np.uint32(bits),
    "vpsrad": lambda one, bits: one.view(np.int32) >> np.int32(bits),
    "vcvtdq2ps": lambda one: one.view(np.int32).astype(np.float32),
    "vcvtps2dq": lambda one: np.rint(one.view(np.float32)).astype(np.int32),
    "vrndscaleps": lambda one, how: {8: np.rint, 9: np.floor, 10: np.ceil, 11: np.trunc}[how](one.view(np.float32)),
    "vpermilps": lambda one, how: _swapped(one, {0xB1: 1, 0x4E: 2}[how]),
    "vpermps": lambda places, table: table[places & np.uint32(_LANES - 1)],
    "vshuff32x4": lambda one, _, how: _swapped(one, {0xB1: 4, 0x4E: 8}[how]),
}
