"""Any callable, measured without pytest."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from mlbench.results import COMPLETE
from mlbench.studies.callables import REFERENCE, measure_callable
from mlbench.studies.holding import held_by

CASE = {"id": "sum", "cell": "sum", "runner": "sum", "threads": 1}


def test_a_callable_is_compared_with_its_reference() -> None:
    """Both have footprints and rounds, and the ratio is of the same rounds."""
    short, long = partial(sum, range(10)), partial(sum, range(10_000))
    found = measure_callable(CASE, short, partial(held_by, 4096, short, (), {}), long)
    assert (found.status, found.case["id"], found.static.objects) == (COMPLETE, "sum", 4096)
    assert found.footprint is not None
    assert found.reference_footprint is not None
    assert found.timing is not None
    assert list(found.arms) == [REFERENCE]
    assert len(found.arms[REFERENCE][0]) == len(found.timing.rounds_s[0]) == found.ratios["reference_ratio"].rounds


def test_another_clock_comes_between_footprint_and_rounds() -> None:
    """It is called once, after the calls of the footprint and before those of the rounds."""
    calls: list[str] = []
    measure_callable(CASE, lambda: calls.append("call"), partial(held_by, None, len, (), {}), between=lambda: calls.append("between"))
    place = calls.index("between")
    assert calls.count("between") == 1
    assert 0 < place < len(calls) - 1


def test_it_needs_no_pytest() -> None:
    """The library measures a callable in any program."""
    program = "import sys, mlbench.studies.callables\nassert not {'pytest', '_pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
