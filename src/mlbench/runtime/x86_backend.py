"""From nodes of generated code to the stages that compute them, and where their operands lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import COLUMNS, ROWS, Program
from mlbench.compiler.sweeps import Computed, fused_sweeps
from mlbench.compiler.x86 import MOST_OPERANDS, STEPS, Arena, Argument, Product, Shape, Stage, Vectors, View, described, find
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.errors import GraphError
from mlbench.ir import Node, Step, op_named

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Nodes that follow each other and become one function.

    Its values lie in the arena, but for arrays that come with a call: inputs and outputs of the graph.

    Attributes:
        first: position of the first node.
        last: their end.
        inputs: names of the inputs that it reads, in the order of the graph.
        outputs: names of the buffers of the outputs that it writes or reads; one of them at least, even where it does neither.
    """

    first: int
    last: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that come with a call, in order."""
        return (*self.inputs, *self.outputs)


def runs_of(program: Program, plan: MemoryPlan) -> tuple[Run, ...]:
    """Return the runs of a program; NumPy's steps in an epilogue end one."""
    graph = program.graph
    found: list[tuple[int, int]] = []
    goes_on = False
    for position, node in enumerate(graph.nodes):
        if program.of(node).is_generated:
            first = found.pop()[0] if goes_on else position
            found.append((first, position + 1))
        goes_on = program.runs_generated(node)
    return tuple(_run(program, plan, first, last) for first, last in found)


def _run(program: Program, plan: MemoryPlan, first: int, last: int) -> Run:
    graph = program.graph
    nodes = graph.nodes[first:last]
    homes = tuple(dict.fromkeys(plan.buffer_of(name).name for name in graph.outputs))
    names = {name for node in nodes for name in (node.output, *node.values)}
    used = {plan.buffer_of(name).name for name in names if name not in graph.inputs}
    return Run(
        first,
        last,
        tuple(name for name in graph.inputs if name in names),
        tuple(home for home in homes if home in used) or homes[:1],
    )


def instructions() -> Vectors:
    """Return the instructions of this machine.

    Raises:
        GraphError: where there are none that code could be generated for.
    """
    vectors, why = find()
    if vectors is None:
        raise GraphError(f"the graph has generated code, and this process cannot run it: {why}")
    return vectors


def _shape_of(program: Program, node: Node, vectors: Vectors) -> tuple[Shape, int, tuple[int, ...]]:
    """Return the shape of a product, and the addresses of its packed weight and of what its steps read.

    Raises:
        GraphError: where there is no code for it.
    """
    schedule, constants = program.of(node), program.graph.constants
    if schedule.lanes != vectors.lanes:
        raise GraphError(
            f"{node.output} is packed for vectors of {schedule.lanes} lanes; this machine's {vectors.name} has {vectors.lanes}"
        )
    weight = program.schedule.packed[schedule.packed]
    steps = node.epilogue[: schedule.inner]
    unknown = [step.op for step in steps if step.op not in STEPS]
    if unknown or sum(len(step.operands) for step in steps) > MOST_OPERANDS:
        raise GraphError(f"{node.output}: there is no code for {unknown or 'so many operands'} inside a product")
    operands = tuple(int(constants[name].ctypes.data) for step in steps for name in step.operands)
    inputs, columns = weight.shape
    return Shape(inputs, columns, schedule.width, tuple(step.op for step in steps)), int(weight.ctypes.data), operands


def stages_of(program: Program, plan: MemoryPlan, addresses: Mapping[str, int], run: Run) -> tuple[Stage, ...]:
    """Return the stages of a run: products, and sweeps that compute all else."""
    return tuple(stage for stage, _ in computed_stages(program, plan, addresses, run))


def computed_stages(program: Program, plan: MemoryPlan, addresses: Mapping[str, int], run: Run) -> tuple[Computed, ...]:
    """Return the stages of a run, each with the nodes that it computes.

    Args:
        program: what runs.
        plan: which buffer has a value.
        addresses: of the buffers, counted from the beginning of the arena.
        run: which nodes.
    """
    graph = program.graph
    vectors = instructions()

    def place(value: str) -> View:
        home, first = program.home_of(value)
        stride, shift = FLOAT_BYTES * graph.columns_of(home), FLOAT_BYTES * first
        name = value if value in graph.inputs else plan.buffer_of(value).name
        if name in run.arrays:
            return View(Argument(run.arrays.index(name)), stride, shift)
        return View(Arena(addresses[name]), stride, shift)

    sizes = {buffer.name: buffer.size_bytes for buffer in plan.buffers}
    homes = {index: range(addresses[name], addresses[name] + sizes[name]) for index, name in enumerate(run.arrays) if name in run.outputs}
    extents = _Extents(program.schedule.tile_rows, homes)
    stages: list[Computed] = []
    waiting: list[tuple[Node, Sequence[Step]]] = []

    def fits(sweep: Sweep) -> bool:
        return sweep.fits(vectors) and extents.is_apart(sweep)

    for node in graph.nodes[run.first : run.last]:
        schedule = program.of(node)
        if schedule.packed:
            product = _product(program, node, vectors, place)
            if not extents.may_wait(waiting, product, place):
                stages += fused_sweeps(graph, waiting, place, fits)
                waiting = []
            stages.append((product, (node,)))
        if schedule.swept:
            waiting.append((node, program.swept_steps(node)))
    return (*stages, *fused_sweeps(graph, waiting, place, fits))


@dataclass(frozen=True, slots=True)
class _Extents:
    """Which bytes of the arena the views of a tile are in.

    Attributes:
        rows: of a tile.
        homes: for each array that is an output, where in the arena it is unless a caller says otherwise.
    """

    rows: int
    homes: Mapping[int, range]

    def overlap(self, one: View, other: View) -> bool:
        """Whether two views share bytes; two of one array may."""
        mine, others = self._bytes(one), self._bytes(other)
        return one.base == other.base or (mine.start < others.stop and others.start < mine.stop)

    def _bytes(self, view: View) -> range:
        """Return the bytes from the arena's beginning; none of an input."""
        if isinstance(view.base, Arena):
            first = view.base.offset + view.shift_bytes
            return range(first, first + self.rows * view.stride_bytes)
        return self.homes.get(view.base.index, range(0)) if isinstance(view.base, Argument) else range(0)

    def may_wait(self, waiting: Sequence[tuple[Node, Sequence[Step]]], product: Product, place: Callable[[str], View]) -> bool:
        """Whether sweeps may run behind a product that comes later: it reads nothing of theirs, and writes where they do nothing."""
        written = {place(node.output) for node, _ in waiting}
        touched = written | {place(name) for node, _ in waiting for name in node.values}
        return not any(self.overlap(product.source, view) for view in written) and not any(
            self.overlap(product.target, view) for view in touched
        )

    def is_apart(self, sweep: Sweep) -> bool:
        """Whether a sweep reads nothing where it has written something else; what lies in the very same place is read before."""
        views = [view for view, _ in sweep.writes]
        others = {*views, *sweep.reads}
        return len(set(views)) == len(views) and not any(self.overlap(view, other) for view in views for other in others if other != view)


def _product(program: Program, node: Node, vectors: Vectors, place: Callable[[str], View]) -> Product:
    shape, weight, operands = _shape_of(program, node, vectors)
    return Product(shape, weight, operands, place(node.values[0]), place(node.output))


def array_columns(program: Program, plan: MemoryPlan, name: str) -> int:
    """Return the columns of an array that comes with a call: an input, or a buffer of an output."""
    inputs = program.graph.inputs
    return inputs[name] if name in inputs else next(buffer.columns for buffer in plan.buffers if buffer.name == name)


def whole_run(program: Program, plan: MemoryPlan) -> Run:
    """Return the run of a program that is all generated: all inputs and outputs come with a call."""
    graph = program.graph
    return Run(0, len(graph.nodes), tuple(graph.inputs), tuple(plan.buffer_of(name).name for name in graph.outputs))


def chain_text(program: Program, batch: int, size_bytes: int) -> str:
    """Return in words what the code does, and with so many rows, the most that a call may have."""
    vectors = instructions()
    graph, schedule = program.graph, program.schedule
    workers = schedule.workers
    mine = -(-batch // workers) if schedule.shared == ROWS else batch
    rows = min(schedule.tile_rows, mine)
    tiles, left = divmod(mine, rows)
    cut = f"{tiles} tile{'s' * (tiles != 1)} of {rows} rows" + (f" and one of {left}" if left else "")
    shared = {ROWS: f"; the rows shared by {workers} threads", COLUMNS: f"; each product shared by {workers} threads"}
    how = shared[schedule.shared] if workers > 1 else ""
    lines = [f"machine code ({vectors.name}, {size_bytes:,} bytes) for up to {batch} rows{how}; {batch} are {cut}; in each tile of {rows}"]
    for node in graph.nodes:
        if program.of(node).packed:
            shape, _, _ = _shape_of(program, node, vectors)
            lines.append(f"  {node.output}: {described(shape, rows, vectors)}{''.join(f', {name}' for name in shape.steps)}")
        if program.of(node).swept:
            own = [] if op_named(node.op).is_product else [node.op]
            steps = [*own, *(step.op for step in program.swept_steps(node))]
            lines.append(f"  {node.output}: rows swept, {', '.join(steps)}")
    return "\n".join(lines) + "\n"
