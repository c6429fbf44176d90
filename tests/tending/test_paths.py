"""What a person types, and the files it means, in the tree of a real house."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from musicfs.core.tree import File
from musicfs.demo import Member, Role, Service, archive_of, wav_of
from musicfs.errors import MusicfsError, NoSuchEntry, NotADirectory
from musicfs.tending.paths import Found, walk
from tests.tending.conftest import House
from tests.world import LOOSE_ENDS

pytestmark = [pytest.mark.trio, LOOSE_ENDS]


async def found(house: House, path: str) -> dict[str, File | MusicfsError]:
    """Walk a path."""
    row: list[Found] = []
    await walk(house.files.finding, path, row.append)
    assert len(dict(row)) == len(row)
    return dict(row)


@pytest.fixture
async def stocked(house: House, service: Service) -> House:
    """Fill the service: three clips of one title, a job with stems in folders."""
    for _ in range(3):
        service.add_clip("ada@example.com", "Tide", 5.0)
    stems = archive_of(
        [
            Member("wet/drums.wav", wav_of(1, "d")),
            Member("wet/bass.wav", wav_of(1, "b")),
            Member("key.txt", b"F"),
        ]
    )
    service.add_job("100", "Ebb", item="aaaabbbbcccc", stems=stems)
    return house


async def test_a_folder_means_all_that_is_in_it(stocked: House) -> None:
    """Down to the folders inside a stems archive; the top means everything."""
    job = await found(stocked, "tempolor/aaaabbbbcccc")
    names = {"song.mp3", "song.wav", "stems/key.txt", "stems/wet/bass.wav", "stems/wet/drums.wav"}
    assert set(job) == {f"tempolor/aaaabbbbcccc/{name}" for name in names}
    every = await found(stocked, "")
    assert set(job) < set(every)
    assert len(every) == 3 + 5 + 3 * 3 + 5


async def test_a_name_is_a_name_before_it_is_a_pattern(stocked: House) -> None:
    """`Tide [4f1c9a]` is the folder of that name, though its brackets could be a pattern."""
    await found(stocked, "library")
    titles = [row.name or "" for row in stocked.files.catalog.rows("flowmusic")]
    for title in titles:
        assert set(await found(stocked, f"library/{title}")) == {
            f"library/{title}/{title}.{form}" for form in ("mp3", "m4a", "wav")
        }


async def test_patterns_branch(stocked: House) -> None:
    """`*`, `?` and `[…]` are matched name by name and never across a slash."""
    assert len(await found(stocked, "library/T*/*.mp3")) == 3
    assert len(await found(stocked, "library/*/*.wav")) == 3 + 1
    assert set(await found(stocked, "tempolor/*/stems/w[a-f]t/b???.wav")) == {
        "tempolor/aaaabbbbcccc/stems/wet/bass.wav"
    }
    assert len(await found(stocked, "[!lt]*/*.mp3")) == 3


@pytest.mark.parametrize("path", ["tempolor/aaaabbbbcccc/song.wav", "tempolor/aaaabbbbcccc/stems/key.txt"])
async def test_a_slow_service_is_waited_for(
    path: str, stocked: House, service: Service, autojump_clock: MockClock
) -> None:
    """A name below what was never listed is looked for with the patience of a listing, and not of a lookup,
    which holds up a whole folder."""
    service.twist(role=Role.API, first_byte=3.0)
    told = await found(stocked, path)
    assert [(name, type(node)) for name, node in told.items()] == [(path, File)]


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("nothing", NoSuchEntry),
        ("library/Q*", NoSuchEntry),
        ("library/Tide/none/deeper", NoSuchEntry),
        ("tempolor/aaaabbbbcccc/song.mp3/deeper", NotADirectory),
        ("../etc/passwd", NoSuchEntry),
    ],
)
async def test_what_is_not_there_is_told(stocked: House, path: str, failure: type[MusicfsError]) -> None:
    """By the path as it was asked for, and nothing leads out of the tree."""
    await found(stocked, "library")
    told = await found(stocked, path)
    assert [(name, type(why)) for name, why in told.items()] == [(path, failure)]


@pytest.mark.expected_log("ddddeeeeffff:stems: the service says this is not ours")
async def test_what_cannot_be_listed_is_told_and_the_rest_goes_on(
    stocked: House, service: Service, autojump_clock: MockClock
) -> None:
    """One job's archive is refused: its stems/ has a failure, every other file is there."""
    await found(stocked, "tempolor")
    service.knobs.stems_refusal = 403
    service.add_job("100", "Neap", item="ddddeeeeffff")
    await found(stocked, "tempolor")
    await trio.sleep(1)  # The refresh behind that look.
    told = await found(stocked, "tempolor")
    failed = {name for name, one in told.items() if isinstance(one, MusicfsError)}
    assert failed == {"tempolor/ddddeeeeffff/stems"}
    assert len(told) == 5 + 2 + 1
