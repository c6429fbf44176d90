"""The tables, and how rows become values.

How it thinks: what may be given once only is enforced here, in SQL: a song's birth and mtime are never
overwritten, its library name and parent only while they have no value. Facts are JSON of the model's own
nouns, so that a new field needs no new format.

What must always be true: a URL that may be signed is not kept.
It refuses to open anything.
"""

from __future__ import annotations

from typing import Any

import msgspec

from musicfs.model import Known, SongRow

_FIRST = """
CREATE TABLE songs (
    birth INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, ident TEXT NOT NULL, facts BLOB NOT NULL,
    mtime_ns INTEGER NOT NULL, name TEXT, parent TEXT, listed INTEGER NOT NULL, lacks REAL,
    UNIQUE (service, ident)
) STRICT;
CREATE TABLE files (
    key TEXT PRIMARY KEY, version INTEGER NOT NULL, size INTEGER, validator TEXT NOT NULL,
    one_pass INTEGER NOT NULL
) STRICT;
CREATE TABLE directories (key TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE missing (key TEXT PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
"""STRICT, so that `integrity_check` finds values of a wrong type too."""

STEPS: list[str] = [_FIRST]
"""What makes each format out of the one before, the first out of an empty file. A step that was released
stays as it is: `tests/formats/` keeps a file of each format."""

FORMAT = len(STEPS)
"""The `user_version` of the tables; a file that says more is of a newer musicfs."""

NEW_SONG = """
INSERT INTO songs (birth, service, ident, facts, mtime_ns, name, parent, listed, lacks)
VALUES (NULLIF(?, 0), ?, ?, ?, ?, ?, ?, ?, ?)
"""

SAVE_SONG = f"""{NEW_SONG}
ON CONFLICT (service, ident) DO UPDATE SET
    facts = excluded.facts, listed = excluded.listed, lacks = excluded.lacks,
    name = COALESCE(songs.name, excluded.name), parent = COALESCE(songs.parent, excluded.parent)
RETURNING birth, mtime_ns, name, parent
"""


class Missing(msgspec.Struct, frozen=True):
    """A form whose bytes answered 404: when first and when last, in seconds since the epoch."""

    first: float
    last: float


class Contents(msgspec.Struct):
    """All that the file holds."""

    songs: dict[int, SongRow] = msgspec.field(default_factory=dict)
    """By birth."""
    files: dict[str, Known] = msgspec.field(default_factory=dict)
    directories: dict[str, tuple[int, bytes]] = msgspec.field(default_factory=dict)
    missing: dict[str, Missing] = msgspec.field(default_factory=dict)
    marks: dict[str, str] = msgspec.field(default_factory=dict)


_WRITE = msgspec.json.Encoder().encode


def song_values(row: SongRow) -> tuple[Any, ...]:
    """Give what `SAVE_SONG` takes."""
    song = row.song
    # A URL with a query may be signed, and a signed one is a secret that soon is worth nothing.
    if (song.urls and any("?" in url for url in song.urls.values())) or "?" in (song.cover or ""):
        urls = {form: url for form, url in song.urls.items() if "?" not in url}
        song = msgspec.structs.replace(song, urls=urls, cover=song.cover and song.cover.partition("?")[0])
    facts = _WRITE(song)
    return (
        row.birth,
        song.service,
        song.ident,
        facts,
        row.mtime_ns,
        row.name,
        row.parent,
        row.listed,
        row.lacks,
    )
