"""Small git repositories that the tests of the A/B make."""

from __future__ import annotations

import subprocess
from pathlib import Path

WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


class Project:
    """A repository with a branch main."""

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        root.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", *options)

    @classmethod
    def of(cls, root: Path) -> Project:
        """Return the one that is there."""
        found = cls.__new__(cls)
        found.root = root
        return found

    def git(self, *arguments: str) -> str:
        """Run git in it, and return what it says."""
        ran = subprocess.run(["git", *WHO, *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> str:
        """Commit everything, and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return self.git("rev-parse", "HEAD")

    def state(self) -> tuple[str, str, str]:
        """Return what the user would notice: status, worktrees, and branches."""
        return self.git("status", "--porcelain=v2"), self.git("worktree", "list"), self.git("for-each-ref")
