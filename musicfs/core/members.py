"""Which members of a stems archive may be shown as files.

How it thinks: what is inside an archive is the service's, not ours. Nothing in it is believed that could
name a place outside the folder, cover another member, or grow without bound. Such members are left out,
each with its reason for the log, and the others stay (DESIGN §3 "Stems"). Where two contradict each
other, the first in the directory stays. Nothing is renamed: a member is shown under the name it has, or
not at all.

What must always be true: the members chosen have different names (case-folded) of parts that every file
system takes, none of them is a folder of another, and they lie apart from each other, before the
directory.

What it refuses: to know the directory's format (`zipdir` does), or to look at a byte of a member.
"""

from __future__ import annotations

from bisect import bisect
from enum import IntEnum

import msgspec

from musicfs.core.naming import flaw, fold

LOCAL_HEADER = 30
"""Bytes of a member's local header before its name (APPNOTE 4.3.7)."""

_MEMBERS, _BYTES = 256, 4 << 30
"""The most that one archive may show (DESIGN §3)."""

_BOMB_RATIO, _BOMB_SIZE = 1040, 1 << 20
"""A member over 1 MiB that claims to inflate more than 1040 times is a bomb: deflate cannot do better than
1032 to 1. DESIGN §3 says 200, but a silent stem (an instrumental's vocals) packs at 1000 to 1, and the limit
of all sizes together bounds the harm."""

_DEPTH = 8
"""Folders within folders; deeper ones exist to exhaust a path or a stack."""

# General purpose flags, APPNOTE 4.4.4.
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_UTF8 = 0x0800


class Method(IntEnum):
    """How a member is packed; the values are the format's."""

    STORED = 0
    DEFLATED = 8


class Member(msgspec.Struct, frozen=True):
    """One file in the archive. `header` is the offset of its local header; sizes are in bytes."""

    name: str
    method: Method
    header: int
    packed: int
    size: int
    crc: int


class Directory(msgspec.Struct, frozen=True):
    """What an archive holds: the members in its own order, and (printable name, reason) of those left out."""

    members: tuple[Member, ...]
    left_out: tuple[tuple[str, str], ...]


class Entry(msgspec.Struct, frozen=True):
    """One directory entry as it stands, its zip64 values resolved; `wrong`: they could not be."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int
    wrong: bool


class Choice:
    """The members chosen so far, and what stands in the way of the next one."""

    def __init__(self, limit: int) -> None:
        self._members: list[Member] = []
        self._left_out: list[tuple[str, str]] = []
        self._unnamed = 0
        self._limit = limit
        """Where the directory begins, and members have to end."""
        self._total = 0
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._ranges: list[tuple[int, int]] = []

    def weigh(self, entry: Entry) -> None:
        """Make an entry a member, or leave it out with a reason."""
        utf8 = entry.flags & _UTF8
        name = entry.name.decode("utf-8" if utf8 else "cp437", "replace")
        why = _unreadable(entry) or _misnamed(name) or self._crowded(entry) or self._in_the_way(name, entry)
        if why is None:
            self._keep(name, entry)
        elif len(self._left_out) < _MEMBERS:
            # An `@` goes too: a name may hold the account's e-mail address, and this one is for the log.
            shown = "".join(char if char.isprintable() and char != "@" else "?" for char in name[:100])
            self._left_out.append((shown or "?", why))
        else:
            self._unnamed += 1

    def made(self, unseen: int) -> Directory:
        """Give what was chosen; `unseen` entries were not looked at."""
        unnamed = self._unnamed + unseen
        rest = (("…", f"and {unnamed} more"),) if unnamed else ()
        return Directory(tuple(self._members), (*self._left_out, *rest))

    def _crowded(self, entry: Entry) -> str | None:
        """Say which limit of the whole archive a member would break."""
        if len(self._members) >= _MEMBERS:
            return f"more than {_MEMBERS} members"
        if self._total + entry.size > _BYTES:
            return "more than 4 GiB in all"
        return None

    def _in_the_way(self, name: str, entry: Entry) -> str | None:
        """Say what an earlier member, or the archive's end, has against this one."""
        folded = fold(name)
        if folded in self._files or folded in self._folders or not self._files.isdisjoint(_parents(folded)):
            return "a name that is taken"
        start, stop = _range(entry)
        if stop > self._limit:
            return "it lies outside the archive"
        index = bisect(self._ranges, (start, stop))
        if any(start < high and low < stop for low, high in self._ranges[max(0, index - 1) : index + 1]):
            return "it overlaps another member"
        return None

    def _keep(self, name: str, entry: Entry) -> None:
        """Take an entry in as a member."""
        folded = fold(name)
        self._files.add(folded)
        self._folders.update(_parents(folded))
        self._ranges.insert(bisect(self._ranges, _range(entry)), _range(entry))
        self._total += entry.size
        method = Method(entry.method)
        self._members.append(Member(name, method, entry.header, entry.packed, entry.size, entry.crc))


def _range(entry: Entry) -> tuple[int, int]:
    """Say which bytes an entry takes at least: its local header's own names and extras are not known yet."""
    return entry.header, entry.header + LOCAL_HEADER + entry.packed


def _parents(name: str) -> list[str]:
    """List the folders that a member's name runs through."""
    parts = name.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _unreadable(entry: Entry) -> str | None:
    """Say why the bytes of an entry cannot or should not be unpacked."""
    if entry.flags & _ENCRYPTED:
        return "encrypted"
    if entry.method not in tuple(Method):
        return f"packed by the unknown method {entry.method}"
    if entry.wrong or (entry.method == Method.STORED and entry.size != entry.packed):
        return "its sizes contradict each other"
    if entry.size > _BOMB_SIZE and entry.size > _BOMB_RATIO * entry.packed:
        return "a bomb"
    return None


def _misnamed(name: str) -> str | None:
    """Say why a member's name cannot be a path below the stems folder."""
    if "\ufffd" in name:
        return "a name that is not UTF-8"
    parts = name.split("/")
    if len(parts) > _DEPTH:
        return "too many folders"
    if "__macosx" in (part.casefold() for part in parts):
        return "a Mac's bookkeeping"
    return next(filter(None, map(flaw, parts)), None)
