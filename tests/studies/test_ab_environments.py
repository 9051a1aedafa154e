"""An environment for each version: what it depends on, and when it is built or installed into; nothing is downloaded."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlbench.errors import UsageError
from mlbench.studies.ab import environments
from mlbench.studies.ab.checkouts import Checkout
from mlbench.studies.ab.environments import environment_folder, environment_key, prepare, share_libraries

INSTALL = ("-e .",)


class Pip:
    """Stands for venv and pip: writes down what was asked of them."""

    def __init__(self) -> None:
        self.built: list[Path] = []
        self.installs: list[list[str]] = []
        self.asked: list[str] = []
        self.folders: list[object] = []
        self.paths: list[bool] = []
        self.lacking: set[str] = set()
        self.failing = ""

    def create(self, folder: Path, **options: object) -> None:
        """Make an environment."""
        self.built.append(folder)
        folder.mkdir(parents=True)

    def run(self, command: list[str], **options: Any) -> SimpleNamespace:
        """Run a command."""
        self.paths.append("PYTHONPATH" in options["env"])
        if command[1] == "-c":
            self.asked.append(command[2])
            return SimpleNamespace(returncode=int(command[2].removeprefix("import ") in self.lacking))
        arguments = command[command.index("--disable-pip-version-check") + 1 :]
        self.installs.append(arguments)
        self.folders.append(options["cwd"])
        failed = bool(self.failing) and self.failing in arguments
        return SimpleNamespace(returncode=int(failed), stdout="", stderr="x" * 5000 + "\nno matching distribution\n" if failed else "")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Build and install nothing."""
    made = Pip()
    monkeypatch.setattr(venv, "create", made.create)
    monkeypatch.setattr(environments, "subprocess", SimpleNamespace(run=made.run, CalledProcessError=subprocess.CalledProcessError))
    return made


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A version with a pyproject.toml."""
    home = tmp_path / "home"
    (home / ".git").mkdir(parents=True)
    (home / "pyproject.toml").write_text("[project]")
    return Checkout("base", "main", "a" * 40, home, home)


def built(checkout: Checkout, place: Path, install: tuple[str, ...] = INSTALL) -> tuple[str, list[str]]:
    """Prepare, and return the interpreter and what was said."""
    said: list[str] = []
    return prepare(checkout, place, install, said.append), said


def test_the_key_is_the_same_for_the_same_files(checkout: Checkout) -> None:
    """Another commit that depends on the same has the same environment."""
    assert environment_key(checkout, INSTALL) == environment_key(dataclasses.replace(checkout, commit="b" * 40), INSTALL)


@pytest.mark.parametrize(
    "name", ["pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "dev-requirements.txt", "requirements/dev.txt", "uv.lock"]
)
def test_the_key_follows_the_files_that_name_dependencies(checkout: Checkout, name: str) -> None:
    """Each of them counts, and so does its text."""
    found = {environment_key(checkout, INSTALL)}
    path = checkout.home / name
    path.parent.mkdir(exist_ok=True)
    for text in ("numpy", "numpy<3"):
        path.write_text(text)
        found.add(environment_key(checkout, INSTALL))
    assert len(found) == 3


def test_the_key_ignores_other_files(checkout: Checkout) -> None:
    """Source decides nothing that is installed beside it."""
    before = environment_key(checkout, INSTALL)
    (checkout.home / "toy.py").write_text("x = 1")
    assert environment_key(checkout, INSTALL) == before


def test_the_key_is_of_files_alone(checkout: Checkout) -> None:
    """A folder, or a link that leads nowhere, may be called like one."""
    before = environment_key(checkout, INSTALL)
    (checkout.home / "app.lock").mkdir()
    assert environment_key(checkout, INSTALL) == before


def test_the_key_follows_side_arguments_and_python(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed, for which side, and by which Python."""
    found = [environment_key(checkout, INSTALL), environment_key(checkout, ("-e .[bench]",)),
             environment_key(checkout, ("-e .", "x")), environment_key(dataclasses.replace(checkout, side="head"), INSTALL)]  # fmt: skip
    monkeypatch.setattr(sys, "version", "3.99")
    found.append(environment_key(checkout, INSTALL))
    monkeypatch.setattr(sys, "executable", "/other/python")
    found.append(environment_key(checkout, INSTALL))
    assert len(set(found)) == 6


def test_it_is_built_once(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """A second comparison of the same commit neither builds nor installs."""
    python, said = built(checkout, tmp_path / "place")
    assert said == ["building the environment of main (-e .)"]
    assert pip.installs == [["--upgrade", "pip"], ["-e", "."]]
    assert set(pip.folders) == {checkout.home}
    assert environment_folder(python) == pip.built[0]
    assert built(checkout, tmp_path / "place") == (python, [])
    assert (len(pip.built), len(pip.installs)) == (1, 2)


def test_another_commit_is_installed_into_it(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """Only the project is installed again."""
    python, _ = built(checkout, tmp_path / "place")
    pip.installs.clear()
    again, said = built(dataclasses.replace(checkout, commit="b" * 40), tmp_path / "place")
    assert again == python
    assert said == ["installing main into its environment"]
    assert (len(pip.built), pip.installs) == (1, [["-e", "."]])


def test_a_checkout_that_was_made_anew_is_installed_again(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """What the installation put among its files is gone with the old one, though the commit and the environment are the same."""
    built(checkout, tmp_path / "place")
    pip.installs.clear()
    checkout.mark.unlink()
    assert built(checkout, tmp_path / "place")[1] == ["installing main into its environment"]
    assert (len(pip.built), pip.installs) == (1, [["-e", "."]])
    assert built(checkout, tmp_path / "place")[1] == []


def test_half_an_installation_of_other_arguments_spoils_the_checkout(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """What it may have changed among the files is made good by the next installation."""
    built(checkout, tmp_path / "place")
    pip.failing = "other"
    with pytest.raises(UsageError):
        built(checkout, tmp_path / "place", ("-e .", "other"))
    pip.failing = ""
    pip.installs.clear()
    built(checkout, tmp_path / "place")
    assert pip.installs == [["-e", "."]]


def test_a_python_without_ensurepip_is_told(pip: Pip, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some distributions have it."""

    def create(*given: object, **options: object) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip")

    monkeypatch.setattr(venv, "create", create)
    with pytest.raises(UsageError, match="needs venv and ensurepip"):
        built(checkout, tmp_path / "place")


def test_what_the_users_path_holds_is_not_installed(pip: Pip, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip, and the question what is there, go without PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    built(checkout, tmp_path / "place")
    assert len(pip.paths) == 4
    assert not any(pip.paths)


def test_other_dependencies_have_an_environment_of_their_own(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """Both stay."""
    first, _ = built(checkout, tmp_path / "place")
    (checkout.home / "pyproject.toml").write_text("[project]\ndependencies = ['x']")
    second, _ = built(checkout, tmp_path / "place")
    assert first != second
    assert all(folder.is_dir() for folder in pip.built)


@pytest.mark.parametrize("failing", ["pip", "-e"])
def test_half_an_environment_is_made_anew(pip: Pip, checkout: Checkout, tmp_path: Path, failing: str) -> None:
    """After an installation that failed nothing of it is used."""
    pip.failing = failing
    with pytest.raises(UsageError):
        built(checkout, tmp_path / "place")
    (pip.built[0] / "half").touch()
    pip.failing = ""
    built(checkout, tmp_path / "place")
    assert len(pip.built) == 2
    assert not (pip.built[1] / "half").exists()


def test_a_failed_installation_of_another_commit_is_not_taken_for_it(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """Nor for the one that was there before."""
    built(checkout, tmp_path / "place")
    pip.failing = "-e"
    with pytest.raises(UsageError):
        built(dataclasses.replace(checkout, commit="b" * 40), tmp_path / "place")
    pip.failing = ""
    built(checkout, tmp_path / "place")
    assert len(pip.built) == 2


def test_what_pip_says_is_told(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """The message names the revision, the arguments and the option, and ends with the last that pip printed."""
    pip.failing = "-e"
    with pytest.raises(UsageError) as refused:
        built(checkout, tmp_path / "place", ("-e '.[a b]'",))
    text = str(refused.value)
    assert text.startswith("main: pip install -e '.[a b]' failed in its checkout; say what to install with --install:")
    assert text.endswith("no matching distribution")
    assert len(text) < 2300


def test_pytest_is_installed_where_it_lacks(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """What the version's own dependencies bring is left alone."""
    pip.lacking = {"pytest_benchmark"}
    built(checkout, tmp_path / "place")
    assert pip.asked == ["import pytest", "import pytest_benchmark"]
    assert pip.installs[-1] == ["pytest-benchmark"]


def test_each_argument_is_a_run_of_pip(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """In their order, split as a shell splits them."""
    built(checkout, tmp_path / "place", ("-r requirements.txt", "-e '.[x y]'"))
    assert pip.installs[1:] == [["-r", "requirements.txt"], ["-e", ".[x y]"]]


def test_a_real_interpreter_is_asked_what_it_has() -> None:
    """What cannot be imported lacks."""
    assert environments._has(sys.executable, "json")
    assert not environments._has(sys.executable, "no_such_module")


def environments_of(place: Path, files: dict[str, tuple[bytes, bytes]]) -> list[Path]:
    """Make two environments with these files, each with what it holds in the one and in the other; return their interpreters."""
    for name, contents in files.items():
        for side, content in zip(("base", "head"), contents, strict=True):
            file = place / side / "lib" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return [place / side / "bin" / "python" for side in ("base", "head")]


def test_equal_libraries_of_two_environments_become_one_file(tmp_path: Path) -> None:
    """Those of other content, other names and other kinds stay two; a second time there is nothing to do."""
    same, other = (b"same", b"same"), (b"same", b"othe")
    pythons = environments_of(tmp_path, {"numpy/core.so": same, "numpy.libs/blas.so.3": same, "mine.so": other, "mine.py": same})
    (tmp_path / "base/lib/alone.so").write_bytes(b"same")
    assert share_libraries([str(each) for each in pythons]) == 2
    base, head = (tmp_path / side / "lib" for side in ("base", "head"))
    for name, is_shared in (("numpy/core.so", True), ("numpy.libs/blas.so.3", True), ("mine.so", False), ("mine.py", False)):
        assert (base / name).samefile(head / name) is is_shared
    assert (head / "mine.so").read_bytes() == b"othe"
    assert sorted(each.name for each in head.iterdir()) == ["mine.py", "mine.so", "numpy", "numpy.libs"]
    assert share_libraries([str(each) for each in pythons]) == 0


def test_libraries_that_cannot_be_shared_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without hard links: the comparison goes on with two files."""
    pythons = environments_of(tmp_path, {"core.so": (b"same", b"same")})

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert share_libraries([str(each) for each in pythons]) == 0
    assert (tmp_path / "head/lib/core.so").read_bytes() == b"same"


@pytest.mark.skipif(sys.platform == "win32", reason="environments have copies there")
def test_an_environment_whose_python_is_gone_is_built_anew(pip: Pip, checkout: Checkout, tmp_path: Path) -> None:
    """As after an upgrade of the system, which removes the one that it was made of."""
    python, _ = built(checkout, tmp_path)
    Path(python).parent.mkdir()
    Path(python).symlink_to("nowhere")
    assert built(checkout, tmp_path)[1]
    assert len(pip.built) == 2
