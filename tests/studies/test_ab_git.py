"""What both arms get is what `git worktree add` would give the user, and the user's repository is only read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlbench.cache import VARIABLE
from mlbench.cli import main
from mlbench.errors import UsageError
from mlbench.studies.ab.checkouts import Checkout, check_out, find_repository
from support.repositories import WHO, Project

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="filters of these tests are shell scripts")
FILTERED = {"filter.loud.smudge": "tr a-z A-Z", "filter.loud.clean": "tr A-Z a-z", "filter.loud.required": "true"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache and a configuration of its own, which lets git fetch from folders."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "global").write_text(
        '[protocol "file"]\n\tallow = always\n[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


def made(root: Path, *options: str) -> Project:
    """Return a repository of two commits, the first of which is tagged v1."""
    project = Project(root, *options)
    project.write("a.txt", "one\n")
    project.write("folder/b.txt", "b\n")
    project.commit()
    project.git("tag", "v1")
    project.write("a.txt", "two\n")
    project.commit()
    return project


def cloned(source: Project, root: Path, *options: str) -> Project:
    """Return a clone, as over a network."""
    command = ["git", *WHO, "-c", "protocol.file.allow=always", "clone", "--quiet", *options, f"file://{source.root}", str(root)]
    subprocess.run(command, check=True, capture_output=True)
    return Project.of(root)


def configured(project: Project, settings: dict[str, str], *where: str) -> Project:
    """Return the project with these settings in its own configuration, or where else they go."""
    for name, value in settings.items():
        project.git("config", *where, name, value)
    return anew(project)


def anew(project: Project) -> Project:
    """Return the project with its files as git now makes them."""
    project.git("rm", "--quiet", "-r", "--cached", ".")
    project.git("reset", "--quiet", "--hard")
    return project


def files(home: Path) -> dict[str, bytes]:
    """Return path to content of every file but git's."""
    found = (path for path in home.rglob("*") if path.is_file() and ".git" not in path.relative_to(home).parts)
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in found}


def inside(folder: Path) -> dict[str, object]:
    """Return everything that lies in a folder, git's files too."""
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def both(project: Project) -> tuple[Checkout, Checkout]:
    """Return the checkouts of v1 and of the working tree."""
    repository = find_repository(project.root)
    return check_out(repository, "base", "v1"), check_out(repository, "head", None)


def local_filter(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter in the configuration of the repository, named by .gitattributes."""
    project = made(place / "project")
    project.write(".gitattributes", "*.txt filter=loud\n")
    project.commit()
    project.git("tag", "--force", "v1")
    return configured(project, FILTERED)


def private_attributes(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Line ends and an encoding that .git/info/attributes gives."""
    project = made(place / "project")
    (project.root / ".git/info/attributes").write_text("a.txt eol=crlf\nfolder/*.txt working-tree-encoding=UTF-16LE-BOM\n")
    return anew(project)


def line_ends(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Line ends that the configuration gives."""
    return configured(made(place / "project"), {"core.autocrlf": "true"})


def filter_with_key(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter that reads a key in the git folder."""
    project = local_filter(place, monkeypatch)
    (project.root / ".git/crypt/keys").mkdir(parents=True)
    (project.root / ".git/crypt/keys/default").write_text("key")
    return configured(
        project, {"filter.loud.smudge": 'cat "$(git rev-parse --git-common-dir)/crypt/keys/default" -', "filter.loud.clean": "cut -c4-"}
    )


def included(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter in a file that the configuration includes by a relative path."""
    project = local_filter(place, monkeypatch)
    (project.root / ".git/config").rename(place / "filters")
    configured(project, {"include.path": "../../filters"})
    return project


def included_by_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter in a file that the user's own configuration includes for repositories of one folder."""
    project = local_filter(place, monkeypatch)
    (project.root / ".git/config").rename(place / "filters")
    configured(project, {f"includeIf.gitdir:{place}/project/.path": str(place / "filters")}, "--global")
    project.git("config", "core.bare", "false")
    return project


def by_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter that the environment gives."""
    project = local_filter(place, monkeypatch)
    for number, (name, value) in enumerate(FILTERED.items()):
        project.git("config", "--unset", name)
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(FILTERED)))
    return project


def of_one_worktree(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A filter in the configuration of the main worktree, and another one in that of the user's."""
    project = local_filter(place, monkeypatch)
    project.git("config", "extensions.worktreeConfig", "true")
    configured(project, {"filter.loud.smudge": "rev", "filter.loud.clean": "rev"}, "--worktree")
    return project


def sparse(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A working tree without one of its folders."""
    project = made(place / "project")
    project.write("other/c.txt", "c\n")
    project.commit()
    project.git("sparse-checkout", "set", "other")
    return project


def sha256(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Commits that are named by SHA-256."""
    return made(place / "project", "--object-format=sha256")


def shallow(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A history that is cut off."""
    upstream = made(place / "upstream")
    upstream.write("a.txt", "three\n")
    upstream.commit()
    project = cloned(upstream, place / "project", "--depth=2")
    project.git("tag", "v1", "HEAD~1")
    return project


def without_blobs(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Old contents that are fetched when they are asked for."""
    return cloned(made(place / "upstream"), place / "project", "--filter=blob:none")


def without_trees(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Old trees that are fetched when they are asked for, from an address that is relative."""
    project = cloned(made(place / "upstream"), place / "project", "--filter=tree:0")
    project.git("remote", "set-url", "origin", "../upstream")
    return project


def over_ssh(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Old contents that a command of the user's own fetches."""
    project = without_blobs(place, monkeypatch)
    project.git("remote", "set-url", "origin", f"somewhere:{place}/upstream")
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")
    (place / "ssh").write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    (place / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(place / "ssh"))
    return project


def alternates(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Objects that lie in another repository, at a relative path."""
    upstream = made(place / "upstream")
    project = cloned(upstream, place / "project", "--reference", str(upstream.root))
    (project.root / ".git/objects/info/alternates").write_text("../../../upstream/.git/objects\n")
    return project


def linked(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A worktree of a bare repository."""
    upstream = made(place / "upstream")
    subprocess.run(["git", "clone", "--quiet", "--bare", str(upstream.root), str(place / "bare")], check=True)
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(place / "project")], cwd=place / "bare", check=True)
    return configured(Project.of(place / "project"), {"core.autocrlf": "true"})


def a_submodule(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository that is a submodule of another one."""
    upstream, outer = made(place / "upstream"), Project(place / "outer")
    outer.git("submodule", "--quiet", "add", str(upstream.root), "project")
    return Project.of(outer.root / "project")


def odd_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A path with every character that configurations and lists of paths read as their own."""
    (place / 'a "b" #;\\ \u00fc').mkdir()
    return local_filter(place / 'a "b" #;\\ \u00fc', monkeypatch)


def replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A commit in whose place git shows another one."""
    project = made(place / "project")
    project.git("replace", "v1", "HEAD")
    return project


SITUATIONS: list[Callable[[Path, pytest.MonkeyPatch], Project]] = [
    local_filter, private_attributes, line_ends, filter_with_key, included, included_by_place, by_environment, of_one_worktree, sparse,
    sha256, shallow, without_blobs, without_trees, over_ssh, alternates, linked, a_submodule, replaced, odd_path,
]  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS, ids=[each.__name__ for each in SITUATIONS])
def test_a_checkout_is_what_a_worktree_would_be(
    situation: Callable[[Path, pytest.MonkeyPatch], Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are those of `git worktree add`, git finds nothing changed in it, and nothing is written into the user's repository."""
    project = situation(tmp_path, monkeypatch)
    folder = Path(project.git("rev-parse", "--path-format=absolute", "--git-common-dir"))
    before = inside(folder), inside(project.root)
    base, head = both(project)
    assert (inside(folder), inside(project.root)) == before
    for checkout, revision in ((base, "v1"), (head, "HEAD")):
        worktree = tmp_path / f"worktree-{checkout.side}"
        project.git("worktree", "add", "--quiet", "--detach", str(worktree), revision)
        assert files(checkout.root) == files(worktree)
        assert Project.of(checkout.root).git("status", "--porcelain") == ""
        for question in (("describe", "--tags", "--always"), ("rev-list", "HEAD")):  # what tools ask for a version
            assert Project.of(checkout.root).git(*question) == Project.of(worktree).git(*question)


def has_submodule(project: Project, other: str) -> None:
    """Add a repository that lies beside the project to it, by a relative address."""
    project.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"../{other}", other)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, its submodule, that one's own, which have one commit of the submodule in v1 and another one now; and a clone of them."""
    template = tmp_path_factory.mktemp("template")
    place = template / "upstream"
    place.mkdir()
    made(place / "inner")
    lib = Project(place / "lib")
    has_submodule(lib, "inner")
    project = made(place / "project")
    for text in ("one\n", "two\n"):
        lib.write("lib.txt", text)
        commit = lib.commit()
        if text == "one\n":
            has_submodule(project, "lib")
            project.commit()
            project.git("tag", "--force", "v1")
    Project.of(place / "project/lib").git("pull", "--quiet")
    assert Project.of(place / "project/lib").git("rev-parse", "HEAD") == commit
    project.commit()
    cloned(project, template / "project", "--recurse-submodules")
    return template


@pytest.fixture
def upstream(template: Path, tmp_path: Path) -> Project:
    """The project that has a submodule, where it is cloned from; beside its folder lies a clone with everything."""
    shutil.copytree(template, tmp_path, symlinks=True, dirs_exist_ok=True)
    for config in tmp_path.rglob("config"):
        if config.is_file():
            config.write_text(config.read_text().replace(str(template), str(tmp_path)))
    return Project.of(tmp_path / "upstream/project")


@pytest.fixture
def complete(upstream: Project) -> Project:
    """The clone with everything."""
    return Project.of(upstream.root.parents[1] / "project")


@pytest.mark.parametrize("is_worktree", [False, True], ids=["main", "worktree"])
def test_submodules_come_from_those_of_the_user(complete: Project, tmp_path: Path, is_worktree: bool) -> None:
    """With their own ones, at the commit of each version, with their own settings, and where nothing can be fetched."""
    if is_worktree:
        complete.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "beside"))
        complete = Project.of(tmp_path / "beside")
        complete.git("submodule", "--quiet", "update", "--init", "--recursive")
    lib = configured(Project.of(complete.root / "lib"), {"core.autocrlf": "true"})
    before = inside(complete.root)
    shutil.rmtree(tmp_path / "upstream")
    base, head = both(complete)
    assert [files(each.home)["lib/lib.txt"] for each in (base, head)] == [b"one\r\n", b"two\r\n"]
    assert [files(each.home)["lib/inner/a.txt"] for each in (base, head)] == [b"two\n", b"two\n"]
    assert [Project.of(each.home).git("status", "--porcelain") for each in (base, head)] == ["", ""]
    assert Project.of(head.home / "lib").git("rev-parse", "HEAD") == lib.git("rev-parse", "HEAD")
    assert inside(complete.root) == before


def test_submodules_are_kept_with_their_version(complete: Project) -> None:
    """What an installation made in them is there the next time, and their own files are restored."""
    home = both(complete)[0].home
    (home / "lib/made.so").write_text("made")
    (home / "lib/lib.txt").write_text("by a test")
    assert files(both(complete)[0].home)["lib/made.so"] == b"made"
    assert files(home)["lib/lib.txt"] == b"one\n"


def test_a_submodule_that_the_user_has_empty_stays_empty(
    upstream: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In both versions, which is told: the user's own tests run without its files."""
    project = cloned(upstream, tmp_path / "fresh")
    found = both(project)
    assert [sorted(files(each.home)) for each in found] == [[".gitmodules", "a.txt", "folder/b.txt"]] * 2
    monkeypatch.chdir(project.root)
    assert main(["ab", "v1", "--same-env", "--json", "none/ab.json"]) == 2
    assert "the submodule lib is empty in your working tree and so in both versions" in capsys.readouterr().err


def test_a_submodule_of_the_past_is_taken_from_where_git_keeps_it(complete: Project, tmp_path: Path) -> None:
    """One that the working tree has no more is in the git folder, and nothing is fetched."""
    complete.git("rm", "--quiet", "lib")
    complete.commit()
    shutil.rmtree(tmp_path / "upstream")
    base, head = both(complete)
    assert files(base.home)["lib/lib.txt"] == b"one\n"
    assert files(base.home)["lib/inner/a.txt"] == b"two\n"
    assert not (head.home / "lib").exists()


@pytest.mark.parametrize("remote", ["origin", "other", ""])
def test_a_submodule_that_is_not_here_is_fetched(upstream: Project, tmp_path: Path, remote: str) -> None:
    """By an address that is relative to that of the user's remote, or to the user's repository where it has none."""
    upstream.git("rm", "--quiet", "lib")
    upstream.commit()
    if remote:
        project = cloned(upstream, tmp_path / "fresh", f"--origin={remote}")
    else:
        project = upstream
        shutil.rmtree(project.root / ".git/modules")
        project.git("config", "--remove-section", "submodule.lib")
    assert files(both(project)[0].home)["lib/lib.txt"] == b"one\n"
    assert files(both(project)[0].home)["lib/inner/a.txt"] == b"two\n"


def test_a_submodule_that_cannot_be_had_is_refused(upstream: Project, tmp_path: Path) -> None:
    """The message names it and the version, says what git said and how to leave it out, which works."""
    upstream.git("rm", "--quiet", "lib")
    upstream.commit()
    project = cloned(upstream, tmp_path / "fresh")
    shutil.rmtree(tmp_path / "upstream/lib")
    with pytest.raises(UsageError, match=r"v1 cannot be checked out .*\n?.*the submodule lib is not here") as caught:
        both(project)
    assert "upstream/lib" in str(caught.value)
    assert "git config submodule.lib.update none leaves it out" in str(caught.value)
    project.git("config", "submodule.lib.update", "none")
    assert "lib/lib.txt" not in files(both(project)[0].home)


def test_a_submodule_that_is_deleted_is_deleted(complete: Project) -> None:
    """In the working tree; the base has it."""
    complete.git("rm", "--quiet", "lib")
    base, head = both(complete)
    assert (base.home / "lib/lib.txt").exists()
    assert not (head.home / "lib").exists()


def test_old_contents_that_cannot_be_fetched_are_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what git said, and not a traceback."""
    project = without_blobs(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "upstream")
    with pytest.raises(UsageError, match=r"v1 cannot be checked out as your repository has it: git checkout failed (.|\n)*upstream"):
        both(project)


def test_a_filter_that_fails_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not files without it in both arms."""
    project = local_filter(tmp_path, monkeypatch)
    project.git("config", "filter.loud.smudge", "false")
    with pytest.raises(UsageError, match="smudge filter loud failed"):
        both(project)


def test_another_configuration_makes_another_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout from before a filter was there is not taken for one with it."""
    project = local_filter(tmp_path, monkeypatch)
    project.git("config", "filter.loud.smudge", "cat")
    assert [files(each.home)["folder/b.txt"] for each in both(project)] == [b"b\n"] * 2
    configured(project, FILTERED)
    assert [files(each.home)["folder/b.txt"] for each in both(project)] == [b"B\n"] * 2


def test_settings_at_a_relative_path_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the folder where the comparison was asked for, and not of a checkout."""
    project = included_by_place(tmp_path, monkeypatch)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "../global")
    monkeypatch.chdir(project.root)
    assert [files(each.home)["folder/b.txt"] for each in both(project)] == [b"B\n"] * 2


def test_a_kept_checkout_has_the_refs_of_now(tmp_path: Path) -> None:
    """A tag that came later is in it, which tools ask for a version."""
    project = made(tmp_path / "project")
    both(project)
    project.git("tag", "v2")
    assert Project.of(both(project)[1].home).git("describe", "--tags") == "v2"


def test_no_hook_runs_in_a_checkout(tmp_path: Path) -> None:
    """Neither one of the repository nor one that the configuration names: they act on the user's things."""
    project = made(tmp_path / "project")
    hook = project.root / "hooks/post-checkout"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    shutil.copy(hook, project.root / ".git/hooks/post-checkout")
    both(project)
    project.git("config", "core.hooksPath", str(project.root / "hooks"))
    both(project)
    assert not (tmp_path / "ran").exists()


def test_a_repository_that_git_does_not_trust_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With git's own words; where the user trusts it, by the environment for example, it is compared."""
    project = made(tmp_path / "project")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UsageError, match=r"dubious ownership (.|\n)*safe\.directory"):
        both(project)
    for name, value in {"COUNT": "1", "KEY_0": "safe.directory", "VALUE_0": "*"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert files(both(project)[0].home)["a.txt"] == b"one\n"


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"])
def test_what_a_hook_says_about_its_repository_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The comparison is of the folder where it was asked for."""
    project, other = made(tmp_path / "project"), made(tmp_path / "other")
    monkeypatch.setenv(name, str(other.root / ".git"))
    found = both(project)
    monkeypatch.delenv(name)
    assert files(found[0].home) == {"a.txt": b"one\n", "folder/b.txt": b"b\n"}
    assert found[0].commit == project.git("rev-parse", "v1")


def test_a_history_that_is_cut_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that a shallow clone does not have is no typing error."""
    project = shallow(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="git fetch --unshallow brings the rest"):
        check_out(find_repository(project.root), "base", "main~2")


def test_a_cache_in_the_project_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where CI keeps nothing but what lies in its checkout."""
    project = made(tmp_path / "project")
    monkeypatch.setenv(VARIABLE, str(project.root / ".cache"))
    (project.root / ".cache").mkdir()
    (project.root / ".cache/choices.json").write_text("{}")
    for _ in range(2):
        found = both(project)[1]
        assert found.commit == project.git("rev-parse", "HEAD")
        assert not (found.home / ".cache").exists()
