"""Names for people: from any title to a folder name that every file system and program takes.

How it thinks: a title is cleaned once (DESIGN §1), then cut to fit, then given out. The first song to
want a name gets it plain; a later one gets ` [id6]`, the first six characters of its id, behind it. Names
are compared case-folded, because the same folder may be shared to Windows or copied to a Mac. Given names
are persisted by the caller and come back with `hold`, so a name is its song's for ever.

What must always be true: two songs never have one name; every name is NFC, at most 255 bytes with room
for an extension, and free of what Windows, rsync, a shell listing or a right-to-left trick could stumble
over; cleaning a clean name changes nothing; a song that comes later renames nobody.

What it refuses: to know what a song is, or to change a name that was given.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

LIMIT = 255
"""Bytes in one name: NAME_MAX of Linux file systems."""

ROOM = 5
"""Bytes kept free in a folder's name, so that `<name>.json` and shorter extensions fit inside it as well."""

UNTITLED = "Untitled"

_LOOKED_AT = 512
"""Characters of a title that can matter: twice what fits, so that a title of megabytes costs nothing."""

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_FORBIDDEN = re.compile(f'[/<>:"\\\\|?*\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]')
"""What no name may hold: separators, what Windows forbids, controls, lone surrogates, bidi controls."""

_DROPPED = re.compile(f"[<>?*\x00-\x1f\x7f-\x9f\ud800-\udfff{_BIDI}]")
_REPLACED = str.maketrans({"/": "-", "\\": "-", "|": "-", ":": "-", '"': "'"})

_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|(?:COM|LPT)[0-9¹²³])(?= *(?:\.|$))", re.IGNORECASE)
"""Names that Windows takes for devices, whatever extension follows."""


def fold(name: str) -> str:
    """Give the form in which names are compared: case-folded and NFC."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def flaw(name: str) -> str | None:
    """Say what keeps one path component from being shown as it is; None if nothing does."""
    if not name:
        return "an empty name"
    if _FORBIDDEN.search(name):
        return "a forbidden character in its name"
    if name[0] in ".- " or name[-1] in ". ":
        return "a dot, dash or space at an end of its name"
    if len(name.encode()) > LIMIT:
        return "a name that is too long"
    return None


def clean(title: str | None) -> str:
    """Make a title fit for a name, at most 255 bytes; `Untitled` if nothing is left of it."""
    text = " ".join((title or "")[:_LOOKED_AT].split()).translate(_REPLACED)
    # NFC comes after the dropping, because dropping can bring a letter and its accent together. The words are
    # joined a second time, because dropping can also bring two spaces together.
    text = unicodedata.normalize("NFC", " ".join(_DROPPED.sub("", text).split())).lstrip(".- ")
    device = _DEVICES.match(text)
    if device:
        text = f"{device[0]}_{text[device.end() :]}"
    return _ends(_cut(text, LIMIT)) or UNTITLED


def fit(stem: str, suffix: str, limit: int = LIMIT) -> str:
    """Join a stem, cut as needed, and a suffix, kept whole, in `limit` bytes.

    A stem that has to be cut ends at a whole character, with its accents. ValueError if the suffix leaves no
    room for any stem.
    """
    room = limit - len(suffix.encode())
    if room < 1:
        raise ValueError("the suffix fills the whole name")
    cut = _cut(stem, room)
    return (cut if cut == stem else _ends(cut)) + suffix


def _cut(text: str, room: int) -> str:
    """Keep what fits in `room` bytes of UTF-8, whole characters with their combining marks."""
    data = text.encode()
    if len(data) <= room:
        return text
    kept = data[:room].decode(errors="ignore")
    end = len(kept)
    while end and unicodedata.combining(text[end]):
        end -= 1
    # A heap of marks on one letter longer than the room is cut where it must be.
    return kept[:end] or kept


def _ends(text: str) -> str:
    """Take off the trailing dots and spaces that a cut can leave."""
    return text.rstrip(". ")


class Names:
    """The names that are taken in one folder."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def __contains__(self, name: str) -> bool:
        return fold(name) in self._taken

    def hold(self, name: str) -> None:
        """Register a name that was given in an earlier life."""
        self._taken.add(fold(name))

    def take(self, title: str | None, ident: str) -> str:
        """Give a song its folder name, and keep the name for it."""
        stem = clean(title)
        # 64: longer than a uuid, and short enough to leave the title most of the name.
        mark = clean(ident)[:64]
        whole = f" [{mark}]"
        # The numbers are for an id that was given out before, which the services' ids should never need.
        numbered = (f"{whole} {number}" for number in itertools.count(2))
        for suffix in itertools.chain(("", f" [{mark[:6]}]", whole), numbered):
            name = fit(stem, suffix, LIMIT - ROOM)
            if fold(name) not in self._taken:
                self.hold(name)
                return name
        raise AssertionError("the numbers never end")
