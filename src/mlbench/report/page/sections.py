"""The sections of the page: what stands in each, how to read it, or which command would fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from mlbench.measure import describe
from mlbench.report import Figure, Table, figures, summary, tables
from mlbench.report.charts import (
    FLOOR_RATIO,
    MEMORY,
    MEMORY_WITHOUT_COPIES,
    SPEEDUP,
    Chart,
    Dot,
    Race,
    fastest_chart,
    heat_maps,
    ladder_chart,
    roofline_chart,
    rounds_chart,
    speedup_bars,
)
from mlbench.report.charts.ablation import steps_of
from mlbench.report.charts.memory import memory_charts
from mlbench.report.doubts import doubt_lines
from mlbench.report.inputs import Files
from mlbench.report.page.changed import changes
from mlbench.report.page.compared import beside, history, verdicts_section
from mlbench.report.page.explained import explained
from mlbench.report.page.section import Section, charts_apart, tables_apart
from mlbench.report.tables.ablation import effects_table, shares_table
from mlbench.report.tables.peers import batches_table, bytes_table, headline, times_table
from mlbench.report.tables.roofline import ceilings_table, distances_table
from mlbench.results import RUNNERS, Result
from mlbench.results.newest import newest
from mlbench.results.pairs import Pair, pairs
from mlbench.results.peers import PeerResult
from mlbench.results.roofline import Roofline
from mlbench.units import format_bytes


def sections_of(files: Files) -> tuple[Section, ...]:
    """Return every section, those without data too. One that cannot be made says so, and the others are made all the same."""
    cases = [(f"case-{pair.cell}", f"Case {pair.cell}", partial(_case, pair, run)) for pair, run in _cases(files)]
    makers: tuple[tuple[str, str, Callable[[Files], Section]], ...] = (
        ("headline", "In short", _headline),
        ("maps", "Batch and hidden size", _maps),
        ("ladder", "What each optimisation buys", _ladder),
        ("memory-map", "Where the memory goes", _memory),
        ("roofline", "Distance to the limit", _roofline),
        ("peers", "Against the runtimes", _peers),
        ("beside", "Side by side", beside),
        ("history", "History", history),
        ("verdicts", "Verdicts", verdicts_section),
        *cases,
        ("graphs", "Flame graphs", _graphs),
    )
    sections = [_made(key, title, make, files) for key, title, make in makers]
    after = next(place for place, (key, _, _) in enumerate(makers, start=1) if key == "ladder")
    return (*sections[:after], *_compiler(files), *sections[after:])


def _compiler(files: Files) -> tuple[Section, ...]:
    """Return what the compiler does to each network that a file explains, with an ablation of the same cell where another file has it."""
    ablations = {each.cell: each for _, run in files.ablations for each in run.ablations if each.evicted_bytes is None}
    found = [each for _, run in files.explanations for each in run.explanations]
    if not found:
        return (Section("explain", "What the compiler does", command="mlbench explain --json explain.json"),)
    try:
        return tuple(
            section
            for number, each in enumerate(found, start=1)
            for section in explained(each, f"explain{number}-", ablations.get(each.cell))
        )
    except Exception as error:  # noqa: BLE001  # as in `_made`
        return (Section("explain", "What the compiler does", gaps=(_gap("this section", error),)),)


def _made(key: str, title: str, make: Callable[[Files], Section], files: Files) -> Section:
    try:
        return make(files)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other sections are worth reading
        return Section(key, title, gaps=(_gap("this section", error),))


def _gap(what: str, error: Exception) -> str:
    return f"{what} could not be made ({type(error).__name__}: {error})"


def _headline(files: Files) -> Section:
    command = "mlbench run --json run.json"
    found = newest(files.results, lambda run: figures(run.measurements)) or newest(files.results, lambda run: pairs(run.measurements))
    if found is None:
        return Section("headline", "In short", figures=(*_against_peers(files), *changes(files)), command=command)
    name, result = found
    text = (f"From {name}, the newest result that has both runners.",) if len(files.results) > 1 else ()
    told = f"{name}   {result.date}\n$ {result.command}\n\n{summary(result.measurements, result.environment)}"
    return Section(
        "headline", "In short", text, preformatted=told, figures=(*figures(result.measurements), *_against_peers(files), *changes(files))
    )


def _against_peers(files: Files) -> Iterator[Figure]:
    found = newest(files.peers, _races)
    if found is not None:
        races = _races(found[1])
        worst = min(races, key=lambda race: race.ratio.estimate)
        won = sum(race.ratio.estimate >= 1 for race in races)
        yield Figure(f"{won} of {len(races)} won", "Cells in which no other runtime is faster",
                     f"worst at {worst.shape} b{worst.batch}: {worst.peer} takes {worst.ratio.estimate:.2f} of our time")  # fmt: skip


def _maps(files: Files) -> Section:
    """Return the maps of the newest sweep, the tables of both runners, and the newest table of callables."""
    sweep = newest(files.results, _maps_of) or newest(files.results, lambda run: pairs(run.measurements))
    callables = newest(files.results, lambda run: _tables(run, of_cells=False))
    sources = dict(each for each in (sweep, callables) if each is not None)
    text = tuple(f"From {name}, {run.date}." for name, run in sources.items())
    charts = () if sweep is None else _maps_of(sweep[1])
    drawn = (
        *(() if sweep is None else _tables(sweep[1], of_cells=True)),
        *(() if callables is None else _tables(callables[1], of_cells=False)),
    )
    return Section("maps", "Batch and hidden size", text, charts, drawn, command="mlbench run --json run.json")


def _maps_of(run: Result) -> tuple[Chart, ...]:
    shown = (SPEEDUP, MEMORY, MEMORY_WITHOUT_COPIES, FLOOR_RATIO)
    found = pairs(run.measurements)
    return (*(chart for quantity in shown for chart in heat_maps(quantity, found)), *speedup_bars(found))


def _tables(run: Result, *, of_cells: bool) -> tuple[Table, ...]:
    """Return the tables of the cells of a run, or of its other callables."""
    return tables([each for each in run.measurements if (each.case["runner"] in RUNNERS) is of_cells])


def _cases(files: Files) -> list[tuple[Pair, tuple[str, Result]]]:
    """Return every cell of any result, from the newest result that has it."""
    found: dict[str, tuple[Pair, tuple[str, Result]]] = {}
    for name, run in reversed(files.results):
        for pair in pairs(run.measurements):
            found.setdefault(pair.cell, (pair, (name, run)))
    return list(found.values())


def _case(pair: Pair, run: tuple[str, Result], files: Files) -> Section:
    name, result = run
    arms = {
        name: each.timing.rounds_s for name, each in (("baseline", pair.baseline), ("optimized", pair.optimized)) if each and each.timing
    }
    if pair.optimized is not None:
        arms |= {name: rounds for name, rounds in pair.optimized.arms.items() if name == "reference"}
    charts = [rounds_chart(pair.cell, arms), *_peers_of(pair, files)]
    doubts = doubt_lines([(each.case["runner"], line) for each in (pair.baseline, pair.optimized) if each for line in each.warnings])
    source = f"From {name}, {result.date}: " if len(files.results) > 1 else ""
    text = [f"{source}{describe(result.environment)}.", *(f"Warning: {line}" for line in doubts)]
    graphs = tuple((f"Flame graph: {name}", address) for name, address in files.graphs if name.endswith(f"-{pair.cell}"))
    return Section(f"case-{pair.cell}", f"Case {pair.cell}", tuple(text), tuple(chart for chart in charts if chart), links=graphs)


def _peers_of(pair: Pair, files: Files) -> Iterator[Chart | None]:
    """Give the rounds of the other runtimes on the same model and batch, measured in turns of their own."""
    case = {} if pair.optimized is None else pair.optimized.case

    def fitting(run: PeerResult) -> list[str]:
        same = ("batch", "hidden", "inputs", "outputs", "model", "network")
        return [cell.name for cell in run.cells if all(cell.cell.get(name) == case.get(name) for name in same)]

    found = newest(files.peers, fitting)
    if found is not None:
        yield from (_peer_rounds(found[1], name) for name in fitting(found[1]))


def _ladder(files: Files) -> Section:
    """Return every ablation; a cell may be there twice, such as with warm caches and with cold ones, or from two files."""
    found = [(name, ablation) for name, run in files.ablations for ablation in run.ablations]
    charts = [(name, replace(chart, title=chart.title + (", cold caches" if each.evicted_bytes else "")))
              for name, each in found if (chart := ladder_chart(each.cell, steps_of(each))) is not None]  # fmt: skip
    drawn = [(name, table) for name, each in found for table in (effects_table(each), shares_table(each))]
    return Section("ladder", "What each optimisation buys", (), charts_apart(charts), tables_apart(drawn),
                   command="mlbench ablation --json ablation.json")  # fmt: skip


def _memory(files: Files) -> Section:
    """Return the memory of the cells that were recorded for this page."""
    command = "mlbench run --json run.json"
    found = files.memory
    if found is None:
        return Section("memory-map", "Where the memory goes", command=command)
    charts = [chart for each in found.cells for chart in memory_charts(each)]
    text = (
        f"These are the digits and the cell that saves most memory in {found.source}, among those small enough to record here. "
        "They were recorded when this page was made, with the mlbench that made it.",
        *_differences(dict(files.results)[found.source], charts, found.source),
    )
    return Section("memory-map", "Where the memory goes", text if charts else (), tuple(charts), command=command, gaps=found.gaps)


def _differences(result: Result, charts: Sequence[Chart], source: str) -> tuple[str, ...]:
    """Return a line for each runner that held here at most something else than a result says, so that nobody takes both for one number."""
    told = {chart.name: {row[0]: row[-1] for row in chart.table.rows} for chart in charts}
    lines = []
    for pair in pairs(result.measurements):
        for runner, measured in (("baseline", pair.baseline), ("optimized", pair.optimized)):
            here = told.get(f"held-{pair.cell}", {}).get(runner)
            there = None if measured is None or measured.memory_bytes is None else format_bytes(measured.memory_bytes)
            if here is not None and there is not None and here != there:
                lines.append(f"Warning: {runner}-{pair.cell} held {here} here and {there} when {source} was measured: with other code, "
                             "another NumPy or another processor.")  # fmt: skip
    return tuple(lines)


def _roofline(files: Files) -> Section:
    command = "mlbench roofline --json roofline.json"
    found = newest(files.rooflines, lambda run: run.distances) or newest(files.rooflines)
    if found is None:
        return Section("roofline", "Distance to the limit", command=command)
    name, run = found
    chart = _roofline_of(run)
    drawn = (ceilings_table(run.ceilings), *([distances_table(run.distances, run.ceilings)] if run.distances else []))
    text = (f"From {name}, {run.date}.",)
    return Section("roofline", "Distance to the limit", text, () if chart is None else (chart,), drawn, command=command)


def _roofline_of(run: Roofline) -> Chart | None:
    dots = [
        Dot(each.case, each.limit.flop_per_s / each.limit.bytes_per_s, each.limit.flop_per_s, each.limit.sentence)
        for each in run.distances
        if each.limit.bytes_per_s > 0
    ]
    rates = {each.name: each.bytes_per_s for each in run.ceilings.peaks.levels}
    return roofline_chart(dots, run.ceilings.peaks.flop_per_s, rates)


def _peers(files: Files) -> Section:
    command = "mlbench peers --json peers.json"
    found = newest(files.peers, _races) or newest(files.peers)
    if found is None:
        return Section("peers", "Against the runtimes", command=command)
    name, run = found
    charts = (fastest_chart(_races(run)), *(_peer_rounds(run, cell.name) for cell in run.cells))
    return Section(
        "peers",
        "Against the runtimes",
        (f"From {name}, {run.date}.", headline(run)),
        tuple(chart for chart in charts if chart is not None),
        (times_table(run), *((batches_table(run),) if _races(run) else ()), bytes_table(run)),
        command=command,
    )


def _races(run: PeerResult) -> list[Race]:
    return [Race(cell.shape, cell.cell["batch"], cell.fastest_peer, cell.ratio)
            for cell in run.cells if cell.fastest_peer is not None and cell.ratio is not None]  # fmt: skip


def _peer_rounds(run: PeerResult, name: str) -> Chart | None:
    (cell,) = (each for each in run.cells if each.name == name)
    return rounds_chart(
        f"peers-{name.replace(chr(32), chr(45))}", {runtime: outcome.rounds_s for runtime, outcome in cell.outcomes.items()}
    )


def _graphs(files: Files) -> Section:
    """Return links to memray's own pages, where they were kept."""
    links = tuple(files.graphs)
    text = (
        "These are memray's own pages. For the eager runner and for a callable they show one call at the moment of its peak, for "
        "the compiled runner what it holds between calls. They count in powers of 1000, so 1.05 MB there are 1.00 MB here.",
    )
    command = "mlbench report ... --graphs DIR, with what mlbench flamegraph, --mlbench-memray, the gate or mlbench ab kept"
    return Section("graphs", "Flame graphs", text if links else (), links=links, command=command)
