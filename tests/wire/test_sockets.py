"""Connections over broken and unbroken wires: real sockets, virtual time."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme

from musicfs.core.streams import Haste
from musicfs.errors import Misbehaved, TooSlow, Unreachable
from musicfs.wire.sockets import Plain, Secured
from tests.world import pattern

AUTHORITY = trustme.CA()
DATA = pattern(3_000_000)
QUIET = 5.0

Peer = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Ours = Plain | Secured


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give the client's and the server's side of TLS."""
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.configure_trust(client)
    AUTHORITY.issue_cert("edge.example.net").configure_cert(server)
    return client, server


def wire() -> tuple[Plain, trio.SocketStream]:
    """Give the two ends of a TCP connection on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    ends = [trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in (near, far)]
    return Plain(ends[0]), ends[1]


@asynccontextmanager
async def connected(tls: bool) -> AsyncIterator[tuple[Ours, Peer]]:
    """Give both ends of a connection, and close both whatever happens."""
    plain, far = wire()
    ours: Ours = plain
    peer: Peer = far
    if tls:
        client, server = contexts()
        peer = trio.SSLStream(far, server, server_side=True, https_compatible=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.do_handshake)
            made = await plain.start_tls(client, "edge.example.net", QUIET)
            assert isinstance(made, Secured)
            ours = made
    try:
        yield ours, peer
    finally:
        await ours.aclose()
        await trio.aclose_forcefully(far)


async def asked(ours: Ours, peer: Peer) -> None:
    """Send a request, so that what comes is the beginning of an answer."""
    await ours.write(b"GET", QUIET)
    assert await peer.receive_some(10) == b"GET"


async def rest(ours: Ours) -> bytes:
    """Read to the end."""
    got = bytearray()
    while piece := await ours.read(65_536, QUIET):
        got += piece
    return bytes(got)


both = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@both
@pytest.mark.parametrize("step", [100, 16_384, 65_537, 1_000_000])
@pytest.mark.trio
@pytest.mark.parametrize("haste", Haste)
async def test_all_bytes_in_their_order(
    autojump_clock: trio.testing.MockClock, tls: bool, step: int, haste: Haste
) -> None:
    """Whatever pieces they come in, fast or slow, the bytes are those that were sent, and then the end."""
    sent = DATA[: step * 400]
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        ours.coming(None, haste=haste)

        async def send() -> None:
            for at in range(0, len(sent), step):
                await peer.send_all(sent[at : at + step])
                if at % (7 * step) == 0:
                    await trio.sleep(0.02)
            await peer.aclose()

        nursery.start_soon(send)
        assert await rest(ours) == sent
        assert await ours.read(65_536, QUIET) == b""


@both
@pytest.mark.trio
async def test_a_read_brings_what_there_is(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """What lies ready comes at once and in large pieces, though httpcore asks for 64 KiB."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_all, DATA)
        got, reads = 0, 0
        while got < len(DATA):
            await trio.testing.wait_all_tasks_blocked()
            got, reads = got + len(await ours.read(65_536, QUIET)), reads + 1
        assert reads <= 1.5 * len(DATA) / 65_536


@pytest.mark.trio
async def test_tls_without_a_goodbye_has_ended(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that closes the connection under TLS: all that it sent, then the end, as HTTP peers do."""
    async with connected(True) as (ours, peer):
        await peer.send_all(b"x" * 5000)
        assert isinstance(peer, trio.SSLStream)
        await trio.aclose_forcefully(peer.transport_stream)
        assert await rest(ours) == b"x" * 5000


@pytest.mark.trio
async def test_half_a_goodbye(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that will say no more still hears us."""
    async with connected(False) as (ours, peer):
        await peer.send_all(b"that is all")
        assert isinstance(peer, trio.SocketStream)
        await peer.send_eof()
        assert await rest(ours) == b"that is all"
        await ours.write(b"still here", QUIET)
        assert await peer.receive_some(100) == b"still here"


@pytest.mark.trio
async def test_a_goodbye_within_tls(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that ends TLS and keeps the connection: all that it sent, then the end, and no wait for more."""
    async with connected(True) as (ours, peer), trio.open_nursery() as nursery:
        await peer.send_all(b"that is all")
        assert isinstance(peer, trio.SSLStream)
        nursery.start_soon(peer.unwrap)
        assert await rest(ours) == b"that is all"
        nursery.cancel_scope.cancel()


@both
@pytest.mark.trio
@pytest.mark.parametrize("haste", Haste)
async def test_silence_is_too_slow(autojump_clock: trio.testing.MockClock, tls: bool, haste: Haste) -> None:
    """A read ends at its timeout, at the beginning of an answer and in the middle of a stream."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        ours.coming(None, haste=haste)
        for sent in (0, 100, 500_000):
            nursery.start_soon(peer.send_all, DATA[:sent])
            got = 0
            while got < sent:
                got += len(await ours.read(65_536, QUIET))
            began = trio.current_time()
            with pytest.raises(TooSlow):
                await ours.read(65_536, QUIET)
            assert trio.current_time() - began == pytest.approx(QUIET)


@both
@pytest.mark.trio
async def test_a_reset_is_misbehaviour(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """A connection that is torn down is a failure, and no end; for writes too."""
    async with connected(tls) as (ours, peer):
        tcp = peer.transport_stream if isinstance(peer, trio.SSLStream) else peer
        tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp.socket.close()
        with pytest.raises(Misbehaved):
            await rest(ours)
        with pytest.raises(Misbehaved):
            await ours.write(b"hello", QUIET)


@pytest.mark.trio
async def test_a_tampered_record_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Bytes that somebody put into the middle of TLS never come out of it."""
    async with connected(True) as (ours, peer):
        await peer.send_all(b"good")
        assert isinstance(peer, trio.SSLStream)
        await peer.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + b"evil" * 8)
        with pytest.raises(Misbehaved):
            await rest(ours)


@both
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.trio
async def test_a_cancelled_read_leaves_nothing(
    autojump_clock: trio.testing.MockClock, tls: bool, streaming: bool
) -> None:
    """Cancelled at the beginning of an answer or in a stream and then closed, the peer sees the end."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        if streaming:
            nursery.start_soon(peer.send_all, DATA[:700_000])
        with trio.move_on_after(1) as scope:
            while True:
                await ours.read(65_536, None)
        assert scope.cancelled_caught
        await ours.aclose()
        await ours.aclose()
        assert await peer.receive_some(1) == b""
        with pytest.raises(Misbehaved):
            await ours.read(65_536, QUIET)


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.trio
async def test_a_read_is_woken_by_the_close(autojump_clock: trio.testing.MockClock, closing: bool) -> None:
    """Who waits while the connection is closed under him is told, and does not wait for ever."""
    async with connected(False) as (ours, _), trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(Misbehaved if closing else TooSlow):
                await ours.read(65_536, QUIET)

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        if closing:
            await ours.aclose()


@both
@pytest.mark.trio
async def test_an_idle_connection_tells_its_end(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """After a long stream, a goodbye of a few bytes is still seen, and a live peer is not taken for gone."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_all, DATA[:600_000])
        got = 0
        while got < 600_000:
            got += len(await ours.read(65_536, QUIET))
        assert not ours.get_extra_info("is_readable")
        await trio.aclose_forcefully(peer.transport_stream if isinstance(peer, trio.SSLStream) else peer)
        assert ours.get_extra_info("is_readable")
        assert ours.get_extra_info("ssl_object") is None


@both
@pytest.mark.trio
async def test_much_is_sent_whole(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """A write that fills every buffer waits for the peer and loses nothing; a deaf peer is too slow."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        heard = bytearray()

        async def hear() -> None:
            while len(heard) < len(DATA):
                heard.extend(await peer.receive_some(100_000))

        nursery.start_soon(hear)
        await ours.write(DATA, QUIET)
        while len(heard) < len(DATA):
            await trio.testing.wait_all_tasks_blocked()
        assert bytes(heard) == DATA
        with pytest.raises(TooSlow):
            await ours.write(DATA * 10, QUIET)


Deed = Callable[[trio.SocketStream], Awaitable[None]]


async def _silent(peer: trio.SocketStream) -> None:
    await trio.sleep(1000)


async def _babbling(peer: trio.SocketStream) -> None:
    await peer.send_all(b"220 mail.example.org ESMTP\r\n\r\n")


async def _leaving(peer: trio.SocketStream) -> None:
    await peer.receive_some(10)
    await peer.aclose()


async def _breaking(peer: trio.SocketStream) -> None:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


@pytest.mark.parametrize(
    ("deed", "named"),
    [(_silent, TooSlow), (_babbling, Unreachable), (_leaving, Unreachable), (_breaking, Unreachable)],
)
@pytest.mark.trio
async def test_a_handshake_that_fails_leaves_nothing(
    autojump_clock: trio.testing.MockClock, deed: Deed, named: type[Exception]
) -> None:
    """Whatever the peer does instead of shaking hands, the failure is named and the connection closed."""
    plain, peer = wire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deed, peer)
        with pytest.raises(named):
            await plain.start_tls(contexts()[0], "edge.example.net", QUIET)
        assert plain.get_extra_info("is_readable")
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(peer)


@pytest.mark.trio
async def test_a_handshake_with_another_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """A certificate for another name is refused, and the reason is said."""
    plain, far = wire()
    client, server = contexts()

    async def answer() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(far, server, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(Unreachable, match="certificate"):
            await plain.start_tls(client, "other.example.net", QUIET)
    await trio.aclose_forcefully(far)


@pytest.mark.trio
async def test_a_cancelled_handshake_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    """Who gives up while hands are shaken leaves no socket behind."""
    plain, peer = wire()
    with trio.move_on_after(1):
        await plain.start_tls(contexts()[0], "edge.example.net", 100.0)
    assert plain.get_extra_info("is_readable")
    while await peer.receive_some(65_536):
        pass
    await trio.aclose_forcefully(peer)


@pytest.mark.trio
async def test_tls_within_tls(autojump_clock: trio.testing.MockClock) -> None:
    """https through an https proxy: hands are shaken twice, and the bytes are the same."""
    client, server = contexts()
    async with connected(True) as (ours, peer), trio.open_nursery() as nursery:
        assert isinstance(peer, trio.SSLStream)
        inner = trio.SSLStream(peer, server, server_side=True, https_compatible=True)
        nursery.start_soon(inner.do_handshake)
        within = await ours.start_tls(client, "edge.example.net", QUIET)
        nursery.start_soon(inner.send_all, DATA[:500_000])
        got = bytearray()
        while len(got) < 500_000:
            got += await within.read(65_536, QUIET)
        assert bytes(got) == DATA[:500_000]
        await within.aclose()


@both
@pytest.mark.trio
@pytest.mark.parametrize("haste", Haste)
async def test_the_end_of_a_stream_is_not_waited_for(
    autojump_clock: trio.testing.MockClock, tls: bool, haste: Haste
) -> None:
    """Who was told how much comes is woken by its last byte; who was not, soon after."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        for told in (True, False):
            await ours.write(b"GET", QUIET)
            assert await peer.receive_some(10) == b"GET"

            async def answer() -> None:
                await peer.send_all(DATA[:600_000])
                await trio.sleep(1)
                await peer.send_all(DATA[600_000:600_777])

            nursery.start_soon(answer)
            got = len(await ours.read(65_536, QUIET))
            ours.coming(600_777 if told else None, haste=haste)
            while got < 600_000:
                got += len(await ours.read(65_536, QUIET))
            began = trio.current_time()
            assert await ours.read(65_536, QUIET) == DATA[600_000:600_777]
            assert trio.current_time() - began <= (1.04 if not told else 1.001)


@both
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.trio
async def test_the_beginning_of_a_file_is_not_held_back(
    autojump_clock: trio.testing.MockClock, tls: bool, first: bool
) -> None:
    """Of the first 512 KiB of a file each piece is handed on as it comes; elsewhere, behind 256 KiB, a small
    one waits 25 ms for more."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        await ours.write(b"GET", QUIET)
        assert await peer.receive_some(10) == b"GET"

        taken = trio.Event()

        async def answer() -> None:
            await peer.send_all(DATA[:300_000])
            await taken.wait()
            await trio.sleep(0.01)
            await peer.send_all(DATA[300_000:301_000])

        nursery.start_soon(answer)
        got = len(await ours.read(65_536, QUIET))
        ours.coming(600_000, first)
        while got < 300_000:
            got += len(await ours.read(65_536, QUIET))
        taken.set()
        began = trio.current_time()
        assert await ours.read(65_536, QUIET) == DATA[300_000:301_000]
        assert (trio.current_time() - began <= 0.0101) is first


@both
@pytest.mark.parametrize("haste", [Haste.NOW, Haste.AHEAD])
@pytest.mark.trio
async def test_an_answer_that_nobody_waits_for_is_a_stream_at_once(
    autojump_clock: trio.testing.MockClock, tls: bool, haste: Haste
) -> None:
    """Of an answer that was asked for ahead a small piece waits 25 ms for more from the first byte on; of one
    that somebody waits for it is handed on as it comes."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        await ours.write(b"GET", QUIET)
        assert await peer.receive_some(10) == b"GET"
        taken = trio.Event()

        async def answer() -> None:
            await peer.send_all(DATA[:1000])
            await taken.wait()
            await trio.sleep(0.01)
            await peer.send_all(DATA[1000:2000])

        nursery.start_soon(answer)
        assert await ours.read(65_536, QUIET) == DATA[:1000]
        ours.coming(600_000, haste=haste)
        taken.set()
        began = trio.current_time()
        assert await ours.read(65_536, QUIET) == DATA[1000:2000]
        assert (trio.current_time() - began <= 0.0101) is (haste is Haste.NOW)


@both
@pytest.mark.trio
async def test_streams_abreast_come_in_large_pieces(
    autojump_clock: trio.testing.MockClock, tls: bool
) -> None:
    """At 100 Mbit/s one of several streams is received 320 KiB and more at a time, and what
    trickles in while a piece is put away is no piece of its own; nothing waits longer than 35 ms."""
    pieces: dict[Haste, int] = {}
    for haste in (Haste.AHEAD, Haste.ABREAST):
        async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
            await asked(ours, peer)

            async def answer(peer: Peer = peer) -> None:
                for at in range(0, len(DATA), 16_384):
                    await peer.send_all(DATA[at : at + 16_384])
                    await trio.sleep(16_384 / 12.5e6)

            nursery.start_soon(answer)
            got = bytearray(await ours.read(65_536, QUIET))
            ours.coming(len(DATA), haste=haste)
            pieces[haste] = 0
            while len(got) < len(DATA):
                began = trio.current_time()
                got += await ours.read(65_536, QUIET)
                assert trio.current_time() - began <= 0.0351
                await trio.sleep(0.002)  # the piece is put away
                pieces[haste] += 1
            assert got == DATA
    assert pieces[Haste.ABREAST] <= (2 if tls else 1) * (len(DATA) // 327_680 + 2)
    assert pieces[Haste.ABREAST] <= 0.75 * pieces[Haste.AHEAD]


@both
@pytest.mark.trio
async def test_a_drip_is_a_stall(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """A peer that sends a byte now and then, of a head or of a TLS record, each in time and of no use before
    they are whole, is given up within seconds."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        await ours.write(b"GET / HTTP/1.1\r\n\r\n", QUIET)
        far = peer.transport_stream if isinstance(peer, trio.SSLStream) else peer
        record = b"\x17\x03\x03\x40\x00" + b"a" * 16_384  # a header of TLS, and what it announces

        async def drip() -> None:
            for at in range(len(record)):
                await far.send_all(record[at : at + 1])
                await trio.sleep(QUIET - 1)

        nursery.start_soon(drip)
        began = trio.current_time()
        with pytest.raises(TooSlow):
            await rest(ours)
        assert trio.current_time() - began <= 5 * QUIET
        nursery.cancel_scope.cancel()


@both
@pytest.mark.trio
async def test_what_takes_long_to_begin_is_no_drip(autojump_clock: trio.testing.MockClock, tls: bool) -> None:
    """What is asked for again after an hour, and begins late, has its own time to come."""
    async with connected(tls) as (ours, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            await ours.write(b"GET / HTTP/1.1\r\n\r\n", QUIET)
            await peer.receive_some(100)

            async def answer() -> None:
                await trio.sleep(QUIET - 1)
                await peer.send_all(b"a head")
                await trio.sleep(QUIET - 1)
                await peer.send_all(b"a body")

            nursery.start_soon(answer)
            assert await ours.read(65_536, QUIET) == b"a head"
            assert await ours.read(65_536, QUIET) == b"a body"
            await trio.sleep(3600)
