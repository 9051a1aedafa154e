"""Two versions side by side, of real repositories: revisions, the working tree as it is now, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbench.cache import VARIABLE
from mlbench.errors import MissingExtraError, UsageError
from mlbench.studies.ab.checkouts import check_out, find_repository, held, is_installable, packages
from support.repositories import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository of two commits, the first of which is tagged v1, and a cache of its own."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    made = Project(tmp_path / "project")
    made.write("a.txt", "one")
    made.write("folder/b.txt", "b")
    made.write(".gitignore", "*.log")
    made.commit()
    made.git("tag", "v1")
    made.write("a.txt", "two")
    made.commit()
    return made


def files(home: Path) -> dict[str, str]:
    """Return path to text of every file but git's."""
    found = (path for path in home.rglob("*") if path.is_file() and ".git" not in path.relative_to(home).parts)
    return {path.relative_to(home).as_posix(): path.read_text() for path in found}


@pytest.mark.parametrize(("revision", "text"), [("v1", "one"), ("HEAD~1", "one"), ("main", "two"), ("HEAD", "two")])
def test_a_revision_is_checked_out(project: Project, revision: str, text: str) -> None:
    """A tag, a branch, and what git derives have the files of their commit."""
    found = check_out(find_repository(project.root), "base", revision)
    assert files(found.home) == {"a.txt": text, "folder/b.txt": "b", ".gitignore": "*.log"}
    assert (found.side, found.revision, found.commit) == ("base", revision, project.git("rev-parse", revision))


def test_both_sides_have_paths_of_one_length(project: Project) -> None:
    """The length of a path moves what processes keep in memory."""
    repository = find_repository(project.root)
    base, head = check_out(repository, "base", "v1"), check_out(repository, "head", "main")
    assert base.home != head.home
    assert len(str(base.home)) == len(str(head.home))
    assert files(base.home)["a.txt"] == "one"


def test_the_same_version_keeps_what_an_installation_made(project: Project) -> None:
    """Its own files are restored, of a revision and of a changed working tree; files that git does not know stay until it changes."""
    repository = find_repository(project.root)
    project.write("a.txt", "mine")
    for side, revision, text in (("base", "v1", "one"), ("head", None, "mine")):
        home = check_out(repository, side, revision).home
        (home / "_version.py").write_text("made")
        (home / "a.txt").write_text("by a test")
        found = check_out(repository, side, revision)
        assert files(found.home) == {"a.txt": text, "folder/b.txt": "b", ".gitignore": "*.log", "_version.py": "made"}
    project.write("a.txt", "another")
    assert "_version.py" not in files(check_out(repository, "head", None).home)


def test_what_was_made_of_a_checkout_is_marked_in_it(project: Project) -> None:
    """The mark stays as long as the files are the same."""
    repository = find_repository(project.root)
    found = check_out(repository, "base", "v1")
    found.mark.write_text("env")
    assert check_out(repository, "base", "v1").mark.exists()
    assert not check_out(repository, "base", "main").mark.exists()


def test_a_lock_that_a_killed_run_left_is_overcome(project: Project) -> None:
    """The clone is made anew."""
    repository = find_repository(project.root)
    (check_out(repository, "base", "v1").home / ".git" / "index.lock").touch()
    assert files(check_out(repository, "base", "v1").home)["a.txt"] == "one"


@pytest.mark.skipif(sys.platform == "win32", reason="no links there")
def test_a_folder_that_became_a_link_is_a_link(project: Project, tmp_path: Path) -> None:
    """What git knows below it is gone, whatever lies where the link leads."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("other")
    delete(project)
    (project.root / "folder").rmdir()
    (project.root / "folder").symlink_to(tmp_path / "elsewhere")
    home = check_out(find_repository(project.root), "head", None).home
    assert (home / "folder").is_symlink()
    assert (tmp_path / "elsewhere" / "b.txt").read_text() == "other"


def test_a_submodule_that_differs_is_refused(project: Project, tmp_path: Path) -> None:
    """Its files would not be those of the working tree."""
    inner = Project(tmp_path / "inner")
    inner.write("x.py", "X = 1")
    inner.commit()
    project.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(inner.root), "sub")
    project.commit()
    project.write("sub/x.py", "X = 2")
    with pytest.raises(UsageError, match="the submodule sub differs from what HEAD has"):
        check_out(find_repository(project.root), "head", None)


def test_a_folder_for_results_that_holds_the_project_hides_nothing(project: Project) -> None:
    """A new file beside the project's own is taken, though something is written there too."""
    add(project)
    project.write("folder/new.txt", "new")
    places = [project.root / "folder", project.root / "new", project.root, project.root.parent / "outside.json"]
    found = check_out(find_repository(project.root), "head", None, places)
    assert "folder/new.txt" in files(found.home)
    assert not any(name.startswith("new/") for name in files(found.home))


def test_half_a_checkout_is_made_anew(project: Project) -> None:
    """What was broken off before it was marked is not taken for a version."""
    repository = find_repository(project.root)
    home = check_out(repository, "base", "v1").home
    (home / ".git" / "mlbench-commit").unlink()
    (home / "left.txt").touch()
    assert "left.txt" not in files(check_out(repository, "base", "v1").home)


def test_another_revision_takes_the_place(project: Project) -> None:
    """Nothing of what was there stays."""
    repository = find_repository(project.root)
    (check_out(repository, "base", "v1").home / "left.txt").write_text("")
    assert "left.txt" not in files(check_out(repository, "base", "main").home)


def test_an_unchanged_working_tree_is_its_commit(project: Project) -> None:
    """Ignored files do not count, and the commit has no suffix."""
    project.write("x.log", "ignored")
    found = check_out(find_repository(project.root), "head", None)
    assert (found.revision, found.commit) == ("working tree", project.git("rev-parse", "HEAD"))
    assert "x.log" not in files(found.home)


def modify(project: Project) -> None:
    """Change a file."""
    project.write("a.txt", "three")


def stage(project: Project) -> None:
    """Change a file, and stage it."""
    modify(project)
    project.git("add", "a.txt")


def add(project: Project) -> None:
    """Add a file that git does not know, in a new folder, with a name of many characters."""
    project.write("new/\u00fc \u2603 name.txt", "untracked")


def delete(project: Project) -> None:
    """Delete a file."""
    (project.root / "folder/b.txt").unlink()


def rename(project: Project) -> None:
    """Rename a file, as git does."""
    project.git("mv", "a.txt", "c.txt")


def become_folder(project: Project) -> None:
    """Put a folder where a file was."""
    (project.root / "a.txt").unlink()
    project.write("a.txt/inner.txt", "inner")


def become_file(project: Project) -> None:
    """Put a file where a folder was."""
    delete(project)
    (project.root / "folder").rmdir()
    project.write("folder", "file")


CHANGES: dict[str, tuple[Callable[[Project], None], dict[str, str]]] = {
    "modified": (modify, {"a.txt": "three", "folder/b.txt": "b"}),
    "staged": (stage, {"a.txt": "three", "folder/b.txt": "b"}),
    "untracked": (add, {"a.txt": "two", "folder/b.txt": "b", "new/\u00fc \u2603 name.txt": "untracked"}),
    "deleted": (delete, {"a.txt": "two"}),
    "renamed": (rename, {"c.txt": "two", "folder/b.txt": "b"}),
    "folder": (become_folder, {"a.txt/inner.txt": "inner", "folder/b.txt": "b"}),
    "file": (become_file, {"a.txt": "two", "folder": "file"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_working_tree_is_taken_as_it_is(project: Project, change: str) -> None:
    """The checkout has the files as they are now, its commit a suffix, and the user's repository is as it was."""
    act, expected = CHANGES[change]
    act(project)
    before = project.state()
    found = check_out(find_repository(project.root), "head", None)
    assert files(found.home) == {".gitignore": "*.log", **expected}
    commit, _, suffix = found.commit.partition("+")
    assert (commit, len(suffix)) == (project.git("rev-parse", "HEAD"), 12)
    assert project.state() == before


@pytest.mark.skipif(sys.platform == "win32", reason="neither links nor bits there")
def test_links_and_bits_are_kept(project: Project) -> None:
    """A link stays a link, also one that leads nowhere, and an executable file executable."""
    (project.root / "link").symlink_to("nowhere")
    project.write("run.sh", "#!/bin/sh")
    (project.root / "run.sh").chmod(0o755)
    home = check_out(find_repository(project.root), "head", None).home
    assert (home / "link").readlink() == Path("nowhere")
    assert os.access(home / "run.sh", os.X_OK)


def test_the_suffix_follows_what_differs(project: Project) -> None:
    """The same changes give the same suffix; another text, link or mode another one."""
    repository = find_repository(project.root)
    found = []
    for text in ("x", "y", "x"):
        project.write("a.txt", text)
        found.append(check_out(repository, "head", None).commit)
    assert found[0] == found[2] != found[1]
    if sys.platform != "win32":
        (project.root / "a.txt").chmod(0o755)
        found.append(check_out(repository, "head", None).commit)
        for target in ("a.txt", "folder/b.txt"):
            (project.root / "link").unlink(missing_ok=True)
            (project.root / "link").symlink_to(target)
            found.append(check_out(repository, "head", None).commit)
        assert len(set(found)) == 5


def test_what_is_edited_later_is_not_in_it(project: Project) -> None:
    """The checkout is a copy."""
    home = check_out(find_repository(project.root), "head", None).home
    modify(project)
    assert files(home)["a.txt"] == "two"


def test_a_project_in_a_folder_of_its_repository(project: Project) -> None:
    """Its home is that folder of the checkout, and its cache is not the root's."""
    inner, root = find_repository(project.root / "folder"), find_repository(project.root)
    found = check_out(inner, "base", "v1")
    assert files(found.home) == {"b.txt": "b"}
    assert found.home.name == "folder"
    assert inner.place != root.place


def test_a_version_without_the_folder_is_refused(project: Project) -> None:
    """The message names the folder and the revision."""
    project.write("later/x.txt", "")
    with pytest.raises(UsageError, match="v1 has no folder later"):
        check_out(find_repository(project.root / "later"), "base", "v1")


@pytest.mark.parametrize("revision", ["nonsense", "--help", "v1:a.txt", ""])
def test_an_unknown_revision_is_refused(project: Project, revision: str) -> None:
    """Also one that looks like an option, or is no commit; the message says what was expected. An empty one is no working tree."""
    with pytest.raises(UsageError, match="git knows no revision"):
        check_out(find_repository(project.root), "base", revision)


def test_a_folder_without_a_repository_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git says so."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="not a git repository"):
        find_repository(tmp_path)


def test_a_machine_without_git_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that git is needed."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs git"):
        find_repository(project.root)


def test_the_variables_of_a_hook_do_not_mislead(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GIT_DIR of a git that called us points elsewhere, and is left out."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert find_repository(project.root).root == project.root.resolve()


def test_a_second_comparison_is_kept_out(project: Project) -> None:
    """While one holds the folders another one is refused; afterwards it is not."""
    repository = find_repository(project.root)
    with held(repository), pytest.raises(UsageError, match="another comparison of project is under way"), held(repository):
        pass
    with held(repository):
        assert (repository.place / "lock").exists()


def test_without_filelock_the_extra_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two comparisons in the same folders would spoil each other, so none begins without a lock."""
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(MissingExtraError, match="a comparison of two versions needs filelock"), held(find_repository(project.root)):
        pass


@pytest.mark.parametrize(
    ("paths", "names", "place"),
    [
        (["src/toy/__init__.py", "src/toy/deep/__init__.py", "src/single.py", "setup.py"], ("single", "toy"), "src"),
        (["toy/__init__.py", "tests/__init__.py", "conftest.py", "setup.py", "one.py"], ("one", "toy"), "."),
        (["toy/deep/__init__.py"], ("deep", "toy.deep"), "."),
        (["src/toy/deep/__init__.py"], ("deep", "toy.deep"), "src"),
        (["python/toy/__init__.py", "run.py"], ("python.toy", "run", "toy"), "."),
        (["src/logging/__init__.py", "tests/toy/__init__.py", "venv.log/x/__init__.py"], (), "src"),
    ],
    ids=["src", "flat", "namespace", "src-namespace", "elsewhere", "none"],
)
def test_packages_of_a_project(project: Project, paths: list[str], names: tuple[str, ...], place: str) -> None:
    """Those below `src`, or beside the project's files, or deeper; without its tests, scripts, what git ignores and the standard names."""
    for path in paths:
        project.write(path, "")
    assert packages(project.root) == (names, project.root / place)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [("pyproject.toml", "[project]\n", True), ("pyproject.toml", "[tool.x]\n", False), ("setup.py", "", True), ("a.txt", "", False)],
)
def test_a_project_that_may_be_installed(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    """One that says how it is built or what it is called."""
    (tmp_path / name).write_text(text)
    assert is_installable(tmp_path) is expected


def test_a_worktree_of_the_user_is_a_repository_too(project: Project, tmp_path: Path) -> None:
    """Its files are its own."""
    project.git("worktree", "add", "--quiet", str(tmp_path / "beside"), "v1")
    found = check_out(find_repository(tmp_path / "beside"), "head", None)
    assert files(found.home)["a.txt"] == "one"


def test_git_itself_is_what_the_tests_believe(project: Project) -> None:
    """The checkout is a repository at its commit, which tools that ask git for a version need."""
    home = check_out(find_repository(project.root), "base", "v1").home
    ran = subprocess.run(["git", "describe", "--tags"], cwd=home, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "v1"


def test_what_the_run_writes_is_not_the_project(project: Project) -> None:
    """Results that lie in the working tree, in their usual folder or where they were told to go, do not make it another version."""
    repository = find_repository(project.root)
    before = check_out(repository, "head", None).commit
    for name in ("mlbench-results/ab/graph.html", "kept/same-0001.json", "now.json"):
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text("{}")
    apart = [project.root / "kept", project.root / "now.json"]
    found = check_out(repository, "head", None, apart)
    assert found.commit == before
    assert not [name for name in ("mlbench-results", "kept", "now.json") if (found.home / name).exists()]
    assert check_out(repository, "head", None).commit != before
