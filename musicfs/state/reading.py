"""How everything is read at the start: hundreds of rows at a time, or one by one where that fails.

How it thinks: to fetch 10,000 rows and make objects of them is 30 ms of Python. So SQLite makes one JSON text
of hundreds of rows, which leaves the interpreter to others (`State.begin` reads in a thread, while the house
is loaded), and msgspec makes all objects of it at one go. A row that does not fit into that (facts that
cannot be read, a name with a control character) has all of them read one by one.

What must always be true: both ways give the same; a row whose facts cannot be read still gives its name and
times.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from collections.abc import Iterator

import msgspec

from musicfs.model import NO_URLS, Known, Song, SongRow
from musicfs.state.tables import Contents, Missing

LOG = logging.getLogger("musicfs.state")

_ROWS = 500
"""Rows of one text, 120 KB; of 5,000 it is gone no sooner, and 5 MiB of memory stay with the process."""


def contents_of(base: sqlite3.Connection) -> Contents:
    """Read everything."""
    found = Contents()
    try:
        for text in _texts(base, _SONGS):
            found.songs |= {row.birth: _shared(row) for row in _READ_SONGS(text)}
    except (msgspec.MsgspecError, ValueError):  # msgspec lets a UnicodeDecodeError out as it is.
        found.songs = {row.birth: row for row in _songs_one_by_one(base)}
    try:
        for text in _texts(base, _FILES):
            found.files |= _READ_FILES(text)
    except (msgspec.MsgspecError, ValueError):
        for key, version, size, validator, one_pass in base.execute("SELECT * FROM files"):
            found.files[key] = Known(version, size, validator, bool(one_pass))
    for key, version, body in base.execute("SELECT * FROM directories"):
        found.directories[key] = version, body
    for key, first, last in base.execute("SELECT * FROM missing"):
        found.missing[key] = Missing(first, last)
    found.marks = dict(base.execute("SELECT * FROM marks"))
    return found


# At one go ------------------------------------------------------------------------------------------------


def _quoted(column: str) -> str:
    """Write a text as JSON in SQL, if it has no control characters; SQLite need not know JSON for that."""
    return f"""'"' || replace(replace({column}, '\\', '\\\\'), '"', '\\"') || '"'"""


_SONGS = f"""
SELECT birth AS place, '{{"birth":' || birth || ',"song":' || CAST(facts AS TEXT)
    || ',"mtime_ns":' || mtime_ns || ',"name":' || ifnull({_quoted("name")}, 'null')
    || ',"parent":' || ifnull({_quoted("parent")}, 'null')
    || ',"listed":' || CASE listed WHEN 0 THEN 'false' ELSE 'true' END
    || ',"lacks":' || CASE WHEN lacks IS NULL THEN 'null' ELSE printf('%!.17g', lacks) END || '}}' AS text
FROM songs WHERE birth > ? ORDER BY birth LIMIT {_ROWS}
"""  # noqa: S608 - all of it is ours
_FILES = f"""
SELECT rowid AS place, {_quoted("key")} || ':{{"version":' || version || ',"size":' || ifnull(size, 'null')
    || ',"validator":' || {_quoted("validator")}
    || ',"one_pass":' || CASE one_pass WHEN 0 THEN 'false' ELSE 'true' END || '}}' AS text
FROM files WHERE rowid > ? ORDER BY rowid LIMIT {_ROWS}
"""  # noqa: S608 - all of it is ours
_READ_SONGS = msgspec.json.Decoder(list[SongRow]).decode
_READ_FILES = msgspec.json.Decoder(dict[str, Known]).decode


def _texts(base: sqlite3.Connection, rows: str) -> Iterator[bytes]:
    """Give a table as texts of many rows each."""
    opening, closing = ("[", "]") if rows is _SONGS else ("{", "}")
    whole = f"SELECT max(place), CAST('{opening}' || group_concat(text) || '{closing}' AS BLOB) FROM ({rows})"  # noqa: S608
    place, text = base.execute(whole, (-sys.maxsize,)).fetchone()
    while place is not None:
        yield text
        place, text = base.execute(whole, (place,)).fetchone()


def _shared(row: SongRow) -> SongRow:
    """Have a row share what many have alike: one account has 10,000 songs, most called by their title."""
    row.song = _sharing(row.song, row.song.service, row.song.ident)
    if row.name == row.song.title:
        row.name = row.song.title
    return row


def _sharing(song: Song, service: str, ident: str) -> Song:
    return Song(
        sys.intern(service),
        ident,
        song.handle,
        sys.intern(song.account),
        song.title,
        song.duration,
        song.created,
        song.updated,
        song.state,
        song.urls or NO_URLS,
        song.cover,
        song.sheet,
    )


# One by one -----------------------------------------------------------------------------------------------

_READ = msgspec.json.Decoder(Song).decode


def _songs_one_by_one(base: sqlite3.Connection) -> Iterator[SongRow]:
    for birth, service, ident, facts, mtime_ns, name, parent, listed, lacks in base.execute(
        "SELECT birth, service, ident, facts, mtime_ns, name, parent, listed, lacks FROM songs"
    ):
        yield _shared(
            SongRow(
                song=_song_of(service, ident, facts),
                birth=birth,
                mtime_ns=mtime_ns,
                name=name,
                parent=parent,
                listed=bool(listed),
                lacks=lacks,
            )
        )


def _song_of(service: str, ident: str, facts: bytes) -> Song:
    try:
        return _sharing(_READ(facts), service, ident)
    except (msgspec.MsgspecError, ValueError):
        # Its name and times are worth more than what the next listing tells again.
        LOG.warning("the facts of %s:%s cannot be read; the next listing gives them", service, ident)
        return Song(service, ident, "")
