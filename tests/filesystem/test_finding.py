"""What names stand for and what folders hold, without a kernel."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.core.inodes import ROOT
from musicfs.demo import Service, archive_of
from musicfs.demo.faults import json_error
from musicfs.errors import (
    Crowded,
    MusicfsError,
    NoSuchEntry,
    NotADirectory,
    NotFinished,
    TooSlow,
    UpstreamError,
    Withdrawn,
)
from musicfs.filesystem.sizing import GUESSED, STEADY
from tests.world import LOOSE_ENDS, Notebook, living, wall

pytestmark = LOOSE_ENDS

ADA = "ada@example.com"


def service() -> Service:
    """Make the demo's service, on the tests' clock."""
    return Service.demo(wall)


async def errno_of(mounted: object, path: str) -> int:
    """Say how a path fails."""
    with pytest.raises(MusicfsError) as caught:
        await mounted.find(path)  # type: ignore[attr-defined]
    return caught.value.errno


# The tree -----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_the_tree_is_as_drawn(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The top, both pure folders, a job's folder, and a song's in the library."""
    made = service()
    async with living(made, tmp_path) as mounted:
        assert await mounted.names() == ["flowmusic", "tempolor", "library"]
        assert set(await mounted.names("flowmusic")) == {f"{clip.uuid}.mp3" for clip in made.flow.clips}
        jobs = await mounted.names("tempolor")
        assert set(jobs) == {job.item for job in made.tempolor.jobs if job.status == 30}
        assert await mounted.names(f"tempolor/{jobs[0]}") == ["song.mp3", "song.wav", "stems"]
        assert await mounted.names("library/Harbour Lights") == [
            "Harbour Lights.mp3",
            "Harbour Lights.m4a",
            "Harbour Lights.wav",
            "cover.jpg",
            "lyrics.txt",
            "lyrics.lrc",
            "info.json",
        ]
        assert "Harbour Lights" in await mounted.names("library")
        assert made.counts["mint"] == made.counts["mp3"] == made.counts["range"] == 0


@pytest.mark.trio
async def test_flow_stems_are_folders_of_their_song(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Stem clips stand in their parent's `stems/`, and in `flowmusic/` plainly; not as songs of their own."""
    made = service()
    async with living(made, tmp_path) as mounted:
        assert await mounted.names("library/Night Drive/stems") == [
            "drums.mp3",
            "bass.mp3",
            "vocals.mp3",
            "other.mp3",
        ]
        assert not [name for name in await mounted.names("library") if "drums" in name]
        stem = next(clip for clip in made.flow.clips if clip.title == "Night Drive - drums")
        inside = await mounted.find("library/Night Drive/stems/drums.mp3")
        plain = await mounted.find(f"flowmusic/{stem.uuid}.mp3")
        assert inside.inode == plain.inode
        assert plain.links == 2


@pytest.mark.expected_log("left out")
@pytest.mark.trio
async def test_stems_of_a_job_are_the_archives_members(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The members of the ZIP, sub-folders and all, listed at the cost of one mint, once."""
    made = service()
    async with living(made, tmp_path) as mounted:
        stems = "library/Northern Choir/stems"
        assert await mounted.names(stems) == ["vocals.wav", "drums.wav", "instruments"]
        inner = await mounted.names(f"{stems}/instruments")
        assert inner == ["bass.wav", "harmony.wav", "Überblick.txt"]
        await mounted.find(f"{stems}/instruments/bass.wav")
        assert made.counts["mint"] == 1
        assert made.bytes_sent() < 400_000
        assert await errno_of(mounted, f"{stems}/evil.wav") == errno.ENOENT


@pytest.mark.trio
async def test_a_file_is_one_inode_wherever_it_is_shown(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The same bytes have one number in both trees; folders have one for each path."""
    made = service()
    job = next(job for job in made.tempolor.jobs if job.title == "Northern Choir")
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        plain = await mounted.find(f"tempolor/{job.item}/song.wav")
        song = await mounted.find("library/Northern Choir/Northern Choir.wav")
        assert plain.inode == song.inode
        assert plain.links == 2
        folder = await mounted.find(f"tempolor/{job.item}")
        assert folder.inode != (await mounted.find("library/Northern Choir")).inode


@pytest.mark.expected_log("the token was refused")
@pytest.mark.trio
async def test_the_tree_is_the_same_after_a_restart(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Names, numbers and times come back, with the network down."""
    made, memory = service(), Notebook()
    seen: list[list[tuple[str, int, int]]] = []
    for number in range(2):
        async with living(made, tmp_path / str(number), memory) as mounted:
            found = []
            for top in ("flowmusic", "tempolor", "library"):
                for name in await mounted.names(top):
                    attributes = await mounted.find(f"{top}/{name}")
                    found.append((f"{top}/{name}", attributes.inode, attributes.mtime_ns))
            seen.append(found)
            await trio.sleep(1)
        made.fail(json_error(401))
    assert seen[0] == seen[1]


# Names that are not there -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".hidden",
        ".Trash-1000",
        "Folder.jpg",
        "desktop.ini",
        "x.mp3",
        "00000000-0000-4000-8000-000000000001.mp3",
    ],
)
@pytest.mark.parametrize("top", ["", "flowmusic/", "tempolor/", "library/", "library/Night Drive/"])
@pytest.mark.trio
async def test_a_name_that_is_not_there_asks_nobody(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, top: str, name: str
) -> None:
    """What programs probe for constantly is ENOENT from what is known."""
    made = service()
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        await trio.testing.wait_all_tasks_blocked()
        asked = len(made.log)
        assert await errno_of(mounted, f"{top}{name}") == errno.ENOENT
        assert len(made.log) == asked


@pytest.mark.trio
async def test_a_file_is_no_folder(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Going on below a file is ENOTDIR."""
    made = service()
    async with living(made, tmp_path) as mounted:
        path = f"flowmusic/{made.flow.clips[0].uuid}.mp3"
        with pytest.raises(NotADirectory):
            await mounted.find(f"{path}/x")
        with pytest.raises(NotADirectory):
            await mounted.files.finding.walk(f"{path}/x".split("/"))


# Longer names -------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_longer_names_resolve_unlisted(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Full ids of clips and jobs, and a clip's other forms, resolve to the same files; nothing is asked."""
    made = service()
    clip = made.flow.clips[0]
    job = made.tempolor.jobs[0]
    async with living(made, tmp_path) as mounted:
        plain = await mounted.find(f"flowmusic/{clip.uuid}.mp3")
        assert (await mounted.find(f"flowmusic/{made.flow.handle(clip)}.mp3")).inode == plain.inode
        wav = await mounted.find(f"flowmusic/{clip.uuid}.wav")
        assert wav.inode == (await mounted.find("library/Harbour Lights/Harbour Lights.wav")).inode
        full = await mounted.find(f"tempolor/{made.tempolor.handle(job)}/song.mp3")
        assert full.inode == (await mounted.find(f"tempolor/{job.item}/song.mp3")).inode
        assert made.counts["record"] == 0


@pytest.mark.trio
async def test_a_flow_job_id_is_its_first_clip(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A full job id costs one record, once, and is the job's first clip."""
    made = service()
    job = made.flow.jobs[0]
    async with living(made, tmp_path) as mounted:
        plain = await mounted.find(f"flowmusic/{job.clips[0].uuid}.mp3")
        for _ in range(5):
            assert (await mounted.find(f"flowmusic/{made.flow.handle(job)}.mp3")).inode == plain.inode
        assert made.counts["record"] == 1


@pytest.mark.trio
@pytest.mark.expected_log("left out")
async def test_how_long_a_name_is_believed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """The kernel may keep for minutes what it will be told of: a listed song's names, its full id, its other
    forms, its stems; a name that nobody can tell of, a job's id or an unlisted clip's, only for seconds."""
    made = service()
    clip, job, flow = made.flow.clips[0], made.tempolor.jobs[0], made.flow
    stranger = f"user:{made.user}-{ADA}-clip:00000000-0000-4000-8000-000000000001"
    async with living(made, tmp_path) as mounted:
        assert await mounted.names("flowmusic")
        stems = f"tempolor/{job.item}/stems"
        told = [
            *(f"flowmusic/{name}.mp3" for name in (clip.uuid, flow.handle(clip))),
            f"flowmusic/{clip.uuid}.wav",
            "library/Harbour Lights/Harbour Lights.m4a",
            f"tempolor/{made.tempolor.handle(job)}/song.wav",
            *(f"{stems}/{name}" for name in await mounted.names(stems)),
        ]
        assert {(await mounted.find(path)).name_for for path in told} == {STEADY}
        for name in (flow.handle(flow.jobs[0]), stranger):
            assert (await mounted.find(f"flowmusic/{name}.mp3")).name_for == GUESSED


@pytest.mark.trio
async def test_a_strangers_clip_is_checked_at_open(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """No record exists to ask for a clip, so a full id is taken at its word, and ENOENT at open."""
    made = service()
    async with living(made, tmp_path) as mounted:
        name = f"user:{made.user}-{ADA}-clip:00000000-0000-4000-8000-000000000001.mp3"
        found = await mounted.find(f"flowmusic/{name}")
        assert found.links == 1
        with pytest.raises(Withdrawn):
            await mounted.files.open(found.inode)


@pytest.mark.trio
async def test_an_unfinished_job_is_busy_by_name(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Jobs that are being made are not listed; by name they are EBUSY, a failed one ENOENT, and when they are
    finished they resolve."""
    made = service()
    unfinished, failed = made.tempolor.jobs[-2:]
    pending = made.flow.jobs[-1]
    async with living(made, tmp_path) as mounted:
        assert unfinished.item not in await mounted.names("tempolor")
        assert await errno_of(mounted, f"tempolor/{unfinished.item}") == errno.EBUSY
        assert await errno_of(mounted, f"tempolor/{made.tempolor.handle(unfinished)}") == errno.EBUSY
        assert await errno_of(mounted, f"tempolor/{failed.item}") == errno.ENOENT
        assert await errno_of(mounted, f"flowmusic/{made.flow.handle(pending)}.mp3") == errno.EBUSY
        pending.status, pending.clips = "completed", [made.flow.clips[0]]
        await trio.sleep(2)
        await mounted.find(f"flowmusic/{made.flow.handle(pending)}.mp3")


@pytest.mark.parametrize(
    ("status", "number"), [(404, errno.ENOENT), (410, errno.ENOENT), (403, errno.EACCES)]
)
@pytest.mark.trio
async def test_a_job_that_cannot_be_had_by_name(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, status: int, number: int
) -> None:
    """An unknown or expired job is ENOENT, another's EACCES; the answer is remembered for a second."""
    made = service()
    async with living(made, tmp_path) as mounted:
        await mounted.names("tempolor")
        made.fail(json_error(status), kind="record")
        name = f"tempolor/user:{made.user}-tempolor:1-job:none"
        for _ in range(5):
            assert await errno_of(mounted, name) == number
        assert made.counts["record"] == 1


@pytest.mark.trio
async def test_a_slow_record_holds_a_lookup_two_seconds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A lookup waits at most 2 s for a record, at most four wait, and other names are found meanwhile."""
    made = service()
    async with living(made, tmp_path) as mounted:
        await mounted.names("tempolor")
        made.twist(kind="record", first_byte=5.0)
        made.knobs.empty_lists = True
        job = made.add_job("100200300", "Hidden")
        name = f"tempolor/{made.tempolor.handle(job)}"
        began = trio.current_time()
        ends: list[tuple[str, float]] = []

        async def look() -> None:
            try:
                await mounted.find(name)
            except (TooSlow, Crowded) as failed:
                ends.append((type(failed).__name__, trio.current_time() - began))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(look)
            await trio.testing.wait_all_tasks_blocked()
            await mounted.find(f"tempolor/{made.tempolor.jobs[0].item}")
            assert trio.current_time() == began
        assert sorted(ends) == [("Crowded", 0.0)] * 2 + [("TooSlow", 2.0)] * 4
        await trio.sleep(5)
        await mounted.find(name)
        assert made.counts["record"] == 1


# Before and behind the listing --------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_known_folder_never_waits(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """`ls` and lookups of what was listed once answer at once, however silent the service is by then."""
    made = service()
    async with living(made, tmp_path) as mounted:
        before = await mounted.names("library")
        made.twist(role=None, first_byte=9.0)
        await trio.sleep(61)
        began = trio.current_time()
        assert await mounted.names("library") == before
        await mounted.find("library/Night Drive/Night Drive.mp3")
        assert await errno_of(mounted, "library/none") == errno.ENOENT
        assert trio.current_time() == began


@pytest.mark.expected_log("listing ")
@pytest.mark.trio
async def test_a_first_listing_that_cannot_be_had_is_an_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A folder that was never listed is an error, never empty; the top is there all the same."""
    made = service()
    made.fail(json_error(500), kind="accounts")
    async with living(made, tmp_path) as mounted:
        assert await mounted.names() == ["flowmusic", "tempolor", "library"]
        for top in ("flowmusic", "tempolor", "library"):
            with pytest.raises(UpstreamError):
                await mounted.names(top)
        made.clear()
        await trio.sleep(130)
        assert len(await mounted.names("library")) > 10


@pytest.mark.trio
async def test_a_lookup_waits_little_for_the_first_listing(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A lookup in a folder never listed waits 2 s at most, a listing up to the deadline."""
    made = service()
    made.twist(kind="list", first_byte=9.0)
    async with living(made, tmp_path) as mounted:
        began = trio.current_time()
        folder = await mounted.files.lookup(ROOT, "flowmusic")
        with pytest.raises(TooSlow):
            await mounted.files.lookup(folder.inode, "anything.mp3")
        assert trio.current_time() - began == 2.0
        assert await mounted.names("flowmusic")


@pytest.mark.trio
async def test_stems_that_cannot_be_had_are_an_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A `stems/` never seen whose link is refused is an error; a settled 404 is an empty folder."""
    made = service()
    fresh = made.add_job("100200300", "Fresh", updated=wall() - 60)
    made.add_job("100200300", "Settled", updated=wall() - 90_000)
    async with living(made, tmp_path) as mounted:
        with pytest.raises(NotFinished):
            await mounted.names(f"tempolor/{fresh.item}/stems")
        assert await mounted.names("library/Settled/stems") == []
        assert made.counts["mint"] == 2


@pytest.mark.trio
async def test_a_slow_archive_holds_a_listing_five_seconds(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A `stems/` never seen holds a lookup in it 2 s, a listing 5 s, at most; the next finds it known."""
    made = service()
    job = made.add_job("100200300", "Slow", stems=archive_of({"a.wav": b"\0" * 50_000}))
    made.twist(kind="mint", first_byte=8.0)
    async with living(made, tmp_path) as mounted:
        folder = (await mounted.find(f"tempolor/{job.item}/stems")).inode
        began = trio.current_time()
        with pytest.raises(TooSlow):
            await mounted.files.lookup(folder, "a.wav")
        assert trio.current_time() - began == 2.0
        with pytest.raises(TooSlow):
            await mounted.files.entries(folder)
        assert trio.current_time() - began == 7.0
        await trio.sleep(5)
        assert await mounted.names(f"tempolor/{job.item}/stems") == ["a.wav"]
        assert made.counts["mint"] == 1


@pytest.mark.trio
async def test_a_song_that_leaves_takes_its_names(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """When a song is no longer listed the kernel is told of each of its names."""
    made = service()
    clip = next(clip for clip in made.flow.clips if clip.title == "Night Drive")
    async with living(made, tmp_path) as mounted:
        await mounted.names("library")
        told: list[tuple[int, str]] = []
        mounted.files.left = lambda parent, name: told.append((parent, name))
        flow, library = (await mounted.find("flowmusic")).inode, (await mounted.find("library")).inode
        made.flow.clips.remove(clip)
        for _ in range(3):
            await trio.sleep(3700)
            await mounted.names("library")
            await trio.testing.wait_all_tasks_blocked()
        assert (flow, f"{clip.uuid}.mp3") in told
        assert (library, "Night Drive") in told
        with pytest.raises(NoSuchEntry):
            await mounted.find("library/Night Drive")
