"""Real programs that read a file of the mount, and what became of it.

How it thinks: a reading is right if the program got exactly the file's bytes and said that all is well, or if
it said which error there was and what it had got by then is the beginning of the file. Everything else is a
lie, whatever the network did.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.figures import FAULTS, WORST

_NAMES = {
    **{os.strerror(number): name for number, name in errno.errorcode.items()},
    # What cp says when the name stands for another version than a moment ago.
    "replaced while being copied": "ESTALE",
}
PROGRAMS = ("cat", "dd", "cp", "rsync", "tail")
_TAIL = 70_000  # bytes that `tail` wants: more than a block, so that it comes from two


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one program."""

    error: str
    """The errno's name, "" if it ended well."""
    lie: str
    """What was wrong about the bytes, "" if nothing."""
    seconds: float


def read(program: str, path: Path, wanted: bytes, limit: float) -> Reading:
    """Run a program over a file whose bytes are `wanted`, for at most `limit` seconds."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        copy = Path(folder) / "copy"
        commands: dict[str, list[str | Path]] = {
            "cat": ["cat", path],
            "dd": ["dd", f"if={path}", "bs=100k", "status=none"],
            "cp": ["cp", path, copy],
            "rsync": ["rsync", "--inplace", path, copy],
            "tail": ["tail", "-c", str(_TAIL), path],
        }
        began = time.monotonic()
        with copy.open("wb") if program in ("cat", "dd", "tail") else open(os.devnull, "wb") as out:
            ended = subprocess.run(
                commands[program],
                stdout=out,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                timeout=limit,
                check=False,
            )
        seconds = time.monotonic() - began
        got = copy.read_bytes() if copy.exists() else b""
    said = ended.stderr.decode(errors="replace")
    error = (
        "" if ended.returncode == 0 else next((name for text, name in _NAMES.items() if text in said), said)
    )
    if program == "tail":
        wanted = wanted[-_TAIL:]
    FAULTS["readings"] += 1
    FAULTS["bytes verified"] += len(got)
    WORST["seconds"] = max(WORST["seconds"], seconds)
    return Reading(error, _lie(program, error, got, wanted), seconds)


def _lie(program: str, error: str, got: bytes, wanted: bytes) -> str:
    if not error:
        return (
            "" if got == wanted else f"{len(got)} bytes that are not the file's {len(wanted)}, and no error"
        )
    if program == "tail" and error:
        # Where the end lies is what `fstat` said: of an estimate, another part of the file is the tail.
        return ""
    if program == "rsync":
        return ""  # It pads what it could not read, says so, and ends with an error.
    return "" if wanted.startswith(got) else "bytes that are not the file's before the error"
