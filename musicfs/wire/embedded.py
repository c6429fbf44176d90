"""The embedded service as the network: `musicfs demo` runs the whole house on it.

How it thinks: an httpx transport that asks the service's one handler and plays the body's steps. Nothing
else in the house knows that there is no network.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import httpx
import trio

from musicfs.demo import Close, Pause, Reset, Response, Service, Stall, Step
from musicfs.errors import Misbehaved, TooSlow, Unreachable
from musicfs.wire.transport import Doors


def doors_to(service: Service, token: str) -> Doors:
    """Build the doors to a service in this process."""
    return Doors(service.origins.api, token, Embedded(service))


class Embedded(httpx.AsyncBaseTransport):
    """The way to a service in this process."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the service."""
        await trio.lowlevel.checkpoint()
        headers = [(name, value) for name, value in request.headers.items()]
        asked = self.service.request(request.method, str(request.url), headers)
        if asked is None:
            raise Unreachable("the demo has no such host")
        answer: Response = self.service.answer(asked)
        for event in answer.before:
            await _play(event)
        return httpx.Response(answer.status, headers=list(answer.headers), stream=_Steps(answer.steps))


class _Steps(httpx.AsyncByteStream):
    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = steps

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self._steps:
            if isinstance(step, bytes):
                await trio.lowlevel.checkpoint()
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
