"""Ardour and LMMS when the network goes in the middle of a song: they end, can be ended, and are right again
once it is back.

How it thinks: the silence begins when a byte is asked for that lies `_KNOWN` into a song, so what is heard
up to there is the song's; an answer that began before is cut when it is as long. Everybody falls silent then:
the API, the byte server and the bucket. A DAW that fell over by a mistake of its own is begun again, with
another song and a mount that knows of no silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import Cut, Fault, Request, Role
from musicfs.demo.faults import black_hole
from tests.clients import daw_lmms
from tests.clients.daw_ardour import EXPORTED, LIMIT, RATE, embedded
from tests.clients.daw_work import Working, breaks_off
from tests.clients.desktop_session import SLOW
from tests.clients.saying import words
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, Twin, stage
from tests.clients.work import MIB
from tests.mounted.mounting import run, until

pytestmark = [SLOW, pytest.mark.long]

_KNOWN = 3 * MIB  # bytes of a song of 10 MB before the silence, and of one answer; Ardour reads one at a time
_DEADLINE = 5  # seconds a request may wait
_ENDS = 60.0  # seconds until a DAW has ended, whatever happens: some deadlines, and work on a busy machine
_BACK = 130.0  # seconds a host is left alone at most, and some
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Daw:
    """A DAW that makes a wav of a song."""

    begin: Callable[[Path, Path], AbstractContextManager[Working]]
    """Begin with a song, in a folder that is made for it."""
    render: Callable[[Path, Path], bytes]
    """Give the samples of a song's wav, made in such a folder."""
    done: Callable[[Working], bool]
    """Say whether its work is done."""


@contextmanager
def _exporting(path: Path, folder: Path) -> Iterator[Working]:
    with embedded(folder / "one", path, SECONDS).exporting(folder / "out") as work:
        yield work


DAWS = {
    "Ardour": Daw(
        _exporting,
        lambda path, folder: embedded(folder / "one", path, SECONDS).export(folder / "out"),
        lambda work: EXPORTED in work.said,
    ),
    "LMMS": Daw(daw_lmms.rendering, daw_lmms.rendered, lambda work: not work.fell),
}


@pytest.fixture(
    params=[
        pytest.param("Ardour", marks=pytest.mark.needs("ardour7-lua")),
        pytest.param("LMMS", marks=pytest.mark.needs("lmms")),
    ]
)
def daw(request: pytest.FixtureRequest) -> Daw:
    """Give a DAW."""
    return DAWS[request.param]


@contextmanager
def staged(sound: Sound, home: Path, deadline: int = _DEADLINE) -> Iterator[Stage]:
    """Set a stage whose services are near, and whose log may say of them what it likes."""
    home.mkdir()
    with stage(home, sound, rtt=0, deadline=deadline, listing_ttl=3600) as scene:
        scene.mount.expect(" WARNING ")
        yield scene


class Silence:
    """What befalls everybody once so much of each of some songs was asked for; `reached` is set then."""

    def __init__(self, scene: Stage, *twins: Twin) -> None:
        self.reached = threading.Event()
        self._scene, self._left = scene, {twin.ident for twin in twins}
        scene.service.faults.append(Fault(self._beyond, black_hole()))
        for twin in twins:
            scene.service.twist(role=Role.CDN, path=twin.ident, cut=Cut(_KNOWN))

    def _beyond(self, request: Request) -> bool:
        if self.reached.is_set():
            return True
        first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        if not first.isdigit() or int(first) < _KNOWN:
            return False
        self._left = {ident for ident in self._left if ident not in request.path}
        if not self._left:
            self.reached.set()
        return True

    def ends(self) -> None:
        """Have everybody answer again, and wait until the mount has noticed."""
        probe = self._scene.wav().there
        self._scene.service.clear()
        self._scene.mount.loop.start()
        until(lambda: run(["head", "-c", "1", probe]).returncode == 0, _BACK)


@pytest.mark.parametrize("then", ["silence", "refusal"])
def test_the_network_goes(daw: Daw, then: str, sound: Sound, tmp_path: Path) -> None:
    """A DAW whose song stops coming ends in time, says nothing of it, and leaves the song's beginning and
    then silence, whether the services stay silent or refuse connections after that; with the network back it
    makes what it makes of a local copy."""
    with staged(sound, tmp_path / "stage") as scene:
        for number in range(_TRIES):
            twin, folder = scene.wav(), tmp_path / str(number)
            silence = Silence(scene, twin)
            with daw.begin(twin.there, folder) as work:
                assert silence.reached.wait(LIMIT), work.said
                if then == "refusal":
                    scene.mount.loop.stop()
                work.end(_ENDS)
            if daw.done(work):
                break
            assert work.fell, work.said
            silence.ends()
            scene.mount.restart()
        assert not any(said in work.said for said in words().values()), work.said
        whole = daw.render(twin.here, tmp_path / "here")
        assert MIB < breaks_off(work.samples, whole) < 2 * _KNOWN + MIB
        silence.ends()
        assert daw.render(twin.there, tmp_path / "again") == whole


def test_ended_in_the_silence(daw: Daw, sound: Sound, tmp_path: Path) -> None:
    """A DAW that waits for a song is ended by SIGTERM at once, and the mount ends in good order while another
    one waits."""
    with staged(sound, tmp_path / "stage", deadline=30) as scene:
        one, other = scene.wav(), scene.wav()
        silence = Silence(scene, one, other)
        with (
            daw.begin(one.there, tmp_path / "one") as ended,
            daw.begin(other.there, tmp_path / "other") as left,
        ):
            assert silence.reached.wait(LIMIT), ended.said + left.said
            ended.process.terminate()
            assert ended.end(10) < 0
            assert left.process.poll() is None
            assert scene.mount.stop() == 0
            assert not scene.mount.present
            left.end(_ENDS)


@pytest.mark.needs("ardour7-lua")
def test_ardour_plays_on(sound: Sound, tmp_path: Path) -> None:
    """Ardour that plays, and locates into what never comes, goes on: in silence, and without a word."""
    with staged(sound, tmp_path / "stage") as scene:
        twin = scene.wav()
        session = embedded(tmp_path / "session" / "one", twin.there, SECONDS)
        silence = Silence(scene, twin)
        went = session.play(40.0)
        assert silence.reached.is_set()
        assert min(went["played"], went["located"]) >= RATE
        silence.ends()
        here = embedded(tmp_path / "local" / "one", twin.here, SECONDS)
        assert session.export(tmp_path / "again") == here.export(tmp_path / "here")
