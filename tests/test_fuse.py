"""What the kernel's side does without a kernel."""

from __future__ import annotations

import errno
import logging
import os

import pytest
from pyfuse3 import FUSEError

from musicfs import fuse, operations
from musicfs.errors import StoreFull


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
    assert fuse.news(record) is said
    assert fuse.news(logging.LogRecord("pyfuse3", logging.ERROR, __file__, 1, "else", (), None))


@pytest.mark.parametrize(("number", "said"), [(errno.ENOENT, False), (errno.EINVAL, True)])
def test_an_answer_that_nobody_waits_for_is_no_news(number: int, said: bool) -> None:
    """What pyfuse3 says of an answer to a request that the kernel took back is left out; any other stays."""
    words = ("fuse_release(): fuse_reply_* failed with %s", (os.strerror(number),))
    assert fuse.news(logging.LogRecord("pyfuse3", logging.ERROR, __file__, 1, *words, None)) is said


@pytest.mark.trio
@pytest.mark.expected_log("read: no room")
async def test_what_the_wall_says_belongs_to_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is logged while its operation lasts, and the operation's end tells what the program got."""
    found: list[operations.Operation | None] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(operations.current())

    async def read(self: fuse.Kernel, fh: int) -> bytes:
        raise StoreFull("no room")

    kernel = fuse.Kernel.__new__(fuse.Kernel)
    kernel.deadline, kernel.failed = 5.0, lambda verb, failure: None
    monkeypatch.setattr(kernel, "_about", lambda verb, args: verb, raising=False)
    ear = Ear()
    logging.getLogger("musicfs.fuse").addHandler(ear)
    try:
        with pytest.raises(FUSEError):
            await fuse._wall(read)(kernel, 7)
    finally:
        logging.getLogger("musicfs.fuse").removeHandler(ear)
    (operation,) = found
    assert operation is operations.LAST[-1]
    assert (operation.verb, operation.target) == ("read", 7)
    assert os.strerror(errno.ENOSPC) in operation.told()
