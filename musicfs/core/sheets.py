"""A song's sheet: what a listing tells of it beside the bytes, and the small files that are written of it.

How it thinks: ten thousand songs with their lyrics are 20 MB as text and a third of that packed, and hardly
any of it is ever read; so a sheet travels packed, and is unpacked when somebody opens a folder. Of it and
the song come `lyrics.txt`, `lyrics.lrc` and `info.json`: a pure function each, so that a file's length and
version are known without a request, and change exactly when what is known does.

What must always be true: nothing is invented: what no answer told is in no file; no id with an e-mail
address, no account and no URL is written; the same facts give the same bytes.

What it refuses: to say which lines of a song a timing means where their numbers do not agree.
"""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import Any

import msgspec

from musicfs.model import Form, Song, SongRow

TIMES = 5000
"""Timings kept: one for each word of the longest song."""

_DAY = 86_400  # seconds; no song is as long

_HEADING = re.compile(r"\s*(\[[^\]]*\]|\([^)]*\))?\s*")
"""A line that nobody sings: empty, or `[Chorus]`."""


class Sheet(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known; everything may be missing."""

    lyrics: str | None = None
    timing: tuple[tuple[float, float], ...] = ()
    """Start and end of each line or word that is sung, in seconds (upstream-api.md §2.5)."""
    prompt: str | None = None
    description: str | None = None
    style: str | None = None
    mood: str | None = None
    key: str | None = None
    bpm: float | None = None


_EMPTY = Sheet()
_READ = msgspec.json.Decoder(Sheet).decode


def pack(sheet: Sheet) -> bytes:
    """Pack a sheet; nothing known is no bytes. Times that are no numbers (JSON has none) are none at all."""
    if sheet.timing and not all(isfinite(moment) for pair in sheet.timing for moment in pair):
        sheet = msgspec.structs.replace(sheet, timing=())
    return b"" if sheet == _EMPTY else zlib.compress(msgspec.json.encode(sheet), 1)


def unpack(packed: bytes) -> Sheet:
    """Unpack a sheet; one that cannot be read is empty, and the next listing gives it again."""
    try:
        return _READ(zlib.decompress(packed)) if packed else _EMPTY
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return _EMPTY


def grown(old: bytes, new: bytes) -> bytes:
    """Give the new sheet with what only the old one knew: a list tells less than a record.

    A timing belongs to its lyrics, and goes with them.
    """
    if not old or old == new:
        return new
    was, now = unpack(old), unpack(new)
    both = {name: getattr(now, name) or getattr(was, name) for name in Sheet.__struct_fields__}
    if both["lyrics"] != was.lyrics:
        both["timing"] = now.timing
    return pack(Sheet(**both))


def picture(song: Song) -> str | None:
    """Give the form of a song's cover, None if no answer named one; what signs a URL is no part of it."""
    if not song.cover:
        return None
    place = song.cover.partition("?")[0]
    ending = "png" if place.lower().endswith(".png") else "jpg"
    return f"{Form.COVER}{blake2b(place.encode('utf-8', 'replace'), digest_size=4).hexdigest()}.{ending}"


def lyrics_text(song: Song) -> bytes | None:
    """Write `lyrics.txt`; None where no lyrics are known."""
    lyrics = _lines(unpack(song.sheet))
    return _encoded("\n".join(lyrics) + "\n") if lyrics else None


def lyrics_timed(song: Song) -> bytes | None:
    """Write `lyrics.lrc`; None where the times are not known, or do not fit the lines."""
    sheet = unpack(song.sheet)
    sung = [line.strip() for line in _lines(sheet) if not _HEADING.fullmatch(line)]
    words = [len(line.split()) for line in sung]
    if not sung or len(sheet.timing) not in (len(sung), sum(words)) or not _plausible(sheet):
        return None
    firsts = (
        range(len(sung)) if len(sheet.timing) == len(sung) else [sum(words[:at]) for at in range(len(sung))]
    )
    title = " ".join((song.title or "").split())
    head = [f"[ti:{title}]"] if title else []
    head += [f"[length:{_clock(song.duration or 0.0)[:-3]}]"] if 0 < (song.duration or 0.0) < _DAY else []
    timed = [f"[{_clock(sheet.timing[at][0])}]{line}" for at, line in zip(firsts, sung, strict=True)]
    return _encoded("\n".join([*head, *timed]) + "\n")


def info(row: SongRow, service: str) -> bytes:
    """Write `info.json`, of a song of a service that a person calls `service`."""
    song, sheet = row.song, unpack(row.song.sheet)
    created = _moment(song.created)
    told: dict[str, Any] = {
        "title": song.title,
        "service": service,
        "id": song.ident,
        "duration": song.duration,
        "bpm": sheet.bpm,
        "key": sheet.key,
        "style": sheet.style,
        "mood": sheet.mood,
        "prompt": sheet.prompt,
        "description": sheet.description,
        "created": created,
        "updated": _moment(song.updated),
        "first_seen": None if created else _moment(row.mtime_ns / 1e9),
    }
    known = {name: value for name, value in told.items() if value not in (None, "") and _sound(value)}
    return msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"


def _sound(value: Any) -> bool:
    return not isinstance(value, float) or isfinite(value)


def _plausible(sheet: Sheet) -> bool:
    return all(0 <= start < _DAY for start, _ in sheet.timing)


def _lines(sheet: Sheet) -> list[str]:
    return (sheet.lyrics or "").strip().splitlines()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _clock(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"


def _moment(seconds: float | None) -> str | None:
    """Write a time as ISO 8601 in UTC; None if it is none that a calendar has."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment is not None else None
