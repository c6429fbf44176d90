"""Playlists: which there are, and what stands in one.

How it thinks: a playlist is for a player that opens it inside the mount or a copy of it, so its paths are
relative to `library/`, and its songs stand newest first, as the services show them. Each points at the mp3,
the one form that every song has. Takes that share a title are told apart as their folders are.

What must always be true: UTF-8, a line a path, and no line a person's title could have broken; the same
songs give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from musicfs.core.naming import clean
from musicfs.model import Form, SongRow

EXTENSION = ".m3u8"
ALL = f"All{EXTENSION}"
RESERVED = (ALL, *(f"{name}{EXTENSION}" for name in ("Flow Music", "TemPolor")))
"""Names that no song's folder may have."""


def playlist(rows: Iterable[SongRow]) -> bytes:
    """Write a playlist of songs that have a folder in `library/`, newest first."""
    named = [(row.mtime_ns, row.birth, row.name, row) for row in rows if row.name is not None]
    named.sort(key=lambda one: one[:2], reverse=True)
    lines = ["#EXTM3U"]
    for _, _, name, row in named:
        duration = row.song.duration
        seconds = round(duration) if duration is not None and 0 < duration < 86_400 else -1
        lines += [f"#EXTINF:{seconds},{_called(row, name)}", f"{_reached(name)}/{name}.{Form.MP3}"]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _called(row: SongRow, name: str) -> str:
    """Give what a player shows: the title, and the mark of the folder if it has one; never two lines."""
    title = " ".join((row.song.title or "").split())
    mark = f" [{clean(row.song.ident)[:6]}]"
    return (title if title.isprintable() and title else name.removesuffix(mark)) + (
        mark if name.endswith(mark) else ""
    )


def _reached(name: str) -> str:
    """Give the folder as a path: a line that begins with `#` would be a comment."""
    return f"./{name}" if name.startswith("#") else name
