"""In which orders a program may go from file to file.

How it thinks: a file lies in one or two folders, and a program that goes through a folder does so as it
is listed, by name, or by number (`cp -r`), forward or backward; it stays in the folder, or goes down into
every song of a big one, for all forms or for one. Each of these is a way, and a way is walked only a
few steps at a time. A folder's order is made once a minute while somebody copies.

What must always be true: nothing is asked, a `stems/` never seen is passed by; only listed names are
walked over.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice, product

import msgspec
import trio
from cachetools import TTLCache

from musicfs.catalog import Catalog
from musicfs.core.tree import STEMS, Entry, File, Folder, Node, Path
from musicfs.filesystem.finding import Finding
from musicfs.model import Form, SongRow

_KEPT = 64  # folders' orders kept in mind: the big ones in use all the time, and some songs'
_KEPT_FOR = 60.0
"""Seconds that an order is kept, whoever copies. Who reads whole files in no order begins a copy with each of
them and breaks it off with the next: to sort 10,000 files for each would be 43 ms of CPU a file."""
_LOOKED_AT = 32  # entries of a folder looked at for a next file: those with nothing to give are passed by


class Order(Enum):
    """What a folder is sorted by."""

    PLACE = "place"
    """As listed: tar, find, Python, file managers that show the newest."""
    NAME = "name"
    """By the bytes of the name, files before folders: rsync, rclone, `cp *`."""
    NUMBER = "number"
    """By inode, as coreutils do (savedir.c, SAVEDIR_SORT_INODE): `cp -r`."""


class Walk(msgspec.Struct, frozen=True):
    """One order of what lies in, or (`deep`) below, the folder `top`."""

    walks: Walks
    top: Folder
    order: Order
    step: int
    """1: forward, -1: backward."""
    deep: bool = False
    form: str | None = None
    """Only files of this form; None = all."""

    def after(self, file: File, count: int) -> Sequence[File]:
        """Give the files that follow one, at most so many."""
        found = (one for one in self.walks.after(self, file) if self.form in (None, one.form))
        return list(islice(found, count))


class Walks:
    """All ways through the tree."""

    def __init__(self, catalog: Catalog, finding: Finding) -> None:
        self._catalog, self._finding = catalog, finding
        self._sorted: TTLCache[tuple[Path, Order], tuple[tuple[int, bool], list[Entry]]] = TTLCache(
            _KEPT, _KEPT_FOR, timer=trio.current_time
        )

    def ways(self, file: File) -> list[list[Walk]]:
        """Give the ways that lead from a file: those that are cheap to walk, then the dear ones.

        The numbers of 10,000 files are 70 ms of work, their names 10. By number, a program goes through all
        forms or stays in a folder: nobody picks files by a pattern and then sorts them so.
        """
        cheap: list[Walk] = []
        dear: list[Walk] = []
        for folder in self._folders(file):
            big = Folder(folder.path[:1])
            for order, step in product(Order, (1, -1)):
                if folder.path == big.path:
                    kind = dear if order is Order.NUMBER else cheap
                    kind.append(Walk(self, folder, order, step))
                    continue
                cheap += [Walk(self, folder, order, step), Walk(self, big, order, step, True)]
                if order is not Order.NUMBER:
                    cheap.append(Walk(self, big, order, step, True, file.form))
        return [cheap, dear]

    def _folders(self, file: File) -> Iterator[Folder]:
        """Give the folders that list a file."""
        row, form = file.row, file.form
        if not file.listed:
            return
        flow = row.song.service == "flowmusic"
        if flow and form == Form.MP3:
            yield Folder(("flowmusic",))
        below = (STEMS, *form.split("/")[1:-1]) if form.startswith(f"{Form.STEMS}/") else ()
        if not flow:
            yield Folder(("tempolor", row.song.ident, *below), row)
        if row.name is not None:
            yield Folder(("library", row.name, *below), row)
        parent = self._catalog.row("flowmusic", row.parent) if row.parent is not None else None
        if parent is not None and parent.name is not None:
            yield Folder(("library", parent.name, STEMS), parent)

    # Walking -------------------------------------------------------------------------------------------

    def after(self, walk: Walk, file: File) -> Iterator[File]:
        """Give what follows a file on a walk, whatever its form, as far as is looked."""
        top = walk.top.path
        folder = next((one for one in self._folders(file) if one.path[: len(top)] == top), None)
        if folder is None or (len(folder.path) > len(top)) is not walk.deep:
            return
        if not walk.deep:
            yield from islice(self._behind(walk, file, f"{file.row.song.ident}.mp3"), _LOOKED_AT)
            return
        child = Folder(folder.path[: len(top) + 1], folder.row)
        inner = list(self._files(child, walk))
        if file in inner:
            yield from inner[inner.index(file) + 1 :]
            yield from self._behind(walk, child, child.path[-1])

    def _behind(self, walk: Walk, node: File | Folder, name: str) -> Iterator[File]:
        """Give the files of the entries that follow one in a walk's top folder."""
        entries = self._in_order(walk.top, walk.order)
        at = self._place(walk, entries, node, name)
        if at is None:
            return
        first, last = (at + 1, at + 1 + _LOOKED_AT) if walk.step > 0 else (max(at - _LOOKED_AT, 0), at)
        for entry in entries[first:last][:: walk.step]:
            found = self._node(entry)
            if isinstance(found, File):
                yield found
            elif walk.deep and isinstance(found, Folder):
                yield from self._files(found, walk)

    def _place(self, walk: Walk, entries: list[Entry], node: File | Folder, name: str) -> int | None:
        """Find a node among a folder's entries."""
        if len(walk.top.path) > 1:
            nodes = [self._node(entry) for entry in entries]
            return nodes.index(node) if node in nodes else None
        assert node.row is not None
        mark = _key(walk.order, Entry(node.row.birth, name, node), node)
        at = bisect_left(entries, mark, key=lambda entry: self._key(walk.order, entry))
        return at if at < len(entries) and entries[at].name == name else None

    def _files(self, folder: Folder, walk: Walk) -> Iterator[File]:
        """Give every file below a song's folder, in a walk's order."""
        for entry in self._in_order(folder, walk.order)[:: walk.step]:
            found = self._node(entry)
            if isinstance(found, File):
                yield found
            elif isinstance(found, Folder):
                yield from self._files(found, walk)

    def _in_order(self, folder: Folder, order: Order) -> list[Entry]:
        """List a folder in an order, made once for as long as its names are; a small one with its nodes."""
        big = len(folder.path) == 1
        if big and order is Order.PLACE:
            return self._finding.top(folder.path)
        state = self._catalog.generation, self._finding.unseen(folder)
        found_in, kept = self._sorted.get((folder.path, order), (None, []))
        if found_in != state:
            if order is not Order.PLACE:
                kept = sorted(self._in_order(folder, Order.PLACE), key=lambda entry: self._key(order, entry))
            else:
                found = self._finding.here(folder)
                kept = [Entry(one.place, one.name, self._node(one)) for one in found]
            self._sorted[folder.path, order] = state, kept
        return kept

    def _node(self, entry: Entry) -> Node:
        return self._finding.resolved(entry) if isinstance(entry.node, tuple) else entry.node

    def _key(self, order: Order, entry: Entry) -> tuple[int, bytes]:
        return _key(order, entry, self._node(entry) if order is Order.NUMBER else entry.node)


def _key(order: Order, entry: Entry, node: Node | tuple[SongRow, str]) -> tuple[int, bytes]:
    """Give what an entry is sorted by; only numbers need the node itself."""
    if order is Order.PLACE:
        return entry.place, b""
    if order is Order.NAME:
        return int(isinstance(node, Folder)), os.fsencode(entry.name)
    assert not isinstance(node, tuple)
    return node.inode, b""
