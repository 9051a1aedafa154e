"""PLACEHOLDER."""
import sys
def add_gate_options(parser):
    pass
def tell(judgement, options):
    for row in judgement.rows:
        if row.verdict != "pass":
            print(row.verdict, row.id, row.why)
    print({v: judgement.count(v) for v in ("pass","new","improved","inconclusive","missing","regression")}, judgement.notes)
    return judgement.exit_code()
