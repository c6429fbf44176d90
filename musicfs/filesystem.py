"""The verbs: look up, list, stat, open, read, close. It runs and is tested without a kernel.

How it thinks: names are answered from what is known; nothing is asked in `lookup` or `readdir` but the
two questions of DESIGN §3 (a full job id, a `stems/` never seen), each shared, bounded in time and in
waiters. `stat` shows the exact size if it is known, else an estimate that the kernel must not believe for
long. `open` makes the size exact and fails with all that can be foreseen.

What must always be true: a listed name is never ENOENT because of the network; an inode stands for one
version of one file; whoever opens gets a handle that is released once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from musicfs.catalog import Catalog
from musicfs.content import Asset, Content, Opened
from musicfs.content.archive import Archives
from musicfs.core import tree
from musicfs.core.census import stem_of
from musicfs.core.inodes import ROOT, Register
from musicfs.core.tree import Entry, File, Folder, Node
from musicfs.errors import (
    BytesMissing,
    Changed,
    IsADirectory,
    MusicfsError,
    NoSuchEntry,
    NotADirectory,
    NotFinished,
    ScannerRefused,
    UnknownHandle,
    Withdrawn,
)
from musicfs.flights import Flights
from musicfs.model import Form, SongRow, Span, State

STEADY = 300.0  # seconds the kernel may believe what cannot change by itself (DESIGN §3: minutes)
NEGATIVE = 10.0  # seconds the kernel may believe that a name does not exist (DESIGN §3)
_ASK, _ASK_LIST = 2.0, 5.0  # seconds a question may hold up a lookup, an opendir (DESIGN §3)
_WAITERS = 4  # requests that may wait for one question; they hold kernel locks (DESIGN §3)
_SIBLINGS, _SIDE_BY_SIDE = 64, 8  # files whose size one getattr asks for, and how many at a time (DESIGN §3)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What `stat` shows."""

    inode: int
    folder: bool
    size: int
    mtime_ns: int
    links: int
    name_for: float
    """Seconds the kernel may believe the name."""
    valid_for: float
    """Seconds the kernel may believe the rest."""


class Asks(Protocol):
    """Who is asking."""

    def is_scanner(self, tid: int) -> bool:
        """Tell whether a thread belongs to an indexer or thumbnailer."""
        ...


@dataclass(slots=True)
class Handle:
    """An open file."""

    file: File
    opened: Opened


class Filesystem:
    """The mount, as questions and answers in our own words."""

    def __init__(
        self,
        nursery: trio.Nursery,
        catalog: Catalog,
        content: Content,
        archives: Archives,
        callers: Asks,
        deadline: float,
        measure_minted: bool,
        resized: Callable[[int], None] = lambda inode: None,
    ) -> None:
        self.catalog, self.content, self.archives = catalog, content, archives
        self._nursery, self._callers, self._deadline = nursery, callers, deadline
        self._measure_minted = measure_minted
        self.resized = resized
        """Called with an inode whose size the kernel should ask for again."""
        self.left: Callable[[int, str], None] = lambda parent, name: None
        """Called with a folder's inode and a name that is no longer in it."""
        catalog.on_left = self._left
        self.register: Register[Node] = Register()
        self._handles: dict[int, Handle] = {}
        self._next = 1
        self._flights: Flights[SongRow] = Flights(nursery, most=_WAITERS, remember=1.0)
        self._listed: dict[tree.Path, tuple[int, list[Entry]]] = {}
        self._sides = trio.CapacityLimiter(_SIDE_BY_SIDE)
        self.scanners_refused = 0

    # Nodes ---------------------------------------------------------------------------------------------

    def node(self, inode: int) -> Node:
        """Find what an inode number stands for.

        Raises:
            NoSuchEntry: the kernel should not know such a number.
        """
        if inode == ROOT:
            return Folder(())
        found: Node | None = self.register.get(inode)
        if found is None:
            raise NoSuchEntry("no such inode")
        return found

    def folder(self, inode: int) -> Folder:
        """Find a folder by its number."""
        node = self.node(inode)
        if isinstance(node, File):
            raise NotADirectory("it is a file")
        return node

    def _file(self, row: SongRow, form: str, listed: bool = True) -> File:
        return File(row, form, self._version(asset_of(row, form, listed)), listed)

    def _version(self, asset: Asset) -> int:
        if asset.member is not None:
            try:
                return self.archives.member(asset)[0]
            except NoSuchEntry:
                return 0
        return self.content.facts(asset).version

    def resolved(self, entry: Entry) -> Node:
        """Give an entry's node, with the version its file has now."""
        return self._file(*entry.node) if isinstance(entry.node, tuple) else entry.node

    def attributes(self, node: Node) -> Attributes:
        """Give what `stat` shows, asking nobody."""
        if isinstance(node, Folder):
            # A folder of a song cannot change; the top ones do, and cost nothing to ask again.
            steady = STEADY if node.row is not None or not node.path else 1.0
            return Attributes(node.inode, True, 4096, self._folder_mtime(node), 1, STEADY, steady)
        size, exact = self._size(node)
        return Attributes(
            node.inode, False, size, node.row.mtime_ns, node.names, STEADY, STEADY if exact else 0.0
        )

    def _size(self, file: File) -> tuple[int, bool]:
        asset = asset_of(file.row, file.form, file.listed)
        if asset.member is not None:
            return self.archives.member(asset)[1].size, True
        facts = self.content.facts(asset)
        return facts.size, facts.exact

    def _folder_mtime(self, folder: Folder) -> int:
        if folder.row is not None:
            return folder.row.mtime_ns
        standings = self.catalog.standing
        if folder.path and folder.path[0] in standings:
            return standings[folder.path[0]].changed_ns
        return max(standing.changed_ns for standing in standings.values())

    def _left(self, row: SongRow) -> None:
        if row.song.service == "flowmusic":
            self.left(tree.folder_inode(("flowmusic",)), f"{row.song.ident}.mp3")
        else:
            self.left(tree.folder_inode(("tempolor",)), row.song.ident)
        if row.name is not None:
            self.left(tree.folder_inode(("library",)), row.name)

    # Lookup --------------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str) -> Attributes:
        """Find a name in a folder; the kernel holds one more reference to it.

        Raises:
            NoSuchEntry: it does not exist.
            MusicfsError: it cannot be said now.
        """
        node = await self._find(self.folder(parent), name)
        self.register.remember(node.inode, node)
        return self.attributes(node)

    async def walk(self, names: list[str]) -> Node:
        """Find a node by its path, as the kernel would, holding nothing.

        Raises:
            MusicfsError: it does not exist, or it cannot be said now.
        """
        node: Node = Folder(())
        for name in names:
            if isinstance(node, File):
                raise NotADirectory("it is a file")
            node = await self._find(node, name)
        return node

    def relative(self, inode: int, up: bool) -> Attributes:
        """Give a node itself, or the folder above it; one more reference, like `lookup`."""
        node = self.node(inode)
        if up and isinstance(node, Folder) and node.path:
            above = node.path[:-1]
            node = Folder(above, node.row if len(above) >= 2 else None)
        if node.inode != ROOT:
            self.register.remember(node.inode, node)
        return self.attributes(node)

    async def _find(self, folder: Folder, name: str) -> Node:
        path = folder.path
        match path:
            case ():
                if name in tree.TOP:
                    return Folder((name,))
            case ("flowmusic",):
                return await self._find_clip(name)
            case ("tempolor",):
                return await self._find_job(name)
            case ("library",):
                await self._known(("flowmusic", "tempolor"))
                if (row := self.catalog.named(name)) is not None:
                    return Folder(("library", name), row)
            case _:
                for entry in await self._entries(folder, _ASK):
                    if entry.name == name:
                        return self.resolved(entry)
        raise NoSuchEntry("no such name")

    async def _known(self, services: tuple[str, ...], limit: float = _ASK) -> None:
        """See to it that services were listed once; afterwards look whether they should be again."""
        for service in services:
            self.catalog.touch(service)
        if not all(self.catalog.standing[service].complete for service in services):
            await self.catalog.ready(services, limit)

    async def _find_clip(self, name: str) -> Node:
        stem, dot, form = name.rpartition(".")
        if not dot or form not in self.catalog.providers["flowmusic"].forms:
            raise NoSuchEntry("flowmusic/ holds <clip>.mp3 (also .m4a and .wav by name)")
        row = self.catalog.row("flowmusic", stem)
        if row is None and (asked := await self._ask_for("flowmusic", stem)) is not None:
            row = asked
        if row is None:
            await self._known(("flowmusic",))
            row = self.catalog.row("flowmusic", stem)
        if row is None:
            raise NoSuchEntry("no such clip")
        return self._file(row, form, form in self._forms(row))

    def _forms(self, row: SongRow) -> tuple[str, ...]:
        """Say which forms of a song are listed."""
        if not row.listed:
            return ()
        if row.parent is not None:
            return (Form.MP3,)
        provider = self.catalog.providers[row.song.service]
        return tuple(
            form
            for form in provider.forms
            if not (provider.free(row.song, form) and self.content.hidden(Asset(row.song, form)))
        )

    async def _find_job(self, name: str) -> Node:
        row = self.catalog.row("tempolor", name)
        if row is None and (asked := await self._ask_for("tempolor", name)) is not None:
            row = asked
        if row is None:
            await self._known(("tempolor",))
            row = self.catalog.row("tempolor", name)
        if row is None or row.song.state is State.FAILED:
            raise NoSuchEntry("no such job")
        if row.song.state is State.UNFINISHED:
            raise NotFinished("the song is still being made")
        return Folder(("tempolor", name), row)

    async def _ask_for(self, service: str, name: str) -> SongRow | None:
        """Resolve a full id: from what is known, by a guess that `open` checks, or by one record."""
        provider = self.catalog.providers[service]
        if (row := self.catalog.by_handle(name) or self.catalog.asked(name)) is not None:
            return row
        if (song := provider.guest(name)) is not None:
            return self.catalog.guest(song)
        handle = provider.recognise(name)
        if handle is None:
            return None
        return await self._flights.ask((service, handle), lambda: self.catalog.record(service, handle), _ASK)

    # Listing -------------------------------------------------------------------------------------------

    async def entries(self, inode: int) -> list[Entry]:
        """List a folder, waiting for what was never seen.

        Raises:
            MusicfsError: it cannot be had; never an empty or partial list.
        """
        return await self._entries(self.folder(inode), _ASK_LIST)

    async def _entries(self, folder: Folder, limit: float) -> list[Entry]:
        path = folder.path
        if not path:
            return tree.root_entries()
        if len(path) == 1:
            services = ("flowmusic", "tempolor") if path[0] == "library" else path
            await self._known(services, self._deadline)
            return self._top(path)
        row = folder.row
        assert row is not None
        if len(path) == 2:
            if path[0] == "tempolor":
                return tree.job_files(folder)
            has_stems = row.song.service == "tempolor" or bool(self.catalog.stems(row))
            return tree.song_files(folder, self._forms(row), has_stems)
        if row.song.service == "flowmusic":
            return self._clip_stems(folder, row)
        directory = await self.archives.directory(Asset(row.song, Form.STEMS, row.listed), limit)
        below = "".join(f"{part}/" for part in path[3:])
        return tree.archive_entries(folder, below, [member.name for member in directory.members])

    def _top(self, path: tree.Path) -> list[Entry]:
        """List one of the three big folders, made anew only when something changed."""
        generation, kept = self._listed.get(path, (-1, []))
        if generation != self.catalog.generation:
            rows = self.catalog.rows
            match path[0]:
                case "flowmusic":
                    kept = tree.flow_entries(rows("flowmusic"))
                case "tempolor":
                    kept = tree.job_entries(rows("tempolor"))
                case _:
                    kept = tree.library_entries(row for slug in self.catalog.providers for row in rows(slug))
            self._listed[path] = (self.catalog.generation, kept)
        return kept

    def _clip_stems(self, folder: Folder, row: SongRow) -> list[Entry]:
        stems = [(one, (stem_of(one.song.title) or ("", "stem"))[1]) for one in self.catalog.stems(row)]
        return tree.clip_stems(folder, stems)

    # Stat ----------------------------------------------------------------------------------------------

    async def getattr(self, inode: int) -> Attributes:
        """Give what `stat` shows, asking byte servers that need no link for an exact size, briefly."""
        node = self.node(inode)
        if isinstance(node, File) and node.listed and not self._size(node)[1]:
            await self._measure(node)
        return self.attributes(node)

    async def _measure(self, file: File) -> None:
        """Ask for a file's size and its neighbours'; what is not known in time stays an estimate."""
        done = trio.Event()
        wanted = [one for one in self._neighbours(file) if self._measurable(one)][:_SIBLINGS]
        if not any(one.inode == file.inode for one in wanted):
            return
        for one in wanted:
            self._nursery.start_soon(self._measure_one, one, done if one.inode == file.inode else None)
        with trio.move_on_after(_ASK):
            await done.wait()

    def _neighbours(self, file: File) -> list[File]:
        row = file.row
        return [self._file(row, form) for form in self._forms(row) if form != Form.STEMS]

    def _measurable(self, file: File) -> bool:
        provider = self.catalog.providers[file.row.song.service]
        asset = asset_of(file.row, file.form, file.listed)
        if asset.member is not None or self.content.facts(asset).exact or self.content.blob(asset).one_pass:
            return False
        return provider.free(file.row.song, file.form) or self._measure_minted

    async def _measure_one(self, file: File, done: trio.Event | None) -> None:
        try:
            async with self._sides:
                await self.content.measure(asset_of(file.row, file.form, file.listed))
        except MusicfsError:
            pass  # an estimate is what `stat` shows then; the job has said why
        finally:
            if done is not None:
                done.set()

    # Files ---------------------------------------------------------------------------------------------

    async def open(self, inode: int, tid: int = 0) -> int:
        """Open a file and give its handle.

        Raises:
            Changed: the inode is of a version that is no more; the kernel looks the name up again.
            ScannerRefused: an indexer asks for what is not in the cache.
            MusicfsError: it cannot be had.
        """
        node = self.node(inode)
        if isinstance(node, Folder):
            raise IsADirectory("it is a folder")
        asset = asset_of(node.row, node.form, node.listed)
        if self._version(asset) != node.version:
            raise Changed("the service has other bytes now")
        if self._callers.is_scanner(tid) and not self._cached(asset):
            self.scanners_refused += 1
            raise ScannerRefused("indexers are served what is in the cache only")
        shown = self._size(node)
        opened = await self._open(asset)
        if opened.version != node.version:
            opened.close()
            raise Changed("the service has other bytes now")
        if shown != (opened.size, True):
            self.resized(inode)
        handle, self._next = self._next, self._next + 1
        self._handles[handle] = Handle(node, opened)
        return handle

    async def _open(self, asset: Asset) -> Opened:
        try:
            if asset.member is not None:
                return await self.archives.open(asset)
            return await self.content.open(asset)
        except BytesMissing as missing:
            if asset.listed:
                raise
            raise Withdrawn(str(missing)) from missing

    def _cached(self, asset: Asset) -> bool:
        return self.content.cached(asset) if asset.member is None else self.archives.cached(asset)

    async def read(self, handle: int, offset: int, length: int) -> bytes | memoryview:
        """Give exactly the bytes `[offset, offset + length)` of an open file, fewer only at its end."""
        return await self._handle(handle).opened.read(Span(offset, offset + length))

    def close(self, handle: int) -> None:
        """Close a handle."""
        self._handle(handle).opened.close()
        del self._handles[handle]

    def _handle(self, handle: int) -> Handle:
        found = self._handles.get(handle)
        if found is None:
            raise UnknownHandle("no such handle")
        return found

    @property
    def open_files(self) -> int:
        """How many handles are open."""
        return len(self._handles)

    def shut(self) -> None:
        """Close every handle, at the end."""
        for handle in list(self._handles):
            self.close(handle)


def asset_of(row: SongRow, form: str, listed: bool) -> Asset:
    """Give a row's form as an asset."""
    return Asset(row.song, form, listed)
