"""`python -m mlbench` is the command `mlbench`."""

from mlbench.cli import entry_point

if __name__ == "__main__":
    entry_point()
