"""The doors by which requests leave, and the only place where they can.

How it thinks: a door is an httpx transport with a rule. Whatever any line of this program asks for, the
door refuses every method but GET, the API's door refuses every origin but the API's own and adds the
token there, and the byte servers' door refuses a request that carries credentials. Plain http only reaches
loopback. What lies below (`transport.py`) is built when it is first needed: a mount answers without it.

What must always be true: no request leaves but through one of these two doors.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Mapping
from concurrent import futures
from http.cookiejar import CookieJar
from typing import Protocol

import httpx
import trio

from musicfs import operations
from musicfs.errors import Rejected

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MANNERS = ((b"User-Agent", b"musicfs"), (b"Accept-Encoding", b"identity"), (b"Accept", b"*/*"))
_NO_BODY = httpx.ByteStream(b"")


class Network(Protocol):
    """The way out."""

    @property
    def busy(self) -> int:
        """How many connections are in use."""
        ...

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request out and its answer's head in."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Later(httpx.AsyncBaseTransport):
    """A network that is built when it is first needed, once."""

    def __init__(self, build: Callable[[], Network]) -> None:
        self._build = build
        self._network: Network | None = None

    @property
    def busy(self) -> int:
        """How many connections are in use."""
        return self._network.busy if self._network is not None else 0

    def build(self) -> Network:
        """Build it, if that was not done."""
        if self._network is None:
            self._network = self._build()
        return self._network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request out and its answer's head in."""
        return await self.build().handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._network is not None:
            await self._network.aclose()


class Doors:
    """The two clients: the API's, with the token for its own origin, and the byte servers', with nothing."""

    def __init__(self, api_url: str, token: str, inner: httpx.AsyncBaseTransport) -> None:
        self.origin = origin_of(httpx.URL(api_url))
        self._api = _ApiDoor(self.origin, token, inner)
        self.api = _client(self._api)
        self.bytes = _client(_BytesDoor(inner))
        self._inner = inner

    @property
    def busy(self) -> int:
        """How many connections are in use; the service within this process has none."""
        return self._inner.busy if isinstance(self._inner, Later) else 0

    @classmethod
    def to_the_world(
        cls, api_url: str, media_url: str, token: str, ca_file: str | None, proxy: str | None
    ) -> Doors:
        """Build the doors to the real network, through an http(s) `proxy` if one is given.

        Raises:
            OSError, ssl.SSLError: `ca_file` cannot be used.
        """

        def build() -> Network:
            # httpcore and the system's certificates take 50 ms, and a cached song never needs them. OpenSSL
            # reads the certificates without the interpreter, which loads the code meanwhile: 30 ms.
            with futures.ThreadPoolExecutor(1) as aside:
                trusted = aside.submit(ssl.create_default_context, cafile=ca_file)
                from musicfs.wire.transport import real_network

                return real_network(api_url, media_url, trusted.result(), proxy)

        network = Later(build)
        if ca_file is not None:
            network.build()  # a file that the user named is tried before the mount says that it is ready
        return cls(api_url, token, network)

    async def load(self, wait: float) -> None:
        """Load, `wait` seconds from now, the code that the first request needs.

        An upgrade replaces the files of a running mount; what was not loaded by then would be of another
        version than the rest.
        """
        if isinstance(self._inner, Later):
            await trio.sleep(wait)
            await trio.to_thread.run_sync(importlib.import_module, "musicfs.wire.transport")

    def present(self, token: str) -> None:
        """Show another token from the next request on."""
        self._api.token = token

    async def aclose(self) -> None:
        """Close both."""
        await self.api.aclose()
        await self.bytes.aclose()


class _ApiDoor(httpx.AsyncBaseTransport):
    def __init__(self, origin: str, token: str, inner: httpx.AsyncBaseTransport) -> None:
        self._origin, self.token, self._inner = origin, token, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _only_get(request)
        if origin_of(request.url) != self._origin:
            raise Rejected("the token goes to the API's own origin only")
        request.headers["Authorization"] = f"Bearer {self.token}"
        return await _carried(self._inner, request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _BytesDoor(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _only_get(request)
        if "authorization" in request.headers or "cookie" in request.headers or request.url.userinfo:
            raise Rejected("credentials do not go to byte servers")
        if request.url.scheme != "https" and request.url.host not in LOOPBACK:
            raise Rejected("the link is not https")
        return await _carried(self._inner, request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _carried(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Let a request go out, with what it is asked for told to whoever wants to know."""
    kind, part = str(request.extensions.get("kind", "GET")), request.headers.get("range", "")
    with operations.Asking(kind, origin_of(request.url), part) as asking:
        answer = await inner.handle_async_request(request)
        asking.outcome = str(answer.status_code)
    return answer


class _NoCookies(CookieJar):
    """Keeps no cookie that a server sets: the next request would carry it and be refused at the door."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Look for none; to find that none is wanted is 20 µs of each answer, a third of httpx's client."""


def _only_get(request: httpx.Request) -> None:
    if request.method != "GET":
        raise Rejected("only GET leaves this house")


def _client(door: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=door,
        trust_env=False,
        follow_redirects=False,
        cookies=_NoCookies(),
        headers=_MANNERS,
    )


def request_for(url: httpx.URL, wanted: Mapping[str, str], extensions: dict[str, object]) -> httpx.Request:
    """Write what a client's `build_request` would; with nothing to merge that is 40 µs sooner."""
    headers = [(b"Host", url.netloc), *_MANNERS]
    headers += [(name.encode("ascii"), value.encode("ascii")) for name, value in wanted.items()]
    return httpx.Request("GET", url, headers=headers, stream=_NO_BODY, extensions=extensions)


def origin_of(url: httpx.URL) -> str:
    """Name a URL's origin, default ports included."""
    port = url.port or {"https": 443, "http": 80}.get(url.scheme, 0)
    return f"{url.scheme}://{url.host}:{port}"
