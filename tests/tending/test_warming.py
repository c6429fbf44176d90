"""Warming: files brought whole, checked and pinned; the real rooms on the embedded service, virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from musicfs.core.spans import BLOCK
from musicfs.demo import (
    Delivery,
    Framing,
    Knobs,
    Member,
    Ranges,
    Role,
    Service,
    Tag,
    archive_of,
    content,
    wav_of,
    wav_of_size,
)
from musicfs.demo.faults import json_error
from musicfs.model import Span
from musicfs.store import Store
from tests.tending.conftest import MIB, House, size_of
from tests.world import LOOSE_ENDS

pytestmark = [pytest.mark.trio, LOOSE_ENDS]

ITEM = "aaaabbbbcccc"


def spoil(store: Store, name: str, at: int = 70_000) -> None:
    """Turn a byte of an object over on the disk."""
    (entry,) = (one for one in store.entries() if one.key == name)
    path = next(Path(store._folder).rglob(f"{entry.digest}.data"))
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def whole(house: House, name: str) -> bytes:
    """Read an object out of the cache."""
    entry = house.pinned()[name]
    assert entry.size is not None
    return bytes(entry.read(Span(0, entry.size)))


MP3 = Delivery(ranges=Ranges.IGNORE, etag=Tag.NONE, last_modified=False)


@pytest.mark.parametrize("framing", list(Framing), ids=str)
@pytest.mark.parametrize("ranges", list(Ranges), ids=str)
async def test_every_byte_server(house: House, service: Service, ranges: Ranges, framing: Framing) -> None:
    """However the bytes come, what is warm is the service's bytes, whole, and pinned; a second errand fetches
    nothing."""
    service.knobs = Knobs(
        mp3=Delivery(ranges=Ranges.IGNORE, framing=framing, etag=Tag.NONE, last_modified=False),
        cdn=Delivery(ranges=ranges, framing=framing),
    )
    clip = service.add_clip("ada@example.com", "Tide", 20.0)
    job = service.add_job("100", "Ebb", item=ITEM, wav=wav_of_size(700_001, "ebb"))
    paths = (f"flowmusic/{clip.uuid}.mp3", f"tempolor/{ITEM}/song.*", f"tempolor/{ITEM}/song.wav")
    told = await house.warm(*paths)
    assert (told["stage"], told["failures"], told["files"], told["files_done"]) == ("done", [], 3, 3)
    wanted = {
        f"flowmusic:{clip.uuid}:mp3": content(clip.assets["mp3"]),
        f"tempolor:{ITEM}:mp3": content(job.assets["mp3"]),
        f"tempolor:{ITEM}:wav": content(job.assets["wav"]),
    }
    assert {name: whole(house, name) for name in house.pinned()} == wanted
    assert told["done"] == told["size"] == sum(map(len, wanted.values()))
    assert told["fetched"] == told["size"]
    house.moved()
    told = await house.warm(*paths)
    assert (told["fetched"], house.moved(), told["done"]) == (0, 0, told["size"])


async def test_stems(house: House, service: Service) -> None:
    """A stored member pins its archive, a deflated one its own object; of the archive only what is needed is
    fetched, and bounded read-ahead."""
    members = [
        *(Member(f"{name}.wav", wav_of_size(MIB, name)) for name in ("one", "two", "three")),
        Member("notes.txt", b"F minor\n" * 20_000, deflated=True),
    ]
    service.add_job("100", "Ebb", item=ITEM, stems=archive_of(members))
    told = await house.warm(f"tempolor/{ITEM}/stems/two.wav")
    assert (told["failures"], told["size"]) == ([], MIB)
    archive = house.pinned()[f"tempolor:{ITEM}:stems"]
    assert set(house.pinned()) == {archive.key}
    assert MIB <= house.moved() < 2 * MIB
    assert not archive.whole
    told = await house.warm(f"tempolor/{ITEM}/stems")
    assert (told["failures"], told["files"]) == ([], 4)
    assert set(house.pinned()) == {archive.key, f"tempolor:{ITEM}:stems/notes.txt"}
    assert whole(house, f"tempolor:{ITEM}:stems/notes.txt") == b"F minor\n" * 20_000
    house.moved()
    await house.warm(f"tempolor/{ITEM}/stems")
    assert not house.moved()


async def test_three_at_a_time(house: House, service: Service, autojump_clock: MockClock) -> None:
    """Of many files three are under way, and a file takes the place of each that ended."""
    service.knobs = Knobs(mp3=Delivery(drip=100_000, ranges=Ranges.IGNORE, etag=Tag.NONE))
    for number in range(8):
        service.add_clip("ada@example.com", f"Song {number}", 5.0)
    number = (await house.ask("warm", paths=["flowmusic"]))["id"]
    seen = set()
    while (told := await house.ask("errand", id=number))["stage"] == "running":
        seen.add(len(told["now"]))
        assert told["done"] <= told["size"]
        await trio.sleep(0.2)
    assert max(seen) == 3
    assert told["files_done"] == 8


@pytest.mark.expected_log("mp3: the service says this is not ours")
async def test_one_failure_does_not_stop_the_others(house: House, service: Service) -> None:
    """Each file that cannot be had is told once, by its path, with a remedy; the rest is warm."""
    service.add_clip("ada@example.com", "Lost", 5.0, without=("wav",))
    service.add_clip("ada@example.com", "Tide", 5.0)
    service.fail(json_error(403), kind="mp3", times=1)
    told = await house.warm("library")
    assert (told["files"], told["files_done"], told["absent"], told["failed"]) == (5, 4, 1, 1)
    assert [one["path"] for one in told["failures"] if one["remedy"]] == ["library/Lost/Lost.mp3"]
    assert len(house.pinned()) == 4
    assert told["done"] == told["size"]


async def test_a_form_that_does_not_exist(house: House, service: Service) -> None:
    """A wav that is listed for every song and that the service does not have for this one is counted, and
    nothing has failed; named by itself it is a failure, because there is nothing to play."""
    service.add_clip("ada@example.com", "Lost", 5.0, without=("wav",))
    for _ in range(2):
        told = await house.warm("library")
        assert (told["files"], told["files_done"], told["absent"], told["failures"]) == (2, 2, 1, [])
        assert told["done"] == told["size"]
        await trio.sleep(2)
    told = await house.warm("library/Lost/Lost.wav")
    assert [one["path"] for one in told["failures"]] == ["library/Lost/Lost.wav"]


async def test_damage_is_found_and_mended(house: House, service: Service) -> None:
    """Warming again checks every block: a ranged object's bad block alone is fetched, a whole-pass object
    anew; both end whole, right and pinned."""
    clip = service.add_clip("ada@example.com", "Tide", 20.0)
    job = service.add_job("100", "Ebb", item=ITEM, wav=wav_of_size(MIB, "ebb"))
    paths = (f"flowmusic/{clip.uuid}.mp3", f"tempolor/{ITEM}/song.wav")
    await house.warm(*paths)
    house.moved()
    spoil(house.store, f"tempolor:{ITEM}:wav")
    told = await house.warm(*paths)
    assert (told["failures"], told["fetched"]) == ([], BLOCK)
    assert 0 < house.moved() <= 5 * BLOCK
    spoil(house.store, f"flowmusic:{clip.uuid}:mp3")
    assert (await house.warm(*paths))["failures"] == []
    assert house.moved() == size_of(clip.assets["mp3"])
    assert whole(house, f"flowmusic:{clip.uuid}:mp3") == content(clip.assets["mp3"])
    assert whole(house, f"tempolor:{ITEM}:wav") == content(job.assets["wav"])


@pytest.mark.parametrize("tag", [Tag.STRONG, Tag.NONE], ids=str)
async def test_other_bytes_meanwhile(
    house: House, service: Service, tag: Tag, autojump_clock: MockClock
) -> None:
    """The service has other bytes by now: what ends up warm is the new version, and never a mixture."""
    service.knobs = Knobs(cdn=Delivery(drip=500_000, etag=tag, last_modified=False))
    job = service.add_job("100", "Ebb", item=ITEM, wav=wav_of_size(8 * MIB, "old"))
    number = (await house.ask("warm", paths=[f"tempolor/{ITEM}/song.wav"]))["id"]
    await trio.sleep(2)
    fresh = wav_of_size(8 * MIB + 4, "new")
    job.assets["wav"] = fresh
    told = await house.ended(number)
    assert told["failures"] == []
    assert whole(house, f"tempolor:{ITEM}:wav") == content(fresh)


async def test_called_off(house: House, service: Service, autojump_clock: MockClock) -> None:
    """Nothing new is begun, the fetching stops, and what was not finished is not pinned; asked again, it goes
    on with what is here."""
    service.knobs = Knobs(cdn=Delivery(drip=500_000))
    size = 4 * MIB
    for number in range(5):
        service.add_job(
            "100", f"Ebb {number}", item=f"aaaabbbbccc{number}", wav=wav_of_size(size, f"{number}")
        )
    paths = [f"tempolor/aaaabbbbccc{number}/song.wav" for number in range(5)]
    number = (await house.ask("warm", paths=paths))["id"]
    await trio.sleep(3)
    assert len((await house.ask("errand", id=number))["now"]) == 3
    await house.ask("cancel", id=number)
    await wait_all_tasks_blocked()
    told = await house.ask("errand", id=number)
    assert (told["stage"], told["now"], told["files_done"]) == ("cancelled", [], 0)
    assert not house.pinned()
    await trio.sleep(60)
    before = house.moved()
    assert 2 * MIB < before < 3 * size
    told = await house.warm(*paths)
    assert told["files_done"] == 5
    assert house.moved() <= 5 * size - before + 3 * MIB


async def test_the_cap(house: House, service: Service) -> None:
    """Half of the cache is for pins: the file that no longer fits is refused before it is fetched, with
    numbers; let go of another, it fits."""
    for number in range(3):
        wav = wav_of_size(12 * MIB, f"{number}")
        service.add_job("100", f"Ebb {number}", 60.0, item=f"aaaabbbbccc{number}", wav=wav)
    paths = [f"tempolor/aaaabbbbccc{number}/song.wav" for number in range(3)]
    told = await house.warm(*paths)
    assert told["files_done"] == 2
    (failure,) = told["failures"]
    assert "half of the cache (32 MiB), and" in failure["error"]
    assert "--unpin" in failure["remedy"]
    house.moved()
    other = next(path for path in paths if path != failure["path"])
    assert (await house.warm(other, unpin=True))["files_done"] == 1
    assert (await house.warm(failure["path"]))["failures"] == []
    assert house.store.pinned <= house.store.limit // 2


async def test_letting_go(house: House, service: Service) -> None:
    """--unpin takes the pins of a folder away, an archive's with its stems; the bytes stay until room is
    needed; what was never pinned is no failure."""
    stems = archive_of([Member("a.wav", wav_of(1, "a")), Member("b.txt", b"F" * 9000, deflated=True)])
    service.add_job("100", "Ebb", item=ITEM, stems=stems)
    await house.warm(f"tempolor/{ITEM}")
    assert len(house.pinned()) == 4
    house.moved()
    for _ in range(2):
        told = await house.warm(f"tempolor/{ITEM}", unpin=True)
        assert (told["files_done"], told["failures"]) == (4, [])
        assert not house.pinned()
        assert house.store.pinned == 0
    await house.warm(f"tempolor/{ITEM}")
    assert not house.moved()


async def test_more_paths_join_an_errand(house: House, service: Service, autojump_clock: MockClock) -> None:
    """An errand that is open takes more paths, counts a file once, and ends after the last part."""
    clips = [service.add_clip("ada@example.com", f"Song {number}", 2.0) for number in range(4)]
    first, second = ([f"flowmusic/{clip.uuid}.mp3" for clip in part] for part in (clips[:3], clips[1:]))
    number = (await house.ask("warm", paths=first, more=True))["id"]
    await trio.sleep(60)
    assert (await house.ask("errand", id=number))["stage"] == "running"
    await house.ask("warm", paths=second, id=number, more=False)
    told = await house.ended(number)
    assert (told["files"], told["files_done"]) == (4, 4)


@pytest.mark.expected_log("mp3: an unusable answer")
async def test_the_network_gone(house: House, service: Service, autojump_clock: MockClock) -> None:
    """With the byte server silent, what is warm is confirmed at once and the rest has its sentence."""
    service.add_job("100", "Ebb", item=ITEM, wav=wav_of_size(MIB, "ebb"))
    await house.warm(f"tempolor/{ITEM}/song.wav")
    service.fail(json_error(503), role=Role.CDN)
    service.fail(json_error(503), role=Role.API)
    told = await house.warm(f"tempolor/{ITEM}/song.*")
    assert told["files_done"] == 1
    assert [one["path"] for one in told["failures"]] == [f"tempolor/{ITEM}/song.mp3"]
