"""The inner kernel of the BLAS that NumPy ships with, called directly, so that weights are packed once and not in every call.

A matrix product in OpenBLAS copies both matrices into the order in which its kernel reads them ("packs" them, Goto and van de Geijn,
"Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008), then runs the kernel. At batch 8 the packing of the weights is
more than half of the time. Runtimes such as ONNX Runtime pack constant weights once; NumPy has no such call. But the library in NumPy's
wheels exports its packing routines and its kernel, so they can be called with `ctypes`:

    sgemm_itcopy, sgemm_oncopy, sgemm_otcopy    pack the weights; pack rows of the batch; the same from feature-major memory
    sgemm_kernel                                C += alpha * packed A * packed B

They are no documented interface. Their signatures are those of GotoBLAS and have not changed since, but nobody promises it. So nothing is
called in this process before a process of its own has done the same on awkward shapes, with every packed operand right before a page that
may not be touched, and has agreed with float64. What it found is remembered for this very library file. Where the probe does not agree, or
there is no such library (Windows, macOS, MKL), the pass that needs the kernel does nothing and says why.
"""

from __future__ import annotations

import ctypes
import functools
import json
import mmap
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench import __version__
from mlbench.alignment import aligned_floats
from mlbench.cache import recall, remember

MOST_WHOLE_BYTES = 2 * 1024 * 1024
BLOCK_INPUTS, BLOCK_COLUMNS = 256, 1024
"""A weight larger than a common second cache is read in blocks of 1 MiB, which stay there while the kernel goes over the rows of a tile.
From memory that is 10 to 15 % faster for 64 rows, and makes no difference for 8 (1024 x 4096, AVX-512); the packed value of a tile takes
rows x BLOCK_INPUTS numbers."""
PASS_ROWS = 24
"""Rows that the kernel for AVX-512 takes at a time; other kernels take 12 or 4."""
PROBE_TIMEOUT_S = 60.0
_FLOAT_BYTES = 4
_SMALL_CORES = ("SkylakeX", "Cooperlake", "Sapphirerapids")
_SMALL_WORK = 100.0**3
"""OpenBLAS has kernels for small products on cores with AVX-512, up to so many multiplications."""
_COPIED_INPUTS = 32
_NO_SMALL_WORK = 40.0**3
"""Elsewhere every product is packed, and only the calls' own cost speaks against the kernel."""
_PREFIXES, _SUFFIXES = ("scipy_", ""), ("64_", "_", "")
_PROBED = ((1, 1, 1), (3, 2, 5), (24, 64, 10), (48, 65, 33), (31, 130, 100), (49, 70, 96), (8, 600, 523), (50, 300, 2100))
"""Rows, inputs and columns of the products that the probe compares: remainders of the kernel's blocks, and more than one block."""

Floats = npt.NDArray[np.float32]
Foreign = Callable[..., None]


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """The routines of one BLAS library for one kind of core; all take BLASLONG, which is C's long on Linux.

    Attributes:
        core: the core OpenBLAS chose its kernels for.
        unpacked_work: multiplications up to which the library's own product packs nothing, so that packing once gains nothing.
        pack_weight: (inputs, columns, weight, columns of the whole weight, packed).
        pack_rows: (inputs, rows, value, its row length, packed), of a value whose rows lie one after the other.
        pack_features: (inputs, rows, value, its feature length, packed), of a value whose features lie one after the other.
        multiply_packed: (columns, rows, inputs, 1.0, packed weight, packed value, result, its row length); adds to the result.
    """

    core: str
    unpacked_work: float
    pack_weight: Foreign
    pack_rows: Foreign
    pack_features: Foreign
    multiply_packed: Foreign


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a weight that one call of the kernel takes.

    Attributes:
        first: its first input.
        inputs: its inputs.
        column: its first column.
        columns: its columns.
        offset: where it begins in the packed weight, in numbers.
    """

    first: int
    inputs: int
    column: int
    columns: int
    offset: int


def blocks(inputs: int, columns: int) -> tuple[tuple[Block, ...], ...]:
    """Return the blocks of a weight, those of the same inputs together, in the order of the packed weight."""
    is_whole = _FLOAT_BYTES * inputs * columns <= MOST_WHOLE_BYTES
    height, width = (inputs, columns) if is_whole else (BLOCK_INPUTS, BLOCK_COLUMNS)
    return tuple(
        tuple(
            Block(first, min(height, inputs - first), column, min(width, columns - column),
                  first * columns + column * min(height, inputs - first))
            for column in range(0, columns, width)
        )
        for first in range(0, inputs, height)
    )  # fmt: skip


def room_inputs(inputs: int, columns: int) -> int:
    """Return the inputs that one call of the kernel takes at most, and so the columns of the room for a packed value."""
    return blocks(inputs, columns)[0][0].inputs


def pack(kernel: Kernel, weight: Floats, into: Floats | None = None) -> Floats:
    """Return a weight (inputs, columns) in packed order; read-only, the shape is kept."""
    inputs, columns = weight.shape
    plain = np.ascontiguousarray(weight)
    packed = aligned_floats((inputs, columns)) if into is None else into
    for block in (block for row in blocks(inputs, columns) for block in row):
        source = plain.ctypes.data + _FLOAT_BYTES * (block.first * columns + block.column)
        kernel.pack_weight(block.inputs, block.columns, source, columns, packed.ctypes.data + _FLOAT_BYTES * block.offset)
    packed.flags.writeable = False
    return packed


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a routine: its arguments, but for one address that differs from run to run.

    Attributes:
        before: arguments in front of that address, ready for `ctypes`.
        shift: bytes that are added to it.
        after: arguments behind it.
    """

    before: tuple[object, ...]
    shift: int
    after: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What a block of inputs takes: pack that part of the value, then add its product with each block of columns to the result."""

    packing: Call
    multiplying: tuple[Call, ...]


def steps(packed: Floats, rows: int, room: Floats, *, features_first: bool) -> tuple[Step, ...]:
    """Prepare the calls that add value @ weight to a result, for a value of `rows` rows.

    Args:
        packed: what `pack` returned.
        rows: rows of the value.
        room: for the packed value of a block; the calls keep its address, so it must outlive them.
        features_first: the value's features lie one after the other in memory, not its rows.
    """
    inputs, columns = packed.shape
    long, place = ctypes.c_long, address(room)
    found = []
    for row in blocks(inputs, columns):
        block = row[0]
        length, shift = (rows, block.first * rows) if features_first else (inputs, block.first)
        packing = Call((long(block.inputs), long(rows)), _FLOAT_BYTES * shift, (long(length), place))
        multiplying = tuple(
            Call(
                (
                    long(each.columns),
                    long(rows),
                    long(each.inputs),
                    ctypes.c_float(1.0),
                    address(packed, _FLOAT_BYTES * each.offset),
                    place,
                ),
                _FLOAT_BYTES * each.column,
                (long(columns),),
            )
            for each in row
        )
        found.append(Step(packing, multiplying))
    return tuple(found)


def address(array: Floats, shift: int = 0) -> ctypes.c_void_p:
    """Return the address of an array, some bytes on, ready for a call; whoever keeps it must keep the array."""
    return ctypes.c_void_p(array.ctypes.data + shift)


def small_product_allocates(inputs: int, lanes: int | None) -> bool:
    """Whether a small product of untransposed operands may allocate inside the library.

    OpenBLAS's small kernel for AVX-512 copies the last 1 to 8 lanes (columns of the result in C order) of every 16 to memory that it
    allocates in each call, from 32 inputs on (sgemm_small_kernel_nn_skylakex.c, 2021). Other orders of the operands do not.

    Args:
        inputs: inputs of the weight.
        lanes: columns of the result as it lies in memory; None where they differ from call to call.
    """
    kernel, _ = find()
    has_small = kernel is None or kernel.core in _SMALL_CORES
    is_small = 2 * inputs * (lanes or 2) <= _SMALL_WORK
    return has_small and is_small and inputs >= _COPIED_INPUTS and (lanes is None or 1 <= lanes % 16 <= 8)


@functools.cache
def find() -> tuple[Kernel | None, str]:
    """Return the kernel of the BLAS that NumPy uses, probed, and the reason where there is none to use."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None, f"not tried on {platform.system()} {platform.machine()}, only on Linux x86_64"
    library, why = _library()
    if library is None:
        return None, why
    kernel = _load(library)
    if kernel is None:
        return None, f"{library.name} does not export its kernel"
    key = {"mlbench": __version__, "library": str(library), "size": library.stat().st_size, "changed": library.stat().st_mtime_ns,
           "core": kernel.core, "host": platform.node()}  # fmt: skip
    answer = recall("kernel", key)
    if not isinstance(answer, str):
        answer = _probe(library, kernel.core)
        remember("kernel", key, answer)
    return (kernel, "") if answer == "works" else (None, f"the kernel of {library.name} failed its probe: {answer}")


def _library() -> tuple[Path | None, str]:
    """Return the file of the OpenBLAS that NumPy has loaded."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    paths = {Path(line.split(maxsplit=5)[5]) for line in maps.splitlines() if "openblas" in line.rpartition("/")[2].lower()}
    own = [path for path in paths if path.parent.name == "numpy.libs"] or sorted(paths)
    if len(own) != 1:
        return None, f"found {len(own)} OpenBLAS libraries in this process; expected the one of NumPy"
    return own[0], ""


def _load(library: Path) -> Kernel | None:
    handle = ctypes.CDLL(str(library))
    names = [f"{prefix}openblas_get_corename{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES]
    core_name = next((getattr(handle, name) for name in names if hasattr(handle, name)), None)
    if core_name is None:
        return None
    core_name.restype = ctypes.c_char_p
    core = core_name().decode()
    whole, word, address = ctypes.c_long, ctypes.c_float, ctypes.c_void_p
    packing = (whole, whole, address, whole, address)
    routines = {
        "sgemm_itcopy": packing,
        "sgemm_oncopy": packing,
        "sgemm_otcopy": packing,
        "sgemm_kernel": (whole, whole, whole, word, address, address, address, whole),
    }
    held = ctypes.PyDLL(str(library))  # packing takes a microsecond, and giving the interpreter's lock away for it costs more
    found = []
    for name, types in routines.items():
        routine = getattr(handle if name == "sgemm_kernel" else held, f"{name}_{core.upper()}", None)
        if routine is None:
            return None
        routine.argtypes, routine.restype = types, None
        found.append(routine)
    return Kernel(core, _SMALL_WORK if core in _SMALL_CORES else _NO_SMALL_WORK, *found)


def _probe(library: Path, core: str) -> str:
    """Let a process of its own try the kernel; return `works` or what was wrong."""
    home = str(Path(__file__).resolve().parents[1])
    code = f"import sys; sys.path.insert(0, {home!r}); from mlbench.blas import main; main()"
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT_S:g} s"
    if done.returncode:
        return f"exit code {done.returncode}"
    answer: dict[str, Any] = json.loads(done.stdout)
    if (answer["library"], answer["core"]) != (str(library), core):
        return f"the probing process loaded {answer['library']} for {answer['core']}"
    return str(answer["answer"])


def main() -> None:
    """Try the kernel and print what was found, as JSON; what the probing process runs."""
    library, why = _library()
    kernel = None if library is None else _load(library)
    answer = why if kernel is None else _tried(kernel)
    print(json.dumps({"library": str(library), "core": kernel and kernel.core, "answer": answer}))


def _tried(kernel: Kernel) -> str:
    random = np.random.default_rng(0)
    for rows, inputs, columns in _PROBED:
        value, weight = (random.standard_normal(shape).astype(np.float32) for shape in ((rows, inputs), (inputs, columns)))
        exact = value.astype(np.float64) @ weight.astype(np.float64) + 1
        allowed = (inputs + 2) * 2.0**-24 * (np.abs(value).astype(np.float64) @ np.abs(weight) + 1)
        packed = pack(kernel, weight, _guarded(np.empty_like(weight)))
        for features_first in (False, True):
            source = _guarded(np.ascontiguousarray(value.T) if features_first else value)
            out, room = _guarded(np.ones((rows, columns), np.float32)), _guarded(np.empty((rows, room_inputs(inputs, columns)), np.float32))
            packing = kernel.pack_features if features_first else kernel.pack_rows
            for step in steps(packed, rows, room, features_first=features_first):
                packing(*step.packing.before, source.ctypes.data + step.packing.shift, *step.packing.after)
                for call in step.multiplying:
                    kernel.multiply_packed(*call.before, out.ctypes.data + call.shift, *call.after)
            if not (np.abs(out - exact) <= allowed).all():
                return f"wrong for {rows} x {inputs} @ {inputs} x {columns}"
    return "works"


def _guarded(array: Floats) -> Floats:
    """Return a copy that ends right before a page which may not be touched."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    room = mmap.mmap(-1, size + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0):
        raise OSError("mprotect failed")
    copy = np.frombuffer(room, np.float32, array.size, size - array.nbytes).reshape(array.shape)
    np.copyto(copy, array)
    return copy
