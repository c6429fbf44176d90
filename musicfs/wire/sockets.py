"""One connection to a host, plain or under TLS, as httpcore wants it.

How it thinks: what a read costs here is mostly the waking for it, so each brings as much as there is: up
to 256 or 384 KiB of a socket, and under TLS everything that can be decrypted of it (trio's own SSLStream
gives 16 KiB a read: 4 times the CPU, performance.md §3). A socket is read first and waited for only if it is
empty. Of a stream the kernel is asked (SO_RCVLOWAT) to wake us for a large piece, and we come by ourselves
soon after; how large and how soon is the tide's to say (`tide`).

What must always be true: bytes come out in the order in which they came in, all of them; a wait ends at
its timeout, and a row of waits for a few bytes each ends too; a cancelled read leaves a connection that is
closed next, as httpcore does; every failure is of the family. A peer that leaves TLS without a goodbye has
ended, as in all of HTTP: lengths tell the rest.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, cast

import httpcore
import trio

from musicfs.core.streams import Haste
from musicfs.errors import Misbehaved, TooSlow, Unreachable, UpstreamError
from musicfs.wire.pace import Pace
from musicfs.wire.tide import Tide

log = logging.getLogger("musicfs.wire")

_CLEAR = 262_144  # bytes that are decrypted at a time
_DRIP = 3  # silences, each as long as a read may wait, over which an answer's bytes have to be worth it


class Plain(httpcore.AsyncNetworkStream):
    """A TCP connection; takes over the socket of a trio stream."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._tide = Tide()
        self._pace: Pace | None = None
        """How fast the answer comes; None = it has not begun."""
        self._woken_for = 1
        """How many bytes the kernel wakes us for."""

    def coming(self, amount: int | None, first: bool = False, haste: Haste = Haste.NOW) -> None:
        """Be told how many bytes the answer's body has, if a file begins with it, and how soon it is needed.

        What came with its head counts as part of it.
        """
        self._tide = self._tide.coming(amount, first, haste)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive what is there, up to 384 KiB whatever `max_bytes` is (httpcore only copies it on).

        Raises:
            TooSlow: nothing came for `timeout` seconds, or next to nothing for long.
            Misbehaved: the connection broke.
        """
        try:
            data = None if self._tide.ebbs else self._received()
            if data is None:
                data = await self._awaited(timeout)
            else:
                await trio.lowlevel.checkpoint()
        except (OSError, trio.ClosedResourceError) as failed:
            raise Misbehaved(cause(failed)) from failed
        self._paced(len(data), timeout)
        self._tide.came(len(data))
        return data

    def _paced(self, amount: int, timeout: float | None) -> None:
        """Count bytes of an answer, from its first ones on. Raises TooSlow where they only drip.

        Nobody above would see it: a head, a chunk's length and a TLS record are of no use before they are
        whole, and each byte of them comes in time.
        """
        now = trio.current_time()
        if self._pace is None and timeout is not None:
            self._pace = Pace(now, _DRIP * timeout)
        if self._pace is not None and amount:
            self._pace.came(amount, now)

    def _received(self) -> bytes | None:
        """Receive what is there, b"" at the end; None if that is nothing yet."""
        try:
            return self._socket.recv(self._tide.most)
        except BlockingIOError:
            return None

    async def _awaited(self, timeout: float | None) -> bytes:
        """Wait for data; in a stream for a good deal of it, but not long."""
        if self._tide.flows:
            self._wake_for(self._tide.worth)
            with trio.move_on_after(self._tide.coax):
                await trio.lowlevel.wait_readable(self._socket)
            if (data := self._received()) is not None:
                return data
            # It is slow, or stalls: then each byte counts.
            timeout = None if timeout is None else max(0.0, timeout - self._tide.coax)
        self._wake_for(1)
        with within(timeout, "no data came in time"):
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                if (data := self._received()) is not None:
                    return data

    def _wake_for(self, amount: int) -> None:
        if self._woken_for != amount:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, amount)
            self._woken_for = amount

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it; what comes next is the beginning of an answer.

        Raises:
            TooSlow: it could not be sent within `timeout` seconds.
            Misbehaved: the connection broke.
        """
        try:
            self._tide, self._pace = Tide(), None
            self._wake_for(1)
            left = self._sent(memoryview(buffer))
            if left:
                await self._written(left, timeout)
        except OSError as failed:
            raise Misbehaved(cause(failed)) from failed
        await trio.lowlevel.checkpoint()

    def _sent(self, data: memoryview) -> memoryview:
        """Send what the kernel takes at once, which is all of a request as a rule; give the rest."""
        try:
            return data[self._socket.send(data) :] if data else data
        except BlockingIOError:
            return data

    async def _written(self, left: memoryview, timeout: float | None) -> None:
        """Wait until the rest is sent."""
        with within(timeout, "the request could not be sent in time"):
            while left:
                await trio.lowlevel.wait_writable(self._socket)
                left = self._sent(left)

    async def aclose(self) -> None:
        """Close it; that needs no waiting."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands on top of this connection.

        Raises:
            Unreachable: the peer cannot be trusted, or does not speak TLS, or not in time.
        """
        return await secured(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> object:
        """Answer httpcore's one question: has the server closed this idle connection?"""
        if info == "is_readable":
            if self._socket.fileno() < 0:
                return True
            self._wake_for(1)  # else a goodbye shorter than a stream's piece would not be seen
            idle = select.poll()
            idle.register(self._socket, select.POLLIN)
            return bool(idle.poll(0))
        return None


class Secured(httpcore.AsyncNetworkStream):
    """TLS on a connection, in memory: what comes is put in on one side and taken out on the other."""

    def __init__(self, lower: Plain | Secured, context: ssl.SSLContext, hostname: str | None) -> None:
        self._lower = lower
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=hostname)
        self._clear = memoryview(bytearray(_CLEAR))

    def coming(self, amount: int | None, first: bool = False, haste: Haste = Haste.NOW) -> None:
        """Be told how much comes: encrypted it is more, so the connection may count on it."""
        self._lower.coming(amount, first, haste)

    async def shake_hands(self) -> None:
        """Agree on keys and look at the certificate; the caller bounds it in time."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(None)
                self._feed(await self._lower.read(_CLEAR))
            else:
                return await self._flush(None)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive all that is there decrypted, up to 256 KiB; b"" at the end.

        Raises:
            TooSlow: nothing came for `timeout` seconds.
            Misbehaved: the connection broke, or somebody tampered with it.
        """
        while True:
            got = self._drained()
            if got is not None:
                await trio.lowlevel.checkpoint()
                return got
            await self._flush(timeout)
            self._feed(await self._lower.read(_CLEAR, timeout))

    def _drained(self) -> bytes | None:
        """Decrypt what is here; None if that is not one record, b"" at the end."""
        got = 0
        try:
            while got < len(self._clear):
                amount = _into(self._tls, self._clear[got:])
                if not amount:
                    break  # The peer said goodbye.
                got += amount
        except ssl.SSLWantReadError:
            if not got:
                return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as end:
            log.debug("TLS has ended: %s", end.reason)
        except ssl.SSLError as failed:
            raise Misbehaved(cause(failed)) from failed
        return bytes(self._clear[:got])

    def _feed(self, data: bytes) -> None:
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _flush(self, timeout: float | None) -> None:
        if self._out.pending:
            await self._lower.write(self._out.read(), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it, encrypted."""
        with within(timeout, "the request could not be sent in time"):
            self._tls.write(buffer)
            await self._flush(timeout)

    async def aclose(self) -> None:
        """Close it, without a goodbye: that would need waiting."""
        await self._lower.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Shake hands on top of this one: https through an https proxy."""
        return await secured(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> object:
        """Answer as the connection does."""
        return self._lower.get_extra_info(info)


def _into(tls: ssl.SSLObject, place: memoryview) -> int:
    """Decrypt one record into a place; the standard library's stub knows only of reads that give bytes."""
    read: Callable[[int, memoryview], int] = cast(Any, tls.read)
    return read(len(place), place)


async def secured(
    lower: Plain | Secured, context: ssl.SSLContext, hostname: str | None, timeout: float | None
) -> Secured:
    """Shake hands; a connection where that fails is closed.

    Raises:
        Unreachable: the peer cannot be trusted, or does not speak TLS, or leaves.
        TooSlow: not within `timeout` seconds.
    """
    made = Secured(lower, context, hostname)
    try:
        with within(timeout, "the TLS handshake took too long", Unreachable):
            await made.shake_hands()
    except Misbehaved as broken:
        await _abandon(made)
        raise Unreachable(str(broken)) from broken
    except BaseException:
        await _abandon(made)
        raise
    return made


async def _abandon(stream: Secured) -> None:
    with trio.CancelScope(shield=True):
        await stream.aclose()


@contextmanager
def within(seconds: float | None, words: str, broken: type[UpstreamError] = Misbehaved) -> Iterator[None]:
    """Bound a step of the network in time and translate the socket's and TLS's failures."""
    try:
        with trio.fail_after(inf if seconds is None else seconds):
            yield
    except trio.TooSlowError as late:
        raise TooSlow(words) from late
    except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError) as failed:
        raise broken(cause(failed)) from failed


def cause(failed: Exception) -> str:
    """Say in words that give nothing away what broke."""
    deepest: BaseException = failed
    while inner := deepest.exceptions[-1] if isinstance(deepest, ExceptionGroup) else deepest.__cause__:
        deepest = inner  # trio gives every attempt to connect in a group; the last speaks for all
    if isinstance(deepest, ssl.SSLCertVerificationError):
        return "the server's certificate is not trusted"
    if isinstance(deepest, ssl.SSLError):
        return "the TLS connection failed"
    if isinstance(deepest, socket.gaierror):
        return "the server's name cannot be resolved"
    if isinstance(deepest, ConnectionRefusedError):
        return "the connection was refused"
    return "the connection failed"
