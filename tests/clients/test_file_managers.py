"""File managers on the mount: what they show, copy and refuse, and the words a person reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from musicfs.demo.faults import json_error
from tests.clients.desktop_session import DESK, SLOW, Desk, seated
from tests.clients.desktop_thunar import Thunar
from tests.clients.sound import Sound
from tests.clients.stage import Stage, Twin
from tests.clients.work import whole
from tests.indexers.desktop import eventually
from tests.mounted.mounting import run

pytestmark = [pytest.mark.needs("thunar", "gdbus", *DESK), SLOW]

Office = tuple[Stage, Desk, Thunar]


@pytest.fixture(scope="module")
def office(sound: Sound) -> Iterator[Office]:
    """Start Thunar once, before a mount whose songs are 40 ms away."""
    with seated(sound) as (scene, desk):
        yield scene, desk, Thunar(desk)


def same(copy: Path, twin: Twin) -> bool:
    """Say whether a copy of a folder holds what the local twin does."""
    return run(["diff", "-r", copy, twin.here]).returncode == 0


def test_copy(office: Office) -> None:
    """A song's folder copied in Thunar is the local copy's twin, comes once, and is then here."""
    scene, desk, thunar = office
    twin, cold, warm = scene.folder(), desk.outbox(), desk.outbox()
    with scene.counted() as cost:
        thunar.copy(twin.there, cold)
        eventually(lambda: same(cold / twin.there.name, twin), 60)
    assert cost.bytes <= whole(twin)
    with scene.pulled():
        thunar.copy(twin.there, warm)
        eventually(lambda: same(warm / twin.there.name, twin), 60)


@pytest.mark.long
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


@pytest.mark.long
def test_properties(office: Office) -> None:
    """The properties of a file give its exact size, once it was opened, and the words for a sound."""
    scene, desk, thunar = office
    twin = scene.wav()
    desk.run("head", "-c", "1", twin.there)
    thunar.properties(twin.there)
    desk.says(f"({twin.size} bytes)", "WAV audio")
    desk.act("Close")


CHANGES = {
    # What is asked, what is typed, what is pressed, and what is then said beside a last button.
    "delete": (Thunar.delete, "permanently delete", "", "Delete", "Could not delete file", "Cancel"),
    "rename": (Thunar.rename, "Enter the new name", "other", "Rename", "Failed to rename", "Close"),
}


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES)
def test_changes(office: Office, change: str) -> None:
    """Deleting and renaming are refused in words that say why, and change nothing."""
    scene, desk, thunar = office
    begin, asked, typed, button, said, last = CHANGES[change]
    twin = scene.wav()
    begin(thunar, twin.there)
    desk.says(asked)
    desk.type(typed)
    desk.act(button)
    desk.says(said, "Read-only file system")
    desk.shoot(f"thunar-{change}")
    desk.act(last)
    assert twin.there.exists()


@pytest.mark.long
def test_a_folder_that_cannot_be_had(office: Office) -> None:
    """Stems that cannot be listed are a message that says why, and no empty folder."""
    scene, desk, thunar = office
    stems = scene.folder().there / "stems"
    scene.mount.expect("stems")
    scene.service.fail(json_error(403), kind="mint", form="stems")
    thunar.ask(stems)
    desk.says('Failed to open directory "stems"', "Permission denied")
    desk.shoot("thunar-folder-EACCES")
    desk.act("Close")
    scene.service.clear()


@pytest.mark.long
def test_the_network_goes_and_returns(office: Office) -> None:
    """With the network gone Thunar says so within the deadline, and its Retry copies the song afterwards."""
    scene, desk, thunar = office
    twin, out = scene.wav(), desk.outbox()
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
