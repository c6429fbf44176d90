"""What is wrong on our own side, a full or sick disk or a mistake in any room, is an errno where it is in
the way and never the end of the mount."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Service
from tests.loopback import running
from tests.mounted.failing import Stage, catting, fails, fill, opening
from tests.mounted.mounting import Mount, attached, digest, mounted, run, sha256, until


def test_disk_full(service: Service, tmp_path: Path) -> None:
    """A whole-pass object that fits nowhere is ENOSPC at open, while ranged objects pass through memory."""
    clip, job = service.add_clip("ada@example.com", "Large", 30.0), service.add_job("100", "Job", 8.0)
    with mounted(service, tmp_path, cache_size="256K") as mount:
        mount.expect(clip.uuid, job.item, "open: no room")
        mount.list_all()
        fails(mount.path / "flowmusic" / f"{clip.uuid}.mp3", "ENOSPC")
        assert sha256(mount.path / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])


def test_disk_sick(service: Service, tmp_path: Path) -> None:
    """Where the cache folder cannot be used any more, a whole-pass object is EIO at open, and ranged
    ones play."""
    clip, job = service.add_clip("ada@example.com", "Song"), service.add_job("100", "Job", 8.0)
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        shutil.rmtree(tmp_path / "cache" / "objects")
        (tmp_path / "cache" / "objects").write_text("not a folder")
        mount.expect(clip.uuid, job.item, "open: the disk")
        fails(mount.path / "flowmusic" / f"{clip.uuid}.mp3", "EIO")
        assert sha256(mount.path / "tempolor" / job.item / "song.wav") == digest(job.assets["wav"])
        (tmp_path / "cache" / "objects").unlink()
        until(lambda: opening(mount.path / "flowmusic" / f"{clip.uuid}.mp3") == "", 10)


# Mistakes of our own --------------------------------------------------------------------------------------

COLLABORATORS = {
    "catalog": "Catalog.touch",
    "catalog, names": "Catalog.row",
    "content": "Content.open",
    "content, read": "Content.read",
    "content, facts": "Content.facts",
    "links": "Links.locate",
    "wire": "Wire.pull",
    "wire, API": "Wire.converse",
    "store": "Store.create",
    "store, entry": "Entry.write",
    "ledger": "Ledger.note",
    "state": "State.save_files",
    "callers": "Callers.is_scanner",
    "provider": "TemPolor.locate",
    "register": "Register.remember",
}


@pytest.fixture(scope="module")
def saboteur(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount a musicfs whose rooms break when the file `sabotage` says so."""
    home = tmp_path_factory.mktemp("sabotage")
    with running(fill(service := Service(clock=time.time), 2 * len(COLLABORATORS))) as loop:
        program = ("-m", "tests.mounted.sabotage", str(home / "sabotage"))
        with attached(Mount(loop, home, *program, deadline=3, listing_ttl=3600)) as mount:
            yield Stage(mount.list_all(), service)


@pytest.mark.parametrize("what", COLLABORATORS)
def test_mistake_of_our_own(what: str, saboteur: Stage) -> None:
    """An unexpected exception raised in any collaborator leaves the mount alive and gives EIO where it
    is in the way; afterwards everything is exact."""
    job, switch = saboteur.job(), saboteur.mount.home / "sabotage"
    saboteur.mount.expect("broke", "Traceback", "unexpected", "sabotage", "musicfs")
    handle = saboteur.service.tempolor.handle(job)
    wav = saboteur.mount.path / "tempolor" / handle / "song.wav"
    switch.write_text(COLLABORATORS[what])
    try:
        assert catting(wav) in ("EIO", "")
        os.statvfs(saboteur.mount.path)
        for folder in (wav.parent, saboteur.mount.path / "flowmusic"):
            run(["ls", "-l", folder])
    finally:
        switch.unlink()
    until(lambda: f"sabotaged {COLLABORATORS[what]}" in saboteur.mount.log)
    assert saboteur.mount.running
    until(lambda: catting(wav) == "", 10)
    assert sha256(wav) == digest(job.assets["wav"])
