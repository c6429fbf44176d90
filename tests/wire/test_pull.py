"""Bytes from a byte server, on virtual time: how often it is asked, for what, and what comes of it."""

from __future__ import annotations

import errno
import gzip
from contextlib import AsyncExitStack
from email.utils import formatdate
from math import inf

import httpx
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.streams import Haste
from musicfs.errors import (
    BytesMissing,
    Changed,
    Misbehaved,
    NotFinished,
    Refused,
    Rejected,
    Throttled,
    TooSlow,
    Unreachable,
    UpstreamError,
)
from musicfs.model import Form, Locator
from musicfs.wire import Head
from musicfs.wire.gate import CONNECTIONS
from tests.world import (
    API,
    EDGE,
    LOOSE_ENDS,
    NOW,
    TOKEN,
    Answer,
    Asked,
    BodyStep,
    Bucket,
    Fixed,
    Move,
    Scripted,
    ok,
    part,
    pattern,
    ranged,
    stand_still,
    wire_on,
)

pytestmark = LOOSE_ENDS

DATA = pattern(300_000)
LINK = Locator(EDGE, minted=True)
OTHER_LINK = Locator(f"{EDGE}?auth_key=second", minted=True)
PUBLIC = Locator(EDGE)
MP3 = Locator("/v1/flowmusic/music/download?id=x&format=mp3", authorised=True)
BROKEN = Misbehaved("the server broke the connection")


async def fetch(
    network: Scripted,
    start: int,
    stop: int | None,
    *links: Locator,
    deadline: float = 30.0,
    slow: bool = False,
) -> tuple[Bucket, Fixed]:
    """Pull a span; give where its bytes went, and the source."""
    source = Fixed(*(links or (LINK,)))
    bucket = Bucket(start, stop)
    wire = wire_on(network, deadline)
    await wire.pull(source, bucket, slow)
    assert wire.gates.busy() == network.under_way == 0
    return bucket, source


async def refused(
    network: Scripted, start: int, stop: int | None, *links: Locator, deadline: float = 30.0
) -> UpstreamError:
    """Pull a span that cannot be had; give the failure."""
    source = Fixed(*(links or (LINK,)))
    wire = wire_on(network, deadline)
    with pytest.raises(UpstreamError) as caught:
        await wire.pull(source, Bucket(start, stop))
    assert wire.gates.busy() == network.under_way == 0
    return caught.value


def ranges(asked: list[Asked]) -> list[str | None]:
    """Say what was asked for, request by request."""
    return [one.range for one in asked]


# In health ----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_span_is_one_request(autojump_clock: trio.testing.MockClock) -> None:
    """A span is asked for exactly, by GET, identity-encoded, and comes as it is."""
    network = Scripted(ranged(DATA, etag='"v1"'))
    bucket, _ = await fetch(network, 1000, 70_000)
    assert bytes(bucket.got) == DATA[1000:70_000]
    (one,) = network.asked
    assert (one.method, one.range, one.headers["accept-encoding"]) == ("GET", "bytes=1000-69999", "identity")
    assert bucket.heads == [Head(1000, len(DATA), True, 'etag "v1"', 69_000)]


@pytest.mark.trio
async def test_the_end_of_an_unknown_length(autojump_clock: trio.testing.MockClock) -> None:
    """The last bytes are asked for as such, and the answer tells where they begin."""
    network = Scripted(part(DATA, len(DATA) - 4096, len(DATA)))
    bucket, _ = await fetch(network, -4096, None)
    assert bytes(bucket.got) == DATA[-4096:]
    assert ranges(network.asked) == ["bytes=-4096"]
    assert bucket.heads == [
        Head(len(DATA) - 4096, len(DATA), True, f"size {len(DATA)}", 4096),
    ]


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (part(DATA[:5000], 0, 5000), ["bytes=-65536"]),
        (ok(DATA[:5000]), ["bytes=-65536"]),
        (Answer(416, {"content-range": "bytes */5000"}), ["bytes=-65536", "bytes=0-4999"]),
    ],
)
@pytest.mark.trio
async def test_the_end_is_all_of_a_short_object(
    answer: Answer, asked: list[str], autojump_clock: trio.testing.MockClock
) -> None:
    """Where there are fewer bytes than were asked for, all of them come, also of a strict or lax server."""
    network = Scripted(answer, ranged(DATA[:5000]))
    bucket, _ = await fetch(network, -65_536, None)
    assert bytes(bucket.got) == DATA[:5000]
    assert ranges(network.asked) == asked


@pytest.mark.parametrize("start", [0, len(DATA) - 4097, len(DATA) - 4095])
@pytest.mark.trio
async def test_another_end_than_was_asked_for(start: int, autojump_clock: trio.testing.MockClock) -> None:
    """A 206 that begins elsewhere than the last bytes do is misbehaviour."""
    network = Scripted(part(DATA, start, len(DATA)))
    assert isinstance(await refused(network, -4096, None, deadline=1.0), Misbehaved)


@pytest.mark.trio
async def test_a_pass_asks_for_no_range(autojump_clock: trio.testing.MockClock) -> None:
    """A pass to the end wants the whole, and ends where the body ends."""
    network = Scripted(Answer(200, {}, (DATA[:1000], 0.5, DATA[1000:])))
    bucket, _ = await fetch(network, 0, None)
    assert bytes(bucket.got) == DATA
    assert bucket.ended
    assert ranges(network.asked) == [None]
    assert bucket.heads[0].announced is None


@pytest.mark.trio
async def test_enough_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """A sink that has all it wants ends a body that would go on, and the connection is given back."""
    network = Scripted(part(DATA, 0, 4096, DATA[:4096], 1000.0, DATA))
    bucket, _ = await fetch(network, 0, 4096)
    assert bytes(bucket.got) == DATA[:4096]
    assert trio.current_time() - network.asked[0].moment < 1


@pytest.mark.parametrize("last", [1000.0, BROKEN, b"more"])
@pytest.mark.trio
async def test_what_comes_after_the_last_byte_is_nobodys(
    autojump_clock: trio.testing.MockClock, last: BodyStep
) -> None:
    """All that was wanted has come: a body that will not end, breaks or goes on is left within a moment."""
    network = Scripted(part(DATA, 0, 4096, DATA[:4096], last))
    bucket, _ = await fetch(network, 0, 4096)
    assert bytes(bucket.got) == DATA[:4096]
    assert len(network.asked) == 1
    assert trio.current_time() - network.asked[0].moment < 1


@pytest.mark.trio
async def test_a_whole_for_a_range_begins_at_the_first_byte(autojump_clock: trio.testing.MockClock) -> None:
    """200 for a range is the whole from its first byte, and the sink is told so."""
    network = Scripted(ok(DATA))
    bucket, _ = await fetch(network, 200_000, 300_000)
    assert bucket.heads[0].start == 0
    assert not bucket.heads[0].ranged
    assert bytes(bucket.got) == DATA
    assert len(network.asked) == 1


# Broken bodies ------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_broken_body_goes_on_at_its_byte(autojump_clock: trio.testing.MockClock) -> None:
    """Where the body breaks, the next request begins at that very byte, after a short wait."""
    network = Scripted(
        part(DATA, 0, 300_000, DATA[:100_001], BROKEN),
        part(DATA, 100_001, 300_000, DATA[100_001:200_000], BROKEN),
        ranged(DATA),
    )
    bucket, _ = await fetch(network, 0, 300_000)
    assert bytes(bucket.got) == DATA
    assert ranges(network.asked) == ["bytes=0-299999", "bytes=100001-299999", "bytes=200000-299999"]
    assert network.moments[-1] <= 0.5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 290_000), max_size=5, unique=True), st.sampled_from(["break", "end", "stall"]))
def test_bytes_are_exact_wherever_it_breaks(places: list[int], how: str) -> None:
    """Wherever and however bodies break, the bytes are the object's, each exactly once."""

    async def main() -> None:
        moves: list[Move] = []
        at = 0
        for place in sorted(places):
            steps = {
                "break": (DATA[at:place], BROKEN),
                "end": (DATA[at:place],),
                "stall": (DATA[at:place], 1000.0),
            }[how]
            moves.append(part(DATA, at, 300_000, *steps))
            at = place
        network = Scripted(*moves, ranged(DATA))
        bucket, _ = await fetch(network, 0, 300_000, deadline=600.0)
        assert bytes(bucket.got) == DATA
        assert len(network.asked) == len(places) + 1

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.trio
async def test_a_short_body_is_no_end(autojump_clock: trio.testing.MockClock) -> None:
    """A body that ends before its announced length is asked for again from there, range or pass."""
    short = Answer(200, {"content-length": "300000"}, (DATA[:120_000],))
    network = Scripted(short, ok(DATA))
    bucket, _ = await fetch(network, 0, None)
    assert bytes(bucket.got) == DATA
    assert len(network.asked) == 2


@pytest.mark.trio
async def test_a_long_body_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Bytes beyond the announced length never reach the sink, and the answer counts as broken."""
    long = Answer(200, {"content-length": "10"}, (DATA[:10], DATA[10:20]))
    failed = await refused(Scripted(long), 0, None, PUBLIC)
    assert type(failed) is Misbehaved


@pytest.mark.trio
async def test_an_empty_body_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """No song has no bytes: an empty 200 is misbehaviour, asked again as often as patience lasts."""
    network = Scripted(ok(b""))
    assert type(await refused(network, 0, None)) is Misbehaved
    assert len(network.asked) == 7


@pytest.mark.trio
async def test_a_stalled_body_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """A body that goes silent is left after a third of the deadline and gone on with elsewhere."""
    network = Scripted(part(DATA, 0, 300_000, DATA[:5000], 1000.0), ranged(DATA))
    bucket, _ = await fetch(network, 0, 300_000)
    assert bytes(bucket.got) == DATA
    assert 10.0 <= network.moments[1] <= 10.3


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.trio
async def test_a_dripping_body_is_left(autojump_clock: trio.testing.MockClock, slow: bool) -> None:
    """A body of a hundred bytes a second is of no use to anybody: it is left like a silent one."""
    drip: list[BodyStep] = [part for place in range(3000) for part in (DATA[place * 100 :][:100], 1.0)]
    network = Scripted(Answer(200, {"content-length": str(len(DATA))}, drip))
    wire = wire_on(network)
    with trio.fail_after(300), pytest.raises(TooSlow):
        await wire.pull(Fixed(LINK), Bucket(0, None if slow else len(DATA)), slow)


@pytest.mark.trio
async def test_a_thin_body_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    """Four kilobytes a second are slow and not useless: it comes to its end in one request."""
    places = range(0, len(DATA), 4096)
    thin: list[BodyStep] = [part for place in places for part in (DATA[place:][:4096], 1.0)]
    network = Scripted(part(DATA, 0, len(DATA), *thin))
    bucket, _ = await fetch(network, 0, len(DATA))
    assert bytes(bucket.got) == DATA
    assert len(network.asked) == 1


@pytest.mark.trio
async def test_progress_keeps_patience_alive(autojump_clock: trio.testing.MockClock) -> None:
    """A server that breaks every 70 kB is gone on with as long as useful bytes come, beyond seven tries."""
    data = pattern(1_000_000)

    def answer(request: httpx.Request) -> Answer:
        start = int(request.headers["range"][6:].split("-")[0])
        return part(data, start, len(data), data[start : start + 70_000], BROKEN)

    network = Scripted(answer)
    bucket, _ = await fetch(network, 0, len(data))
    assert bytes(bucket.got) == data
    assert len(network.asked) == 15


@pytest.mark.trio
async def test_no_progress_ends_patience(autojump_clock: trio.testing.MockClock) -> None:
    """A server that gives a hundred bytes a try is given up after seven tries."""

    def answer(request: httpx.Request) -> Answer:
        start = int(request.headers["range"][6:].split("-")[0])
        return part(DATA, start, len(DATA), DATA[start : start + 100], BROKEN)

    network = Scripted(answer)
    assert type(await refused(network, 0, 300_000)) is Misbehaved
    assert len(network.asked) == 7


@pytest.mark.trio
async def test_a_sink_hears_of_each_failure(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits has a deadline of his own, so what a try met with is told before the next one."""
    network = Scripted(Answer(500), part(DATA, 0, 300_000, DATA[:5000], BROKEN), ranged(DATA))
    bucket, _ = await fetch(network, 0, 300_000)
    assert bytes(bucket.got) == DATA
    assert [type(failure) for failure in bucket.setbacks] == [Misbehaved, Misbehaved]


# Wrong heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 1-299999/300000"},
        {"content-range": "bytes 0-299999"},
        {"content-range": "bytes */300000"},
        {},
        {"content-range": "bytes 0-300000/300001"},
        {"content-range": "bytes 0-299999/300000", "content-length": "299999"},
        {"content-range": "bytes 0-299999/300000", "content-encoding": "gzip"},
    ],
)
@pytest.mark.trio
async def test_a_wrong_head_keeps_its_bytes(
    autojump_clock: trio.testing.MockClock, headers: dict[str, str]
) -> None:
    """A 206 that is not the range that was asked for gives the sink nothing; the next answer may be right."""
    network = Scripted(Answer(206, headers, (pattern(300_000, "other"),)), ranged(DATA))
    bucket, _ = await fetch(network, 0, 300_000)
    assert bytes(bucket.got) == DATA
    assert len(network.asked) == 2


@pytest.mark.trio
async def test_a_compressed_body_is_never_taken(autojump_clock: trio.testing.MockClock) -> None:
    """A body that is gzip in spite of identity is refused: its bytes are not the object's."""
    packed = gzip.compress(DATA[:1000])
    network = Scripted(Answer(200, {"content-encoding": "gzip"}, (packed,)))
    assert type(await refused(network, 0, 1000)) is Misbehaved


@pytest.mark.parametrize(
    "page",
    [b"<!DOCTYPE html><html>", b'{"error":"x"}', b"<?xml version='1.0'?>", b"  \n<html>", b"Not found"],
)
@pytest.mark.trio
async def test_a_page_is_no_audio(autojump_clock: trio.testing.MockClock, page: bytes) -> None:
    """HTML, XML, JSON or plain text with 200 is refused once for all, and quoted nowhere."""
    network = Scripted(ok(page, content_type="audio/wav"))
    failed = await refused(network, 0, None)
    assert type(failed) is Rejected
    assert failed.errno == errno.EIO
    assert len(network.asked) == 1
    assert page.decode() not in str(failed)


@pytest.mark.trio
async def test_the_middle_of_an_object_may_look_like_text(autojump_clock: trio.testing.MockClock) -> None:
    """Only the object's first bytes are looked at: a range from the middle may hold anything."""
    data = DATA[:1000] + b"<html>" * 100
    bucket, _ = await fetch(Scripted(ranged(data)), 1000, 1600)
    assert bytes(bucket.got) == data[1000:]


class Connected(Scripted):
    """A network whose connection writes down what it is told of an answer."""

    def __init__(self, move: Move) -> None:
        super().__init__(move)
        self.told: list[tuple[int | None, bool, Haste]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Play the next move over a connection."""
        answer = await super().handle_async_request(request)
        answer.extensions["network_stream"] = self
        return answer

    def coming(self, amount: int | None, first: bool, haste: Haste) -> None:
        """Be told how much comes, if a file begins with it, and how soon it is needed."""
        self.told.append((amount, first, haste))


@pytest.mark.trio
async def test_a_connection_is_told_what_comes(autojump_clock: trio.testing.MockClock) -> None:
    """It hears how long the body is, whether it begins with the file's first byte, for which a prober waits,
    and how soon it is needed."""
    network = Connected(ranged(DATA[:5000]))
    await fetch(network, 0, 1000)
    await fetch(network, 1000, 1600)
    ahead = Bucket(2000, 2600)
    ahead.haste = Haste.AHEAD
    await wire_on(network).pull(Fixed(LINK), ahead)
    assert network.told == [(1000, True, Haste.NOW), (600, False, Haste.NOW), (600, False, Haste.AHEAD)]


@pytest.mark.trio
async def test_a_range_beyond_the_end_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    """A strict server's 416 tells the length; then exactly what there is is asked for."""
    network = Scripted(Answer(416, {"content-range": "bytes */5000"}), ranged(DATA[:5000]))
    bucket, _ = await fetch(network, 0, 262_144)
    assert bytes(bucket.got) == DATA[:5000]
    assert ranges(network.asked) == ["bytes=0-262143", "bytes=0-4999"]


@pytest.mark.parametrize("told", [{}, {"content-range": "bytes */0"}, {"content-range": "bytes */300000"}])
@pytest.mark.trio
async def test_a_416_that_says_nothing_new_ends(
    autojump_clock: trio.testing.MockClock, told: dict[str, str]
) -> None:
    """A 416 for a range that lies inside, or of no bytes at all, is misbehaviour and no loop."""
    network = Scripted(Answer(416, told))
    assert type(await refused(network, 0, 262_144)) is Misbehaved
    assert len(network.asked) == 7


# Links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 410])
@pytest.mark.trio
async def test_a_dead_link_is_made_again_at_its_byte(
    autojump_clock: trio.testing.MockClock, status: int
) -> None:
    """A link refused in mid-file is minted once more, at once, and the read goes on at its byte."""
    network = Scripted(part(DATA, 0, 300_000, DATA[:100_000], BROKEN), Answer(status), ranged(DATA))
    bucket, source = await fetch(network, 0, 300_000, LINK, OTHER_LINK)
    assert bytes(bucket.got) == DATA
    assert source.expired == 1
    assert [one.url for one in network.asked] == [EDGE, EDGE, OTHER_LINK.url]
    assert network.asked[2].range == "bytes=100000-299999"
    assert network.moments[2] == network.moments[1]


@pytest.mark.parametrize(
    ("status", "named"), [(401, Refused), (403, Refused), (404, BytesMissing), (410, BytesMissing)]
)
@pytest.mark.trio
async def test_a_new_link_that_is_dead_is_the_services_word(
    autojump_clock: trio.testing.MockClock, status: int, named: type[UpstreamError]
) -> None:
    """Refused right after its mint: EACCES for a refusal, EIO for bytes that are not there; two requests."""
    network = Scripted(Answer(status))
    failed = await refused(network, 0, 1000, LINK, OTHER_LINK)
    assert type(failed) is named
    assert len(network.asked) == 2
    assert "auth_key" not in str(failed)


@pytest.mark.trio
async def test_links_that_die_often_are_made_often(autojump_clock: trio.testing.MockClock) -> None:
    """A slow reader of a long file may need many links, as long as each brings something."""
    data = pattern(1_000_000)
    links = [Locator(f"{EDGE}?auth_key={number}", minted=True) for number in range(12)]

    def answer(request: httpx.Request) -> Answer:
        start = int(request.headers["range"][6:].split("-")[0])
        if start and f"auth_key={start // 100_000}" not in str(request.url):
            return Answer(403)
        return part(data, start, len(data), data[start : start + 100_000], BROKEN)

    bucket, source = await fetch(Scripted(answer), 0, len(data), *links)
    assert bytes(bucket.got) == data
    assert source.expired == 9


@pytest.mark.parametrize("status", [403, 404, 410])
@pytest.mark.trio
async def test_a_public_bytes_404_is_missing(autojump_clock: trio.testing.MockClock, status: int) -> None:
    """Without a mint there is nothing to renew: 404, and a bucket's 403, mean missing bytes."""
    network = Scripted(Answer(status))
    assert type(await refused(network, 0, 1000, PUBLIC)) is BytesMissing
    assert len(network.asked) == 1


# Statuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "status", "named"),
    [
        (PUBLIC, 400, Rejected),
        (PUBLIC, 401, Refused),
        (PUBLIC, 402, Refused),
        (PUBLIC, 409, NotFinished),
        (MP3, 400, BytesMissing),
        (MP3, 401, Refused),
        (MP3, 403, Refused),
        (MP3, 404, BytesMissing),
        (MP3, 409, NotFinished),
        (MP3, 410, BytesMissing),
        (MP3, 596, Refused),
    ],
)
@pytest.mark.trio
async def test_a_last_word_is_asked_for_once(
    autojump_clock: trio.testing.MockClock, link: Locator, status: int, named: type[UpstreamError]
) -> None:
    """What asking again cannot change is asked for once."""
    network = Scripted(Answer(status))
    failed = await refused(network, 0, None, link)
    assert isinstance(failed, named)
    assert len(network.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 206, 304])
@pytest.mark.trio
async def test_what_may_pass_is_asked_for_again(autojump_clock: trio.testing.MockClock, status: int) -> None:
    """5xx and odd answers are asked for again, seven times at most, and end within the deadline as EIO."""
    network = Scripted(Answer(status))
    failed = await refused(network, 0, 1000)
    assert failed.errno == errno.EIO
    assert 5 <= len(network.asked) <= 7
    assert trio.current_time() - network.asked[0].moment < 27


@pytest.mark.parametrize(("failure", "named"), [(Unreachable("no"), Unreachable), (TooSlow("late"), TooSlow)])
@pytest.mark.trio
async def test_an_outage_is_noticed_after_two_tries(
    autojump_clock: trio.testing.MockClock, failure: UpstreamError, named: type[UpstreamError]
) -> None:
    """After two silences the host is down: the failure comes at once, by its own name, to others too."""
    network = Scripted(failure)
    wire = wire_on(network)
    for tries in (2, 2):
        with pytest.raises(named):
            await wire.pull(Fixed(LINK), Bucket(0, 1000))
        assert len(network.asked) == tries
    assert trio.current_time() - network.asked[0].moment <= 0.3


@pytest.mark.parametrize("failure", [Unreachable("no"), TooSlow("late")])
@pytest.mark.trio
async def test_a_link_to_a_host_that_is_gone_is_let_go(
    autojump_clock: trio.testing.MockClock, failure: UpstreamError
) -> None:
    """A link may name a host that is gone for good: who finds it silent has the next one ask for another
    link, and who is refused unasked does not."""
    network = Scripted(failure)
    wire = wire_on(network)
    source = Fixed(LINK)
    for _ in range(3):
        with pytest.raises(type(failure)):
            await wire.pull(source, Bucket(0, 1000))
    assert source.expired == 1
    other = Fixed(OTHER_LINK)
    await trio.sleep(16)
    for _ in range(3):
        with pytest.raises(type(failure)):
            await wire.pull(other, Bucket(0, 1000))
    assert other.expired == 1


@pytest.mark.parametrize("deadline", [3.0, 30.0])
@pytest.mark.trio
async def test_the_last_failures_own_errno_is_the_answer(
    autojump_clock: trio.testing.MockClock, deadline: float
) -> None:
    """Patience ends short of the deadline, and what failed last answers, not the clock."""
    network = Scripted(
        lambda request: Answer(503, after=deadline / 4),
    )
    began = trio.current_time()
    failed = await refused(network, 0, 1000, deadline=deadline)
    assert type(failed) is Misbehaved
    assert trio.current_time() - began < deadline + deadline / 4


@pytest.mark.trio
async def test_a_machine_that_stood_still_between_two_tries_is_not_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who wakes from the wait for the next try when his time is over is told what the last one met with, not
    that no connection was free."""
    network = Scripted(Misbehaved("reset"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still, autojump_clock, 0.1, 27.5)  # The first wait is longer.
        failed = await refused(network, 0, 1000)
    assert (type(failed), str(failed)) == (Misbehaved, "reset")
    assert len(network.asked) == 1


@pytest.mark.trio
async def test_a_crowd_before_the_next_try_is_not_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    """Who fails, and then finds no connection free for another try, is told what the failure was; who finds
    none from the beginning is told that."""
    network = Scripted(Misbehaved("reset"))
    wire = wire_on(network)
    gate, told = wire.gates.of("https://edge.example.net:443"), list[UpstreamError]()

    async def ask() -> None:
        with pytest.raises(UpstreamError) as caught:
            await wire.pull(Fixed(LINK), Bucket(0, 1000))
        told.append(caught.value)

    async with trio.open_nursery() as nursery, AsyncExitStack() as crowd:
        nursery.start_soon(ask)
        await trio.sleep(0.1)  # The first wait is longer.
        for _ in range(CONNECTIONS):
            await crowd.enter_async_context(gate.turn("range", inf))
        nursery.start_soon(ask)
        await trio.sleep(40)
    assert [(one.errno, str(one)) for one in told] == [
        (errno.EIO, "reset"),
        (errno.ETIMEDOUT, "no connection became free in time"),
    ]
    assert len(network.asked) == 1


# 429 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "wait"), [("7", 7.0), (formatdate(NOW + 12, usegmt=True), 12.0)], ids=["seconds", "date"]
)
@pytest.mark.trio
async def test_a_throttled_request_waits_as_told(
    autojump_clock: trio.testing.MockClock, told: str, wait: float
) -> None:
    """Retry-After, in seconds or as a date, is waited for exactly."""
    began = trio.current_time()
    # The wall clock of the tests is trio's; a date is told from where it stands.
    if not told.isdigit():
        told = formatdate(NOW + began + wait, usegmt=True)
    network = Scripted(Answer(429, {"retry-after": told}), ranged(DATA))
    await fetch(network, 0, 1000)
    assert wait - 1 <= network.moments[1] <= wait
    assert len(network.asked) == 2


@pytest.mark.parametrize("told", ["soon", "", "-5", "Fri, 32 Nov 2026"])
@pytest.mark.trio
async def test_a_wait_that_makes_no_sense_is_ours(autojump_clock: trio.testing.MockClock, told: str) -> None:
    """Without a readable Retry-After our own short wait is taken."""
    network = Scripted(Answer(429, {"retry-after": told}), ranged(DATA))
    await fetch(network, 0, 1000)
    assert network.moments[1] <= 0.3


@pytest.mark.parametrize("told", ["3600", "31536000", "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.trio
async def test_a_wait_beyond_the_deadline_is_the_answer(
    autojump_clock: trio.testing.MockClock, told: str
) -> None:
    """A wait that nobody can sit out is EBUSY at once, and like requests are not sent meanwhile."""
    network = Scripted(Answer(429, {"retry-after": told}))
    wire = wire_on(network)
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await wire.pull(Fixed(LINK), Bucket(0, 1000))
        assert caught.value.errno == errno.EBUSY
    assert len(network.asked) == 1
    assert trio.current_time() == network.asked[0].moment + network._began


@pytest.mark.trio
async def test_a_wait_of_a_year_is_not_believed(autojump_clock: trio.testing.MockClock) -> None:
    """A service that wants quiet for a year is asked again after a quarter of an hour."""
    network = Scripted(Answer(429, {"retry-after": "31536000"}), ranged(DATA))
    wire = wire_on(network)
    with pytest.raises(Throttled):
        await wire.pull(Fixed(LINK), Bucket(0, 1000))
    await trio.sleep(901)
    await wire.pull(Fixed(LINK), Bucket(0, 1000))


# Redirects ----------------------------------------------------------------------------------------------


def to(place: str, status: int = 302) -> Answer:
    """Send elsewhere."""
    return Answer(status, {"location": place})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.trio
async def test_a_redirect_is_followed(autojump_clock: trio.testing.MockClock, status: int) -> None:
    """The range goes along to where the redirect points."""
    network = Scripted(to("https://mirror.example.org/x?a=1", status), ranged(DATA))
    bucket, _ = await fetch(network, 500, 1000)
    assert bytes(bucket.got) == DATA[500:1000]
    assert [one.url for one in network.asked] == [EDGE, "https://mirror.example.org/x?a=1"]
    assert network.asked[1].range == "bytes=500-999"


@pytest.mark.trio
async def test_a_redirect_from_the_api_loses_the_token(autojump_clock: trio.testing.MockClock) -> None:
    """Where the API sends an mp3 elsewhere, the token stays behind."""
    network = Scripted(to("https://mirror.example.org/x"), ok(DATA))
    await fetch(network, 0, None, MP3)
    assert network.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert "authorization" not in network.asked[1].headers


@pytest.mark.parametrize(
    ("place", "requests", "named"),
    [
        ("http://edge.example.net/song.wav", 1, Rejected),
        ("ftp://edge.example.net/x", 1, Rejected),
        ("file:///etc/passwd", 1, Rejected),
        (EDGE, 7, Misbehaved),
        ("", 7, Misbehaved),
        ("https://[::::/x", 7, Misbehaved),
        ("https://a b:port/", 7, Misbehaved),
    ],
)
@pytest.mark.trio
async def test_a_redirect_that_is_not_followed(
    autojump_clock: trio.testing.MockClock, place: str, requests: int, named: type[UpstreamError]
) -> None:
    """Never from https to http or to another scheme, and never in place."""
    network = Scripted(to(place))
    assert type(await refused(network, 0, 1000)) is named
    assert len(network.asked) == requests


@pytest.mark.trio
async def test_a_chain_of_redirects_ends(autojump_clock: trio.testing.MockClock) -> None:
    """Two URLs that point at each other are left after four hops a try."""

    def answer(request: httpx.Request) -> Answer:
        return to("https://edge.example.net/b" if request.url.path != "/b" else "https://edge.example.net/a")

    network = Scripted(answer)
    assert type(await refused(network, 0, 1000)) is Misbehaved
    assert len(network.asked) <= 4 * 7


@pytest.mark.trio
async def test_redirects_do_not_use_up_the_connections(autojump_clock: trio.testing.MockClock) -> None:
    """Twelve requests that are redirected on their own host do not wait for each other's connections."""

    def answer(request: httpx.Request) -> Answer:
        healthy = ranged(DATA)
        return healthy(request) if request.url.path == "/b" else to("https://edge.example.net/b")

    network = Scripted(answer)
    wire = wire_on(network)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(wire.pull, Fixed(LINK), Bucket(number * 1000, number * 1000 + 1000))
    assert trio.current_time() - began < 1
    assert network.most_under_way <= 6


# What leaves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://host/x", "file:///etc/passwd", "https://", "http://[::1/", "https://host\x00/", "//h/x"],
)
@pytest.mark.trio
async def test_a_link_that_is_no_url_asks_nobody(autojump_clock: trio.testing.MockClock, url: str) -> None:
    """A link that is not http(s) is refused before anything is asked."""
    network = Scripted(ranged(DATA))
    assert type(await refused(network, 0, 1000, Locator(url, minted=True))) is Rejected
    assert network.asked == []


@pytest.mark.trio
async def test_byte_servers_never_see_the_token(autojump_clock: trio.testing.MockClock) -> None:
    """The token goes with the API's own bytes and with nothing else."""
    network = Scripted(ok(DATA))
    await fetch(network, 0, None, MP3)
    await fetch(network, 0, None, PUBLIC)
    api, edge = network.asked
    assert api.url.startswith(f"{API}/v1/flowmusic/music/download")
    assert api.headers["authorization"] == f"Bearer {TOKEN}"
    assert not {"authorization", "cookie"} & set(edge.headers)


@pytest.mark.trio
async def test_a_cookie_is_not_brought_back(autojump_clock: trio.testing.MockClock) -> None:
    """A byte server that sets a cookie gets its bytes asked for again without it."""
    cookie = {"set-cookie": "id=1; Domain=example.net; Path=/"}
    network = Scripted(
        Answer(206, {"content-range": "bytes 0-999/300000", **cookie}, (DATA[:500], BROKEN)), ranged(DATA)
    )
    bucket, _ = await fetch(network, 0, 1000)
    assert bytes(bucket.got) == DATA[:1000]
    assert "cookie" not in network.asked[1].headers


# Sinks and cancelling -----------------------------------------------------------------------------------


class Choosy(Bucket):
    """A sink that refuses every head."""

    def begin(self, head: Head) -> None:
        """Refuse."""
        raise Changed("the service has other bytes now")


@pytest.mark.trio
async def test_a_sinks_refusal_is_not_retried(autojump_clock: trio.testing.MockClock) -> None:
    """What a sink refuses with travels up as it is, after one request, with nothing taken."""
    network = Scripted(ranged(DATA))
    wire, sink = wire_on(network), Choosy(0, 1000)
    with pytest.raises(Changed):
        await wire.pull(Fixed(LINK), sink)
    assert (len(network.asked), bytes(sink.got), network.under_way) == (1, b"", 0)


@pytest.mark.trio
async def test_a_cancelled_pull_gives_everything_back(autojump_clock: trio.testing.MockClock) -> None:
    """However a pull is cancelled, no connection and no turn is left behind."""
    for after in (0.0, 0.5, 2.0):
        network = Scripted(
            Answer(206, {"content-range": "bytes 0-999/300000"}, (b"\0x", 5.0, b"y"), after=1.0)
        )
        wire = wire_on(network)
        with trio.move_on_after(after):
            await wire.pull(Fixed(LINK), Bucket(0, 1000))
        assert (wire.gates.busy(), network.under_way) == (0, 0)


@pytest.mark.trio
async def test_at_most_six_connections_to_a_host(autojump_clock: trio.testing.MockClock) -> None:
    """Thirty pulls of one host have six connections; another host has its own."""
    network = Scripted(lambda request: part(DATA, 0, 1000, 1.0, DATA[:1000]))
    wire = wire_on(network)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(wire.pull, Fixed(LINK), Bucket(0, 1000))
    assert network.most_under_way == 6
    assert trio.current_time() - began == pytest.approx(5.0)


@pytest.mark.trio
async def test_a_slow_pass_may_wait_for_its_first_byte(autojump_clock: trio.testing.MockClock) -> None:
    """What is made while we wait may take longer for its first byte than a third of the deadline."""
    network = Scripted(Answer(200, {}, (DATA,), after=40.0))
    bucket, _ = await fetch(network, 0, None, MP3, slow=True)
    assert bytes(bucket.got) == DATA
    assert len(network.asked) == 1
    assert Fixed(MP3).form == Form.WAV


@pytest.mark.trio
async def test_everything_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    """Requests are tallied by kind, retries too, and bytes as they come."""
    network = Scripted(part(DATA, 0, 300_000, DATA[:100_000], BROKEN), ranged(DATA), ok(DATA))
    wire = wire_on(network)
    await wire.pull(Fixed(LINK), Bucket(0, 300_000))
    await wire.pull(Fixed(LINK), Bucket(0, None))
    await wire.pull(Fixed(MP3), Bucket(0, None))
    assert dict(wire.tally.counts) == {"range": 2, "whole": 1, "mp3": 1, "bytes": 900_000}
