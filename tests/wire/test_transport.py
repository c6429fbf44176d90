"""The doors, the address rules, and the real network against real loopback servers; every wait is bounded."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.demo import Cut, Framing, Response, Role, Service, Stall, wav_of
from musicfs.errors import Misbehaved, Rejected, TooSlow, Unreachable, UpstreamError
from musicfs.model import Locator, Request
from musicfs.wire import Doors, Wire
from musicfs.wire.doors import origin_of
from musicfs.wire.transport import Network, public
from tests.loopback import Loopback, serving
from tests.wire.test_talk import asking
from tests.world import API, LOOSE_ENDS, NOW, TOKEN, Bucket, Fixed, Scripted, ok

pytestmark = LOOSE_ENDS

LIMIT = 20.0  # seconds until a test that hangs is a failed one

# The doors ----------------------------------------------------------------------------------------------


def doors(network: httpx.AsyncBaseTransport) -> Doors:
    """Build the doors on a played network."""
    return Doors(API, TOKEN, network)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW"])
@pytest.mark.trio
async def test_nothing_but_get_leaves(method: str) -> None:
    """Both doors refuse every other method, whoever asks."""
    network = Scripted(ok(b"x"))
    made = doors(network)
    for client, url in ((made.api, f"{API}/v1/x"), (made.bytes, "https://edge.example.net/x")):
        with pytest.raises(Rejected):
            await client.request(method, url)
    assert network.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.net/v1/x",
        "http://api.example.org/v1/x",
        "https://api.example.org:8443/v1/x",
        "https://api.example.org.evil.net/v1/x",
        "https://api.example.org@evil.net/v1/x",
    ],
)
@pytest.mark.trio
async def test_the_token_goes_to_its_origin_only(url: str) -> None:
    """The API's door lets nothing out that is not to the API's own scheme, host and port."""
    network = Scripted(ok(b"x"))
    with pytest.raises(Rejected):
        await doors(network).api.get(url)
    assert network.asked == []


@pytest.mark.parametrize(
    "spelling", ["https://api.example.org", "https://api.example.org:443", "https://API.example.org"]
)
@pytest.mark.trio
async def test_one_origin_has_many_spellings(spelling: str) -> None:
    """The default port and the case of a host make no difference."""
    network = Scripted(ok(b"x"))
    await doors(network).api.get(f"{spelling}/v1/x")
    assert network.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.trio
async def test_credentials_do_not_leave_by_the_bytes_door() -> None:
    """A request with a token, a cookie or a password in its URL is refused before it is sent."""
    network = Scripted(ok(b"x"))
    made = doors(network)
    url = "https://edge.example.net/x"
    for headers in ({"Authorization": "Bearer x"}, {"authorization": "Basic eA=="}, {"Cookie": "a=b"}):
        with pytest.raises(Rejected):
            await made.bytes.get(url, headers=headers)
    with pytest.raises(Rejected):
        await made.bytes.get("https://name:word@edge.example.net/x")
    assert network.asked == []


@pytest.mark.trio
async def test_plain_http_reaches_loopback_only() -> None:
    """A byte server is asked by https, or at home."""
    network = Scripted(ok(b"x"))
    made = doors(network)
    with pytest.raises(Rejected):
        await made.bytes.get("http://edge.example.net/x")
    await made.bytes.get("http://127.0.0.1:9/x")
    assert [one.url for one in network.asked] == ["http://127.0.0.1:9/x"]


@pytest.mark.trio
async def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies and .netrc of the environment play no part unless the user says so."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    network = Scripted(ok(b"x"))
    await doors(network).bytes.get("https://edge.example.net/x")
    assert "authorization" not in network.asked[0].headers


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://host/x", "https://host:443"),
        ("http://host/x", "http://host:80"),
        ("https://HOST:8443/x?y", "https://host:8443"),
        ("http://[::1]:80/", "http://::1:80"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    """An origin is named with its port, the default one included."""
    assert origin_of(httpx.URL(url)) == origin


# Addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True),
        ("2600:1901::1", True),
        ("127.0.0.1", False),
        ("127.8.9.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::127.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::8.8.8.8", True),
        ("::10.0.0.1", False),
        ("2002:808:808::1", True),
        ("2002:7f00:1::", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_only_public_addresses_may_be_pointed_at(address: str, allowed: bool) -> None:
    """What an answer may point at is the public internet, in whatever notation an address hides."""
    assert public(address) is allowed


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_public_or_not(text: str) -> None:
    """A name is no address, whatever it holds."""
    assert public(text) in (True, False)


# The real network ---------------------------------------------------------------------------------------


class Site:
    """A service on loopback, and the wire to it through the real network."""

    def __init__(self, service: Service, loop: Loopback, ca_file: str | None, deadline: float) -> None:
        self.service, self.loop = service, loop
        self.doors = Doors.to_the_world(loop.api_url, loop.bucket_url, TOKEN, ca_file, proxy=None)
        self.wire = Wire(self.doors, deadline, lambda: NOW)
        self.clip = service.add_clip("ada@example.com", wav=wav_of(3.0))
        self.data = self.clip.assets["wav"].read(0, 10**9)
        self.link = Locator(f"{loop.bucket_url}/{self.clip.uuid}.wav")

    async def fetch(self, start: int, stop: int | None) -> bytes:
        """Pull a span of the clip's wav."""
        bucket = Bucket(start, stop)
        await self.wire.pull(Fixed(self.link), bucket)
        assert self.wire.gates.busy() == 0
        return bytes(bucket.got)

    async def fetch_quietly(self, start: int) -> bytes:
        """Pull 5000 bytes beside others."""
        bucket = Bucket(start, start + 5000)
        await self.wire.pull(Fixed(self.link), bucket)
        return bytes(bucket.got)

    async def fails(self) -> UpstreamError:
        """Pull what cannot be had."""
        with pytest.raises(UpstreamError) as caught:
            await self.fetch(0, 1000)
        return caught.value


@asynccontextmanager
async def site(
    tls: bool = False, ca_file: Path | None = None, trusted: bool = True, deadline: float = 15.0
) -> AsyncIterator[Site]:
    """Serve, and end in time. A request may be silent for a third of the deadline, and a machine too."""
    service = Service(token=TOKEN)
    with trio.fail_after(LIMIT):
        async with serving(service, tls=tls) as loop:
            bundle = None
            if tls and trusted:
                assert ca_file is not None
                bundle = str(loop.write_ca(ca_file))
            made = Site(service, loop, bundle, deadline)
            yield made
            await made.doors.aclose()


@pytest.mark.trio
async def test_bytes_come_over_real_sockets() -> None:
    """Ranges and wholes are exact, and connections are used again."""
    async with site() as made:
        assert await made.fetch(1000, 400_000) == made.data[1000:400_000]
        assert await made.fetch(0, None) == made.data
        assert await made.fetch(5, 6) == made.data[5:6]
        reply = (await made.wire.converse(asking(Request("/v1/flowmusic/accounts", kind="accounts"))))[0]
        assert reply.status == 200
        assert made.loop.accepted[Role.BUCKET] <= 3
        assert not any(one.authorised for one in made.service.log if one.role is not Role.API)


@pytest.mark.trio
async def test_a_finished_range_leaves_its_connection_in_use() -> None:
    """Twenty ranges, one after the other, each taken to its last byte, are one connection."""
    async with site() as made:
        for number in range(20):
            assert await made.fetch(number * 5000, number * 5000 + 5000)
        assert made.loop.accepted[Role.BUCKET] == 1


@pytest.mark.trio
async def test_bytes_come_over_tls(tmp_path: Path) -> None:
    """With the authority of `ca_file`, everything goes by https."""
    async with site(tls=True, ca_file=tmp_path / "ca.pem") as made:
        assert made.loop.bucket_url.startswith("https://")
        assert await made.fetch(0, None) == made.data
        assert await made.fetch(100_000, 400_000) == made.data[100_000:400_000]


@pytest.mark.trio
async def test_an_untrusted_certificate_is_no_route() -> None:
    """A server whose certificate is not trusted is EHOSTUNREACH, and the reason is said."""
    async with site(tls=True, trusted=False) as made:
        failed = await made.fails()
        assert failed.errno == errno.EHOSTUNREACH
        assert "certificate" in str(failed)


@pytest.mark.trio
async def test_a_refused_connection_is_no_route() -> None:
    """A port that nobody listens on is EHOSTUNREACH."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with site() as made:
            made.link = Locator(f"http://127.0.0.1:{port}/x")
            assert type(await made.fails()) is Unreachable


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "a" * 300 + ".invalid", "a" * 64])
@pytest.mark.trio
async def test_a_name_without_an_address_is_no_route(host: str) -> None:
    """A host that no resolver knows, or that cannot be a name at all, is EHOSTUNREACH."""
    async with site() as made:
        made.link = Locator(f"https://{host}/x")
        assert type(await made.fails()) is Unreachable


@pytest.mark.parametrize("host", ["10.255.255.1", "169.254.169.254", "[::1]", "192.168.0.1"])
@pytest.mark.trio
async def test_a_link_into_the_users_network_is_refused(host: str) -> None:
    """Where the API is out in the world, a link to a private address is never connected to."""
    network = Doors.to_the_world(
        "https://api.example.org", "https://media.example.org", TOKEN, None, proxy=None
    )
    wire = Wire(network, 3.0, lambda: NOW)
    with trio.fail_after(LIMIT), pytest.raises(Rejected):
        await wire.pull(Fixed(Locator(f"https://{host}/x")), Bucket(0, 10))
    await network.aclose()


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.trio
async def test_every_framing_is_exact(framing: Framing) -> None:
    """Content-Length, chunks and the end of the connection all bring the same bytes."""
    async with site() as made:
        made.service.twist(role=Role.BUCKET, framing=framing)
        assert await made.fetch(0, None) == made.data


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.trio
async def test_a_cut_connection_is_gone_on_with(clean: bool) -> None:
    """A reset, or a close in mid-body, is gone on with at its byte."""
    async with site() as made:
        made.service.twist(role=Role.BUCKET, times=2, cut=Cut(150_001, clean))
        assert await made.fetch(0, len(made.data)) == made.data
        asked = [one.range for one in made.service.log]
        assert asked[1] is not None
        assert asked[1].startswith("bytes=")
        assert asked[1] != asked[0]


class Names(trio.abc.HostnameResolver):
    """A resolver that knows one name's addresses, in this order."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: object, port: object, *rest: object) -> list[Any]:
        """Give them."""
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.addresses]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        """Nobody asks."""
        raise AssertionError


@contextmanager
def deaf(address: str, port: int) -> Iterator[None]:
    """Have an address take no connection and refuse none, as a route into nowhere does."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(4):  # Its queue is full, so the kernel drops what more knocks.
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex((address, port))
        yield


@pytest.mark.trio
async def test_an_address_that_leads_nowhere_is_passed_over(autojump_clock: trio.testing.MockClock) -> None:
    """Where the first of a name's addresses is deaf (IPv6 over a broken tunnel), the next one is tried in
    time, and the one that answered comes first from then on."""
    with socket.create_server(("127.0.0.1", 0)) as alive:
        port = alive.getsockname()[1]
        names, network = Names("127.0.0.2", "127.0.0.1"), Network({"song.example.net"})
        trio.socket.set_custom_hostname_resolver(names)
        with deaf("127.0.0.2", port):
            for seconds in (5.0, 0.0):
                began = trio.current_time()
                stream = await network.connect_tcp("song.example.net", port, timeout=10.0)
                assert trio.current_time() - began <= seconds
                await stream.aclose()
            names.addresses = ("127.0.0.2",)
            began = trio.current_time()
            with pytest.raises(TooSlow):
                await network.connect_tcp("song.example.net", port, timeout=10.0)
            assert trio.current_time() - began == pytest.approx(10.0)


@pytest.mark.trio
async def test_a_black_hole_is_too_slow() -> None:
    """A server that takes the request and says nothing is ETIMEDOUT, within the deadline."""
    async with site(deadline=1.5) as made:
        made.service.fail(lambda _: Response(200, before=(Stall(),)))
        with trio.fail_after(5):
            assert type(await made.fails()) is TooSlow


@pytest.mark.trio
async def test_a_stalled_body_is_left_for_another() -> None:
    """A body that goes silent is left, and the rest comes by a new request."""
    async with site(deadline=3.0) as made:
        made.service.twist(role=Role.BUCKET, times=1, stall_at=100_000)
        with trio.fail_after(10):
            assert await made.fetch(0, len(made.data)) == made.data


@pytest.mark.trio
async def test_no_http_is_misbehaviour() -> None:
    """A server that does not speak HTTP is EIO, not an exception of some library."""

    async def babble(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"220 mail.example.org ESMTP\r\n\r\n")
        await stream.aclose()

    with trio.fail_after(LIMIT):
        async with site(deadline=3.0) as made, trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, babble, 0)
            port = listeners[0].socket.getsockname()[1]
            made.link = Locator(f"http://127.0.0.1:{port}/x")
            assert type(await made.fails()) is Misbehaved
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_forty_pulls_share_six_connections() -> None:
    """However many pull at once, a host sees at most six connections, and all get their bytes."""
    async with site(deadline=10.0) as made:
        got: list[bytes] = []

        async def pull(start: int) -> None:
            got.append(await made.fetch_quietly(start))

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(pull, number * 5000)
        assert sorted(got) == sorted(made.data[at * 5000 : at * 5000 + 5000] for at in range(40))
        assert made.loop.accepted[Role.BUCKET] <= 40
        assert made.wire.gates.busy() == 0


@pytest.mark.trio
async def test_cancelling_leaves_the_pool_able() -> None:
    """Pulls cancelled at any moment leave no slot behind: twenty later ones still go through."""
    async with site(deadline=10.0) as made:
        made.service.twist(role=Role.BUCKET, times=10, first_byte=0.2)
        for number in range(10):
            with trio.move_on_after(0.01 * number):
                await made.fetch(0, 1000)
        for _ in range(20):
            assert await made.fetch(0, 1000) == made.data[:1000]
