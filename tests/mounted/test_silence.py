"""What a program sees when nobody answers: ETIMEDOUT or EHOSTUNREACH, at once where a host is known to be
down, and never an empty folder before the first listing."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from musicfs.demo import Role, Service
from musicfs.demo.faults import (
    Answer,
    black_hole,
    body,
    garbage,
    html,
    json_error,
    throttled,
)
from tests.loopback import running
from tests.mounted.failing import Stage, catting, fill
from tests.mounted.mounting import Mount, attached, digest, mounted, run, sha256, until


class Silence:
    """What was seen of a service that falls silent in many ways, and afterwards."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.healed: dict[str, str] = {}
        self.log = ""


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Silence:
    """Fall silent in every way at once, look, come back, and look again: a host that is down is left
    alone for 15 s, so all ways share that wait."""
    found, service, strange = Silence(), fill(Service(clock=time.time), 12), fill(Service(clock=time.time), 2)
    home = tmp_path_factory.mktemp("silence")
    with (
        running(strange, tls=True) as stranger,
        mounted(service, home, deadline=3, listing_ttl=3600) as mount,
    ):
        stage = Stage(mount.list_all(), service)
        links: dict[str, Answer] = {
            "DNS": body(b'{"url":"https://nobody.musicfs.invalid/a.wav","remainSeconds":0}'),
            "TLS": body(f'{{"url":"{stranger.cdn_url}/a.wav","remainSeconds":0}}'.encode()),
        }
        paths: dict[str, tuple[Path, str]] = {}
        for name, answer in links.items():
            job = stage.job()
            paths[name] = stage.wav(job), digest(job.assets["wav"])
            service.fail(answer, kind="mint", path=job.item)
            found.seen[name] = catting(paths[name][0])
        stalled = stage.job()
        paths["stall"] = stage.wav(stalled), digest(stalled.assets["wav"])
        service.twist(role=Role.CDN, path=stalled.item, stall_at=100)
        found.seen["stall"] = catting(paths["stall"][0])
        clip = stage.clip()
        cover = mount.path / "library" / str(clip.title) / f"{clip.title}.wav"
        paths["refused"] = cover, digest(clip.assets["wav"])
        mount.loop.stop(Role.BUCKET)
        found.seen["refused"] = catting(cover)
        hole = stage.clip()
        service.fail(black_hole(), kind="mp3", times=1)
        found.seen["no mp3"] = catting(stage.mp3(hole))
        _silence_the_cdn(stage, found, paths)
        throttle = stage.job()
        paths["429, later"] = stage.wav(throttle), digest(throttle.assets["wav"])
        service.fail(throttled(5), kind="mint", path=throttle.item)
        found.seen["429, later"] = catting(paths["429, later"][0])
        service.clear()
        mount.loop.start(Role.BUCKET)
        for name, (path, wanted) in paths.items():
            until(partial(_reads, path), 40)
            found.healed[name] = "exact" if sha256(path) == wanted else "other bytes"
        assert mount.running
        mount.expect("tempolor|flowmusic")
    return found


def _reads(path: Path) -> bool:
    return catting(path) == ""


def _silence_the_cdn(stage: Stage, found: Silence, paths: dict[str, tuple[Path, str]]) -> None:
    """Let the CDN accept and say nothing, and see what a later file is told."""
    first, second = stage.job(), stage.job()
    paths["black hole"] = stage.wav(first), digest(first.assets["wav"])
    paths["host down"] = stage.wav(second), digest(second.assets["wav"])
    stage.service.fail(black_hole(), role=Role.CDN)
    found.seen["black hole"] = catting(paths["black hole"][0])
    asked = _asked(stage.service, second.item)
    began = time.monotonic()
    found.seen["host down"] = catting(paths["host down"][0])
    # Nothing was asked, and the deadline of 3 s was not waited for.
    prompt = _asked(stage.service, second.item) == asked and time.monotonic() - began < 2.5
    found.seen["at once"] = "yes" if prompt else "no"


def _asked(service: Service, item: str) -> int:
    """Count the requests for a job's bytes."""
    return sum(one.role is Role.CDN and item in one.path for one in list(service.log))


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("black hole", "ETIMEDOUT"),
        ("host down", "ETIMEDOUT"),
        ("no mp3", "ETIMEDOUT"),
        ("stall", "ETIMEDOUT"),
        ("refused", "EHOSTUNREACH"),
        ("DNS", "EHOSTUNREACH"),
        ("TLS", "EHOSTUNREACH"),
        ("429, later", "EBUSY"),
    ],
)
def test_silence(what: str, name: str, silence: Silence) -> None:
    """Timeouts and stalls are ETIMEDOUT; DNS, connection refused and TLS are EHOSTUNREACH; 429 with a
    Retry-After beyond the deadline is EBUSY; all heal by themselves when the service is back."""
    assert silence.seen[what] == name
    # A pass that was begun runs to its end behind, here a minute: that mp3 is not waited for.
    assert what == "no mp3" or silence.healed[what] == "exact"


def test_host_down_answers_at_once(silence: Silence) -> None:
    """After two timeouts in a row a host is down, and cold opens fail at once."""
    assert silence.seen["at once"] == "yes"


# The first listing, and the disk -------------------------------------------------------------------------

FIRST: dict[str, tuple[Answer, str]] = {
    "401": (json_error(401), "Permission denied"),
    "500": (html(500), "Input/output error"),
    "JSON": (garbage(), "Input/output error"),
}


@pytest.mark.parametrize("what", FIRST)
def test_first_listing_fails(what: str, service: Service, tmp_path: Path) -> None:
    """A first listing that fails gives the errno of its reason, never an empty folder; it heals by itself."""
    answer, words = FIRST[what]
    clip = service.add_clip("ada@example.com", "Only")
    service.fail(answer, role=Role.API)
    with mounted(service, tmp_path, deadline=5, listing_ttl=1) as mount:
        mount.expect("listing (flowmusic|tempolor)")
        for folder in ("flowmusic", "tempolor", "library"):
            said = run(["ls", mount.path / folder])
            assert said.returncode != 0
            assert said.stdout == ""
            assert words in said.stderr
        service.clear()
        service.tempolor.add_account("100")
        until(lambda: run(["ls", mount.path / "flowmusic"]).stdout == f"{clip.uuid}.mp3\n", 30)
        until(lambda: "\nOnly\n" in run(["ls", mount.path / "library"]).stdout, 30)


def test_first_listing_unreachable(service: Service, tmp_path: Path) -> None:
    """With the API refusing connections and nothing known, the mount starts and a folder is EHOSTUNREACH."""
    service.add_clip("ada@example.com", "Only")
    with running(service) as loop:
        loop.stop()
        with attached(Mount(loop, tmp_path, deadline=5)) as mount:
            mount.expect("listing (flowmusic|tempolor)")
            assert mount.listed() == {"flowmusic", "tempolor", "library"}
            assert "No route to host" in run(["ls", mount.path / "flowmusic"]).stderr


def test_first_listing_too_slow(service: Service, tmp_path: Path) -> None:
    """A first listing that takes longer than the deadline is ETIMEDOUT while it goes on behind, and
    then it is there whole."""
    names = sorted(f"{service.add_clip('ada@example.com', 'One').uuid}.mp3" for _ in range(3000))
    # Accounts, a first page and thirty more, six at a time: seven times one after the other, 5.6 s in all.
    # None is near the third of the deadline that it may take.
    service.twist(role=Role.API, first_byte=0.8)
    with mounted(service, tmp_path, deadline=4) as mount:
        assert "Connection timed out" in run(["ls", mount.path / "flowmusic"]).stderr
        until(lambda: run(["ls", mount.path / "flowmusic"]).stdout.split() == names, 20)
