"""The verbs of the control socket: what they take, what they answer, what they forget."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from musicfs.demo import Service, wav_of_size
from musicfs.errors import MusicfsError, NoSuchEntry, Rejected, StillListed
from musicfs.store import Store
from musicfs.tending import Tending
from tests.tending.conftest import MIB, House
from tests.world import LOOSE_ENDS

pytestmark = [pytest.mark.trio, LOOSE_ENDS]

ACCOUNT = "ada@example.com"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("warm", {}),
        ("warm", {"paths": "flowmusic"}),
        ("warm", {"paths": ["flowmusic", 7]}),
        ("warm", {"paths": [], "id": 99}),
        ("warm", {"paths": [], "id": []}),
        ("errand", {}),
        ("errand", {"id": "1"}),
        ("cancel", {"id": -1}),
        ("forget", {}),
        ("forget", {"account": 100}),
        ("forget", {"path": ""}),
        ("forget", {"path": "library"}),
    ],
)
async def test_nonsense_is_refused_in_a_sentence(house: House, verb: str, args: dict[str, Any]) -> None:
    """Whatever comes over the socket: a failure of ours with words, and nothing begun."""
    with pytest.raises((Rejected, NoSuchEntry)) as failed:
        await house.ask(verb, **args)
    assert str(failed.value)


async def test_answers_are_bounded_and_plain(house: House, service: Service) -> None:
    """With hundreds of failures an answer stays small, and it is JSON."""
    told = await house.warm(*(f"flowmusic/none-{number}.mp3" for number in range(300)))
    assert told["failed"] == 300
    assert len(json.dumps(told)) < 32_768


async def test_verify_and_prune_are_errands(house: House, store: Store, service: Service) -> None:
    """They answer with a number at once and tell what they found; info answers by itself; they agree."""
    service.add_job("100", "Ebb", item="aaaabbbbcccc", wav=wav_of_size(MIB, "ebb"))
    await house.warm("tempolor/aaaabbbbcccc/song.*")
    told = await house.ended((await house.ask("cache verify"))["id"])
    assert (told["good"], told["objects"], told["stage"]) == (True, 2, "done")
    assert (await house.ask("cache info"))["pinned"] == store.pinned > MIB
    await house.warm("tempolor/aaaabbbbcccc/song.mp3", unpin=True)
    for older, gone in (({"older": 1}, 0), ({}, 1)):
        told = await house.ended((await house.ask("cache prune", **older))["id"])
        assert told["objects"] == gone
    assert [form["form"] for form in (await house.ask("cache info"))["forms"]] == ["wav"]


async def test_an_errand_of_another_kind_takes_no_paths(house: House) -> None:
    """Paths cannot be added to a check of the cache."""
    number = (await house.ask("cache verify"))["id"]
    with pytest.raises(Rejected):
        await house.ask("warm", paths=[], id=number)


@pytest.mark.expected_log("lacked over a quarter")
async def test_forgetting(house: House, service: Service, autojump_clock: MockClock) -> None:
    """What a doubted pass lacked goes by account or by path, and its pins with it; what is listed stays; no
    failure repeats the account."""
    clips = [service.add_clip(ACCOUNT, f"Song {number}", 2.0) for number in range(12)]
    told = await house.warm("flowmusic")
    assert told["files_done"] == 12
    gone = clips[:11]
    service.flow.clips[:] = clips[11:]
    house.files.catalog.standing["flowmusic"].passed = -1e12  # The hour until the next full pass is over.
    house.files.catalog.touch("flowmusic")
    await trio.sleep(1)
    assert len(list(house.files.catalog.rows("flowmusic"))) == 12
    with pytest.raises(StillListed) as listed:
        await house.ask("forget", path=f"flowmusic/{clips[11].uuid}.mp3")
    assert await house.ask("forget", path=f"flowmusic/{gone[0].uuid}.mp3") == {"songs": 1}
    assert f"flowmusic:{gone[0].uuid}:mp3" not in house.pinned()
    assert len(house.pinned()) == 11
    assert await house.ask("forget", account=ACCOUNT) == {"songs": 10}
    assert set(house.pinned()) == {f"flowmusic:{clips[11].uuid}:mp3"}
    assert await house.ask("forget", account=ACCOUNT) == {"songs": 0}
    failures: list[MusicfsError] = [listed.value]
    for args in ({"account": "eve@example.com"}, {"path": f"flowmusic/{gone[0].uuid}.mp3"}):
        with pytest.raises(NoSuchEntry) as unknown:
            await house.ask("forget", **args)
        failures.append(unknown.value)
    assert not any("@" in str(failure) for failure in failures)


async def test_a_song_that_was_only_asked_for_cannot_be_forgotten(house: House, service: Service) -> None:
    """A full clip id that no listing shows is no song of ours to let go of."""
    clip = service.add_clip(ACCOUNT, "Tide", 2.0)
    name = service.flow.handle(clip)
    service.flow.clips.clear()
    with pytest.raises(NoSuchEntry):
        await house.ask("forget", path=f"flowmusic/{name}.mp3")


async def test_every_verb_takes_what_nobody_sent(house: House) -> None:
    """A verb called with no arguments answers or refuses, and never breaks."""
    assert isinstance(house.tending, Tending)
    for verb in house.tending.verbs:
        with contextlib.suppress(MusicfsError):
            assert isinstance(await house.ask(verb), dict)
    await wait_all_tasks_blocked()
