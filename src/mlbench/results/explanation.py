"""What the compiler did to a network, step by step, as frozen records: a file of `mlbench explain --json`, and what its page shows.

A step names its state by number, because a pass that changes nothing leaves the state as it was, and many subsets of the passes end in the
same program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mlbench.results.ablation import Ablation
from mlbench.results.listing import Listing
from mlbench.results.reasons import Reason
from mlbench.results.run import Run
from mlbench.results.schema import MAY_LACK, Bounds, Count, Name, Schema, Size

Index = Annotated[int, Bounds(ge=0, le=2**31)]
UNMOVED = (
    "nodes are gone, and a call moves as many bytes. NumPy still runs each step of an epilogue over the whole result, so each step is "
    "counted once. What is saved are the arrays between them; only generated code keeps such steps in registers."
)
"""What there is to say of a state for which `is_unmoved` holds."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node of a graph and how it runs.

    Attributes:
        name: of the value that it binds.
        op: what it does.
        values: names of the values that it reads.
        constants: the constants that its op reads, with their shapes, such as `w0: 64 x 256`.
        columns: of its value.
        steps: its epilogue; each step as text.
        how: how it runs, in clauses; none where it runs plainly.
        read_bytes: what it must read in a call at least.
        written_bytes: what it must write in a call at least.
    """

    name: Name
    op: Name
    values: tuple[str, ...]
    constants: tuple[str, ...]
    columns: Count
    steps: tuple[str, ...]
    how: tuple[str, ...]
    read_bytes: Size
    written_bytes: Size


@dataclass(frozen=True, slots=True)
class PlacedBuffer:
    """A buffer, when it lives and where it lies.

    Attributes:
        values: names of the values that live in it, one after the other; none for scratch.
        first: position of the node that writes it first.
        last: one past the position of the last node that needs it; people are shown the position itself.
        offset_bytes: from the start of the arena.
        size_bytes: of the buffer.
    """

    values: tuple[str, ...]
    first: Index
    last: Index
    offset_bytes: Size
    size_bytes: Size


@dataclass(frozen=True, slots=True)
class State:
    """A program between two passes.

    Attributes:
        inputs: name of each input to its columns.
        outputs: names of the results.
        nodes: in the order in which they run.
        buffers: where they lie, or would lie if the buffers were static.
        arena_bytes: size of the arena that holds them.
        lower_bound_bytes: most bytes that are live at any one node; no arena is smaller.
        is_static: the arena exists; else each call allocates its buffers.
        arrays: arrays that a call makes.
        facts: how the whole of it runs, in clauses.
    """

    inputs: dict[str, Count]
    outputs: tuple[str, ...]
    nodes: tuple[GraphNode, ...]
    buffers: tuple[PlacedBuffer, ...]
    arena_bytes: Size
    lower_bound_bytes: Size
    is_static: bool
    arrays: Size
    facts: tuple[str, ...]

    @property
    def read_bytes(self) -> int:
        """What a call must read at least."""
        return sum(node.read_bytes for node in self.nodes)

    @property
    def written_bytes(self) -> int:
        """What a call must write at least."""
        return sum(node.written_bytes for node in self.nodes)

    def is_unmoved(self, before: State) -> bool:
        """Whether it has fewer nodes than before and still moves as many bytes: steps of an epilogue are counted once each."""
        same = (self.read_bytes, self.written_bytes) == (before.read_bytes, before.written_bytes)
        return same and len(self.nodes) < len(before.nodes)


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in a call of a runner.

    Attributes:
        calls: calls of functions and operators that Python makes.
        allocations: of the call; None where the instrument cannot count them.
        peak_bytes: most that the call held beyond what is held between calls.
        held_bytes: held between calls: arena, operands, code, copies of weights.
    """

    calls: Size
    allocations: Size | None
    peak_bytes: Size
    held_bytes: Size

    @property
    def memory_bytes(self) -> int:
        """Everything: what a call holds at its peak and what is held between calls."""
        return self.peak_bytes + self.held_bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the next step answers.

    Attributes:
        text: the question.
        choices: possible answers.
        right: which of them is right.
        why: the answer, in a sentence.
    """

    text: Name
    choices: tuple[str, ...]
    right: Index
    why: Name


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """What one pass did.

    Attributes:
        name: of the pass.
        summary: what it does, in a clause.
        rule: when it may do something, in a sentence.
        note: what it did here, in a paragraph.
        idle_reason: why it changed nothing, in a clause; empty where it did something.
        is_idle: it changed nothing.
        reasons: what it decided.
        state: number of the state after it.
        counts: what a call counted after it; None where nothing was counted.
        question: asked before the step is shown.
    """

    name: Name
    summary: str
    rule: str
    note: str
    idle_reason: str
    is_idle: bool
    reasons: tuple[Reason, ...]
    state: Index
    counts: Counts | None
    question: Question


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as one runner has it.

    Attributes:
        name: of the value.
        op: what binds it.
        place: where it lies.
        rows: some numbers of each row, as text.
        error: largest distance from float64, as text; empty where it is another value than the one of that name as written.
    """

    name: Name
    op: str
    place: str
    rows: tuple[tuple[str, ...], ...]
    error: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A tiny input on its way through both runners.

    Attributes:
        inputs: the inputs.
        eager: every value of the graph as written.
        compiled: every value of the graph as it runs.
        columns: most numbers of a row that are shown.
        eager_error: largest distance of the eager result from float64, as text.
        compiled_error: the same of the compiled runner's result.
        tolerance: what rounding explains, as text.
    """

    inputs: tuple[Shown, ...]
    eager: tuple[Shown, ...]
    compiled: tuple[Shown, ...]
    columns: Count
    eager_error: str
    compiled_error: str
    tolerance: str


@dataclass(frozen=True, slots=True)
class Switches:
    """Subsets of some passes of a network, compiled in advance.

    Attributes:
        network: what was compiled.
        names: the passes that can be switched, in the order in which they run.
        fixed: passes that change nothing here and are left out.
        states: number of the state of each subset.
        subsets: the subset of each of these states, as a number whose bit i is the pass `names[i]`; none where every subset was compiled,
            in the order of these numbers.
    """

    network: Name
    names: tuple[str, ...]
    fixed: tuple[str, ...]
    states: tuple[Index, ...]
    subsets: Annotated[tuple[Index, ...], MAY_LACK] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the compiler did to one network.

    Attributes:
        cell: its id.
        title: for people.
        batch: most rows of a call.
        states: programs; the first is the graph as written.
        counts: what a call of the graph as written counted; None where nothing was counted.
        steps: in the order of the passes.
        flow: a tiny input on its way through both runners.
        switches: subsets of the passes; None where they were not compiled.
        ablation: what each pass is worth on this machine; None where it was not measured.
        measure: command that measures it.
        code: a block of each product in generated code, and a row of each sweep.
        code_gap: why there is none; empty where there is some.
        network: what identifies a network in a file, as `network_key` gives it; empty for models of ours.
    """

    cell: Name
    title: Name
    batch: Count
    states: Annotated[tuple[State, ...], Bounds(min_length=1)]
    counts: Counts | None
    steps: tuple[ExplainedStep, ...]
    flow: Flow
    switches: Switches | None
    ablation: Ablation | None
    measure: Name
    code: tuple[Listing, ...] = ()
    code_gap: str = ""
    network: Annotated[str, MAY_LACK] = ""


@dataclass(frozen=True, slots=True)
class Explanations(Run):
    """A run, with the explanation of each network."""

    explanations: Annotated[tuple[Explanation, ...], Bounds(min_length=1)]


def _trouble(found: Explanations) -> list[tuple[str, str]]:
    """Return places that name a state that is not there."""
    wrong = []
    for number, each in enumerate(found.explanations):
        named = [step.state for step in each.steps] + list(each.switches.states if each.switches else ())
        if named and max(named) >= len(each.states):
            wrong.append((f"$.explanations[{number}]", f"found state {max(named)}; expected one of {len(each.states)}"))
        if each.switches:
            wrong += [(f"$.explanations[{number}].switches", reason) for reason in _wrong_subsets(each.switches)]
    return wrong


def _wrong_subsets(switches: Switches) -> list[str]:
    """Return what is wrong with the subsets: one without a state, or of passes that are not there."""
    every = 2 ** len(switches.names)
    subsets = switches.subsets or range(every)
    wrong = [] if len(switches.states) == len(subsets) else [f"found {len(switches.states)} states; expected one for each subset"]
    return wrong + ([f"found subset {max(subsets)}; expected less than {every}"] if max(subsets) >= every else [])


EXPLANATION_FILE = Schema(
    "mlbench-explanation", 1, Explanations, "explanation", "1: first version.", items="explanations", trouble=_trouble
)
