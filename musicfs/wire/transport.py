"""The way out: httpcore's connections, on a network that looks at each address before it connects.

How it thinks: below the doors (`doors.py`) lie httpcore's connections, kept from one request to the next
(`kept.py`), on a network of our own, which resolves a name first and then looks at each address it would
connect to: private, loopback and link-local ones are refused unless the API itself lives there, so a URL in
an answer cannot point into the user's network.

What must always be true: httpcore's and the socket's failures leave here as `musicfs.errors`.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf

import httpcore
import httpx
import trio
from cachetools import LRUCache

from musicfs.errors import Misbehaved, Rejected, Unreachable
from musicfs.wire import received
from musicfs.wire.doors import LOOPBACK
from musicfs.wire.kept import Kept
from musicfs.wire.sockets import Plain, within

_DEAF = 2.5  # seconds until a host's next address is tried: a first knock that was lost is repeated after one
_HOSTS = 64  # hosts whose address is remembered
_KEEP_ALIVE = 75.0  # seconds; the 5 s default costs a handshake per seek (fuse-trio-httpx.md §4.2)


class Network(httpcore.AsyncNetworkBackend):
    """Connects to names whose addresses are allowed."""

    def __init__(self, inside: Iterable[str]) -> None:
        self._inside = frozenset(inside)
        self._answered: LRUCache[str, str] = LRUCache(_HOSTS)
        """Which address of a host took the last connection."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, look at the addresses, connect to the first that answers, that of last time before all.

        Raises:
            Unreachable: the name has no address, or none answers.
            Rejected: an address is in a range that answers must not point at.
            TooSlow: beyond `timeout` seconds.
        """
        with within(timeout, "no connection in time", Unreachable):
            addresses = await self._resolve(host, port)
            addresses.sort(key=lambda address: address != self._answered.get(host))
            failure = OSError("the name has no address")
            for left in range(len(addresses), 0, -1):
                address = addresses[-left]
                with trio.move_on_after(inf if left == 1 else min(_DEAF, (timeout or inf) / 2)):
                    try:
                        stream = await trio.open_tcp_stream(address, port)
                    except OSError as failed:
                        failure = failed
                    else:
                        self._answered[host] = address
                        return Plain(stream)
            raise failure

    async def connect_unix_socket(self, *args: object, **kwargs: object) -> httpcore.AsyncNetworkStream:
        """Refuse: no service lives there."""
        raise Rejected("unix sockets are not used")

    async def sleep(self, seconds: float) -> None:
        """Wait; httpcore's own retries are off, so nobody calls it."""
        await trio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except UnicodeError as nonsense:
            raise Unreachable("the link's host cannot be a name") from nonsense
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if host not in self._inside and not all(public(address) for address in addresses):
            raise Rejected("the link points at a private or local address")
        return addresses


def public(address: str) -> bool:
    """Tell whether an address may be connected to because of what an answer says."""
    try:
        where = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = where if isinstance(where, ipaddress.IPv4Address) else _carried(where)
    return inner.is_global and not inner.is_multicast


# Mapped (RFC 4291), NAT64 (RFC 6052, RFC 8215) and compatible addresses end in the IPv4 address they lead to.
_CARRIERS = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")))


def _carried(where: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Give the IPv4 address that an IPv6 one leads to, if it does."""
    if where.sixtofour is not None:
        return where.sixtofour
    if any(where in carrier for carrier in _CARRIERS):
        return ipaddress.IPv4Address(int(where) & 0xFFFFFFFF)
    return where


class Pool(httpx.AsyncBaseTransport):
    """httpcore's connections as an httpx transport, on a network of our choice."""

    def __init__(
        self, network: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext, proxy: str | None = None
    ) -> None:
        received.install()
        maker = httpcore.AsyncConnectionPool(
            proxy=httpcore.Proxy(proxy) if proxy else None,
            ssl_context=tls,
            keepalive_expiry=_KEEP_ALIVE,
            http1=True,
            http2=False,  # an abandoned stream eats the connection's window (fuse-trio-httpx.md §4.3)
            network_backend=network,
        )
        self._kept = Kept(maker)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request out and its answer's head in."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore.Request(
            request.method, url, headers=request.headers.raw, extensions=request.extensions
        )
        with _protocol():
            answer, connection = await self._kept.ask(asked)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, partial(self._kept.back, connection)),
            extensions=answer.extensions,
        )

    @property
    def busy(self) -> int:
        """How many connections carry a request or are being made."""
        return self._kept.busy

    async def aclose(self) -> None:
        """Close every connection."""
        await self._kept.aclose()


class _Body(httpx.AsyncByteStream):
    """An answer's body; `over` is called once, when nobody wants more of it."""

    def __init__(self, answer: httpcore.Response, over: Callable[[], Awaitable[None]]) -> None:
        self._answer, self._over, self._open = answer, over, True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _protocol():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            with trio.CancelScope(shield=True):
                try:
                    await self._answer.aclose()
                finally:
                    await self._over()


def real_network(api_url: str, media_url: str, tls: ssl.SSLContext, proxy: str | None = None) -> Pool:
    """Build the way to those in the world whom `tls` trusts, through an http(s) `proxy` if one is given.

    The hosts the user named in the settings may live at private addresses; nobody else's may. Where the API
    itself lives on loopback, so may the byte servers it names (a test service, a gateway). A proxy resolves
    names itself: then it is the proxy that decides which addresses can be reached.
    """
    inside = {httpx.URL(api_url).host, httpx.URL(media_url).host}
    if httpx.URL(api_url).host in LOOPBACK:
        inside |= LOOPBACK
    if proxy:
        inside.add(httpx.URL(proxy).host)
    return Pool(Network(inside), tls, proxy)


@contextmanager
def _protocol() -> Iterator[None]:
    """Translate what httpcore says about the HTTP conversation itself."""
    try:
        yield
    except (httpcore.ProtocolError, httpcore.NetworkError, httpcore.TimeoutException) as failed:
        raise Misbehaved("the server broke the connection or the HTTP protocol") from failed
