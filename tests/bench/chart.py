"""The picture for `docs/`: some of the figures as bars, drawn as SVG by hand.

How it thinks: a panel is one thing counted, a bar for each who did it, all bars of a panel to one scale,
with the figure beside it. Ours is drawn in one colour, everybody else's in another. Text is text, so that
it can be searched and read aloud.

What must always be true: a panel without figures is left out; nothing in it needs a font, a script or a
network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.bench.book import US, Page
from tests.bench.report import number


@dataclass(frozen=True, slots=True)
class Panel:
    """One thing counted, as it is drawn."""

    row: str
    what: str
    title: str


PANELS = (
    Panel(
        "cold-apart",
        "seconds",
        "One cold 50 MB wav, 40 ms, 100 Mbit/s a connection: seconds (less is better)",
    ),
    Panel("loopback", "MB/s", "The same on loopback: MB/s (more is better)"),
    Panel("https", "MB/s", "The same over https: MB/s (more is better)"),
    Panel("first-bytes", "KiB moved", "First 4 KiB of a file: KiB moved (less is better)"),
    Panel("random", "seconds", "100 random 64 KiB reads, 40 ms: seconds (less is better)"),
    Panel("random", "bytes fetched / read", "The same: bytes fetched for each byte read (less is better)"),
    Panel("again", "page cache, MB/s", "The same file again, from the page cache: MB/s (more is better)"),
    Panel("again", "after remount, MB/s", "After a remount: MB/s (more is better)"),
    Panel("readers", "seconds", "Copying 40 mp3 with four readers, 40 ms: seconds (less is better)"),
    Panel("cp", "seconds", "Copying 40 mp3 with one cp -r, 40 ms: seconds (less is better)"),
)

_WIDTH, _LABEL, _BAR, _GAP, _TITLE, _EDGE = 760, 150, 18, 5, 26, 16  # pixels
_LONGEST = _WIDTH - _LABEL - 2 * _EDGE - 80  # pixels: room for the figure beside the longest bar
_LOOK = 'font-family="sans-serif" font-size="13" role="img" aria-label="musicfs beside its peers"'
_OURS, _THEIRS, _INK, _PAPER = "#2f6f4f", "#9aa7b0", "#1f2328", "#ffffff"


def draw(pages: Mapping[str, Page]) -> str:
    """Give the chart as SVG."""
    top, parts = _EDGE, list[str]()
    for panel in PANELS:
        page = pages.get(panel.row)
        if page is None or US not in page.figures.get(panel.what, {}):
            continue
        parts += _panel(panel, page, top)
        top += _TITLE + len(page.figures[panel.what]) * (_BAR + _GAP) + _EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" '
        f'height="{top}" {_LOOK}>'
    )
    paper = f'<rect width="{_WIDTH}" height="{top}" fill="{_PAPER}"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])


def _panel(panel: Panel, page: Page, top: int) -> Iterator[str]:
    values = {who: page.median(who, panel.what) for who in page.figures[panel.what]}
    longest = max(values.values()) or 1.0
    yield f'<text x="{_EDGE}" y="{top + 14}" fill="{_INK}" font-weight="bold">{escape(panel.title)}</text>'
    for place, (who, value) in enumerate(values.items()):
        y = top + _TITLE + place * (_BAR + _GAP)
        length = max(1.0, value / longest * _LONGEST)
        fill = _OURS if who.startswith(US) else _THEIRS
        left, base = _EDGE + _LABEL, y + 13
        yield f'<text x="{left - 8}" y="{base}" fill="{_INK}" text-anchor="end">{escape(who)}</text>'
        yield f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{fill}"/>'
        yield f'<text x="{left + length + 6:.1f}" y="{base}" fill="{_INK}">{number(value)}</text>'
