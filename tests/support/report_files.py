"""Files of every kind that a report reads, made up: what the tests of the page and of damaged files begin with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mlbench.gate import Finding, Judgement, row_of
from mlbench.report import verdicts_json
from mlbench.results import COMPLETE, now, save
from mlbench.results.ablation import ABLATION_FILE, Ablations
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.explanation import EXPLANATION_FILE
from mlbench.results.peers import PEERS_FILE
from mlbench.results.roofline import ROOFLINE_FILE, Roofline
from mlbench.results.storage import write
from support.comparisons import comparison, visit
from support.explanations import explanation, run_of
from support.records import CEILINGS, distance, interval, made_up, measured, peers_result
from support.records import peer_cell as cell
from support.saved_results import ENVIRONMENT, callable_of_a_user, result

SIZES = (64, 256, 1024)
RUNS = ("a.json", "b.json", "c.json")
KINDS = (*RUNS[-1:], "ablation.json", "roofline.json", "peers.json", "explain.json", "ab.json", "gate.json")
EVIL = 'b1<img src=x onerror="document.title=1">'


def write_every_kind(folder: Path) -> list[Path]:
    """Write three results, the last of which has a case whose name is markup and a callable, and one file of each other kind."""
    for day, name in enumerate(RUNS, start=1):
        rows = [measured(runner, batch, size, 1 + day / 2) for batch in (1, 8) for size in SIZES for runner in ("baseline", "optimized")]
        if name == RUNS[-1]:
            evil = measured("optimized", 1, 64)
            evil.case.update(cell=EVIL, id=f"optimized-{EVIL}")
            rows += [evil, callable_of_a_user()]
        save(dataclasses.replace(result(*rows), date=f"2026-01-0{day}T03:04:05+00:00"), folder / name)
    write(Ablations(ENVIRONMENT, "mlbench ablation", now(), COMPLETE, (made_up("b8-h64"),)), folder / "ablation.json", ABLATION_FILE)
    dots = [distance(f"{runner}-b8-h{size}") for size in SIZES for runner in ("baseline", "optimized")]
    write(Roofline(ENVIRONMENT, "mlbench roofline", now(), COMPLETE, CEILINGS, tuple(dots)), folder / "roofline.json", ROOFLINE_FILE)
    write(run_of(explanation()), folder / "explain.json", EXPLANATION_FILE)
    cells = [cell(batch, mlbench=10.0, onnxruntime=12.0, **{"torch.compile": 20.0}) for batch in (1, 8, 64, 512, 4096)]
    write(peers_result(*cells, runtimes=("onnxruntime", "torch.compile")), folder / "peers.json", PEERS_FILE)
    write(comparison([[visit(head=1.1)] for _ in range(8)]), folder / "ab.json", COMPARISON_FILE)
    verdicts = ("pass", "improved", "inconclusive", "regression")
    rows_judged = [
        row_of(f"test_mlp.py::test_mlp[optimized-b{batch}-h1024]", [Finding(quantity, verdict, "why", 1.0, 1.1, "s", interval(1.1), 0.02)
                                                                   for quantity in ("latency", "products ratio")])
        for batch, verdict in enumerate(verdicts, start=1)
    ]  # fmt: skip
    (folder / "gate.json").write_text(verdicts_json(Judgement("main", "topic", tuple(rows_judged))), encoding="utf-8")
    return [folder / name for name in (*RUNS, *KINDS[1:])]
