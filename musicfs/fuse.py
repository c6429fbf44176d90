"""The kernel's side: questions and answers between pyfuse3 and `filesystem`, and the wall.

How it thinks: every handler is behind one wall. In pyfuse3 anything but FUSEError that leaves a handler
ends the mount, so the wall turns the family into its errno, everything else into EIO with a traceback in
the log, and gives each request its deadline. Names are bytes here and nowhere else. A folder's entries are
fixed when it is opened; what leaves before they are listed is shown, and the kernel does not keep it.

What must always be true: no handler waits longer than the deadline; nothing here decides anything.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FUSEError, InodeT, RequestContext, StatvfsData

from musicfs import operations
from musicfs.core.tree import Entry, Node, title
from musicfs.errors import MusicfsError, NoSuchEntry, TooSlow, UnknownHandle, errno_for
from musicfs.filesystem import NEGATIVE, Attributes, Filesystem
from musicfs.session import invalidate_attributes, invalidate_name

log = logging.getLogger("musicfs.fuse")

P = ParamSpec("P")
T = TypeVar("T")
_BLOCK = 512  # bytes a unit of st_blocks has, by POSIX
_STATFS = 4096  # bytes a unit of statfs has here
_place = attrgetter("place")

_WAIT = frozenset({"lookup", "getattr", "opendir", "open", "read"})
"""The handlers that wait for anybody; to the others a deadline would be a tenth of what they cost."""


def _wall(
    handler: Callable[Concatenate[Kernel, P], Coroutine[Any, Any, T]],
    first: Callable[Concatenate[Kernel, P], T | None] | None = None,
) -> Callable[Concatenate[Kernel, P], Coroutine[Any, Any, T]]:
    """Let nothing but FUSEError out, and nothing wait longer than the deadline; each is an operation.

    What `first` can answer waits for nobody, and so needs no deadline: that is a sixth of what `open` costs.
    """
    verb, waits = handler.__name__, handler.__name__ in _WAIT
    aimed = verb != "statfs"  # which is given nothing but who asks

    async def walled(self: Kernel, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with operations.Operation(verb, args[0] if aimed else None):
            try:
                try:
                    if not waits:
                        return await handler(self, *args, **kwargs)
                    if first is not None and (answer := first(self, *args, **kwargs)) is not None:
                        return answer
                    with trio.fail_after(self.deadline):
                        return await handler(self, *args, **kwargs)
                except trio.TooSlowError as late:
                    raise TooSlow("no answer within the deadline") from late
            except FUSEError:
                raise
            except MusicfsError as failed:
                log.log(logging.DEBUG if failed.said else failed.level, "%s: %s", verb, failed)
                self.failed(self._about(verb, args), failed)
                raise FUSEError(errno_for(failed)) from failed
            except Exception as broken:
                log.exception("%s broke", verb)
                raise FUSEError(errno.EIO) from broken

    functools.update_wrapper(walled, handler)
    return walled


def _at_once(
    first: Callable[Concatenate[Kernel, P], T | None],
) -> Callable[
    [Callable[Concatenate[Kernel, P], Coroutine[Any, Any, T]]],
    Callable[Concatenate[Kernel, P], Coroutine[Any, Any, T]],
]:
    """Build the wall around a handler whose answer may be here already; `first` gives it, or None."""
    return lambda handler: _wall(handler, first)


class Kernel(pyfuse3.Operations):
    """The handlers. `room` gives (bytes in all, bytes free) for statfs, from local numbers."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = False
    marks: Callable[[Node], Mapping[str, str]]
    """Gives a node's extended attributes; only `Marked` has handlers for them."""

    def __init__(
        self,
        filesystem: Filesystem,
        deadline: float,
        owner: Owner,
        room: Callable[[], tuple[int, int]],
        failed: Callable[[str, MusicfsError], None] = lambda verb, failure: None,
    ) -> None:
        super().__init__()
        self.deadline, self.failed = deadline, failed
        self._files, self._owner, self._room = filesystem, owner, room
        self._listings: dict[int, _Listing] = {}
        self._next = 1
        filesystem.resized = filesystem.dated = invalidate_attributes
        filesystem.left = self._let_go

    # Names ---------------------------------------------------------------------------------------------

    @_wall
    async def lookup(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Answer a name; one that does not exist is answered too, so that the kernel remembers it."""
        if name in (b".", b".."):
            # Asked for by NFS servers only: the kernel walks these itself.
            return self._attributes(self._files.relative(parent_inode, up=name == b".."))
        try:
            return self._attributes(
                await self._files.lookup(parent_inode, name.decode("utf-8", "surrogateescape"), ctx.pid)
            )
        except NoSuchEntry:
            absent = EntryAttributes()
            absent.st_ino = InodeT(0)
            absent.entry_timeout = NEGATIVE
            return absent

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Take back references."""
        for inode, times in inode_list:
            try:
                self._files.register.forget(inode, times)
            except Exception:
                # There is no answer to put an errno into, so this handler has its own small wall.
                log.exception("forget broke")

    @_wall
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        """Answer `stat`."""
        return self._attributes(await self._files.getattr(inode, ctx.pid))

    # Folders -------------------------------------------------------------------------------------------

    @_wall
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        """Open a folder; what it holds is fixed here, so that a listing can fail in one place."""
        entries = await self._files.entries(inode, ctx.pid)
        handle, self._next = self._next, self._next + 1
        self._listings[handle] = _Listing(inode, entries)
        return FileHandleT(handle)

    @_wall
    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """List from the place behind `start_id`; every name that is taken is one more reference."""
        if fh not in self._listings:
            raise UnknownHandle("no such folder handle")
        entries, gone = self._listings[fh].entries, self._listings[fh].gone
        look, show, reply = self._files.shown, self._show, pyfuse3.readdir_reply
        remember = self._files.register.remember
        shown = self._blank()  # one for all: the reply copies it
        for entry in islice(entries, bisect_right(entries, start_id, key=_place), None):
            node, attributes = look(entry)
            show(attributes, shown)
            name = entry.name
            if name in gone:
                shown.entry_timeout = 0.0
            if not reply(token, name.encode("utf-8", "surrogateescape"), shown, entry.place):
                return
            remember(attributes.inode, node)

    @_wall
    async def releasedir(self, fh: FileHandleT) -> None:
        """Close a folder."""
        self._listings.pop(fh, None)

    # Files ---------------------------------------------------------------------------------------------

    def _open_here(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo | None:
        handle = self._files.open_here(inode, ctx.pid)
        return None if handle is None else FileInfo(fh=FileHandleT(handle), keep_cache=True, direct_io=False)

    @_at_once(_open_here)
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file; its pages stay valid, because an inode is one version."""
        handle = await self._files.open(inode, ctx.pid)
        return FileInfo(fh=FileHandleT(handle), keep_cache=True, direct_io=False)

    def _read_here(self, fh: FileHandleT, off: int, size: int) -> bytes | None:
        return self._files.read_here(fh, off, size)  # type: ignore[return-value]

    @_at_once(_read_here)
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        """Read; pyfuse3 takes any buffer."""
        return await self._files.read(fh, off, size)  # type: ignore[return-value]

    @_wall
    async def release(self, fh: FileHandleT) -> None:
        """Close a file."""
        self._files.close(fh)

    @_wall
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Answer `df` from local numbers."""
        total, free = self._room()
        data = StatvfsData()
        data.f_bsize = data.f_frsize = _STATFS
        data.f_blocks = total // _STATFS
        data.f_bfree = data.f_bavail = free // _STATFS
        data.f_files, data.f_ffree, data.f_favail = len(self._files.register), 0, 0
        data.f_namemax = 255
        return data

    def title(self, operation: operations.Operation) -> str:
        """Name what a request is or was about; its inode or handle where nobody knows any more."""
        verb, target = operation.verb, operation.target
        if target is None:
            return "the whole mount" if verb == "statfs" else "on the control socket"
        if verb in ("readdir", "releasedir") and target in self._listings:
            target = self._listings[target].inode
        elif verb in ("release", "releasedir", "readdir"):
            return f"handle {target}"
        found = self._about(verb, (target,))
        return f"handle {target}" if found == verb else found

    def _about(self, verb: str, args: Sequence[Any]) -> str:
        """Name what a failed request was about, as a person knows it."""
        try:
            find = self._files.file_of if verb == "read" else self._files.node
            return title(find(args[0]))
        except (MusicfsError, IndexError, TypeError):
            return verb

    def _let_go(self, parent: int, name: str) -> None:
        """Have the kernel let go of a name, and not take it back from a listing that was begun before."""
        for listing in self._listings.values():
            if listing.inode == parent:
                listing.gone.add(name)
        invalidate_name(parent, name)

    @property
    def open_folders(self) -> int:
        """How many folder handles are open."""
        return len(self._listings)

    def _attributes(self, what: Attributes) -> EntryAttributes:
        shown = self._blank()
        self._show(what, shown)
        return shown

    def _blank(self) -> EntryAttributes:
        """Give what is the same of all nodes."""
        shown = EntryAttributes()
        shown.st_uid, shown.st_gid = self._owner.uid, self._owner.gid
        shown.st_blksize = 131_072  # what the kernel reads at a time
        return shown

    def _show(self, what: Attributes, shown: EntryAttributes) -> None:
        size, folder = what.size, what.folder
        shown.st_ino = what.inode
        shown.st_mode = self._owner.folder_mode if folder else self._owner.file_mode
        shown.st_nlink = what.links
        shown.st_size = size
        shown.st_blocks = 0 if folder else -(-size // _BLOCK)
        shown.st_atime_ns = shown.st_mtime_ns = shown.st_ctime_ns = what.mtime_ns
        shown.entry_timeout, shown.attr_timeout = what.name_for, what.valid_for


class Marked(Kernel):
    """The handlers of a mount whose files explain themselves in extended attributes.

    Where they are not wanted there are no such handlers: the kernel is told ENOSYS once and never asks again.
    """

    @_wall
    async def getxattr(self: Kernel, inode: InodeT, name: bytes, ctx: RequestContext) -> bytes:
        """Give one attribute."""
        value = self.marks(self._files.node(inode)).get(os.fsdecode(name))
        if value is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return value.encode()

    @_wall
    async def listxattr(self: Kernel, inode: InodeT, ctx: RequestContext) -> Sequence[bytes]:
        """List their names."""
        return [name.encode() for name in self.marks(self._files.node(inode))]


class Owner:
    """Whose the files are, and their modes."""

    def __init__(self, uid: int, gid: int, umask: int) -> None:
        self.uid, self.gid = uid, gid
        # 0644 and not 0444: every `cp -p` copy would be read-only (DESIGN §1).
        self.file_mode = 0o100644 & ~umask
        self.folder_mode = 0o040755 & ~umask


@dataclass(slots=True)
class _Listing:
    """A folder that is being listed, and the names in it that were let go of meanwhile."""

    inode: int
    entries: list[Entry]
    gone: set[str] = field(default_factory=set)
