"""How a verb presents itself: a help page that fits a screen and ends in an example.

How it thinks: argparse has the words, this the layout: 80 columns whatever the terminal, options on one
line each, the example as it was written. The man page and the completions (packaging/) read the same
parsers.
What must always be true: every verb has an example; no page is longer than 24 lines (tests/commands/
test_page.py looks).
"""

from __future__ import annotations

import argparse
from collections.abc import Generator

from musicfs.commands.options import Verbs

WIDTH = 80
"""Columns."""


class Page(argparse.RawDescriptionHelpFormatter):
    """The layout."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH)

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:
        """List sub-commands flush with the options."""
        get = getattr(action, "_get_subactions", None)
        yield from get() if get is not None else ()

    def _format_action(self, action: argparse.Action) -> str:
        """Leave the line out that says `COMMAND` above the commands."""
        if isinstance(action, argparse._SubParsersAction):
            return "".join(self._format_action(one) for one in self._iter_indented_subactions(action))
        return super()._format_action(action)


def verb(verbs: Verbs, name: str, says: str, example: str) -> argparse.ArgumentParser:
    """Add a verb; `says` is half a sentence, `example` one line or more as a person would type them."""
    indented = "\n".join(f"  {line}" for line in example.strip().splitlines())
    return verbs.add_parser(
        name,
        help=says,
        description=f"{says[0].upper()}{says[1:]}.",
        epilog=f"example:\n{indented}",
        formatter_class=Page,
    )
