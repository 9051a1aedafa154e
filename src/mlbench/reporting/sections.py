"""The sections of the page: what stands in each, how to read it, or which command would fill it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mlbench.ab import Comparison, judge
from mlbench.ablating import Ablation
from mlbench.ablating.told import effects_table, shares_table
from mlbench.gate import RED, judge_results
from mlbench.gate.machine import OTHER, kinship
from mlbench.limiting.saved import Limits
from mlbench.limiting.told import ceilings_table, distances_table
from mlbench.measure import describe
from mlbench.peers.result import PeerResult
from mlbench.peers.table import bytes_table, headline, times_table
from mlbench.report import Figure, Pair, Table, figures, pairs, summary, tables, verdict_figure
from mlbench.report.charts import (
    FLOOR_RATIO,
    MEASURES,
    MEMORY,
    MEMORY_WITHOUT_COPIES,
    SPEEDUP,
    Chart,
    Dot,
    Moment,
    Race,
    Step,
    beside_chart,
    changes_chart,
    fastest_chart,
    heat_maps,
    ladder_chart,
    roofline_chart,
    rounds_chart,
    trend_chart,
)
from mlbench.report.verdicts import verdict_table
from mlbench.reporting.memory import memory_charts
from mlbench.reporting.reading import Files
from mlbench.results import Result


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        key: its address.
        title: for people.
        text: paragraphs; what is monospaced is in `preformatted`.
        charts: its charts.
        tables: tables beside those of the charts.
        preformatted: text that keeps its lines.
        figures: numbers that stand out.
        links: addresses of other pages, with what they are called.
        command: what would fill it, where it is empty.
        gaps: what could not be shown although there are data, and why.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    preformatted: str = ""
    figures: tuple[Figure, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    command: str = ""
    gaps: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to show."""
        return not (self.charts or self.tables or self.preformatted or self.figures or self.links or self.gaps)


def sections_of(files: Files) -> tuple[Section, ...]:
    """Return every section, those without data too. One that cannot be made says so, and the others are made all the same."""
    newest = [pair for _, result in files.results[-1:] for pair in pairs(result.measurements)]
    cases = [(f"case-{pair.cell}", f"Case {pair.cell}", partial(_case, pair)) for pair in newest]
    makers: tuple[tuple[str, str, Callable[[Files], Section]], ...] = (
        ("headline", "In short", _headline),
        ("maps", "Batch and hidden size", _maps),
        ("ladder", "What each optimisation buys", _ladder),
        ("memory-map", "Where the memory goes", _memory),
        ("roofline", "Distance to the limit", _roofline),
        ("peers", "Against the runtimes", _peers),
        ("beside", "Side by side", _beside),
        ("history", "History", _history),
        ("verdicts", "Verdicts", _verdicts),
        *cases,
        ("graphs", "Flame graphs", _graphs),
    )
    return tuple(_made(key, title, make, files) for key, title, make in makers)


def _made(key: str, title: str, make: Callable[[Files], Section], files: Files) -> Section:
    try:
        return make(files)
    except Exception as error:  # noqa: BLE001  # whatever it is, the other sections are worth reading
        return Section(key, title, gaps=(_gap("this section", error),))


def _gap(what: str, error: Exception) -> str:
    return f"{what} could not be made ({type(error).__name__}: {error})"


def _headline(files: Files) -> Section:
    command = "mlbench run --json run.json"
    summed = [(name, result) for name, result in files.results if pairs(result.measurements)]
    if not summed:
        return Section("headline", "In short", figures=(*_against_peers(files), *_worse(files)), command=command)
    name, result = summed[-1]
    text = (f"Of {name}, the newest result.",) if len(summed) > 1 else ()
    told = f"{name}   {result.date}\n$ {result.command}\n\n{summary(result.measurements, result.environment)}"
    return Section(
        "headline", "In short", text, preformatted=told, figures=(*figures(result.measurements), *_against_peers(files), *_worse(files))
    )


def _worse(files: Files) -> Iterator[Figure]:
    """Give what became worse, by each comparison and by the newest result against the first that was named."""
    if len(files.beside) > 1:
        (first, before), (last, after) = files.beside[0], files.results[-1]
        if before is not after:
            yield verdict_figure(judge_results(before, after, None, dt.date.min, (first, last)))
    for _, comparison in files.comparisons:
        yield _calibration(comparison) if comparison.plants else verdict_figure(judge(comparison))
    for _, judged in files.judgements:
        yield verdict_figure(judged)


def _calibration(comparison: Comparison) -> Figure:
    """Return how many of the planted rows were found; their being red says nothing against the version."""
    red = {row.id for row in judge(comparison).rows if row.verdict in RED}
    found, others = red & comparison.plants.keys(), red - comparison.plants.keys()
    return Figure(f"{len(found)} of {len(comparison.plants)} found", "Calibration: planted slowdowns and allocations",
                  f"from 2 % on, to see what the A/B finds; {len(others)} of the other rows red")  # fmt: skip


def _against_peers(files: Files) -> Iterator[Figure]:
    for _, run in files.peers[-1:]:
        races = _races(run)
        if races:
            worst = min(races, key=lambda race: race.ratio.estimate)
            won = sum(race.ratio.estimate >= 1 for race in races)
            yield Figure(f"{won} of {len(races)} won", "Cells in which no other runtime is faster",
                         f"worst at {worst.shape} b{worst.batch}: {worst.peer} takes {worst.ratio.estimate:.2f} of our time")  # fmt: skip


def _maps(files: Files) -> Section:
    if not files.results:
        return Section("maps", "Batch and hidden size", command="mlbench run --json run.json")
    name, result = files.results[-1]
    shown = (SPEEDUP, MEMORY, MEMORY_WITHOUT_COPIES, FLOOR_RATIO)
    charts = tuple(chart for quantity in shown for chart in heat_maps(quantity, pairs(result.measurements)))
    return Section("maps", "Batch and hidden size", (f"From {name}, {result.date}.",), charts, tables(result.measurements))


def _case(pair: Pair, files: Files) -> Section:
    _, result = files.results[-1]
    arms = {
        name: each.timing.rounds_s for name, each in (("baseline", pair.baseline), ("optimized", pair.optimized)) if each and each.timing
    }
    if pair.optimized is not None:
        arms |= {name: rounds for name, rounds in pair.optimized.arms.items() if name == "reference"}
    charts = [rounds_chart(pair.cell, arms), *_peers_of(pair, files)]
    doubts = [line for each in (pair.baseline, pair.optimized) if each is not None for line in each.warnings]
    text = [f"{describe(result.environment)}.", *(f"Warning: {line}" for line in dict.fromkeys(doubts))]
    graphs = tuple((f"Flame graph: {name}", address) for name, address in files.graphs if name.endswith(f"-{pair.cell}"))
    return Section(f"case-{pair.cell}", f"Case {pair.cell}", tuple(text), tuple(chart for chart in charts if chart), links=graphs)


def _peers_of(pair: Pair, files: Files) -> Iterator[Chart | None]:
    """Give the rounds of the other runtimes on the same model and batch, measured in turns of their own."""
    case = {} if pair.optimized is None else pair.optimized.case
    for _, run in files.peers[-1:]:
        for cell in run.cells:
            if all(cell.cell[name] == case.get(name) for name in ("batch", "hidden", "inputs", "outputs", "model")):
                yield _peer_rounds(run, cell.name)


def _ladder(files: Files) -> Section:
    found = [ablation for _, run in files.ablations for ablation in run.ablations]
    drawn = [chart for each in found if (chart := ladder_chart(each.cell, steps_of(each))) is not None]
    names = [chart.name for chart in drawn]
    charts = tuple(  # a cell may be there twice, such as with warm caches and with cold ones
        replace(chart, name=f"{chart.name}-{before + 1}") if (before := names[:place].count(chart.name)) else chart
        for place, chart in enumerate(drawn)
    )
    return Section("ladder", "What each optimisation buys", (), charts,
                   tuple(table for each in found for table in (effects_table(each), shares_table(each))),
                   command="mlbench ablation --json ablation.json")  # fmt: skip


def steps_of(ablation: Ablation) -> tuple[Step, ...]:
    """Return the ladder of an ablation: the effects of which each has what the one before had, and one optimisation more."""
    steps: list[Step] = []
    before = None
    for effect in ablation.effects:
        if effect.rung.without_it != before:
            break
        before = effect.rung.with_it
        gained = "helps" if effect.effect.estimate > 1 else "costs"
        says = gained if effect.is_beyond_noise and not effect.is_idle else "within the noise"
        steps.append(Step(effect.rung.label, effect.total, says))
    return tuple(steps)


def _memory(files: Files) -> Section:
    """Return the memory of the cell in which most of it is gone, and of the digits."""
    command = "mlbench run --json run.json"
    if not files.results:
        return Section("memory-map", "Where the memory goes", command=command)
    _, result = files.results[-1]
    found = [pair for pair in pairs(result.measurements) if pair.memory_reduction is not None]
    digits = [pair.cell for pair in found if pair.cell.startswith("digits")]
    most = sorted((pair for pair in found if pair.cell not in digits), key=lambda pair: pair.memory_reduction or 0.0)[-1:]
    charts: list[Chart] = []
    gaps: list[str] = []
    for cell in (*digits, *(pair.cell for pair in most)):
        try:
            charts += memory_charts(cell)
        except Exception as error:  # noqa: BLE001  # a recording is made here and now, and may fail for any reason of this machine
            gaps.append(_gap(f"the memory of {cell}", error))
    text = (
        "Recorded when this page was made, with the mlbench that made it: the cell in which most of the memory is gone, and the digits.",
    )
    return Section("memory-map", "Where the memory goes", text if charts else (), tuple(charts), command=command, gaps=tuple(gaps))


def _roofline(files: Files) -> Section:
    command = "mlbench limits --json limits.json"
    if not files.limits:
        return Section("roofline", "Distance to the limit", command=command)
    name, run = files.limits[-1]
    chart = _roofline_of(run)
    return Section("roofline", "Distance to the limit", (f"From {name}, {run.date}.",), () if chart is None else (chart,),
                   (ceilings_table(run.ceilings), distances_table(run.distances)), command=command)  # fmt: skip


def _roofline_of(run: Limits) -> Chart | None:
    dots = [
        Dot(each.case, each.limit.flop_per_s / each.limit.bytes_per_s, each.limit.flop_per_s, each.limit.sentence)
        for each in run.distances
        if each.limit.bytes_per_s > 0
    ]
    rates = {f"reading from {each.name}": each.bytes_per_s for each in run.ceilings.peaks.levels}
    return roofline_chart(dots, run.ceilings.peaks.flop_per_s, rates)


def _peers(files: Files) -> Section:
    command = "mlbench peers --json peers.json"
    if not files.peers:
        return Section("peers", "Against the runtimes", command=command)
    name, run = files.peers[-1]
    charts = (fastest_chart(_races(run)), *(_peer_rounds(run, cell.name) for cell in run.cells))
    return Section(
        "peers",
        "Against the runtimes",
        (f"From {name}, {run.date}.", headline(run)),
        tuple(chart for chart in charts if chart is not None),
        (times_table(run), bytes_table(run)),
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


def _beside(files: Files) -> Section:
    """Return every result in a column of its own, the first that was named as what the others are compared with."""
    command = "mlbench report first.json second.json third.json, any number of results; the first is what the others are compared with"
    found = [(name, result.measurements) for name, result in files.beside]
    charts = tuple(chart for measure in MEASURES if (chart := beside_chart(measure, found)) is not None)
    if not charts:
        return Section("beside", "Side by side", command=command)
    first, baseline = files.beside[0]
    others = [name for name, result in files.beside[1:] if kinship(baseline.environment, result.environment).relation == OTHER]
    text = [f"The first that was named, {first}, is what the others are compared with."]
    if others:
        text.append(f"Warning: measured on another machine than {first}: {', '.join(others)}. There only memory and floor ratios compare.")
    return Section("beside", "Side by side", tuple(text), charts)


def _history(files: Files) -> Section:
    command = "mlbench report *.json -o report.html, with two results or more"
    title = "History"
    charts = [
        trend_chart("history", "Floor ratio over the runs", "floor ratio", moments_of(files.results, "floor_ratio")),
        trend_chart("history-speedup", "Speed-up over the runs", "speed-up", moments_of(files.results, "speedup")),
    ]
    return Section("history", title, (), tuple(chart for chart in charts if chart is not None), command=command)


def moments_of(results: Sequence[tuple[str, Result]], ratio: str) -> tuple[Moment, ...]:
    """Return a ratio of every optimized case in every run, with the gate's verdict against the run before."""
    moments: list[Moment] = []
    before: Result | None = None
    for number, (name, result) in enumerate(results, start=1):
        verdicts: dict[str, str] = {}
        other = before is not None and kinship(before.environment, result.environment).relation == OTHER
        if before is not None:
            judged = judge_results(before, result, None, dt.date.min)  # without tolerances nothing expires
            verdicts = {row.id: row.verdict for row in judged.rows}
        for each in result.measurements:
            interval = each.ratios.get(ratio)
            if interval is not None and each.case["runner"] == "optimized":
                case = each.case["id"]
                moments.append(Moment(name, number, each.case["cell"], interval.estimate, verdicts.get(case, ""), other))
        before = result
    return tuple(moments)


def _graphs(files: Files) -> Section:
    """Return links to memray's own pages, where they were kept."""
    links = tuple(files.graphs)
    text = ("memray's own pages, of what one call allocates at the moment of its peak.",) if links else ()
    command = "mlbench report ... --graphs DIR, with what mlbench flamegraph, --mlbench-memray, the gate or mlbench ab kept"
    return Section("graphs", "Flame graphs", text, links=links, command=command)


def _verdicts(files: Files) -> Section:
    judged = [(name, judge(comparison)) for name, comparison in files.comparisons] + files.judgements
    charts = [chart for number, (_, each) in enumerate(judged, start=1) if (chart := changes_chart(each, number)) is not None]
    told = tuple(f"{name}: {each.after} against {each.before}: {each.verdict}. {' '.join(f'{note}.' for note in each.notes)}"
                 for name, each in judged)  # fmt: skip
    drawn = {chart.table.title for chart in charts}
    plain = tuple(table for _, each in judged if (table := verdict_table(each, everything=True)).title not in drawn)
    return Section("verdicts", "Verdicts", told, tuple(charts), plain, command="mlbench ab main --json ab.json")
