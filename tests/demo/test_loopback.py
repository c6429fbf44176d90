"""The loopback servers: each knob once on a real socket, outages on the same port, a bounded end."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import trio

from musicfs.demo import ContentRange, Cut, Framing, Mp3Noise, Ranges, Role, Service, content
from musicfs.demo.faults import black_hole, body, dropped, html, json_error, throttled
from tests.demo.asking import ADA, SOLO
from tests.loopback import Loopback, Via, running, serving

HANG = 10  # seconds after which a socket that should speak is a failed test
SILENCE = 0.2  # seconds of nothing that a stall has to keep; a slower machine only waits longer

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def service() -> Service:
    """A service with one clip and one job."""
    made = Service()
    made.add_clip(ADA, "Clip", 30.0)
    made.add_job(SOLO, "Job")
    return made


@pytest.fixture
def loop(service: Service) -> Iterator[Loopback]:
    """The service on three ports."""
    with running(service) as made:
        yield made


Answer = tuple[int, dict[str, str], bytes]
Context = ssl.SSLContext


def ask(
    url: str, service: Service | None = None, tls: ssl.SSLContext | None = None, **headers: str
) -> Answer:
    """GET a URL on a connection of its own; with a service, with its token."""
    split = urlsplit(url)
    assert split.hostname
    connection: http.client.HTTPConnection
    if tls is None:
        connection = http.client.HTTPConnection(split.hostname, split.port, timeout=HANG)
    else:
        connection = http.client.HTTPSConnection(split.hostname, split.port, timeout=HANG, context=tls)
    if service is not None:
        headers["Authorization"] = f"Bearer {service.token}"
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    target = f"{split.path}?{split.query}" if split.query else split.path
    try:
        connection.request("GET", target, headers=sent)
        response = connection.getresponse()
        return response.status, {key.lower(): text for key, text in response.getheaders()}, response.read()
    finally:
        connection.close()


def raw(url: str, **headers: str) -> socket.socket:
    """Send a GET on a bare socket and return the socket."""
    split = urlsplit(url)
    wire = socket.create_connection((split.hostname, split.port), timeout=HANG)
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    wire.sendall(f"GET {split.path} HTTP/1.1\r\nHost: {split.netloc}\r\n{lines}\r\n".encode())
    return wire


def drain(wire: socket.socket) -> bytes:
    """Read a bare socket to its end and close it."""
    with wire:
        return b"".join(iter(lambda: wire.recv(65_536), b""))


def m4a(loop: Loopback, service: Service, form: str = "m4a") -> str:
    """Return the clip's bucket URL."""
    return f"{loop.bucket_url}/{service.flow.clips[0].uuid}.{form}"


def mp3(loop: Loopback, service: Service) -> str:
    """Return the clip's download URL; the made-up address needs no encoding."""
    return f"{loop.api_url}/v1/flowmusic/music/download?id={service.flow.handle(service.flow.clips[0])}"


def test_whole_way(loop: Loopback, service: Service) -> None:
    """A list, a mint, the minted bytes and the bucket's bytes come over real sockets and are recorded."""
    status, _, page = ask(f"{loop.api_url}/v1/flowmusic/music", service)
    assert (status, json.loads(page)["email"]) == (200, ADA)
    handle = service.tempolor.handle(service.tempolor.jobs[0])
    _, _, minted = ask(f"{loop.api_url}/v1/tempolor/music/download/{handle}", service)
    url = json.loads(minted)["url"]
    assert url.startswith(loop.cdn_url)
    assert ask(url)[2] == content(service.tempolor.jobs[0].assets["mp3"])
    assert ask(m4a(loop, service))[2] == content(service.flow.clips[0].assets["m4a"])
    assert service.counts == {"list": 1, "mint": 1, "whole": 2}
    assert service.bytes_sent(Role.CDN) == service.tempolor.jobs[0].assets["mp3"].size


def test_keep_alive(loop: Loopback, service: Service) -> None:
    """One connection carries many requests, ranges among them."""
    wav, split = service.flow.clips[0].assets["wav"], urlsplit(m4a(loop, service, "wav"))
    connection = http.client.HTTPConnection(str(split.hostname), split.port, timeout=HANG)
    for start in (0, 1000, 5_000_000, 44):
        connection.request("GET", split.path, headers={"Range": f"bytes={start}-{start + 999}"})
        response = connection.getresponse()
        assert (response.status, response.read()) == (206, wav.read(start, start + 1000))
    connection.close()
    assert loop.accepted[Role.BUCKET] == 1


@pytest.mark.parametrize("framing", list(Framing))
def test_mp3_framings(loop: Loopback, service: Service, framing: Framing) -> None:
    """The mp3 comes whole with a length, in chunks, or up to the close."""
    service.twist(kind="mp3", framing=framing)
    _, headers, data = ask(mp3(loop, service), service)
    assert data == content(Mp3Noise(30.0, service.flow.clips[0].uuid))
    assert ("content-length" in headers) == (framing is Framing.LENGTH)
    assert ("transfer-encoding" in headers) == (framing is Framing.CHUNKED)


@pytest.mark.parametrize("framing", list(Framing))
def test_early_end(loop: Loopback, service: Service, framing: Framing) -> None:
    """A body that ends early behind clean framing looks perfectly well."""
    service.twist(kind="mp3", framing=framing, short=1000)
    size = service.flow.clips[0].assets["mp3"].size
    assert len(ask(mp3(loop, service), service)[2]) == size - 1000


def test_mp3_ranges(loop: Loopback, service: Service) -> None:
    """The mp3 ignores ranges unless the knob says otherwise."""
    assert ask(mp3(loop, service), service, Range="bytes=0-9")[0] == 200
    service.twist(kind="mp3", ranges=Ranges.HONOUR)
    status, _, data = ask(mp3(loop, service), service, Range="bytes=0-9")
    assert (status, len(data)) == (206, 10)


def test_reset(loop: Loopback, service: Service) -> None:
    """A reset in mid-body is a reset at the client."""
    service.twist(cut=Cut(1000))
    with pytest.raises(ConnectionResetError):
        drain(raw(m4a(loop, service)))


@pytest.mark.parametrize("framing", [Framing.LENGTH, Framing.CHUNKED])
def test_clean_cut(loop: Loopback, service: Service, framing: Framing) -> None:
    """A clean close in mid-body is an end that the framing gives away."""
    service.twist(cut=Cut(1000, clean=True), framing=framing)
    with pytest.raises(http.client.IncompleteRead) as failure:
        ask(m4a(loop, service))
    assert len(failure.value.partial) == 1000


def test_stall(loop: Loopback, service: Service) -> None:
    """A stall sends its bytes and then nothing, with the connection open."""
    service.twist(stall_at=500, framing=Framing.CLOSE)
    with raw(m4a(loop, service)) as wire:
        seen = b""
        while len(seen.partition(b"\r\n\r\n")[2]) < 500:
            seen += wire.recv(65_536)
        wire.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            wire.recv(1)
    assert seen.endswith(service.flow.clips[0].assets["m4a"].read(0, 500))


def test_black_hole(loop: Loopback, service: Service) -> None:
    """A black hole takes the request and never answers."""
    service.fail(black_hole())
    with raw(m4a(loop, service)) as wire:
        wire.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            wire.recv(1)
    assert service.counts == {"whole": 1}


@pytest.mark.parametrize("clean", [True, False])
def test_empty_reply(loop: Loopback, service: Service, clean: bool) -> None:
    """A connection can be dropped before the status line, by a close or a reset."""
    service.fail(dropped(clean=clean), times=1)
    if clean:
        assert drain(raw(m4a(loop, service))) == b""
    else:
        with pytest.raises(ConnectionResetError):
            drain(raw(m4a(loop, service)))
    assert ask(m4a(loop, service))[0] == 200


def test_drip_and_pauses(loop: Loopback, service: Service) -> None:
    """A dripping body and a late first byte arrive whole."""
    service.add_clip(ADA, m4a=bytes(1000))
    service.twist(drip=20_000.0, first_byte=0.01)
    assert ask(f"{loop.bucket_url}/{service.flow.clips[-1].uuid}.m4a")[2] == bytes(1000)


def test_long_body(loop: Loopback, service: Service) -> None:
    """Bytes too many arrive, and the connection says nothing of it."""
    service.twist(long=5)
    size = service.flow.clips[0].assets["m4a"].size
    assert len(ask(m4a(loop, service))[2]) == size + 5


def test_range_lies(loop: Loopback, service: Service) -> None:
    """Content-Range lies and ignored ranges reach the client as they are."""
    service.twist(times=1, content_range=ContentRange.STAR)
    assert ask(m4a(loop, service), Range="bytes=0-9")[1]["content-range"] == "bytes 0-9/*"
    service.twist(times=1, ranges=Ranges.IGNORE)
    assert ask(m4a(loop, service), Range="bytes=0-9")[0] == 200
    service.twist(times=1, ranges=Ranges.LAX)
    assert ask(m4a(loop, service), Range="bytes=0-99999999")[0] == 200
    assert ask(m4a(loop, service), Range="bytes=99999999-")[0] == 416


def test_gzip_on_the_wire(loop: Loopback, service: Service) -> None:
    """A transcoded object has its encoding named and no length."""
    service.twist(gzip=True)
    _, headers, data = ask(m4a(loop, service), accept_encoding="identity")
    assert (headers["content-encoding"], data[:2]) == ("gzip", b"\x1f\x8b")
    assert "content-length" not in headers


def test_redirect_to_the_other_host(loop: Loopback, service: Service) -> None:
    """A redirect to the other host ends at the same bytes on another port."""
    service.twist(times=1, redirect="other")
    status, headers, _ = ask(m4a(loop, service))
    assert (status, urlsplit(headers["location"]).port) == (302, urlsplit(loop.cdn_url).port)
    assert ask(headers["location"])[2] == content(service.flow.clips[0].assets["m4a"])


def test_statuses(loop: Loopback, service: Service) -> None:
    """Odd statuses and bodies come as they are: 596 with its phrase, 429, HTML with 200, nothing at all."""
    url = f"{loop.api_url}/v1/flowmusic/music"
    for answer in (json_error(596), throttled(3), html(200), body(b"")):
        service.fail(answer, times=1)
    assert drain(raw(url, Connection="close")).startswith(b"HTTP/1.1 596 Account In Error State\r\n")
    status, headers, _ = ask(url, service)
    assert (status, headers["retry-after"]) == (429, "3")
    assert ask(url, service)[2].startswith(b"<!DOCTYPE html>")
    assert ask(url, service)[::2] == (200, b"")


def test_outage(loop: Loopback, service: Service) -> None:
    """A stopped host refuses connections while the others answer; it comes back on its port."""
    loop.stop(Role.BUCKET)
    with pytest.raises(ConnectionRefusedError):
        ask(m4a(loop, service))
    assert ask(f"{loop.api_url}/v1/flowmusic/music", service)[0] == 200
    loop.start(Role.BUCKET)
    assert ask(m4a(loop, service))[0] == 200
    loop.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(f"{loop.api_url}/v1/flowmusic/music", service)
    loop.start()
    assert ask(f"{loop.api_url}/v1/flowmusic/music", service)[0] == 200


def test_stop_cuts_what_runs(loop: Loopback, service: Service) -> None:
    """Stopping ends a stalled connection too."""
    service.twist(stall_at=0)
    with raw(m4a(loop, service)) as wire:
        assert wire.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        loop.stop(Role.BUCKET)
        assert wire.recv(1) == b""


def test_ends_in_bounded_time(service: Service) -> None:
    """Leaving the block ends every thread and frees every port."""
    with running(service) as loop:
        names = {f"loopback-{role}" for role in Role}
        assert names <= {thread.name for thread in threading.enumerate()}
    assert not names & {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        ask(m4a(loop, service))


@pytest.mark.parametrize("via", ["raw", "hypercorn"])
@pytest.mark.parametrize("tls", [False, True])
def test_doors(service: Service, via: Via, tls: bool) -> None:
    """Both servers answer the API alike, in the clear and over TLS with their own authority."""
    with running(service, via, tls) as loop:
        context = ssl.create_default_context(cadata=loop.ca_pem.decode()) if tls else None
        assert loop.api_url.startswith("https:" if tls else "http:")
        status, headers, data = ask(f"{loop.api_url}/v1/flowmusic/music", service, context)
        assert (status, json.loads(data)["email"]) == (200, ADA)
        assert headers["content-length"] == str(len(data))
        service.flow.break_account(ADA)
        assert ask(f"{loop.api_url}/v1/flowmusic/music", service, context)[0] == 596
        assert ask(f"{loop.api_url}/v1/flowmusic/music", None, context)[0] == 401
        assert ask(m4a(loop, service), None, context)[0] == 200


def test_reset_over_tls(service: Service) -> None:
    """A reset works through TLS as well."""
    service.twist(role=Role.BUCKET, cut=Cut(1000))
    with running(service, tls=True) as loop:
        context = ssl.create_default_context(cadata=loop.ca_pem.decode())
        with pytest.raises((ConnectionResetError, ssl.SSLError, http.client.IncompleteRead)):
            ask(m4a(loop, service), None, context)


@pytest.mark.trio
async def test_serving_in_the_same_loop(service: Service) -> None:
    """The hosts also run as tasks of the calling trio loop."""
    async with serving(service) as loop:
        split = urlsplit(loop.bucket_url)
        assert split.hostname
        assert split.port
        with trio.fail_after(HANG):
            async with await trio.open_tcp_stream(split.hostname, split.port) as stream:
                await stream.send_all(b"GET /nothing HTTP/1.1\r\nConnection: close\r\n\r\n")
                heard = b"".join([chunk async for chunk in stream])
    assert heard.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert service.counts == {"whole": 1}


def test_a_deaf_host_swallows_who_connects() -> None:
    """A host that is deafened makes no connection and refuses none; once started it answers again."""
    with running(Service()) as loop:
        port = int(loop.api_url.rpartition(":")[2])
        loop.deafen(Role.API)
        with socket.socket() as caller:
            caller.settimeout(0.3)
            with pytest.raises(TimeoutError):
                caller.connect(("127.0.0.1", port))
        loop.start(Role.API)
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_a_false_certificate_is_shown_until_it_is_not() -> None:
    """A mistrusted host shakes hands with a certificate of nobody's; the right one comes back."""
    with running(Service(), tls=True) as loop:
        context = ssl.create_default_context(cadata=loop.ca_pem.decode())
        port = int(loop.api_url.rpartition(":")[2])

        def shake() -> None:
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                context.wrap_socket(plain, server_hostname="127.0.0.1").close()

        shake()
        loop.mistrust(Role.API)
        with pytest.raises(ssl.SSLCertVerificationError):
            shake()
        loop.trust(Role.API)
        shake()
