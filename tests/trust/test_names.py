"""A name leads to what it stands for now: `stat` needs no `open` to hear of another version, and what has
left is found nowhere any more. The kernel was told that it may keep these names for minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo import Asset, Member, Service, archive_of, content, wav_of, wav_of_size
from tests.mounted.mounting import Mount, mounted, until
from tests.trust.witness import attempt, forget_pages, read_at, read_whole

SIZE = 1_500_000
ADA = "ada@example.com"


@pytest.fixture
def service() -> Service:
    """Give a service with one song of each kind."""
    service = Service(clock=time.time)
    service.add_job("100", "Changing", wav=wav_of_size(SIZE, "old"), stems=_archive("old"))
    service.add_clip(ADA, "Night Drive", 3.0)
    service.add_clip(ADA, "Night Drive - drums", 3.0)
    return service


@pytest.fixture
def mount(service: Service, tmp_path: Path) -> Iterator[Mount]:
    """Mount it, with listings that are old at once."""
    with mounted(service, tmp_path, listing_ttl=0.3, forget_after=0.5) as mount:
        mount.expect("other bytes now", "built anew", "damaged", "cannot read")
        yield mount.list_all()


def _archive(seed: str) -> Asset:
    return archive_of([Member("bass.wav", wav_of(2 if seed == "old" else 3, seed))])


def test_stat_shows_another_version(mount: Mount, service: Service) -> None:
    """Once a read has met another version, `stat` of every name of the file shows the new inode and size,
    though nobody opened it since."""
    job = service.tempolor.jobs[0]
    paths = [
        mount.path / "tempolor" / job.item / "song.wav",
        mount.path / "library" / "Changing" / "Changing.wav",
    ]
    with paths[0].open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        read_at(file.fileno(), 0, 65_536)
        before = [path.stat() for path in paths]
        assert {told.st_size for told in before} == {SIZE}
        job.modified, job.assets["wav"] = job.updated + 60, wav_of_size(SIZE + 5000, "new")
        with pytest.raises(OSError):
            read_at(file.fileno(), 1_000_000, 65_536)
        for path in paths:
            until(lambda path=path: path.stat().st_ino != before[0].st_ino, 5)  # type: ignore[misc]
            assert path.stat().st_size == SIZE + 5000
    assert read_whole(paths[1]) == content(job.assets["wav"])


def test_stat_shows_a_rebuilt_archive(mount: Mount, service: Service) -> None:
    """Once an open has met an archive that was built anew, `stat` of its stems shows the new ones, under
    both names."""
    job = service.tempolor.jobs[0]
    stems = [mount.path / "tempolor" / job.item / "stems", mount.path / "library" / "Changing" / "stems"]
    assert read_whole(stems[0] / "bass.wav") == content(wav_of(2, "old"))
    before = {(folder / "bass.wav").stat().st_ino for folder in stems}
    assert len(before) == 1
    job.modified, job.assets["stems"] = job.updated + 60, _archive("new")
    forget_pages(stems[0] / "bass.wav")
    for data in (mount.home / "cache" / "objects").rglob("*.data"):
        data.unlink()
    until(lambda: attempt(stems[0] / "bass.wav") == content(wav_of(3, "new")), 10)
    for folder in stems:
        until(lambda folder=folder: (folder / "bass.wav").stat().st_ino not in before, 5)  # type: ignore[misc]
        assert (folder / "bass.wav").stat().st_size == len(content(wav_of(3, "new")))


def test_a_stem_that_left(mount: Mount, service: Service) -> None:
    """A stem clip that its owner deleted can no longer be opened in its song's `stems/`."""
    path = mount.path / "library" / "Night Drive" / "stems" / "drums.mp3"
    until(lambda: "Night Drive" in mount.listed("library"))
    assert read_whole(path)
    gone = service.flow.clips.pop()
    until(lambda: f"{gone.uuid}.mp3" not in mount.listed("flowmusic"), 20)
    until(lambda: attempt(path) == "ENOENT", 5)
