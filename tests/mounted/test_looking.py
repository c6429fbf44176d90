"""Songs that are looked at one after the other: what a prober is fetched of the next, and what others are.

The probers here read as ffprobe does, but have the kernel not read ahead: how far it does is root's to say.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from musicfs.core.looks import AGREED
from musicfs.core.readahead import FIRST
from musicfs.demo import Service, mp3_of
from tests.mounted.mounting import Mount, done, mounted

KIB = 1024
PROBE = """
import os, sys
song = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(song, 0, 0, os.POSIX_FADV_RANDOM)
for place in map(int, sys.argv[2:]):
    assert len(os.pread(song, 65_536, place)) == 65_536
"""
READ = "import sys; open(sys.argv[1], 'rb').read()"
HEAD = [str(place * 64 * KIB) for place in range(7)]


def songs(service: Service, mount: Mount, count: int) -> list[Path]:
    """Give songs of 3.2 MB whose lengths and links are known, as after `ls -l`."""
    for number in range(count):
        service.add_job("100", f"Song {number}", 200.0, mp3=mp3_of(200.0, number))
    folders = [mount.path / "tempolor" / name for name in mount.list_all().listed("tempolor")]
    done(["ls", "-l", *(folder / name for folder in folders for name in ("song.mp3", "song.wav"))])
    return [folder / "song.mp3" for folder in folders]


def asked(mount: Mount, service: Service, *words: str | Path) -> list[tuple[int, int]]:
    """Run a program and give the ranges that were asked for, in order of place."""
    service.reset_counts()
    done(words)
    for _ in range(2):
        os.statvfs(mount.path)  # The kernel tells of a close behind the program's back: by now it is done.
    assert {record.kind for record in service.log} == {"range"}
    ranges = [str(record.range).removeprefix("bytes=").split("-") for record in service.log]
    return sorted((int(first), int(last) + 1) for first, last in ranges)


def test_beginnings_of_one_song_after_the_other(tmp_path: Path) -> None:
    """From the third song on a program that looks at 448 KiB is fetched those in two requests, and another
    program gets 256 KiB as ever."""
    service = Service(clock=time.time)
    with mounted(service, tmp_path, sizes="exact") as mount:
        *paths, last = songs(service, mount, 6)
        looks = [asked(mount, service, "python3", "-c", PROBE, path, *HEAD) for path in paths]
        assert all(look[0] == (0, FIRST) for look in looks[:AGREED])
        assert looks[AGREED:] == [[(0, 192 * KIB), (192 * KIB, 448 * KIB)]] * 3
        assert asked(mount, service, "head", "-c", "100", last) == [(0, FIRST)]


def test_ends_of_one_song_after_the_other(tmp_path: Path) -> None:
    """From the third song on a program that reads a table at the end is fetched that with the beginning, and
    of the beginning what it read before; where it then reads a song whole each byte comes once."""
    service = Service(clock=time.time)
    with mounted(service, tmp_path, sizes="exact") as mount:
        *paths, last = songs(service, mount, 5)
        size = last.stat().st_size
        end = size - size % (64 * KIB) - 64 * KIB
        looks = [
            asked(mount, service, "python3", "-c", PROBE, path, "0", str(size - 70_000)) for path in paths
        ]
        assert looks[:AGREED] == [[(0, FIRST), (end, size)]] * AGREED
        assert looks[AGREED:] == [[(0, 64 * KIB), (end, size)]] * 2
        whole = asked(mount, service, "python3", "-c", READ, last)
        assert whole[0] == (0, 64 * KIB)
        assert sum(stop - start for start, stop in whole) == size
