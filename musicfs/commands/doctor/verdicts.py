"""What the doctor finds: one thing looked at, how it stands, and what to do.

What must always be true: a thing that is wrong has a remedy; no verdict holds a token, a signed URL or an
e-mail address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from musicfs.commands import exits


class Standing(StrEnum):
    """How a thing stands."""

    GOOD = "good"
    NOTE = "note"
    """Not as it could be, and nothing fails by it."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was looked at."""

    name: str
    standing: Standing
    says: str
    remedy: str = ""
    code: int = exits.UNEXPECTED
    """With which code the command ends if this is what is wrong."""

    def told(self) -> dict[str, Any]:
        """Give it as plain values."""
        told = asdict(self)
        del told["code"]
        return told


def good(name: str, says: str) -> Verdict:
    """Say that a thing is as it should be."""
    return Verdict(name, Standing.GOOD, says)


def note(name: str, says: str, remedy: str = "") -> Verdict:
    """Say that a thing could be better."""
    return Verdict(name, Standing.NOTE, says, remedy)


def wrong(name: str, says: str, remedy: str, code: int = exits.UNEXPECTED) -> Verdict:
    """Say that a thing is wrong, and what to do."""
    return Verdict(name, Standing.WRONG, says, remedy, code)


def code_of(verdicts: Sequence[Verdict]) -> int:
    """Give the exit code: of the first thing that is wrong, 0 if none is."""
    return next((one.code for one in verdicts if one.standing is Standing.WRONG), exits.DONE)
