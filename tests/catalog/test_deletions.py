"""What leaves a listing, and what never does: illnesses of a service against real deletions.

How it thinks: the real wire and the embedded service, in this process and on virtual time, so that hours
of a service's bad days pass in a moment. `Memory` is what a restart finds. Where the kernel or rsync matter,
see tests/mounted/test_deletions.py."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from musicfs import providers
from musicfs.catalog import Catalog
from musicfs.demo import DEMO_TOKEN, Request, Response, Service
from musicfs.demo.faults import Answer, black_hole, body, dropped, garbage, html, json_error
from musicfs.errors import AccountBroken, Misbehaved, MusicfsError
from musicfs.model import SongRow
from musicfs.wire import Wire
from musicfs.wire.embedded import doors_to

ADA, BEN = "ada@example.com", "ben@example.org"
START = 1_795_000_000.0  # seconds since the epoch: the embedded service's present
TTL, FORGET = 60.0, 600.0  # seconds; the product's own


class Memory:
    """What outlives a restart, as copies."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.marks: dict[str, str] = {}

    def songs(self) -> list[SongRow]:
        """Give copies of every row."""
        rows = [msgspec.json.decode(row, type=SongRow) for row in self.rows.values()]
        return sorted(rows, key=lambda row: row.birth)

    async def save_songs(self, rows: list[SongRow]) -> None:
        """Keep copies."""
        for row in rows:
            self.rows[row.song.service, row.song.ident] = msgspec.json.encode(row)

    def mark(self, name: str) -> str | None:
        """Read a word."""
        return self.marks.get(name)

    async def save_mark(self, name: str, value: str) -> None:
        """Keep a word."""
        self.marks[name] = value


class Life:
    """A catalog between two restarts."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    async def refresh(self, seconds: float = TTL) -> None:
        """Let time pass, look, and wait until whatever that started has ended."""
        await trio.sleep(seconds)
        for service in self.catalog.standing:
            self.catalog.touch(service)
        for _ in range(10_000):
            if not any(standing.refreshing for standing in self.catalog.standing.values()):
                return
            await trio.sleep(0.1)
        raise AssertionError("a refresh does not end")

    async def days(self, minutes: float) -> None:
        """Let somebody look every minute."""
        for _ in range(int(minutes)):
            await self.refresh()

    async def known(self) -> None:
        """Wait for the first listing."""
        await self.catalog.ready(("flowmusic", "tempolor"), 300)

    def listed(self, service: str = "flowmusic") -> set[str]:
        """Give the idents that are listed."""
        found = [row.song.ident for row in self.catalog.rows(service)]
        assert len(found) == len(set(found))
        return set(found)

    def row(self, ident: str, service: str = "flowmusic") -> SongRow:
        """Give a song's row."""
        row = self.catalog.row(service, ident)
        assert row is not None
        return row


@asynccontextmanager
async def life(service: Service, memory: Memory) -> AsyncIterator[Life]:
    """Start a catalog on what is remembered; at the end it is gone, as after a restart."""

    def wall() -> float:
        return service.clock()

    doors = doors_to(service, DEMO_TOKEN)
    async with trio.open_nursery() as nursery:
        wire = Wire(doors, 30.0, wall)
        known = providers.find(service.origins.bucket)
        yield Life(Catalog(nursery, wire, known, memory, wall, TTL, FORGET))
        nursery.cancel_scope.cancel()
    await doors.aclose()


@pytest.fixture
def service() -> Service:
    """Give a service whose clock is the test's own."""
    return new_service()


def new_service() -> Service:
    """Make an empty service on trio's clock."""
    began: list[float] = []

    def clock() -> float:
        began[:] = began or [trio.current_time()]
        return START + trio.current_time() - began[0]

    return Service(clock=clock)


@pytest.fixture
def memory() -> Memory:
    """Give an empty memory."""
    return Memory()


def stock(service: Service, count: int) -> None:
    """Give each of two accounts on each service some songs; every list fits on one page of Flow Music's."""
    for number in range(count):
        service.add_clip(ADA, f"Clip {number}")
        service.add_clip(BEN, f"Other clip {number}")
        service.add_job("100", f"Job {number}")
        service.add_job("200", f"Other job {number}", kind="instrumental")


def idents(service: Service) -> dict[str, set[str]]:
    """Give what the services have."""
    return {
        "flowmusic": {clip.uuid for clip in service.flow.clips},
        "tempolor": {job.item for job in service.tempolor.jobs},
    }


# Illnesses: nothing leaves --------------------------------------------------------------------------------


def empty(service: Service) -> None:
    """Every list is empty."""
    service.knobs.empty_lists = True


def answers(answer: Answer, kind: str = "list") -> Callable[[Service], None]:
    """Every list is answered so."""

    def ill(service: Service) -> None:
        service.fail(answer, kind=kind)

    return ill


def lost(service: Service) -> None:
    """An account of each is gone: from the list of accounts, and for whoever asks for its songs."""
    del service.flow.accounts[ADA], service.tempolor.accounts["100"]
    service.fail(json_error(404), kind="list", path="100")
    service.fail(json_error(404), kind="record", path="tempolor:100")


def all_lost(service: Service) -> None:
    """No account is linked any more."""
    service.flow.accounts.clear()
    service.tempolor.accounts.clear()
    service.fail(json_error(404), kind="record")


def broken(service: Service) -> None:
    """An account of each answers 596."""
    service.flow.break_account(ADA)
    service.tempolor.break_account("100")


def quarter(service: Service) -> None:
    """The lists forget half of their songs, the records answer."""
    service.fail(partial(_thinned, service), kind="list")


def _thinned(service: Service, request: Request) -> Response:
    whole = service.flow.clips, service.tempolor.jobs
    service.flow.clips, service.tempolor.jobs = whole[0][::2], whole[1][::2]
    fault = service.faults.pop(0)
    try:
        return service.answer(request)
    finally:
        service.faults.insert(0, fault)
        service.flow.clips, service.tempolor.jobs = whole


ILL: dict[str, Callable[[Service], None]] = {
    "empty": empty,
    "empty object": answers(body(b"{}")),
    "error with 200": answers(body(b'{"error": "session refused", "code": 596}')),
    "nothing": answers(body(b"")),
    "html": answers(html(200)),
    "garbage": answers(garbage()),
    "500": answers(json_error(500)),
    "522": answers(html(522)),
    "404": answers(json_error(404)),
    "401": answers(json_error(401)),
    "timeouts": answers(black_hole()),
    "dropped": answers(dropped()),
    "accounts empty": answers(body(b"{}"), "accounts"),
    "accounts 500": answers(json_error(500), "accounts"),
    "account lost": lost,
    "all accounts lost": all_lost,
    "account broken": broken,
}


@pytest.mark.trio
@pytest.mark.parametrize("count", [6, 30])
@pytest.mark.parametrize("ill", ILL)
async def test_illness(
    ill: str,
    count: int,
    autojump_clock: MockClock,
    service: Service,
    memory: Memory,
    expected_log: Callable[[str], None],
) -> None:
    """A service that is ill for twice ten minutes, seen every minute and over a restart, loses no song; when
    it is well again all is as it was."""
    stock(service, count)
    _provoked(expected_log)
    async with life(service, memory) as before:
        await before.known()
        names = {ident: before.row(ident).name for ident in before.listed()}
        ILL[ill](service)
        await before.days(12)
        assert {slug: before.listed(slug) for slug in idents(service)} == idents(service)
    async with life(service, memory) as after:
        await after.days(12)
        assert {slug: after.listed(slug) for slug in idents(service)} == idents(service)
        service.clear()
        for email in (ADA, BEN):
            service.flow.add_account(email)
        for user_id in ("100", "200"):
            service.tempolor.add_account(user_id)
        await after.days(3)
        assert {slug: after.listed(slug) for slug in idents(service)} == idents(service)
        assert {ident: after.row(ident).name for ident in after.listed()} == names
        assert all(row.lacks is None for slug in idents(service) for row in after.catalog.rows(slug))


def _provoked(expected_log: Callable[[str], None]) -> None:
    """Declare what an illness may say, and say one such line: not every illness has any."""
    expected_log("listing")
    logging.getLogger("musicfs.catalog").warning("listing: the test begins")


@pytest.mark.trio
async def test_half_a_listing(
    autojump_clock: MockClock, service: Service, memory: Memory, expected_log: Callable[[str], None]
) -> None:
    """Lists that forget half of a large account are not believed, however long they say so."""
    expected_log("not believed")
    stock(service, 30)
    async with life(service, memory) as one:
        await one.known()
        quarter(service)
        await one.days(30)
        assert one.listed() == idents(service)["flowmusic"]
        assert one.listed("tempolor") == idents(service)["tempolor"]


@pytest.mark.trio
async def test_records_outweigh_lists(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """TemPolor songs that lists omit stay as long as their records answer, though they are more than can be
    asked for in ten minutes."""
    jobs = [service.add_job("100", f"Job {number}") for number in range(1000)]
    omitted = {job.item for job in jobs[:240]}
    service.knobs.tempolor_page = 2000
    async with life(service, memory) as one:
        await one.known()
        service.fail(partial(_omitting, service, omitted), kind="list", path="tempolor")
        await one.days(25)
        assert one.listed("tempolor") == {job.item for job in jobs}


def _omitting(service: Service, omitted: set[str], request: Request) -> Response:
    whole = service.tempolor.jobs
    service.tempolor.jobs = [job for job in whole if job.item not in omitted]
    fault = service.faults.pop(0)
    try:
        return service.answer(request)
    finally:
        service.faults.insert(0, fault)
        service.tempolor.jobs = whole


@pytest.mark.trio
@pytest.mark.parametrize("then", ["unlinked", "unreadable"])
async def test_records_of_a_lost_account(
    then: str,
    autojump_clock: MockClock,
    service: Service,
    memory: Memory,
    expected_log: Callable[[str], None],
) -> None:
    """A song that was missing when its account was lost, or could not be listed any more, stays: the 404 of
    such an account's record says nothing."""
    jobs = [service.add_job(account, "Job") for account in ("100", "100", "200")]
    _provoked(expected_log)
    async with life(service, memory) as one:
        await one.known()
        service.fail(json_error(500), kind="record")
        service.tempolor.jobs.pop(0)
        await one.refresh()
        assert one.row(jobs[0].item, "tempolor").lacks is not None
        service.clear()
        service.fail(json_error(404), kind="record")
        if then == "unlinked":
            del service.tempolor.accounts["100"]
        else:
            service.fail(json_error(500), kind="list", path="user_id=100")
        await one.days(30)
        assert one.listed("tempolor") == {job.item for job in jobs}


@pytest.mark.trio
@pytest.mark.expected_log("could not be read")
async def test_unreadable_record(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A song whose record is there but cannot be read is not a song that is gone."""
    clips = [service.add_clip(ADA, f"Clip {number}") for number in range(12)]
    jobs = [service.add_job("100", f"Job {number}") for number in range(12)]
    async with life(service, memory) as one:
        await one.known()
        service.fail(partial(_garbled, service, service.flow.handle(clips[3])), kind="list")
        service.fail(partial(_garbled, service, service.tempolor.handle(jobs[3])), kind="record")
        await one.days(40)
        assert one.listed() == {clip.uuid for clip in clips}
        assert one.listed("tempolor") == {job.item for job in jobs}


def _garbled(service: Service, handle: str, request: Request) -> Response:
    """Answer as the service would, but with one record that has become a number."""
    faults, service.faults = service.faults, []
    try:
        response = service.answer(request)
    finally:
        service.faults = faults
    told = json.loads(b"".join(step for step in response.steps if isinstance(step, bytes)))
    for field in ("clips", "records"):
        told[field] = [7 if handle in one.values() else one for one in told.get(field) or []]
    return Response.of(200, json.dumps(told).encode(), "application/json")


# Deletions ------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_deleted_clip(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A clip that was deleted stays for ten minutes of passes that lack it, and then leaves."""
    stock(service, 5)
    async with life(service, memory) as one:
        await one.known()
        gone = service.flow.clips.pop(0)
        await one.days(9)
        assert gone.uuid in one.listed()
        await one.days(4)
        assert one.listed() == idents(service)["flowmusic"]
        assert one.catalog.row("flowmusic", gone.uuid) is None


@pytest.mark.trio
async def test_deleted_clip_needs_two_passes(
    autojump_clock: MockClock, service: Service, memory: Memory
) -> None:
    """One pass that lacks a clip is not enough, however long ago the last one was."""
    stock(service, 5)
    async with life(service, memory) as one:
        await one.known()
        gone = service.flow.clips.pop(0)
        await one.refresh(10 * FORGET)
        assert gone.uuid in one.listed()
        await one.refresh(FORGET + 1)
        assert gone.uuid not in one.listed()


@pytest.mark.trio
async def test_deletion_over_a_restart(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """The first pass that lacks a clip counts over a restart."""
    stock(service, 5)
    async with life(service, memory) as one:
        await one.known()
        gone = service.flow.clips.pop(0)
        await one.refresh()
    async with life(service, memory) as other:
        assert gone.uuid in other.listed()
        await other.refresh(FORGET)
        assert gone.uuid not in other.listed()


@pytest.mark.trio
async def test_deleted_job(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A TemPolor song leaves when its record has answered 404 twice, not once; the last one of an account
    too."""
    jobs = [service.add_job("100", "One"), service.add_job("200", "Two", kind="instrumental")]
    async with life(service, memory) as one:
        await one.known()
        service.tempolor.jobs.remove(jobs[0])
        await one.refresh()
        assert one.listed("tempolor") == {jobs[0].item, jobs[1].item}
        await one.days(2)
        assert one.listed("tempolor") == {jobs[1].item}


@pytest.mark.trio
async def test_two_refusals_not_in_a_row(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A record that answers 404, then answers, then 404 again has not answered 404 twice."""
    job, _ = service.add_job("100", "One"), service.add_job("100", "Two")
    async with life(service, memory) as one:
        await one.known()
        service.fail(partial(_omitting, service, {job.item}), kind="list", path="tempolor")
        for _ in range(4):
            service.fail(json_error(404), kind="record", times=1)
            await one.days(2)
        assert job.item in one.listed("tempolor")


@pytest.mark.trio
async def test_a_song_comes_back(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A song that left and comes back, after a restart too, has its name, its birth and its date again."""
    stock(service, 5)
    clip, job = service.flow.clips[0], service.tempolor.jobs[0]
    async with life(service, memory) as one:
        await one.known()
        before = one.row(clip.uuid), one.row(job.item, "tempolor")
        kept = [(row.name, row.birth, row.mtime_ns) for row in before]
        service.flow.clips.remove(clip)
        service.tempolor.jobs.remove(job)
        service.flow.clips.append(other := service.add_clip(ADA, clip.title))
        service.flow.clips.pop()
        await one.days(15)
        assert clip.uuid not in one.listed()
        assert one.row(other.uuid).name != kept[0][0]
    service.flow.clips.append(clip)
    service.tempolor.jobs.append(job)
    async with life(service, memory) as two:
        await two.days(2)
        after = two.row(clip.uuid), two.row(job.item, "tempolor")
        assert [(row.name, row.birth, row.mtime_ns) for row in after] == kept


@pytest.mark.trio
async def test_edited_title(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A title edited upstream changes no name, and the old title's name is not given to another."""
    clip = service.add_clip(ADA, "Harbour")
    async with life(service, memory) as one:
        await one.known()
        clip.title = "Tide"
        twin = service.add_clip(ADA, "Harbour")
        await one.refresh()
        assert one.row(clip.uuid).name == "Harbour"
        assert one.row(clip.uuid).song.title == "Tide"
        assert one.row(twin.uuid).name == f"Harbour [{twin.uuid[:6]}]"


@pytest.mark.trio
async def test_folder_time(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """A folder's time changes when its names do: not when a song is edited or missing for a while."""
    stock(service, 5)
    async with life(service, memory) as one:
        await one.known()
        await one.refresh()
        before = one.catalog.dates["flowmusic"]
        service.flow.clips[0].title = "Another title"
        away = service.flow.clips.pop(3)
        await one.days(3)
        service.flow.clips.insert(3, away)
        await one.days(3)
        assert one.catalog.dates["flowmusic"] == before
        service.add_clip(ADA, "New")
        await one.refresh()
        assert one.catalog.dates["flowmusic"] > before


@pytest.mark.trio
async def test_library_time(
    autojump_clock: MockClock, service: Service, memory: Memory, expected_log: Callable[[str], None]
) -> None:
    """The library's time stays when it is first shown, though one service took longer than the other; moves
    when a song's folder appears there; and is the same in the next life."""
    stock(service, 2)
    expected_log("listing tempolor")
    service.fail(json_error(500), path="tempolor")
    async with life(service, memory) as one:
        await one.refresh()
        assert len(one.listed("flowmusic")) == 4
        assert all(row.name is None for row in one.catalog.rows("flowmusic"))
        shown = {folder: one.catalog.dates[folder] for folder in ("flowmusic", "tempolor", "library")}
        service.clear()
        await one.refresh()
        assert all(row.name is not None for row in one.catalog.rows("flowmusic"))
        assert {folder: one.catalog.dates[folder] for folder in shown} == shown
        service.add_clip(ADA, "New")
        await one.refresh()
        assert one.catalog.dates["library"] > shown["library"]
        assert one.catalog.dates["tempolor"] == shown["tempolor"]
        shown = {folder: one.catalog.dates[folder] for folder in shown}
    async with life(service, memory) as two:
        assert {folder: two.catalog.dates[folder] for folder in shown} == shown


# The first listing ------------------------------------------------------------------------------------------


TELLS_NOTHING = ("empty", "accounts empty", "account lost", "all accounts lost")
"""What a first listing cannot know for an illness: a person without songs looks the same."""


@pytest.mark.trio
@pytest.mark.parametrize("slug", ["flowmusic", "tempolor"])
@pytest.mark.parametrize("ill", sorted(set(ILL) - set(TELLS_NOTHING)))
async def test_first_listing_fails(
    ill: str,
    slug: str,
    autojump_clock: MockClock,
    service: Service,
    memory: Memory,
    expected_log: Callable[[str], None],
) -> None:
    """A first listing that fails is an error and never an empty folder; when the service is well it is
    whole."""
    stock(service, 30)
    _provoked(expected_log)
    ILL[ill](service)
    if ill == "account broken":
        service.flow.break_account(BEN)
        service.tempolor.break_account("200")
    async with life(service, memory) as one:
        with pytest.raises(MusicfsError) as caught:
            await one.catalog.ready((slug,), 300)
        assert isinstance(caught.value, AccountBroken) == (ill == "account broken")
        assert one.listed(slug) == set()
        service.clear()
        for email in (ADA, BEN):
            service.flow.add_account(email)
        for user_id in ("100", "200"):
            service.tempolor.add_account(user_id)
        await one.days(3)
        assert one.listed(slug) == idents(service)[slug]


@pytest.mark.trio
async def test_first_listing_with_one_broken_account(
    autojump_clock: MockClock, service: Service, memory: Memory, expected_log: Callable[[str], None]
) -> None:
    """An account that is broken from the start hides nothing of the others."""
    stock(service, 3)
    expected_log("in an error state")
    service.flow.break_account(ADA)
    async with life(service, memory) as one:
        await one.known()
        assert one.listed() == {clip.uuid for clip in service.flow.clips if clip.account == BEN}


@pytest.mark.trio
async def test_first_listing_breaks_in_the_middle(
    autojump_clock: MockClock, service: Service, memory: Memory, expected_log: Callable[[str], None]
) -> None:
    """A first listing that breaks on a later page shows nothing and is an error; later it goes on."""
    expected_log("listing flowmusic")
    for number in range(250):
        service.add_clip(ADA, f"Clip {number}")
    service.fail(json_error(500), path="offset=99")
    async with life(service, memory) as one:
        with pytest.raises(Misbehaved):
            await one.catalog.ready(("flowmusic",), 300)
        assert one.listed() == set()
        service.clear()
        service.reset_counts()
        await one.days(2)
        assert one.listed() == idents(service)["flowmusic"]
        assert service.counts["list"] <= 2 + 3 * 2


@pytest.mark.trio
@pytest.mark.expected_log("2 records could not be read")
async def test_hostile_item_ids(autojump_clock: MockClock, service: Service, memory: Memory) -> None:
    """Ids that could turn lines of text round are no folder's name; the others are listed as they are."""
    for item in ("turned\u202egpj", "next\x85line", "-plain id", "桜"):
        service.add_job("100", "Job", item=item)
    async with life(service, memory) as one:
        await one.known()
        assert one.listed("tempolor") == {"-plain id", "桜"}


# Lists that shift -------------------------------------------------------------------------------------------

EDITS = st.lists(st.sampled_from(["add", "old", "new", "middle", "swap", "none"]), max_size=5)


def shift(service: Service, kind: str, dice: random.Random) -> None:
    """Add or remove a song, as their owner would between two pages."""
    for things, add in (
        (service.flow.clips, lambda: service.add_clip(ADA, "New clip")),
        (service.tempolor.jobs, lambda: service.add_job("100", "New job")),
    ):
        if kind in ("add", "swap"):
            add()
        if kind in ("old", "new", "middle", "swap") and things:
            end = len(things) - 1
            things.pop({"old": 0, "new": end, "middle": end // 2, "swap": dice.randint(0, end)}[kind])


@given(first=EDITS, later=EDITS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_shifting_pages(first: list[str], later: list[str], seed: int) -> None:
    """Whatever is added or removed between two pages, of the first listing or of a later one, every song
    that was there all the time is listed, once; and after a while the listing is exact."""
    trio.run(partial(_shifting, first, later, seed), clock=MockClock(autojump_threshold=0))


async def _shifting(first: list[str], later: list[str], seed: int) -> None:
    service, dice = new_service(), random.Random(seed)
    service.knobs.tempolor_page = 20
    for number in range(230):
        service.add_clip(ADA, f"Clip {number}")
        if number < 70:
            service.add_job("100", f"Job {number}")
    edits = list(first)

    def between() -> None:
        if edits:
            shift(service, edits.pop(0), dice)

    service.knobs.between_pages = between
    before = idents(service)
    async with life(service, Memory()) as one:
        await one.known()
        _nothing_lost(one, before, service)
        edits += later
        before = idents(service)
        await one.refresh(3601)
        _nothing_lost(one, before, service)
        edits.clear()
        for _ in range(3):
            await one.refresh(3601)
        assert {slug: one.listed(slug) for slug in before} == idents(service)


def _nothing_lost(one: Life, before: dict[str, set[str]], service: Service) -> None:
    for slug, there in idents(service).items():
        assert before[slug] & there <= one.listed(slug)
