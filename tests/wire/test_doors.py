"""The network below the doors is built when it is first needed, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from musicfs.wire.doors import Doors, Later, request_for

TOKEN = "user:1-x"


class Network:
    """A network that answers."""

    busy = 3

    def __init__(self) -> None:
        self.asked = self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer 200."""
        self.asked += 1
        return httpx.Response(200)

    async def aclose(self) -> None:
        """Count it."""
        self.closed += 1


@pytest.mark.trio
async def test_a_network_is_built_by_the_first_request() -> None:
    """Doors cost nothing until a request goes through one; then there is one network for both."""
    built: list[Network] = []

    def build() -> Network:
        built.append(Network())
        return built[-1]

    later = Later(build)
    doors = Doors("https://api.example.org", TOKEN, later)
    assert (built, doors.busy) == ([], 0)
    await doors.api.get("https://api.example.org/v1/x")
    await doors.bytes.get("https://edge.example.net/y")
    assert ([one.asked for one in built], doors.busy) == ([2], 3)
    await doors.aclose()
    assert built[0].closed


@pytest.mark.trio
async def test_an_unused_network_is_closed_unbuilt() -> None:
    """A mount that asked nobody ends without having built anything."""
    doors = Doors.to_the_world("https://api.example.org", "https://m.example.net", TOKEN, None, None)
    assert doors.busy == 0
    await doors.aclose()


def test_a_named_file_of_certificates_is_tried_at_once(tmp_path: Path) -> None:
    """A `ca_file` that cannot be used is told before anything is mounted."""
    with pytest.raises(OSError, match="No such file"):
        Doors.to_the_world(
            "https://api.example.org", "https://m.example.net", TOKEN, str(tmp_path / "none.pem"), None
        )


LOADING = """
import sys, trio
from musicfs.wire.doors import Doors
doors = Doors.to_the_world("https://api.example.org", "https://m.example.net", "user:1-x", None, None)
name = "musicfs.wire.transport"
before = name in sys.modules
trio.run(doors.load, 0.0)
print(before, name in sys.modules, doors.busy)
"""


def test_what_requests_need_is_loaded_before_an_upgrade_could_replace_it() -> None:
    """A mount that nobody has looked at is soon of one version whole; nothing is asked for that."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False True 0\n", "")


@pytest.mark.trio
async def test_the_service_within_the_process_needs_no_more_code() -> None:
    """There is nothing to wait for where the demo is mounted."""
    doors = Doors("https://api.example.org", TOKEN, httpx.MockTransport(lambda request: httpx.Response(200)))
    with trio.fail_after(5):
        await doors.load(3600.0)
    await doors.aclose()


@pytest.mark.parametrize("wanted", [{}, {"Range": "bytes=0-262143"}])
@pytest.mark.trio
async def test_a_request_is_what_the_client_would_build(wanted: dict[str, str]) -> None:
    """A byte server is told host, manners and range, as by the client; HTTP/1.1 keeps connections unasked."""
    doors = Doors("https://api.example.org", TOKEN, Later(Network))
    url = httpx.URL("https://edge.example.net:8443/a%20b/y?auth_key=1-2-3")
    ours = request_for(url, wanted, {"kind": "range"})
    theirs = doors.bytes.build_request("GET", url, headers=wanted)
    assert dict(theirs.headers) == {**ours.headers, "connection": "keep-alive"}
    assert (ours.method, ours.url, ours.extensions) == ("GET", url, {"kind": "range"})
