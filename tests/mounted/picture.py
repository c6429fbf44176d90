"""A small library, and a picture of all that a mount shows of it: to compare before and after."""

from __future__ import annotations

import os

from musicfs.demo import Service, zip_of
from tests.mounted.mounting import Mount, done, until


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
    until(lambda: os.stat(mount.path).st_mtime_ns == max(tops))
    return shown
