"""Ardour and LMMS on the mount: files used in place, played and rendered as from a local disk; and what DAWs
say of a song that cannot be had."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daw_ardour import RATE, embedded
from tests.clients.daw_lmms import rendered
from tests.clients.desktop_session import DESK, SLOW, Desk, seated
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage, stage
from tests.clients.work import whole
from tests.indexers.desktop import eventually

pytestmark = SLOW


@pytest.fixture(scope="module")
def studio(sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set a stage of our own: one test mounts it anew."""
    with stage(tmp_path_factory.mktemp("studio"), sound, listing_ttl=3600) as scene:
        yield scene


@pytest.mark.needs("lmms")
def test_lmms(studio: Stage, tmp_path: Path) -> None:
    """LMMS renders a project with a song on the mount as one with its local copy; the song comes once."""
    twin = studio.wav()
    with studio.counted() as cost:
        cold = rendered(twin.there, tmp_path / "cold")
    assert cost.bytes <= whole(twin)
    assert cold == rendered(twin.here, tmp_path / "here")
    with studio.pulled():
        assert cold == rendered(twin.there, tmp_path / "warm")


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
    assert min(went["played"], went["located"]) >= RATE
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
