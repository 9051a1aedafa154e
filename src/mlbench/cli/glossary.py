"""`mlbench glossary`: what the words of the output mean."""

from __future__ import annotations

import argparse
import difflib
import textwrap

from mlbench.cli.options import EXIT_DONE, Commands, say, wrapped
from mlbench.errors import UsageError
from mlbench.units import paragraph


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "glossary",
        help="explain the words of the output",
        description=wrapped("Explain the words of the output and the columns of its tables: all of them, or those that are named."),
        epilog=textwrap.dedent("""\
            examples:
              mlbench glossary                     every word
              mlbench glossary floor "kept heap"   two of them"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="a word, or the head of a column")
    parser.set_defaults(act=_act)


def _act(options: argparse.Namespace) -> int:
    from mlbench.report.glossary import glossary  # noqa: PLC0415  # no other command needs it

    known = glossary()
    for word in options.words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=3) or ["floor", "cell", "kept heap"]
            raise UsageError(f"the glossary has no {word!r}; it has {', '.join(near)} and {len(known) - len(near)} more: mlbench glossary")
    for word in options.words or known:
        say(f"{word}\n{paragraph(f'  {known[word]}', '  ')}")
    return EXIT_DONE
