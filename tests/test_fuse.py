"""What the kernel's side does without a kernel."""

from __future__ import annotations

import errno
import logging
import os

import pytest
from pyfuse3 import FUSEError

from musicfs import fuse, operations
from musicfs.errors import StoreFull


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
