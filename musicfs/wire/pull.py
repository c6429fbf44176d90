"""Bytes from a byte server into a sink: one span, however many requests it takes.

How it thinks: the sink says which byte it wants next and where it ends; `pull` asks for the rest, checks
the answer's head, looks at the first bytes (an HTML page is not audio), and hands over what comes. When
the body breaks, it asks again from the byte where it broke. When a signed link is refused or dead, it is
minted once more and the read goes on at its byte; refused right after its mint, it is the service's word.
A redirect is followed a few times, never from https to http, and never with the token.

What must always be true: nothing reaches the sink before the head and the first bytes were checked; a
body that ends early is a failure, never an end; nobody above retries anything.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

import httpx
import trio

from musicfs.core.answers import failure
from musicfs.core.sniff import refuse
from musicfs.core.streams import Haste
from musicfs.errors import (
    BytesMissing,
    LinkDead,
    Misbehaved,
    Refused,
    Rejected,
    Throttled,
    TooSlow,
    Unreachable,
    UpstreamError,
)
from musicfs.model import Locator
from musicfs.wire import headers
from musicfs.wire.doors import Doors, origin_of, request_for
from musicfs.wire.gate import Gate, Gates, NoTurn, Patience
from musicfs.wire.headers import Head
from musicfs.wire.pace import Pace
from musicfs.wire.targets import redirected, url_of

log = logging.getLogger("musicfs.wire")

_HOPS = 4  # redirects followed for one request
_LAST = 0.25  # seconds for a body's end once its bytes are here; with a Content-Length it costs nothing
_USEFUL = 65_536  # bytes after which a broken request counts as progress: one block


class Source(Protocol):
    """Where the bytes of one object are, asked as often as needed."""

    form: str

    async def locate(self) -> Locator:
        """Give the link, minting one if none is alive."""
        ...

    def expire(self, locator: Locator) -> None:
        """Take note that this link is dead."""
        ...


class Sink(Protocol):
    """Who takes the bytes."""

    at: int
    """Offset of the next byte wanted; below zero it counts from the end, wherever that is."""
    stop: int | None
    """Offset after the last byte wanted; None = up to the end, wherever it is."""

    @property
    def foretold(self) -> bool:
        """Whether nobody has opened it yet."""
        ...

    def begin(self, head: Head) -> None:
        """Accept an answer's head (and set `at` to where its body starts), or raise to refuse it."""
        ...

    def take(self, data: bytes) -> bool:
        """Keep some bytes; False = enough."""
        ...

    def faltered(self, failure: UpstreamError) -> None:
        """Take note of a failure behind which it is asked for again, if patience lasts."""
        ...

    def end(self) -> None:
        """Accept that the body ended where the server said, or raise to have it asked for again."""
        ...

    @property
    def haste(self) -> Haste:
        """How soon what comes is needed."""
        ...


class _Beyond(Exception):
    """A strict byte server refused a range because it ends beyond the object, and told the length."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.total = total


@dataclass(slots=True)
class Timing:
    """How long a single request may be silent, in seconds."""

    connect: float
    first_byte: float
    stall: float


class Puller:
    """Pulls spans from byte servers (and the API's own mp3 bytes)."""

    def __init__(
        self, doors: Doors, gates: Gates, wall: Callable[[], float], note: Callable[[str, int], None]
    ) -> None:
        self._doors, self._gates, self._wall, self._note = doors, gates, wall, note

    async def pull(self, source: Source, sink: Sink, patience: Patience, timing: Timing) -> None:
        """Fill the sink.

        Raises:
            UpstreamError: the last failure, when patience has ended.
            MusicfsError: whatever the sink refuses with.
        """
        renewed = False
        gained = sink.at
        met: UpstreamError | None = None
        while sink.stop is None or sink.at < sink.stop:
            locator = await source.locate()
            try:
                shut = self._gate(locator).shut
                await self._request(locator, source.form, sink, patience, timing)
                return
            except _Beyond as told:
                sink.at, sink.stop = headers.start_of(sink.at, told.total), told.total
            except LinkDead as dead:
                source.expire(locator)
                if renewed and sink.at - gained < _USEFUL:
                    raise _final(dead) from dead
                renewed, gained = True, sink.at
            except Rejected:
                source.expire(locator)  # it may be the link that is wrong: the next who asks gets another
                raise
            except UpstreamError as failed:
                if met is not None and isinstance(failed, NoTurn):
                    raise met from failed
                met = failed
                sink.faltered(failed)
                if sink.at - gained >= _USEFUL:
                    patience.progressed(trio.current_time())
                    renewed, gained = False, sink.at
                if not await self._gate(locator).again(failed, patience):
                    if self._gate(locator).mute and not shut:
                        # Perhaps the link names a host that is gone, so the next who asks gets another; but
                        # only who found it silent himself, because a mint may cost.
                        source.expire(locator)
                    raise

    def _gate(self, locator: Locator) -> Gate:
        return self._gates.of(self._doors.origin if locator.authorised else origin_of(url_of(locator.url)))

    async def _request(
        self, locator: Locator, form: str, sink: Sink, patience: Patience, timing: Timing
    ) -> None:
        async with AsyncExitStack() as stack:
            answer = await self._ask(stack, locator, sink, patience, timing)
            head = _checked(answer, locator, sink)
            # The first byte may take long, the next must not: httpcore reads this when the body begins.
            answer.request.extensions["timeout"]["read"] = timing.stall
            # By its name, because `sockets` brings httpcore along, which a mount starts without.
            if coming := getattr(answer.extensions.get("network_stream"), "coming", None):
                coming(head.announced, head.start == 0, sink.haste)
            body = answer.aiter_raw()
            stack.push_async_callback(body.aclose)  # type: ignore[attr-defined]
            await self._deliver(body, head, form, sink, timing.stall)

    async def _deliver(
        self, body: AsyncIterator[bytes], head: Head, form: str, sink: Sink, window: float
    ) -> None:
        """Hand the body over; its first piece is looked at before the head counts."""
        got, first = 0, True
        pace = Pace(trio.current_time(), window)
        async for data in body:
            if not data:
                continue
            pace.came(len(data), trio.current_time())
            if first:
                if head.start == 0 and (why := refuse(data[:512], form)):
                    raise Rejected(f"the answer is not what was asked for: {why}")
                sink.begin(head)
                first = False
            self._note("bytes", len(data))
            got += len(data)
            if head.announced is not None and got > head.announced:
                raise Misbehaved("the body is longer than announced")
            if not sink.take(data):
                if got == head.announced:
                    await _run_out(body)
                return
        if first:
            raise Misbehaved("the body is empty")  # no song and no archive has no bytes
        if head.announced is not None and got < head.announced:
            raise Misbehaved("the body ended early")
        sink.end()

    async def _ask(
        self, stack: AsyncExitStack, locator: Locator, sink: Sink, patience: Patience, timing: Timing
    ) -> httpx.Response:
        """Send the request, follow redirects, give the answer's head."""
        client = self._doors.api if locator.authorised else self._doors.bytes
        url = httpx.URL(self._doors.origin + locator.url) if locator.authorised else url_of(locator.url)
        wanted = headers.range_header(sink.at, sink.stop)
        for _ in range(_HOPS):
            gate = self._gates.of(origin_of(url))
            kind = "mp3" if locator.authorised else "range" if wanted else "whole"
            gate.admit(kind, patience.until)
            await stack.enter_async_context(gate.turn(kind, patience.until, lambda: sink.foretold))
            self._note(kind, 1)
            request = request_for(url, wanted, _meant(kind, timing))
            answer = await _heard(client.send(request, stream=True), gate)
            stack.push_async_callback(_close, answer)
            if answer.status_code not in (200, 206):
                await _run_out(answer.aiter_raw())
            if answer.status_code == 429:
                wait = headers.retry_after(answer.headers, self._wall())
                gate.quiet(kind, wait or 0.0)
                raise Throttled("the byte server asks for fewer requests (429)", wait)
            if answer.status_code not in (301, 302, 303, 307, 308):
                return answer
            url, client = redirected(url, answer), self._doors.bytes
            # The connection goes back first: hops that held one and waited for more could wait for ever.
            await stack.aclose()
        raise Misbehaved("too many redirects")


async def _heard(sending: object, gate: Gate) -> httpx.Response:
    try:
        answer: httpx.Response = await sending  # type: ignore[misc]
    except (TooSlow, Unreachable) as failed:
        gate.silent(failed)
        raise
    except httpx.RemoteProtocolError as wrong:
        gate.heard()
        raise Misbehaved("a redirect leads nowhere") from wrong  # httpx looks at it unasked
    gate.heard()
    return answer


async def _run_out(body: AsyncIterator[bytes]) -> None:
    """Let a body that nobody needs more of come to its end: a connection left before it is used up."""
    got = 0
    try:
        with trio.move_on_after(_LAST):
            async for data in body:
                got += len(data)
                if got > _USEFUL:
                    return
    except UpstreamError as broken:
        log.debug("the rest of a body broke: %s", broken)


async def _close(answer: httpx.Response) -> None:
    """Close an answer even when we are being cancelled; closing a socket by force needs no waiting."""
    with trio.CancelScope(shield=True):
        await answer.aclose()


def _meant(kind: str, timing: Timing) -> dict[str, object]:
    limits = {"connect": timing.connect, "read": timing.first_byte, "write": timing.stall, "pool": None}
    return {"timeout": limits, "kind": kind}


def _checked(answer: httpx.Response, locator: Locator, sink: Sink) -> Head:
    """Check status, range and encoding of an answer.

    Raises:
        UpstreamError: the answer is not bytes of this object.
    """
    status = answer.status_code
    if status == 416:
        raise _unsatisfied(answer, sink)
    if status not in (200, 206):
        raise _refusal(status, locator)
    if answer.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise Misbehaved("the body is encoded in spite of identity")
    announced = headers.length(answer.headers)
    if status == 200:
        return Head(0, announced, False, headers.validator(answer.headers, announced), announced)
    found = headers.content_range(answer.headers.get("content-range"))
    if found is None or found.span is None or found.span.start != headers.start_of(sink.at, found.total):
        raise Misbehaved("Content-Range is not the range that was asked for")
    if sink.stop is not None and found.span.stop > sink.stop:
        raise Misbehaved("Content-Range is longer than the range that was asked for")
    if announced is not None and announced != found.span.length:
        raise Misbehaved("Content-Length and Content-Range disagree")
    mark = headers.validator(answer.headers, found.total)
    return Head(found.span.start, found.total, True, mark, found.span.length)


def _unsatisfied(answer: httpx.Response, sink: Sink) -> Exception:
    found = headers.content_range(answer.headers.get("content-range"))
    if found is not None and found.total and (sink.at < found.total < (sink.stop or 0) or sink.at < 0):
        # The first request is made without knowing the length; it is asked again for what there is.
        return _Beyond(found.total)
    if found is not None and found.total and sink.at >= found.total:
        # Only an object that was longer is asked for there: the sink refuses these other bytes.
        sink.begin(Head(sink.at, found.total, True, f"size {found.total}", 0))
    return Misbehaved("the byte server has no such range (416)")


def _refusal(status: int, locator: Locator) -> UpstreamError:
    if locator.authorised:
        # 400 "not a valid clip ID or jobid" means there is no such clip (upstream-api.md §2.3).
        return _missing(status) if status in (400, 404, 410) else failure(status)
    if status in (401, 403, 404, 410):
        if locator.minted:
            return LinkDead(f"the link does not work ({status})", missing=status in (404, 410))
        # A bucket that forbids listing answers 403 for what it does not have (upstream-api.md §4.3).
        return Refused("the byte server wants credentials (401)") if status == 401 else _missing(status)
    return failure(status)


def _missing(status: int) -> BytesMissing:
    return BytesMissing(f"the service has no such bytes ({status})")


def _final(dead: LinkDead) -> UpstreamError:
    if dead.missing:
        return BytesMissing("the bytes are not there, with a new link neither")
    return Refused("the link is refused right after it was made")
