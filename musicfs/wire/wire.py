"""The wire: conversations with the API, bytes from the byte servers, and a tally of both.

How it thinks: a conversation is a provider's generator; every request it yields is carried out here with
retries inside the caller's patience, and the final answer, whatever its status, is sent back in. What a
final status means is the provider's to say; what is worth asking again is this room's.

What must always be true: an answer's body is at most 16 MiB (hostile JSON cannot fill the memory); no
request is cancelled by a caller who gave up, because requests run in the house's tasks (fuse-trio-
httpx.md §4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, urlencode

import httpx
import trio

from musicfs.core.answers import failure
from musicfs.errors import Misbehaved, Rejected, Throttled, TooSlow, Unreachable, UpstreamError
from musicfs.model import Conversation, Reply, Request
from musicfs.wire import headers
from musicfs.wire.doors import Doors
from musicfs.wire.gate import Gates, NoTurn, Patience
from musicfs.wire.pull import Puller, Sink, Source, Timing
from musicfs.wire.tally import Tally

T = TypeVar("T")

_BODY = 16 * 1024 * 1024  # bytes; a page of 100 clips with lyrics is below 1 MiB
_SAFE = "/:@+-._~!$&'()*,;="  # ids go raw into paths: TemPolor's must not be encoded (upstream-api.md §3.1)
_KEPT = ("retry-after", "date", "content-type")


class Wire:
    """All that goes over the network."""

    def __init__(self, doors: Doors, deadline: float, wall: Callable[[], float]) -> None:
        self.tally = Tally(wall)
        self.gates = Gates(trio.current_time)
        self._doors, self.deadline, self._wall = doors, deadline, wall
        self._puller = Puller(doors, self.gates, wall, self.tally.note)

    @property
    def origin(self) -> str:
        """Name the API's origin, `scheme://host:port`."""
        return self._doors.origin

    def present(self, token: str) -> None:
        """Show another token to the API from now on."""
        self._doors.present(token)

    def gauges(self) -> dict[str, int]:
        """Count what is zero when nothing is asked: requests under way, connections that carry one."""
        return {"requests": self.gates.busy(), "connections": self._doors.busy}

    def patience(self, background: bool = False, once: bool = False) -> Patience:
        """Give what one piece of work may spend.

        A kernel request's stops a tenth short of the deadline, so that the last failure answers and not the
        clock; background work has five attempts in two minutes (DESIGN §3), or one (`once`).
        """
        seconds, attempts = (120.0, 5) if background else (self.deadline * 0.9, 7)
        return Patience(seconds, trio.current_time() + seconds, 1 if once else attempts)

    def timing(self, slow: bool) -> Timing:
        """Say how long one request may be silent.

        A third of the deadline leaves room for a second try; what the service makes while we wait (an mp3, a
        stems ZIP) may take a minute for its first byte, whatever readers do meanwhile.
        """
        third = min(max(self.deadline / 3, 0.5), 10.0)
        return Timing(third, max(self.deadline, 60.0) if slow else third, third)

    async def pull(self, source: Source, sink: Sink, slow: bool = False) -> None:
        """Fill a sink from a source; see `musicfs.wire.pull`."""
        patience = self.patience(background=slow)
        # Until its first bytes have come, somebody waits in `open` for a pass too: what the service says to
        # the request has to be the answer, before the deadline.
        patience.until = min(patience.until, self.patience().until)
        await self._puller.pull(source, sink, patience, self.timing(slow))

    async def spare(self) -> None:
        """Wait until the service could make one mp3 more, which nobody has opened yet."""
        await self.gates.of(self._doors.origin).makers.spare()

    async def converse(self, talk: Conversation[T], background: bool = False, once: bool = False) -> T:
        """Drive a provider's conversation to its noun; `once`: without retries.

        Raises:
            UpstreamError: what the provider made of the final answer, or the last failure to get one.
        """
        patience = self.patience(background, once)
        try:
            request = next(talk)
            while True:
                request = talk.send(await self._settle(request, patience))
        except StopIteration as done:
            noun: T = done.value
            return noun
        finally:
            talk.close()

    async def _settle(self, request: Request, patience: Patience) -> Reply:
        """Ask until there is an answer that asking again would not change."""
        gate = self.gates.of(self._doors.origin)
        failed: UpstreamError | None = None
        while True:
            try:
                gate.admit(request.kind, patience.until)
                async with gate.turn(request.kind, patience.until):
                    reply = await self._once(request, patience.until)
                failed = failure(reply.status) if reply.status != 200 else None
                if failed is None or not failed.temporary:
                    return reply
                if isinstance(failed, Throttled):
                    failed = Throttled(str(failed), headers.retry_after(reply.headers, self._wall()))
                    gate.quiet(request.kind, failed.retry_after or 0.0)
            except UpstreamError as broken:
                if failed is not None and isinstance(broken, NoTurn):
                    raise failed from broken
                failed = broken
            if not await gate.again(failed, patience):
                raise failed

    async def _once(self, request: Request, until: float) -> Reply:
        gate = self.gates.of(self._doors.origin)
        self.tally.note(request.kind, 1)
        target = quote(request.path, safe=_SAFE) + ("?" + urlencode(request.query) if request.query else "")
        timing = self.timing(request.kind == "mint")
        timeouts = httpx.Timeout(
            connect=timing.connect,
            read=min(timing.first_byte, self.deadline * 0.9),
            write=timing.stall,
            pool=None,
        )
        try:
            asked = self._doors.api.build_request(
                "GET", self._doors.origin + target, timeout=timeouts, extensions={"kind": request.kind}
            )
            answer = await self._doors.api.send(asked, stream=True)
            try:
                gate.heard()
                with trio.move_on_at(until) as waiting:
                    body = await _whole_body(answer)
                if waiting.cancelled_caught:
                    raise TooSlow("the answer does not come to its end")
            finally:
                with trio.CancelScope(shield=True):
                    await answer.aclose()
        except (TooSlow, Unreachable) as silent:
            gate.silent(silent)
            raise
        except httpx.RemoteProtocolError as wrong:
            raise Misbehaved("a redirect leads nowhere") from wrong  # httpx looks at it unasked
        except httpx.InvalidURL as wrong:
            raise Rejected("the id does not fit into a URL") from wrong
        return Reply(
            answer.status_code, body, {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        )


async def _whole_body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for data in answer.aiter_raw():
        body += data
        if len(body) > _BODY:
            raise Rejected("the answer is too long to be a listing")
    announced = headers.length(answer.headers)
    if announced is not None and announced != len(body):
        raise Misbehaved("the answer ended early")
    return bytes(body)
