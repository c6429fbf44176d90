"""Audacity, driven by its script pipe.

How it thinks: Audacity takes commands on one pipe in /tmp and answers on another, both named by the user's
id, so one runs at a time. It is told beforehand what a person would click away: the splash, the question
about updates, and that the pipe's module may be loaded (it asks anew whenever the module's date changes).
Dither is switched off: it is noise, and another one each time.
At its very first start it looks at its effects in processes of their own, and each of them, a mistake of
3.2's, opens the pipes too and takes them away; so it is started once without the module.

What must always be true: a command that is not answered in time is a failure, not a hang.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.clients.desktop_session import Desk
from tests.mounted.mounting import until

_MODULE = Path("/usr/lib/audacity/modules/mod-script-pipe.so")
_START = 60.0  # seconds; it takes 6 on a quiet machine
_ANSWER = 60.0  # seconds; a minute of wav takes half a one to import
_UNLOADED, _LOADED = 0, 1  # what the settings say of a module
_SETTINGS = """NewPrefsInitialized=1
PrefsVersion=1.1.1r1
[GUI]
ShowSplashScreen=0
[Update]
DefaultUpdatesChecking=0
UpdateNoticeShown=1
[Module]
mod-script-pipe={loaded}
[ModulePath]
mod-script-pipe={module}
[ModuleDateTime]
mod-script-pipe={date}
[Quality]
DitherAlgorithmChoice=None
HQDitherAlgorithmChoice=None
[Directories]
TempDir={home}/audacity
[Version]
Major=3
Minor=2
Micro=4
"""


class Audacity:
    """A running Audacity."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        uid = desk.user.pw_uid
        self._there, self._back = (Path(f"/tmp/audacity_script_pipe.{way}.{uid}") for way in ("to", "from"))
        for pipe in (self._there, self._back):
            pipe.unlink(missing_ok=True)
        desk.environ["TZ"] = "UTC"
        self._settle(_UNLOADED)
        desk.start("audacity")
        registry = desk.config / "audacity" / "pluginregistry.cfg"
        until(lambda: registry.exists() and len(self._running()) == 1, _START)
        desk.window("^Audacity$", _START)
        for pid in self._running():
            os.kill(pid, signal.SIGTERM)
        until(lambda: not self._running())
        shutil.rmtree(desk.home / "audacity")  # or it would offer to recover an empty project
        self._settle(_LOADED)
        desk.start("audacity")
        until(lambda: self._there.exists() and self._back.exists(), _START)
        desk.window("^Audacity$", _START)  # the pipes are there earlier, and what comes then is lost
        self._to = os.open(self._there, os.O_RDWR)
        self._from = os.open(self._back, os.O_RDONLY | os.O_NONBLOCK)

    def _settle(self, loaded: int) -> None:
        """Write its settings."""
        date = datetime.fromtimestamp(_MODULE.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        text = _SETTINGS.format(module=_MODULE, date=date, home=self._desk.home, loaded=loaded)
        self._desk.write(self._desk.config / "audacity" / "audacity.cfg", text)

    def _running(self) -> list[int]:
        return [pid for pid, name in self._desk.programs().items() if name == "audacity"]

    def ask(self, command: str, limit: float = _ANSWER) -> str:
        """Give a command and return what is answered, the verdict apart, which has to be OK."""
        said, verdict = self.say(command, limit)
        assert verdict == "OK", f"{command}: {said}"
        return said

    def say(self, command: str, limit: float = _ANSWER) -> tuple[str, str]:
        """Give a command and return what is answered, and the verdict (`OK`, `Failed!`)."""
        self.begin(command)
        return self.answer(limit)

    def begin(self, command: str) -> None:
        """Give a command; what it answers is to be fetched before the next."""
        os.write(self._to, f"{command}\n".encode())

    def answer(self, limit: float = _ANSWER) -> tuple[str, str]:
        """Wait for what the last command answers, and for the verdict."""
        end, heard = time.monotonic() + limit, b""
        while not (b"BatchCommand finished: " in heard and heard.endswith(b"\n\n")):
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no answer but {heard!r}"
            more = os.read(self._from, 65_536)
            if not more:
                time.sleep(0.05)  # its end of the pipe is not open yet
            heard += more
        said, _, verdict = heard.decode().strip().rpartition("BatchCommand finished: ")
        return said.strip(), verdict

    def load(self, path: Path) -> None:
        """Import a file as a track of its own."""
        self.ask(f'Import2: Filename="{path}"')

    def tracks(self) -> list[dict[str, Any]]:
        """Give what Audacity says of its tracks: name, end (seconds), channels …"""
        found: list[dict[str, Any]] = json.loads(self.ask("GetInfo: Type=Tracks Format=JSON"))
        return found

    def render(self, path: Path) -> bytes:
        """Mix all tracks into a wav and give its bytes."""
        self.ask("SelectAll:")
        self.ask(f'Export2: Filename="{path}" NumChannels=2')
        return path.read_bytes()

    def clear(self) -> None:
        """Remove every track."""
        self.ask("SelectAll:")
        self.ask("RemoveTracks:")

    def close(self) -> None:
        """Let go of the pipes; the session ends the program."""
        os.close(self._to)
        os.close(self._from)
        for pipe in (self._there, self._back):
            pipe.unlink(missing_ok=True)


@contextlib.contextmanager
def audacity(desk: Desk) -> Iterator[Audacity]:
    """Start it, and let go of it at the end."""
    program = Audacity(desk)
    try:
        yield program
    finally:
        program.close()
