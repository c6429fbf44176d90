"""A desktop of the size people have: a window manager, keys, words read off dialogs, and pictures.

How it thinks: it is the session of `tests/indexers` with a screen one can look at. Windows are found by
their titles; what stands in them is read through the accessibility bus, as a screen reader does
(`desktop_reader`), and not guessed from pixels. A picture of the screen is kept in `$MUSICFS_PICTURES`, by
default `build/pictures/`, for whoever wants to see what a person saw.

What must always be true: nothing waits without a limit; whoever is started here is ended here.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench.link import RATE, RTT
from tests.clients.sound import Sound
from tests.clients.stage import Stage, stage
from tests.indexers.desktop import Desktop, account, eventually
from tests.mounted.mounting import run

ROOT = Path(__file__).parents[2]
READER = Path(__file__).with_name("desktop_reader.py").read_text()  # the clone may be where only root can go
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for
DESK = (
    *("Xvfb", "xdotool", "xclip", "openbox", "dbus-daemon", "/usr/libexec/at-spi-bus-launcher"),
    *("/usr/lib/*/girepository-1.0/Atspi-2.0.typelib", "/usr/lib/python3/dist-packages/gi/__init__.py"),
)
"""What a test that opens a session needs, and the reader of its words."""
PATIENCE = 40.0  # seconds for what a busy desktop does in one; the slowest takes 5 on a quiet machine
KDE = {"XDG_CURRENT_DESKTOP": "KDE", "KDE_FULL_SESSION": "true"}
"""What has Dolphin believe that it is at home."""
SLOW = pytest.mark.timeout(300)
"""A desktop's first start on a busy machine takes a minute, and a test's time counts from there."""


def pictures() -> Path:
    """Give the folder where pictures of the screen are kept."""
    folder = Path(os.environ.get("MUSICFS_PICTURES", ROOT / "build" / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Desk(Desktop):
    """A session with a screen of its own."""

    screen = "1280x800x24"

    def __init__(self, place: Path, user: pwd.struct_passwd) -> None:
        super().__init__(place, user)
        self.place = place
        # In a new home Tumbler looks at every plugin of GStreamer before it says a word: on a busy machine
        # that is a minute, and longer than anybody waits for it. tests/indexers has it with them.
        self.environ["GST_PLUGIN_SYSTEM_PATH_1_0"] = str(place / "no-plugins")

    def open_screen(self) -> None:
        """Start the X server and a window manager."""
        super().open_screen()
        self.environ |= {"QT_QPA_PLATFORM": "xcb", "GDK_BACKEND": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"}
        self.start("openbox")
        self.xdo(
            "mousemove", "0", "0"
        )  # in the middle it would have things explained that are in the picture

    # Windows, keys -------------------------------------------------------------------------------------

    def windows(self, title: str) -> list[str]:
        """Give the visible windows whose title fits a regular expression."""
        return self.run("xdotool", "search", "--onlyvisible", "--name", title).stdout.split()

    def window(self, title: str, limit: float = PATIENCE) -> str:
        """Wait for a window, and give it."""
        found: list[str] = []

        def seen() -> bool:
            found[:] = self.windows(title)
            return bool(found)

        eventually(seen, limit)
        return found[0]

    def xdo(self, *words: str) -> None:
        """Press, click or move."""
        done = self.run("xdotool", *words)
        assert done.returncode == 0, done.stderr

    def press(self, window: str, *keys: str) -> None:
        """Press keys in a window."""
        self.xdo("windowactivate", "--sync", window)
        self.xdo("key", "--clearmodifiers", "--delay", "60", *keys)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.xdo("type", "--delay", "8", text)

    def clip(self, kind: str, text: str) -> None:
        """Put a text of a MIME type into the clipboard, as who copies a file does."""
        place, words = self.home / "clipboard", ("xclip", "-selection", "clipboard", "-t", kind)
        self.write(place, text)
        self.start(*words, "-i", place)
        eventually(lambda: self.run(*words, "-o").stdout.splitlines() == text.splitlines(), PATIENCE)

    def shape(self, window: str, width: int, height: int) -> None:
        """Put a window into the corner, `width` by `height` pixels large."""
        self.xdo("windowmove", window, "0", "0")
        self.xdo("windowsize", window, str(width), str(height))

    # Words, pictures -----------------------------------------------------------------------------------

    def listen(self) -> None:
        """Have programs tell the accessibility bus what they show. To be called before they start."""
        self.environ.pop("NO_AT_BRIDGE", None)
        self.environ |= {"GTK_MODULES": "gail:atk-bridge", "QT_LINUX_ACCESSIBILITY_ALWAYS_ON": "1"}

    def read(self) -> str:
        """Give every word on the screen, a line each: `role: name` or text."""
        ended = self.run(SYSTEM_PYTHON, "-c", READER)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def says(self, *words: str, limit: float = PATIENCE) -> None:
        """Wait until all these words stand on the screen, whatever lines they are broken into."""
        seen = ""

        def true() -> bool:
            nonlocal seen
            seen = " ".join(self.read().split())
            return all(word in seen for word in words)

        try:
            eventually(true, limit)
        except AssertionError:
            raise AssertionError(f"{words} is not on the screen, but {seen}") from None

    def act(self, name: str) -> None:
        """Do what the button or menu entry of that name does."""
        assert self.offers(name), f"{name} cannot be pressed; on the screen:\n{self.read()}"

    def offers(self, name: str) -> bool:
        """Do what the button of that name does, if there is one."""
        return self.run(SYSTEM_PYTHON, "-c", READER, name).returncode == 0

    def shoot(self, name: str, window: str | None = None) -> Path:
        """Keep a picture of the screen, or of one window."""
        path = pictures() / f"{name}.png"
        grab = ("ffmpeg", "-v", "error", "-y", "-f", "x11grab", "-draw_mouse", "0")
        shown = ("-window_id", window) if window else ()
        shot = run([*grab, *shown, "-i", self.environ["DISPLAY"], "-frames:v", "1", path], limit=30)
        assert shot.returncode == 0, shot.stderr
        return path

    def outbox(self) -> Path:
        """Make an empty folder to copy into."""
        return Path(self.run("mktemp", "--directory", self.home / "copies-XXXXXX").stdout.strip())


@contextlib.contextmanager
def session() -> Iterator[Desk]:
    """Open a session with a bus and a screen, in a folder that a mount may share (`Desk.place`)."""
    # Not below pytest's own folder, which other users may not enter.
    place = Path(tempfile.mkdtemp(prefix="musicfs-desk-", dir="/var/tmp"))
    place.chmod(0o755)
    desk = Desk(place, account())
    try:
        desk.open_bus()
        desk.open_screen()
        yield desk
    finally:
        desk.close()
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def seated(sound: Sound, *, rtt: float = RTT, **settings: object) -> Iterator[tuple[Stage, Desk]]:
    """Set the stage of `tests/clients`, mounted for everybody, and sit somebody down before it."""
    with session() as desk:
        owned = {"allow_other": "true", "uid": desk.user.pw_uid, "gid": desk.user.pw_gid}
        wanted: dict[str, Any] = {"listing_ttl": 3600, **owned, **settings}
        with stage(desk.place, sound, rtt=rtt, rate=RATE, **wanted) as scene:
            yield scene, desk
