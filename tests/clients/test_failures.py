"""What a user sees of each program when a song cannot be had: the tables of docs/programs.md, and no hang.

How it thinks: a program that runs longer than `ENDS` seconds is a hang; the deadline is 3 s here. All
programs that are tried in this run go at the same song side by side, as they would at a bad hour.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from musicfs.demo import Cut, Fault, Request, Role, wav_of
from musicfs.demo.faults import black_hole, json_error, xml_error
from tests.clients.conftest import EVERYTHING, ORDINARY
from tests.clients.saying import PROGRAMS, table, tried, words
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, Twin, stage
from tests.clients.work import MIB, work
from tests.mounted.failing import STRANGER
from tests.mounted.mounting import done, run

DEADLINE = 3  # seconds a request may wait
ENDS = 50.0  # seconds until any program has ended, whatever happens: on a quiet machine 4 to 15
HERE = [name for name, (_, needs) in PROGRAMS.items() if EVERYTHING or needs in ORDINARY]
CERTAIN = [name for name in HERE if name in ("cat", "cp", "dd", "sha256sum", "tar", "rsync", "python")]
"""Programs that read all of a file and tell by their exit code if they could not."""


@contextmanager
def staged(sound: Sound, home: Path, **settings: Any) -> Iterator[Stage]:
    """Set a stage without a wire, whose log may say what it likes."""
    with stage(home, sound, rtt=0, deadline=DEADLINE, listing_ttl=3600, **settings) as scene:
        scene.mount.expect(".")
        yield scene


@pytest.fixture(scope="module")
def ill(sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set one stage for all that concerns a single song."""
    with staged(sound, tmp_path_factory.mktemp("ill")) as scene:
        yield scene


def fits(path: Path, name: str) -> None:
    """See every program say of a file what the page has it say."""
    rows, text = table("What it says"), words()[name]
    assert set(rows) == set(PROGRAMS)
    ran = tried(HERE, path, limit=ENDS)
    misfits = [rows[program].misfit(ran[program], path, text) for program in HERE]
    assert not any(misfits), "\n".join(filter(None, misfits))


ANSWERS = {"EACCES": json_error(401), "EBUSY": json_error(409), "EIO": json_error(500)}


@pytest.mark.parametrize("name", ANSWERS)
def test_refused(name: str, ill: Stage) -> None:
    """Programs say what docs/programs.md has them say of a song that the service refuses."""
    twin = ill.mp3()
    ill.mount.expect(twin.ident)
    ill.service.fail(ANSWERS[name], kind="mp3", path=twin.ident)
    fits(twin.there, name)


def test_no_such_song(ill: Stage) -> None:
    """Programs say "No such file or directory" of a song that is not there, and fail."""
    rows, text = table("What it says"), words()["ENOENT"]
    told = [name for name in HERE if "…" in rows[name].says and name not in ("rclone", "zip")]
    ran = tried(told, ill.mount.path / "flowmusic" / f"{STRANGER}.mp3", limit=ENDS)
    for name in told:
        assert text in ran[name].said + ran[name].complained, name
        assert ran[name].code in rows[name].codes, name


def test_silence(sound: Sound, tmp_path: Path) -> None:
    """Programs say "Connection timed out" of a service that says nothing, and all of them end."""
    with staged(sound, tmp_path) as scene:
        twin = scene.mp3()
        scene.service.fail(black_hole(), kind="mp3")
        fits(twin.there, "ETIMEDOUT")


def test_no_network(sound: Sound, tmp_path: Path) -> None:
    """Programs say "No route to host" where nobody can be reached."""
    with staged(sound, tmp_path) as scene:
        twin = scene.mp3()
        scene.mount.loop.stop()
        fits(twin.there, "EHOSTUNREACH")


def test_no_room(sound: Sound, tmp_path: Path) -> None:
    """Programs say "No space left on device" where a song that must be kept whole finds no room."""
    with staged(sound, tmp_path, keep_free="100000G") as scene:
        fits(scene.mp3().there, "ENOSPC")


WRITES = (
    ["touch", "new"],
    ["mkdir", "new"],
    ["rm", "./{name}"],
    ["mv", "./{name}", "new"],
    ["cp", "./{name}", "new"],
    ["ln", "./{name}", "new"],
    ["chmod", "600", "./{name}"],
    ["truncate", "--size=0", "./{name}"],
    ["sh", "-c", "echo > new"],
    ["sed", "-i", "s/a/b/", "./{name}"],
)


def test_changes(ill: Stage) -> None:
    """Every program that would change something says "Read-only file system" and fails."""
    twin = ill.mp3()
    for command in WRITES:
        ran = work(command, twin.there)
        assert words()["EROFS"] in ran.complained, (command, ran)
        assert ran.code != 0
    assert twin.there.read_bytes() == twin.here.read_bytes()


def test_other_bytes(ill: Stage) -> None:
    """A program in the middle of a song that the service has anew is told "Stale file handle"."""
    twin = ill.wav()
    ill.mount.expect(twin.ident, "the service has other bytes now")
    with subprocess.Popen(["cat", twin.there], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.read(1)
        job = ill.service.tempolor.job(twin.ident)
        assert job is not None
        job.assets["wav"], job.modified = wav_of(SECONDS, "anew"), time.time()
        _, said = program.communicate(timeout=ENDS)
    assert said.decode().endswith(f": {words()['ESTALE']}\n")
    assert program.returncode == 1


def break_at(scene: Stage, twin: Twin, offset: int) -> None:
    """Have no byte of a ranged song come that lies a request's length or more beyond an offset."""
    scene.service.twist(role=Role.CDN, path=twin.ident, cut=Cut(offset))

    def beyond(request: Request) -> bool:
        first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        return twin.ident in request.path and first.isdigit() and int(first) >= offset

    scene.service.faults.append(Fault(beyond, xml_error(500, "InternalError")))


def test_breaks_in_the_middle(ill: Stage) -> None:
    """Programs make of a song whose rest never comes what docs/programs.md says: an error, a part, or
    both."""
    twin = ill.wav()
    ill.mount.expect(twin.ident)
    break_at(ill, twin, MIB)
    rows = table("What it makes of a song that breaks in the middle")
    programs = [name for name in HERE if name in rows]
    assert set(rows) <= set(PROGRAMS)
    ran = tried(programs, twin.there, limit=ENDS)
    misfits = [rows[name].misfit(ran[name], twin.there, words()["EIO"]) for name in programs]
    assert not any(misfits), "\n".join(filter(None, misfits))


def test_cable_pulled(sound: Sound, tmp_path: Path) -> None:
    """With the cable pulled in the middle of its song every program ends, those that read all of it with an
    error; what is cached plays on and is listed."""
    with stage(tmp_path, sound, rate=1_000_000, deadline=DEADLINE, listing_ttl=3600) as scene:
        scene.mount.expect(".")
        cached = scene.stem()
        done(["cat", cached.there])
        programs = HERE if EVERYTHING else CERTAIN  # as many as go side by side
        twins = [scene.wav() for _ in programs]
        began = time.monotonic()
        with scene.pulled(after=1.0):
            ran = tried(programs, *(twin.there for twin in twins), limit=ENDS)
            assert work(["cat", "{name}"], cached.there) == work(["cat", "{name}"], cached.here)
            assert run(["ls", "-l", scene.mount.path / "tempolor"]).returncode == 0
        assert time.monotonic() - began < 3 * ENDS
        assert {name: ran[name].code for name in CERTAIN if not ran[name].code} == {}
