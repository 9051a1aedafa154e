"""Measure how fast weights are read: in how many streams, with which prefetching, and by the runner itself.

    python scripts/read_weights.py                                   # loops that only read 0.7, 4 and 8 MiB, on one thread
    python scripts/read_weights.py --mib 40 --rounds 20
    python scripts/read_weights.py --models 1024-1024-1024 zoo:dlrm-top zoo:residual-mlp --batch 1 8

A loop reads the bytes with vector loads, in 1, 2, 4 or 8 streams. `+512` asks for lines so many bytes ahead. `back` reads from the end, and
`sawtooth` in turn from both ends. `huge` and `small` are the page sizes that the kernel was asked for; the others have what NumPy asks for.

Every way is measured twice. Warm: the same bytes were just read. Cold: 32 MiB of something else were read in between, and a turn is one
call. The ways take turns in random order, so that other work on the machine hits all of them. A line has the median and the best rate.

A runner has no other way to compare with in this process. To compare two versions, run this with each of them in turn, several times.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from mlbench import Model, OptimizedRunner, mlp
from mlbench.compiler.x86.cpu import find
from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code
from mlbench.compiler.x86.encoding.isa import VectorAssembler, Vectors
from mlbench.measure.stats import median
from mlbench.models import Network
from mlbench.models.zoo import load_zoo

STREAMS = (RDI, RSI, RDX, RCX, R8, R9, R10, R11)
"""Registers with the addresses of the streams."""
TURN_BYTES, LINE_BYTES, PAGE_BYTES = 256, 64, 2 * 1024 * 1024
EVICTED_BYTES = 32 * 1024 * 1024
WARM_CALLS = 4
Call = Callable[[], object]


def reading(vectors: Vectors, size: int, streams: int, *, ahead: int = 0, back: bool = False) -> Callable[[int], object]:
    """Return a function that reads so many bytes from an address on."""
    a, again, step = VectorAssembler(vectors), Label(), -TURN_BYTES if back else TURN_BYTES
    part, vector_bytes = size // streams, 4 * vectors.lanes
    for stream in range(streams - 1, -1, -1):
        a.lea(STREAMS[stream], Mem(RDI, stream * part + (part - TURN_BYTES if back else 0)))
    a.mov_number(RAX, part // TURN_BYTES)
    a.put(again)
    for at in range(0, TURN_BYTES, vector_bytes):
        for stream in range(streams):
            a.vload((at // vector_bytes + stream) % 8, Mem(STREAMS[stream], at))
            if ahead and at % LINE_BYTES == 0:
                a.prefetch(Mem(STREAMS[stream], at + ahead))
    for stream in range(streams):
        a.add_number(STREAMS[stream], step)
    a.sub_number(RAX, 1)
    a.jump_if("ne", again)
    a.vzeroupper()
    a.ret()
    code = Code(a.finish())
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address)
    return partial(_call, function, code)


def _call(function: Callable[[int], object], _kept: Code, address: int) -> None:
    function(address)


def loops(vectors: Vectors, mib: float) -> tuple[int, dict[str, Call]]:
    """Return how many bytes are read, and the ways to do it."""
    unit = TURN_BYTES * len(STREAMS)
    size = int(mib * 1024 * 1024) // unit * unit
    data = np.ones(size + PAGE_BYTES, np.uint8)
    place = data.ctypes.data + -data.ctypes.data % LINE_BYTES
    ways: dict[str, Call] = {}
    for streams in (1, 2, 4, 8):
        for ahead in (0, 512, 4096):
            name = f"{streams} streams" + (f" +{ahead}" if ahead else "")
            ways[name] = partial(_read, reading(vectors, size, streams, ahead=ahead), place, data)
    forward, back = reading(vectors, size, 1), reading(vectors, size, 1, back=True)
    ways["back"] = partial(_read, back, place, data)
    turns = [forward, back]

    def sawtooth() -> None:
        turns.reverse()
        turns[0](place)

    ways["sawtooth"] = sawtooth
    for name, advice in (("huge", mmap.MADV_HUGEPAGE), ("small", mmap.MADV_NOHUGEPAGE)):
        paged = mmap.mmap(-1, size + 2 * PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        paged.madvise(advice)
        paged.write(bytes(size + 2 * PAGE_BYTES))
        view = np.frombuffer(paged, np.uint8)
        at = view.ctypes.data + -view.ctypes.data % PAGE_BYTES
        for streams in (1, 4):
            ways[f"{streams} streams, {name}"] = partial(_read, reading(vectors, size, streams), at, view)
    return size, ways


def _read(function: Callable[[int], object], address: int, _kept: object) -> None:
    function(address)


def runners(names: Sequence[str], batches: Sequence[int], threads: int) -> dict[str, Call]:
    """Return a call of the default runner of each model at each batch size."""
    found: dict[str, Call] = {}
    for name in names:
        model: Model | Network = load_zoo(name[4:]) if name.startswith("zoo:") else _mlp(name)
        columns = model.graph().columns_of(next(iter(model.graph().inputs)))
        for batch in batches:
            x = np.random.default_rng(0).standard_normal((batch, columns), dtype=np.float32)
            found[f"{name} b{batch}"] = partial(OptimizedRunner(model, batch, threads=threads).run, x)
    return found


def _mlp(name: str) -> Model:
    sizes = [int(each) for each in name.split("-")]
    return mlp(inputs=sizes[0], hidden=sizes[1:-1], outputs=sizes[-1])


def times(ways: Mapping[str, Call], rounds: int, *, cold: bool) -> dict[str, list[float]]:
    """Let the ways take turns, and return the seconds of a call in each round."""
    other, names = np.zeros(EVICTED_BYTES, np.uint8), list(ways)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        random.shuffle(names)
        for name in names:
            call, calls = ways[name], 1 if cold else WARM_CALLS
            if cold:
                other.max()
            else:
                call()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            found[name].append((time.perf_counter() - start) / calls)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mib", type=float, nargs="+", default=[0.7, 4, 8], help="how much the loops read (default: 0.7 4 8)")
    parser.add_argument("--models", nargs="+", default=[], help="time these runners instead: sizes joined by '-', or zoo:NAME")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="rows of a call of the runners (default: 1 8)")
    parser.add_argument("--threads", type=int, default=1, help="of the runners (default: 1)")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each way (default: %(default)s)")
    options = parser.parse_args(arguments)
    vectors, why = find()
    if vectors is None:
        parser.error(f"no generated code: {why}")
    if options.models:
        ways = runners(options.models, options.batch, options.threads)
        for cold in (False, True):
            for name, found in times(ways, options.rounds, cold=cold).items():
                print(
                    f"{'cold' if cold else 'warm'} {name:<28} median {median(found) * 1e6:9.1f} us, best {min(found) * 1e6:9.1f} us",
                    flush=True,
                )
        return 0
    for mib in options.mib:
        size, ways = loops(vectors, mib)
        for cold in (False, True):
            print(f"{size / 2**20:.1f} MiB, {'cold' if cold else 'warm'}: GB/s, median and best")
            for name, found in times(ways, options.rounds, cold=cold).items():
                print(f"    {name:<20} {size / median(found) / 1e9:6.1f} {size / min(found) / 1e9:6.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
