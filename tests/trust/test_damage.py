"""What happens to the cache and the state on disk is noticed before it is served, and mended by fetching."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musicfs.core.spans import BLOCK
from musicfs.demo import Member, Service, archive_of, content, wav_of, wav_of_size
from tests.figures import TRUST
from tests.mounted.mounting import Mount, mounted, run, until
from tests.trust.witness import (
    Kept,
    catalogue,
    forget_pages,
    kept,
    read_at,
    verify,
)

PACKED = b"".join(b"%d\n" % (number * 7919 % 10_007) for number in range(40_000))
STORED = wav_of(2, "bass")


class Stage:
    """A mount whose every file has been read once, and what the bytes have to be."""

    def __init__(self, service: Service, mount: Mount) -> None:
        self.service, self.mount, self.rng = service, mount, random.Random(5)
        self.files = catalogue(service)
        for job in service.tempolor.jobs:
            self.files |= {
                f"tempolor/{job.item}/stems/bass.wav": content(STORED),
                f"tempolor/{job.item}/stems/words.txt": PACKED,
            }

    def check(self) -> None:
        """Read everything anew through the kernel."""
        for name, wanted in self.files.items():
            forget_pages(self.mount.path / name)
            verify(self.mount.path / name, wanted)

    def kept(self, key: str = "") -> list[Kept]:
        """List the objects on disk whose key has a part."""
        return [each for each in kept(self.mount.home) if key in each.key]


@pytest.fixture(scope="module")
def service() -> Service:
    """Fill a service with two songs of each kind."""
    service = Service(clock=time.time)
    for number in range(2):
        service.add_clip("ada@example.com", f"Song {number}", 15.0)
        stems = archive_of([Member("bass.wav", STORED), Member("words.txt", PACKED, deflated=True)])
        service.add_job("100", f"Job {number}", wav=wav_of_size(700_000 + number, number), stems=stems)
    return service


@pytest.fixture(scope="module")
def _stage(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Mount it once for all that damage only the cache."""
    with mounted(service, tmp_path_factory.mktemp("damage"), listing_ttl=0.5) as mount:
        yield Stage(service, mount.list_all())


@pytest.fixture
def stage(_stage: Stage) -> Stage:
    """Give the mount with everything in its cache, and nothing counted."""
    _stage.check()
    assert all(one.found.complete for one in _stage.kept() if not one.key.endswith(":stems"))
    _stage.service.reset_counts()
    return _stage


# The damages ---------------------------------------------------------------------------------------------


def _flip(one: Kept, rng: random.Random) -> None:
    at = rng.randrange(one.data.stat().st_size)
    with one.data.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def _cut(one: Kept, rng: random.Random) -> None:
    with one.data.open("r+b") as file:
        file.truncate(rng.randrange(one.data.stat().st_size))


def _zero(one: Kept, rng: random.Random) -> None:
    at = rng.randrange(one.data.stat().st_size - 1000)
    with one.data.open("r+b") as file:
        file.seek(at)
        file.write(bytes(1000))


def _stretch(one: Kept, rng: random.Random) -> None:
    """Put a stretch of the same file where another belongs."""
    with one.data.open("r+b") as file:
        size = one.data.stat().st_size
        file.seek(rng.randrange(size // 2, size - 5000))
        piece = file.read(5000)
        file.seek(rng.randrange(size // 2 - 5000))
        file.write(piece)


def _empty(one: Kept, rng: random.Random) -> None:
    one.data.write_bytes(b"")


def _remove(one: Kept, rng: random.Random) -> None:
    one.data.unlink()


def _remove_both(one: Kept, rng: random.Random) -> None:
    one.data.unlink()
    one.map.unlink()


def _folder_instead(one: Kept, rng: random.Random) -> None:
    one.data.unlink()
    one.data.mkdir()


DAMAGES: dict[str, Callable[[Kept, random.Random], None]] = {
    "flip": _flip,
    "cut": _cut,
    "zero": _zero,
    "stretch": _stretch,
    "empty": _empty,
    "remove": _remove,
    "remove both": _remove_both,
}
RESTARTED = {"under the mount": False, "over a restart": True}
_SAID = ("damaged", "cannot read")


@pytest.mark.parametrize("restart", RESTARTED)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data(damage: str, restart: str, stage: Stage) -> None:
    """Data that was flipped, cut, zeroed, moved or removed is fetched again, whatever object it belongs to
    and whether the mount runs or not; what was not damaged is not asked for, and afterwards nothing is."""
    mount = stage.mount
    mount.expect(*_SAID)
    if RESTARTED[restart]:
        assert mount.stop() == 0
    for one in stage.kept():
        DAMAGES[damage](one, stage.rng)
        TRUST["damages"] += 1
    if RESTARTED[restart]:
        mount.start()
    stage.check()
    assert stage.service.bytes_sent() > 0
    stage.service.reset_counts()
    stage.check()
    assert not {"mp3", "range", "whole"} & set(stage.service.counts)
    if RESTARTED[restart]:  # What was mended is kept for the next life too.
        mount.restart()
        stage.check()
        assert not {"mp3", "range", "whole"} & set(stage.service.counts)


@pytest.mark.parametrize("restart", RESTARTED)
def test_one_flipped_byte_costs_one_block(restart: str, stage: Stage) -> None:
    """One flipped byte of a wav costs one block; of an mp3 that is made anew, one download."""
    mount = stage.mount
    mount.expect(*_SAID)
    (wav,), (mp3,) = (stage.kept(":wav")[:1], stage.kept("flowmusic")[:1])
    if RESTARTED[restart]:
        assert mount.stop() == 0
    for one in (wav, mp3):
        _flip(one, stage.rng)
        TRUST["damages"] += 1
    if RESTARTED[restart]:
        mount.start()
    stage.check()
    assert stage.service.counts["mp3"] == 1
    sent = [record.sent for record in stage.service.log if record.kind == "range"]
    assert len(sent) == 1
    assert 0 < sent[0] <= BLOCK


@pytest.mark.parametrize("whole", [False, True], ids=["data", "data and map"])
@pytest.mark.parametrize("restart", RESTARTED)
def test_swapped_objects(restart: str, whole: bool, stage: Stage) -> None:
    """Objects that changed places, with or without their maps, are never served for each other."""
    mount = stage.mount
    mount.expect(*_SAID)
    if RESTARTED[restart]:
        assert mount.stop() == 0
    objects = stage.kept()
    for one, other in zip(objects[::2], objects[1::2], strict=False):
        for first, second in [(one.data, other.data), *([(one.map, other.map)] if whole else [])]:
            aside = first.with_name("aside")
            first.rename(aside)
            second.rename(first)
            aside.rename(second)
        TRUST["damages"] += 1
    if RESTARTED[restart]:
        mount.start()
    stage.check()
    assert stage.service.bytes_sent() > 0
    mount.restart()
    stage.check()


def test_maps_cut_at_every_record(stage: Stage) -> None:
    """Maps cut at a record's end, and one byte before, cost what was cut off and never a wrong byte."""
    mount = stage.mount
    mount.expect(*_SAID)
    for turn in range(4):
        assert mount.stop() == 0
        for one in stage.kept():
            ends = one.boundaries
            cut = ends[turn * len(ends) // 4] - turn % 2
            with one.map.open("r+b") as file:
                file.truncate(cut)
            TRUST["damages"] += 1
        mount.start()
        stage.check()


def test_maps_of_rubbish(stage: Stage) -> None:
    """A map with a flipped bit anywhere, or of rubbish, is believed up to there and no further."""
    mount = stage.mount
    mount.expect(*_SAID)
    for turn in range(3):
        assert mount.stop() == 0
        for one in stage.kept():
            raw = bytearray(one.map.read_bytes())
            raw[stage.rng.randrange(len(raw))] ^= 1 << stage.rng.randrange(8)
            one.map.write_bytes(raw if turn else stage.rng.randbytes(len(raw)))
            TRUST["damages"] += 1
        mount.start()
        stage.check()


def test_folder_in_the_place_of_a_file(stage: Stage) -> None:
    """A data file that cannot be read at all (a folder has its name) is no reason not to serve the song."""
    mount = stage.mount
    mount.expect(*_SAID, "cannot", "passes through memory")
    places = list(stage.kept(":wav"))
    for one in places:
        _folder_instead(one, stage.rng)
        TRUST["damages"] += 1
    stage.check()
    for one in places:
        one.data.rmdir()
    mount.restart()
    stage.check()


@pytest.mark.parametrize("what", ["objects", "cache"])
def test_removed_cache_under_the_mount(what: str, stage: Stage) -> None:
    """`rm -r` of the cache under the running mount is noticed, and what is fetched then is kept again."""
    mount = stage.mount
    mount.expect(*_SAID)
    shutil.rmtree(mount.home / "cache" / ("objects" if what == "objects" else ""))
    TRUST["damages"] += 1
    stage.check()
    stage.service.reset_counts()
    stage.check()
    assert not {"mp3", "range", "whole"} & set(stage.service.counts)
    mount.restart()
    stage.check()


def test_removed_under_a_running_pass(stage: Stage) -> None:
    """Bytes of an mp3 that are lost on the disk while it still comes in cost its readers an error at most,
    never the daemon; the next open has it whole."""
    service, mount = stage.service, stage.mount
    mount.expect(*_SAID, "lost", "flowmusic", "other bytes now")
    clip = service.add_clip("ada@example.com", "Lost", 20.0)
    wanted, path = content(clip.assets["mp3"]), mount.path / "flowmusic" / f"{clip.uuid}.mp3"
    stage.files[f"flowmusic/{clip.uuid}.mp3"] = wanted
    service.twist(kind="mp3", path=clip.uuid, drip=200_000.0)
    until(lambda: _listed(mount, clip.uuid))
    asked = len(service.log)
    with path.open("rb", buffering=0) as file:
        assert read_at(file.fileno(), 0, 1000) == wanted[:1000]
        # By its kind: a folder is asked for again behind its reader, so this may not be the last request.
        until(lambda: any(one.kind == "mp3" and one.sent > 200_000 for one in list(service.log)[asked:]))
        for place in (mount.home / "cache" / "objects").rglob("*.data"):
            place.unlink()
            TRUST["damages"] += 1
        forget_pages(path)
        try:
            found: bytes | int = read_at(file.fileno(), 0, len(wanted))
        except OSError as failed:
            found = failed.errno or 0
    assert isinstance(found, int) or found == wanted
    service.twists.clear()
    until(lambda: _succeeds(path, wanted), 10)
    stage.check()
    del stage.files[
        f"flowmusic/{clip.uuid}.mp3"
    ]  # Its version is another by now, which a lost state forgets.


def _listed(mount: Mount, uuid: str) -> bool:
    return f"{uuid}.mp3" in mount.listed("flowmusic")


def _succeeds(path: Path, wanted: bytes) -> bool:
    try:
        verify(path, wanted)
    except OSError:
        return False
    return True


# The state -----------------------------------------------------------------------------------------------


def _deleted(state: Path, rng: random.Random) -> None:
    shutil.rmtree(state)


def _rubbish(state: Path, rng: random.Random) -> None:
    for path in state.glob("state.db*"):
        path.write_bytes(rng.randbytes(5000))


def _cut_database(state: Path, rng: random.Random) -> None:
    for path in state.glob("state.db*"):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)


def _emptied(state: Path, rng: random.Random) -> None:
    for path in state.glob("state.db*"):
        path.write_bytes(b"")


def _holed(state: Path, rng: random.Random) -> None:
    path = state / "state.db"
    with path.open("r+b") as file:
        for at in range(4096, path.stat().st_size, 4096):
            file.seek(at + rng.randrange(3000))
            file.write(rng.randbytes(500))


STATES: dict[str, Callable[[Path, random.Random], None]] = {
    "deleted": _deleted,
    "rubbish": _rubbish,
    "cut": _cut_database,
    "emptied": _emptied,
    "holed": _holed,
}


@pytest.mark.parametrize("damage", STATES)
def test_damaged_state(damage: str, stage: Stage) -> None:
    """Without its state, or with a damaged one, the mount starts, every file is exact, and what is whole in
    the cache is still served from there."""
    mount = stage.mount
    mount.expect("state", *_SAID)
    assert mount.stop() == 0
    STATES[damage](mount.home / "state", stage.rng)
    TRUST["damages"] += 1
    mount.start().list_all()
    stage.check()
    assert not {"mp3", "whole"} & set(stage.service.counts)
    assert mount.path.joinpath("flowmusic").is_dir()


def test_lost_state_and_other_bytes(service: Service, tmp_path: Path) -> None:
    """A cache that has a part of an object, a state that was lost, and a service that has other bytes of
    the same length by now: a reader gets the one or the other whole, never both."""
    service = Service(clock=time.time)
    job = service.add_job("100", "Part", wav=wav_of_size(1_500_000, "old"))
    with mounted(service, tmp_path) as mount:
        wav = mount.list_all().path / "tempolor" / job.item / "song.wav"
        with wav.open("rb", buffering=0) as file:
            assert read_at(file.fileno(), 700_000, 4096) == content(job.assets["wav"])[700_000:704_096]
        assert mount.stop() == 0
        shutil.rmtree(mount.home / "state")
        job.assets["wav"] = new = wav_of_size(1_500_000, "new")
        job.modified = job.updated + 60
        TRUST["damages"] += 1
        mount.expect("other bytes now")
        mount.start()
        until(lambda: _succeeds(wav, content(new)), 10)


def test_newer_state_is_refused(service: Service, tmp_path: Path) -> None:
    """A state that a newer musicfs wrote is left alone: exit 78, and a sentence that says what to do."""
    with mounted(service, tmp_path) as mount:
        mount.listed("flowmusic")
        assert mount.stop() == 0
        path = mount.home / "state" / "state.db"
        with sqlite3.connect(path) as base:
            base.execute("PRAGMA user_version = 99")
        base.close()
        before = path.read_bytes()
        said = run([sys.executable, "-m", "musicfs", "mount", str(mount.path)], env=mount.environ)
        assert said.returncode == 78
        assert "newer musicfs" in said.stderr
        assert "MUSICFS_STATE_DIR" in said.stderr
        assert path.read_bytes() == before
        TRUST["damages"] += 1


def test_state_deleted_under_the_mount(stage: Stage) -> None:
    """Removing the state's files under a running mount costs no read, and the next start is a start."""
    mount = stage.mount
    mount.expect("state")
    shutil.rmtree(mount.home / "state")
    TRUST["damages"] += 1
    stage.check()
    mount.stop()
    mount.start().list_all()
    stage.check()
