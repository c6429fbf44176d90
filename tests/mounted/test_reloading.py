"""SIGHUP: settings and token are read again under a mount that stays; a closed terminal is an end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from musicfs import host
from musicfs.demo import Service, wav_of_size
from tests.loopback import running
from tests.mounted.mounting import END, Mount, attached, mounted, take_away, until

RELOADED = "settings and token were reloaded"


def minor(mount: Mount) -> int:
    """Name the connection to the kernel, which a new mount would not share."""
    found = host.find_mount(mount.path)
    assert found is not None
    return found.minor


def reload(mount: Mount, word: str = RELOADED) -> None:
    """Send SIGHUP and wait until the log has the word once more."""
    before = mount.log.count(word)
    os.kill(mount.pid, signal.SIGHUP)
    until(lambda: mount.log.count(word) > before)


def test_a_new_token_is_taken_over(service: Service, tmp_path: Path) -> None:
    """What is asked after a reload is asked with the new token; mount, process and open files stay."""
    service.add_job("100", "Night Drive", wav=wav_of_size(300_000, "night"))
    token = tmp_path / "token"
    token.write_text(service.token)
    token.chmod(0o600)
    with mounted(service, tmp_path, token_file=token) as mount:
        wav = mount.path / "library/Night Drive/Night Drive.wav"
        connection, pid = minor(mount), mount.list_all().pid
        with (mount.path / "library/Night Drive/info.json").open("rb") as held:
            service.token = "user:2-another"
            token.write_text(service.token)
            reload(mount)
            assert len(wav.read_bytes()) == 300_000
            assert held.read(1) == b"{"
        assert (minor(mount), mount.pid, mount.running) == (connection, pid, True)


def test_settings_are_taken_over_and_mistakes_change_nothing(service: Service, tmp_path: Path) -> None:
    """What can change at once does, what cannot is named, and a config that is wrong is refused whole."""
    file = tmp_path / "config/musicfs/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('cache_size = "50M"\n')
    with mounted(service, tmp_path) as mount:
        assert room(mount) == 50 * 1024**2
        file.write_text('cache_size = "20M"\nallow_other = true\n')
        reload(mount, "these wait for the next mount: allow_other")
        assert room(mount) == 20 * 1024**2
        file.write_text('cache_size = "30M"\ncash = 3\n')
        reload(mount, "nothing was reloaded")
        assert "'cash' is not a setting" in mount.log
        assert room(mount) == 20 * 1024**2
        file.write_text('cache_size = "40M"\nallow_other = true\n')
        reload(mount, "these wait for the next mount: allow_other")  # it waits still
        assert room(mount) == 40 * 1024**2
        mount.expect("these wait for the next mount: allow_other", "nothing was reloaded")


def room(mount: Mount) -> int:
    """Say how large `df` shows the cache to be, in bytes."""
    told = os.statvfs(mount.path)
    return told.f_blocks * told.f_frsize


def test_reloads_that_come_together_are_all_done(service: Service, tmp_path: Path) -> None:
    """Twenty in a row, while files are read, harm nobody."""
    service.add_clip("ada@example.com", "Dawn", 3.0)
    with mounted(service, tmp_path) as mount:
        for _ in range(20):
            os.kill(mount.pid, signal.SIGHUP)
            assert mount.songs() == {"Dawn"}
        until(lambda: RELOADED in mount.log)
        assert mount.running


def test_a_stop_does_not_wait_for_a_token_command(service: Service, tmp_path: Path) -> None:
    """SIGTERM ends a mount that is in the middle of a reload."""
    answer = tmp_path / "answer"
    answer.write_text(f"#!/bin/sh\necho {service.token}\n")
    answer.chmod(0o755)
    with mounted(service, tmp_path, token_command=answer) as mount:
        asked = tmp_path / "asked"
        answer.write_text(f"#!/bin/sh\ntouch {asked}\nexec sleep 9\n")
        os.kill(mount.pid, signal.SIGHUP)
        until(asked.exists)
        assert mount.stop(limit=5.0) == 0


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "kept"])
def test_a_closed_terminal_ends_the_mount(service: Service, tmp_path: Path, closed: bool) -> None:
    """A mount in a terminal ends with it; a SIGHUP that somebody sends reloads there too."""
    with running(service) as loop:
        mount = Mount(loop, tmp_path)
        ours, theirs = os.openpty()
        program = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        program += "os.execv(sys.executable, [sys.executable, '-m', 'musicfs', 'mount', sys.argv[1]])"
        with mount.log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(mount.path)],
                env=mount.environ,
                stdin=theirs,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs)
        try:
            until(lambda: "mounted on" in mount.log)
            if closed:
                os.close(ours)
                ours = -1
            else:
                process.send_signal(signal.SIGHUP)
                until(lambda: RELOADED in mount.log)
                process.send_signal(signal.SIGTERM)
            assert process.wait(END) == 0, mount.log
            assert not mount.present
        finally:
            if ours != -1:
                os.close(ours)
            process.kill()
            process.wait(END)
            take_away(mount.path)


def test_a_mount_can_be_ended_after_a_reload(service: Service, tmp_path: Path) -> None:
    """The signals are heard again and again."""
    with running(service) as loop, attached(Mount(loop, tmp_path)) as mount:
        reload(mount)
        reload(mount)
        assert mount.stop() == 0
        assert not mount.present
