"""Help pages: on one screen, each with an example that can be typed."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from musicfs.__main__ import parser


def pages(above: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Give every verb's words and help page."""
    yield " ".join(words), above.format_help()
    for action in above._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from pages(below, (*words, name))


PAGES = dict(pages(parser(())))


@pytest.mark.parametrize("words", PAGES)
def test_a_page_fits_a_screen_and_ends_in_an_example(words: str) -> None:
    """24 lines of 80 columns, and the last lines are a command of this verb that its parser takes."""
    lines = PAGES[words].splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    examples = lines[lines.index("example:") + 1 :]
    assert examples
    for example in examples:
        typed = example.split("#")[0].partition(" && ")[0].partition(" > ")[0].rpartition(" | ")[2]
        found = shlex.split(typed)
        found = found[found.index("musicfs") + 1 :]
        if words:
            assert found[: len(words.split())] == words.split()
            parser(()).parse_args(found)


def test_every_verb_says_what_it_does_in_a_line() -> None:
    """The top page names each with a few words that fit beside it."""
    top = PAGES[""].splitlines()
    for words in PAGES:
        if words and " " not in words:
            (line,) = [line for line in top if line.startswith(f"  {words} ")]
            assert len(line) > 20
