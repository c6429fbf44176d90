"""What the long tests counted: the last lines of a run, for a green dot does not say how much was done.

How it thinks: a test adds to a counter, or notes how long something took. With several workers each has its
own figures, handed over as plain data at its end and added to those of the process that prints.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

TRUST: Counter[str] = Counter()
"""Deaths, damages, bytes verified and so on, of `tests/trust/`."""

FAULTS: Counter[str] = Counter()
"""Faults, readings, bytes verified and so on, of `tests/faults/`."""

WORST: dict[str, float] = {"seconds": 0.0}
"""The longest that anything was waited for, in seconds, by what it was."""


def handed_over() -> dict[str, Any]:
    """Give all of it as plain data."""
    return {"trust": dict(TRUST), "faults": dict(FAULTS), "worst": dict(WORST)}


def take(theirs: dict[str, Any]) -> None:
    """Add what another process counted."""
    TRUST.update(theirs["trust"])
    FAULTS.update(theirs["faults"])
    for what, seconds in theirs["worst"].items():
        WORST[what] = max(WORST.get(what, 0.0), seconds)


def lines() -> Iterator[str]:
    """Say what was done, a line for each folder that did anything."""
    if TRUST:
        yield f"trust: {_told(TRUST)}"
    if FAULTS:
        waits = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in sorted(WORST.items()))
        yield f"faults: {_told(FAULTS)}; longest waits: {waits}"


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counted.items()))
