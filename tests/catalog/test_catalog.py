"""Every song of both services: first listings, refreshes, names, restarts; on virtual time.

What leaves a listing, and what never does, is in test_deletions.py.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from musicfs import providers
from musicfs.catalog import Catalog
from musicfs.demo import Service
from musicfs.demo.faults import black_hole, json_error
from musicfs.errors import MusicfsError, StoreFull, TooSlow, UpstreamError
from musicfs.model import SongRow, State
from tests.world import NOW, Notebook, Speaks

ADA, BEN = "ada@example.com", "ben@example.org"
BOTH = ("flowmusic", "tempolor")
TTL = 60.0


class Life:
    """A catalog between two restarts."""

    def __init__(self, nursery: trio.Nursery, service: Service, memory: Notebook, epoch: float) -> None:
        self.service, self.memory, self._epoch = service, memory, epoch - trio.current_time()
        services = providers.find("https://media.example.net")
        self.catalog = Catalog(nursery, Speaks(service), services, memory, self.wall, TTL, 600.0)

    def wall(self) -> float:
        """Give the seconds since the epoch."""
        return self._epoch + trio.current_time()

    async def ready(self) -> None:
        """Wait for the first listing, and until it is written down."""
        await self.catalog.ready(BOTH, 30.0)
        await trio.testing.wait_all_tasks_blocked()

    async def refresh(self, seconds: float = TTL) -> None:
        """Let time pass, look, and let what that started end."""
        await trio.sleep(seconds)
        for service in BOTH:
            self.catalog.touch(service)
        await self.behind()

    async def behind(self) -> None:
        """Let what goes on behind begin and end."""
        await trio.sleep(0.5)
        await trio.testing.wait_all_tasks_blocked()

    def listed(self, service: str = "flowmusic") -> list[str]:
        """Give the idents that are listed."""
        return [row.song.ident for row in self.catalog.rows(service)]

    def names(self) -> dict[str, str | None]:
        """Give every listed song's folder in `library/`, by ident."""
        return {row.song.ident: row.name for slug in BOTH for row in self.catalog.rows(slug)}


@asynccontextmanager
async def life(service: Service, memory: Notebook | None = None, epoch: float = NOW) -> AsyncIterator[Life]:
    """Start a catalog on what is remembered, at a moment in seconds since the epoch."""
    async with trio.open_nursery() as nursery:
        yield Life(nursery, service, memory or Notebook(), epoch)
        nursery.cancel_scope.cancel()


def stocked() -> Service:
    """Make a service with two accounts on each side."""
    service = Service()
    for number in range(3):
        service.add_clip(ADA, f"Song {number}")
        service.add_clip(BEN, f"Other {number}")
        service.add_job("100", f"Job {number}")
        service.add_job("200", f"Tune {number}", kind="instrumental")
    return service


# The first listing --------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_everything_of_every_account_is_listed(autojump_clock: trio.testing.MockClock) -> None:
    """Both services, all accounts, songs and instrumentals."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        assert set(one.listed()) == {clip.uuid for clip in service.flow.clips}
        assert set(one.listed("tempolor")) == {job.item for job in service.tempolor.jobs}
        assert all(standing.complete for standing in one.catalog.standing.values())


@pytest.mark.trio
async def test_nothing_is_asked_before_somebody_looks(autojump_clock: trio.testing.MockClock) -> None:
    """A catalog that nobody looks at asks nobody."""
    service = stocked()
    async with life(service):
        await trio.sleep(4000)
        assert service.log == []


@pytest.mark.trio
async def test_many_who_wait_share_one_listing(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever comes before the first listing is there waits for the same one."""
    service = stocked()
    service.twist(kind="list", first_byte=0.5)
    async with life(service) as one:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one.ready)
        assert service.counts["accounts"] == 2


@pytest.mark.trio
async def test_a_slow_first_listing_is_too_slow(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits longer than he may is told ETIMEDOUT; the listing goes on behind."""
    service = stocked()
    service.twist(kind="list", first_byte=10.0)
    async with life(service) as one:
        began = trio.current_time()
        with pytest.raises(TooSlow):
            await one.catalog.ready(BOTH, 5.0)
        assert trio.current_time() - began == 5.0
        await trio.sleep(100)
        await one.ready()
        assert len(one.listed()) == 6


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("kind", ["accounts", "list"])
@pytest.mark.trio
async def test_a_service_without_a_list_is_unwell(
    autojump_clock: trio.testing.MockClock, kind: str, status: int
) -> None:
    """Where the list itself is "not found" the folder is an input/output error: never "no such folder"."""
    service = stocked()
    service.fail(json_error(status), kind=kind, path="flowmusic")
    async with life(service) as one:
        with pytest.raises(UpstreamError) as caught:
            await one.catalog.ready(("flowmusic",), 5.0)
        assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("status", [401, 402, 403, 500])
@pytest.mark.expected_log("listing flowmusic")
@pytest.mark.trio
async def test_a_first_listing_that_fails_is_its_failure(
    autojump_clock: trio.testing.MockClock, status: int
) -> None:
    """Before the first complete pass the folder is an error, at once for the next as well, and heals."""
    service = stocked()
    fault = service.fail(json_error(status), path="flowmusic/accounts")
    async with life(service) as one:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await one.catalog.ready(("flowmusic",), 5.0)
        assert service.counts["accounts"] == 1
        await one.catalog.ready(("tempolor",), 5.0)
        service.faults.remove(fault)
        await trio.sleep(16)
        await one.ready()
        assert len(one.listed()) == 6
        assert one.catalog.standing["flowmusic"].failure is None


@pytest.mark.expected_log("one account is in an error state")
@pytest.mark.trio
async def test_a_broken_account_hides_nothing_of_the_others(autojump_clock: trio.testing.MockClock) -> None:
    """An account in an error state is noted, without its name or text; the others are listed and complete."""
    service = stocked()
    service.flow.break_account(BEN, f"{BEN}: refresh token rejected")
    async with life(service) as one:
        await one.ready()
        assert len(one.listed()) == 3
        standing = one.catalog.standing["flowmusic"]
        assert standing.complete
        assert set(standing.troubles) == {BEN}
        assert "token" not in str(standing.troubles[BEN])
        assert BEN not in str(standing.troubles[BEN])


@pytest.mark.expected_log("one account is in an error state")
@pytest.mark.trio
async def test_a_596_in_the_list_is_that_accounts(autojump_clock: trio.testing.MockClock) -> None:
    """596 for one account's list breaks that account only, and what was known of it stays."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        service.fail(json_error(596), kind="list", path=BEN)
        for _ in range(4):
            await one.refresh(3700)
        assert len(one.listed()) == 6
        assert one.catalog.standing["flowmusic"].failure is None


@pytest.mark.trio
async def test_no_accounts_are_empty_folders(autojump_clock: trio.testing.MockClock) -> None:
    """`{}` of one and 404 of the other mean that nothing is linked: complete, empty, no error."""
    async with life(Service()) as one:
        await one.ready()
        assert one.listed() == one.listed("tempolor") == []


# Refreshing ---------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_fresh_listing_is_not_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    """Within its time a listing is believed, however often somebody looks."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        asked = len(service.log)
        for _ in range(50):
            await one.refresh(0.5)
        assert len(service.log) == asked


@pytest.mark.trio
async def test_a_new_clip_appears_after_a_refresh(autojump_clock: trio.testing.MockClock) -> None:
    """Looking at a stale listing serves what is known at once and brings the new clip behind."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        clip = service.add_clip(ADA, "Brand new")
        generation = one.catalog.generation
        await trio.sleep(61)
        one.catalog.touch("flowmusic")
        assert clip.uuid not in one.listed()
        await one.behind()
        assert clip.uuid in one.listed()
        assert one.catalog.generation > generation
        assert one.names()[clip.uuid] == "Brand new"


@pytest.mark.trio
async def test_a_refresh_leaves_the_thread_to_who_looked(autojump_clock: trio.testing.MockClock) -> None:
    """A refresh of what is known asks nothing in the first half second; a first listing asks at once."""
    service = stocked()
    async with life(service) as one:
        one.catalog.touch("flowmusic")
        await trio.testing.wait_all_tasks_blocked()
        assert service.counts["list"] > 0
        await one.ready()
        await trio.sleep(61)
        asked = len(service.log)
        one.catalog.touch("flowmusic")
        await trio.sleep(0.4)
        assert len(service.log) == asked
        await trio.sleep(0.2)
        assert len(service.log) == asked + len(one.catalog.standing["flowmusic"].accounts)


@pytest.mark.trio
async def test_a_refresh_costs_one_page_an_account(autojump_clock: trio.testing.MockClock) -> None:
    """A refresh of Flow Music is the first page, where it knows that page; hourly it reads all."""
    service = Service()
    for number in range(250):
        service.add_clip(ADA, f"Song {number}", 1.0)
    async with life(service) as one:
        await one.ready()
        service.reset_counts()
        await one.refresh()
        flow = [record for record in service.log if "flowmusic" in record.path]
        assert [record.kind for record in flow] == ["list"]
        service.reset_counts()
        await one.refresh(3600)
        flow = [record for record in service.log if "flowmusic" in record.path]
        assert [record.kind for record in flow] == ["accounts", "list", "list", "list"]


@pytest.mark.trio
async def test_the_hour_of_a_pass_goes_on_over_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    """A start within the hour of a complete pass costs one page; beyond it, all of them."""
    service, memory = Service(), Notebook()
    for number in range(250):
        service.add_clip(ADA, f"Song {number}", 1.0)
    async with life(service, memory) as one:
        await one.ready()
    for later, pages in ((1800.0, 1), (3601.0, 3), (0.0, 3)):
        service.reset_counts()
        async with life(service, memory, NOW + later) as again:
            await again.refresh(0)
            flow = [record.kind for record in service.log if "flowmusic" in record.path]
            assert flow == ["accounts", *["list"] * pages], later


@pytest.mark.parametrize("word", ["", "17\0", "soon", "nan", "-inf", "1e999"])
@pytest.mark.trio
async def test_a_time_that_cannot_be_read_is_none(word: str, autojump_clock: trio.testing.MockClock) -> None:
    """A kept time with one bit flipped, which no check of the database sees, costs a whole pass, no start."""
    service, memory = stocked(), Notebook()
    async with life(service, memory) as one:
        await one.ready()
    assert {name.partition(":")[0] for name in memory.marks} == {"complete", "passed"}
    memory.marks = dict.fromkeys(memory.marks, word)
    async with life(service, memory, NOW + 60) as two:
        assert [two.catalog.dates[folder] for folder in (*BOTH, "library")] == [int((NOW + 60) * 1e9)] * 3
        assert all(two.catalog.standing[slug].complete for slug in BOTH)
        await two.refresh(0)
        assert len(two.listed()) == 6
    assert float(memory.marks["passed:flowmusic"]) >= NOW


@pytest.mark.expected_log("could not be written down")
@pytest.mark.trio
async def test_what_was_not_written_is_read_again(autojump_clock: trio.testing.MockClock) -> None:
    """Where songs could not be written down, the next start reads the list to its end, and misses none."""
    service, memory = Service(), Notebook()
    service.add_clip(ADA, "Eldest", 1.0)
    async with life(service, memory) as one:
        await one.ready()
        for number in range(150):
            service.add_clip(ADA, f"Lost {number}", 1.0)
        one.memory.save_songs = Full().save_songs  # type: ignore[method-assign]
        await one.refresh()
        del one.memory.save_songs
        for number in range(150):
            service.add_clip(ADA, f"Kept {number}", 1.0)
        await one.refresh()
    async with life(service, memory) as two:
        await two.refresh(0)
        assert len(two.listed()) == 301


@pytest.mark.expected_log("listing flowmusic")
@pytest.mark.expected_log("listing tempolor")
@pytest.mark.trio
async def test_a_failed_refresh_keeps_every_row(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever fails, for however long, what was known is listed as before."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        before = one.listed(), one.names()
        service.fail(json_error(500))
        for _ in range(10):
            await one.refresh(3700)
        assert (one.listed(), one.names()) == before
        assert one.catalog.standing["flowmusic"].failure is not None
        await one.ready()


@pytest.mark.trio
async def test_a_listing_under_way_is_not_begun_twice(autojump_clock: trio.testing.MockClock) -> None:
    """While a refresh runs, looking starts no other."""
    service = stocked()
    async with life(service) as one:
        await one.ready()
        service.reset_counts()
        service.twist(kind="list", first_byte=300.0)
        await trio.sleep(61)
        for _ in range(5):
            one.catalog.touch("flowmusic")
            await trio.sleep(61)
        assert len([record for record in service.log if "flowmusic/music" in record.path]) <= 2


@pytest.mark.expected_log("listing tempolor")
@pytest.mark.trio
async def test_services_refresh_by_themselves(autojump_clock: trio.testing.MockClock) -> None:
    """One service that is silent keeps nobody from the other."""
    service = stocked()
    service.fail(black_hole(), path="tempolor")
    async with life(service) as one:
        await one.catalog.ready(("flowmusic",), 5.0)
        assert len(one.listed()) == 6
        with pytest.raises(MusicfsError):
            await one.catalog.ready(BOTH, 5.0)


@pytest.mark.trio
async def test_an_unfinished_job_is_followed(autojump_clock: trio.testing.MockClock) -> None:
    """A job that is being made is known and not listed; once finished it is, with its date and a name."""
    service = stocked()
    job = service.add_job("100", "In the making", None, status=0, without=("mp3", "wav"))
    async with life(service) as one:
        await one.ready()
        assert job.item not in one.listed("tempolor")
        row = one.catalog.row("tempolor", job.item)
        assert row is not None
        assert row.song.state is State.UNFINISHED
        assert row.name is None
        job.status = 30
        await one.refresh()
        assert job.item in one.listed("tempolor")
        assert one.names()[job.item] == "In the making"


@pytest.mark.trio
async def test_a_failed_job_is_not_listed(autojump_clock: trio.testing.MockClock) -> None:
    """A job that failed is no song."""
    service = stocked()
    job = service.add_job("100", "Never", None, status=10)
    async with life(service) as one:
        await one.ready()
        assert job.item not in one.listed("tempolor")


# Names, births, restarts --------------------------------------------------------------------------------


@pytest.mark.trio
async def test_names_are_given_once_all_are_listed(autojump_clock: trio.testing.MockClock) -> None:
    """Whichever service answers first, the eldest song gets the plain name, so names wait for both."""
    service = Service()
    clip = service.add_clip(ADA, "Twin")
    old = service.add_job("100", "Twin", created=1_600_000_000.0)
    service.twist(kind="list", path="tempolor", first_byte=20.0)
    async with life(service) as one:
        await one.catalog.ready(("flowmusic",), 30.0)
        assert one.names() == {clip.uuid: None}
        await one.catalog.ready(BOTH, 100.0)
        assert one.names() == {old.item: "Twin", clip.uuid: f"Twin [{clip.uuid[:6]}]"}


@pytest.mark.expected_log("no data came in time")
@pytest.mark.trio
async def test_a_restart_remembers_everything(autojump_clock: trio.testing.MockClock) -> None:
    """Names, births and mtimes are the same after a restart, with the network down, at once."""
    service = stocked()
    memory = Notebook()

    def told(one: Life) -> list[tuple[str, int, int, str | None, str | None]]:
        rows = [row for slug in BOTH for row in one.catalog.rows(slug)]
        return sorted((row.song.ident, row.birth, row.mtime_ns, row.name, row.parent) for row in rows)

    async with life(service, memory) as one:
        await one.ready()
        before = told(one)
    service.fail(black_hole())
    async with life(service, memory) as two:
        began = trio.current_time()
        await two.ready()
        assert trio.current_time() == began
        assert told(two) == before
        await two.behind()
        assert told(two) == before


@pytest.mark.trio
async def test_births_rise_and_are_never_reused(autojump_clock: trio.testing.MockClock) -> None:
    """Each new song's birth is above all that ever were, also after a restart and for songs that left."""
    service = stocked()
    memory = Notebook()
    births: list[int] = []
    for number in range(4):
        async with life(service, memory) as one:
            await one.ready()
            await one.refresh(3700)
            births += [row.birth for row in memory.rows.values() if row.birth not in births]
            service.flow.clips.pop(0)
            service.add_clip(ADA, f"Later {number}")
            await one.refresh(3700)
            await one.refresh(3700)
    kept = [row.birth for row in memory.rows.values()]
    assert len(set(kept)) == len(kept) == 16
    assert births == sorted(births)


@pytest.mark.trio
async def test_a_name_is_a_songs_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """A song that left keeps its name from others, and has it again when it is back."""
    service = Service()
    first = service.add_clip(ADA, "Song")
    other = service.add_clip(ADA, "Other")
    memory = Notebook()
    async with life(service, memory) as one:
        await one.ready()
        service.flow.clips.remove(first)
        await one.refresh(3700)
        await one.refresh(3700)
        assert one.listed() == [other.uuid]
    async with life(service, memory) as two:
        second = service.add_clip(ADA, "Song")
        await two.refresh()
        assert two.names() == {other.uuid: "Other", second.uuid: f"Song [{second.uuid[:6]}]"}
        service.flow.clips.insert(0, first)
        await two.refresh(3700)
        assert two.names()[first.uuid] == "Song"


@pytest.mark.trio
async def test_stems_find_their_song_and_keep_it(autojump_clock: trio.testing.MockClock) -> None:
    """Stem clips are their song's, eldest first, for ever; a twin that appears later changes nothing."""
    service = Service()
    parent = service.add_clip(ADA, "Night")
    stems = service.flow.add_stems(parent)
    memory = Notebook()
    async with life(service, memory) as one:
        await one.ready()
        row = one.catalog.row("flowmusic", parent.uuid)
        assert row is not None
        assert [stem.song.ident for stem in one.catalog.stems(row)] == [stem.uuid for stem in stems]
    service.add_clip(ADA, "Night")
    async with life(service, memory) as two:
        await two.refresh()
        row = two.catalog.row("flowmusic", parent.uuid)
        assert row is not None
        assert len(two.catalog.stems(row)) == 4
        assert all(two.names()[stem.uuid] is None for stem in stems)


@pytest.mark.trio
async def test_rows_are_found_by_every_name(autojump_clock: trio.testing.MockClock) -> None:
    """A song is found by its ident, its full id and its folder in `library/`."""
    service = stocked()
    clip = service.flow.clips[0]
    async with life(service) as one:
        await one.ready()
        row = one.catalog.row("flowmusic", clip.uuid)
        assert row is not None
        assert row is one.catalog.by_handle(service.flow.handle(clip))
        assert row is one.catalog.named("Song 0")
        assert one.catalog.named("song 0") is None
        assert one.catalog.row("tempolor", clip.uuid) is None


@pytest.mark.trio
async def test_a_record_asked_for_again_is_as_it_is_now(autojump_clock: trio.testing.MockClock) -> None:
    """A job that no list shows and that was unfinished when it was first asked for is seen finished later."""
    service = stocked()
    job = service.add_job("100", "Hidden", 5.0, status=0)
    service.knobs.empty_lists = True
    handle = service.tempolor.handle(job)
    async with life(service) as one:
        assert (await one.catalog.record("tempolor", handle)).song.state is State.UNFINISHED
        assert one.catalog.asked(handle) is None
        job.status = 30
        assert (await one.catalog.record("tempolor", handle)).song.state is State.READY
        row = one.catalog.asked(handle)
        assert row is not None
        assert not row.listed


class Full(Notebook):
    """A memory whose disk is full."""

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Refuse."""
        raise StoreFull("no room")


@pytest.mark.expected_log("names and dates could not be written down")
@pytest.mark.trio
async def test_a_full_disk_hides_no_song(autojump_clock: trio.testing.MockClock) -> None:
    """What cannot be written down is shown all the same, and said."""
    async with life(stocked(), Full()) as one:
        await one.ready()
        assert len(one.listed()) == 6
        assert len(set(one.names().values())) == 12
