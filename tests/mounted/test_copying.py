"""Folders copied by real programs: two siblings ahead, each byte once, and nothing for who is no copier."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from musicfs.core.spans import BLOCK
from musicfs.demo import Role, Service, content, mp3_of, zip_of
from tests.mounted.mounting import Mount, digest, done, mounted, run, sha256, until

CLIPS = 24
SLOWLY = """
import os, sys
for number, path in enumerate(sorted(os.scandir(sys.argv[1]), key=lambda entry: entry.name)):
    if number == 4:
        open(path, "rb").read(1)
        print("stopped", flush=True)
        sys.stdin.read()
    open(path, "rb").read()
"""

HANDS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor

def copy(path):
    with open(path, "rb") as song, open(os.path.join(sys.argv[2], path.name), "wb") as copied:
        while data := song.read(1 << 20):
            copied.write(data)

paths = sorted(os.scandir(sys.argv[1]), key=lambda entry: entry.name)[: int(sys.argv[3])]
with ThreadPoolExecutor(4) as hands:
    list(hands.map(copy, paths))
print("copied", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def service() -> Service:
    """Fill a service with clips of some 300 KB, and jobs with stems, stored and deflated."""
    made = Service(clock=time.time)
    for number in range(CLIPS):
        made.add_clip("ada@example.com", f"Song {number}", 20.0, mp3=mp3_of(20.0, number))
    for number in range(4):
        stems = {f"{name}.wav": b"RIFF" + bytes(100_000) for name in ("bass", "drums", "keys", "voice")}
        made.add_job("100", f"Job {number}", 20.0, stems=zip_of(stems))
    return made


@pytest.fixture
def mount(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount them, listed."""
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        service.reset_counts()
        yield mount


def mp3_bytes(service: Service) -> int:
    """Sum the bytes of the mp3s that were sent."""
    return sum(record.sent for record in service.log if record.kind == "mp3")


@pytest.mark.parametrize(
    "command", ["cp -r {0}/. {1}", "rsync -a {0}/ {1}", "tar cf - -C {0} . | tar xf - -C {1}"]
)
def test_nothing_too_much(command: str, mount: Mount, service: Service, tmp_path: Path) -> None:
    """A folder copied whole costs one download a song and not a byte more, and is the service's."""
    copy = tmp_path / "copy"
    copy.mkdir()
    done(["sh", "-ec", command.format(mount.path / "flowmusic", copy)])
    for clip in service.flow.clips:
        assert sha256(copy / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])
    assert service.counts["mp3"] == CLIPS
    assert mp3_bytes(service) == sum(clip.assets["mp3"].size for clip in service.flow.clips)


def test_two_ahead_and_no_more(mount: Mount, service: Service) -> None:
    """A copier that stops has at most the two next files fetched; once it died, none is begun for it."""
    words = [sys.executable, "-c", SLOWLY, str(mount.path / "flowmusic")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as copier:
        try:
            assert copier.stdout is not None
            assert copier.stdout.readline() == b"stopped\n"
            until(lambda: service.counts["mp3"] == 7)
        finally:
            copier.kill()
    for clip in service.flow.clips[:2]:
        run(["head", "-c", "10", mount.path / "flowmusic" / f"{clip.uuid}.mp3"])
    assert service.counts["mp3"] <= 9


@contextmanager
def four_hands(mount: Mount, copy: Path, count: int) -> Iterator[None]:
    """Copy the first songs with a process of four threads, that goes on until the block ends."""
    copy.mkdir()
    words = [sys.executable, "-c", HANDS, str(mount.path / "flowmusic"), str(copy), str(count)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as copier:
        try:
            assert copier.stdout is not None
            assert copier.stdout.readline() == b"copied\n"
            yield
        finally:
            copier.kill()


def test_four_hands(mount: Mount, service: Service, tmp_path: Path) -> None:
    """A folder copied by four threads costs one download a song and not a byte more; five songs are made at
    a time, the fifth before anybody opens it."""
    size, together = service.flow.clips[0].assets["mp3"].size, set()

    def count() -> bool:
        together.add(sum(record.kind == "mp3" and record.sent < size for record in service.log))
        return True

    service.twist(role=Role.API, kind="mp3", first_byte=0.3, gate=count)
    with four_hands(mount, tmp_path / "copy", CLIPS):
        for clip in service.flow.clips:
            assert sha256(tmp_path / "copy" / f"{clip.uuid}.mp3") == digest(clip.assets["mp3"])
    assert service.counts["mp3"] == CLIPS
    assert mp3_bytes(service) == sum(clip.assets["mp3"].size for clip in service.flow.clips)
    assert max(together) == 5


def test_four_hands_that_stop(mount: Mount, service: Service, tmp_path: Path) -> None:
    """Four threads that stop in the middle of a folder have had at most one song fetched that none of them
    opened; once their program died, none is begun for it."""
    service.twist(role=Role.API, kind="mp3", first_byte=0.3)
    with four_hands(mount, tmp_path / "copy", 16):
        size = service.flow.clips[0].assets["mp3"].size
        until(lambda: mp3_bytes(service) == service.counts["mp3"] * size)
        assert service.counts["mp3"] in (16, 17)
        begun = service.counts["mp3"]
    for name in sorted(f"{clip.uuid}.mp3" for clip in service.flow.clips)[:2]:
        run(["head", "-c", "10", mount.path / "flowmusic" / name])
    assert service.counts["mp3"] == begun


def test_the_next_ones_are_here(mount: Mount, service: Service) -> None:
    """What was fetched ahead is what is asked for next: it needs no service any more."""
    names = sorted(f"{clip.uuid}.mp3" for clip in service.flow.clips)
    folder = mount.path / "flowmusic"
    done(["sh", "-c", 'cat "$@" > /dev/null', "sh", *(folder / name for name in names[:4])])
    until(lambda: mp3_bytes(service) == 6 * service.flow.clips[0].assets["mp3"].size)
    mount.settle(*(folder / name for name in names[4:6]))
    mount.loop.stop(Role.API)
    for name in names[4:6]:
        clip = next(clip for clip in service.flow.clips if clip.uuid in name)
        assert (folder / name).read_bytes() == content(clip.assets["mp3"])
    mount.loop.start(Role.API)


def test_links_go_with_their_bytes(mount: Mount, service: Service, tmp_path: Path) -> None:
    """`cp -r tempolor` copies every object whose link it mints, and leaves no link without its bytes."""
    done(["cp", "-r", mount.path / "tempolor", tmp_path / "copy"])
    for job in service.tempolor.jobs:
        for form in ("mp3", "wav"):
            assert sha256(tmp_path / "copy" / job.item / f"song.{form}") == digest(job.assets[form])
        assert len(list((tmp_path / "copy" / job.item / "stems").iterdir())) == 4
    minted = {(record.path, record.form) for record in service.log if record.kind == "mint"}
    assert len(minted) == 3 * len(service.tempolor.jobs)
    fetched = {record.path for record in service.log if record.role is Role.CDN and record.sent}
    assert len(fetched) == len(minted)
    there = sum(asset.size for job in service.tempolor.jobs for asset in job.assets.values())
    # An archive's end, which tells its length and its members, begins in the middle of a block.
    assert there <= service.bytes_sent(Role.CDN) < there + BLOCK * len(service.tempolor.jobs)


def test_single_files_bring_nothing(mount: Mount, service: Service, tmp_path: Path) -> None:
    """Files copied by a program each, and heads read by one, are no copy of a folder."""
    folder = mount.path / "flowmusic"
    names = sorted(f"{clip.uuid}.mp3" for clip in service.flow.clips)
    for name in names[:5]:
        done(["cp", folder / name, tmp_path])
    assert service.counts["mp3"] == 5
    jobs = sorted(job.item for job in service.tempolor.jobs)
    done(["head", "-qc", "1000", *(mount.path / "tempolor" / job / "song.wav" for job in jobs)])
    assert service.counts["mint"] == 4
