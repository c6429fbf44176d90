"""The embedded service as the network: `musicfs demo` runs the whole house on it.

How it thinks: an httpx transport that asks the service's one handler and plays the body's steps. Nothing
else in the house knows that there is no network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import httpx
import trio

from musicfs.demo import Close, Pause, Reset, Service, Stall, Step
from musicfs.errors import Misbehaved, TooSlow, Unreachable
from musicfs.wire.doors import Doors


def doors_to(service: Service, token: str, aside: bool = False) -> Doors:
    """Build the doors to a service in this process; `aside`: in a thread, so that nobody waits for it.

    The demo composes its music when it is asked for, which takes up to two seconds of a core.
    """
    return Doors(service.origins.api, token, Embedded(service, aside))


class Embedded(httpx.AsyncBaseTransport):
    """The way to a service in this process."""

    def __init__(self, service: Service, aside: bool = False) -> None:
        self.service, self._aside = service, aside

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the service."""
        await trio.lowlevel.checkpoint()
        headers = [(name, value) for name, value in request.headers.items()]
        asked = self.service.request(request.method, str(request.url), headers)
        if asked is None:
            raise Unreachable("the demo has no such host")
        if self._aside:
            answer = await trio.to_thread.run_sync(self.service.answer, asked)
        else:
            answer = self.service.answer(asked)
        for event in answer.before:
            await _play(event)
        steps = _Steps(answer.steps, self._aside)
        return httpx.Response(answer.status, headers=list(answer.headers), stream=steps)


class _Steps(httpx.AsyncByteStream):
    def __init__(self, steps: Iterable[Step], aside: bool) -> None:
        self._steps, self._aside = iter(steps), aside

    async def _next(self) -> Step | None:
        if self._aside:
            return await trio.to_thread.run_sync(next, self._steps, None)
        await trio.lowlevel.checkpoint()
        return next(self._steps, None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (step := await self._next()) is not None:
            if isinstance(step, bytes):
                yield step
            elif isinstance(step, Close):
                return
            else:
                await _play(step)


async def _play(event: Step) -> None:
    match event:
        case Pause(seconds):
            await trio.sleep(seconds)
        case Stall():
            raise TooSlow("no data came in time")
        case Reset() | Close():
            raise Misbehaved("the server broke the connection")
