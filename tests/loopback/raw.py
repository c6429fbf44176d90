"""HTTP/1.1 by hand: plays a response's steps on a socket exactly as they are scripted.

How it thinks: no honest library will send a lie, and half of what the client must survive are lies: bodies
that end early, resets, silence. So a request head is read with a split, and a response is written as its
value says.

What must always be true: a connection is kept for another request only when the last body was as announced;
the peer may leave at any time. It refuses requests that are not plain enough for a test's client.
"""

from __future__ import annotations

import socket
import struct
from email.utils import formatdate

import trio

from musicfs.demo import Close, Framing, Pause, Request, Reset, Response, Role, Service, Stall
from musicfs.demo.values import Event

Wire = trio.SocketStream | trio.SSLStream[trio.SocketStream]

_LONGEST_HEAD = 64 * 1024  # bytes of request head; more is nobody's honest request


async def converse(service: Service, role: Role, stream: Wire) -> None:
    """Answer requests on one connection until either side is done with it."""
    buffer = bytearray()
    while True:
        request = await _read_request(role, stream, buffer)
        if request is None:
            return
        response = service.answer(request)
        if not await _play(stream, request, response):
            return


async def _read_request(role: Role, stream: Wire, buffer: bytearray) -> Request | None:
    """Read one request head and pass over its body; None at the end of the connection."""
    while b"\r\n\r\n" not in buffer:
        chunk = await stream.receive_some()
        if not chunk or len(buffer) > _LONGEST_HEAD:
            return None
        buffer += chunk
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = [line.partition(":") for line in lines]
    request = Request.parse(method, target, role, [(name, value.strip()) for name, _, value in pairs])
    length = int(request.headers.get("content-length", "0"))
    while len(rest) < length:
        chunk = await stream.receive_some()
        if not chunk:
            return None
        rest += chunk
    buffer[:] = rest[length:]
    return request


async def _play(stream: Wire, request: Request, response: Response) -> bool:
    """Send a response; say whether the connection may carry another."""
    for event in response.before:
        if not await _happen(stream, event):
            return False
    closing = request.headers.get("connection", "").lower() == "close" or response.framing is Framing.CLOSE
    head = [f"HTTP/1.1 {response.status} {response.reason}", f"Date: {formatdate(usegmt=True)}"]
    head += [f"{name}: {value}" for name, value in response.headers]
    if response.framing is Framing.CHUNKED:
        head.append("Transfer-Encoding: chunked")
    head.append(f"Connection: {'close' if closing else 'keep-alive'}")
    await stream.send_all("\r\n".join([*head, "", ""]).encode("latin-1"))
    chunked = response.framing is Framing.CHUNKED and request.method != "HEAD"
    sent = 0
    for step in response.steps:
        if isinstance(step, bytes):
            if step:
                await stream.send_all(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
            sent += len(step)
        elif not await _happen(stream, step):
            return False
    if chunked:
        await stream.send_all(b"0\r\n\r\n")
    announced = response.header("content-length")
    kept = request.method == "HEAD" or announced is None or int(announced) == sent
    return kept and not closing


async def _happen(stream: Wire, event: Event) -> bool:
    """Let something happen on the wire; say whether the connection is still of use."""
    match event:
        case Pause(seconds):
            await trio.sleep(seconds)
            return True
        case Stall():
            while await stream.receive_some():
                pass  # Hear nothing, say nothing, until the peer gives up.
        case Reset():
            tcp = stream if isinstance(stream, trio.SocketStream) else stream.transport_stream
            # Lingering for zero seconds turns close() into a TCP reset.
            tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            tcp.socket.close()
        case Close():
            pass
    return False
