"""What `musicfs doctor --report` writes: enough to find a bug with, and nothing that is private.

How it thinks: versions, findings, settings with their origins, and each daemon's status, as Markdown to be
pasted. What names a person, a song or a program is taken out: the home folder is `~`, of a status only
numbers and sentences stay, and what is left passes the log's own filter.
"""

from __future__ import annotations

import getpass
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from musicfs import __version__, config, control
from musicfs.commands import logs
from musicfs.commands.config import rows
from musicfs.commands.doctor.verdicts import Verdict
from musicfs.errors import MusicfsError

PARTS = ("pyfuse3", "trio", "httpx", "httpcore", "msgspec", "cachetools", "rich", "platformdirs")
PRIVATE = ("path", "key", "now", "mountpoint", "programs")
"""Keys of a status that name songs, folders or what somebody runs."""


def written(loaded: config.Loaded, verdicts: Sequence[Verdict], environ: Mapping[str, str]) -> str:
    """Write the report."""
    return redacted("\n".join(_lines(loaded, verdicts, environ)))


def _lines(loaded: config.Loaded, verdicts: Sequence[Verdict], environ: Mapping[str, str]) -> Iterator[str]:
    yield f"## musicfs {__version__}\n"
    yield f"- Python {platform.python_version()}, Linux {platform.release()}, {_distribution()}"
    yield "- " + ", ".join(f"{part} {_version(part)}" for part in PARTS)
    yield "\n## Findings\n"
    for verdict in verdicts:
        remedy = f" ({verdict.remedy})" if verdict.remedy else ""
        yield f"- {verdict.standing.value}: {verdict.name}: {verdict.says}{remedy}"
    yield "\n## Settings that are not the default\n"
    changed = [f"- {key} = {value} ({origin})" for key, value, origin in rows(loaded) if origin != "default"]
    yield from changed or ["none"]
    for number, daemon in enumerate(control.daemons(config.runtime_dirs(environ)), 1):
        yield f"\n## Status of mount {number}\n\n```json"
        try:
            yield json.dumps(nameless(control.ask(daemon.socket, "status")), indent=1)
        except MusicfsError as failure:
            yield json.dumps({"error": str(failure)})
        yield "```"


def nameless(told: Any) -> Any:
    """Take out of a status what names songs, folders and programs."""
    if isinstance(told, dict):
        return {key: nameless(value) for key, value in told.items() if key not in PRIVATE}
    if isinstance(told, list):
        return [nameless(value) for value in told]
    return told


def redacted(text: str) -> str:
    """Take the home folder and the user's name out of paths, and what the log's filter knows."""
    home = str(Path.home())
    if home != "/":
        text = text.replace(home, "~")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    if len(user) > 1 and user != "root":
        text = text.replace(f"/{user}/", "/…/")
    return logs.scrub(text)


def _version(part: str) -> str:
    try:
        return version(part)
    except PackageNotFoundError:
        return "missing"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", sys.platform)
    except OSError:
        return sys.platform
