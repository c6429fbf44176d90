"""The promises of the README's "Behaviour", each kept in the words it is given in.

How it thinks: a test's docstring is `Promise N:`, a piece of that promise word for word, and a full
stop; the last test reads the README and sees that the pieces together are the whole of every promise.
So a promise cannot be added or changed without a test that says the same."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from musicfs.demo import DEMO_TOKEN, Clip, Cut, Job, Role, Service, wav_of_size, zip_of
from musicfs.demo.faults import black_hole, denied_link, dropped, html, json_error
from tests.mounted.mounting import END, Mount, digest, done, mounted, run, sha256, until

README = Path(__file__).parents[2] / "README.md"
MIB = 1024 * 1024


@pytest.fixture
def mount(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount four clips and four jobs, the first job's wav a large one, all of them listed."""
    for number in range(4):
        service.add_clip("ada@example.com", f"Song {number}", 10.0)
        wav = wav_of_size(8 * MIB, "large") if number == 0 else None
        service.add_job(
            "100", f"Job {number}", 10.0, wav=wav, stems=zip_of({"bass.wav": b"RIFF" + bytes(5000)})
        )
    with mounted(service, tmp_path, deadline=4, listing_ttl=1) as mount:
        yield mount.list_all()


def mp3_of(mount: Mount, clip: Clip) -> Path:
    """Say where a clip's mp3 is."""
    return mount.path / "flowmusic" / f"{clip.uuid}.mp3"


def wav_of(mount: Mount, job: Job) -> Path:
    """Say where a job's wav is."""
    return mount.path / "tempolor" / job.item / "song.wav"


@contextlib.contextmanager
def reader(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Read a file with `cat` beside the test."""
    with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file open in this process."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.read(file, 1)
        yield
    finally:
        with contextlib.suppress(OSError):  # Its mount may be gone by now.
            os.close(file)


def test_only_get(mount: Mount, service: Service) -> None:
    """Promise 1: Reading never spends and never changes: only GET leaves, enforced in one place."""
    done(["cp", "-r", mount.path / "flowmusic", mount.path / "tempolor", mount.home / "cache"])
    for words in (["rm", "-rf"], ["touch"], ["mkdir"]):
        assert (
            "Read-only file system" in run([*words, mount.path / "flowmusic" / "a"]).stderr
            or words[0] == "rm"
        )
    assert run(["rm", "-rf", mp3_of(mount, service.flow.clips[0])]).returncode != 0
    assert {record.method for record in service.log} == {"GET"}
    assert service.counts["write"] == 0


def test_links_only_for_bytes(mount: Mount, service: Service) -> None:
    """Promise 1: a TemPolor link is asked for only when its bytes are."""
    done(["ls", "-l", *sorted((mount.path / "tempolor").iterdir())])
    done(["find", mount.path / "library", "-maxdepth", "2", "-size", "+0"])
    assert service.counts["mint"] == 0
    done(["head", "-c", "10", wav_of(mount, service.tempolor.jobs[1])])
    minted = [record for record in service.log if record.kind == "mint"]
    assert [(record.form, service.tempolor.jobs[1].item in record.path) for record in minted] == [
        ("wav", True)
    ]


def test_the_services_bytes(mount: Mount, service: Service, tmp_path: Path) -> None:
    """Promise 2: The bytes are the service's bytes: exact, checked, never padded, never cut."""
    done(["rsync", "-a", f"{mount.path}/flowmusic", f"{mount.path}/tempolor", tmp_path / "copy"])
    for clip in service.flow.clips:
        assert sha256(tmp_path / "copy" / "flowmusic" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])
    for job in service.tempolor.jobs:
        assert sha256(tmp_path / "copy" / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])
        assert wav_of(mount, job).stat().st_size == job.assets["wav"].size


def test_whole_or_an_error(mount: Mount, service: Service, tmp_path: Path) -> None:
    """Promise 2: a file that can't be had whole fails with an error."""
    mount.expect("flowmusic|tempolor")
    service.twist(kind="mp3", cut=Cut(1000, clean=True))
    service.twist(role=Role.CDN, cut=Cut(1000, clean=True))
    for path in (mp3_of(mount, service.flow.clips[0]), wav_of(mount, service.tempolor.jobs[0])):
        copied = run(["cp", path, tmp_path / "copy"])
        assert copied.returncode != 0
        assert "Input/output error" in copied.stderr


def test_nothing_but_what_is_read(mount: Mount, service: Service) -> None:
    """Promise 3: Nothing is fetched but what is read, plus bounded read-ahead of the open file and of
    at most two next siblings for a program that is copying a folder."""
    large, *others = service.tempolor.jobs
    done(["dd", f"if={wav_of(mount, large)}", "of=/dev/null", "bs=64k", "count=2", "status=none"])
    assert service.bytes_sent(Role.CDN) <= MIB
    assert service.counts["mp3"] == 0
    service.reset_counts()
    done(["cp", mp3_of(mount, service.flow.clips[0]), mount.home / "copy.mp3"])
    done(["cp", wav_of(mount, others[0]), mount.home / "copy.wav"])
    assert service.counts["mp3"] == 1
    touched = {record.path for record in service.log if record.role is Role.CDN}
    # The large one's own read-ahead may have set out before the count began anew.
    assert len([path for path in touched if large.item not in path]) == 1
    done(["cp", "-r", mount.path / "flowmusic", mount.home / "copy"])
    assert service.counts["mp3"] == len(service.flow.clips)


def test_kept_and_checked(mount: Mount, service: Service) -> None:
    """Promise 3: what was fetched is kept, and checked before it is served again."""
    mount.expect("damaged")
    wav, wanted = wav_of(mount, service.tempolor.jobs[0]), digest(service.tempolor.jobs[0].assets["wav"])
    assert sha256(wav) == wanted
    mount.settle(wav)
    assert mount.stop() == 0
    largest = max((mount.home / "cache").rglob("*.data"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"not what the service sent")
    mount.start()
    service.reset_counts()
    assert sha256(wav) == wanted
    assert 0 < service.bytes_sent(Role.CDN) <= MIB


def test_never_hangs(mount: Mount, service: Service) -> None:
    """Promise 4: The machine never hangs: `ls` of a known folder, `df` and cached music never wait for
    the network."""
    mount.expect("listing|tempolor|flowmusic")
    mp3 = mp3_of(mount, service.flow.clips[0])
    done(["ls", "-lR", mount.path])
    wanted = sha256(mp3)
    for role in Role:
        service.fail(black_hole(), role=role)
    with reader(mp3_of(mount, service.flow.clips[1])), reader(wav_of(mount, service.tempolor.jobs[2])):
        time.sleep(1.1)  # The listing grows old for real, so that every look asks for it again.
        began = time.monotonic()
        done(["ls", "-lR", mount.path / "flowmusic", mount.path / "tempolor"])
        done(["df", mount.path])
        assert sha256(mp3) == wanted
        assert time.monotonic() - began < 4.0  # the deadline: so long waits who waits for the network
    service.clear()


def test_killed_readers(mount: Mount, service: Service) -> None:
    """Promise 4: a reader dies at once on `kill -9` in `read`, within the deadline in `open`."""
    mount.expect("listing|tempolor|flowmusic|open|read")
    service.twist(role=Role.CDN, stall_at=100_000)
    service.fail(black_hole(), kind="mp3")
    with reader(wav_of(mount, service.tempolor.jobs[0])) as reads:
        until(lambda: service.bytes_sent(Role.CDN) >= 100_000)
        reads.kill()
        reads.wait(3)  # and not with its read, whose deadline is 4 s
    with reader(mp3_of(mount, service.flow.clips[0])) as opens:
        until(lambda: service.counts["mp3"] >= 1)
        opens.kill()
        opens.wait(8)  # a slow machine may take as long again
    assert mount.running


@pytest.mark.parametrize("how", ["umount", "SIGTERM"])
def test_unmounts_whatever_is_open(how: str, mount: Mount, service: Service) -> None:
    """Promise 4: `musicfs umount` and SIGTERM unmount within 5 s whatever is open."""
    mount.expect("tempolor|read|open")
    service.twist(role=Role.CDN, stall_at=100_000)
    wav, song = wav_of(mount, service.tempolor.jobs[0]), mount.path / "library" / "Song 1" / "Song 1.mp3"
    with reader(wav), reader(wav), held(song):
        until(lambda: service.bytes_sent(Role.CDN) >= 100_000)
        began = time.monotonic()
        if how == "SIGTERM":
            assert mount.stop(limit=5.0) == 0
            assert time.monotonic() - began < 5.0
        else:
            command = [sys.executable, "-m", "musicfs", "umount", str(mount.path)]
            with subprocess.Popen(command, env=mount.environ) as umount:
                until(lambda: not mount.present, 5)
                assert umount.wait(END) == 0
        assert not mount.present
    assert mount.ended() == 0


def _asks_again(mount: Mount, service: Service, times: int) -> bool:
    return bool(mount.listed("flowmusic")) and len(service.log) >= times


def test_could_not_ask(mount: Mount, service: Service) -> None:
    """Promise 5: "Couldn't ask" is never "deleted": the tree keeps what it knew."""
    mount.expect("listing")
    before = {folder: mount.listed(folder) for folder in ("flowmusic", "tempolor", "library")}
    for answer in (json_error(404), html(200), dropped(), json_error(401)):
        service.clear()
        service.fail(answer, role=Role.API)
        asked = len(service.log)
        until(partial(_asks_again, mount, service, asked + 2))
        assert {folder: mount.listed(folder) for folder in before} == before
    service.clear()


def test_never_empty(service: Service, tmp_path: Path) -> None:
    """Promise 5: A folder that can't be had is the last good one or an error, never empty, never
    partial, never ENOENT (`rsync --delete` would empty the user's copy)."""
    for number in range(120):
        service.add_clip("ada@example.com", f"Song {number}", 1.0)
    copy = tmp_path / "copy"
    copy.mkdir()
    names = [f"{clip.uuid}.mp3" for clip in service.flow.clips]
    for name in names:
        (copy / name).touch()
    # The second page never comes: half a folder would be as bad as none.
    service.fail(json_error(500), kind="list", path="offset=99")
    with mounted(service, tmp_path, deadline=10) as mount:
        mount.expect("listing flowmusic")
        synced = run(["rsync", "-r", "--delete", f"{mount.path}/flowmusic/", f"{copy}/"])
        assert synced.returncode != 0
        assert sorted(os.listdir(copy)) == sorted(names)


def test_network_down(mount: Mount, service: Service) -> None:
    """Promise 6: Cached music plays with the network down and right after a restart."""
    mount.expect("listing")
    mp3, wav = mp3_of(mount, service.flow.clips[0]), wav_of(mount, service.tempolor.jobs[0])
    wanted = sha256(mp3), sha256(wav)
    mount.settle(mp3, wav)
    mount.loop.stop()
    assert (sha256(mp3), sha256(wav)) == wanted
    mount.restart()
    assert (sha256(mp3), sha256(wav)) == wanted
    mount.loop.start()


def test_cache_survives_kill(mount: Mount, service: Service) -> None:
    """Promise 6: the cache survives `kill -9`."""
    mp3, wav = mp3_of(mount, service.flow.clips[0]), wav_of(mount, service.tempolor.jobs[0])
    wanted = sha256(mp3), sha256(wav)
    mount.settle(mp3, wav)
    mount.crash()
    mount.start()
    service.reset_counts()
    assert (sha256(mp3), sha256(wav)) == wanted
    assert service.counts["mp3"] == service.bytes_sent(Role.CDN) == 0


def test_token_to_its_own_origin(mount: Mount, service: Service) -> None:
    """Promise 7: The token goes to the API's own origin only."""
    mount.expect("flowmusic|tempolor")
    service.twist(kind="mp3", redirect="other")
    run(["cat", mp3_of(mount, service.flow.clips[0])])
    service.clear()
    done(["cat", wav_of(mount, service.tempolor.jobs[0]), mount.path / "library" / "Song 1" / "Song 1.m4a"])
    assert any(record.path.startswith("/mirror/") for record in service.log)
    assert all(record.authorised is (record.role is Role.API) for record in service.log)


def test_secrets(mount: Mount, service: Service) -> None:
    """Promise 7: token, signed URLs and e-mail addresses appear in no argv, log, cache, name, xattr, error or
    `/proc/mounts` (e-mails live in the state directory, 0700)."""
    mount.expect("tempolor")
    service.fail(denied_link(), role=Role.CDN, path=service.tempolor.jobs[1].item)
    failed = run(["cat", wav_of(mount, service.tempolor.jobs[1])]).stderr
    done(["cat", wav_of(mount, service.tempolor.jobs[0])])
    names = [str(path.relative_to(mount.home)) for path in mount.home.rglob("*")]
    cached = [
        path.read_bytes().decode("latin-1") for path in (mount.home / "cache").rglob("*") if path.is_file()
    ]
    state = [
        path.read_bytes().decode("latin-1") for path in (mount.home / "state").rglob("*") if path.is_file()
    ]
    asked = [mount.ask(verb, str(mount.path)).stdout for verb in ("status", "why")]
    proc = [Path(f"/proc/{mount.pid}/cmdline").read_text(), Path("/proc/mounts").read_text()]
    for text in (failed, mount.log, *names, *cached, *asked, *proc):
        assert not any(secret in text for secret in (DEMO_TOKEN, "auth_key", "@example.com"))
    assert not any(secret in text for text in state for secret in (DEMO_TOKEN, "auth_key"))
    assert any("@example.com" in text for text in state)
    assert (mount.home / "state").stat().st_mode & 0o777 == 0o700


def test_every_promise_is_quoted() -> None:
    """The tests of this file quote the README's promises word for word, and leave no word of one out."""
    text = README.read_text().partition("## Behaviour\n")[2].partition("\n## ")[0]
    promises = dict(re.findall(r"(?m)^(\d+)\. (.+)$", text))
    assert list(promises) == ["1", "2", "3", "4", "5", "6", "7"]
    quoted = [
        " ".join((test.__doc__ or "").split()).removesuffix(".")
        for name, test in globals().items()
        if name.startswith("test_") and (test.__doc__ or "").startswith("Promise ")
    ]
    for words in quoted:
        number, piece = words.removeprefix("Promise ").split(": ", 1)
        assert piece in promises[number]
    for number, promise in promises.items():
        rest = promise
        for words in quoted:
            if words.startswith(f"Promise {number}: "):
                rest = rest.replace(words.split(": ", 1)[1], "")
        assert re.sub(r"[\s;:.]", "", rest) == ""
