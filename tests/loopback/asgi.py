"""Hypercorn and starlette before the service: HTTP that is well behaved.

How it thinks: one catch-all route turns an ASGI request into a request value and streams the steps back. A
break in the script cannot be played here; it becomes a failed response, which hypercorn ends in its own way.

What must always be true: the service sees the path and query as they were sent, not as starlette decodes
them.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import cast

import hypercorn.config
import hypercorn.trio
import trio
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import StreamingResponse
from starlette.routing import Route

from musicfs.demo import Pause, Request, Response, Role, Service, Stall
from musicfs.demo.values import Event

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


async def serve_app(
    service: Service,
    role: Role,
    descriptor: int,
    tls: ssl.SSLContext | None,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a role on a bound socket's descriptor, which becomes hypercorn's, until cancelled."""
    config = _Config(tls)
    config.bind = [f"fd://{descriptor}"]
    config.errorlog = None
    config.graceful_timeout = 1.0
    await hypercorn.trio.serve(_application(service, role), config, task_status=task_status)


class _Config(hypercorn.config.Config):
    """Hypercorn's settings, with a ready-made TLS context instead of certificate files."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._context = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._context is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._context


def _application(service: Service, role: Role) -> ASGIFramework:
    """Wrap the service for an ASGI server."""

    async def door(asked: StarletteRequest) -> StreamingResponse:
        raw, query = asked.scope["raw_path"], asked.scope["query_string"]
        target = (raw + b"?" + query if query else raw).decode("latin-1")
        response = service.answer(Request.parse(asked.method, target, role, asked.headers.items()))
        for event in response.before:
            await _behave(event)
        answer = StreamingResponse(_body(response), response.status)
        answer.raw_headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        return answer

    # The two libraries spell the same protocol in types that do not meet.
    return cast(ASGIFramework, Starlette(routes=[Route("/{rest:path}", door, methods=list(_METHODS))]))


async def _body(response: Response) -> AsyncIterator[bytes]:
    for step in response.steps:
        if isinstance(step, bytes):
            yield step
        else:
            await _behave(step)


async def _behave(event: Event) -> None:
    match event:
        case Pause(seconds):
            await trio.sleep(seconds)
        case Stall():
            await trio.sleep_forever()
        case _:
            raise ConnectionError("the script ends the connection here")
