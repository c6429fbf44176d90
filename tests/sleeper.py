"""A real mount whose daemon does nothing: to be found, stopped, killed and unmounted by tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import host

DAEMON = """
import sys, pyfuse3, trio
class Idle(pyfuse3.Operations):
    async def statfs(self, ctx):
        return pyfuse3.StatvfsData()
pyfuse3.init(Idle(), sys.argv[1], {"fsname=musicfs:test", "subtype=musicfs", "ro"})
print("mounted", flush=True)
trio.run(pyfuse3.main)
pyfuse3.close()
"""


@contextlib.contextmanager
def sleeper(mountpoint: Path) -> Iterator[subprocess.Popen[str]]:
    """Mount it; afterwards it is dead and unmounted, whatever the test did to it."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse that this user may open")
    mountpoint.mkdir()
    command = [sys.executable, "-c", DAEMON, str(mountpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "mounted\n"
            yield process
        finally:
            process.kill()
            process.wait()
            if host.find_mount(mountpoint) is not None:
                host.detach(mountpoint, lazy=True)
