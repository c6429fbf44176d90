"""The command line as values: what the man page and the completions are made of.

How it thinks: argparse's own parsers are walked once; nothing is written down a second time. What a word
on the command line stands for is read off its metavar.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from musicfs.__main__ import parser
from musicfs.config import Settings


class Takes(Enum):
    """What a word stands for."""

    NOTHING = auto()
    FILE = auto()
    FOLDER = auto()
    SETTING = auto()
    LEVEL = auto()
    FORMAT = auto()
    OTHER = auto()


KINDS = {
    "FILE": Takes.FILE,
    "PATH": Takes.FILE,
    "ACCOUNT|PATH": Takes.FILE,
    "MOUNTPOINT": Takes.FOLDER,
    "OPT,…": Takes.SETTING,
    "LEVEL": Takes.LEVEL,
    "FORMAT": Takes.FORMAT,
}
WORDS = {Takes.LEVEL: "debug info warning error", Takes.FORMAT: "text json"}
SETTINGS = Settings.__struct_fields__


@dataclass(frozen=True)
class Option:
    """One option."""

    names: tuple[str, ...]
    metavar: str
    says: str
    takes: Takes
    often: bool
    """Whether it may be given more than once."""


@dataclass(frozen=True)
class Verb:
    """A command, or the program itself (no words)."""

    words: tuple[str, ...]
    says: str
    usage: str
    example: tuple[str, ...]
    options: tuple[Option, ...]
    takes: Takes
    """What its arguments are."""
    verbs: tuple[Verb, ...]

    @property
    def name(self) -> str:
        """Its last word."""
        return self.words[-1] if self.words else "musicfs"

    def all(self) -> Iterator[Verb]:
        """Give it and every verb below it."""
        yield self
        for verb in self.verbs:
            yield from verb.all()


def program() -> Verb:
    """Read the whole command line."""
    return _read(parser(()), (), "")


def _read(described: argparse.ArgumentParser, words: tuple[str, ...], says: str) -> Verb:
    options: list[Option] = []
    verbs: list[Verb] = []
    takes = Takes.NOTHING
    for action in described._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            verbs += [_read(below, (*words, name), helps[name]) for name, below in action.choices.items()]
        elif action.option_strings:
            options.append(_option(action))
        else:
            takes = KINDS.get(str(action.metavar), Takes.OTHER)
    usage = " ".join(described.format_usage().removeprefix("usage: ").split()).replace(" [-h]", "")
    example = tuple(line.strip() for line in (described.epilog or "").splitlines()[1:])
    return Verb(words, says, usage, example, tuple(options), takes, tuple(verbs))


def _option(action: argparse.Action) -> Option:
    metavar = str(action.metavar or "") if action.nargs != 0 else ""
    takes = KINDS.get(metavar, Takes.OTHER) if metavar else Takes.NOTHING
    often = isinstance(action, argparse._AppendAction)
    says = "show this help and end" if "--help" in action.option_strings else action.help or ""
    return Option(tuple(action.option_strings), metavar, says, takes, often)
