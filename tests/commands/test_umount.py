"""`musicfs umount`: idle, busy, dead and stuck mounts."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from musicfs import host
from musicfs.__main__ import main
from tests.sleeper import sleeper

PROMISE = 5.0
"""Seconds; the README's."""


def test_what_is_not_mounted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plain folder is a ConfigError."""
    assert main(["umount", str(tmp_path)]) == 78
    assert "no musicfs is mounted on" in capsys.readouterr().err


@pytest.mark.mounted
@pytest.mark.parametrize("trouble", ["none", "a folder in use", "a dead daemon", "a stuck daemon"])
def test_the_mount_is_gone_within_five_seconds(tmp_path: Path, trouble: str) -> None:
    """Whatever is open and whatever became of the daemon."""
    mountpoint = tmp_path / "mount"
    with sleeper(mountpoint) as process:
        held = os.open(mountpoint, os.O_PATH) if trouble == "a folder in use" else None
        if trouble == "a dead daemon":
            process.kill()
            process.wait()
        if trouble == "a stuck daemon":
            process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert main(["umount", str(mountpoint)]) == 0
        assert time.monotonic() - began < PROMISE
        assert host.find_mount(mountpoint) is None
        if held is not None:
            os.close(held)


@pytest.mark.mounted
def test_a_link_to_the_mount_will_do(tmp_path: Path) -> None:
    """The mountpoint may be named by a symbolic link."""
    mountpoint = tmp_path / "mount"
    (tmp_path / "link").symlink_to("mount")
    with sleeper(mountpoint) as process:
        assert main(["umount", str(tmp_path / "link")]) == 0
        assert process.wait(30) == 0
