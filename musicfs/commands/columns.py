"""Small tables, for a terminal and for a pipe, and numbers as people read them.

How it thinks: a pipe gets plain aligned columns, no colour and no cutting; a terminal gets the same
through rich, which knows its width. Rich is imported only there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Table:
    """A heading, the names of the columns (all empty: none are shown), and the rows."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def draw(tables: Sequence[Table], stream: TextIO) -> None:
    """Print tables, richly on a terminal."""
    if stream.isatty():
        _draw_rich(tables, stream)
    else:
        stream.write("\n\n".join("\n".join(lines(table)) for table in tables) + "\n")


def lines(table: Table) -> Iterator[str]:
    """Write a table as plain lines with aligned columns."""
    if table.title:
        yield table.title
    rows = ([table.columns] if any(table.columns) else []) + list(table.rows)
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    indent = "  " if table.title else ""
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (indent + "  ".join(cells)).rstrip()


def _draw_rich(tables: Sequence[Table], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as Rich
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        if table.title:
            console.print(Text(table.title, style="bold"))
        drawn = Rich(box=None, show_header=any(table.columns), header_style="dim", pad_edge=bool(table.title))
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            # Text, because a song's title may look like rich's own markup.
            drawn.add_row(*(Text(cell) for cell in row))
        console.print(drawn)


def bytes_text(count: object) -> str:
    """Write a number of bytes with a binary unit; anything else is `?`."""
    if not isinstance(count, (int, float)):
        return "?"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def span_text(seconds: object) -> str:
    """Write a number of seconds with its two largest units; anything else is `?`."""
    if not isinstance(seconds, (int, float)):
        return "?"
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
