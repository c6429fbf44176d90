"""What a person reads in a DAW of a song that cannot be had: the table of docs/programs.md, and what is left.

How it thinks: every cell of the table is looked for where it says, in a window or on the terminal; where it
has nothing, the song's path and the words for the errno must be in none of what the program said. A DAW that
falls over by a mistake of its own before it is done is begun again, with another song.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from musicfs.demo import content
from tests.clients import daw_lmms
from tests.clients.daw_ardour import EXPORTED, LIMIT, embedded
from tests.clients.daw_audacity import audacity
from tests.clients.daw_work import Working, breaks_off
from tests.clients.desktop_session import DESK, PATIENCE, SLOW, Desk, seated
from tests.clients.saying import daws, words
from tests.clients.sound import SECONDS, Sound
from tests.clients.stage import Stage
from tests.clients.wrong import ANEW, ERRNOS, SETTINGS, wrong
from tests.indexers.desktop import eventually

pytestmark = [SLOW, pytest.mark.long, pytest.mark.needs(*DESK)]

Studio = tuple[Stage, Desk]

_TRIES = 4
_START = 90.0  # seconds for a DAW's window on a busy machine


@pytest.fixture(scope="module")
def opened(sound: Sound) -> Iterator[Studio]:
    """Open one session before a mount on which every errno can be had."""
    with seated(sound, **SETTINGS) as (scene, desk):
        desk.listen()
        yield scene, desk
        scene.mount.expect(".")  # of a failure something may be said late


@pytest.fixture(params=ERRNOS)
def errno(request: pytest.FixtureRequest) -> str:
    """Name one errno."""
    return str(request.param)


@pytest.fixture
def studio(opened: Studio, errno: str) -> Iterator[Studio]:
    """Lend the session, and see that hosts which were silent or gone are asked again after it."""
    yield opened
    if errno in ("ETIMEDOUT", "EHOSTUNREACH"):
        opened[0].mount.restart()


def phrases(column: str, errno: str, path: Path) -> list[str]:
    """Give what the page has a program say."""
    return re.findall("`(.+?)`", daws()[errno][column].replace("PATH", str(path)))


def on_terminal(column: str, errno: str, path: Path, said: str) -> bool:
    """Say whether a terminal has what the page has there; if that is nothing, no word of the song."""
    wanted = phrases(column, errno, path)
    never = [words()[errno], *([] if wanted else [str(path)])]
    return all(each in said for each in wanted) and not any(each in said for each in never)


def worked(
    studio: Studio,
    errno: str,
    begin: Callable[[Path], AbstractContextManager[Working]],
    done: Callable[[Working], bool],
) -> tuple[Path, Working]:
    """Have a DAW work on a song that fails with an errno; give the song's path too."""
    for _ in range(_TRIES):
        with wrong(studio[0], errno) as path, begin(path) as work:
            work.end(LIMIT)
        if done(work):
            return path, work
    raise AssertionError(work.said)


def put_away(desk: Desk, name: str) -> None:
    """End a program whatever it asks."""
    found = [pid for pid, program in desk.programs().items() if name in program]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(name in program for program in desk.programs().values()))


def test_no_errno_is_forgotten() -> None:
    """Every errno that docs/programs.md names has a row in the table of DAWs, but what no reader meets."""
    assert set(daws()) == {*ERRNOS, "what ESTALE leaves"}


@pytest.mark.needs("ardour7-lua")
def test_ardours_terminal(studio: Studio, errno: str, tmp_path: Path) -> None:
    """Ardour names a song in place that cannot be opened, whatever was wrong, and opens no session; one that
    is not there, or changes while it comes, is silence without a word."""

    def begin(path: Path) -> AbstractContextManager[Working]:
        return embedded(tmp_path / path.parts[-2] / "one", path, SECONDS).exporting(tmp_path / "out")

    path, work = worked(studio, errno, begin, lambda work: EXPORTED in work.said or not work.fell)
    assert on_terminal("Ardour's terminal", errno, path, work.said), work.said
    if errno in ("ENOENT", "ESTALE"):
        assert EXPORTED in work.said
        assert breaks_off(work.samples, b"") == 0
    else:
        assert work.process.returncode == 1
        assert not work.wav.exists()


@pytest.mark.needs("lmms")
def test_lmms_terminal(studio: Studio, errno: str, tmp_path: Path) -> None:
    """LMMS names a song that it cannot open, whatever was wrong, renders silence and ends with 0; of one that
    changes while it comes it says nothing, and renders the new one, because it reads it twice."""
    numbers = iter(range(_TRIES))
    path, work = worked(
        studio,
        errno,
        lambda path: daw_lmms.rendering(path, tmp_path / str(next(numbers))),
        lambda work: not work.fell,
    )
    assert work.process.returncode == 0
    assert on_terminal("LMMS's terminal", errno, path, work.said), work.said
    if errno == "ESTALE":
        new = tmp_path / "new.wav"
        new.write_bytes(content(ANEW))
        assert work.samples == daw_lmms.rendered(new, tmp_path / "here")
    else:
        assert breaks_off(work.samples, b"") == 0


def terminal(desk: Desk) -> str:
    """Give what the programs of the session said on their terminals."""
    return (desk.place / "desktop.log").read_text(errors="replace")


@pytest.mark.needs("ardour", "ardour7-lua")
def test_ardours_window(studio: Studio, errno: str) -> None:
    """Ardour's window says that a session did not open, or asks where its song is; of a song that changes
    while it comes it says nothing."""
    scene, desk = studio
    changes = scene.mount.log.count("other bytes")
    with wrong(scene, errno) as path:
        embedded(desk.home / f"ardour-{errno}" / "one", path, SECONDS).open(desk)
        wanted = phrases("Ardour's window", errno, path)
        if wanted:
            desk.says(*wanted, limit=_START)
            assert not desk.windows("^one - Ardour$")
        else:
            desk.window("^one - Ardour$", _START)
            eventually(lambda: scene.mount.log.count("other bytes") > changes)
            assert not desk.windows("Error|Missing")
        desk.shoot(f"ardour-{errno}")
        put_away(desk, "ardour")


@pytest.mark.needs("lmms")
def test_lmms_window(studio: Studio, errno: str) -> None:
    """LMMS's window opens a project whose song cannot be had as if nothing were wrong; its terminal names
    the song."""
    scene, desk = studio
    assert not phrases("LMMS's window", errno, desk.home)
    with wrong(scene, errno) as path:
        before = len(terminal(desk))
        window = daw_lmms.show(desk, path)
        eventually(lambda: on_terminal("LMMS's terminal", errno, path, terminal(desk)[before:]), PATIENCE)
        desk.shoot(f"lmms-{errno}")
        assert desk.windows(".") == [window]
        put_away(desk, "lmms")


@pytest.mark.needs("audacity")
def test_audacity(sound: Sound) -> None:
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
                        desk.says(*phrases("Audacity", errno, path))
                        desk.shoot(f"audacity-{errno}")
                        desk.press(window, "Return")
                        assert program.answer()[1] == "Failed!"
                        assert program.tracks() == []
                    program.clear()
