"""LMMS's renderer: a project of one sample, which lies where it is.

How it thinks: LMMS loads a sample whole when it opens the project, and then a second time. A sample that it
cannot load is silence; its window says nothing of it either, and both tell their terminal the file's name.
On a busy machine it may fall over at its end, in a thread that ends while the program exits, with the wav
whole (docs/programs.md); then it is started again.

What must always be true: it is never waited for without a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.clients.daw_work import Working, working
from tests.clients.desktop_session import Desk
from tests.clients.sound import SECONDS

LIMIT = 120.0  # seconds; a minute of sound takes 3 on a quiet machine
TRIES = 4  # on a busy machine one in six to thirty ended so, its wav whole
_TICKS = 96  # in a second of 120 beats a minute
_PROJECT = """<?xml version="1.0"?>
<!DOCTYPE lmms-project>
<lmms-project type="song" version="1.0" creator="LMMS" creatorversion="1.2.2">
<head bpm="120" mastervol="100" masterpitch="0" timesig_numerator="4" timesig_denominator="4"/>
<song><trackcontainer type="song"><track type="2" name="song" muted="0" solo="0">
<sampletrack vol="100" pan="0"><fxchain enabled="0" numofeffects="0"/></sampletrack>
<sampletco pos="0" len="{ticks}" src="{path}" muted="0"/>
</track></trackcontainer></song></lmms-project>
"""
_SETTINGS = """<?xml version="1.0"?>
<!DOCTYPE lmms-config-file>
<lmms version="1.2.2" configversion="2"><app configured="1" nanopos="1"/>
<mixer audiodev="Dummy (no sound output)" mididev="Dummy (no MIDI support)"/></lmms>
"""


def project(path: Path) -> str:
    """Write a project of one sample of a minute."""
    return _PROJECT.format(path=path, ticks=int(SECONDS * _TICKS))


@contextmanager
def rendering(path: Path, folder: Path) -> Iterator[Working]:
    """Begin to render a song in a folder that is made for it."""
    folder.mkdir(parents=True)
    file, out = folder / "song.mmp", folder / "song.wav"
    file.write_text(project(path))
    words = ("lmms", "--allowroot", "render", file, "-f", "wav", "-o", out)
    with working(words, folder, out, {"QT_QPA_PLATFORM": "offscreen"}) as work:
        yield work


def rendered(path: Path, folder: Path) -> bytes:
    """Render a song and give the wav's samples."""
    for number in range(TRIES):
        with rendering(path, folder / str(number)) as work:
            code = work.end(LIMIT)
            if not work.fell:
                assert code == 0, work.said
                return work.samples
    raise AssertionError(f"LMMS fell over {TRIES} times: {work.said}")


def show(desk: Desk, path: Path) -> str:
    """Open a project with a song in LMMS's window, and give the window."""
    desk.run("mkdir", "-p", desk.home / "Documents" / "lmms")  # or it would ask whether to
    desk.write(desk.home / ".lmmsrc.xml", _SETTINGS)
    desk.write(desk.home / "song.mmp", project(path))
    desk.start("lmms", desk.home / "song.mmp")
    return desk.window("^song - LMMS", 90)
