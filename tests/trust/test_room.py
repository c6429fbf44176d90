"""The cache keeps its limit and the disk's, whatever is read, and a disk that is full or sick stops nobody.

The disks are small tmpfs mounts, whose use can be asked for at one moment; mounting them needs root."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from musicfs.demo import Framing, Service, content, mp3_of, wav_of_size
from tests.figures import TRUST
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, until
from tests.trust.witness import (
    attempt,
    catalogue,
    compare,
    errors,
    forget_pages,
    read_at,
    read_whole,
    small_disk,
    used,
    verify,
)

MIB = 1024 * 1024
SLACK = 64 * 1024  # bytes: `format`, `lock`, and a page for each map that is being begun
FULL = ("passes through memory", "the disk under the cache", "cannot", "no room", "flowmusic")


@contextlib.contextmanager
def on_disk(service: Service, home: Path, size: str, **settings: object) -> Iterator[Mount]:
    """Mount with a cache on a small disk of its own."""
    with (
        small_disk(home / "cache", size),
        running(service) as loop,
        attached(Mount(loop, home, **settings)) as mount,
    ):
        yield mount.list_all()


class Watch:
    """Looks at a disk all the time, in a thread, and remembers the most it held."""

    def __init__(self, disk: Path) -> None:
        self.disk, self.most, self.looks = disk, 0, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.002):
            self.most, self.looks = max(self.most, used(self.disk)), self.looks + 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(5)


class Reader(threading.Thread):
    """Reads files of a catalogue at random until its time is over: whole, in parts, and at the end."""

    def __init__(self, root: Path, files: dict[str, bytes], seed: int, until: float) -> None:
        super().__init__(daemon=True)
        self.root, self.files, self.rng, self.until = root, files, random.Random(seed), until
        self.failures: list[BaseException] = []
        self.refused = 0

    def run(self) -> None:
        """Read; an error that is not ENOSPC is a failure."""
        while time.monotonic() < self.until:
            name = self.rng.choice(list(self.files))
            path, wanted = self.root / name, self.files[name]
            try:
                self._read(path, wanted)
            except OSError as failed:
                if failed.errno != errno.ENOSPC:
                    self.failures.append(failed)
                self.refused += 1
            except AssertionError as wrong:
                self.failures.append(wrong)

    def _read(self, path: Path, wanted: bytes) -> None:
        if self.rng.random() < 0.5:
            forget_pages(path)
            return verify(path, wanted)
        file = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(6):
                at = self.rng.randrange(len(wanted))
                compare(path, at, read_at(file, at, 100_000), wanted)
        finally:
            os.close(file)


def read_by_eight(mount: Mount, files: dict[str, bytes], seconds: float) -> list[Reader]:
    """Let eight readers read for a while."""
    end = time.monotonic() + seconds
    readers = [Reader(mount.path, files, seed, end) for seed in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(seconds + 30)
        assert not reader.is_alive()
        assert not reader.failures, reader.failures[:3]
    return readers


def stock(service: Service, wavs: int = 8, size: int = 1_300_000) -> dict[str, bytes]:
    """Fill a service with ranged files, and a few that are made anew."""
    for number in range(wavs):
        service.add_job("100", f"Job {number}", 20.0, wav=wav_of_size(size + number, number))
    for number in range(3):
        service.add_clip("ada@example.com", f"Song {number}", 20.0)
    return catalogue(service)


def test_limit_under_eight_readers(service: Service, tmp_path: Path) -> None:
    """Eight readers of 13 MB through a cache of 4 MiB get exact bytes, and at no moment does the cache take
    more than its limit on the disk."""
    files = stock(service)
    with on_disk(service, tmp_path, "64m", cache_size="4M") as mount:
        mount.expect(*FULL)
        with Watch(mount.home / "cache") as watch:
            readers = read_by_eight(mount, files, 3.0)
            while watch.looks <= 100 and len(readers) < 80:  # A slow machine looks seldom.
                readers += read_by_eight(mount, files, 1.0)
        assert watch.looks > 100
        assert 3 * MIB < watch.most <= 4 * MIB + SLACK
        assert sum(reader.refused for reader in readers) < 100
        TRUST["looks at the disk"] += watch.looks
        mount.restart()
        assert used(mount.home / "cache") <= 4 * MIB + SLACK


def test_space_is_kept_free(service: Service, tmp_path: Path) -> None:
    """With `keep_free` of 4 MiB on a disk of 8, the cache never takes the last 4, also when somebody else
    fills the disk; then it shrinks, and the bytes stay exact."""
    files = stock(service)
    with on_disk(service, tmp_path, "8m", cache_size="64M", keep_free="4M") as mount:
        mount.expect(*FULL)
        with Watch(mount.home / "cache") as watch:
            read_by_eight(mount, files, 2.0)
        assert 3 * MIB < watch.most <= 4 * MIB + SLACK
        (mount.home / "cache" / "other").write_bytes(bytes(2 * MIB))
        read_by_eight(mount, files, 2.0)
        assert used(mount.home / "cache") <= 4 * MIB + SLACK
        assert not errors(mount)


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED], ids=str)
def test_full_disk(framing: Framing, service: Service, tmp_path: Path) -> None:
    """On a disk that is full, ranged files pass through memory with exact bytes, also to eight readers; an
    mp3 that fits nowhere is ENOSPC at `open`; when there is room again, it is had."""
    service.add_clip("ada@example.com", "Large", 130.0)
    files = stock(service, 3, 2_500_000)
    service.twist(kind="mp3", framing=framing)
    with on_disk(service, tmp_path, "2m", cache_size="64M") as mount:
        mount.expect(*FULL)
        mount.expect("other bytes now")
        large = f"flowmusic/{service.flow.clips[0].uuid}.mp3"
        wanted = content(service.flow.clips[0].assets["mp3"])
        files = {name: body for name, body in files.items() if name.endswith("wav")}
        assert len(wanted) > 2_000_000
        with pytest.raises(OSError) as caught:
            os.open(mount.path / large, os.O_RDONLY)
        assert caught.value.errno == errno.ENOSPC
        filler = mount.home / "cache" / "filler"
        _fill(filler)
        for name, body in files.items():
            verify(mount.path / name, body)
        read_by_eight(mount, files, 2.0)
        assert not errors(mount)
        filler.unlink()
        assert subprocess.run(["mount", "-o", "remount,size=32m", str(mount.home / "cache")]).returncode == 0
        until(lambda: attempt(mount.path / large) == wanted, 10)


def _fill(filler: Path) -> None:
    """Write a file until the disk takes no more."""
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_disk_fills_in_the_middle_of_a_pass(service: Service, tmp_path: Path) -> None:
    """An mp3 without a length, for which the disk turns out to be too small, is ENOSPC at `open` and leaves
    nothing behind."""
    clip = service.add_clip("ada@example.com", "Large", 130.0, mp3=mp3_of(130.0))
    service.twist(kind="mp3", framing=Framing.CHUNKED)
    with on_disk(service, tmp_path, "1m", cache_size="64M") as mount:
        mount.expect(*FULL)
        for _ in range(2):
            assert attempt(mount.path / "flowmusic" / f"{clip.uuid}.mp3") == "ENOSPC"
        assert used(mount.home / "cache") <= SLACK


def _seal(disk: Path) -> None:
    """Make a disk read-only for whoever comes by its path; it is in use, so a remount would be refused."""
    subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True, timeout=10)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True, timeout=10)


def _unseal(disk: Path) -> None:
    subprocess.run(["umount", "-l", str(disk)], check=True, timeout=10)


def test_read_only_disk(service: Service, tmp_path: Path) -> None:
    """With the cache's disk remounted read-only under the running mount, what is cached is served from it,
    ranged files are exact, an mp3 that is not here is an error at `open`; when the disk can be written
    again, so is that; the daemon lives."""
    files = stock(service, 4, 700_000)
    with on_disk(service, tmp_path, "32m", cache_size="16M") as mount:
        mount.expect(*FULL, "damaged", "no map", "remove")
        disk, names = mount.home / "cache", list(files)
        cached = [names[0], names[8], names[1]]
        for name in cached:
            verify(mount.path / name, files[name])
        _seal(disk)
        service.reset_counts()
        for name in cached:
            forget_pages(mount.path / name)
            verify(mount.path / name, files[name])
        assert not {"mp3", "range", "whole"} & set(service.counts)
        for name in names:
            found = attempt(mount.path / name)
            assert found == files[name] or (found in ("EIO", "ENOSPC") and name.startswith("flowmusic"))
        _unseal(disk)
        for name in names:
            _until_exact(mount, name, files)
        assert not errors(mount)


def test_disk_turns_read_only_under_a_pass(service: Service, tmp_path: Path) -> None:
    """A pass whose disk turns read-only costs its readers an error, not the daemon; what was on the disk is
    not taken for a whole file afterwards."""
    files = stock(service, 1)
    clip = service.flow.clips[0]
    path, wanted = mount_path(clip.uuid), files[mount_path(clip.uuid)]
    service.twist(kind="mp3", path=clip.uuid, drip=150_000.0, times=1)
    with on_disk(service, tmp_path, "32m", cache_size="16M") as mount:
        mount.expect(*FULL, "damaged", "no map", "remove", "other bytes now")
        with (mount.path / path).open("rb", buffering=0) as file:
            assert read_at(file.fileno(), 0, 1000) == wanted[:1000]
            _seal(mount.home / "cache")
            with pytest.raises(OSError):
                read_at(file.fileno(), 0, len(wanted))
        assert attempt(mount.path / path) in ("EIO", "ENOSPC", wanted)
        assert mount.running
        _unseal(mount.home / "cache")
        until(lambda: attempt(mount.path / path) == wanted, 10)
        verify(mount.path / path, wanted)
        assert not errors(mount)


def _until_exact(mount: Mount, name: str, files: dict[str, bytes]) -> None:
    """Wait until a file is had and right; a failure is remembered for a second."""
    until(lambda: attempt(mount.path / name) == files[name], 10)


def mount_path(uuid: str) -> str:
    """Name a clip's mp3."""
    return f"flowmusic/{uuid}.mp3"


def test_files_larger_than_the_cache(service: Service, tmp_path: Path) -> None:
    """A file larger than the whole cache is read exactly, from its beginning and at random, and the limit
    holds."""
    job = service.add_job("100", "Long", wav=wav_of_size(6_000_000, "long"))
    wanted = content(job.assets["wav"])
    with on_disk(service, tmp_path, "32m", cache_size="1M") as mount, Watch(mount.home / "cache") as watch:
        path = mount.path / "tempolor" / job.item / "song.wav"
        assert read_whole(path) == wanted
        forget_pages(path)
        rng = random.Random(3)
        file = os.open(path, os.O_RDONLY)
        try:
            for _ in range(40):
                at = rng.randrange(len(wanted))
                compare(path, at, read_at(file, at, 70_000), wanted)
        finally:
            os.close(file)
        assert watch.most <= MIB + SLACK


def test_broken_pass_leaves_room(service: Service, tmp_path: Path) -> None:
    """Passes that are not believed give back all the room that they took."""
    files = stock(service, 1)
    service.knobs.mp3 = replace(service.knobs.mp3, framing=Framing.CHUNKED)
    for clip in service.flow.clips:
        service.twist(times=2, kind="mp3", path=clip.uuid, short=100_000)
        service.twist(times=1, kind="mp3", path=clip.uuid, short=70_001)
    with on_disk(service, tmp_path, "32m", cache_size="16M") as mount:
        mount.expect(*FULL)
        for clip in service.flow.clips:
            assert attempt(mount.path / mount_path(clip.uuid)) == "EIO"
        assert used(mount.home / "cache") <= SLACK
        for clip in service.flow.clips:
            _until_exact(mount, mount_path(clip.uuid), files)
