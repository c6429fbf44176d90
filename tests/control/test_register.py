"""The register of mounts: the living are found, the dead dropped."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from musicfs.control import Daemon, NotRunning, find, is_running, register
from musicfs.errors import ConfigError, StoreError

MUSIC, OTHER = Path("/home/me/Music"), Path("/mnt/a b")


def test_a_daemon_is_found_while_it_runs(tmp_path: Path) -> None:
    """By mountpoint, or as the only one; afterwards no file is left."""
    with register(tmp_path, MUSIC, tmp_path / "sock"):
        wanted = Daemon(MUSIC, tmp_path / "sock", os.getpid())
        assert find([tmp_path / "none", tmp_path], MUSIC) == wanted
        assert find([tmp_path], None) == wanted
        with pytest.raises(NotRunning, match="for /mnt/a b"):
            find([tmp_path], OTHER)
    assert list((tmp_path / "mounts").iterdir()) == []
    with pytest.raises(NotRunning, match=r"no musicfs daemon is running$"):
        find([tmp_path], None)


def test_of_several_one_has_to_be_named(tmp_path: Path) -> None:
    """The message lists them."""
    with register(tmp_path, MUSIC, tmp_path / "a"), register(tmp_path, OTHER, tmp_path / "b"):
        with pytest.raises(ConfigError, match="Music"):
            find([tmp_path], None)
        assert find([tmp_path], OTHER).socket == tmp_path / "b"


def test_a_process_that_nobody_has_waited_for_does_not_run() -> None:
    """A zombie has ended, whatever `kill` says."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert is_running(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is looked at, and stays a zombie
        os.kill(process.pid, 0)
        assert not is_running(process.pid)


def test_entries_of_the_dead_and_damaged_ones_are_dropped(tmp_path: Path) -> None:
    """A killed daemon's entry and a torn file do not count and do not stay."""
    process = subprocess.Popen(["true"])
    process.wait()
    folder = tmp_path / "mounts"
    folder.mkdir()
    entry = {"mountpoint": str(MUSIC), "socket": "/x", "pid": process.pid}
    (folder / "dead.json").write_text(json.dumps(entry))
    (folder / "torn.json").write_text('{"mountpoint"')
    with pytest.raises(NotRunning):
        find([tmp_path], None)
    assert list(folder.iterdir()) == []


def test_an_entry_that_another_took_over_stays(tmp_path: Path) -> None:
    """After a lazy unmount the next daemon's entry is not removed by the first."""
    with register(tmp_path, MUSIC, tmp_path / "a"):
        (entry,) = (tmp_path / "mounts").iterdir()
        entry.write_text(json.dumps({"mountpoint": str(MUSIC), "socket": "/x", "pid": 1}))
    assert entry.exists()


def test_the_register_s_folder_is_private(tmp_path: Path) -> None:
    """Nobody else can read which folders are mounted."""
    with register(tmp_path, MUSIC, tmp_path / "a"):
        assert (tmp_path / "mounts").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    """A file where the folder should be is told in words."""
    (tmp_path / "mounts").touch()
    with pytest.raises(StoreError, match="register"), register(tmp_path, MUSIC, tmp_path / "a"):
        pass
