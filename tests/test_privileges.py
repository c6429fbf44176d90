"""What a sandboxed daemon gives up, tried by a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from musicfs import privileges

PROGRAM = """
import ctypes, os, pathlib, threading
from musicfs import privileges

assert ctypes.CDLL(None).prctl(8, 1, 0, 0, 0) == 0  # PR_SET_KEEPCAPS, as a unit keeps a right
os.setresuid(65534, 65534, 65534)

def held():
    lines = pathlib.Path("/proc/thread-self/status").read_text().splitlines()
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    return [int(line.split()[1], 16) for line in lines if line[:6] in sets]

later = []
assert any(held())
first = privileges.give_up()
thread = threading.Thread(target=lambda: later.append(held()))
thread.start()
thread.join()
print(first, any(held()), any(later[0]), privileges.give_up())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
def test_everything_is_given_up() -> None:
    """A user with capabilities has none afterwards, in no later thread either."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("True False False False\n", "")


def test_root_and_ordinary_users_give_up_nothing() -> None:
    """Root unmounts by itself later, and who has nothing loses nothing."""
    assert privileges.give_up() is False
