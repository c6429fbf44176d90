"""The family of failures: every child has its errno, and none that makes readers spin."""

from __future__ import annotations

import errno
import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import musicfs
from musicfs.errors import (
    AccountBroken,
    BytesMissing,
    Changed,
    ConfigError,
    Crowded,
    MusicfsError,
    NoSuchEntry,
    NotFinished,
    Refused,
    ScannerRefused,
    StoreFull,
    Throttled,
    TooSlow,
    Unreachable,
    UpstreamError,
    Withdrawn,
    errno_for,
)


def family(root: type[MusicfsError] = MusicfsError) -> Iterator[type[MusicfsError]]:
    """Walk all children, also those that other rooms define."""
    if root is MusicfsError:
        for room in pkgutil.walk_packages(musicfs.__path__, "musicfs."):
            if not room.name.endswith("__main__"):
                importlib.import_module(room.name)
    for child in root.__subclasses__():
        yield child
        yield from family(child)


@pytest.mark.parametrize("kind", sorted(set(family()), key=str))
def test_every_failure_has_an_errno_that_ends_a_read(kind: type[MusicfsError]) -> None:
    """A known number, never EAGAIN or EINTR (readers try those again for ever), and a docstring."""
    assert kind.errno in errno.errorcode
    assert kind.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
    assert errno_for(kind.__new__(kind)) == kind.errno
    assert kind.__doc__
    assert kind.__doc__ != MusicfsError.__doc__


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (NoSuchEntry, errno.ENOENT),
        (Withdrawn, errno.ENOENT),
        (Refused, errno.EACCES),
        (AccountBroken, errno.EACCES),
        (ScannerRefused, errno.EACCES),
        (NotFinished, errno.EBUSY),
        (Throttled, errno.EBUSY),
        (Crowded, errno.EBUSY),
        (Changed, errno.ESTALE),
        (BytesMissing, errno.EIO),
        (TooSlow, errno.ETIMEDOUT),
        (Unreachable, errno.EHOSTUNREACH),
        (StoreFull, errno.ENOSPC),
    ],
)
def test_the_design_s_table_holds(kind: type[MusicfsError], number: int) -> None:
    """DESIGN §3, "Errors → errno"."""
    assert errno_for(kind("x")) == number


def test_a_stranger_is_eio() -> None:
    """What is not of the family has no better number."""
    assert errno_for(ValueError("x")) == errno.EIO
    assert errno_for(OSError(errno.EAGAIN, "again")) == errno.EIO


def test_the_root_is_never_raised_itself() -> None:
    """Code raises by the name of the situation."""
    with pytest.raises(TypeError, match="names the situation"):
        MusicfsError("x")


def test_only_upstream_s_failures_may_be_temporary() -> None:
    """`wire` asks this attribute; a setting or a full disk is never tried again."""
    assert not any(
        getattr(kind, "temporary", False) for kind in family() if not issubclass(kind, UpstreamError)
    )
    assert not issubclass(ConfigError, UpstreamError)


def test_throttled_says_when_to_come_back() -> None:
    """Seconds, if the service named them."""
    assert Throttled("x", 3.5).retry_after == 3.5
    assert Throttled("x").retry_after is None
