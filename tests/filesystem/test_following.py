"""Siblings ahead of a copying program, without a kernel: for whom, which, how much, and until when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.core.tree import Folder
from musicfs.demo import Job, Role, Service, content, mp3_of, wav_of_size, zip_of
from musicfs.demo.faults import json_error
from musicfs.errors import MusicfsError
from musicfs.filesystem.walks import Order, Walks
from tests.world import LOOSE_ENDS, Mounted, living, wall

pytestmark = LOOSE_ENDS

ADA = "ada@example.com"
MIB = 1024 * 1024
COPIER, OTHER = 700, 900  # thread ids, of processes 7 and 9


def service(clips: int = 0, jobs: int = 0, pause: float = 0.5) -> Service:
    """Make a service whose bytes come `pause` seconds after they were asked for."""
    made = Service(clock=wall)
    for number in range(clips):
        made.add_clip(ADA, f"Song {number}", 20.0, mp3=mp3_of(20.0, number))
    for number in range(jobs):
        stems = zip_of(
            {f"{name}.wav": b"RIFF" + bytes(70_000) for name in ("bass", "drums", "keys", "voice")}
        )
        made.add_job("100", f"Job {number}", 20.0, stems=stems)
    for role, kind in ((Role.API, "mp3"), (Role.CDN, None), (Role.BUCKET, None)):
        made.twist(role=role, kind=kind, first_byte=pause)
    return made


async def read(mounted: Mounted, path: str, tid: int = COPIER, most: int | None = None) -> bytes:
    """Read a file as a program does: 128 KiB at a time, to its end or to `most` bytes."""
    handle = await mounted.files.open((await mounted.find(path)).inode, tid)
    data = bytearray()
    while (most is None or len(data) < most) and (
        piece := await mounted.files.read(handle, len(data), 131_072)
    ):
        data += piece
    mounted.files.close(handle)
    await trio.testing.wait_all_tasks_blocked()
    return bytes(data)


def asked(made: Service, kind: str = "mp3") -> int:
    """Count the downloads that were begun."""
    return made.counts[kind]


async def listed(mounted: Mounted, folder: str = "flowmusic") -> list[str]:
    """List a folder's paths in the order of the listing."""
    return [f"{folder}/{name}" for name in await mounted.names(folder)]


async def by_place(mounted: Mounted, paths: list[str]) -> list[str]:
    """Sort as listed."""
    return paths


async def backward(mounted: Mounted, paths: list[str]) -> list[str]:
    """Sort as a file manager does that shows the newest first."""
    return paths[::-1]


async def by_name(mounted: Mounted, paths: list[str]) -> list[str]:
    """Sort as rsync does."""
    return sorted(paths)


async def by_number(mounted: Mounted, paths: list[str]) -> list[str]:
    """Sort as `cp -r` does."""
    numbers = {path: (await mounted.find(path)).inode for path in paths}
    return sorted(paths, key=lambda path: numbers[path])


Sort = Callable[[Mounted, list[str]], Awaitable[list[str]]]


@pytest.mark.parametrize("order", [by_place, backward, by_name, by_number])
@pytest.mark.trio
async def test_two_ahead_in_every_order(
    order: Sort, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """From the third file on two more are on their way, each is asked for once, and none is left over."""
    made = service(clips=12)
    wanted = {f"flowmusic/{clip.uuid}.mp3": content(clip.assets["mp3"]) for clip in made.flow.clips}
    async with living(made, tmp_path) as mounted:
        paths = await order(mounted, await listed(mounted))
        began = trio.current_time()
        for number, path in enumerate(paths, 1):
            assert await read(mounted, path) == wanted[path]
            ahead = 0 if number < 3 else min(2, len(paths) - number)
            assert asked(made) == number + ahead
        # Three alone, then three at a time.
        assert trio.current_time() - began < (3 + 10 / 3) * 0.5 + 0.5
        assert made.bytes_sent(Role.API) - sum(
            record.sent for record in made.log if record.kind != "mp3"
        ) == sum(map(len, wanted.values()))


@pytest.mark.trio
async def test_order_of_nobody(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A program that reads whole files in no constant order has nothing fetched ahead of it."""
    made = service(clips=12)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        for number, at in enumerate((0, 5, 3, 9, 1, 7, 4), 1):
            await read(mounted, paths[at])
            assert asked(made) == number


@pytest.mark.trio
async def test_a_folder_is_sorted_once_a_minute(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A folder's order is made once a minute, whoever begins a copy and breaks it off meanwhile."""
    async with living(service(clips=12), tmp_path) as mounted:
        await listed(mounted)
        walks, folder = Walks(mounted.files.catalog, mounted.files.finding), Folder(("flowmusic",))
        first = walks._in_order(folder, Order.NAME)
        await trio.sleep(59.0)
        assert walks._in_order(folder, Order.NAME) is first
        await trio.sleep(1.0)
        again = walks._in_order(folder, Order.NAME)
        assert again is not first
        assert again == first


@pytest.mark.trio
async def test_probers(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A program that reads the head of every file in order has nothing fetched ahead of it."""
    made = service(jobs=6)
    async with living(made, tmp_path) as mounted:
        for job in await mounted.names("tempolor"):
            await read(mounted, f"tempolor/{job}/song.wav", most=131_072)
        assert made.counts["mint"] == 6


@pytest.mark.trio
async def test_another_process_each(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Files read in order by a process each, and by no thread that is known, are nobody's copy."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        for number, path in enumerate(paths[:4]):
            await read(mounted, path, tid=1000 + 100 * number)
        for path in paths[4:]:
            await read(mounted, path, tid=0)
            assert asked(made) == paths.index(path) + 1


@pytest.mark.trio
async def test_threads_of_one_process(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Files read in turn by a process's threads are its copy."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        for number, path in enumerate((await listed(mounted))[:3]):
            await read(mounted, path, tid=COPIER + number)
        assert asked(made) == 5


@pytest.mark.trio
async def test_part_of_a_file_ends_it(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A copier that leaves a file before its end (or dies in it) has nothing more begun ahead of it."""
    made = service(clips=12)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        for path in paths[:3]:
            await read(mounted, path)
        await read(mounted, paths[3], most=1)
        assert asked(made) == 6  # the fourth was on its way with the fifth; to open it began the sixth
        await read(mounted, paths[4])
        await read(mounted, paths[5])
        assert asked(made) == 6


@pytest.mark.trio
async def test_a_pause_ends_it(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Who waits for ten seconds between two files is listening."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        for number, path in enumerate((await listed(mounted))[:5], 1):
            await read(mounted, path)
            await trio.sleep(10.0)
            assert asked(made) == number


@pytest.mark.trio
async def test_indexers_are_not_followed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """An indexer that is served what is cached, file after file, has nothing fetched ahead of it."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        for path in paths[:4]:
            await read(mounted, path, tid=0)
        mounted.programs.scanners.add(COPIER)
        for path in paths[:4]:
            await read(mounted, path)
        assert asked(made) == 4


@pytest.mark.trio
async def test_a_folder_has_an_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A program that copies the files of one song's folder is not led into the next song's."""
    made = service(clips=4, jobs=3)
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        for form in ("mp3", "m4a", "wav"):
            await read(mounted, f"library/Song 1/Song 1.{form}")
        assert made.counts["mp3"] == 1
        assert len({record.path for record in made.log if record.role is Role.BUCKET}) == 2
        for job in (await mounted.names("tempolor"))[:2]:
            await mounted.names(f"tempolor/{job}/stems")
        job = (await mounted.names("tempolor"))[0]
        made.reset_counts()
        for stem in ("bass", "drums", "keys", "voice"):
            await read(mounted, f"tempolor/{job}/stems/{stem}.wav")
        assert made.counts["mint"] == 0


@pytest.mark.parametrize("order", [by_place, by_name, by_number])
@pytest.mark.trio
async def test_through_many_folders(
    order: Sort, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A copy that goes from song to song is led on: links come with bytes, each once, and none too many."""
    made = service(jobs=8)
    async with living(made, tmp_path) as mounted:
        folders = await order(mounted, await listed(mounted, "tempolor"))
        most = 0
        for number, folder in enumerate(folders, 1):
            for path in await order(mounted, [f"{folder}/song.mp3", f"{folder}/song.wav"]):
                await read(mounted, path)
            most = max(most, made.counts["mint"] - 2 * number)
        assert made.counts["mint"] == 16
        assert most == 2
        minted = [(record.path, record.form) for record in made.log if record.kind == "mint"]
        fetched = {record.path for record in made.log if record.role is Role.CDN}
        assert len(set(minted)) == len(fetched) == 16
        assert made.bytes_sent(Role.CDN) == sum(
            asset.size for job in made.tempolor.jobs for form, asset in job.assets.items() if form != "stems"
        )


@pytest.mark.trio
async def test_one_form_of_every_song(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """`cp library/*/*.mp3` is led from mp3 to mp3."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        for number in range(3):
            await read(mounted, f"library/Song {number}/Song {number}.mp3")
        assert asked(made) == 5
        assert not made.counts["range"]


@pytest.mark.trio
async def test_ranged_siblings_are_bounded(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Of a large wav at most 8 MiB come before it is opened, and nothing more once nobody wants it."""
    made = Service(clock=wall)
    jobs = [
        made.add_job("100", f"Job {number}", 200.0, wav=wav_of_size(10 * MIB, number)) for number in range(6)
    ]
    async with living(made, tmp_path) as mounted:
        mounted.takes = 1024 * MIB
        paths = [f"tempolor/{name}/song.wav" for name in await mounted.names("tempolor")]
        for path in paths[:2]:
            await read(mounted, path)
        handle = await mounted.files.open((await mounted.find(paths[2])).inode, COPIER)
        await trio.testing.wait_all_tasks_blocked(0.5)
        assert made.counts["mint"] == 5
        sent = sorted(_sent(made, job) for job in jobs)
        assert sent[-2:] == [10 * MIB] * 2
        assert sent[0] == 0
        assert all(8 * MIB <= one <= 8 * MIB + 64 * 1024 for one in sent[2:4])
        mounted.files.close(handle)
        await trio.testing.wait_all_tasks_blocked(0.5)
        assert sorted(_sent(made, job) for job in jobs) == sent


def _sent(made: Service, job: Job) -> int:
    return sum(record.sent for record in made.log if record.role is Role.CDN and job.item in record.path)


@pytest.mark.trio
async def test_nothing_ahead_where_room_is_short(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What would fill over half of what the cache can take is not fetched ahead."""
    made = service(clips=6)
    async with living(made, tmp_path) as mounted:
        mounted.takes = 7 * made.flow.clips[0].assets["mp3"].size
        for path in (await listed(mounted))[:4]:
            await read(mounted, path)
        assert asked(made) == 5
        mounted.takes = 0
        await read(mounted, (await listed(mounted))[4])
        assert asked(made) == 5


@pytest.mark.expected_log("flowmusic")
@pytest.mark.trio
async def test_a_sibling_that_fails(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A sibling that cannot be had is told to who opens it, and to nobody else."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        bad = made.flow.clips[3].uuid
        made.fail(json_error(403, "Forbidden"), path=bad, kind="mp3")
        failed = []
        for path in paths:
            try:
                await read(mounted, path)
            except MusicfsError:
                failed.append(path)
        assert failed == [f"flowmusic/{bad}.mp3"]


@pytest.mark.trio
async def test_two_ahead_in_the_whole_house(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Two programs that copy at a time have two siblings between them: the others keep their connections."""
    made = service(clips=20, pause=5.0)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        most = 0

        async def copy(tid: int, mine: list[str]) -> None:
            nonlocal most
            for path in mine:
                await read(mounted, path, tid)
                most = max(most, len(mounted.files.ahead.coming))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(copy, COPIER, paths[:10])
            nursery.start_soon(copy, OTHER, paths[10:])
        assert most == 2
        assert asked(made) == 20


@pytest.mark.trio
async def test_nothing_is_held(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Once a copy is over, nothing is held, pinned or promised in the cache for it."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        for path in (await listed(mounted))[:4]:
            await read(mounted, path)
        await trio.sleep(30.0)
        assert mounted.files.ahead.coming == []
        assert mounted.store.gauges() == {"promised": 0, "held": 0}
        assert mounted.store.snapshot().pinned == 0


# Several hands ------------------------------------------------------------------------------------------


async def hands(mounted: Mounted, paths: list[str], count: int = 4, stride: bool = False) -> list[str]:
    """Read files with several threads of one process, from a queue or each in strides; gives what is open."""
    opened: list[str] = []
    shared = iter(paths)

    async def hand(number: int) -> None:
        for path in paths[number::count] if stride else shared:
            opened.append(path)
            await read(mounted, path, COPIER + number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(hand, number)
    return opened


@pytest.mark.parametrize("stride", [False, True], ids=["queue", "strides"])
@pytest.mark.parametrize("order", [by_place, backward, by_name, by_number])
@pytest.mark.trio
async def test_a_fifth_beside_four(
    order: Sort, stride: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Four readers of one process that copies get a fifth mp3 made, each is asked for once, and none is left
    over."""
    made = service(clips=40)
    wanted = sum(clip.assets["mp3"].size for clip in made.flow.clips)
    async with living(made, tmp_path) as mounted:
        paths = await order(mounted, await listed(mounted))
        began = trio.current_time()
        assert sorted(await hands(mounted, paths, stride=stride)) == sorted(paths)
        assert asked(made) == 40
        # Three rounds of four and then six of five, of half a second each; ten would be five seconds.
        assert trio.current_time() - began < 9 * 0.5 + 0.25
        assert sum(record.sent for record in made.log if record.kind == "mp3") == wanted


@pytest.mark.trio
async def test_one_beside_and_no_more(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Of what several readers have not opened yet one is made at most, also if they stop in the middle."""
    made = service(clips=40)
    async with living(made, tmp_path) as mounted:
        paths = sorted(await listed(mounted))
        opened: list[str] = []
        shared, most = iter(paths[:26]), 0

        async def hand(number: int) -> None:
            nonlocal most
            for path in shared:
                opened.append(path)
                await read(mounted, path, COPIER + number)
                most = max(most, asked(made) - len(opened))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hand, number)
        assert most == 1
        await trio.sleep(60.0)
        assert asked(made) == 27
        await read(mounted, paths[30])
        assert asked(made) == 28


@pytest.mark.trio
async def test_several_readers_of_what_the_kernel_has(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Files that several readers open and close, because the kernel has their bytes, are stepped over."""
    made = service(clips=40)
    async with living(made, tmp_path) as mounted:
        paths = sorted(await listed(mounted))
        for path in paths[14:28]:
            await read(mounted, path, tid=0)
        shared, begun, ahead = iter(paths), set(paths[14:28]), []

        async def hand(number: int) -> None:
            for path in shared:
                begun.add(path)
                await read(mounted, path, COPIER + number, most=0 if path in paths[14:28] else None)
                ahead.append((path, asked(made) - len(begun)))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hand, number)
        # Who began anew behind them would have to read eight more.
        assert max(more for path, more in ahead if path in paths[28:34]) == 1
        assert asked(made) == 40


@pytest.mark.trio
async def test_several_readers_of_parts(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Threads that read the heads of all songs, or now and then one in part, have nothing made ahead."""
    made = service(clips=40)
    async with living(made, tmp_path) as mounted:
        paths = sorted(await listed(mounted))
        shared, begun, most = iter(paths), 0, 0

        async def hand(number: int) -> None:
            nonlocal begun, most
            for path in shared:
                begun += 1
                part = 1 if number == 0 or begun < 8 else None
                await read(mounted, path, COPIER + number, most=part)
                most = max(most, asked(made) - begun)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hand, number)
        assert most == 0
        assert asked(made) == 40


@pytest.mark.trio
async def test_several_readers_of_links(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Beside several readers of what has parts nothing is fetched, and no link made: they fill the line."""
    made = service(jobs=24)
    async with living(made, tmp_path) as mounted:
        paths = [f"tempolor/{job}/song.wav" for job in sorted(await mounted.names("tempolor"))]
        shared, begun, most = iter(paths), 0, 0

        async def hand(number: int) -> None:
            nonlocal begun, most
            for path in shared:
                begun += 1
                await read(mounted, path, COPIER + number)
                most = max(most, made.counts["mint"] - begun)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hand, number)
        assert most == 0
        assert made.counts["mint"] == 24


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.trio
async def test_nothing_is_begun_before_its_turn(
    goes_on: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Where readers have every place, what is foretold waits for one, and is not begun at all if its copy is
    over by then."""
    made = service(clips=40, pause=5.0)
    async with living(made, tmp_path) as mounted:
        paths = sorted(await listed(mounted))
        await read(mounted, paths[2], tid=0)
        for path in paths[:2]:
            await read(mounted, path)
        async with trio.open_nursery() as nursery:
            for path in paths[20:26]:
                nursery.start_soon(read, mounted, path, 0)
            await trio.testing.wait_all_tasks_blocked()
            assert asked(made) == 3 + 4
            handle = await mounted.files.open((await mounted.find(paths[2])).inode, COPIER)
            await trio.testing.wait_all_tasks_blocked()
            assert asked(made) == 3 + 4
            assert len(mounted.files.ahead.coming) == 2
            if not goes_on:
                await mounted.files.read(handle, 0, 1)
                mounted.files.close(handle)
                await trio.testing.wait_all_tasks_blocked()
                assert mounted.files.ahead.coming == []
            await trio.sleep(5.5)
            # The readers' last two are made now, and beside them there is a place for two.
            assert asked(made) == 3 + 6 + (2 if goes_on else 0)
            await trio.sleep(10.0)
            assert asked(made) == 3 + 6 + (2 if goes_on else 0)


@pytest.mark.trio
async def test_a_song_that_left_the_cache_is_ahead_like_any(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An mp3 whose length is known from an earlier time counts as ahead until its pass has ended."""
    made = service(clips=8)
    async with living(made, tmp_path) as mounted:
        paths = await listed(mounted)
        for path in paths[3:5]:
            await read(mounted, path, tid=0)
        assert len(list(mounted.store.prune(inf))) == 2
        await read(mounted, paths[2], tid=0)
        for path in paths[:2]:
            await read(mounted, path)
        handle = await mounted.files.open((await mounted.find(paths[2])).inode, COPIER)
        await trio.testing.wait_all_tasks_blocked()
        await mounted.files.read(handle, 0, 1)
        mounted.files.close(handle)
        await trio.testing.wait_all_tasks_blocked()
        assert len(mounted.files.ahead.coming) == 2
        await trio.sleep(1.0)
        assert mounted.files.ahead.coming == []
