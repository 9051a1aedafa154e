"""What the README shows is what happens, and each of its numbers is in a file that a command made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 150
PICTURES = re.findall(r'(?:srcset|src)="([^"]+)"', README)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| ") and "](" in line]
QUANTITY = r"\d+ of \d+|[\d.]+x|[\d.]+ %"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def words(text: str) -> str:
    """Return the text with one space between words, whatever its lines are."""
    return " ".join(text.split())


def test_it_is_short() -> None:
    """A README that is longer is not read."""
    assert len(README.splitlines()) <= MOST_LINES


def test_library_example_runs(tmp_path: Path) -> None:
    """The library example runs as it stands and prints the accuracy its comment claims."""
    script = tmp_path / "example.py"
    script.write_text(blocks("python")[0], encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0].startswith("arena ")
    assert round(float(done.stdout.splitlines()[-1]), 3) == 0.978
    assert "# 0.978 of 360 images" in README


def test_fixture_example_runs(pytester: pytest.Pytester) -> None:
    """The fixture example passes and prints both tables, with the columns and the bytes that the README shows."""
    pytester.makepyfile(test_mine=blocks("python")[1])
    shown = blocks("text")[1].splitlines()
    assert shown[0].startswith("$ pytest test_mine.py --benchmark-columns=min,median,max")
    done = pytester.runpytest_subprocess("test_mine.py", "--benchmark-columns=min,median,max", "--benchmark-max-time=0.01")
    done.assert_outcomes(passed=1)
    printed = {words(line) for line in done.outlines}
    assert words(re.sub(r"time in \w+", "time in us", shown[1])) in {re.sub(r"time in \w+", "time in us", line) for line in printed}
    headers, cells = (re.split(r" {2,}", line.strip()) for line in shown[4:6])
    (ours,) = (line for line in done.outlines if line.strip().startswith("case ") and "reference / this" in line)
    assert set(headers) <= set(re.split(r" {2,}", ours.strip()))
    (row,) = (line for line in done.outlines if line.strip().startswith("test_sum_of_squares") and " -> " in line)
    assert set(cells[4:]) <= set(re.split(r" {2,}", row.strip()))


def test_summary_is_from_results() -> None:
    """The summary in the README is the head of the one in results.txt, word for word."""
    results = (ROOT / "results.txt").read_text(encoding="utf-8")
    shown = blocks("text")[0].strip()
    assert shown
    assert f"\n{shown}\n\nSweep of" in results


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[-1]).partition("]")[0].strip("["))
def test_numbers_of_the_results_are_in_their_file(row: list[str]) -> None:
    """Every ratio, share and count of a row is in the file that it links, and the command is the one that made the file."""
    _, answer, made_by, link = row
    (place,) = re.findall(r"\((.*?)\)", link)
    data = words((ROOT / place).read_text(encoding="utf-8"))
    numbers = re.findall(QUANTITY, answer)
    assert numbers
    assert [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}", data)] == []
    assert re.findall(r"`(.*?)`", made_by)[0].partition(" saved/*")[0] in data


@pytest.mark.parametrize("picture", PICTURES)
def test_numbers_of_the_picture_are_in_results(picture: str) -> None:
    """Each bar has the speed-up of its cell in results.txt, in both themes."""
    speedups = re.findall(r"^  b\d+-h\d+ .*? ([\d.]+)x ", (ROOT / "results.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    drawn = re.findall(r">(\d+\.\d\d)</text>", (ROOT / picture).read_text(encoding="utf-8"))
    assert len(drawn) == 12
    assert sorted(drawn) == sorted(speedups)


def test_what_the_picture_says_to_who_does_not_see_it_is_in_results() -> None:
    """The text for screen readers gives the ends of the sweep."""
    (alternative,) = re.findall(r'alt="([^"]+)"', README)
    least, most = re.findall(r"\d+\.\d+", alternative)
    assert f"from {least}x" in (results := words((ROOT / "results.txt").read_text(encoding="utf-8")))
    assert f"to {most}x (" in results


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^\$ |`)mlbench (\w+)", README, flags=re.MULTILINE))))
def test_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that the README names exists and explains itself."""
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"mlbench {command}" in capsys.readouterr().out


def test_options_exist() -> None:
    """Every option of the suite that the README names is an option of pytest here."""
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = set(re.findall(r"--(?:mlbench|benchmark)-[a-z-]+", README))
    assert {option for option in named if option not in listed} == set()


def test_two_commands_come_first() -> None:
    """The commands that set everything up are the first ones, and their environments are in tox.ini."""
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    first, second = blocks("console")[0].splitlines()
    assert first.startswith("$ python -m pip install tox && python -m tox run -e bench ")
    assert second.startswith("$ python -m pip install tox && python -m tox run  ")
    assert "[testenv:bench]" in tox


def test_links_lead_somewhere() -> None:
    """Every file that the README links or shows is there."""
    linked = {place.partition("#")[0] for place in re.findall(r"\]\((?!https?:)([^)]+)\)", README)} | set(PICTURES)
    assert sorted(place for place in linked if not (ROOT / place).exists()) == []
