"""Audacity on the mount: what it imports and renders is what it makes of a local copy."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.clients.daw_audacity import Audacity, audacity
from tests.clients.desktop_session import DESK, SLOW, Desk, seated
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, Twin
from tests.clients.work import whole

pytestmark = [pytest.mark.needs("audacity", *DESK), SLOW]

Studio = tuple[Stage, Desk, Audacity]

_ARCHIVE = 512 * 1024  # bytes that come along with a stem: the directory, and some read ahead of its end


@pytest.fixture(scope="module")
def studio(sound: Sound) -> Iterator[Studio]:
    """Start Audacity once, before a mount whose songs are 40 ms away."""
    with seated(sound) as (scene, desk), audacity(desk) as program:
        yield scene, desk, program


def rendered(studio: Studio, *twins: Twin, here: bool) -> tuple[bytes, list[float]]:
    """Import files, on the mount or `here`, and mix them down; give the wav and where each track ends."""
    _, desk, program = studio
    for twin in twins:
        program.load(twin.here if here else twin.there)
    ends = [float(track["end"]) for track in program.tracks()]
    out = program.render(desk.home / "out.wav")
    program.clear()
    return out, ends


LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in ("mp3", "stem", "deflated")]


@pytest.mark.parametrize("kind", ["wav", *LONG])
def test_import(studio: Studio, kind: str) -> None:
    """A song or stem is as long, and renders to the same bytes, as its local copy; it comes once."""
    scene = studio[0]
    take = {"wav": scene.wav, "mp3": scene.mp3, "stem": scene.stem}
    twin = take[kind]() if kind in take else scene.stem("bass.wav")
    with scene.counted() as cost:
        cold, ends = rendered(studio, twin, here=False)
    assert cost.bytes <= whole(twin) + (_ARCHIVE if kind in ("stem", "deflated") else 0)
    local, local_ends = rendered(studio, twin, here=True)
    assert ends == local_ends
    assert abs(ends[0] - (12 if "stems" in str(twin.there) else SECONDS)) < 0.1
    assert cold == local
    with scene.pulled():
        assert rendered(studio, twin, here=False)[0] == cold


@pytest.mark.long
def test_stems_side_by_side(studio: Studio) -> None:
    """All stems of a song as tracks mix to what the local copies mix to, and the archive comes once."""
    scene = studio[0]
    folder = scene.folder()
    names = ("drums.wav", "bass.wav", "more/voice.wav")
    stems = [
        Twin(folder.there / "stems" / name, folder.here / "stems" / name, folder.ident) for name in names
    ]
    with scene.counted() as cost:
        cold, ends = rendered(studio, *stems, here=False)
    assert cost.bytes <= sum(whole(stem) for stem in stems) + _ARCHIVE
    assert (cold, ends) == rendered(studio, *stems, here=True)
    assert len(ends) == len(names)


@pytest.mark.long
def test_while_it_is_being_fetched(studio: Studio) -> None:
    """A song that another program has begun to read is imported whole, and still comes only once."""
    scene = studio[0]
    twin = scene.wav()
    with scene.counted() as cost:
        reader = subprocess.Popen(["sha256sum", twin.there], stdout=subprocess.PIPE)
        cold, _ = rendered(studio, twin, here=False)
        assert reader.wait(60) == 0
        assert reader.stdout is not None
        reader.stdout.close()
    assert cost.bytes <= whole(twin)
    assert cold == rendered(studio, twin, here=True)[0]


@pytest.mark.long
def test_without_a_network(studio: Studio) -> None:
    """A song that cannot be had is no empty track but a message that names it, within the deadline."""
    scene, desk, program = studio
    twin = scene.wav()
    scene.mount.expect(twin.ident, "does not answer")
    began = time.monotonic()
    with scene.pulled():
        program.begin(f'Import2: Filename="{twin.there}"')
        window = desk.window("^Error|^Warning|^File", 40)
        desk.shoot("audacity-no-network")
        desk.press(window, "Return")
        _, verdict = program.answer()
    assert time.monotonic() - began < 40
    assert verdict == "Failed!"
    assert program.tracks() == []
    program.clear()
