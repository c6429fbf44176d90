"""Ardour and LMMS on the mount: files used in place, played and rendered as from a local disk; and what DAWs
say of a song that cannot be had."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daw_ardour import RATE, embedded
from tests.clients.daw_audacity import audacity
from tests.clients.desktop_session import DESK, PATIENCE, SLOW, Desk, seated
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, stage
from tests.clients.work import whole
from tests.clients.wrong import ERRNOS, SETTINGS, wrong
from tests.indexers.desktop import eventually
from tests.mounted.mounting import run

pytestmark = SLOW

_PROJECT = """<?xml version="1.0"?>
<!DOCTYPE lmms-project>
<lmms-project type="song" version="1.0" creator="LMMS" creatorversion="1.2.2">
<head bpm="120" mastervol="100" masterpitch="0" timesig_numerator="4" timesig_denominator="4"/>
<song><trackcontainer type="song"><track type="2" name="song" muted="0" solo="0">
<sampletrack vol="100" pan="0"><fxchain enabled="0" numofeffects="0"/></sampletrack>
<sampletco pos="0" len="{ticks}" src="{path}" muted="0"/>
</track></trackcontainer></song></lmms-project>
"""
_TRIES = 4  # LMMS: on a busy machine one rendering in six ended in its own "Segmentation fault"
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
    words: list[str | Path] = ["lmms", "--allowroot", "render", project, "-f", "wav", "-o", out]
    for _ in range(_TRIES):
        ended = run(words, env=environ, limit=120)
        if ended.returncode != -signal.SIGSEGV:
            break
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
    """A region in place is exported as one on the disk, while another program reads the song too, which comes
    once for both; and after a remount for nothing."""
    twin = studio.wav()
    there = embedded(tmp_path / "there", twin.there, SECONDS)
    with studio.counted() as cost:
        reader = subprocess.Popen(["sha256sum", twin.there], stdout=subprocess.DEVNULL)
        cold = there.export(tmp_path / "cold")
        assert reader.wait(60) == 0
    assert cost.bytes <= whole(twin)
    here = embedded(tmp_path / "here", twin.here, SECONDS)
    assert cold == here.export(tmp_path / "local")
    studio.mount.restart()
    with studio.counted() as cost:
        assert there.export(tmp_path / "again") == cold
    assert cost.bytes == 0


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.needs("ardour", "ardour7-lua", *DESK)
def test_ardour_draws_peaks(sound: Sound) -> None:
    """Ardour's window makes the peaks it makes of a local copy, in the session's folder; the song comes once,
    and the mount ends in good order while Ardour holds the song open."""
    with seated(sound) as (scene, desk):
        twin = scene.wav()
        here = embedded(desk.home / "local" / "here", twin.here, SECONDS)
        there = embedded(desk.home / "cold" / "there", twin.there, SECONDS)
        with scene.counted() as cost:
            there.show(desk)
            eventually(lambda: len(there.peaks) == 2, 90)
        assert cost.bytes <= whole(twin)
        here.show(desk)
        eventually(lambda: here.peaks == there.peaks and len(here.peaks) == 2, 90)
        eventually(lambda: holders(desk, twin.there) > 0)
        desk.shoot("ardour-in-place")
        assert scene.mount.stop() == 0


def holders(desk: Desk, path: Path) -> int:
    """Count the session's open descriptors of a file."""
    found = desk.run("sh", "-c", f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c -- '-> {path}$'")
    return int(found.stdout)


@pytest.mark.long
@pytest.mark.needs("audacity", *DESK)
def test_what_audacity_says(sound: Sound) -> None:
    """Audacity says the same of every song that cannot be opened, and makes no track of it; of one that
    changes while it comes it makes a shorter one, and says nothing."""
    with seated(sound, **SETTINGS) as (scene, desk):
        desk.listen()
        with audacity(desk) as program:
            for errno in ERRNOS:
                with wrong(scene, errno) as path:
                    program.begin(f'Import2: Filename="{path}"')
                    if errno == "ESTALE":
                        program.answer()
                        assert 0 < program.tracks()[0]["end"] < SECONDS - 1
                    else:
                        window = desk.window("^Error Importing$", PATIENCE)
                        if errno != "ENOENT":  # of that it says “File not found”, in pieces
                            desk.says("Audacity did not recognize the type of the file")
                        desk.shoot(f"audacity-{errno}")
                        desk.press(window, "Return")
                        assert program.answer()[1] == "Failed!"
                        assert program.tracks() == []
                    program.clear()


@pytest.mark.long
@pytest.mark.needs("ardour7-lua")
@pytest.mark.parametrize("errno", ["EACCES", "ETIMEDOUT"])
def test_what_ardour_says(sound: Sound, tmp_path: Path, errno: str) -> None:
    """Ardour names a song in place that cannot be opened, and opens no session without it."""
    with stage(tmp_path, sound, listing_ttl=3600, **SETTINGS) as scene, wrong(scene, errno) as path:
        session = embedded(tmp_path / "session" / "one", path, SECONDS)
        with pytest.raises(AssertionError, match=f'cannot open file "{path}" for reading'):
            session.export(tmp_path / "out")
