"""The sections that compare: results side by side, over time, and verdicts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from mlbench.gate import judge_results
from mlbench.gate.compatibility import OTHER, kinship
from mlbench.report.charts import MEASURES, Moment, beside_chart, changes_chart, trend_chart
from mlbench.report.inputs import Files
from mlbench.report.judgement import verdict_table
from mlbench.report.page.changed import verdicts
from mlbench.report.page.section import Section, charts_apart, tables_apart
from mlbench.results import Measurement, Result
from mlbench.results.network import other_network


def beside(files: Files) -> Section:
    """Return every result in a column of its own, the first that was named as what the others are compared with."""
    command = "mlbench report first.json second.json third.json, any number of results; the others are compared with the first"
    found = [(name, result.measurements) for name, result in files.beside]
    charts = tuple(chart for measure in MEASURES if (chart := beside_chart(measure, found)) is not None)
    if not charts:
        return Section("beside", "Side by side", command=command)
    first = charts[0].table.headers[1]
    baseline = dict(files.beside)[first]
    others = [name for name, result in files.beside if kinship(baseline.environment, result.environment).relation == OTHER]
    text = [f"The others are compared with the first that was named, {first}."]
    if others:
        text.append(
            f"Warning: measured on another machine than {first}: {', '.join(others)}. Only memory and floor ratios compare between "
            "machines."
        )
    text += [
        f"Warning: {name} is about another network under the name of {', '.join(cells)}; its numbers say nothing about the code."
        for name, result in files.beside
        if (cells := _other_networks(baseline, result))
    ]
    return Section("beside", "Side by side", tuple(text), charts)


def _other_networks(before: Result, after: Result) -> list[str]:
    """Return the cells that two results have under one name and that are about different networks."""
    cases = {each.case["id"]: each.case for each in before.measurements}
    return list(dict.fromkeys(
        each.case["cell"]
        for each in after.measurements
        if each.case["id"] in cases and other_network(cases[each.case["id"]], each.case)
    ))  # fmt: skip


def history(files: Files) -> Section:
    """Return the ratios of every case over the runs."""
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
    runs = [each for each in results if any(_moves(measured, ratio) for measured in each[1].measurements)]
    for number, (name, result) in enumerate(runs, start=1):
        verdicts: dict[str, str] = {}
        other = before is not None and kinship(before.environment, result.environment).relation == OTHER
        if before is not None:
            judged = judge_results(before, result, None, dt.date.min)  # without tolerances nothing expires
            verdicts = {row.id: row.verdict for row in judged.rows}
        for each in result.measurements:
            if _moves(each, ratio):
                case = each.case["id"]
                moments.append(Moment(name, number, each.case["cell"], each.ratios[ratio].estimate, verdicts.get(case, ""), other))
        before = result
    return tuple(moments)


def _moves(measured: Measurement, ratio: str) -> bool:
    """Whether a row has its place in the history of a ratio."""
    return ratio in measured.ratios and measured.case["runner"] == "optimized"


def verdicts_section(files: Files) -> Section:
    """Return every judgement, a chart or a table each."""
    judged = verdicts(files)
    charts = [(name, chart) for name, each in judged if (chart := changes_chart(each)) is not None]
    told = tuple(f"{name}: {each.after} against {each.before}: {each.verdict}. {' '.join(f'{note}.' for note in each.notes)}"
                 for name, each in judged)  # fmt: skip
    plain = [(name, verdict_table(each, everything=True)) for name, each in judged if changes_chart(each) is None]
    return Section("verdicts", "Verdicts", told, charts_apart(charts), tables_apart(plain), command="mlbench ab main --json ab.json")
