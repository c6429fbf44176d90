"""`--daemon` comes back when the mount is ready, or has failed, and says why."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import control
from musicfs.demo import Service
from tests.loopback import running
from tests.mounted.mounting import Mount, run, take_away, until

SERVE = """
import sys, time
import logging
logging.basicConfig()
from pathlib import Path
from musicfs.commands import behind
behind.LIMIT, behind.END = {limit}, 0.5
def serve(ready):
    {body}
sys.exit(behind.run(Path("/nowhere"), serve))
"""


@pytest.fixture
def mount(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Give a mount that is not started."""
    service.add_clip("ada@example.com", "Dawn", 3.0)
    (tmp_path / "run").mkdir(mode=0o700)
    with running(service) as loop:
        mount = Mount(loop, tmp_path)
        yield mount
        take_away(mount.path)


def test_it_is_ready_when_the_command_ends(mount: Mount) -> None:
    """The mount is there, its daemon belongs to nobody's session, and its pipes are closed."""
    done = mount.ask("mount", "--daemon", str(mount.path))  # would not end while anybody held its pipes
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mount.songs() == {"Dawn"}
    daemon = control.find([mount.home / "run/musicfs"], mount.path)
    assert os.getsid(daemon.pid) == daemon.pid
    assert {os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in range(3)} == {"/dev/null"}
    assert mount.ask("umount", str(mount.path)).returncode == 0
    until(lambda: not control.is_running(daemon.pid))


def test_it_reloads_behind(mount: Mount) -> None:
    """SIGHUP is a reload for a daemon, which has no terminal to lose."""
    assert mount.ask("mount", "--daemon", str(mount.path)).returncode == 0
    daemon = control.find([mount.home / "run/musicfs"], mount.path)
    os.kill(daemon.pid, 1)
    assert mount.songs() == {"Dawn"}
    assert mount.ask("umount", str(mount.path)).returncode == 0


def test_a_second_one_is_refused_with_the_reason(mount: Mount) -> None:
    """What fails before anything is served ends with its sentence and its code."""
    assert mount.ask("mount", "--daemon", str(mount.path)).returncode == 0
    again = mount.ask("mount", "--daemon", str(mount.path))
    assert again.returncode == 78
    assert "is mounted on" in again.stderr
    other = mount.home / "other"
    other.mkdir()
    same = mount.ask("mount", "--daemon", str(other))  # found out by the child: the cache has its daemon
    assert same.returncode == 78
    assert "another musicfs" in same.stderr or "in use" in same.stderr
    assert mount.ask("umount", str(mount.path)).returncode == 0


@pytest.mark.parametrize(
    ("limit", "body", "code", "said"),
    [
        (30, "ready(); time.sleep(0.5); return 3", 0, ""),
        (30, "return 73", 73, ""),
        (30, "return 0", 1, ""),
        (30, "import os; os.kill(os.getpid(), 9)", 1, ""),
        (0.1, "time.sleep(60)", 69, "/nowhere was not ready within 0 s"),
        (
            1,
            "import signal; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
            69,
            "was not ready within 1 s",
        ),
    ],
    ids=["ready", "fails", "ends", "dies", "hangs", "will not end"],
)
def test_the_end_of_a_child_is_the_end_of_the_command(limit: float, body: str, code: int, said: str) -> None:
    """0 only for a mount that is there; a child that hangs is ended."""
    began = time.monotonic()
    done = run([sys.executable, "-c", SERVE.format(limit=limit, body=body)])
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert time.monotonic() - began < 30


def test_a_failed_mount_is_a_sentence(mount: Mount) -> None:
    """Where the kernel will not mount, no traceback is shown."""
    # In a namespace of its own, in which there is no device.
    program = 'mount --bind /dev/null /dev/fuse && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", program, "sh", *mount.program, "mount", "--daemon", str(mount.path)],
        env=mount.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("the kernel refuses a mount namespace")
    assert done.returncode == 77, done.stderr
    assert f"cannot mount on {mount.path}" in done.stderr
    assert "musicfs doctor" in done.stderr
    assert "Traceback" not in done.stderr
