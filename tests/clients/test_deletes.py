"""`rsync -a --delete` over songs that fail in every way: the copy of earlier days keeps what it has.

How it thinks: songs were copied whole once; then the cache is gone, each song fails in a way of its own, and
rsync has reason to read all of them again, because the copy's times are another's.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from musicfs.demo import Cut, Role, Service, zip_of
from musicfs.demo.faults import Answer, body, denied_link, dropped, html, json_error, throttled
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import ACCOUNT, OTHER
from tests.mounted.mounting import done, mounted, run, until

ANSWERS: dict[str, Answer] = {
    "401": json_error(401),
    "402": json_error(402),
    "403": json_error(403),
    "596": json_error(596, "Account in error state"),
    "404": json_error(404),
    "409": json_error(409),
    "429": throttled(),
    "500": json_error(500),
    "html": html(),
    "nothing": body(b""),
    "reset": dropped(),
    "denied": denied_link(),
}

UNLISTED = tuple(ANSWERS[what] for what in ("401", "409", "500", "reset"))
"""What keeps stems from being listed; a 404 long after the song was made says that there are none."""


def contents(folder: Path) -> dict[str, bytes]:
    """Give every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ill(service: Service) -> None:
    """Let every song fail in a way of its own: most when they are opened, the last two in the middle."""
    clips, jobs = service.flow.clips, service.tempolor.jobs
    for (what, answer), clip, job in zip(ANSWERS.items(), clips, jobs, strict=False):
        service.fail(answer, kind="mp3", path=clip.uuid)
        if what in ("denied", "reset"):
            service.fail(answer, role=Role.CDN, path=job.item)
        else:
            service.fail(answer, kind="mint", path=job.item)
    service.twist(kind="mp3", path=clips[-1].uuid, cut=Cut(100_000, clean=True))
    service.twist(role=Role.CDN, path=jobs[-1].item, cut=Cut(0))


def age(copy: Path) -> None:
    """Give every file of the copy another time, so that rsync looks at its bytes."""
    for path in copy.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))


@pytest.mark.needs("rsync")
def test_the_copy_keeps_its_stems(tmp_path: Path) -> None:
    """Where a musicfs that never saw them cannot list a song's stems, rsync says so, deletes nothing of its
    copy, and has the rest of the song; when all is well again, it is content."""
    service = Service(clock=time.time)
    stems = zip_of({"bass.wav": b"RIFF" + bytes(100_000)})
    for number in range(len(UNLISTED) + 1):
        service.add_job(OTHER, f"Job {number}", 2.0, stems=stems)
    copy = tmp_path / "copy"
    with mounted(service, tmp_path, deadline=2, listing_ttl=3600) as mount:
        mount.expect(" WARNING ")
        rsync = ["rsync", "-a", "--delete", f"{mount.path}/tempolor", str(copy)]
        done(rsync)
        before = contents(copy)
        assert len(before) == 3 * (len(UNLISTED) + 1)
        assert mount.stop() == 0
        for folder in ("cache", "state"):
            shutil.rmtree(tmp_path / folder)
        mount.start()
        mount.listed("tempolor")
        for answer, job in zip(UNLISTED, service.tempolor.jobs, strict=False):
            service.fail(answer, kind="mint", form="stems", path=job.item)
        age(copy)
        ran = run([*rsync, "--verbose"], limit=60)
        assert ran.returncode == 23, ran.stderr
        assert "deleting " not in ran.stdout
        failed = [job.item for job in service.tempolor.jobs if f"{job.item}/stems" in ran.stderr]
        assert len(failed) == len(UNLISTED)
        assert contents(copy) == before
        service.clear()
        until(lambda: run([*rsync, "--checksum"]).returncode == 0, 40)
        assert contents(copy) == before


@pytest.mark.needs("rsync")
@pytest.mark.long
def test_the_copy_keeps_what_it_has(sound: Sound, tmp_path: Path) -> None:
    """Songs and stems that cannot be read are errors, and rsync deletes and damages nothing of its copy; when
    all is well again, it is content."""
    service = Service(clock=time.time)
    wav, stems = sound.stems["drums.wav"], zip_of({"bass.wav": b"RIFF" + bytes(100_000)})
    for number in range(len(ANSWERS) + 1):
        service.add_clip(ACCOUNT, f"Song {number}", SECONDS, mp3=sound.mp3)
        service.add_job(OTHER, f"Job {number}", SECONDS, mp3=sound.mp3, wav=wav, stems=stems)
    copy = tmp_path / "copy"
    with mounted(service, tmp_path, deadline=2, listing_ttl=3600) as mount:
        mount.expect(".")
        rsync = ["rsync", "-a", "--delete", f"{mount.path}/flowmusic", f"{mount.path}/tempolor", str(copy)]
        done(rsync)
        before = contents(copy)
        assert len(before) == 4 * (len(ANSWERS) + 1)
        assert mount.stop() == 0
        shutil.rmtree(tmp_path / "cache")
        mount.start()
        ill(service)
        age(copy)
        ran = run([*rsync, "--verbose"], limit=100)
        assert ran.returncode == 23, ran.stderr
        assert "deleting " not in ran.stdout
        told = {*(clip.uuid for clip in service.flow.clips), *(job.item for job in service.tempolor.jobs)}
        assert {song for song in told if song not in ran.stderr} == set()
        assert contents(copy) == before
        service.clear()
        until(lambda: run([*rsync, "--checksum"]).returncode == 0, 40)
        assert contents(copy) == before
