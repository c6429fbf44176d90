"""What is heard of the session with the kernel."""

from __future__ import annotations

import errno
import logging
import os

import pytest

from musicfs import session


@pytest.mark.parametrize(
    ("number", "said"),
    [
        *((errno.EINVAL, False), (errno.EBADF, False), (errno.ENODEV, False), (errno.ENOTCONN, False)),
        (errno.EIO, True),
    ],
)
def test_a_mount_that_has_gone_is_no_news(number: int, said: bool) -> None:
    """A name that was still to be let go of when the mount was taken away is not an error in the log."""
    failure = OSError(number, "fuse_lowlevel_notify_inval_entry returned")
    record = logging.LogRecord(
        "pyfuse3", logging.ERROR, __file__, 1, "Failed to submit", (), (OSError, failure, None)
    )
    assert session.news(record) is said
    assert session.news(logging.LogRecord("pyfuse3", logging.ERROR, __file__, 1, "else", (), None))


@pytest.mark.parametrize(("number", "said"), [(errno.ENOENT, False), (errno.EINVAL, True)])
def test_an_answer_that_nobody_waits_for_is_no_news(number: int, said: bool) -> None:
    """What pyfuse3 says of an answer to a request that the kernel took back is left out; any other stays."""
    words = ("fuse_release(): fuse_reply_* failed with %s", (os.strerror(number),))
    assert session.news(logging.LogRecord("pyfuse3", logging.ERROR, __file__, 1, *words, None)) is said
