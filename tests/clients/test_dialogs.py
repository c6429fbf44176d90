"""What a person reads in a file manager of a song that cannot be had: the table of docs/programs.md."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from musicfs.demo import content
from tests.clients.desktop_pasting import GTK2, Pasting
from tests.clients.desktop_session import DESK, KDE, PATIENCE, SLOW, Desk, seated
from tests.clients.desktop_thunar import Thunar
from tests.clients.saying import dialogs, words
from tests.clients.sound import Sound
from tests.clients.stage import Stage
from tests.clients.wrong import ANEW, ERRNOS, SETTINGS, wrong
from tests.indexers.desktop import eventually

pytestmark = [pytest.mark.needs(*DESK), SLOW]

LONG = pytest.mark.long
SHORT = ("EACCES", "ESTALE")
"""What an ordinary run looks at: refused at `open`, and in the middle."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A file manager that copies into one folder."""

    name: str
    scene: Stage
    desk: Desk
    out: Path
    copy: Callable[[Path], None]


MANAGERS = [
    pytest.param("Thunar", marks=pytest.mark.needs("thunar", "gdbus")),
    pytest.param("PCManFM", marks=pytest.mark.needs("pcmanfm", *GTK2)),
    pytest.param("Dolphin", marks=pytest.mark.needs("dolphin")),
]


@pytest.fixture(scope="module", params=MANAGERS)
def counter(request: pytest.FixtureRequest, sound: Sound) -> Iterator[Counter]:
    """Start a file manager once, before a mount on which every errno can be had."""
    with seated(sound, **SETTINGS) as (scene, desk):
        name, out = str(request.param), desk.outbox()
        if name == "Thunar":
            thunar = Thunar(desk)
            yield Counter(name, scene, desk, out, lambda path: thunar.copy(path, out))
        else:
            desk.environ |= KDE if name == "Dolphin" else {}
            yield Counter(name, scene, desk, out, Pasting(desk, name.lower(), out).copy)
        scene.mount.expect(".")  # of a failure something may be said late


def dismissed(desk: Desk, said: str) -> bool:
    """Press what ends the work, and say whether the words are gone."""
    if said in desk.read():
        any(desk.offers(button) for button in ("Cancel", "Close"))
    return said not in desk.read()


def test_no_errno_is_forgotten() -> None:
    """Every errno that docs/programs.md names has a dialog in its table, but what no reader meets."""
    assert {*ERRNOS, "EROFS"} == set(words())
    assert set(dialogs()) == {*ERRNOS, "what ESTALE leaves"}


@pytest.mark.long
@pytest.mark.parametrize("counter", [MANAGERS[0], MANAGERS[2]], indirect=True)
def test_retry(counter: Counter) -> None:
    """A song that the service made anew under its reader is the new one, whole, after a Retry."""
    with wrong(counter.scene, "ESTALE") as path:
        counter.copy(path)
        counter.desk.says("Retry")
        counter.desk.act("Retry")
        if counter.name == "Thunar":
            counter.desk.says("Do you want to replace the existing file")  # the part that it left
            counter.desk.act("Replace")
        eventually(lambda: whole(counter.out / path.name), PATIENCE)
    (counter.out / path.name).unlink()


def whole(copy: Path) -> bool:
    """Say whether a copy is the song as the service has it now."""
    return copy.exists() and copy.read_bytes() == content(ANEW)


@pytest.mark.parametrize(
    "errno", [pytest.param(each, marks=LONG if each not in SHORT else ()) for each in ERRNOS]
)
def test_what_a_person_reads(counter: Counter, errno: str) -> None:
    """A song that cannot be copied is a message that says which and why, and no file; only one that changed
    while it came may leave a part."""
    row, leaves = dialogs()[errno][counter.name], dialogs()["what ESTALE leaves"][counter.name]
    with wrong(counter.scene, errno) as path:
        counter.copy(path)
        named = row.replace("PATH", str(path)).replace("FILE", path.name).replace("…", words()[errno])
        said = re.findall("`(.+?)`", named)
        counter.desk.says(*said)
        if counter.name == "PCManFM":
            counter.desk.shape(counter.desk.window("^Finished$"), 1200, 500)  # its sentences are not broken
        counter.desk.shoot(f"{counter.name.lower()}-{errno}")
        eventually(lambda: dismissed(counter.desk, said[0]), PATIENCE)
    left = [path.name] if errno == "ESTALE" and leaves == "a part" else []
    eventually(lambda: os.listdir(counter.out) == left, PATIENCE)
    for name in left:
        (counter.out / name).unlink()
