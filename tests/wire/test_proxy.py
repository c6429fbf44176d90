"""Through a proxy, only when the user says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from musicfs.demo import DEMO_TOKEN, Service
from musicfs.providers import find
from musicfs.wire import Doors, Wire
from tests.loopback import serving

pytestmark = pytest.mark.trio


class Proxy:
    """A small CONNECT proxy that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one tunnel."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive_some(4096)
        self.asked.append(head.split(b"\r\n")[0])
        host, port = head.split()[1].split(b":")
        server = await trio.open_tcp_stream(host.decode(), int(port))
        await client.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_relay, client, server)
            nursery.start_soon(_relay, server, client)


async def _relay(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(sink)


async def test_a_named_proxy_carries_every_request_in_a_tunnel(tmp_path: Path) -> None:
    """With a proxy, the API is reached by CONNECT, and TLS goes from end to end."""
    service, proxy = Service(clock=time.time), Proxy()
    service.add_clip("a@example.com", "Harbour Lights")
    async with serving(service, tls=True) as loop, trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.serve, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        ca_file = str(loop.write_ca(tmp_path / "ca.pem"))
        doors = Doors.to_the_world(loop.api_url, loop.bucket_url, DEMO_TOKEN, ca_file, url)
        wire = Wire(doors, 10.0, time.time)
        with trio.fail_after(20):
            accounts = await wire.converse(find(loop.bucket_url)["flowmusic"].accounts())
        await doors.aclose()
        nursery.cancel_scope.cancel()
    assert [account.ident for account in accounts] == ["a@example.com"]
    assert len(proxy.asked) == 1
    assert proxy.asked[0].startswith(b"CONNECT 127.0.0.1:")
