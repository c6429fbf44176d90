"""What the kernel's side does without a kernel."""

from __future__ import annotations

import errno
import logging
import os
from math import inf

import pytest
import trio
import trio.testing
from pyfuse3 import FUSEError

from musicfs import fuse, operations
from musicfs.errors import MusicfsError, StoreFull


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


@pytest.mark.trio
@pytest.mark.expected_log("read: ")
async def test_what_can_be_answered_at_once_has_no_deadline(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is here is answered without a way to the clock; where it is not, the handler waits, and not beyond
    the deadline; a failure on the short way is an errno as well."""
    answers: list[bytes | MusicfsError | None] = [b"here", StoreFull("no room"), None]
    limits: list[float] = []

    def read_here(self: fuse.Kernel, fh: int) -> bytes | None:
        limits.append(trio.current_effective_deadline())
        answer = answers.pop(0)
        if isinstance(answer, MusicfsError):
            raise answer
        return answer

    async def read(self: fuse.Kernel, fh: int) -> bytes:
        limits.append(trio.current_effective_deadline() - trio.current_time())
        await trio.sleep_forever()
        return b""

    kernel = fuse.Kernel.__new__(fuse.Kernel)
    kernel.deadline, kernel.failed = 5.0, lambda verb, failure: None
    monkeypatch.setattr(kernel, "_about", lambda verb, args: verb, raising=False)
    walled = fuse._at_once(read_here)(read)
    assert await walled(kernel, 7) == b"here"
    assert limits == [inf]
    with pytest.raises(FUSEError) as refused:
        await walled(kernel, 7)
    assert refused.value.errno == errno.ENOSPC
    with pytest.raises(FUSEError) as late:
        await walled(kernel, 7)
    assert late.value.errno == errno.ETIMEDOUT
    assert limits[2:] == [inf, 5.0]
