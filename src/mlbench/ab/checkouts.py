"""Two versions of one project side by side, as git has them; the user's repository and working tree are only read.

A version is cloned with shared objects into a folder of the cache, at paths of the same length for both, because the length of a path moves
what the processes keep in memory. The working tree is a clone as well, with the files as they are now: what is edited while the comparison
runs does not get into it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.cache import cache_folder
from mlbench.errors import UsageError

WORKING_TREE = "working tree"
RESULTS = "mlbench-results"
"""Where our commands put what they make, unless they are told otherwise."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """One version of the project.

    Attributes:
        side: `base` or `head`.
        revision: what the user called it.
        commit: its hash; of the working tree, the commit it grew from, followed by a hash of what differs where something does.
        home: folder of the project in it, where its commands run.
    """

    side: str
    revision: str
    commit: str
    home: Path


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
    root = Path(_git(folder, "rev-parse", "--show-toplevel"))
    prefix = Path(_git(folder, "rev-parse", "--show-prefix") or ".")
    name = hashlib.sha256(str(root / prefix).encode()).hexdigest()[:12]
    return Repository(root, prefix, cache_folder().resolve() / "ab" / f"{root.name}-{name}")


@contextlib.contextmanager
def held(repository: Repository) -> Iterator[None]:
    """Keep a second comparison of the same project from using the same folders.

    Raises:
        UsageError: when one is under way.
    """
    repository.place.mkdir(parents=True, exist_ok=True)
    with (repository.place / "lock").open("w") as lock:
        try:
            import fcntl  # noqa: PLC0415  # not on Windows, where nothing keeps a second one out
        except ImportError:
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"another comparison of {repository.root.name} is under way; wait for it, or end it") from None
        yield


def check_out(repository: Repository, side: str, revision: str | None, apart: Collection[Path] = ()) -> Checkout:
    """Put a revision, or for None the working tree, into its folder of the cache, in place of what was there.

    Args:
        repository: the user's.
        side: `base` or `head`.
        revision: a branch, a tag, a commit; None for the working tree.
        apart: files and folders that are not the project's, because this run writes them; untracked ones are left out of a working tree.

    Raises:
        UsageError: when git does not know the revision, or cannot check it out.
    """
    commit = _commit(repository.root, "HEAD" if revision is None else revision)
    target = repository.place / side
    if target.exists():
        shutil.rmtree(target)
    _git(repository.root, "clone", "--quiet", "--shared", "--no-checkout", str(repository.root), str(target))
    _git(target, "checkout", "--quiet", "--detach", commit)
    if (target / ".gitmodules").exists():
        _git(target, "submodule", "update", "--quiet", "--init", "--recursive")
    if revision is None:
        commit += _mirror(repository.root, target, (repository.root / repository.prefix / RESULTS, *apart))
    home = target / repository.prefix
    if not home.is_dir():
        raise UsageError(f"{revision or WORKING_TREE} has no folder {repository.prefix}; run where both versions have the project")
    return Checkout(side, revision or WORKING_TREE, commit, home)


def packages(home: Path) -> tuple[tuple[str, ...], Path]:
    """Return the names of the packages and modules of a project, and the folder they lie in: `src`, or its root."""
    place = home / "src" if (home / "src").is_dir() else home
    found = [each.parent.name for each in place.glob("*/__init__.py")] + [each.stem for each in place.glob("*.py")]
    aside = {"conftest", "setup", "tests", "test", "docs", "benchmarks", "benchmark", "examples", "noxfile", "tasks"}
    return tuple(sorted(set(found) - aside)), place


def _commit(root: Path, name: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except UsageError:
        raise UsageError(f"git knows no revision {name!r} in {root.name}; a branch, a tag, a commit, or main~3 was expected") from None


def _mirror(root: Path, target: Path, apart: Collection[Path]) -> str:
    """Make the clone's files those of the working tree, ignored ones left out; return a suffix that says whether and how they differ."""
    changed = _listed(root, "diff", "--name-only", "--no-renames", "-z", "HEAD")
    ours = {place.resolve() for place in apart}
    others = _listed(root, "ls-files", "-z", "--others", "--exclude-standard")
    changed += [name for name in others if not ours & {(root / name).resolve(), *(root / name).resolve().parents}]
    digest, names = hashlib.sha256(), sorted(set(changed))
    for name in names:  # all of them first: a file may have become a folder, and a folder a file
        if not (target / name).is_dir() or (target / name).is_symlink():
            (target / name).unlink(missing_ok=True)
    for name in names:
        source, copy = root / name, target / name
        digest.update(name.encode(errors="surrogateescape") + b"\0")
        if source.is_symlink() or source.is_file():
            if copy.is_dir():
                shutil.rmtree(copy)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
            digest.update(os.fsencode(source.readlink()) if source.is_symlink() else source.read_bytes())
            digest.update(b"%o" % source.lstat().st_mode)
    return f"+{digest.hexdigest()[:12]}" if changed else ""


def _listed(root: Path, *arguments: str) -> list[str]:
    return [name for name in _git(root, *arguments).split("\0") if name]


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it says, without the variables by which a hook's git would point elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command: Sequence[str] = ("git", "-C", str(folder), *arguments)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False, env=environment)  # noqa: S603  # git
    except FileNotFoundError:
        raise UsageError("comparing two versions needs git, which is not on the path") from None
    if ran.returncode:
        raise UsageError(f"git {arguments[0]} failed in {folder}: {ran.stderr.strip() or f'exit code {ran.returncode}'}")
    return ran.stdout.rstrip("\n")
