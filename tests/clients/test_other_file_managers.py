"""PCManFM and Dolphin on the mount: copied by keys as a person does, refused in words or not offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.desktop_pasting import GTK2, opened, pasted
from tests.clients.desktop_session import DESK, KDE, SLOW, Desk, seated
from tests.clients.sound import Sound
from tests.clients.stage import Stage, Twin
from tests.clients.work import whole
from tests.indexers.desktop import eventually
from tests.mounted.mounting import run

pytestmark = [pytest.mark.needs(*DESK), SLOW]

Room = tuple[Stage, Desk]


@pytest.fixture
def room(sound: Sound) -> Iterator[Room]:
    """Open a session, KDE's as far as Dolphin asks, before a mount whose songs are 40 ms away."""
    with seated(sound) as (scene, desk):
        desk.listen()
        desk.environ |= KDE
        yield scene, desk


def copied(room: Room, twin: Twin, name: str) -> str:
    """Copy what is in a folder by Ctrl+A, Ctrl+C and Ctrl+V, and give the window it came from: the copy is
    the local one's twin, and came once."""
    scene, desk = room
    out = desk.outbox()
    with scene.counted() as cost:
        source = opened(desk, name, twin.there)
        desk.says("song.wav")
        desk.press(source, "ctrl+a", "ctrl+c")
        target = opened(desk, name, out)
        eventually(lambda: pasted(desk, target, out), 60)
        eventually(lambda: same(out, twin), 60)
    # It has copied a folder, so two songs behind it may have been begun.
    assert cost.bytes <= whole(twin) + len(scene.sound.mp3) + len(scene.sound.wav)
    desk.shoot(f"{name}-copy")
    return source


def same(folder: Path, twin: Twin) -> bool:
    """Say whether a folder holds what the local twin does."""
    return run(["diff", "-r", folder, twin.here]).returncode == 0


@pytest.mark.needs("pcmanfm", *GTK2)
def test_pcmanfm(room: Room) -> None:
    """PCManFM copies a song's folder exactly, says that there is no wastebasket, and why it cannot delete."""
    scene, desk = room
    twin = scene.folder()
    window = copied(room, twin, "pcmanfm")
    desk.press(window, "ctrl+a", "Delete")
    desk.says("Do you want to move the 3 selected files to trash can?")
    desk.act("Yes")
    desk.says("Some files cannot be moved to trash can")
    desk.act("Yes")
    desk.says("Read-only file system")
    desk.shoot("pcmanfm-delete")
    assert same(twin.there, twin)


@pytest.mark.needs("dolphin")
def test_dolphin(room: Room) -> None:
    """Dolphin copies a song's folder exactly, and offers neither deleting nor renaming."""
    scene, desk = room
    twin = scene.folder()
    window = copied(room, twin, "dolphin")
    desk.press(window, "ctrl+a", "shift+Delete")
    desk.press(window, "F2")
    desk.shoot("dolphin-delete")
    assert len(desk.windows(".")) == 2  # the two folders, and no question
    assert same(twin.there, twin)
