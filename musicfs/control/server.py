"""The answering side of the control socket.

How it thinks: one task a client, in the nursery of `trio.serve_listeners`; what an answer is, the house
says.

What must always be true: a line is at most 64 KiB, 16 clients at a time, 10 s to ask, 10 s to be answered
and 10 s to take it; whatever a client does, this task outlives it. The socket is removed at the end.
"""

from __future__ import annotations

import functools
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from musicfs import operations
from musicfs.control.client import address
from musicfs.control.register import drop, make_private
from musicfs.errors import MusicfsError, NoSuchEntry, StoreError

log = logging.getLogger("musicfs.control")

LINE = 64 * 1024
"""Bytes; the longest path is 4 KiB, sixfold when every byte is escaped."""
CLIENTS = 16
PATIENCE = 10.0
"""Seconds for a request to arrive whole, for its answer, and for the client to take that."""

Answer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


def by_verb(verbs: Mapping[str, Verb]) -> Answer:
    """Make one answer of a table of verbs."""

    async def answer(verb: str, args: dict[str, Any]) -> dict[str, Any]:
        found = verbs.get(verb)
        if found is None:
            raise NoSuchEntry(f"the daemon knows no verb {verb!r}; it may be of another version")
        return await found(args)

    return answer


async def serve(
    path: Path, answer: Answer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer on a unix socket until cancelled; the profile's lock says that no other daemon does."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(_listen(path)))
    task_status.started()
    client = functools.partial(_serve_client, answer=answer, places=trio.CapacityLimiter(CLIENTS))
    try:
        await trio.serve_listeners(client, [listener])
    finally:
        drop(path)


def _listen(path: Path) -> socket.socket:
    """Bind the socket, in place of one left behind; nobody connects before its mode is right."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        make_private(path.parent)
        path.unlink(missing_ok=True)
        with address(path) as place:
            listener.bind(place)
        path.chmod(0o600)
        listener.listen(CLIENTS)
    except OSError as error:
        listener.close()
        raise StoreError(f"cannot make the control socket {path}: {error.strerror}") from error
    return listener


async def _serve_client(stream: trio.SocketStream, answer: Answer, places: trio.CapacityLimiter) -> None:
    """Serve one connection to its end; nothing that a client does comes out of here."""
    try:
        async with stream:
            try:
                places.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                await _send(stream, {"error": f"{CLIENTS} others are being answered; try again"})
                return
            try:
                await _converse(stream, answer)
            finally:
                places.release_on_behalf_of(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        log.debug("a client of the control socket went away")


async def _converse(stream: trio.SocketStream, answer: Answer) -> None:
    """Answer line after line until the client leaves, is silent for too long or sends too much."""
    buffer = bytearray()
    sent = True
    while sent:
        line = None
        with trio.move_on_after(PATIENCE):
            line = await _next_line(stream, buffer)
        if line is None:
            return
        reply: dict[str, Any] = {"error": f"the daemon had no answer within {PATIENCE:.0f} s"}
        with trio.move_on_after(PATIENCE):
            reply = await _reply_to(line, answer)
        sent = await _send(stream, reply)


async def _next_line(stream: trio.SocketStream, buffer: bytearray) -> bytes | None:
    """Take the next whole line off the stream; None at its end or when the line is too long."""
    while (end := buffer.find(b"\n")) < 0:
        chunk = await stream.receive_some(LINE)
        if not chunk or len(buffer) + len(chunk) > LINE:
            return None
        buffer += chunk
    line = bytes(buffer[:end])
    del buffer[: end + 1]
    return line


async def _reply_to(line: bytes, answer: Answer) -> dict[str, Any]:
    """Ask the house, and turn every way in which that can fail into a sentence."""
    try:
        request = json.loads(line)
        verb, args = request["verb"], request.get("args", {})
        if not isinstance(verb, str) or not isinstance(args, dict):
            raise TypeError("verb or args of another type")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {"error": "that is not a request"}
    try:
        with operations.Operation(f"control {verb[:20]}"):
            return {"reply": await answer(verb, args)}
    except MusicfsError as failure:
        return {"error": str(failure) or type(failure).__name__}
    except Exception:
        # The house's nursery must outlive a mistake in an answer; this is the socket's wall.
        log.exception("could not answer %r on the control socket", verb)
        return {"error": "the daemon failed to answer; its log says why"}


async def _send(stream: trio.SocketStream, reply: dict[str, Any]) -> bool:
    """Send one line; False if the client does not take it in time."""
    with trio.move_on_after(PATIENCE) as limit:
        await stream.send_all(json.dumps(reply).encode() + b"\n")
    return not limit.cancelled_caught
