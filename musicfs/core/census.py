"""Who is new, who is missing, whose stem is whose: what a pass over a listing changes.

How it thinks: the rows are what was known; a pass brings what a service lists now. "Couldn't ask" never
comes here: only passes that read every page of an account do. A song leaves after two complete passes
that lack it, far enough apart; a pass that would make many leave at once changes nothing, because a
service that forgets a quarter of a library is ill and not tidy.

What must always be true: the first mtime, name and parent win for ever; nothing is removed from the rows,
it is only no longer listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from musicfs.core.sheets import grown
from musicfs.model import Song, SongRow, State

_STEM = re.compile(r"(.+) - (drums|bass|vocals|other)", re.DOTALL)  # upstream-api.md §2.7
_LATEST = 9_000_000_000.0  # seconds since the epoch (2255): nanoseconds of later ones leave 63 bits
_APART = 1_000_000  # nanoseconds between clips first seen together: they sort, and look the same in `ls`


def arrive(known: dict[str, SongRow], listed: Sequence[Song], now: float) -> list[SongRow]:
    """Give the rows that a pass makes new or different, eldest first.

    `listed` is in the listing's order (newest first where the service says so); `now` is seconds since the
    epoch. A new song's mtime is the service's time, else now, falling by a little in listing order.
    """
    changed: list[SongRow] = []
    for place, song in enumerate(listed):
        row = known.get(song.ident)
        if row is None:
            seen = int(now * 1e9) - place * _APART
            changed.append(SongRow(song=song, mtime_ns=born_ns(song, seen)))
        elif row.song != song or not row.listed or row.lacks is not None:
            kept = _with_known(song, row.song)
            if kept != row.song or not row.listed or row.lacks is not None:
                row.song, row.listed, row.lacks = kept, True, None
                changed.append(row)
    changed.reverse()
    return changed


def born_ns(song: Song, seen: int) -> int:
    """Give a new song's mtime in nanoseconds: the service's time if that can be one, else `seen`."""
    created = song.created
    return int(created * 1e9) if created is not None and 0 < created < _LATEST else seen


def _with_known(song: Song, known: Song) -> Song:
    """Keep what this answer left out: a record names no account, a list neither dates nor prompts."""
    fields = {
        "account": song.account or known.account,
        "created": song.created if song.created is not None else known.created,
        "updated": song.updated if song.updated is not None else known.updated,
        "cover": song.cover or known.cover,
        "sheet": grown(known.sheet, song.sheet),
    }
    if all(getattr(song, name) == value for name, value in fields.items()):
        return song
    return msgspec.structs.replace(song, **fields)


class Missing(msgspec.Struct, frozen=True):
    """What a complete pass over an account lacked."""

    changed: list[SongRow]
    """Rows that leave, or that are doubted for the first time."""
    doubted: set[str]
    """Songs lacking in a pass that is not believed: nothing changes."""


def absent(
    rows: Iterable[SongRow],
    account: str,
    seen: set[str],
    now: float,
    forget_after: float,
    doubt_none: bool = False,
) -> Missing:
    """Judge what a complete pass over `account` lacked; times in seconds.

    A pass that lacks over a quarter (and at least 10) of an account's songs changes nothing; with
    `doubt_none`, neither does one that shows no song at all, however few there were.
    """
    mine = [row for row in rows if row.song.account == account and row.listed]
    lacking = [row for row in mine if row.song.ident not in seen]
    if (doubt_none and not seen) or (len(lacking) >= 10 and len(lacking) * 4 > len(mine)):
        return Missing([], {row.song.ident for row in lacking})
    changed: list[SongRow] = []
    for row in lacking:
        if row.lacks is None or now < row.lacks:
            # A clock that was set back must not keep a song for ever; it begins to count anew.
            row.lacks = now
            changed.append(row)
        elif now - row.lacks >= forget_after:
            row.listed, row.lacks = False, None
            changed.append(row)
    return Missing(changed, set())


def stem_of(title: str | None) -> tuple[str, str] | None:
    """Split ` - drums` and its like off a title: (the song's title, the stem's name)."""
    matched = _STEM.fullmatch(title or "")
    return (matched[1], matched[2]) if matched else None


def adopt(rows: Iterable[SongRow]) -> list[SongRow]:
    """Give the rows that find their parent now: a stem whose title fits exactly one song of its account."""
    orphans: list[tuple[SongRow, str]] = []
    titles: dict[tuple[str, str], list[SongRow]] = {}
    for row in rows:
        if row.song.service != "flowmusic":
            continue
        split = stem_of(row.song.title)
        if split is not None and row.parent is None:
            orphans.append((row, split[0]))
        elif split is None and row.song.title is not None:
            titles.setdefault((row.song.account, row.song.title), []).append(row)
    found: list[SongRow] = []
    for row, title in orphans:
        fitting = titles.get((row.song.account, title), [])
        if len(fitting) == 1 and row.name is None:
            row.parent = fitting[0].song.ident
            found.append(row)
    return found


def unnamed(rows: Iterable[SongRow], order: Sequence[str]) -> list[SongRow]:
    """Give the songs that want a folder in `library/`, in the order in which they may choose.

    The eldest first; on a tie the service that comes first in `order`.
    """
    waiting = [
        row
        for row in rows
        if row.name is None and row.parent is None and row.listed and row.song.state is State.READY
    ]
    waiting.sort(key=lambda row: (row.mtime_ns, order.index(row.song.service), row.birth))
    return waiting
