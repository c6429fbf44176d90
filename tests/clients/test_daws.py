"""Ardour and LMMS on the mount: files used in place, played and rendered as from a local disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daw_ardour import RATE, embedded
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, stage
from tests.clients.work import whole
from tests.mounted.mounting import run

_PROJECT = """<?xml version="1.0"?>
<!DOCTYPE lmms-project>
<lmms-project type="song" version="1.0" creator="LMMS" creatorversion="1.2.2">
<head bpm="120" mastervol="100" masterpitch="0" timesig_numerator="4" timesig_denominator="4"/>
<song><trackcontainer type="song"><track type="2" name="song" muted="0" solo="0">
<sampletrack vol="100" pan="0"><fxchain enabled="0" numofeffects="0"/></sampletrack>
<sampletco pos="0" len="{ticks}" src="{path}" muted="0"/>
</track></trackcontainer></song></lmms-project>
"""
_TICKS = 96  # of LMMS in a second of 120 beats a minute


@pytest.fixture(scope="module")
def studio(sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set a stage of our own: one test mounts it anew."""
    with stage(tmp_path_factory.mktemp("studio"), sound, listing_ttl=3600) as scene:
        yield scene


def lmms(path: Path, place: Path) -> bytes:
    """Render a project of one sample and give the wav."""
    place.mkdir()
    project, out = place / "song.mmp", place / "song.wav"
    project.write_text(_PROJECT.format(path=path, ticks=int(SECONDS * _TICKS)))
    environ = {**os.environ, "HOME": str(place), "QT_QPA_PLATFORM": "offscreen"}
    ended = run(["lmms", "--allowroot", "render", project, "-f", "wav", "-o", out], env=environ, limit=120)
    assert ended.returncode == 0, ended.stderr
    return out.read_bytes()


@pytest.mark.needs("lmms")
def test_lmms(studio: Stage, tmp_path: Path) -> None:
    """LMMS renders a project with a song on the mount as one with its local copy; the song comes once."""
    twin = studio.wav()
    with studio.counted() as cost:
        cold = lmms(twin.there, tmp_path / "cold")
    assert cost.bytes <= whole(twin)
    assert cold == lmms(twin.here, tmp_path / "here")
    with studio.pulled():
        assert cold == lmms(twin.there, tmp_path / "warm")


@pytest.mark.needs("ardour7-lua")
def test_ardour_exports_in_place(studio: Stage, tmp_path: Path) -> None:
    """A region in place on the mount is exported as one on the disk, and after a remount for nothing."""
    twin = studio.wav()
    there = embedded(tmp_path / "there", twin.there, SECONDS)
    with studio.counted() as cost:
        cold = there.export(tmp_path / "cold")
    assert cost.bytes <= whole(twin)
    here = embedded(tmp_path / "here", twin.here, SECONDS)
    assert sound_of(cold) == sound_of(here.export(tmp_path / "local"))
    assert any(sound_of(cold))
    studio.mount.restart()
    with studio.counted() as cost:
        assert sound_of(there.export(tmp_path / "again")) == sound_of(cold)
    assert cost.bytes == 0


def sound_of(wav: bytes) -> bytes:
    """Give the samples of a wav: what stands before them tells when it was made."""
    return wav[wav.index(b"data") + 8 :]


@pytest.mark.needs("ardour7-lua")
def test_ardour_plays_and_locates(studio: Stage, tmp_path: Path) -> None:
    """A cold region plays from the start and, after a locate, from its middle; not more than it comes."""
    twin = studio.wav()
    session = embedded(tmp_path / "session", twin.there, SECONDS)
    with studio.counted() as cost:
        went = session.play(40.0)
    assert went["played"] > RATE / 10  # of two seconds; a busy machine plays less of them
    assert went["located"] > RATE / 10
    assert cost.bytes <= whole(twin)


@pytest.mark.needs("ardour7-lua")
def test_ardour_and_another_reader(studio: Stage, tmp_path: Path) -> None:
    """A song that is being copied meanwhile is exported whole, and comes once for both."""
    twin = studio.wav()
    session = embedded(tmp_path / "session", twin.there, SECONDS)
    local = embedded(tmp_path / "local", twin.here, SECONDS).export(tmp_path / "here")
    with studio.counted() as cost:
        run(["sh", "-c", 'cat "$0" >/dev/null & sleep 0.1', twin.there])
        cold = session.export(tmp_path / "out")
    assert cost.bytes <= whole(twin)
    assert sound_of(cold) == sound_of(local)
