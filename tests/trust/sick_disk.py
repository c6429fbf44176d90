"""A disk that falls ill on demand: `python -m tests.trust.sick_disk SOURCE MOUNTPOINT SWITCH`.

How it thinks: a FUSE file system that hands everything through to the folder SOURCE, and whose files hold
their pages back from nobody (direct I/O, no timeouts). As long as the file SWITCH holds `read`, `write` or
`all`, the operations of that kind answer EIO: a real one, from the kernel, at the system calls of whoever
uses it. A kernel with device-mapper would have its `error` target for this; the one of the tests need not.

What must always be true: what it answers when it is well is what SOURCE holds; it refuses nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileHandleT, FileInfo, FUSEError, InodeT, RequestContext, StatvfsData

from tests.mounted.mounting import take_away, until

WRITES = ("create", "write", "setattr", "mkdir", "unlink", "rmdir", "rename")


class SickDisk(pyfuse3.Operations):
    """The pass-through."""

    def __init__(self, source: Path, switch: Path) -> None:
        super().__init__()
        self._switch = switch
        self._paths: dict[int, Path] = {pyfuse3.ROOT_INODE: source}
        self._numbers: dict[Path, int] = {source: pyfuse3.ROOT_INODE}

    def path(self, inode: int, name: bytes = b"") -> Path:
        """Say where something lies."""
        return self._paths[inode] / os.fsdecode(name)

    @contextlib.contextmanager
    def well(self, verb: str) -> Iterator[None]:
        """Answer EIO if the disk is ill of this verb; give every other error as the source has it."""
        with contextlib.suppress(FileNotFoundError):
            ill = self._switch.read_text()
            if ill == "all" or ill == verb or (ill == "write" and verb in WRITES):
                raise FUSEError(errno.EIO)
        try:
            yield
        except OSError as failed:
            raise FUSEError(failed.errno or errno.EIO) from failed

    def _shown(self, path: Path) -> EntryAttributes:
        found, shown = path.lstat(), EntryAttributes()
        number = self._numbers.setdefault(path, len(self._paths) + 1)
        self._paths[number] = path
        shown.st_ino = InodeT(number)
        for name in ("mode", "nlink", "uid", "gid", "size", "blksize", "blocks"):
            setattr(shown, f"st_{name}", getattr(found, f"st_{name}"))
        for name in ("atime_ns", "ctime_ns", "mtime_ns"):
            setattr(shown, f"st_{name}", getattr(found, f"st_{name}"))
        shown.entry_timeout = shown.attr_timeout = 0
        return shown

    async def lookup(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> EntryAttributes:
        with self.well("lookup"):
            return self._shown(self.path(parent_inode, name))

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        with self.well("getattr"):
            return self._shown(self.path(inode))

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: Any, fh: FileHandleT | None, ctx: RequestContext
    ) -> EntryAttributes:
        with self.well("setattr"):
            path = self.path(inode)
            if fields.update_size:
                os.truncate(path, attr.st_size)
            if fields.update_mtime:
                os.utime(path, ns=(attr.st_mtime_ns, attr.st_mtime_ns))
            return self._shown(path)

    async def mkdir(
        self, parent_inode: InodeT, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        with self.well("mkdir"):
            self.path(parent_inode, name).mkdir(mode & 0o777)
            return self._shown(self.path(parent_inode, name))

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        with self.well("opendir"):
            return FileHandleT(inode)

    async def readdir(self, fh: FileHandleT, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        with self.well("readdir"):
            for place, name in enumerate(sorted(os.listdir(self.path(fh))), 1):
                shown = self._shown(self.path(fh, os.fsencode(name)))
                if place > start_id and not pyfuse3.readdir_reply(token, os.fsencode(name), shown, place):
                    return

    async def create(
        self, parent_inode: InodeT, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        with self.well("create"):
            path = self.path(parent_inode, name)
            file = os.open(path, flags | os.O_CREAT, mode & 0o777)
            return FileInfo(fh=FileHandleT(file), direct_io=True), self._shown(path)

    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        with self.well("open"):
            return FileInfo(fh=FileHandleT(os.open(self.path(inode), flags)), direct_io=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        with self.well("read"):
            return os.pread(fh, size, off)

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        with self.well("write"):
            return os.pwrite(fh, buf, off)

    async def release(self, fh: FileHandleT) -> None:
        os.close(fh)

    async def unlink(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> None:
        with self.well("unlink"):
            path = self.path(parent_inode, name)
            path.unlink()
            self._numbers.pop(path, None)

    async def rename(
        self, parent_inode_old: InodeT, name_old: bytes, parent_inode_new: InodeT, name_new: bytes,
        flags: int, ctx: RequestContext,
    ) -> None:  # fmt: skip
        with self.well("rename"):
            old, new = self.path(parent_inode_old, name_old), self.path(parent_inode_new, name_new)
            old.replace(new)
            if (number := self._numbers.pop(old, None)) is not None:
                self._paths[number], self._numbers[new] = new, number

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        with self.well("statfs"):
            found, data = os.statvfs(self._paths[pyfuse3.ROOT_INODE]), StatvfsData()
            for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail"):
                setattr(data, f"f_{name}", getattr(found, f"f_{name}"))
            return data


class Illness:
    """What a test holds in its hand: the disk's health."""

    def __init__(self, switch: Path) -> None:
        self._switch = switch

    def begin(self, kind: str) -> None:
        """Fall ill: `read`, `write` or `all`."""
        fresh = self._switch.with_suffix(".new")
        fresh.write_text(kind)
        fresh.replace(self._switch)

    def end(self) -> None:
        """Be well again."""
        self._switch.unlink(missing_ok=True)


@contextlib.contextmanager
def sick_disk(mountpoint: Path) -> Iterator[Illness]:
    """Mount a disk that can fall ill on a new folder; what it holds lies beside it."""
    source, switch = mountpoint.with_name("disk"), mountpoint.with_name("switch")
    source.mkdir(mode=0o700)
    mountpoint.mkdir()
    program = [sys.executable, "-m", "tests.trust.sick_disk", str(source), str(mountpoint), str(switch)]
    disk = subprocess.Popen(program)
    try:
        until(lambda: os.path.ismount(mountpoint))
        yield Illness(switch)
    finally:
        take_away(mountpoint)
        disk.terminate()
        disk.wait(10)


def main(arguments: Sequence[str]) -> None:
    """Serve until it is taken away."""
    source, mountpoint, switch = map(Path, arguments)
    pyfuse3.init(SickDisk(source, switch), str(mountpoint), {"fsname=sickdisk", "default_permissions"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(sys.argv[1:])
