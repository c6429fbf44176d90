"""Connections that are kept: which one carries a request, and which are let go of; over real sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import httpcore
import httpx
import pytest
import trio
import trio.testing

from musicfs.wire.kept import KEPT
from musicfs.wire.transport import Network, Pool
from tests.world import LOOSE_ENDS

pytestmark = LOOSE_ENDS

LIMIT = 20.0  # seconds until a test that hangs is a failed one


class Server:
    """Answers `ok`, and remembers by which of its connections it was asked."""

    def __init__(self) -> None:
        self.by: list[int] = []
        self.accepted = self.open = 0
        self.held: trio.Event | None = None
        """While there is one, no answer begins before it is set."""
        self._news = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one connection's requests; `/long` never to the end, and no more after `/leave`."""
        number, self.accepted = self.accepted, self.accepted + 1
        self.open += 1
        got = bytearray()
        async with stream:
            try:
                async for data in stream:
                    got += data
                    if not got.endswith(b"\r\n\r\n"):
                        continue
                    path, got = bytes(got.split(b" ")[1]), bytearray()
                    self._note(number)
                    if self.held is not None:
                        await self.held.wait()
                    length = b"1000000" if path == b"/long" else b"2"
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nok")
                    if path == b"/leave":
                        return
            except trio.BrokenResourceError:
                return
            finally:
                self.open -= 1
                self._note()

    def _note(self, *by: int) -> None:
        self.by.extend(by)
        self._news.set()
        self._news = trio.Event()

    async def until(self, asked: int = 0, still_open: int | None = None) -> None:
        """Wait until it was asked so often, and has no more connections open than that."""
        while len(self.by) < asked or (still_open is not None and self.open > still_open):
            await self._news.wait()


class Watched(httpcore.AsyncNetworkStream):
    """A connection of which it is counted how often it is asked whether its server is still there."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, looks: list[str]) -> None:
        self._stream, self._looks = stream, looks

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Nobody asks."""
        raise AssertionError

    def get_extra_info(self, info: str) -> object:
        """Count the question, and answer it."""
        if info == "is_readable":
            self._looks.append(info)
        return self._stream.get_extra_info(info)


class Counted(Network):
    """The network, with watched connections."""

    def __init__(self, inside: Iterable[str]) -> None:
        super().__init__(inside)
        self.looks: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect."""
        return Watched(await super().connect_tcp(host, port, timeout), self.looks)


class Client:
    """Asks the server through the transport."""

    def __init__(self, port: int) -> None:
        self.network = Counted({"127.0.0.1"})
        self.pool = Pool(self.network, ssl.create_default_context())
        self.port = port

    async def ask(self, path: str = "/") -> httpx.Response:
        """Send a request, and give its answer while it is open."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = httpx.Request("GET", url, extensions={"timeout": {"connect": LIMIT, "read": LIMIT}})
        return await self.pool.handle_async_request(request)

    async def get(self, path: str = "/") -> None:
        """Ask, and read the answer to its end."""
        answer = await self.ask(path)
        assert await answer.aread() == b"ok"
        await answer.aclose()


@asynccontextmanager
async def kept() -> AsyncIterator[tuple[Server, Client]]:
    """Serve, and end in time with nothing in use."""
    server = Server()
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), server.serve, 0)
            client = Client(listeners[0].socket.getsockname()[1])
            yield server, client
            assert client.pool.busy == 0
            await client.pool.aclose()
            await server.until(still_open=0)
            nursery.cancel_scope.cancel()


async def side_by_side(server: Server, client: Client, number: int) -> None:
    """Ask so often at once that each request needs a connection, and let all be answered."""
    server.held = trio.Event()
    before = len(server.by)
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(client.get)
        await server.until(before + number)
        assert client.pool.busy == number
        server.held.set()
    server.held = None


@pytest.mark.trio
async def test_one_connection_carries_requests_in_a_row() -> None:
    """Requests one after the other go by one connection, which nobody holds in between."""
    async with kept() as (server, client):
        for _ in range(5):
            await client.get()
            assert client.pool.busy == 0
        assert server.by == [0] * 5


@pytest.mark.trio
async def test_the_connection_used_last_is_used_next() -> None:
    """Of several idle connections the one that carried the last answer carries the next request."""
    async with kept() as (server, client):
        await side_by_side(server, client, 3)
        assert sorted(server.by) == [0, 1, 2]
        for last in (0, 1):
            answers = [await client.ask(), await client.ask()]
            taken = server.by[-2:]
            for place in (1 - last, last):
                await answers[place].aread()
                await answers[place].aclose()
            await client.get()
            assert server.by[-1] == taken[last] != taken[1 - last]
        assert server.accepted == 3


@pytest.mark.trio
async def test_only_the_connection_that_is_taken_is_looked_at() -> None:
    """However many connections are idle, a request goes out after one look; the others' turn comes later."""
    async with kept() as (server, client):
        await side_by_side(server, client, 8)
        client.network.looks.clear()
        answer = await client.ask()
        assert len(client.network.looks) == 1
        await answer.aread()
        await answer.aclose()
        assert server.accepted == 8


@pytest.mark.trio
async def test_a_connection_that_the_server_left_is_not_used() -> None:
    """Where the server ends an idle connection, the next request goes by another one."""
    async with kept() as (server, client):
        await client.get("/leave")
        await server.until(1, still_open=0)
        await client.get()
        assert server.by == [0, 1]


@pytest.mark.trio
async def test_what_the_server_left_is_closed_behind_the_next_answer() -> None:
    """Connections that nobody takes are looked through when an answer is over."""
    async with kept() as (server, client):
        await side_by_side(server, client, 2)
        leaving = await client.ask("/leave")
        await leaving.aread()  # Read to its end, and so idle, and at its other end closed.
        await leaving.aclose()
        await server.until(3, still_open=1)
        await client.get()
        client.network.looks.clear()
        await client.get()
        assert len(client.network.looks) == 1  # that it takes; no other is left to be looked at
        assert server.accepted == 2


@pytest.mark.trio
async def test_an_answer_left_in_its_middle_costs_its_connection() -> None:
    """What is still to come on a connection is nobody's, so it is closed."""
    async with kept() as (server, client):
        answer = await client.ask("/long")
        assert client.pool.busy == 1
        await answer.aclose()
        await answer.aclose()
        await server.until(1, still_open=0)
        await client.get()
        assert server.by == [0, 1]


@pytest.mark.trio
async def test_a_cancelled_request_leaves_nothing() -> None:
    """Who goes away while the answer is awaited has his connection closed, and no place is lost."""
    async with kept() as (server, client):
        server.held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get)
            await server.until(1)
            nursery.cancel_scope.cancel()
        assert client.pool.busy == 0
        server.held.set()
        await server.until(1, still_open=0)


@pytest.mark.trio
async def test_a_connection_that_was_never_made_is_forgotten() -> None:
    """A refused connection is an error, and is not kept."""
    async with kept() as (_, client):
        client.port = 1  # nobody's
        with pytest.raises(Exception, match="refused"):
            await client.get()
        assert client.pool.busy == 0


@pytest.mark.trio
async def test_only_so_many_are_kept() -> None:
    """Of more idle connections than are kept, those used least recently are closed."""
    async with kept() as (server, client):
        await side_by_side(server, client, KEPT + 3)
        await server.until(still_open=KEPT)
        assert server.open == KEPT
