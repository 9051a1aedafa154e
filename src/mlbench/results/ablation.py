"""What each optimisation is worth: a file of `mlbench ablation --json`, or what KEY holds in `extra_info` of pytest-benchmark's files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from mlbench.measure.stats import Interval
from mlbench.results.run import Run
from mlbench.results.schema import MAY_LACK, Amount, Bounds, Count, Duration, Name, PositiveAmount, Schema, Size
from mlbench.results.storage import plain

KEY = "mlbench_ablation"
"""Of its own in `extra_info`, so that whoever reads measurements under `mlbench` does not meet an ablation there."""
Share = Annotated[float, Bounds(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Rung:
    """One comparison.

    Attributes:
        label: what the table calls it.
        optimisation: what is switched.
        with_it: the passes of the runner that has it.
        without_it: the passes of the runner that has not; None is the baseline.
    """

    label: Name
    optimisation: Name
    with_it: tuple[str, ...]
    without_it: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Shares:
    """Parts of the time of the baseline's call; the four add up to 1.

    Attributes:
        products: arithmetic of the matrix products.
        elementwise: element-wise passes, without the overhead of their calls.
        allocation: allocating large results, page faults included.
        calls: overhead of the calls: Python, NumPy's dispatch, and making small arrays.
        below_zero: shares that came out below 0, as they were; they count as 0, and the others are scaled so that all add up to 1.
    """

    products: Share
    elementwise: Share
    allocation: Share
    calls: Share
    below_zero: dict[
        Annotated[str, Bounds(one_of=("products", "elementwise", "allocation", "calls"))],
        Annotated[float, Bounds(ge=-1e12, lt=0)],
    ]


@dataclass(frozen=True, slots=True)
class Variant:
    """A runner with some passes, apart from its speed.

    Attributes:
        program: digest of everything that runs; two variants with one digest are the same program.
        memory_bytes: peak of a call plus everything held between calls.
        allocations: of a call; None where the instrument cannot count them.
        compile_s: seconds until the first result of this batch size.
    """

    program: str
    memory_bytes: Size
    allocations: Size | None
    compile_s: Duration


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rung is worth in this cell.

    Attributes:
        rung: the comparison.
        variant: the runner with the optimisation; in the rows 'all but', the one without.
        total: speed-up of that runner over the baseline.
        effect: time without / time with the optimisation; above 1 it helps.
        is_idle: both runners are the same program, so there is nothing to measure.
        is_beyond_noise: the whole interval lies on one side of 1, farther away than the two identical baselines are apart.
        without_bytes: memory of the runner without the optimisation, as `Variant.memory_bytes`; None where a file does not say.
        with_bytes: memory of the runner with it.
        idle_reason: why the optimisation changed nothing; empty where it did something or a file does not say.
    """

    rung: Rung
    variant: Variant
    total: Interval
    effect: Interval
    is_idle: bool
    is_beyond_noise: bool
    without_bytes: Annotated[Size | None, MAY_LACK] = None
    with_bytes: Annotated[Size | None, MAY_LACK] = None
    idle_reason: Annotated[str, MAY_LACK] = ""

    @property
    def saved_bytes(self) -> int | None:
        """What the optimisation saves, negative where it costs memory; None where a file does not say."""
        return None if self.without_bytes is None or self.with_bytes is None else self.without_bytes - self.with_bytes


@dataclass(frozen=True, slots=True)
class Ablation:
    """All effects of a cell.

    Attributes:
        cell: its id.
        baseline_s: time of a call of the baseline: the geometric mean of the processes' medians.
        baseline_faults: page faults of such a call; None where the system does not count them.
        shares: where that time goes.
        effects: ladder first, then each by itself, then everything without each.
        noise: how far apart two identical baselines were, as a ratio of 1 or more.
        compile_s: seconds until the first result of the runner with everything.
        break_even_calls: calls after which that is earned back; None where nothing is gained.
        evicted_bytes: passed through the caches before every timed call; None where the caches were warm.
        eviction: what that means on the machine it was measured on, as a sentence; empty where the caches were warm.
        network: what identifies a network in a file, as `network_key` gives it; empty for models of ours.
    """

    cell: Name
    baseline_s: Duration
    baseline_faults: Amount | None
    shares: Shares
    effects: Annotated[tuple[Effect, ...], Bounds(min_length=1)]
    noise: Annotated[float, Bounds(ge=1, le=1e12)]
    compile_s: Duration
    break_even_calls: PositiveAmount | None
    evicted_bytes: Count | None = None
    eviction: str = ""
    network: Annotated[str, MAY_LACK] = ""


@dataclass(frozen=True, slots=True)
class Ablations(Run):
    """A run, with the ablation of each cell that was measured to its end."""

    ablations: Annotated[tuple[Ablation, ...], Bounds(min_length=1)]


ABLATION_FILE = Schema("mlbench-ablation", 1, Ablations, "ablation", "1: first version.", items="ablations", key=KEY)


def ablation_to_json(found: Ablation) -> dict[str, Any]:
    """Return one ablation as JSON data."""
    data: dict[str, Any] = plain(dataclasses.asdict(found))
    return data
