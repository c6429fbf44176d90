"""The figures as people read them: a Markdown table of goals, the medians behind it, and JSON.

How it thinks: a line a goal, in the issue's order: what was wanted, what came out, from which medians, and
whether that is enough. Below it, for whoever doubts, a table a row with everybody's medians.

What must always be true: what was not measured is said, not left out.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.book import Page, Row, judge, plain


def number(value: float) -> str:
    """Write a figure with as many digits as it deserves."""
    if value != value or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def goals(rows: Sequence[Row], pages: Mapping[str, Page]) -> Iterator[str]:
    """Give the table of goals, a line at a time."""
    yield "| work | measured | goal | figure | from the medians | met |"
    yield "| --- | --- | ---: | ---: | --- | :---: |"
    for row in rows:
        page, work = pages.get(row.key), row.work
        if page is None or page.left_out:
            yield f"| {work} | left out: {page.left_out if page else 'not asked for'} | | | | – |"
            continue
        for goal in row.goals:
            verdict = judge(goal, page)
            figure = "–" if verdict.value is None else number(verdict.value)
            sign = "≥" if goal.at_least else "≤"
            met = "yes" if verdict.met else "no"
            wanted = f"{sign} {number(goal.limit)}"
            yield f"| {work} | {goal.what} | {wanted} | {figure} | {verdict.detail} | {met} |"
            work = ""
        for failure in page.failures:
            yield f"| {work} | failed: {failure} | | | | no |"
            work = ""


def medians(page: Page) -> Iterator[str]:
    """Give one row's medians: a line for each who took part, a column for each thing counted."""
    everybody = list(dict.fromkeys(who for figures in page.figures.values() for who in figures))
    yield f"| | {' | '.join(page.figures)} |"
    yield "| --- |" + " ---: |" * len(page.figures)
    for who in everybody:
        cells = [number(page.median(who, what)) if who in of else "" for what, of in page.figures.items()]
        rounds = max(len(of.get(who, ())) for of in page.figures.values())
        yield f"| {who} (n={rounds}) | {' | '.join(cells)} |"


def markdown(rows: Sequence[Row], pages: Mapping[str, Page], about: str) -> str:
    """Give the whole report."""
    lines = [about, "", *goals(rows, pages), ""]
    for row in rows:
        if row.key in pages and pages[row.key].figures:
            lines += [f"**{row.key}**: {row.work}", "", *medians(pages[row.key]), ""]
    return "\n".join(lines)


BEGIN, END = "<!-- bench: what follows is written by scripts/bench --docs -->", "<!-- bench: end -->"


def into(document: str, text: str) -> str:
    """Put the report where a document keeps it.

    Raises:
        ValueError: the document has no such place.
    """
    before, found, rest = document.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the document lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def surroundings(rounds: int, user: str, root: bool) -> str:
    """Say on what, by whom and how often it was measured."""
    name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    helped = "root at hand for caches and read-ahead" if root else "no root at hand"
    return (
        f"{rounds} rounds, medians; as {user}, {helped}; {os.cpu_count()} CPUs, kernel {platform.release()}, "
        f"{name}, Python {platform.python_version()}, load {os.getloadavg()[2]:.1f} (a quarter of an hour)."
    )


def write_json(pages: Mapping[str, Page], about: str, path: Path) -> None:
    """Write every figure of every round."""
    path.write_text(json.dumps({"about": about, "rows": plain(pages)}, indent=1) + "\n")
