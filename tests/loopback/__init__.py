"""Real servers on 127.0.0.1 around the embedded service: three hosts, three ports, broken wires included.

How it thinks: one `_Host` a role, each with its own port, trio loop and thread, so that a test may flip knobs
from its own thread, take one host down (`stop(Role.CDN)`: connection refused) and bring it back on the same
port. The raw host (`raw.py`) plays every step of a script; `via="hypercorn"` puts hypercorn and starlette
(`asgi.py`) before the API instead, for HTTP that is well behaved.

    with running(service) as loop:                   # in threads
    async with serving(service) as loop:             # as tasks of the calling trio loop
        loop.api_url, loop.cdn_url, loop.bucket_url  # bucket_url holds <uuid>.m4a, as MUSICFS_MEDIA_URL does
        loop.stop(); loop.start()                    # an outage of all hosts (threads only): refused
        loop.deafen(); loop.start()                  # a black hole: no connection is ever made
        loop.mistrust(); loop.trust()                # a certificate that nobody trusts, with tls=True
        loop.ca_pem                                  # with tls=True

What must always be true: leaving `running` ends every thread within ten seconds; ports stay ours during an
outage; the service's origins point here from the start.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import trio
import trustme

from musicfs.demo import Origins, Role, Service
from tests.loopback.asgi import serve_app
from tests.loopback.raw import Wire, converse

Via = Literal["raw", "hypercorn"]

_PATIENCE = 10.0  # seconds until a host that will not end is a failed test
_QUEUE = 4  # connections that fill a queue of length 0 for certain; the kernel takes one more than it says
_BUCKET_PATH = "/producer-app-public/clips"


class Loopback:
    """The three hosts of one service."""

    def __init__(
        self, service: Service, via: Via = "raw", tls: bool = False, host: str = "127.0.0.1"
    ) -> None:
        authority = trustme.CA() if tls else None
        self.ca_pem = authority.cert_pem.bytes() if authority else b""
        """The authority to trust, with TLS."""
        self.accepted: Counter[Role] = Counter()
        """Connections ever accepted, by role (raw hosts)."""
        context = _server_context(authority) if authority else None
        self._contexts = (context, _server_context(trustme.CA()) if authority else None)
        self._hosts = {
            role: _Host(service, role, context, self.accepted, via if role is Role.API else "raw")
            for role in Role
        }
        urls = (self._hosts[role].url.replace("127.0.0.1", host) for role in Role)
        self.api_url, self.cdn_url, bucket = urls
        self.bucket_url = bucket + _BUCKET_PATH
        service.origins = Origins(self.api_url, self.cdn_url, self.bucket_url)

    def write_ca(self, path: Path) -> Path:
        """Write the authority's certificate to a file and return its path."""
        path.write_bytes(self.ca_pem)
        return path

    def start(self, *roles: Role) -> None:
        """Start the named hosts, or all, in threads."""
        for role in roles or Role:
            self._hosts[role].start()

    def stop(self, *roles: Role) -> None:
        """Stop the named hosts, or all: open connections end, new ones are refused."""
        for role in roles or Role:
            self._hosts[role].stop()

    def deafen(self, *roles: Role) -> None:
        """Stop the named hosts, or all, and have their ports swallow who connects; `start` ends it."""
        self.stop(*roles)
        for role in roles or Role:
            self._hosts[role].deafen()

    def mistrust(self, *roles: Role) -> None:
        """Show a certificate of an unknown authority, on the named hosts or all; connections are cut."""
        self._show(1, roles)

    def trust(self, *roles: Role) -> None:
        """Show the right certificate again."""
        self._show(0, roles)

    def _show(self, which: int, roles: tuple[Role, ...]) -> None:
        self.stop(*roles)
        for role in roles or Role:
            self._hosts[role].tls = self._contexts[which]
        self.start(*roles)

    def close(self) -> None:
        """Stop all and give the ports back."""
        for host in self._hosts.values():
            host.close()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all hosts as tasks of the calling loop, until cancelled."""
        async with trio.open_nursery() as nursery:
            for host in self._hosts.values():
                await nursery.start(host.run)
            task_status.started()


@contextmanager
def running(
    service: Service, via: Via = "raw", tls: bool = False, host: str = "127.0.0.1"
) -> Iterator[Loopback]:
    """Serve from daemon threads for as long as the block lasts; `host` is what the URLs call this machine."""
    loop = Loopback(service, via, tls, host)
    try:
        loop.start()
        yield loop
    finally:
        loop.close()


@asynccontextmanager
async def serving(service: Service, via: Via = "raw", tls: bool = False) -> AsyncIterator[Loopback]:
    """Serve from tasks of the calling trio loop for as long as the block lasts."""
    loop = Loopback(service, via, tls)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(loop.serve)
            yield loop
            nursery.cancel_scope.cancel()
    finally:
        loop.close()


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def _reserve(port: int) -> socket.socket:
    """Bind without listening: the port is ours and refuses connections."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


class _Host:
    """One role on one port."""

    def __init__(
        self,
        service: Service,
        role: Role,
        tls: ssl.SSLContext | None,
        accepted: Counter[Role],
        via: Via,
    ) -> None:
        self._service, self._role, self._accepted, self._via = service, role, accepted, via
        self.tls = tls
        self._stuffing: list[socket.socket] = []
        self._socket = _reserve(0)
        self._port = int(self._socket.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread and wait until the port answers."""
        if self._thread is not None:
            return
        if self._stuffing:
            self._unstop()
        self._ready.clear()
        self._thread = threading.Thread(target=self._main, name=f"loopback-{self._role}", daemon=True)
        self._thread.start()
        if not self._ready.wait(_PATIENCE) or self._failure is not None:
            raise RuntimeError(f"the {self._role} host did not start") from self._failure

    def stop(self) -> None:
        """End the thread; the port refuses from here on."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._scope.cancel)
            except trio.RunFinishedError:
                pass
        thread.join(_PATIENCE)
        if thread.is_alive():
            raise RuntimeError(f"the {self._role} host did not stop")
        if self._failure is not None:
            raise RuntimeError(f"the {self._role} host failed") from self._failure

    def deafen(self) -> None:
        """Let the stopped port swallow whoever connects: its queue is full and nobody takes from it."""
        self._socket.listen(0)
        for _ in range(_QUEUE):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self._port))
            self._stuffing.append(one)

    def _unstop(self) -> None:
        for one in self._stuffing:
            one.close()
        self._stuffing.clear()
        self._socket.close()
        self._socket = _reserve(self._port)

    def close(self) -> None:
        """Stop and give the port back."""
        try:
            self.stop()
        finally:
            self._socket.close()
            for one in self._stuffing:
                one.close()

    def _main(self) -> None:
        try:
            trio.run(self._run_scoped)
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()

    async def _run_scoped(self) -> None:
        self._token, self._scope = trio.lowlevel.current_trio_token(), trio.CancelScope()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.run)
                self._ready.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then hold the port without listening."""
        try:
            if self._via == "hypercorn":
                await self._run_hypercorn(task_status)
            else:
                await self._run_raw(task_status)
        finally:
            self._socket.close()
            self._socket = _reserve(self._port)

    async def _run_raw(self, task_status: trio.TaskStatus[None]) -> None:
        self._socket.listen(128)
        async with trio.open_nursery() as nursery:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
            task_status.started()
            await trio.serve_listeners(self._accept, [listener], handler_nursery=nursery)

    async def _accept(self, tcp: trio.SocketStream) -> None:
        self._accepted[self._role] += 1
        stream: Wire = tcp
        if self.tls is not None:
            stream = trio.SSLStream(tcp, self.tls, server_side=True, https_compatible=True)
        try:
            await converse(self._service, self._role, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # The peer left or was reset; that is what such tests are about.
        finally:
            # A goodbye over TLS may wait for a peer that is gone, so it gets one second.
            with trio.move_on_after(1):
                await stream.aclose()
            await trio.aclose_forcefully(tcp)

    async def _run_hypercorn(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            descriptor = self._socket.detach()
            await nursery.start(partial(serve_app, self._service, self._role, descriptor, self.tls))
            task_status.started()
