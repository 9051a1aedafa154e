"""The version of mlbench. It is a module of its own so that no room imports the package root."""

__version__ = "0.1.0"
