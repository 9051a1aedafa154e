"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_library_example_runs(tmp_path: Path) -> None:
    """The library example runs as it stands and prints the accuracy its comment claims."""
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[0], encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("arena ")
    assert round(float(done.stdout.splitlines()[-1]), 3) == 0.978
    assert "# 0.978 of 360 images" in README


def test_fixture_example_runs(pytester: pytest.Pytester) -> None:
    """The fixture example passes and ends with our table."""
    pytester.makepyfile(test_mine=blocks("python")[1])
    done = pytester.runpytest_subprocess("test_mine.py", "--benchmark-autosave", "--benchmark-max-time=0.01")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*reference / this*", "*test_square*x*"])


def test_summary_is_from_results() -> None:
    """The summary in the README stands in results.txt, word for word; there the doubts about single rows follow."""
    results = (ROOT / "results.txt").read_text(encoding="utf-8")
    shown = blocks("text")[0].strip()
    assert shown
    _, _, after = results.partition(shown)
    assert after
    assert all(line.startswith(("  - baseline-", "  - optimized-", "    ")) for line in after.strip("\n").splitlines())


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\$ mlbench (\w+)", README, flags=re.MULTILINE))))
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that the README names exists and explains itself."""
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"mlbench {command}" in capsys.readouterr().out


def test_options_exist() -> None:
    """Every option of the sweep that the README names is an option of pytest here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = set(re.findall(r"--(?:mlbench|benchmark)-[a-z-]+", README))
    assert {option for option in named if option not in listed} == set()


def test_two_commands_name_environments_that_exist() -> None:
    """The environments of the two commands are in tox.ini."""
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in re.findall(r"tox run -e (\w+)", README):
        assert f"[testenv:{name}]" in tox
