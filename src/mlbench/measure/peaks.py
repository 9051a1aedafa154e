"""What a core of this machine can do at most, by loops that do nothing else, and the least time that follows for some work.

Arithmetic, and reading from each level of memory. Of data that do not fit into a level at least what is left over has to come from beyond
it in every call, whatever the level keeps; so each level gives a bound of its own, and the largest of the bounds counts (Williams,
Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures", CACM 52(4), 2009). A call costs at
least what an empty one does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlbench.measure.system.caches import Caches
from mlbench.units import BYTES_PER_KB

_MB = BYTES_PER_KB**2
MEMORY_BYTES = 256 * _MB
"""Beyond what most processes get of a third-level cache."""
MOST_CACHED_BYTES = 16 * _MB
ARITHMETIC, CALL = "arithmetic", "an empty call"
LOOPS, NUMPY = "loops in machine code", "NumPy's calls"


@dataclass(frozen=True, slots=True)
class Level:
    """A level of memory.

    Attributes:
        name: for people.
        capacity_bytes: what it and the levels before it hold together; 0 for the memory itself.
        bytes_per_s: how fast a core reads from it at most.
    """

    name: str
    capacity_bytes: int
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that one core reached.

    Attributes:
        flop_per_s: float32 multiply-adds, two operations each.
        levels: of memory, from the core outwards.
        call_s: the shortest call of a builtin function that does nothing.
        source: what reached it: LOOPS, or where no code can be generated NUMPY, which does not reach the peak everywhere, so that a floor
            made of it is an estimate.
    """

    flop_per_s: float
    levels: tuple[Level, ...]
    call_s: float
    source: str

    def of_cores(self, count: int) -> Peaks:
        """Return what so many cores reach at most: each is taken to bring the whole bandwidth of one, and caches of its own."""
        levels = tuple(Level(each.name, count * each.capacity_bytes, count * each.bytes_per_s) for each in self.levels)
        return Peaks(count * self.flop_per_s, levels, self.call_s, self.source)

    def read_bytes_per_s(self, size_bytes: float) -> float:
        """Return how fast so much is read that is read in every call: from the first level that holds it."""
        fitting = (each.bytes_per_s for each in self.levels if size_bytes <= each.capacity_bytes)
        return next(fitting, self.levels[-1].bytes_per_s)


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time of a call.

    Attributes:
        seconds: it.
        bound: what takes it, for people: `arithmetic`, `reading from L2`, or an empty call.
    """

    seconds: float
    bound: str


def floor_of(work_flop: float, touched_bytes: int, peaks: Peaks) -> Floor:
    """Return the least time of a call: the larger of its arithmetic and its reading, on top of an empty call.

    Args:
        work_flop: floating point operations.
        touched_bytes: that every call has to touch: weights, input and output.
        peaks: of the cores that share the work.

    >>> peaks = Peaks(1e9, (Level("L1", 1000, 1e9), Level("L2", 5000, 1e8), Level("memory", 0, 1e7)), 1e-8, LOOPS)
    >>> floor_of(1e3, 900, peaks), floor_of(0, 3000, peaks).bound, floor_of(0, 6000, peaks).bound
    (Floor(seconds=1.01e-06, bound='arithmetic'), 'reading from L2', 'reading from memory')
    """
    bounds = {ARITHMETIC: work_flop / peaks.flop_per_s}
    inner = 0
    for level in peaks.levels:
        bounds[f"reading from {level.name}"] = max(0, touched_bytes - inner) / level.bytes_per_s
        inner = level.capacity_bytes
    most = max(bounds, key=lambda name: bounds[name])
    return Floor(peaks.call_s + bounds[most], most if bounds[most] > peaks.call_s else CALL)


def read_sizes(found: Caches) -> tuple[tuple[str, int, int], ...]:
    """Return name, capacity with the levels before it, and the size to read of each level; common caches where the system says nothing.

    >>> [(name, size // 1024) for name, _, size in read_sizes(Caches(48 * 1024, 2 * 1024**2, None))]
    [('L1', 24), ('L2', 1024), ('memory', 262144)]
    """
    first, second, third = found.l1_bytes or 32 * BYTES_PER_KB, found.l2_bytes or _MB, found.l3_bytes
    sizes = [("L1", first, first // 2), ("L2", first + second, second // 2)]
    if third is not None and third > second:
        sizes.append(("L3", first + second + third, max(2 * second, min(third // 4, MOST_CACHED_BYTES))))
    return (*sizes, ("memory", 0, MEMORY_BYTES))


def find_peaks(flop_per_s: float, read: Callable[[int], float], call_s: float, found: Caches, source: str) -> Peaks:
    """Put peaks together.

    Args:
        flop_per_s: arithmetic.
        read: size to the rate at which so many bytes are read, in bytes a second.
        call_s: of an empty call.
        found: the caches.
        source: what reached it.
    """
    rates = [(name, capacity, read(size)) for name, capacity, size in read_sizes(found)]
    best = [max(rate for _, _, rate in rates[place:]) for place in range(len(rates))]  # a level is no slower than those beyond it
    levels = tuple(Level(name, capacity, rate) for (name, capacity, _), rate in zip(rates, best, strict=True))
    return Peaks(flop_per_s, levels, call_s, source)
