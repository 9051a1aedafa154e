"""Two versions of one project side by side, as git has them; the user's repository and working tree are only read.

A version is checked out into a folder of the cache, into a repository that borrows from the user's (`git`), at paths of the same length for
both, because the length of a path moves what the processes keep in memory. The working tree is a checkout as well, with the files as they
are now: what is edited while the comparison runs does not get into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.cache import cache_folder
from mlbench.errors import FileError, MissingExtraError, UsageError
from mlbench.files import write_atomically
from mlbench.studies.ab.git import Source, fill, git, listed, shape, source_of

WORKING_TREE = "working tree"
RESULTS = "mlbench-results"
"""Where our commands put what they make, unless they are told otherwise."""
_MARK = "mlbench-commit"
_ASIDE = frozenset({"conftest", "setup", "noxfile", "tasks", "tests", "test", "docs", "doc", "benchmarks", "benchmark", "bench", "examples",
                    "vendor", "_vendor", "third_party", "node_modules"})  # fmt: skip
"""Modules and folders that are not what a project's tests import as the project."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One version of the project.

    Attributes:
        side: `base` or `head`.
        revision: what the user called it.
        commit: its hash; of the working tree, the commit it grew from, followed by a hash of what differs where something does.
        home: folder of the project in it, where its commands run.
        root: folder of its repository.
        empty: paths of submodules that stay empty, as they are in the user's working tree.
    """

    side: str
    revision: str
    commit: str
    home: Path
    root: Path
    empty: tuple[str, ...] = ()

    @property
    def mark(self) -> Path:
        """A file for what was made of these files, such as where they are installed; it is gone when the checkout is made anew."""
        return self.root / ".git" / "mlbench-installed"


@dataclass(frozen=True, slots=True)
class Repository:
    """The user's repository.

    Attributes:
        root: of its working tree.
        prefix: folder of the project in it, `.` where that is the root.
        place: folder of the cache that belongs to it.
    """

    root: Path
    prefix: Path
    place: Path


def find_repository(folder: Path) -> Repository:
    """Return the repository that the folder lies in.

    Raises:
        UsageError: when git is not there or knows of none.
    """
    root = Path(git(folder, "rev-parse", "--show-toplevel"))
    prefix = Path(git(folder, "rev-parse", "--show-prefix") or ".")
    name = hashlib.sha256(str(root / prefix).encode()).hexdigest()[:12]
    return Repository(root, prefix, cache_folder().resolve() / "ab" / f"{root.name}-{name}")


@contextlib.contextmanager
def held(repository: Repository) -> Iterator[None]:
    """Keep a second comparison of the same project from using the same folders.

    Raises:
        UsageError: when one is under way.
        FileError: where this file system has no locks.
        MissingExtraError: without filelock.
    """
    try:
        filelock = importlib.import_module("filelock")
    except ImportError as error:
        raise MissingExtraError("a comparison of two versions", "filelock") from error
    path = repository.place / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise UsageError(f"another comparison of {repository.root.name} is under way; wait for it, or end it") from None
    except (OSError, NotImplementedError) as error:
        raise FileError(f"{path}: cannot be locked ({getattr(error, 'strerror', None) or error})") from error
    try:
        yield
    finally:
        lock.release()


def check_out(repository: Repository, side: str, revision: str | None, apart: Collection[Path] = ()) -> Checkout:
    """Put a revision, or for None the working tree, into its folder of the cache, in place of what was there.

    Where that has been the same already, its files are restored and those that git does not know are left: an installation may have made
    them, such as extensions and files that hold the version.

    Args:
        repository: the user's.
        side: `base` or `head`.
        revision: a branch, a tag, a commit; None for the working tree.
        apart: files and folders that are not the project's, because this run writes them; untracked ones are left out of a working tree.

    Raises:
        UsageError: when git does not know the revision, or cannot check it out.
    """
    source = source_of(repository.root)
    commit = _commit(repository.root, "HEAD" if revision is None else revision)
    own = (repository.root / repository.prefix / RESULTS, cache_folder(), *apart)
    changed = _changed(repository.root, own) if revision is None else []
    name = commit + _suffix(repository.root, changed)
    target = repository.place / side
    mark = target / ".git" / _MARK
    marked = f"{name} {shape(source)}"
    is_kept = mark.exists() and mark.read_text(encoding="utf-8") == marked
    try:
        empty = _fill(source, target, commit, is_kept=is_kept)
    except UsageError as error:
        raise UsageError(f"{revision or WORKING_TREE} cannot be checked out as your repository has it: {error}") from error
    _mirror(repository.root, target, changed)
    write_atomically(mark, marked)
    home = target / repository.prefix
    if not home.is_dir():
        raise UsageError(f"{revision or WORKING_TREE} has no folder {repository.prefix}; run where both versions have the project")
    return Checkout(side, revision or WORKING_TREE, name, home, target, empty)


def packages(home: Path) -> tuple[tuple[str, ...], Path]:
    """Return the names of the packages and modules of a project in its checkout, and the folder for the path: `src`, or its root.

    A package is a folder with an `__init__.py`. Where none lies in `src` or the root, those that lie deeper count, by their own name and by
    the one they have in a namespace: what the tests import under such a name must come from the checkout.
    """
    place = home / "src" if (home / "src").is_dir() else home
    names = listed(home, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    files = [home / name for name in names if name.endswith(".py") and (home / name).is_file()]
    inits = {file.parent for file in files if file.name == "__init__.py"}
    tops = {each for each in inits - {home} if each.parent not in inits and not _ASIDE & set(each.relative_to(home).parts)}
    found = {each.name for each in tops if each.parent in (place, home)}
    if not found:
        base = {each: place if place in each.parents else home for each in tops}
        found = {name for each in tops for name in (each.name, ".".join(each.relative_to(base[each]).parts))}
    found |= {file.stem for file in files if file.parent == place}
    return tuple(sorted(found - _ASIDE - {"__init__"} - sys.stdlib_module_names)), place


def is_installable(home: Path) -> bool:
    """Whether a project says how it is built or what it is called, so that an installed copy of it may exist."""
    settings = home / "pyproject.toml"
    told = settings.read_text(encoding="utf-8", errors="replace") if settings.exists() else ""
    return any(f"[{name}]" in told for name in ("project", "build-system", "tool.poetry")) or (home / "setup.py").exists()


def _commit(root: Path, name: str) -> str:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except UsageError:
        is_shallow = git(root, "rev-parse", "--is-shallow-repository") == "true"
        more = "; its history is cut off, and git fetch --unshallow brings the rest" if is_shallow else ""
        expected = f"a branch, a tag, a commit, or main~3 was expected{more}"
        raise UsageError(f"git knows no revision {name!r} in {root.name}; {expected}") from None


def _fill(source: Source, target: Path, commit: str, *, is_kept: bool) -> tuple[str, ...]:
    try:
        return fill(source, target, commit, is_kept=is_kept)
    except UsageError:
        if not is_kept:
            raise
        return fill(source, target, commit, is_kept=False)  # what a killed run left in it, such as a lock, is gone then


def _changed(root: Path, apart: Collection[Path]) -> list[str]:
    """Return the files of the working tree that differ from HEAD, ignored ones and those apart left out."""
    how = ("--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=untracked")
    told = listed(root, "status", *how)  # diff would write the index
    others = [each[3:] for each in told if each.startswith("?? ")]
    changed = [each[3:] for each in told if not each.startswith("?? ")]
    for name in changed:
        if (root / name / ".git").exists():
            raise UsageError(f"the submodule {name} differs from what HEAD has; commit it there and here, or compare two revisions")
    inside = {place.resolve() for place in apart if root.resolve() in place.resolve().parents}
    ours = {place for place in inside if not listed(root, "ls-files", "-z", "--", str(place))}
    changed += [name for name in others if not ours & {(root / name).resolve(), *(root / name).resolve().parents}]
    return sorted(set(changed))


def _suffix(root: Path, changed: Sequence[str]) -> str:
    """Return what names these files as they are now, with their bits; nothing for no files."""
    digest = hashlib.sha256()
    for name in changed:
        source = root / name
        if _is_behind_a_link(root, name):
            continue
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        if source.is_symlink() or source.is_file():
            digest.update(os.fsencode(source.readlink()) if source.is_symlink() else source.read_bytes())
            digest.update(b"%o" % source.lstat().st_mode)
    return f"+{digest.hexdigest()[:12]}" if changed else ""


def _mirror(root: Path, target: Path, changed: Sequence[str]) -> None:
    """Make these files of the checkout those of the working tree."""
    for name in changed:  # all of them first: a file may have become a folder, and a folder a file
        if not (target / name).is_dir() or (target / name).is_symlink():
            (target / name).unlink(missing_ok=True)
        elif not os.path.lexists(root / name):  # a submodule that is gone
            shutil.rmtree(target / name)
    for name in changed:
        source, copy = root / name, target / name
        if not _is_behind_a_link(root, name) and (source.is_symlink() or source.is_file()):
            if copy.is_dir():
                shutil.rmtree(copy)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def _is_behind_a_link(root: Path, name: str) -> bool:
    """Whether a folder of it is a link now, so that git's file of this name is gone."""
    return any((root / parent).is_symlink() for parent in Path(name).parents)
