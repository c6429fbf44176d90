"""The benchmark's own measures can be trusted: its wires, its books, its judgement, and one row of it.

No peer and no nginx is needed: the embedded service hands out its bytes itself. Times are only ever
compared with what physics says they cannot be below; a wire that is too fast is a wrong one, a busy machine
is not.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Service
from tests.bench import chart, report
from tests.bench.bench import Bench
from tests.bench.book import Missing, Page, Row, judge, plainly, versus
from tests.bench.link import Link, Traffic, link
from tests.bench.origin import Asked, Origin, parse
from tests.bench.person import Steward
from tests.bench.rows import ROWS, reading
from tests.loopback import Loopback, running

RTT = 0.1  # seconds; long beside what a machine needs by itself
BODY = os.urandom(200_000)
_PATIENCE = 20.0  # seconds until a wire that says nothing is a failed test


@pytest.fixture
def server() -> Iterator[int]:
    """Serve `BODY` for each byte sent, on every connection, and give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(client,), daemon=True).start()


def _answer(client: socket.socket) -> None:
    with client:
        try:
            while asked := client.recv(100):
                client.sendall(BODY * len(asked))
        except OSError:
            return  # The peer left early, as one test does.


def fetch(port: int, times: int = 1) -> list[float]:
    """Fetch the body again and again over one connection; give the seconds of each, check every byte."""
    took = []
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as client:
        for _ in range(times):
            client.sendall(b"!")
            body = bytearray()
            while len(body) < len(BODY):
                body += client.recv(1 << 16)
            took.append(time.monotonic() - began)
            began = time.monotonic()
            assert hashlib.sha256(body).digest() == hashlib.sha256(BODY).digest()
    return took


def carried(wire: Link, wanted: Traffic) -> bool:
    """Say whether a wire has carried so much; it counts a moment after it delivers."""
    end = time.monotonic() + _PATIENCE
    while (found := wire.traffic()) != wanted and time.monotonic() < end:
        time.sleep(0.01)
    return found == wanted


def test_a_round_trip_is_as_long_as_it_says(server: int, tmp_path: Path) -> None:
    """The first answer takes two round trips, connecting included; the next on that connection one."""
    with link(tmp_path, [server], RTT, rate=10**9) as wire:
        first, second = fetch(wire.ports[0], times=2)
        assert first >= 2 * RTT
        assert second >= RTT
        assert carried(wire, Traffic(1, 2, 2 * len(BODY)))


def test_a_connection_has_its_rate(server: int, tmp_path: Path) -> None:
    """Bytes take their time on the link, and arrive unchanged."""
    with link(tmp_path, [server], RTT, rate=1_000_000) as wire:
        (took,) = fetch(wire.ports[0])
    assert took >= 2 * RTT + len(BODY) / 1_000_000 - 0.001


@pytest.mark.parametrize("shared", [False, True])
def test_a_link_is_one_connections_or_everybodys(server: int, tmp_path: Path, shared: bool) -> None:
    """Two readers of a shared link wait for each other's bytes; each port and each connection is counted."""
    with link(tmp_path, [server, server], RTT, rate=1_000_000, shared=shared) as wire:
        began = time.monotonic()
        readers = [threading.Thread(target=fetch, args=(port,)) for port in wire.ports]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(_PATIENCE)
        took = time.monotonic() - began
        assert carried(wire, Traffic(2, 2, 2 * len(BODY)))
    assert took >= 2 * RTT + (2 if shared else 1) * len(BODY) / 1_000_000 - 0.001


def test_who_leaves_early_has_not_paid_for_the_rest(server: int, tmp_path: Path) -> None:
    """Bytes that nobody took are not counted as delivered, and the wire goes on working."""
    with link(tmp_path, [server], RTT / 10, rate=1_000_000) as wire:
        with socket.create_connection(("127.0.0.1", wire.ports[0]), _PATIENCE) as client:
            client.sendall(b"!" * 10)
            assert client.recv(1)
        assert wire.traffic().down < 10 * len(BODY) / 2
        fetch(wire.ports[0])


def test_a_line_of_the_servers_log() -> None:
    """A request is read back from nginx's line: port, status, bytes, range and path."""
    line = '8080 206 65536 "bytes=0-65535" GET /producer-app-public/clips/a b.wav'
    assert parse(line) == Asked(8080, 206, 65_536, "bytes=0-65535", "/producer-app-public/clips/a b.wav")
    assert parse('8081 200 12 "-" GET /v1/x') == Asked(8081, 200, 12, "-", "/v1/x")


def _page() -> Page:
    page = Page()
    for ours, theirs in ((1.0, 4.0), (9.0, 4.1), (2.0, 3.9)):
        page.note("musicfs", "seconds", ours)
        page.note("curl", "seconds", theirs)
    return page


def test_medians_make_the_ratio() -> None:
    """One bad round decides nothing: the ratio is that of the medians."""
    assert _page().ratio("seconds", "curl") == 0.5


def test_a_goal_is_judged_on_its_side() -> None:
    """At most and at least are told apart, and the limit itself is good enough."""
    page = _page()
    assert judge(versus("time (curl)", "seconds", "curl", 0.5), page).met
    assert not judge(versus("time (curl)", "seconds", "curl", 0.49), page).met
    assert judge(versus("speed (curl)", "seconds", "curl", 0.5, at_least=True), page).met
    assert not judge(plainly("time", "seconds", 1.9), page).met


def test_what_was_not_measured_is_not_met() -> None:
    """A goal without figures says what is missing."""
    verdict = judge(plainly("requests", "requests", 1), _page())
    assert not verdict.met
    assert verdict.value is None
    assert "requests of musicfs" in verdict.detail
    with pytest.raises(Missing):
        _page().median("rclone", "seconds")


def test_the_report_shows_goals_medians_and_failures() -> None:
    """Each goal has a line with its verdict, each row a table of medians, and a failure is named."""
    row = Row(
        "wav", "one cold wav", (versus("time (curl)", "seconds", "curl", 0.55),), lambda bench, page: None
    )
    page = _page()
    page.failures.append("rclone ended with 1")
    text = report.markdown([row], {"wav": page}, "3 rounds")
    assert "| one cold wav | time (curl) | ≤ 0.55 | 0.50 | 2.00 s / 4.00 s | yes |" in text
    assert "| musicfs (n=3) | 2.00 |" in text
    assert "rclone ended with 1" in text


def test_the_report_has_its_place_in_a_document() -> None:
    """What was there is replaced, what is around it stays, and a document without the place is refused."""
    first = report.into(f"Before.\n{report.BEGIN}\n{report.END}\nAfter.", "one")
    second = report.into(first, "two")
    assert "two" in second
    assert "one" not in second
    assert second.startswith("Before.")
    assert second.endswith("After.")
    with pytest.raises(ValueError, match="lacks"):
        report.into("no place", "one")


def test_the_chart_is_a_picture() -> None:
    """It is well-formed, has a bar for each who took part, and leaves out what was not measured."""
    assert len(_bars(chart.draw({"cold-apart": _page()}))) == 2
    assert not _bars(chart.draw({}))


def _bars(text: str) -> list[ElementTree.Element]:
    drawn = ElementTree.fromstring(text)
    return drawn.findall("{http://www.w3.org/2000/svg}rect")[1:]  # The first is the paper.


def test_rows_are_told_apart() -> None:
    """No two rows share a key, and each has a goal."""
    assert len({row.key for row in ROWS}) == len(ROWS)
    assert all(row.goals for row in ROWS)


# One row for real ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Embedded(Origin):
    """An origin without nginx: the service sends its bytes itself and is its own log."""

    def mark(self) -> int:
        """Give a place in the log, to count from."""
        return len(self.service.log)

    def asked(self, since: int = 0) -> list[Asked]:
        """Give the requests after a mark."""
        return [
            Asked(0, one.status, one.sent, one.range or "-", one.path) for one in self.service.log[since:]
        ]


@contextmanager
def embedded(folder: Path, service: Service) -> Iterator[Origin]:
    """Serve as `origin` does."""
    with running(service) as loop:
        yield Embedded(service, folder / "files", _ports(loop), (), folder, folder)


def _ports(loop: Loopback) -> tuple[int, ...]:
    urls = (loop.api_url, loop.cdn_url, loop.bucket_url)
    return tuple(int(url.split(":")[2].partition("/")[0]) for url in urls)


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="nothing can be mounted here")
def test_a_row_measures_a_real_mount(tmp_path: Path) -> None:
    """A TemPolor file's first bytes take a link and a range, two round trips at least, and no link before."""
    page = Page()
    with ExitStack() as stack:
        bench = Bench(tmp_path, 1, True, Steward(None), stack, serve=embedded)
        next(row for row in reading.ROWS if row.key == "mint").measure(bench, page)
    assert page.median("musicfs", "mints before the open") == 0
    assert page.median("musicfs", "requests") == 2
    assert min(page.figures["RTTs"]["musicfs"]) >= 2
    assert len(page.figures["RTTs"]["musicfs"]) == 8
