"""Conversations with the API, on virtual time: retries, quiet, bodies, and where the token goes."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import AsyncExitStack
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.errors import (
    Misbehaved,
    MusicfsError,
    NoSuchEntry,
    Rejected,
    Throttled,
    TooSlow,
    Unreachable,
    UpstreamError,
)
from musicfs.model import Reply, Request
from musicfs.wire import Wire
from musicfs.wire.gate import CONNECTIONS
from tests.world import API, LOOSE_ENDS, TOKEN, Answer, Move, Scripted, ok, stand_still, wire_on

pytestmark = LOOSE_ENDS

Talk = Generator[Request, Reply, list[Reply]]
FINAL = (400, 401, 402, 403, 404, 409, 410, 418, 422, 596)
PASSING = (429, 500, 502, 503, 504, 520, 522, 524, 530)


def asking(*requests: Request) -> Talk:
    """Ask these, one after the other, and give the replies."""
    replies = []
    for request in requests or (Request("/v1/x", kind="list"),):
        reply = yield request
        replies.append(reply)
    return replies


async def failing(wire: Wire, *requests: Request, background: bool = False) -> UpstreamError:
    """Ask for what cannot be had; give the failure."""
    with pytest.raises(UpstreamError) as caught:
        await wire.converse(asking(*requests), background)
    return caught.value


# In health ----------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_conversation_is_carried_to_its_noun(autojump_clock: trio.testing.MockClock) -> None:
    """Each question is asked in turn, with its query encoded and the token, and its reply sent back in."""
    network = Scripted(ok(b"one", date="Mon"), Answer(404, {}, (b"two",)))
    wire = wire_on(network)
    first = Request("/v1/music", (("email", "a+b@example.com"), ("limit", "100")), "list")
    replies = await wire.converse(asking(first, Request("/v1/accounts", kind="accounts")))
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"one"), (404, b"two")]
    assert replies[0].headers == {"date": "Mon"}
    assert [one.url for one in network.asked] == [
        f"{API}/v1/music?email=a%2Bb%40example.com&limit=100",
        f"{API}/v1/accounts",
    ]
    assert {one.method for one in network.asked} == {"GET"}
    assert {one.headers["authorization"] for one in network.asked} == {f"Bearer {TOKEN}"}
    assert dict(wire.tally.counts) == {"list": 1, "accounts": 1}


@pytest.mark.trio
async def test_ids_go_raw_into_paths(autojump_clock: trio.testing.MockClock) -> None:
    """Colons, at signs and pluses of an id are not encoded; what would end the path is."""
    network = Scripted(ok(b"{}"))
    await wire_on(network).converse(asking(Request("/v1/music/user:1-a+b@x.org-job:9?f#%41 é")))
    assert network.asked[0].url == f"{API}/v1/music/user:1-a+b@x.org-job:9%3Ff%23%2541%20%C3%A9"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_id_asks_below_the_api(ident: str) -> None:
    """Whatever an id holds, the request goes to the API's own host, or nowhere."""

    async def main() -> None:
        network = Scripted(ok(b"{}"))
        try:
            await wire_on(network).converse(asking(Request(f"/v1/music/{ident}")))
        except MusicfsError:
            pass
        assert all(one.url.startswith(f"{API}/") for one in network.asked)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.trio
async def test_a_verdict_of_the_provider_travels(autojump_clock: trio.testing.MockClock) -> None:
    """What a provider makes of an answer is raised as it is, and its generator is closed."""
    closed: list[bool] = []

    def talk() -> Talk:
        try:
            yield Request("/v1/x")
            raise NoSuchEntry("no such thing")
        finally:
            closed.append(True)

    with pytest.raises(NoSuchEntry):
        await wire_on(Scripted(ok(b""))).converse(talk())
    assert closed == [True]


# Asking again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", FINAL)
@pytest.mark.trio
async def test_a_last_word_is_asked_for_once(autojump_clock: trio.testing.MockClock, status: int) -> None:
    """A status that asking again cannot change goes to the provider after one request, body and all."""
    network = Scripted(Answer(status, {}, (b"why",)))
    (reply,) = await wire_on(network).converse(asking())
    assert (reply.status, reply.body) == (status, b"why")
    assert len(network.asked) == 1
    assert trio.current_time() == network._began


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.trio
async def test_what_may_pass_is_asked_for_again(autojump_clock: trio.testing.MockClock, status: int) -> None:
    """5xx, Cloudflare's among them, and 429 are asked for again after growing waits."""
    page = Answer(status, {"content-type": "text/html"}, (b"<html>",))
    network = Scripted(page, page, page, ok(b"{}"))
    (reply,) = await wire_on(network).converse(asking())
    assert reply.status == 200
    first, second, third, fourth = network.moments
    assert 0.125 <= second - first <= 0.25
    assert 0.25 <= third - second <= 0.5
    assert 0.5 <= fourth - third <= 1.0


@pytest.mark.trio
async def test_patience_ends_short_of_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """A service that is ill is asked seven times in all, and its own errno is the answer, in time."""
    network = Scripted(Answer(503))
    failed = await failing(wire_on(network))
    assert failed.errno == errno.EIO
    assert len(network.asked) == 7
    assert network.moments[-1] < 27


@pytest.mark.trio
async def test_a_machine_that_stood_still_between_two_tries_is_not_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who wakes from the wait for the next try when his time is over is told what the last one met with, not
    that no connection was free."""
    network = Scripted(Misbehaved("reset"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stand_still, autojump_clock, 0.1, 27.5)  # The first wait is longer.
        failed = await failing(wire_on(network))
    assert (type(failed), str(failed)) == (Misbehaved, "reset")
    assert len(network.asked) == 1


@pytest.mark.trio
async def test_a_crowd_before_the_next_try_is_not_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    """Who fails, and then finds no connection free for another try, is told what the failure was."""
    wire = wire_on(Scripted(Misbehaved("reset")))
    told: list[UpstreamError] = []

    async def ask() -> None:
        told.append(await failing(wire))

    async with trio.open_nursery() as nursery, AsyncExitStack() as crowd:
        nursery.start_soon(ask)
        await trio.sleep(0.1)  # The first wait is longer.
        for _ in range(CONNECTIONS):
            await crowd.enter_async_context(wire.gates.of(f"{API}:443").turn("list", inf))
        await trio.sleep(40)
    assert [(type(one), str(one)) for one in told] == [(Misbehaved, "reset")]


@pytest.mark.trio
async def test_the_background_has_its_own_patience(autojump_clock: trio.testing.MockClock) -> None:
    """A listing behind is asked for five times at most."""
    network = Scripted(Answer(503))
    await failing(wire_on(network), background=True)
    assert len(network.asked) == 5


@pytest.mark.trio
async def test_a_conversation_has_one_patience(autojump_clock: trio.testing.MockClock) -> None:
    """Tries are counted over the whole conversation, not for each question anew."""
    bad = Answer(502)
    network = Scripted(bad, bad, bad, ok(b""), bad)
    wire = wire_on(network)
    await failing(wire, Request("/v1/one"), Request("/v1/two"))
    assert len(network.asked) == 8


@pytest.mark.parametrize("kind", [Unreachable, TooSlow])
@pytest.mark.trio
async def test_a_dead_host_is_left_after_two(
    autojump_clock: trio.testing.MockClock, kind: type[UpstreamError]
) -> None:
    """Two silences in a row and the host is down: everybody is refused at once for 15 s, then one probes."""
    network = Scripted(kind("nobody"), kind("nobody"), ok(b"{}"))
    wire = wire_on(network)
    for _ in range(3):
        assert type(await failing(wire)) is kind
    assert len(network.asked) == 2
    await trio.sleep(16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.converse, asking())
        await trio.testing.wait_all_tasks_blocked()
    assert len(network.asked) == 3


@pytest.mark.trio
async def test_broken_answers_are_no_outage(autojump_clock: trio.testing.MockClock) -> None:
    """Answers that are cut say nothing about whether the host is there."""
    network = Scripted(Misbehaved("reset"), Misbehaved("reset"), Misbehaved("reset"), ok(b"{}"))
    (reply,) = await wire_on(network).converse(asking())
    assert reply.status == 200


@pytest.mark.trio
async def test_silence_is_a_third_of_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """An API that does not answer is left after 10 s of 30, so that there is time for a second try."""
    network = Scripted(Answer(200, after=1000.0), ok(b"{}"))
    await wire_on(network).converse(asking())
    assert 10.0 <= network.moments[1] <= 10.3


@pytest.mark.trio
async def test_a_dripping_answer_ends(autojump_clock: trio.testing.MockClock) -> None:
    """A body that comes a byte at a time, for ever, ends with the patience and not with the listing."""
    drip: list[bytes | float] = []
    for _ in range(1000):
        drip += [b" ", 5.0]
    network = Scripted(Answer(200, {}, drip))
    failed = await failing(wire_on(network))
    assert failed.errno == errno.ETIMEDOUT
    assert trio.current_time() - network._began <= 30.0
    assert network.under_way == 0


# Quiet --------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_quiet_is_kept_by_everybody(autojump_clock: trio.testing.MockClock) -> None:
    """A 429 with Retry-After quiets like requests of every task, and no others."""
    network = Scripted(Answer(429, {"retry-after": "9"}), ok(b"{}"))
    wire = wire_on(network)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.converse, asking(Request("/v1/a", kind="list")))
        await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.start_soon(wire.converse, asking(Request("/v1/b", kind="list")))
        nursery.start_soon(wire.converse, asking(Request("/v1/c", kind="mint")))
    moments = {one.url.rpartition("/")[2]: one.moment for one in network.asked}
    assert moments["c"] < 1.0
    assert moments["a"] == pytest.approx(9.0, abs=0.3)
    assert moments["b"] == pytest.approx(9.0, abs=0.3)


@pytest.mark.trio
async def test_quiet_beyond_the_deadline_is_the_answer(autojump_clock: trio.testing.MockClock) -> None:
    """A wait that does not fit is EBUSY at once, told with how long, and nobody asks meanwhile."""
    network = Scripted(Answer(429, {"retry-after": "600"}), ok(b"{}"))
    wire = wire_on(network)
    for _ in range(3):
        failed = await failing(wire)
        assert isinstance(failed, Throttled)
        assert failed.errno == errno.EBUSY
        assert failed.retry_after == 600.0
    assert network.moments == [0.0]
    await trio.sleep(601)
    assert (await wire.converse(asking()))[0].status == 200


@pytest.mark.trio
async def test_the_budget_of_retries_is_the_hosts(autojump_clock: trio.testing.MockClock) -> None:
    """A sick service is not multiplied by all who wait: forty conversations share about thirty retries."""
    network = Scripted(Answer(503))
    wire = wire_on(network)

    async def ask() -> None:
        await failing(wire)

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(ask)
    assert len(network.asked) <= 40 + 40


# Bodies -------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_a_short_body_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    """A body shorter than its announced length is no answer."""
    network = Scripted(Answer(200, {"content-length": "10"}, (b"{",)), ok(b"{}"))
    (reply,) = await wire_on(network).converse(asking())
    assert reply.body == b"{}"


@pytest.mark.trio
async def test_an_endless_body_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """A body over 16 MiB is refused once for all, after no more than that."""
    piece = b" " * 2**20
    network = Scripted(Answer(200, {}, (piece,) * 40))
    assert type(await failing(wire_on(network))) is Rejected
    assert len(network.asked) == 1


@pytest.mark.parametrize(
    "moves",
    [(Misbehaved("cut"),), (Answer(200, {}, (b"{", Misbehaved("cut"))),), (Answer(200, {}, (b"{", 1000.0)),)],
)
@pytest.mark.trio
async def test_nothing_is_left_behind(
    autojump_clock: trio.testing.MockClock, moves: tuple[Move, ...]
) -> None:
    """However an answer breaks, its connection and its turn are given back."""
    network = Scripted(*moves)
    wire = wire_on(network)
    await failing(wire)
    assert (wire.gates.busy(), network.under_way) == (0, 0)


@pytest.mark.parametrize("after", [0.0, 0.5, 1.5])
@pytest.mark.trio
async def test_a_cancelled_conversation_leaves_nothing(
    autojump_clock: trio.testing.MockClock, after: float
) -> None:
    """A conversation cancelled before, between or in its answer gives all back."""
    network = Scripted(Answer(200, {}, (b"{", 5.0, b"}"), after=1.0))
    wire = wire_on(network)
    with trio.move_on_after(after):
        await wire.converse(asking())
    assert (wire.gates.busy(), network.under_way) == (0, 0)


@pytest.mark.parametrize("place", ["https://evil.example.net/", "https://[::::/"])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.trio
async def test_the_api_redirects_nobody(
    autojump_clock: trio.testing.MockClock, status: int, place: str
) -> None:
    """A redirect from the API is not followed: no request with the token goes elsewhere."""
    network = Scripted(Answer(status, {"location": place}))
    failed = await failing(wire_on(network))
    assert failed.errno == errno.EIO
    assert all(one.url.startswith(API) for one in network.asked)


@pytest.mark.trio
async def test_no_message_tells_a_secret(autojump_clock: trio.testing.MockClock) -> None:
    """Neither the token nor the address in a query shows in a failure or a repr."""
    request = Request("/v1/music", (("email", "ada@example.com"),), "list")
    for move in (Answer(596, {}, (b"ada@example.com",)), Answer(503), Misbehaved("cut")):
        wire = wire_on(Scripted(move))
        try:
            told = str((await wire.converse(asking(request)))[0])
        except UpstreamError as failed:
            told = str(failed)
        assert "ada" not in told
        assert "secret" not in told
    assert "ada" not in repr(request)
