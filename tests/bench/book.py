"""What was measured, and what was wanted of it.

How it thinks: a row of the benchmark is one kind of work, and its page holds every figure that was noted,
by who did it and what was counted, a figure a round. A goal is a question to the page (mostly: the ratio of
two medians) with a limit; its verdict is part of the table.

What must always be true: a goal whose figures are missing is not met and says which were missing; medians
are of whole rounds, so that a machine that was busy for one round does not decide.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

US = "musicfs"


class Missing(LookupError):
    """A figure that nobody measured."""


@dataclass(slots=True)
class Page:
    """The figures of one row."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """By what was counted, then by who did it: a figure a round."""
    failures: list[str] = field(default_factory=list)
    left_out: str = ""
    """Why it was not tried, if so."""

    def note(self, who: str, what: str, value: float) -> None:
        """Write one figure down."""
        self.figures.setdefault(what, {}).setdefault(who, []).append(value)

    def median(self, who: str, what: str) -> float:
        """Give the median over the rounds.

        Raises:
            Missing: nothing was noted.
        """
        try:
            return statistics.median(self.figures[what][who])
        except KeyError as missing:
            raise Missing(f"{what} of {who}") from missing

    def ratio(self, what: str, other: str, who: str = US) -> float:
        """Give the ratio of two medians."""
        below = self.median(other, what)
        return self.median(who, what) / below if below else float("inf")


Question = Callable[[Page], float]


@dataclass(frozen=True, slots=True)
class Goal:
    """One limit of the issue's table."""

    what: str
    """As a person reads it, with the peer or the unit."""
    ask: Question
    limit: float
    at_least: bool = False
    """The figure has to be above the limit, not below."""
    detail: Callable[[Page], str] = lambda page: ""
    """The medians behind it, for the table."""

    def met(self, value: float) -> bool:
        """Say whether a figure is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, and what came of it."""

    goal: Goal
    value: float | None
    detail: str

    @property
    def met(self) -> bool:
        """Say whether the goal is met; what was not measured is not."""
        return self.value is not None and self.goal.met(self.value)


def judge(goal: Goal, page: Page) -> Verdict:
    """Hold a page against a goal."""
    try:
        return Verdict(goal, goal.ask(page), goal.detail(page))
    except Missing as missing:
        return Verdict(goal, None, f"not measured: {missing}")


def versus(
    text: str,
    what: str,
    other: str,
    limit: float,
    *,
    at_least: bool = False,
    unit: str = "s",
    digits: int = 2,
) -> Goal:
    """Make the goal that our median is at most (or at least) `limit` times another's."""

    def detail(page: Page) -> str:
        ours, theirs = page.median(US, what), page.median(other, what)
        return f"{ours:.{digits}f} {unit} / {theirs:.{digits}f} {unit}"

    return Goal(text, lambda page: page.ratio(what, other), limit, at_least, detail)


def plainly(
    text: str,
    what: str,
    limit: float,
    *,
    who: str = US,
    at_least: bool = False,
    unit: str = "",
    digits: int = 2,
) -> Goal:
    """Make the goal that a median is at most (or at least) `limit`."""

    def detail(page: Page) -> str:
        return f"{page.median(who, what):.{digits}f} {unit}".rstrip()

    return Goal(text, lambda page: page.median(who, what), limit, at_least, detail)


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work."""

    key: str
    work: str
    """As a person reads it."""
    goals: tuple[Goal, ...]
    measure: Callable[[Any, Page], None]
    """Has everybody do it, round by round; gets the `Bench`."""
    needs_root: bool = False


def plain(pages: Mapping[str, Page]) -> dict[str, Any]:
    """Give everything as what JSON can hold."""
    return {key: {"figures": page.figures, "failures": page.failures} for key, page in pages.items()}
