"""What the extra `report` brings: Jinja2 and Vega."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from mlbench.errors import MissingExtraError

EXTRA = "report"


def check_report_extra() -> None:
    """Refuse a report that could not be made, before anything is measured.

    Raises:
        MissingExtraError: without Jinja2 or vl-convert.
    """
    for module, package in (("jinja2", "jinja2"), ("vl_convert", "vl-convert-python")):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("the report", package, "report")


def optional(module: str, package: str) -> Any:  # the module
    """Return a module of the extra.

    Raises:
        MissingExtraError: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("the report", package, EXTRA) from error
