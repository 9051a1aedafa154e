"""What a person or a search decides about how a model runs, as data: the tile, a way for each matrix product, and who runs the tiles.

The passes turn these decisions into the complete schedule of a program (`mlbench.compiler.schedule.program`), where the graph and the
machine allow them. Heuristics decide without a clock (`heuristics`); which weight order and which layout of an activation is fastest has no
rule, though, so a search may decide instead (`search`), and what it decided can be recorded and handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlbench.compiler.schedule.program import FEATURES, ROWS
from mlbench.errors import ModelError
from mlbench.ir import Graph, Node, op_named

ONE, BLAS, TILES, SPLIT = "one", "blas", "tiles", "split"
THREADING = (ONE, BLAS, TILES, SPLIT)
"""The calling thread alone; the threads of BLAS; tiles of the batch on threads of the runner's own; each product split among these, which
generated code can."""
ORDERS = ("C", "F")


@dataclass(frozen=True, slots=True)
class OpSchedule:
    """How a matrix product runs.

    Attributes:
        layout: how its result lies in memory, ROWS or FEATURES; FEATURES only where a product reads it.
        order: memory order of the weight, C or F.
        parts: parts of the features, one product after the other; more than one only with FEATURES.
        generated: machine code of ours computes it, from a weight that is packed once.
    """

    layout: str = ROWS
    order: str = "C"
    parts: int = 1
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that may be decided for a model and its largest batch.

    Attributes:
        tile_rows: rows of a tile; None for the whole batch at once.
        ops: one for each matrix product, in order.
        threading: ONE, BLAS, TILES or SPLIT.
    """

    tile_rows: int | None
    ops: tuple[OpSchedule, ...]
    threading: str = ONE


def products_of(graph: Graph) -> tuple[int, ...]:
    """Return the positions of the matrix products."""
    return tuple(position for position, node in enumerate(graph.nodes) if op_named(node.op).is_product)


def weight_shape(graph: Graph, node: Node) -> tuple[int, int]:
    """Return (inputs, columns) of a product's weight."""
    inputs, columns = graph.constants[node.operands[0]].shape
    return inputs, columns


def check_schedule(graph: Graph, schedule: Schedule) -> None:
    """Refuse a schedule that was made for another graph.

    Raises:
        ModelError: with what was found and what fits.
    """
    products = products_of(graph)
    if len(schedule.ops) != len(products):
        raise ModelError(f"the schedule is for {len(schedule.ops)} matrix products; this model has {len(products)} where it applies")
    if schedule.threading not in THREADING:
        raise ModelError(f"threading is {schedule.threading!r}; expected one of {', '.join(THREADING)}")


def schedule_to_json(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as JSON data."""
    ops = [{"layout": op.layout, "order": op.order, "parts": op.parts, "generated": op.generated} for op in schedule.ops]
    return {"tile_rows": schedule.tile_rows, "ops": ops, "threading": schedule.threading}


def schedule_from_json(data: Any) -> Schedule:  # whatever JSON holds
    """Return the schedule that JSON data hold; `ways` is what older data call `ops`.

    Raises:
        ModelError: where the data are no schedule.
    """
    try:
        listed = data["ways"] if "ops" not in data else data["ops"]
        ops = tuple(OpSchedule(str(op["layout"]), str(op["order"]), _whole(op["parts"]), bool(op["generated"])) for op in listed)
        tile_rows = None if data["tile_rows"] is None else _whole(data["tile_rows"])
        found = Schedule(tile_rows, ops, str(data["threading"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"found no schedule in {str(data)[:80]!r} ({type(error).__name__}: {error})") from error
    fits = all(op.layout in (ROWS, FEATURES) and op.order in ORDERS and op.parts >= 1 for op in ops)
    if not fits or found.threading not in THREADING or (tile_rows is not None and tile_rows < 1):
        raise ModelError(f"found a schedule that does not exist in {str(data)[:80]!r}")
    return found


def _whole(value: Any) -> int:  # whatever JSON holds
    if type(value) is not int:
        raise TypeError(f"found {str(value)[:20]!r} where a whole number is expected")
    return value
