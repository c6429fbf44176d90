"""What media servers may have: the ends of files, within a day's bytes, and all that is cached."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing

from musicfs.core.spans import BLOCK
from musicfs.demo import Service
from musicfs.demo.assets import content, wav_of_size
from musicfs.errors import ScannerRefused, ScanRefused
from musicfs.filesystem.scanning import HEAD, SCANNED, TAIL, Budget
from tests.world import LOOSE_ENDS, Mounted, living, wall

pytestmark = LOOSE_ENDS

ADA, NAVIDROME, PLAYER = "ada@example.com", 700, 900
SIZE = 60 * BLOCK
SOUND = content(wav_of_size(SIZE))
WAV = "library/Tide/Tide.wav"


def service() -> Service:
    """Make a service with one big wav."""
    made = Service(clock=wall)
    made.add_clip(ADA, "Tide", 20.0, wav=SOUND, cover=b"\xff\xd8\xff" + bytes(1000))
    return made


def budgeted(mounted: Mounted, limit: int) -> Counter[str]:
    """Give media servers a day's bytes; gives the counts."""
    counts: Counter[str] = Counter()
    mounted.programs.media_servers.add(NAVIDROME)
    mounted.files._budget = Budget(limit, lambda kind, amount: counts.update({kind: amount}), lambda: counts)
    return counts


async def opened(mounted: Mounted, path: str, tid: int = NAVIDROME) -> int:
    """Open a file as a thread."""
    return await mounted.files.open((await mounted.find(path)).inode, tid)


@pytest.mark.trio
async def test_a_scan_gets_both_ends_and_no_more(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Head and tail come exactly, the middle is refused, and nothing is fetched that was not read."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 10**9)
        handle = await opened(mounted, WAV)
        read = mounted.files.read
        assert await read(handle, 0, 2 * BLOCK) == SOUND[: 2 * BLOCK]
        assert await read(handle, SIZE - TAIL, TAIL) == SOUND[-TAIL:]
        with pytest.raises(ScanRefused):
            await read(handle, HEAD, BLOCK)
        with pytest.raises(ScanRefused):
            await read(handle, SIZE - TAIL - BLOCK, BLOCK)
        mounted.files.close(handle)
        await trio.sleep(10)
        assert made.bytes_sent() - sum(r.sent for r in made.log if r.form != "wav") == counts[SCANNED]
        assert counts[SCANNED] == 2 * BLOCK + TAIL


@pytest.mark.trio
async def test_a_second_scan_is_free(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """What was fetched for a scan is kept: the next one asks for nothing and costs no budget."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 2 * BLOCK)
        for _ in range(2):
            handle = await opened(mounted, WAV)
            assert len(await mounted.files.read(handle, 0, BLOCK)) == BLOCK
            mounted.files.close(handle)
        assert counts[SCANNED] == BLOCK


@pytest.mark.trio
async def test_a_days_bytes_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """Where the day's bytes are spent a read that needs more is refused, and so is the next `open`."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 3 * BLOCK)
        handle = await opened(mounted, WAV)
        await mounted.files.read(handle, 0, 2 * BLOCK)
        with pytest.raises(ScanRefused):
            await mounted.files.read(handle, 2 * BLOCK, 2 * BLOCK)
        await mounted.files.read(handle, 2 * BLOCK, BLOCK)
        mounted.files.close(handle)
        assert counts[SCANNED] == 3 * BLOCK
        with pytest.raises(ScanRefused):
            await opened(mounted, WAV)
        assert mounted.files.usage.refused.total() == 2


@pytest.mark.trio
async def test_what_is_cached_is_played(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A song that somebody has played, or warmed, is served to a media server whole and for nothing."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 0)
        assert await mounted.read(WAV) == SOUND
        handle = await opened(mounted, WAV)
        assert await mounted.files.read(handle, HEAD + BLOCK, BLOCK) == SOUND[HEAD + BLOCK : HEAD + 2 * BLOCK]
        mounted.files.close(handle)
        assert not counts


@pytest.mark.trio
async def test_what_comes_in_one_pass_is_not_scanned(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A Flow Music mp3 has no ends to ask for: it is refused without a request; texts and covers are not."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 10**9)
        with pytest.raises(ScanRefused):
            await opened(mounted, "library/Tide/Tide.mp3")
        assert not made.counts["mp3"]
        mounted.files.close(await opened(mounted, "library/Tide/info.json"))
        assert not counts
        mounted.files.close(await opened(mounted, "library/Tide/cover.jpg"))
        assert counts[SCANNED] == made.flow.clips[0].assets["cover"].size


@pytest.mark.trio
async def test_others_are_not_bounded(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    """A program that is not named reads whatever it likes, and costs the media servers nothing."""
    made = service()
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, 0)
        handle = await opened(mounted, WAV, PLAYER)
        assert await mounted.files.read(handle, HEAD, BLOCK) == SOUND[HEAD : HEAD + BLOCK]
        mounted.files.close(handle)
        assert not counts


@pytest.mark.trio
async def test_a_media_server_is_told_exact_sizes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A size that a media server writes down is the file's own, at one link a file; others are told an
    estimate for nothing, which the kernel may keep no longer once a media server has looked."""
    made = service()
    job = made.add_job("100", "Ebb", 12.0)
    async with living(made, tmp_path) as mounted:
        counts = budgeted(mounted, BLOCK)
        path = f"tempolor/{job.item}/song.wav"
        found = await mounted.find(path)
        assert found.valid_for > 0
        assert (await mounted.files.getattr(found.inode, PLAYER)).size == found.size
        assert made.counts["mint"] < 1
        folder = await mounted.find(f"tempolor/{job.item}")
        await mounted.files.entries(folder.inode, NAVIDROME)
        assert (await mounted.find(path)).valid_for == 0.0
        assert (await mounted.files.getattr(found.inode, NAVIDROME)).size == job.assets["wav"].size
        assert (await mounted.files.getattr(found.inode, PLAYER)).size == job.assets["wav"].size
        assert made.counts["mint"] == 1
        counts[SCANNED] = BLOCK
        other = await mounted.find(f"tempolor/{job.item}/song.mp3")
        await mounted.files.getattr(other.inode, NAVIDROME)
        assert made.counts["mint"] == 1  # no more of them on a day whose bytes are spent


@pytest.mark.trio
async def test_stems_that_nobody_listed_are_not_walked(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A media server that walks the library has no link made for a `stems/` that nobody has listed."""
    made = service()
    made.add_job("100", "Ebb", 1.0)
    async with living(made, tmp_path) as mounted:
        budgeted(mounted, 10**9)
        stems = await mounted.find("library/Ebb/stems")
        with pytest.raises(ScannerRefused):
            await mounted.files.entries(stems.inode, NAVIDROME)
        assert not made.counts["mint"]
