"""The pictures of the README: `python -m tests.clients.desktop_pictures`.

How it thinks: the demo's library is mounted in somebody's home, looked at in Dolphin, and its stems are
opened in Audacity. Nothing is painted afterwards; pngquant makes the files small. Besides what
`scripts/setup --clients` installs it wants pngquant, optipng, and fonts for every title: fonts-vlgothic and
fonts-noto-color-emoji.

What must always be true: each picture is under 150 kB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musicfs.demo import Service
from tests.clients.daw_audacity import audacity
from tests.clients.desktop_session import KDE, ROOT, Desk, session
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, done

LIMIT = 150_000  # bytes a picture
_SETTLED = 20.0  # seconds in which a program draws the last of its icons
_STEMS = ("drums", "bass", "other", "vocals")
_DOLPHIN = """[General]
ShowSpaceInfo=false
[IconsMode]
IconSize=96
PreviewSize=96
[MainWindow]
MenuBar=Disabled
[PreviewSettings]
Plugins=directorythumbnail,imagethumbnail,jpegthumbnail
"""


@contextmanager
def home(desk: Desk) -> Iterator[Path]:
    """Mount the demo's library as `Music-AI` in the user's home."""
    with running(Service.demo(clock=time.time)) as loop:
        owned = {"allow_other": "true", "uid": desk.user.pw_uid, "gid": desk.user.pw_gid}
        # The demo composes a song when it is first asked for one byte of it: seconds on a busy machine.
        mount = Mount(loop, desk.place, deadline=60, **owned)
        mount.path.rmdir()
        mount.path = desk.home / "Music-AI"
        mount.path.mkdir()
        with attached(mount):
            yield mount.path


def show_library(desk: Desk, music: Path) -> Path:
    """Look at `library/` in Dolphin."""
    for song in sorted((music / "library").iterdir()):
        done(["ls", "-l", song])  # the demo composes the song now, which takes its time
    desk.write(desk.config / "dolphinrc", _DOLPHIN)
    desk.environ |= KDE
    desk.start("dolphin", music / "library")
    window = desk.window("^library")
    desk.press(window, "F9")  # away with the list of places
    desk.shape(window, 860, 700)
    time.sleep(_SETTLED)
    desk.press(window, "F5")
    time.sleep(_SETTLED)
    return desk.shoot("library", window)


def show_stems(desk: Desk, music: Path) -> Path:
    """Look at a song's stems in Audacity."""
    folder = music / "library" / "Night Drive" / "stems"
    with audacity(desk) as program:
        for name in _STEMS:
            program.load(folder / f"{name}.mp3")
        window = desk.window("^drums$")
        desk.shape(window, 1120, 700)
        for command in ("FitV:", "SelectNone:", "FitInWindow:"):
            program.ask(command)
        time.sleep(_SETTLED)
        return desk.shoot("stems", window)


def keep(shot: Path) -> None:
    """Put a picture, made small, into docs/pictures."""
    path = ROOT / "docs" / "pictures" / shot.name
    done(["pngquant", "--force", "--speed", "1", "--output", path, "64", shot])
    done(["optipng", "-quiet", "-o5", path])
    assert path.stat().st_size < LIMIT, f"{path} has {path.stat().st_size} bytes"
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Make them all."""
    with session() as desk, home(desk) as music:
        keep(show_library(desk, music))
        keep(show_stems(desk, music))


if __name__ == "__main__":
    main()
