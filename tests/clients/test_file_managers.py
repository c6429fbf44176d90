"""File managers on the mount: what they show, copy and refuse, and the words a person reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from musicfs.demo import Request, Response, Role
from musicfs.demo.faults import black_hole, html, json_error
from tests.clients.desktop_session import Desk, seated
from tests.clients.desktop_thunar import Thunar
from tests.clients.sound import Sound
from tests.clients.stage import Stage, Twin
from tests.clients.work import whole
from tests.indexers.desktop import eventually
from tests.mounted.failing import STRANGER
from tests.mounted.mounting import run

pytestmark = pytest.mark.needs("thunar", "Xvfb", "xdotool", "openbox", "dbus-daemon", "gdbus", "import")

Office = tuple[Stage, Desk, Thunar]


@pytest.fixture(scope="module")
def office(sound: Sound) -> Iterator[Office]:
    """Start Thunar once, before a mount whose songs are 40 ms away."""
    with seated(sound) as (scene, desk):
        yield scene, desk, Thunar(desk)


@pytest.fixture(scope="module")
def failing(sound: Sound) -> Iterator[Office]:
    """Start Thunar once, before a mount that soon gives up and hosts that can be taken away."""
    with seated(sound, rtt=0, deadline=3) as (scene, desk):
        yield scene, desk, Thunar(desk)


def outbox(desk: Desk) -> Path:
    """Make an empty folder to copy into."""
    made = desk.run("mktemp", "--directory", desk.home / "copies-XXXXXX")
    return Path(made.stdout.strip())


def same(copy: Path, twin: Twin) -> bool:
    """Say whether a copy of a folder holds what the local twin does."""
    return run(["diff", "-r", copy, twin.here]).returncode == 0


def test_copy(office: Office) -> None:
    """A song's folder copied in Thunar is the local copy's twin, comes once, and is then here."""
    scene, desk, thunar = office
    twin, cold, warm = scene.folder(), outbox(desk), outbox(desk)
    with scene.counted() as cost:
        thunar.copy(twin.there, cold)
        eventually(lambda: same(cold / twin.there.name, twin), 60)
    assert cost.bytes <= whole(twin)
    with scene.pulled():
        thunar.copy(twin.there, warm)
        eventually(lambda: same(warm / twin.there.name, twin), 60)


def test_looking(office: Office) -> None:
    """A folder in Thunar, sorted by size, shows what its local copy shows, and fetches no song."""
    scene, desk, _ = office
    twin = scene.folder()
    for name in ("song.mp3", "song.wav"):
        desk.run("head", "-c", "1", twin.there / name)  # sizes are estimates until a file is opened
    with scene.counted() as cost:
        there = cells(office, twin.there, "Size")
    assert cost.bytes == 0
    assert there == cells(office, twin.here)  # Thunar remembers how a list was sorted
    names = ("song.mp3", "song.wav")
    assert [word for word in there if word in names] == list(names)


def cells(office: Office, folder: Path, column: str | None = None) -> list[str]:
    """Show a folder as a list, sort it by a column, and give the words in its cells."""
    _, desk, thunar = office
    window = thunar.show(folder)
    desk.press(window, "ctrl+2")
    desk.says("song.wav")
    if column is not None:
        desk.act(column)
    desk.shoot(f"thunar-list-{folder.parts[-3]}")
    told = [line for line in desk.read().splitlines() if line.startswith("table cell: ")]
    desk.press(window, "ctrl+w")
    return [line.removeprefix("table cell: ") for line in told]


def test_properties(office: Office) -> None:
    """The properties of a file give its exact size, once it was opened, and the words for a sound."""
    scene, desk, thunar = office
    twin = scene.wav()
    desk.run("head", "-c", "1", twin.there)
    thunar.properties(twin.there)
    desk.says(f"({twin.size} bytes)", "WAV audio")
    desk.act("Close")


def test_delete(office: Office) -> None:
    """Deleting is refused in words that say why, and deletes nothing."""
    scene, desk, thunar = office
    twin = scene.wav()
    thunar.delete(twin.there)
    desk.says("permanently delete")
    desk.act("Delete")
    desk.says("Could not delete file", "Read-only file system")
    desk.shoot("thunar-delete")
    desk.act("Cancel")
    assert twin.there.exists()


def test_rename(office: Office) -> None:
    """Renaming is refused in words that say why."""
    scene, desk, thunar = office
    twin = scene.wav()
    thunar.rename(twin.there)
    desk.says("Enter the new name")
    desk.type("other")
    desk.act("Rename")
    desk.says("Failed to rename", "Read-only file system")
    desk.shoot("thunar-rename")
    desk.act("Close")
    assert twin.there.exists()


Answer = Callable[[Request], Response]

SHOWN: dict[str, tuple[Answer, str]] = {
    "EACCES": (json_error(403), "Permission denied"),
    "EIO": (html(), "Input/output error"),
    "ETIMEDOUT": (black_hole(), "Connection timed out"),
    "EBUSY": (json_error(409), "Device or resource busy"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_failure(failing: Office, name: str) -> None:
    """A song that cannot be had is named in Thunar's dialog with the reason, and leaves no file behind."""
    scene, _, _ = failing
    answer, words = SHOWN[name]
    twin = scene.mp3()
    scene.mount.expect(twin.ident)
    scene.service.fail(answer, kind="mp3", path=twin.ident)
    refused(failing, twin.there, name, words)
    scene.service.clear()


def refused(office: Office, path: Path, name: str, words: str, button: str = "Cancel") -> None:
    """Copy a file that cannot be had, read why, and press a button."""
    _, desk, thunar = office
    out = outbox(desk)
    thunar.copy(path, out)
    desk.says(path.name, words)
    desk.shoot(f"thunar-{name}")
    desk.act(button)
    assert os.listdir(out) == []


def test_a_folder_that_cannot_be_had(failing: Office) -> None:
    """Stems that cannot be listed are a message that says why, and no empty folder."""
    scene, desk, thunar = failing
    stems = scene.folder().there / "stems"
    scene.mount.expect("stems")
    scene.service.fail(json_error(403), kind="mint", form="stems")
    thunar.ask(stems)
    desk.says('Failed to open directory "stems"', "Permission denied")
    desk.shoot("thunar-folder-EACCES")
    desk.act("Close")
    scene.service.clear()


def test_the_network_goes_and_returns(office: Office) -> None:
    """With the network gone Thunar says so within the deadline, and its Retry copies the song afterwards."""
    scene, desk, thunar = office
    twin, out = scene.wav(), outbox(desk)
    scene.mount.expect(twin.ident, "does not answer")
    with scene.pulled():
        thunar.copy(twin.there, out)
        desk.says("song.wav", "Connection timed out")
        desk.shoot("thunar-ETIMEDOUT-retry")

    def copied() -> bool:
        if "push button: Retry" in desk.read():  # a host that was silent twice is left alone for 15 seconds
            desk.act("Retry")
        return run(["cmp", out / "song.wav", twin.here]).returncode == 0

    eventually(copied, 60)


def test_no_route(failing: Office) -> None:
    """With the byte server gone the dialog says so, and the copy goes on when it is back."""
    scene, _, _ = failing
    twin = scene.wav()
    scene.mount.expect(twin.ident, "does not answer")
    scene.mount.loop.stop(Role.CDN)
    try:
        refused(failing, twin.there, "EHOSTUNREACH", "No route to host")
    finally:
        scene.mount.loop.start(Role.CDN)


def test_nothing_of_that_name(failing: Office) -> None:
    """A song that was asked for by its id and is not there is said to be not there."""
    path = failing[0].mount.path / "flowmusic" / f"{STRANGER}.mp3"
    refused(failing, path, "ENOENT", "No such file or directory", "Close")


def test_no_room(sound: Sound) -> None:
    """A song that must be kept whole and fits nowhere is refused with the words for a full disk."""
    with seated(sound, rtt=0, cache_size="1M") as (scene, desk):
        twin = scene.mp3()
        scene.mount.expect(twin.ident, "room", "full")
        thunar = Thunar(desk)
        refused((scene, desk, thunar), twin.there, "ENOSPC", "No space left on device", "Close")
