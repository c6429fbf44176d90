"""A mount's life: starts, ends, deaths and outages."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs import host
from musicfs.demo import Role, Service, wav_of_size
from musicfs.demo.faults import black_hole
from tests.loopback import running
from tests.mounted.mounting import (
    END,
    Mount,
    attached,
    digest,
    done,
    mounted,
    run,
    sha256,
    take_away,
    until,
)
from tests.mounted.picture import photograph, stock

HOLD = """
import sys, time
file = open(sys.argv[1], "rb")
file.read(1)
print("open", flush=True)
time.sleep(600)
"""


def state_of(pid: int) -> str:
    """Give a process's state letter (proc(5)); "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextlib.contextmanager
def program(
    *words: str | Path, env: dict[str, str] | None = None, heard: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, perhaps listening to it; it is killed at the end."""
    out = subprocess.PIPE if heard else subprocess.DEVNULL
    with subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


# Restarts ------------------------------------------------------------------------------------------------


def test_restart_serves_the_cache(service: Service, tmp_path: Path) -> None:
    """After a restart cached bytes are served with zero upstream bytes; inodes, mtimes and sizes are
    the same."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        digests = {path: sha256(path) for path in mount.path.rglob("*") if path.is_file()}
        before = photograph(mount)
        mount.restart()
        service.reset_counts()
        assert {path: sha256(path) for path in mount.path.rglob("*") if path.is_file()} == digests
        assert photograph(mount) == before
        kinds = {record.kind for record in service.log}
        assert kinds <= {"accounts", "list"}
        assert service.bytes_sent(Role.CDN) == service.bytes_sent(Role.BUCKET) == 0


def test_services_stopped(service: Service, tmp_path: Path) -> None:
    """With the services stopped the mount starts, lists and plays what it has; what it does not have is
    an error at once or within the deadline, and it comes back by itself with the services."""
    stock(service)
    with running(service) as loop, attached(Mount(loop, tmp_path, deadline=3, listing_ttl=1)) as mount:
        mount.list_all()
        clip, other = service.flow.clips
        mp3 = mount.path / "flowmusic" / f"{clip.uuid}.mp3"
        wanted = sha256(mp3)
        before = photograph(mount)
        assert mount.stop() == 0
        loop.stop()
        mount.start()
        mount.expect("listing (flowmusic|tempolor)", other.uuid)
        assert photograph(mount) == before
        assert sha256(mp3) == wanted
        cold = mount.path / "flowmusic" / f"{other.uuid}.mp3"
        assert "No route to host" in run(["cat", cold]).stderr
        loop.start()
        until(lambda: run(["cat", cold]).returncode == 0, 80)
        assert sha256(cold) == digest(other.assets["mp3"])


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while-reading"])
def test_kill_9(busy: bool, service: Service, tmp_path: Path) -> None:
    """After `kill -9` the dead mountpoint is cleared at the next start, and the cache and the numbers
    survive."""
    stock(service)
    job = service.add_job("100", "Large", wav=wav_of_size(8_000_044, "large"))
    with mounted(service, tmp_path) as mount:
        mp3 = mount.path / "flowmusic" / f"{service.flow.clips[0].uuid}.mp3"
        large = mount.path / "tempolor" / job.item / "song.wav"
        mount.list_all()
        sha256(mp3)
        mount.settle(mp3)
        os.stat(large)
        before = photograph(mount)
        if busy:
            service.twist(role=Role.CDN, drip=1_000_000)
            with program("cat", large):
                until(lambda: service.bytes_sent(Role.CDN) > 300_000)
                mount.crash()
        else:
            until(lambda: (tmp_path / "state").is_dir())
            mount.crash()
        with pytest.raises(OSError) as caught:
            os.listdir(mount.path)
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        service.clear()
        mount.start()
        service.reset_counts()
        assert sha256(mp3) == digest(service.flow.clips[0].assets["mp3"])
        assert service.counts["mp3"] == 0
        now = photograph(mount)
        assert {path: fact[:2] for path, fact in now.items()} == {
            path: fact[:2] for path, fact in before.items()
        }
        assert sha256(large) == digest(job.assets["wav"])


def test_second_mount_is_refused(service: Service, tmp_path: Path) -> None:
    """A live mount is refused a second mount, in a sentence, and goes on."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        second = mount.ask("mount", str(mount.path))
        assert second.returncode not in (0, 1)
        assert "mounted on" in second.stderr
        assert "Traceback" not in second.stderr
        assert len(mount.listed("flowmusic")) == 2


def test_umount_and_mount_in_one_breath(service: Service, tmp_path: Path) -> None:
    """`umount X && mount X` works every time: who mounts waits a moment for the daemon that is ending."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        before = photograph(mount)
        for _ in range(5):
            mount.again()
            assert photograph(mount) == before


def test_second_daemon_of_a_profile(service: Service, tmp_path: Path) -> None:
    """A second daemon of the same profile is refused at another mountpoint too: one daemon a cache."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        (tmp_path / "other").mkdir()
        second = mount.ask("mount", str(tmp_path / "other"))
        assert second.returncode != 0
        assert "Traceback" not in second.stderr
        assert host.find_mount(tmp_path / "other") is None
        assert len(mount.listed("flowmusic")) == 2


# The end -------------------------------------------------------------------------------------------------


@pytest.fixture
def stalled(service: Service, tmp_path: Path) -> Iterator[tuple[Mount, Path, Path]]:
    """Mount a file that is cached and one whose bytes stop coming."""
    stock(service)
    job = service.add_job("100", "Stalled", wav=wav_of_size(8_000_044, "stalled"))
    with mounted(service, tmp_path, deadline=30) as mount:
        mount.list_all()
        mp3 = mount.path / "flowmusic" / f"{service.flow.clips[0].uuid}.mp3"
        sha256(mp3)
        service.twist(role=Role.CDN, path=job.item, stall_at=300_000)
        yield mount, mp3, mount.path / "tempolor" / job.item / "song.wav"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "umount"])
def test_end_with_everything_open(how: str, stalled: tuple[Mount, Path, Path], service: Service) -> None:
    """SIGTERM and `musicfs umount` unmount within 5 s with a file open and a reader stalled, and leave nobody
    unkillable."""
    mount, cached, wav = stalled
    mount.expect("Stalled|tempolor|read")
    with program(sys.executable, "-c", HOLD, cached, heard=True) as holder, program("cat", wav) as reader:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        until(lambda: service.bytes_sent(Role.CDN) >= 500_000)  # The window after the first has begun.
        began = time.monotonic()
        if how == "umount":
            with program(sys.executable, "-m", "musicfs", "umount", mount.path, env=mount.environ) as umount:
                until(lambda: not mount.present, 5)
                assert umount.wait(END) == 0
        else:
            assert mount.stop(signal.Signals[how], 5.0) == 0
            assert not mount.present
            assert time.monotonic() - began < 5.0
        for process in (holder, reader):
            process.kill()
            process.wait(5)
        assert mount.ended(15.0) == 0


def test_killed_reader_dies_at_once(stalled: tuple[Mount, Path, Path], service: Service) -> None:
    """A reader waiting in `read` dies at once on `kill -9`; the mount goes on, and nobody is left in
    state D."""
    mount, cached, wav = stalled
    before = service.bytes_sent(Role.CDN)
    with program("cat", wav) as reader:
        until(lambda: service.bytes_sent(Role.CDN) - before >= 500_000)
        reader.kill()
        reader.wait(5)  # and not with its read, whose deadline is 30 s
        assert state_of(reader.pid) == ""
    assert sha256(cached) == digest(service.flow.clips[0].assets["mp3"])
    service.clear()
    mount.expect("tempolor")


def test_killed_opener_dies_within_the_deadline(service: Service, tmp_path: Path) -> None:
    """A program waiting in `open` dies on `kill -9` within the deadline, and meanwhile others are served."""
    stock(service)
    with mounted(service, tmp_path, deadline=4) as mount:
        mount.expect("flowmusic", "open")
        mount.list_all()
        first, second = (mount.path / "flowmusic" / f"{clip.uuid}.mp3" for clip in service.flow.clips)
        sha256(second)
        service.fail(black_hole(), kind="mp3")
        with program("cat", first) as opener:
            until(lambda: service.counts["mp3"] >= 2)
            opener.kill()
            sha256(second)
            opener.wait(8)  # a slow machine may take as long again


def test_crowd_of_stalled_readers(stalled: tuple[Mount, Path, Path], service: Service) -> None:
    """With twelve readers stalled, cached music plays, `ls` and `df` answer, and all of them can be
    killed."""
    mount, cached, wav = stalled
    mount.expect("tempolor", "read")
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(
                program("dd", f"if={wav}", "of=/dev/null", "bs=4k", f"skip={skip}", "status=none")
            )
            for skip in range(100, 1900, 150)
        ]
        until(lambda: service.counts["range"] >= 6)
        began = time.monotonic()
        assert sha256(cached) == digest(service.flow.clips[0].assets["mp3"])
        done(["ls", "-lR", mount.path / "flowmusic"])
        done(["df", mount.path])
        assert time.monotonic() - began < 15.0  # half the deadline of those who wait
        for reader in readers:
            reader.kill()
        for reader in readers:
            reader.wait(5)
    service.clear()


def test_a_folder_that_is_not_empty(service: Service, tmp_path: Path) -> None:
    """A folder in which something lies is refused, in a sentence; with `-o nonempty` it is mounted on, with a
    warning, and what lies in it is there again afterwards."""
    stock(service)
    with running(service) as loop:
        mount = Mount(loop, tmp_path)
        (tmp_path / "run").mkdir(mode=0o700)
        (mount.path / "mine.wav").write_text("mine")
        refused = mount.ask("mount", str(mount.path))
        assert (refused.returncode, refused.stdout) == (78, "")
        assert f"{mount.path} is not empty" in refused.stderr
        assert "-o nonempty" in refused.stderr
        assert not mount.present
        try:
            covered = mount.ask("mount", "--daemon", "-o", "nonempty", str(mount.path))
            assert covered.returncode == 0, covered.stderr
            assert f"what lies in {mount.path} is hidden until it is unmounted" in covered.stderr
            assert {"flowmusic", "tempolor", "library"} == mount.listed()
            assert mount.ask("umount", str(mount.path)).returncode == 0
        finally:
            take_away(mount.path)
        assert (mount.path / "mine.wav").read_text() == "mine"


def test_clean_end_leaves_nothing(service: Service, tmp_path: Path) -> None:
    """A clean end says nothing alarming, exits 0 and leaves the mountpoint an empty folder."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        mount.listed("library")
        assert mount.stop() == 0
        assert not mount.present
        assert os.listdir(mount.path) == []
