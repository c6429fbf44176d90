"""PCManFM and Dolphin on the mount: copied by keys as a person does, refused in words or not offered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.desktop_session import Desk, seated
from tests.clients.sound import Sound
from tests.clients.stage import Stage, Twin
from tests.clients.work import whole
from tests.indexers.desktop import eventually
from tests.mounted.mounting import run

pytestmark = pytest.mark.needs("Xvfb", "xdotool", "openbox", "dbus-daemon", "import")

Room = tuple[Stage, Desk]

_PASTED = 5.0  # seconds until Ctrl+V counts as lost: a window is there a while before it listens


@pytest.fixture
def room(sound: Sound) -> Iterator[Room]:
    """Open a session, KDE's as far as Dolphin asks, before a mount whose songs are 40 ms away."""
    with seated(sound) as (scene, desk):
        desk.listen()
        desk.environ |= {"XDG_CURRENT_DESKTOP": "KDE", "KDE_FULL_SESSION": "true"}
        yield scene, desk


def opened(desk: Desk, folder: Path, *words: str) -> str:
    """Open a folder in a window of its own, and give the window."""
    desk.start(*words, folder)
    return desk.window(f"^{folder.name}", 60)


def copied(desk: Desk, twin: Twin, *words: str) -> str:
    """Copy what is in a folder by Ctrl+A, Ctrl+C and Ctrl+V, and give the window it came from."""
    out = Path(desk.run("mktemp", "--directory", desk.home / "copies-XXXXXX").stdout.strip())
    source = opened(desk, twin.there, *words)
    desk.says("song.wav")
    desk.press(source, "ctrl+a", "ctrl+c")
    target = opened(desk, out, *words)

    def pasted() -> bool:
        if not any(out.iterdir()):
            desk.press(target, "ctrl+v")
            time.sleep(_PASTED)
        return run(["diff", "-r", out, twin.here]).returncode == 0

    eventually(pasted, 90)
    desk.shoot(f"{words[0]}-copy")
    return source


@pytest.mark.needs("pcmanfm")
def test_pcmanfm(room: Room) -> None:
    """PCManFM copies a song's folder exactly, says that there is no wastebasket, and why it cannot delete."""
    scene, desk = room
    twin = scene.folder()
    with scene.counted() as cost:
        window = copied(desk, twin, "pcmanfm", "--new-win")
    # It has copied a folder, so two songs behind it may have been begun.
    assert cost.bytes <= whole(twin) + len(scene.sound.mp3) + len(scene.sound.wav)
    desk.press(window, "ctrl+a", "Delete")
    desk.says("Do you want to move the 3 selected files to trash can?")
    desk.act("Yes")
    desk.says("Some files cannot be moved to trash can")
    desk.act("Yes")
    desk.says("Read-only file system")
    desk.shoot("pcmanfm-delete")
    assert run(["diff", "-r", twin.there, twin.here]).returncode == 0


@pytest.mark.needs("dolphin")
def test_dolphin(room: Room) -> None:
    """Dolphin copies a song's folder exactly, and offers neither deleting nor renaming."""
    scene, desk = room
    twin = scene.folder()
    with scene.counted() as cost:
        window = copied(desk, twin, "dolphin", "--new-window")
    assert cost.bytes <= whole(twin) + len(scene.sound.mp3) + len(scene.sound.wav)
    desk.press(window, "ctrl+a", "shift+Delete")
    desk.press(window, "F2")
    desk.shoot("dolphin-delete")
    assert len(desk.windows(".")) == 2  # the two folders, and no question
    assert run(["diff", "-r", twin.there, twin.here]).returncode == 0
