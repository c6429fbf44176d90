"""Thunar, asked over the bus for what its menus do.

How it thinks: the calls are those by which other programs of the desktop hand Thunar their work
(`org.xfce.FileManager`), so the windows and the words are its own. A call that asks the user something does
not answer before the user has; so no call is waited for, but what is then seen.
"""

from __future__ import annotations

from pathlib import Path

from tests.clients.desktop_session import Desk

_NAME = "org.xfce.FileManager"


class Thunar:
    """A running Thunar without a window."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.listen()
        desk.start("thunar", "--daemon")
        owned = ("gdbus", "wait", "--session", "--timeout", "60", _NAME)
        assert desk.run(*owned, limit=70).returncode == 0, "Thunar does not come to the bus"

    def copy(self, source: Path, folder: Path) -> None:
        """Copy a file or folder into a folder."""
        self._call("CopyInto", "", f"['{source.as_uri()}']", folder.as_uri())

    def delete(self, path: Path) -> None:
        """Delete, as Shift+Delete does."""
        self._call("UnlinkFiles", "", f"['{path.as_uri()}']")

    def rename(self, path: Path) -> None:
        """Ask for a new name."""
        self._call("RenameFile", path.as_uri())

    def properties(self, path: Path) -> None:
        """Show a file's properties."""
        self._call("DisplayFileProperties", path.as_uri())

    def show(self, folder: Path) -> str:
        """Show a folder, and give its window."""
        self.ask(folder)
        return self._desk.window(f"^{folder.name} - Thunar$")

    def ask(self, folder: Path) -> None:
        """Ask for a folder that may not be had."""
        self._call("DisplayFolder", folder.as_uri())

    def _call(self, method: str, *words: str) -> None:
        place = ("--dest", _NAME, "--object-path", "/org/xfce/FileManager")
        where = (self._desk.environ["DISPLAY"], "")
        self._desk.start(
            "gdbus", "call", "--session", *place, "--method", f"{_NAME}.{method}", *words, *where
        )
