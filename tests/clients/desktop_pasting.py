"""PCManFM and Dolphin, pasted into: one window, with a folder of its own.

How it thinks: what a file manager puts into the clipboard when a file is copied is put there without one, so
any path can be copied, also one that no window shows; then Ctrl+V is pressed in the window. A window is there
a while before it listens, so at first a small file is pasted until it has come.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.clients.desktop_session import Desk
from tests.indexers.desktop import eventually
from tests.mounted.mounting import STEP, until

GTK2 = ("/usr/lib/*/gtk-2.0/modules/libatk-bridge.so", "/usr/lib/*/gtk-2.0/modules/libgail.so")
"""Without these nobody can read PCManFM, which is of GTK 2."""
_LOST = 15.0  # seconds until Ctrl+V is pressed again: twice too early, and it would ask about the copy itself


@dataclass(frozen=True, slots=True)
class Program:
    """A file manager, and the clipboard it reads."""

    words: tuple[str, ...]
    kind: str
    """The MIME type of its clipboard."""
    text: str
    """What stands there of a URI."""


PROGRAMS: Mapping[str, Program] = {
    "pcmanfm": Program(("pcmanfm", "--new-win"), "x-special/gnome-copied-files", "copy\n{}"),
    "dolphin": Program(("dolphin", "--new-window"), "text/uri-list", "{}\r\n"),
}


def opened(desk: Desk, name: str, folder: Path) -> str:
    """Open a folder in a window of its own, and give the window."""
    desk.start(*PROGRAMS[name].words, folder)
    return desk.window(f"^{folder.name}", 60)


def pasted(desk: Desk, window: str, folder: Path) -> bool:
    """Press Ctrl+V unless that has borne fruit already, and say whether it has."""
    if not any(folder.iterdir()):
        desk.press(window, "ctrl+v")
    end = time.monotonic() + _LOST
    while not any(folder.iterdir()) and time.monotonic() < end:
        time.sleep(STEP)
    return any(folder.iterdir())


class Pasting:
    """A file manager's window that is pasted into."""

    def __init__(self, desk: Desk, name: str, folder: Path) -> None:
        self._desk, self._program = desk, PROGRAMS[name]
        desk.listen()
        self._window = opened(desk, name, folder)
        first = desk.home / "first"
        desk.write(first, "first")
        self._clip(first)
        eventually(lambda: pasted(desk, self._window, folder), 60)
        until((folder / "first").exists)
        (folder / "first").unlink()

    def copy(self, source: Path) -> None:
        """Copy a file or folder into the window's folder."""
        self._clip(source)
        self._desk.press(self._window, "ctrl+v")

    def _clip(self, source: Path) -> None:
        self._desk.clip(self._program.kind, self._program.text.format(source.as_uri()))
