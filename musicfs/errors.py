"""All that can go wrong, named once, and the errno each becomes.

How it thinks: code raises by the *name of the situation*; only this file knows numbers, and only the wall
in `fuse.py` asks for them. A foreign exception (httpx, OSError, zlib, sqlite3) never travels: it is
translated, with `raise … from`, at the door it came in by.

    MusicfsError                       never raised itself
    ├─ ConfigError                     a sentence for the user, exit 78; never reaches the kernel
    ├─ NoSuchEntry            ENOENT   a name or number that is not in the tree
    ├─ NotADirectory          ENOTDIR
    ├─ IsADirectory           EISDIR
    ├─ UnknownHandle          EBADF
    ├─ StillListed            EBUSY    asked to forget what a service still has; never reaches the kernel
    ├─ Crowded                EBUSY    too many are already waiting for the same answer
    ├─ ScannerRefused         EACCES   an indexer asked for what is not in the cache
    │  └─ ScanRefused         EACCES   a media server asked for more than a scan may have
    ├─ Changed                ESTALE   the version is gone: the service has other bytes now
    ├─ BadArchive             EIO      a stems ZIP that cannot be read
    ├─ UpstreamError          EIO      what a service did to us
    │  ├─ Refused             EACCES   401, 403; a link refused right after its mint
    │  │  ├─ Lapsed           EACCES   402: no subscription
    │  │  └─ AccountBroken    EACCES   596: that linked account has to be added again
    │  ├─ Withdrawn           ENOENT   404 or 410 of a thing asked for by its id; a failed job
    │  ├─ BytesMissing        EIO      a listed thing whose bytes answer 404: the entry stays
    │  ├─ LinkDead            EIO      a signed link refused; healed by a new mint, seen only inside
    │  ├─ NotFinished         EBUSY    the job is still being made
    │  ├─ Throttled           EBUSY    429; carries when to come back
    │  ├─ Unreachable         EHOSTUNREACH  no route, DNS, connection refused, TLS
    │  ├─ TooSlow             ETIMEDOUT     no answer, or a stall, beyond the deadline
    │  └─ Misbehaved          EIO      5xx, other 4xx, bad JSON, short body, HTML, wrong Content-Range
    └─ StoreError             EIO      the disk under cache or state
       └─ StoreFull           ENOSPC

What must always be true: every class has an errno (a test walks the family), and none of them is EAGAIN or
EINTR, because readers spin on those for ever (research: ffmpeg 2197 reads in 3 s, cat 45454).
No message may hold a token, a signed URL's query or an e-mail address: the raiser sees to it.
"""

from __future__ import annotations

import errno
import logging
from typing import ClassVar


class MusicfsError(Exception):
    """The root of the family; only its children are raised."""

    errno: ClassVar[int] = errno.EIO
    level: ClassVar[int] = logging.WARNING
    """How loud the wall logs it: players probe for missing names constantly, so those whisper."""
    said: ClassVar[bool] = False
    """Whether who met it has logged it, so that the wall need not: one failure, one line."""
    remedy: ClassVar[str] = ""
    """What a person can do, as one sentence; `musicfs why` prints it."""

    def __init__(self, message: str = "") -> None:
        if type(self) is MusicfsError:
            raise TypeError("raise a child that names the situation")
        super().__init__(message)


class ConfigError(MusicfsError):
    """A setting, token or folder that the user has to mend before anything can start."""


class MountRefused(ConfigError):
    """The kernel, or fusermount3, would not mount."""

    remedy = "Run: musicfs doctor."


class NoSuchEntry(MusicfsError):
    """The name or number is not in the tree."""

    errno = errno.ENOENT
    level = logging.DEBUG
    remedy = "Check the name (a song made a moment ago appears after the next refresh)."


class NotADirectory(MusicfsError):
    """A file was used as a folder."""

    errno = errno.ENOTDIR
    level = logging.DEBUG


class IsADirectory(MusicfsError):
    """A folder was used as a file."""

    errno = errno.EISDIR
    level = logging.DEBUG


class UnknownHandle(MusicfsError):
    """The kernel named a handle that was never given out or is closed."""

    errno = errno.EBADF


class StillListed(MusicfsError):
    """`musicfs forget` was asked to let go of what a service still has."""

    errno = errno.EBUSY
    level = logging.INFO


class Crowded(MusicfsError):
    """Too many requests already wait for the same slow answer."""

    errno = errno.EBUSY
    level = logging.INFO
    remedy = "Try again in a few seconds."


class ScannerRefused(MusicfsError):
    """An indexer or thumbnailer asked for what only a download can give."""

    errno = errno.EACCES
    level = logging.DEBUG
    remedy = "Play or copy the song once, or take the program off the `scanners` setting."


class ScanRefused(ScannerRefused):
    """A media server asked for more than heads and tails, or for more of them than a day has."""

    remedy = "Warm what it should play (musicfs warm), raise `media_budget`, or take it off `media_servers`."


class Changed(MusicfsError):
    """The version that was asked for is gone: the service serves other bytes now."""

    errno = errno.ESTALE
    # Whoever fetched the other bytes said so; to say "look again" to the kernel is all in a day's work.
    level = logging.INFO
    remedy = "Open the file again to get the new version."


class BadArchive(MusicfsError):
    """A stems ZIP that cannot be read."""

    said = True
    remedy = "Make the stems again at the service, because its ZIP is damaged."


class UpstreamError(MusicfsError):
    """What a service did to us."""

    said = True
    temporary: ClassVar[bool] = False
    """Whether `wire`, and nobody else, may ask again."""


class Refused(UpstreamError):
    """The service says no: a bad token, not ours."""

    errno = errno.EACCES
    remedy = "Check the token and the subscription: musicfs doctor tells which it is."


class Lapsed(Refused):
    """402: the subscription is missing or has ended."""

    remedy = "Renew the subscription at useapi.net."


class AccountBroken(Refused):
    """596: the linked account is in an error state."""

    remedy = "Add this account again at useapi.net (the other accounts are not affected)."


class Withdrawn(UpstreamError):
    """The thing asked for by its id does not exist (any more), or its job failed."""

    errno = errno.ENOENT
    level = logging.INFO
    remedy = "Check the id, because the service has no such song."


class BytesMissing(UpstreamError):
    """A listed thing whose bytes answer 404; the entry stays."""

    level = logging.INFO
    remedy = "Try another form, because the service lists the song but has no bytes for this one."


class LinkDead(UpstreamError):
    """A signed link was refused or is gone; a new one heals it."""

    remedy = "A new link is asked for at the next open."

    def __init__(self, message: str = "", missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
        """True: 404 or 410, the link leads to nothing; False: 401 or 403, it is refused."""


class NotFinished(UpstreamError):
    """The job is still being made."""

    errno = errno.EBUSY
    level = logging.INFO
    remedy = "Wait until the service has finished the song."


class Throttled(UpstreamError):
    """429. `retry_after` is the wait that the service asked for, in seconds, if it said one."""

    errno = errno.EBUSY
    level = logging.INFO
    temporary = True
    remedy = "Wait a little (it is tried again by itself)."

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(UpstreamError):
    """No route, DNS failure, connection refused or TLS failure: nobody answered."""

    errno = errno.EHOSTUNREACH
    temporary = True
    remedy = "Check the network (what is cached still plays)."


class TooSlow(UpstreamError):
    """No answer, or a stall, for longer than the deadline."""

    errno = errno.ETIMEDOUT
    temporary = True
    remedy = "Open the file again, because the service or the network was slow."


class Misbehaved(UpstreamError):
    """An answer that cannot be right: 5xx, an odd 4xx, bad JSON, a short body, HTML for audio."""

    temporary = True
    remedy = "Open the file again in a while, because the service has a problem."


class Rejected(Misbehaved):
    """An answer that asking again will not change (400 and the like)."""

    temporary = False


class StoreError(MusicfsError):
    """The disk under the cache or the state failed."""

    remedy = "Check the disk of the cache folder."


class StoreFull(StoreError):
    """There is no room for what must be kept."""

    errno = errno.ENOSPC
    remedy = "Free some disk space or raise the cache size."


def errno_for(failure: BaseException) -> int:
    """Say which errno a failure becomes; what is not of the family is EIO."""
    return failure.errno if isinstance(failure, MusicfsError) else errno.EIO
