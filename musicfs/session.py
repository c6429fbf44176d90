"""The session with the kernel: how it begins and ends, who waits for it, and what the kernel is told.

How it thinks: pyfuse3 has one session a process, so there are functions here and no object. Its loop reads
the device with a blocking read after trio has said that it is readable; if the client that asked has been
killed in between, the read blocks the whole loop; `readiness` sees to that.

What must always be true: only `invalidate_entry_async` and `invalidate_inode(attr_only=True)` are called on
the loop, others can deadlock; what is said to a kernel that does not listen any more is no error.
"""

from __future__ import annotations

import errno
import logging
import os

import pyfuse3
from pyfuse3 import InodeT

from musicfs.readiness import Trio

log = logging.getLogger("musicfs.session")

_GONE = (errno.EINVAL, errno.EBADF, errno.ENODEV, errno.ENOTCONN)
"""What a name that is to be let go of meets: no session any more, or one that is being ended (libfuse), no
connection (the kernel)."""
TASKS = 1000  # handlers at a time: 180 waiting ones cost 1.3 MB, 99 (the default) can be held up by a desktop


def connect(kernel: pyfuse3.Operations, mountpoint: str, options: set[str]) -> None:
    """Make the kernel mount.

    Raises:
        RuntimeError: libfuse would not.
    """
    # The hook pyfuse3.asyncio uses itself: the module's global `trio` is what its session loop waits with.
    pyfuse3.trio = Trio()  # type: ignore[attr-defined]
    logging.getLogger("pyfuse3").addFilter(news)
    pyfuse3.init(kernel, mountpoint, options)


async def serve() -> None:
    """Take requests until the mount ends or `stop` is called."""
    await pyfuse3.main(min_tasks=1, max_tasks=TASKS)


def takes() -> bool:
    """Tell whether requests are taken, without making one: some were since the last time, or none waits."""
    return bool(pyfuse3.trio.lowlevel.takes())  # type: ignore[attr-defined]


def stop() -> None:
    """Take no more requests; `serve` returns when those under way are answered."""
    pyfuse3.terminate()


async def gone() -> None:
    """Wait until the mount has been taken away from outside, and the last who used it has left."""
    await pyfuse3.trio.lowlevel.gone.wait()  # type: ignore[attr-defined]


def disconnect(unmount: bool) -> None:
    """End the session; `unmount` lazily takes the mount away, whoever still uses it."""
    pyfuse3.trio.lowlevel.calm()  # type: ignore[attr-defined]
    pyfuse3.close(unmount=unmount)


def invalidate_attributes(inode: int) -> None:
    """Have the kernel ask for an inode's size and time again; safe in a handler, before its answer."""
    try:
        pyfuse3.invalidate_inode(InodeT(inode), attr_only=True)
    except OSError as unknown:
        # The kernel need not know the inode (ENOENT); anything else only costs a stale size for a while.
        log.debug("invalidate: %s", unknown.strerror)


def invalidate_name(parent: int, name: str) -> None:
    """Have the kernel let go of a name that is no longer there; queued, so it cannot block the loop."""
    pyfuse3.invalidate_entry_async(InodeT(parent), os.fsencode(name), ignore_enoent=True)


def news(record: logging.LogRecord) -> bool:
    """Tell whether pyfuse3 reports more than a name that was to be let go of by a mount that has gone, or an
    answer to a request that the kernel took back meanwhile (the mount was taken away, the asker killed)."""
    failure = record.exc_info[1] if record.exc_info else None
    if isinstance(failure, OSError):
        return failure.errno not in _GONE
    return not record.getMessage().endswith(f"fuse_reply_* failed with {os.strerror(errno.ENOENT)}")
