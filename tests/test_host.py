"""The machine: mountinfo as text, dead mounts, and the levers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs import host
from musicfs.errors import ConfigError, StoreError
from tests.sleeper import sleeper

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
40 22 0:51 / /home/me/My\040Music ro,nosuid,nodev - fuse.musicfs musicfs:default ro,user_id=1000
41 22 0:52 / /home/me/back\134slash\011tab ro - fuse fuse-t rw
42 22 0:60 / /mnt rw master:3 propagate_from:2 - fuse.sshfs me@host:/ rw
43 22 0:61 / /mnt ro - fuse.musicfs musicfs:work ro

not a mountinfo line
44 22 nonsense / /x ro - fuse f rw
"""


def test_mountinfo_is_read_with_its_escapes() -> None:
    """Mountpoint, minor, type and source come out of each good line, in order; other lines are left out."""
    table = host.parse_mountinfo(TABLE)
    assert [str(mount.mountpoint) for mount in table] == [
        "/",
        "/proc",
        "/home/me/My Music",
        "/home/me/back\\slash\ttab",
        "/mnt",
        "/mnt",
    ]
    ours = table[2]
    assert (ours.minor, ours.fstype, ours.source) == (51, "fuse.musicfs", "musicfs:default")
    assert [mount.owner for mount in table] == [None, None, 1000, None, None, None]
    assert ours.is_ours
    assert table[3].is_fuse
    assert not table[3].is_ours
    assert not table[0].is_fuse


@settings(max_examples=150)
@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    """Garbage yields no mounts or some, never an exception."""
    host.parse_mountinfo(text)


@settings(max_examples=100)
@given(st.text(st.characters(codec="ascii", exclude_characters="\0/"), min_size=1))
def test_every_name_survives_the_kernel_s_escapes(name: str) -> None:
    """A mountpoint escaped as the kernel does it is found again."""
    escaped = "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\" else letter for letter in name)
    table = host.parse_mountinfo(f"1 2 0:7 / /m/{escaped} ro - fuse.musicfs musicfs:p ro")
    assert [mount.mountpoint for mount in table] == [Path("/m", name)]


def test_a_mount_is_found_by_its_exact_mountpoint() -> None:
    """Of two on one folder the later is seen; a folder below is not a mount."""
    table = host.parse_mountinfo(TABLE)
    found = host.find_mount(Path("/mnt"), table)
    assert found is not None
    assert found.source == "musicfs:work"
    assert host.find_mount(Path("/mnt/x"), table) is None


def test_a_path_belongs_to_the_longest_mountpoint_above_it() -> None:
    """Whole names count, so /mntx is not in /mnt."""
    table = host.parse_mountinfo(TABLE)
    for path, where in (("/mnt/a/b", "/mnt"), ("/mnt", "/mnt"), ("/mntx", "/"), ("/proc/1", "/proc")):
        found = host.holding(Path(path), table)
        assert found is not None
        assert str(found.mountpoint) == where
    assert host.holding(Path("relative"), table) is None


def test_links_are_followed_up_to_a_fuse_mount_and_no_further(tmp_path: Path) -> None:
    """A link outside is resolved, one that lies inside a mount is not even looked at."""
    real = tmp_path / "real"
    (real / "mount").mkdir(parents=True)
    (real / "mount/inner").symlink_to("/elsewhere")
    (tmp_path / "short").symlink_to("real/mount")
    (tmp_path / "deep").symlink_to(real / "mount/inner")
    table = [host.Mount(real / "mount", 5, "fuse.musicfs", "musicfs:x")]
    assert host.locate(tmp_path / "short/a", table) == real / "mount/a"
    assert host.locate(tmp_path / "deep/b", table) == real / "mount/inner/b"
    assert host.locate(tmp_path / "deep/b", []) == Path("/elsewhere/b")
    assert host.locate(Path("/"), table) == Path("/")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    """Two links to each other give a path and not an endless walk."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert host.locate(tmp_path / "a", []).parent == tmp_path


def test_a_folder_can_be_claimed_and_what_is_none_cannot(tmp_path: Path) -> None:
    """A folder is good; a missing one, a file, and one behind a file are refused in words."""
    host.claim(tmp_path)
    with pytest.raises(ConfigError, match="mkdir -p"):
        host.claim(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        host.claim(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot use"):
        host.claim(tmp_path / "file/below")


def test_a_folder_is_empty_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hidden file is something, a folder that cannot be looked into is nothing; what mounts where somebody
    looks is not looked into."""
    assert host.is_empty(tmp_path)
    (tmp_path / ".hidden").touch()
    assert not host.is_empty(tmp_path)
    assert host.is_empty(tmp_path / "none")
    there = host.Mount(tmp_path, 7, "autofs", "systemd-1")
    monkeypatch.setattr(host, "mounts", lambda: [there])
    assert host.is_empty(tmp_path)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Mount a daemon that does nothing, in a process that can be stopped and killed."""
    with sleeper(tmp_path / "mount") as process:
        yield tmp_path / "mount", process


@pytest.mark.mounted
def test_a_live_mount_is_refused_and_a_dead_one_cleared(daemon: tuple[Path, subprocess.Popen[str]]) -> None:
    """claim tells the living from the dead, and never touches the living."""
    mountpoint, process = daemon
    assert not host.is_stale(mountpoint)
    with pytest.raises(ConfigError, match="a musicfs is mounted on"):
        host.claim(mountpoint)
    process.kill()
    process.wait()
    assert host.is_stale(mountpoint)
    host.claim(mountpoint)
    assert host.find_mount(mountpoint) is None


@pytest.mark.mounted
def test_a_stuck_daemon_counts_as_alive_and_can_still_be_detached(
    daemon: tuple[Path, subprocess.Popen[str]],
) -> None:
    """A daemon that does not answer holds neither the probe nor the lazy unmount."""
    mountpoint, process = daemon
    process.send_signal(signal.SIGSTOP)
    assert not host.is_stale(mountpoint)
    assert host.detach(mountpoint, lazy=True) is None
    assert host.find_mount(mountpoint) is None


def test_detach_says_why_it_could_not(tmp_path: Path) -> None:
    """A folder that is no mount gives the system's own words."""
    assert host.detach(tmp_path, lazy=False)


def test_the_background_lever_writes_both_numbers(tmp_path: Path) -> None:
    """Requests in flight and the mark where reading ahead stops; without fusectl it says False."""
    connection = tmp_path / "51"
    connection.mkdir()
    (connection / "max_background").write_text("12")
    (connection / "congestion_threshold").write_text("9")
    assert host.raise_background(51, 64, tmp_path)
    assert (connection / "max_background").read_text() == "64"
    assert (connection / "congestion_threshold").read_text() == "48"
    assert not host.raise_background(52, 64, tmp_path)


def test_read_ahead_is_raised_where_it_may_be(tmp_path: Path) -> None:
    """The mount's own device gets the new window; where the file is not to be written, it is no failure."""
    device = tmp_path / "0:51"
    device.mkdir()
    (device / "read_ahead_kb").write_text("128")
    assert host.raise_read_ahead(51, 1024, tmp_path)
    assert (device / "read_ahead_kb").read_text() == "1024"
    assert not host.raise_read_ahead(52, 1024, tmp_path)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_over_its_socket(tmp_path: Path, abstract: bool) -> None:
    """One datagram, to a path or to an abstract name."""
    name = f"@musicfs-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(10)
        assert host.sd_notify({"NOTIFY_SOCKET": name}, "READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    """Without systemd, or with a socket that is gone, it says False."""
    assert not host.sd_notify({}, "READY=1")
    assert not host.sd_notify({"NOTIFY_SOCKET": "vsock:2:1"}, "READY=1")
    assert not host.sd_notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")


def test_the_room_on_a_disk_is_known_and_a_missing_folder_is_ours_to_tell(tmp_path: Path) -> None:
    """A folder has some bytes free, a missing one is a StoreError."""
    assert host.disk_free(tmp_path) > 0
    with pytest.raises(StoreError, match="cannot look at the disk"):
        host.disk_free(tmp_path / "none")


def test_no_probe_is_left_behind(tmp_path: Path) -> None:
    """Asking about a folder that is no mount starts no thread."""
    before = set(threading.enumerate())  # some of which may end meanwhile
    assert not host.is_stale(tmp_path)
    assert set(threading.enumerate()) <= before


@pytest.mark.mounted
def test_who_serves_a_mount_is_found_without_asking_it(tmp_path: Path) -> None:
    """By the command line and the open device: also while it is stopped; nobody once it is dead."""
    mountpoint = tmp_path / "mount"
    with sleeper(mountpoint) as process:
        process.send_signal(signal.SIGSTOP)
        assert host.server_of(mountpoint) == process.pid
        assert host.server_of(tmp_path) is None
        process.kill()
        process.wait()
        assert host.server_of(mountpoint) is None
