"""A mount's life: starts, ends, deaths, outages, and a listing that changes under it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from musicfs import host
from musicfs.demo import Clip, Role, Service, wav_of_size, zip_of
from musicfs.demo.faults import black_hole, garbage, html, json_error
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
    until,
)

HOLD = """
import sys, time
file = open(sys.argv[1], "rb")
file.read(1)
print("open", flush=True)
time.sleep(600)
"""


def stock(service: Service) -> None:
    """Fill a service with two songs of each kind, one with stems."""
    for number in range(2):
        service.add_clip("ada@example.com", f"Song {number}", 10.0)
        service.add_job("100", f"Job {number}", 10.0, stems=zip_of({"bass.wav": b"RIFF" + bytes(70_000)}))


def photograph(mount: Mount) -> dict[str, tuple[int, int, int]]:
    """Give inode, mtime and size of everything, by path; the root's are asked when they have settled."""
    for folder in ("flowmusic", "tempolor", "library"):
        mount.listed(folder)  # so that every listing has come before anything is looked at
    lines = done(
        ["find", ".", "-mindepth", "1", "-printf", "%p\\t%i\\t%T@\\t%s\\n"], cwd=mount.path
    ).splitlines()
    fields = [line.split("\t") for line in lines]
    shown = {
        path: (int(inode), int(mtime.replace(".", "")), int(size)) for path, inode, mtime, size in fields
    }
    tops = [os.stat(mount.path / folder).st_mtime_ns for folder in ("flowmusic", "tempolor", "library")]
    # The kernel may believe the root's time for a second.
    until(lambda: os.stat(mount.path).st_mtime_ns == max(tops), 3)
    return shown


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
        until(lambda: run(["cat", cold]).returncode == 0, 40)
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
        sha256(mp3)
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
        assert mount.ended(5.0) == 0


def test_killed_reader_dies_at_once(stalled: tuple[Mount, Path, Path], service: Service) -> None:
    """A reader waiting in `read` dies at once on `kill -9`; the mount goes on, and nobody is left in
    state D."""
    mount, cached, wav = stalled
    before = service.bytes_sent(Role.CDN)
    with program("cat", wav) as reader:
        until(lambda: service.bytes_sent(Role.CDN) - before >= 500_000)
        reader.kill()
        began = time.monotonic()
        reader.wait(5)
        assert time.monotonic() - began < 1.0
        assert state_of(reader.pid) == ""
    assert sha256(cached) == digest(service.flow.clips[0].assets["mp3"])
    service.clear()
    mount.expect("tempolor")


def test_killed_opener_dies_within_the_deadline(service: Service, tmp_path: Path) -> None:
    """A program waiting in `open` dies on `kill -9` within the deadline, and meanwhile others are served."""
    stock(service)
    with mounted(service, tmp_path, deadline=4) as mount:
        mount.expect("flowmusic", "open")
        first, second = (mount.path / "flowmusic" / f"{clip.uuid}.mp3" for clip in service.flow.clips)
        sha256(second)
        service.fail(black_hole(), kind="mp3")
        with program("cat", first) as opener:
            until(lambda: service.log[-1].kind == "mp3" and service.counts["mp3"] == 2)
            began = time.monotonic()
            opener.kill()
            sha256(second)
            opener.wait(5)
            assert time.monotonic() - began < 5.0


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
        assert time.monotonic() - began < 3.0
        for reader in readers:
            reader.kill()
        for reader in readers:
            reader.wait(5)
    service.clear()


def test_clean_end_leaves_nothing(service: Service, tmp_path: Path) -> None:
    """A clean end says nothing alarming, exits 0 and leaves the mountpoint an empty folder."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        mount.listed("library")
        assert mount.stop() == 0
        assert not mount.present
        assert os.listdir(mount.path) == []


# The listing ---------------------------------------------------------------------------------------------


@pytest.fixture
def lively(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount a service whose listing is fresh for a second."""
    stock(service)
    with mounted(service, tmp_path, listing_ttl=1, forget_after=1, deadline=5) as mount:
        for folder in ("flowmusic", "tempolor", "library"):
            mount.listed(folder)
        yield mount


def refreshed(service: Service, mount: Mount, times: int = 2) -> None:
    """Look into the folders until both services' lists were asked again so often."""
    for path in ("flowmusic/music", "tempolor/music"):
        until(partial(_asked_again, service, mount, path, times))


def _asked_again(service: Service, mount: Mount, path: str, times: int) -> bool:
    return _looks(service, mount, path) >= times


def _looks(service: Service, mount: Mount, path: str) -> int:
    for folder in ("flowmusic", "tempolor", "library"):
        mount.listed(folder)
    return sum(record.kind == "list" and path in record.path for record in service.log)


def test_new_clip(lively: Mount, service: Service) -> None:
    """A new clip appears within the listing's TTL plus one refresh, in flowmusic/ and in library/, and
    plays."""
    clip, job = service.add_clip("ada@example.com", "Brand new"), service.add_job("100", "New too")
    until(lambda: f"{clip.uuid}.mp3" in lively.listed("flowmusic"), 4)
    until(lambda: job.item in lively.listed("tempolor"), 4)
    until(lambda: {"Brand new", "New too"} <= lively.listed("library"), 4)
    assert sha256(lively.path / "flowmusic" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])


def test_looking_does_not_wait(lively: Mount, service: Service) -> None:
    """`ls` of a known folder does not wait for the network: a stale listing is served and refreshed
    behind."""
    service.twist(kind="list", first_byte=3.0)
    time.sleep(1.1)  # The listing has to grow old for real.
    began = time.monotonic()
    assert len(lively.listed("flowmusic")) == 2
    assert len(lively.listed("tempolor")) == 2
    assert time.monotonic() - began < 1.0
    service.clear()


FAULTS = {
    "401": json_error(401),
    "404": json_error(404),
    "500": html(500),
    "596": json_error(596),
    "JSON": garbage(),
    "no lists": json_error(400, "Parameter limit must be between 1 and 100"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_error_removes_nothing(what: str, lively: Mount, service: Service) -> None:
    """An error in a listing removes nothing, however often it comes back."""
    before = photograph(lively)
    lively.expect("listing (flowmusic|tempolor)")
    service.reset_counts()
    service.fail(FAULTS[what], kind="list")
    refreshed(service, lively)
    assert photograph(lively) == before
    service.clear()
    service.reset_counts()
    refreshed(service, lively, 1)
    assert photograph(lively) == before


def test_accounts_error_removes_nothing(lively: Mount, service: Service) -> None:
    """An error, or an empty answer, where the accounts are asked removes nothing."""
    before = photograph(lively)
    lively.expect("listing (flowmusic|tempolor)", "account")
    service.reset_counts()
    service.fail(html(502), kind="accounts")
    until(lambda: _looks(service, lively, "tempolor") >= 0 and service.counts["accounts"] >= 2)
    service.clear()
    service.flow.accounts.clear()
    service.tempolor.accounts.clear()
    service.reset_counts()
    until(lambda: _looks(service, lively, "tempolor") >= 0 and service.counts["accounts"] >= 2)
    assert photograph(lively) == before


def test_empty_lists_remove_little(service: Service, tmp_path: Path) -> None:
    """A pass that would lose a large library at once changes nothing."""
    for number in range(15):
        service.add_clip("ada@example.com", f"Song {number}")
        service.add_job("100", f"Job {number}")
    with mounted(service, tmp_path, listing_ttl=1, forget_after=1) as mount:
        mount.expect("listing (flowmusic|tempolor)")
        before = mount.listed("flowmusic"), mount.listed("tempolor")
        service.knobs.empty_lists = True
        service.reset_counts()
        refreshed(service, mount, 4)
        assert (mount.listed("flowmusic"), mount.listed("tempolor")) == before


def test_two_accounts_on_each(service: Service, tmp_path: Path) -> None:
    """Two accounts on each service are listed whole: every page, both types, each song once."""
    for account, many in (("ada@example.com", 230), ("ben+music@example.org", 101)):
        for number in range(many):
            service.add_clip(account, f"Song {number}")
    for account, many in (("100", 45), ("200", 21)):
        for number in range(many):
            service.add_job(account, f"Job {number}", kind="song" if number % 3 else "instrumental")
    with mounted(service, tmp_path) as mount:
        clips = done(["ls", "-U", mount.path / "flowmusic"]).split()
        jobs = done(["ls", "-U", mount.path / "tempolor"]).split()
        assert sorted(clips) == sorted(f"{clip.uuid}.mp3" for clip in service.flow.clips)
        assert sorted(jobs) == sorted(job.item for job in service.tempolor.jobs)
        assert len(mount.listed("library")) == 331 + 66


def test_broken_account_hides_nothing(service: Service, tmp_path: Path) -> None:
    """An account that answers 596, or that GET /accounts calls broken, hides nothing of the others; its known
    songs stay, and it is listed when it is mended."""
    stock(service)
    for email in ("ben@example.org", "cy@example.net"):
        service.add_clip(email, f"Of {email[:3]}")
    service.add_job("200", "Of the second")
    service.flow.accounts["ben@example.org"].broken = True
    service.flow.accounts["cy@example.net"].error = "refresh token rejected"
    service.tempolor.break_account("200")
    with mounted(service, tmp_path, listing_ttl=1) as mount:
        mount.expect("account")
        assert mount.listed("flowmusic") == {f"{clip.uuid}.mp3" for clip in service.flow.clips[:2]}
        assert mount.listed("tempolor") == {job.item for job in service.tempolor.jobs[:2]}
        for email in service.flow.accounts:
            service.flow.add_account(email)
        service.tempolor.add_account("200")
        mount.expect("account")
        until(lambda: len(mount.listed("tempolor")) == 3, 10)


def test_list_that_shifts(service: Service, tmp_path: Path) -> None:
    """A clip that is added between two pages hides no other."""
    for number in range(150):
        service.add_clip("ada@example.com", f"Song {number}")
    shifts = iter(range(3))

    def shift() -> None:
        if next(shifts, None) is not None:
            service.add_clip("ada@example.com", "Meanwhile")

    service.knobs.between_pages = shift
    with mounted(service, tmp_path) as mount:
        shown = mount.listed("flowmusic")
    assert {f"{clip.uuid}.mp3" for clip in service.flow.clips[:150]} <= shown


# Names that are not listed -------------------------------------------------------------------------------


def test_names_that_resolve_unlisted(service: Service, tmp_path: Path) -> None:
    """Longer names resolve without being listed: full clip id, jobid, full job_id, .m4a and .wav; a
    bare uuid that no listing showed is ENOENT."""
    clip, later = service.add_clip("ada@example.com", "One"), service.add_clip("ben+x@example.org", "Two")
    job, flow = service.add_job("100", "Three"), service.flow
    made = flow.add_job("ada@example.com", clip, later)
    with mounted(service, tmp_path) as mount:
        top = mount.path / "flowmusic"
        listed = mount.listed("flowmusic"), mount.listed("tempolor")
        hidden = service.add_clip("ada@example.com", "Never listed")
        assert sha256(top / f"{flow.handle(clip)}.mp3") == digest(clip.assets["mp3"])
        assert sha256(top / f"{flow.handle(later)}.wav") == digest(later.assets["wav"])
        assert sha256(top / f"{flow.handle(hidden)}.mp3") == digest(hidden.assets["mp3"])
        assert sha256(top / f"{flow.handle(made)}.mp3") == digest(clip.assets["mp3"])
        for form in ("m4a", "wav"):
            assert sha256(top / f"{clip.uuid}.{form}") == digest(clip.assets[form])
            assert sha256(top / f"{flow.handle(made)}.{form}") == digest(clip.assets[form])
        folder = mount.path / "tempolor" / service.tempolor.handle(job)
        assert sorted(os.listdir(folder)) == ["song.mp3", "song.wav", "stems"]
        assert sha256(folder / "song.wav") == digest(job.assets["wav"])
        assert not (top / f"{hidden.uuid}.mp3").exists()
        assert not (top / f"{clip.uuid}.flac").exists()
        assert not (top / f"{clip.uuid}").exists()
        assert (mount.listed("flowmusic"), mount.listed("tempolor")) == listed
        assert os.stat(top / f"{flow.handle(clip)}.mp3").st_ino == os.stat(top / f"{clip.uuid}.mp3").st_ino


def test_one_inode_wherever_it_is_shown(service: Service, tmp_path: Path) -> None:
    """A file is one inode wherever it is shown, `st_nlink` is the number of its listed names, modes are
    0644 and 0755, and `st_blocks` is set."""
    stock(service)
    with mounted(service, tmp_path) as mount:
        mp3 = mount.path / "flowmusic" / f"{service.flow.clips[0].uuid}.mp3"
        shown = mount.path / "library" / "Song 0" / "Song 0.mp3"
        assert shown.exists()  # its name comes when both services have been listed
        one, other = os.stat(mp3), os.stat(shown)
        assert one.st_ino == other.st_ino
        assert one.st_nlink == 2
        assert one.st_mode == 0o100644
        assert one.st_blocks == -(-one.st_size // 512)
        folder = os.stat(mp3.parent)
        assert (folder.st_mode, folder.st_nlink) == (0o040755, 1)
        copied = done(["du", "--apparent-size", "-b", mp3, shown]).splitlines()
        assert len(copied) == 1


def test_stem_clips(service: Service, tmp_path: Path) -> None:
    """Flow Music's stem clips are plain in flowmusic/ and in their song's `stems/` in library/."""
    song: Clip = service.add_clip("ada@example.com", "Night Drive")
    stems = service.flow.add_stems(song)
    with mounted(service, tmp_path) as mount:
        assert len(mount.listed("flowmusic")) == 5
        assert mount.listed("library") == {"Night Drive"}
        assert mount.listed("library", "Night Drive", "stems") == {
            f"{name}.mp3" for name in ("drums", "bass", "vocals", "other")
        }
        drums = mount.path / "library" / "Night Drive" / "stems" / "drums.mp3"
        assert sha256(drums) == digest(stems[0].assets["mp3"])
