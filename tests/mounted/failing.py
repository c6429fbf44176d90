"""Songs that nobody has touched, and two looks at how they fail: with `cat`, as a user would, and with one
system call, to know that it is `open` that fails and with what."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from musicfs.demo import Clip, Job, Service, zip_of
from tests.mounted.mounting import Mount, run, sha256, until

STRANGER = "00000000-0000-4000-8000-000000000001"


class Stage:
    """A mount with many songs that nobody has touched."""

    def __init__(self, mount: Mount, service: Service) -> None:
        self.mount, self.service = mount, service
        self._jobs, self._clips = iter(service.tempolor.jobs), iter(service.flow.clips)

    def job(self) -> Job:
        """Give a job, and declare what the log will say of it."""
        job = next(self._jobs)
        self.mount.expect(job.item)
        return job

    def clip(self) -> Clip:
        """Give a clip, and declare what the log will say of it."""
        clip = next(self._clips)
        self.mount.expect(clip.uuid)
        return clip

    def mp3(self, clip: Clip) -> Path:
        """Say where a clip's mp3 is."""
        return self.mount.path / "flowmusic" / f"{clip.uuid}.mp3"

    def wav(self, job: Job) -> Path:
        """Say where a job's wav is."""
        return self.mount.path / "tempolor" / job.item / "song.wav"


def fill(service: Service, songs: int = 50) -> Service:
    """Give a service many songs on each side."""
    for number in range(songs):
        service.add_clip("ada@example.com", f"Song {number}", 8.0)
        service.add_job("100", f"Job {number}", 4.0, stems=zip_of({"bass.wav": b"RIFF" + bytes(5000)}))
    return service


def opening(path: Path) -> str:
    """Name what `open` says: an errno, or "" if it opens."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as failed:
        return errno.errorcode[failed.errno or 0]
    return ""


def catting(path: Path) -> str:
    """Name what `cat` says: an errno, or "" if it reads the whole."""
    ended = run(["cat", path], limit=30)
    if ended.returncode == 0:
        return ""
    return next(
        name for number, name in errno.errorcode.items() if ended.stderr.strip().endswith(os.strerror(number))
    )


def fails(path: Path, name: str) -> None:
    """See a program and a single `open` fail with the same errno."""
    assert (catting(path), opening(path)) == (name, name)


def heals(stage: Stage, path: Path, wanted: str) -> None:
    """See the mount alive and the file exact, once the fault is cleared."""
    stage.service.clear()
    assert stage.mount.running
    until(lambda: catting(path) == "", 10)
    assert sha256(path) == wanted
