"""The verbs: look up, list, stat, open, read, close. It runs and is tested without a kernel.

How it thinks: `finding` knows what names stand for, `sizing` what `stat` shows; here are the kernel's
references, and the order of things at `open`: right version, not an indexer, exact size, and all that can be
foreseen to fail, failing. For a file that is whole in the cache nothing of this can go wrong, and nobody is
waited for: `open_here` and `read_here` are the short way, and know when it is not theirs.

What must always be true: an inode stands for one version of one file; whoever opens gets a handle that is
released once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import msgspec
import trio

from musicfs.catalog import Catalog
from musicfs.content import Asset, Content, Opened
from musicfs.content.archive import Archives
from musicfs.content.siblings import Siblings
from musicfs.core.inodes import ROOT, Register
from musicfs.core.tree import Entry, File, Folder, Node, Written
from musicfs.errors import (
    BytesMissing,
    Changed,
    IsADirectory,
    NoSuchEntry,
    NotADirectory,
    ScannerRefused,
    ScanRefused,
    Withdrawn,
)
from musicfs.filesystem.finding import Finding
from musicfs.filesystem.following import Following
from musicfs.filesystem.handles import Handle, Handles
from musicfs.filesystem.notices import Notices
from musicfs.filesystem.scanning import Budget
from musicfs.filesystem.sizing import GUESSED, Attributes, Sizing
from musicfs.filesystem.usage import Usage
from musicfs.filesystem.walks import Walks
from musicfs.model import Form, Span

NEGATIVE = 10.0  # seconds the kernel may believe that a name does not exist (DESIGN §3)


class Asks(Protocol):
    """Who is asking."""

    def is_scanner(self, tid: int) -> bool:
        """Tell whether a thread belongs to an indexer or thumbnailer."""
        ...

    def name(self, tid: int) -> str:
        """Say which program a thread belongs to, or `?`."""
        ...

    def is_media_server(self, tid: int) -> bool:
        """Tell whether a thread belongs to a program that may scan, by heads and tails."""
        ...

    def process(self, tid: int) -> int:
        """Give the process that a thread belongs to."""
        ...


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
        room: Callable[[], int] = lambda: 0,
        spare: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        budget: Budget | None = None,
        hints: Sequence[str] = (),
    ) -> None:
        """Put the rooms together; `room` says how many bytes the cache can take for what comes next,
        `spare` waits until the service could make one mp3 more that nobody has opened,
        `budget` what media servers may have fetched, `hints` which empty files the top shows."""
        self._budget = budget or Budget(0)
        self.catalog, self.content, self.archives = catalog, content, archives
        self.finding = Finding(nursery, catalog, content, archives, deadline, hints)
        self.sizing = Sizing(nursery, catalog, content, archives, self.finding, measure_minted)
        self.ahead = Siblings(nursery, content, archives, room, spare)
        self._following = Following(callers, Walks(catalog, self.finding), self.ahead, self._cached)
        self._callers = callers
        self.resized = resized
        """Called with an inode whose size the kernel should ask for again."""
        self.left: Callable[[int, str], None] = lambda parent, name: None
        """Called with a folder's inode and a name in it that the kernel should look up again."""
        self.dated: Callable[[int], None] = lambda inode: None
        """Called with a folder's inode whose time the kernel should ask for again."""
        self.register: Register[Node] = Register()
        self.notices = Notices(
            catalog,
            archives,
            lambda parent, name: self.left(parent, name),
            lambda inode: self.dated(inode),
            lambda inode: self.register.get(inode) is not None,
            self.finding.writing.names(),
        )
        catalog.on_left, catalog.on_changed = self.notices.left, self.notices.listed
        catalog.on_told = self.notices.told
        self._handles = Handles()
        self.usage = Usage()

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
        if not isinstance(node, Folder):
            raise NotADirectory("it is a file")
        return node

    def shown(self, entry: Entry) -> tuple[Node, Attributes]:
        """Give what a listing shows of an entry."""
        node, known = self.finding.seen(entry)
        sizing = self.sizing
        return node, sizing.of_file(node, known) if isinstance(node, File) else sizing.attributes(node)

    # Lookup --------------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str, tid: int = 0) -> Attributes:
        """Find a name in a folder; the kernel holds one more reference to it.

        Raises:
            NoSuchEntry: it does not exist.
            ScannerRefused: an indexer asks what only a download can tell.
            MusicfsError: it cannot be said now.
        """
        folder = self.folder(parent)
        self._spare(folder, tid)
        try:
            node = await self.finding.find(folder, name)
        except NoSuchEntry:
            self.notices.absent(parent, name)
            raise
        self.register.remember(node.inode, node)
        attributes = self.sizing.attributes(node)
        if isinstance(node, File) and not self.notices.reach(node, folder.path, name):
            return msgspec.structs.replace(attributes, name_for=GUESSED)
        return attributes

    def relative(self, inode: int, up: bool) -> Attributes:
        """Give a node itself, or the folder above it; one more reference, like `lookup`."""
        node = self.node(inode)
        if up and isinstance(node, Folder) and node.path:
            above = node.path[:-1]
            node = Folder(above, node.row if len(above) >= 2 else None)
        if node.inode != ROOT:
            self.register.remember(node.inode, node)
        return self.sizing.attributes(node)

    # Listing -------------------------------------------------------------------------------------------

    async def entries(self, inode: int, tid: int = 0) -> list[Entry]:
        """List a folder, waiting for what was never seen.

        Raises:
            ScannerRefused: an indexer asks what only a download can tell.
            MusicfsError: it cannot be had; never an empty or partial list.
        """
        folder = self.folder(inode)
        self._spare(folder, tid)
        return await self.finding.entries(folder)

    def _spare(self, folder: Folder, tid: int) -> None:
        """Keep whoever scans from the link and the bytes that a `stems/` costs which was never seen."""
        serves = self._callers.is_media_server(tid)
        self.sizing.served |= serves
        if self.finding.unseen(folder) and (serves or self._callers.is_scanner(tid)):
            refused = ScannerRefused("indexers are shown the stems that somebody has listed before")
            raise self.usage.refuse(self._callers.name(tid), folder.inode, refused)

    # Stat ----------------------------------------------------------------------------------------------

    async def getattr(self, inode: int, tid: int = 0) -> Attributes:
        """Give what `stat` shows, asking byte servers that need no link for an exact size, briefly; for a
        media server, which keeps the size it was told, those that need one too."""
        node = self.node(inode)
        if (opened := self._opened(node)) is not None:
            # Its version may be gone meanwhile: the bytes that are read have the length they had at `open`.
            return msgspec.structs.replace(self.sizing.attributes(node), size=opened.size, valid_for=0.0)
        if isinstance(node, File) and node.listed and not self.sizing.size(node)[1]:
            await self.sizing.measure(node, self._callers.is_media_server(tid) and self._budget.left)
        return self.sizing.attributes(node)

    def _opened(self, node: Node) -> Opened | None:
        """Give an open file of this very version, if the service has another one by now."""
        if not isinstance(node, File) or not self._handles:
            return None
        if self.finding.version(Asset(node.row.song, node.form, node.listed)) == node.version:
            return None
        return self._handles.of(node)

    # Files ---------------------------------------------------------------------------------------------

    def open_here(self, inode: int, tid: int = 0) -> int | None:
        """Open a file that is whole in the cache and give its handle; None where `open` is to be asked."""
        node: Node | None = self.register.get(inode)
        if not isinstance(node, File) or inode in self.sizing.guessed:
            return None
        opened = self.content.open_here(node.row.song, node.form, node.version)
        if opened is None:
            return None
        self._following.opening(node, tid)
        handle = self._handles.hold(Handle(node, opened, self._callers.name(tid), 0.0, True))
        self._following.opened(handle, node, opened.size, tid)
        return handle

    async def open(self, inode: int, tid: int = 0) -> int:
        """Open a file and give its handle.

        Raises:
            Changed: the inode is of a version that is no more; the kernel looks the name up again.
            ScannerRefused: an indexer asks for what is not in the cache.
            MusicfsError: it cannot be had.
        """
        if (handle := self.open_here(inode, tid)) is not None:
            return handle
        node = self.node(inode)
        if isinstance(node, Folder):
            raise IsADirectory("it is a folder")
        if isinstance(node, Written):
            text = self.finding.writing.open(node)
            return self._handles.hold(Handle(node, text, self._callers.name(tid), 0.0, True))
        asset = Asset(node.row.song, node.form, node.listed)
        if self.finding.version(asset) != node.version:
            # The kernel looks up again once, so what it finds has to stay: an mp3 that gave way is made anew,
            # and would be another version by then.
            if not self._callers.is_scanner(tid):
                (await self._open(asset)).close()
            raise Changed("the service has other bytes now")
        began, here = trio.current_time(), self._cached(asset)
        program = self._callers.name(tid)
        if not here and not node.form.startswith(Form.COVER) and self._callers.is_scanner(tid):
            refused = ScannerRefused("indexers are served what is in the cache only")
            raise self.usage.refuse(program, inode, refused)
        shown, budget = self.sizing.size(node), None
        if not here and self._callers.is_media_server(tid):
            budget, tid = self._budget, 0  # nobody follows it: it gets no thread
        self._following.opening(node, tid)
        try:
            opened = await self._open(asset, budget, program)
        except ScanRefused as beyond:
            raise self.usage.refuse(program, inode, beyond) from None
        if opened.version != node.version:
            opened.close()
            raise Changed("the service has other bytes now")
        if shown != (opened.size, True) or inode in self.sizing.guessed:
            self.sizing.guessed.discard(inode)
            self.resized(inode)
        took = trio.current_time() - began
        handle = self._handles.hold(Handle(node, opened, program, took, here))
        self._following.opened(handle, node, opened.size, tid)
        return handle

    async def _open(self, asset: Asset, budget: Budget | None = None, program: str = "") -> Opened:
        try:
            if budget is not None:
                return await budget.open(self.content, asset)
            if asset.member is not None:
                return await self.archives.open(asset)
            return await self.content.open(asset, who=program)
        except BytesMissing as missing:
            if asset.listed:
                raise
            raise Withdrawn(str(missing)) from missing

    def _cached(self, asset: Asset) -> bool:
        return self.content.cached(asset) if asset.member is None else self.archives.cached(asset)

    def read_here(self, handle: int, offset: int, length: int) -> bytes | memoryview | None:
        """Give what `read` would, if nobody has to be waited for; else None."""
        held, span = self._handles.find(handle), Span(offset, offset + length)
        data = held.opened.here(span)
        return None if data is None else self._given(handle, held, span, data, 0.0)

    async def read(self, handle: int, offset: int, length: int) -> bytes | memoryview:
        """Give exactly the bytes `[offset, offset + length)` of an open file, fewer only at its end."""
        held, span, began = self._handles.find(handle), Span(offset, offset + length), trio.current_time()
        try:
            data = await held.opened.read(span)
        except ScanRefused as beyond:
            raise self.usage.refuse(held.program, held.file.inode, beyond) from None
        return self._given(handle, held, span, data, trio.current_time() - began)

    def _given(
        self, handle: int, held: Handle, span: Span, data: bytes | memoryview, waited: float
    ) -> bytes | memoryview:
        """Take note of a read that is answered with `data` after so many seconds."""
        self._following.read(handle, span)
        self.usage.read(len(data), held.here)
        if held.untouched:
            held.untouched = False
            self.usage.first_byte(held.took + waited, held.here)
        return data

    def close(self, handle: int) -> None:
        """Close a handle."""
        self._handles.close(handle)
        self._following.closed(handle)

    @property
    def open_files(self) -> int:
        """How many handles are open."""
        return len(self._handles)

    @property
    def handles(self) -> Collection[Handle]:
        """Every open file."""
        return self._handles.all

    def file_of(self, handle: int) -> File | Written:
        """Say which file a handle was opened for."""
        return self._handles.find(handle).file

    @property
    def scanners_refused(self) -> int:
        """How often an indexer was refused."""
        return self.usage.refused.total()

    def shut(self) -> None:
        """Close every handle, at the end."""
        for handle in self._handles.numbers:
            self.close(handle)
