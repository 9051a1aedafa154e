"""Repositories of ours that borrow from the user's: they hold what `git worktree add` would give, and the user's is only read.

A worktree is entered into the repository that it belongs to, and whatever runs in it can write there. So a checkout is a repository of its
own, made anew with an index and a HEAD. Everything else is borrowed from the user's: objects as alternates, the refs as they are now, where
a shallow history ends, attributes, excludes and sparse patterns. Of the configuration the files themselves are included: filters,
remotes, missing objects and credentials are looked up as git does it there, and no secret is copied.

Submodules are borrowed in the same way from those that the user has, so that nothing is fetched that is already there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.errors import UsageError

_MISLEADING = frozenset(
    f"GIT_{name}"
    for name in (
        "COMMON_DIR", "CONFIG", "DEFAULT_HASH", "DEFAULT_REF_FORMAT", "DIR", "GLOB_PATHSPECS", "GRAFT_FILE", "ICASE_PATHSPECS",
        "IMPLICIT_WORK_TREE", "INDEX_FILE", "INTERNAL_SUPER_PREFIX", "LITERAL_PATHSPECS", "NAMESPACE", "NOGLOB_PATHSPECS",
        "OBJECT_DIRECTORY", "PREFIX", "QUARANTINE_PATH", "SHALLOW_FILE", "WORK_TREE",
    )
)  # fmt: skip
"""Variables that a git sets for its hooks, and that would make ours work on its repository, or that change what paths mean."""
_SETTINGS = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
_FILES = ("shallow", "info/attributes", "info/exclude", "info/sparse-checkout")
"""Files of a git folder that decide what a checkout holds; git knows where they are for a worktree of the user's."""
_FOLDERS = frozenset({"NOTES_MERGE_WORKTREE", "branches", "fsmonitor--daemon", "hooks", "info", "lfs", "logs", "lost-found", "modules",
                      "objects", "rebase-apply", "rebase-merge", "refs", "reftable", "remotes", "rr-cache", "sequencer", "svn",
                      "worktrees"})  # fmt: skip
"""Folders of a git folder that are git's own, and that of Git LFS, which finds its files by the alternates."""
_SHAPING = re.compile(r"(core|filter|lfs|submodule)\.")
"""Settings that decide what a checkout holds."""
_BORROWED = "mlbench-config"
_QUIET = """\
[core]
\thooksPath = /dev/null
\tfsmonitor = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[submodule]
\trecurse = false
"""
"""No hook of the user's runs in a checkout, and nothing that goes on in the background while it is measured."""


@dataclass(frozen=True, slots=True)
class Source:
    """A repository of the user's.

    Attributes:
        folder: its git folder; of a worktree, that of the worktree.
        common: the git folder that all worktrees share.
        home: root of its working tree, or None for a submodule of which there is none.
    """

    folder: Path
    common: Path
    home: Path | None

    def ask(self, *arguments: str) -> str:
        """Return what git says of it; without a working tree, because that of a submodule may be gone, and without fetching anything."""
        return git(self.folder, f"--git-dir={self.folder}", f"--work-tree={self.folder}", *arguments, may_fetch=False)


def variables() -> dict[str, str]:
    """Return the environment variables without those by which a hook's git would point elsewhere, and with whole paths of settings."""
    found = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    return found | {name: str(Path.cwd() / found[name]) for name in _SETTINGS if found.get(name)}


def git(folder: Path, *arguments: str, may_fetch: bool = True) -> str:
    """Run git in a folder and return what it says; it takes no locks that it can do without.

    Raises:
        UsageError: when git is not there or fails.
    """
    environment = (
        variables() | {"GIT_OPTIONAL_LOCKS": "0", "GIT_DEFAULT_REF_FORMAT": "files"} | ({} if may_fetch else {"GIT_NO_LAZY_FETCH": "1"})
    )
    command: Sequence[str] = ("git", "-C", str(folder), *arguments)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False, env=environment)  # noqa: S603  # git
    except FileNotFoundError:
        raise UsageError("comparing two versions needs git, which is not on the path") from None
    if ran.returncode:
        verb = next(each for each in arguments if not each.startswith("-"))
        raise UsageError(f"git {verb} failed in {folder}: {ran.stderr.strip() or f'exit code {ran.returncode}'}")
    return ran.stdout.rstrip("\n")


def listed(folder: Path, *arguments: str) -> list[str]:
    """Return what git lists, of a command that ends each name with a NUL."""
    return [name for name in git(folder, *arguments).split("\0") if name]


def source_of(home: Path) -> Source:
    """Return the repository whose working tree this is.

    Raises:
        UsageError: when git knows of none, or does not trust it.
    """
    return _source(Path(git(home, "rev-parse", "--absolute-git-dir")), home)


def shape(source: Source) -> str:
    """Return a hash of what decides, beside the commit, which files a checkout holds and what is in them."""
    digest = hashlib.sha256()
    settings = source.ask("config", "--list", "-z").split("\0")
    for each in sorted(each for each in settings if _SHAPING.match(each)):
        digest.update(os.fsencode(each) + b"\0")
    for each in sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("GIT_LFS_")):
        digest.update(os.fsencode(each) + b"\0")
    for path in _paths(source, *_FILES):
        digest.update(path.read_bytes() + b"\1" if path.is_file() else b"\0")
    return digest.hexdigest()[:12]


def fill(source: Source, target: Path, commit: str, *, is_kept: bool) -> tuple[str, ...]:
    """Make the files of a checkout those of a commit, with those of its submodules.

    Args:
        source: the repository that has the commit.
        target: the checkout.
        commit: its hash.
        is_kept: whether the repository that is there is gone on with, and its untracked files left.

    Returns:
        paths of the submodules that stay empty, because they are so in the user's working tree.

    Raises:
        UsageError: when git cannot check it out, or a submodule is neither here nor to be had.
    """
    if not is_kept and target.exists():
        shutil.rmtree(target)
    _borrow(source, target)
    git(target, "checkout", "--quiet", "--force", "--detach", commit)
    empty: list[str] = []
    for module in _modules(target):
        if _is_left_empty(source, module):
            empty.append(module.path)
        else:
            empty += (f"{module.path}/{each}" for each in _fill_module(source, target, module, is_kept=is_kept))
    return tuple(empty)


@dataclass(frozen=True, slots=True)
class _Module:
    """A submodule: its path, the commit, and its name, by which `.gitmodules` and the configuration know it."""

    path: str
    commit: str
    name: str | None


def _source(folder: Path, home: Path | None) -> Source:
    common = Path(git(folder, f"--git-dir={folder}", f"--work-tree={folder}", "rev-parse", "--git-common-dir"))
    return Source(folder, folder / common, home)


def _paths(source: Source, *names: str) -> list[Path]:
    """Return where files of a git folder are."""
    asked = [each for name in names for each in ("--git-path", name)]
    return [source.folder / line for line in source.ask("rev-parse", *asked).split("\n")]


def _borrow(source: Source, target: Path) -> None:
    """Make the checkout a repository that has what the user's has, as it is now; an index and a HEAD that are there stay."""
    own = target / ".git"
    if not own.is_dir():  # a submodule that git fetched the last time has a file
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        form = source.ask("rev-parse", "--show-object-format")
        git(target, "init", "--quiet", "--template=", f"--object-format={form}")
        with (own / "config").open("a", encoding="utf-8") as config:
            config.write(f"[include]\n\tpath = {_BORROWED}\n")
    (own / "info").mkdir(exist_ok=True)
    objects, *files = _paths(source, "objects", *_FILES)
    (own / "objects" / "info" / "alternates").write_bytes(os.fsencode(f"{objects}\n"))
    refs = source.ask("for-each-ref", "--format=%(objectname) %(refname)")
    (own / "packed-refs").write_bytes(os.fsencode(f"{refs}\n" if refs else ""))
    for name, path in zip(_FILES, files, strict=True):
        (own / name).unlink(missing_ok=True)
        if path.is_file():
            shutil.copyfile(path, own / name)
    for each in source.common.iterdir():  # where filters keep what they need, such as the keys of git-crypt
        if each.is_dir() and each.name not in _FOLDERS and not os.path.lexists(own / each.name):
            (own / each.name).symlink_to(each, target_is_directory=True)
    _configure(source, target)


def _configure(source: Source, target: Path) -> None:
    """Let the checkout read the files of configuration that git reads in the user's repository."""
    place = target / ".git" / _BORROWED
    home = source.home or source.folder
    borrowed, own = "", f"[url {_quoted(f'{home.parent}/')}]\n\tinsteadOf = ../\n{_QUIET}"  # the address of a remote may be relative
    for file in _read(source.folder, source.ask("config", "--list", "--show-origin", "--name-only", "-z")):
        place.write_bytes(os.fsencode(borrowed + own))
        if file not in _read(target, git(target, "config", "--list", "--show-origin", "--name-only", "-z")):
            borrowed += f"[include]\n\tpath = {_quoted(str(file))}\n"
    place.write_bytes(os.fsencode(borrowed + own))
    remotes = git(target, "remote").split()
    if "origin" not in remotes:  # to which addresses of submodules are relative
        url = git(target, "remote", "get-url", remotes[0]) if remotes else str(home)
        place.write_bytes(os.fsencode(f'[remote "origin"]\n\turl = {_quoted(url)}\n{borrowed}{own}'))
    partial = source.ask("config", "--default", "", "--get", "extensions.partialClone")
    if partial:  # git looks for it in the first file only
        git(target, "config", "core.repositoryFormatVersion", "1")
        git(target, "config", "extensions.partialClone", partial)


def _read(folder: Path, told: str) -> list[Path]:
    """Return the files of configuration that git read in a folder, in their order."""
    origins = [each.removeprefix("file:") for each in told.split("\0")[:-1:2] if each.startswith("file:")]
    return [Path(os.path.realpath(folder / each)) for each in dict.fromkeys(origins)]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _modules(target: Path) -> Iterator[_Module]:
    """Yield the submodules of the commit that is checked out."""
    links = [each for each in listed(target, "ls-tree", "-r", "-z", "HEAD") if each.startswith("160000 ")]
    names = {}
    if links and (target / ".gitmodules").is_file():
        for each in listed(target, "config", "-z", "--file", ".gitmodules", "--list"):
            key, _, value = each.partition("\n")
            if key.startswith("submodule.") and key.endswith(".path"):
                names[value] = key.removeprefix("submodule.").removesuffix(".path")
    for each in links:
        told, _, path = each.partition("\t")
        yield _Module(path, told.split()[2], names.get(path))


def _is_left_empty(source: Source, module: _Module) -> bool:
    """Whether the user's own working tree has this submodule without its files."""
    home = source.home
    if home is None or (home / module.path / ".git").exists():
        return False
    return git(home, "--literal-pathspecs", "ls-files", "--stage", "--", module.path).startswith("160000 ")


def _fill_module(source: Source, target: Path, module: _Module, *, is_kept: bool) -> tuple[str, ...]:
    """Borrow a submodule from the user's, or fetch it where that lacks the commit."""
    found = _module_source(source, module)
    if found is not None:
        return fill(found, target / module.path, module.commit, is_kept=is_kept)
    if module.name is not None:  # else nobody knows where it comes from, and git leaves it empty
        try:
            git(target, "submodule", "update", "--quiet", "--init", "--recursive", "--force", "--", module.path)
        except UsageError as error:
            raise UsageError(
                f"the submodule {module.path} is not here at {module.commit[:12]}, and cannot be fetched: {error}\n"
                f"git fetch in it brings the commit, and git config submodule.{module.name}.update none leaves it out"
            ) from error
    return ()


def _module_source(source: Source, module: _Module) -> Source | None:
    """Return the user's repository of a submodule, if there is one that has the commit: where it is checked out, or where git keeps it."""
    places: list[tuple[Path, Path | None]] = []
    home = None if source.home is None else source.home / module.path
    if home is not None and (home / ".git").exists():
        places.append((source_of(home).folder, home))
    if module.name is not None and ".." not in Path(module.name).parts:
        places += [(each / "modules" / module.name, None) for each in (source.folder, source.common)]
    for folder, tree in places:
        if (folder / "HEAD").is_file():
            found = _source(folder, tree)
            if _has(found, module.commit):
                return found
    return None


def _has(source: Source, commit: str) -> bool:
    try:
        source.ask("cat-file", "-e", f"{commit}^{{commit}}")
    except UsageError:
        return False
    return True
