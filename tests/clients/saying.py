"""What programs say when a song cannot be had: how they are run, and the tables of docs/programs.md.

How it thinks: the page is the truth that is tested. A row's `FILE` is the file's name, `PATH` its whole path,
`…` the words for the errno; what it has in backticks has to be found, in whatever case. A row without
backticks is a program that does not say the words at all. Where a program has learnt to speak otherwise, a
further row says from which version on.
"""

from __future__ import annotations

import errno
import re
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.clients.work import Ran, work

PAGE = Path(__file__).parents[2] / "docs" / "programs.md"
_SIDE_BY_SIDE = 8  # programs at a time: most of the time is spent in waiting
_BY_ERRNO = frozenset(256 - number for number in errno.errorcode)
"""The exit codes of a program that ends with the negative number of its error."""
_SYSTEM = "/usr/bin/python3"  # which has Debian's modules
_VLC = ("unshare", "--user", "cvlc", "--quiet", "-I", "dummy", "--no-video", "--play-and-exit")
_VLC_PCM = "#transcode{vcodec=none,acodec=s16l}:std{access=file,mux=wav,dst={out}/heard.wav}"
_MPV = (
    "mpv",
    "--no-config",
    "--no-video",
    "--ao=pcm",
    "--ao-pcm-file={out}/heard.wav",
    "--msg-level=all=error",
)

PROGRAMS: Mapping[str, tuple[tuple[str, ...], str]] = {
    # The words, and the program that has to be installed.
    "cat": (("sh", "-c", 'cat "$0" > {out}/copy', "./{name}"), "cat"),
    "cp": (("cp", "./{name}", "{out}"), "cp"),
    "head": (("head", "-c", "10", "./{name}"), "head"),
    "tail": (("tail", "-c", "10", "./{name}"), "tail"),
    "dd": (("dd", "if=./{name}", "of={out}/copy", "status=none"), "dd"),
    "sha256sum": (("sha256sum", "./{name}"), "sha256sum"),
    "tar": (("tar", "-cf", "{out}/a.tar", "./{name}"), "tar"),
    "rsync": (("rsync", "-a", "./{name}", "{out}"), "rsync"),
    "file": (("file", "./{name}"), "file"),
    "zip": (("zip", "-q", "{out}/a.zip", "./{name}"), "zip"),
    "rclone": (
        (
            *("rclone", "--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"),
            *("copy", "./{name}", "{out}"),
        ),
        "rclone",
    ),
    "ffprobe": (("ffprobe", "-v", "error", "./{name}"), "ffprobe"),
    "ffmpeg": (("ffmpeg", "-v", "error", "-i", "./{name}", "-bitexact", "{out}/a.flac"), "ffmpeg"),
    "ffmpeg -xerror": (
        ("ffmpeg", "-v", "error", "-xerror", "-i", "./{name}", "-bitexact", "{out}/a.flac"),
        "ffmpeg",
    ),
    "sox": (("sox", "./{name}", "{out}/a.wav"), "sox"),
    "mediainfo": (("mediainfo", "./{name}"), "mediainfo"),
    "mpv": ((*_MPV, "./{name}"), "mpv"),
    "vlc": ((*_VLC, "--sout", _VLC_PCM, "./{name}"), "cvlc"),
    "python": (("python3", "-c", "import sys; open(sys.argv[1], 'rb').read()", "./{name}"), "python3"),
    "soundfile": (
        (_SYSTEM, "-c", "import sys, soundfile; soundfile.read(sys.argv[1])", "./{name}"),
        "mid3v2",
    ),
    "mutagen": ((_SYSTEM, "-c", "import sys, mutagen; mutagen.File(sys.argv[1])", "./{name}"), "mid3v2"),
}

FOLDERS: Mapping[str, tuple[tuple[str, ...], str]] = {
    # The same of what goes through a folder.
    "ls": (("ls", "./{name}"), "ls"),
    "find": (("find", "./{name}"), "find"),
    "du": (("du", "./{name}"), "du"),
    "tree": (("tree", "./{name}"), "tree"),
    "cp -r": (("cp", "-r", "./{name}", "{out}"), "cp"),
    "rsync -a": (("rsync", "-a", "./{name}", "{out}"), "rsync"),
    "tar": (("tar", "-cf", "{out}/a.tar", "./{name}"), "tar"),
    "zip -r": (("zip", "-qr", "{out}/a.zip", "./{name}"), "zip"),
    "rclone copy": (
        ("rclone", "--config", "/dev/null", "--retries", "1", "copy", "./{name}", "{out}"),
        "rclone",
    ),
    "os.listdir": (("python3", "-c", "import os, sys; os.listdir(sys.argv[1])", "./{name}"), "python3"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table of programs."""

    program: str
    says: str
    """Empty: nothing of it."""
    codes: frozenset[int]
    leaves: str
    """What it makes of a part; empty where the table does not tell."""

    def misfit(self, ran: Ran, path: Path, words: str) -> str:
        """Say what is not as the row has it; "" if all is."""
        said = f"{ran.said}\n{ran.complained}".lower()
        wanted = self.says.replace("FILE", f"./{path.name}").replace("PATH", str(path)).replace("…", words)
        if self.says and wanted.lower() not in said:
            return f"{self.program} does not say “{wanted}” but “{said[-500:]}”"
        if not self.says and words.lower() in said:
            return f"{self.program} says the words: “{said[-500:]}”"
        if ran.code not in self.codes:
            return f"{self.program} ended with {ran.code}: “{said[-500:]}”"
        if self.leaves and bool(ran.left) == (self.leaves == "nothing"):
            return f"{self.program} left {sorted(ran.left)}"
        return ""


def table(heading: str) -> dict[str, Row]:
    """Read the table of programs below a heading of the page."""
    found: dict[str, Row] = {}
    for cells in _cells(heading):
        named = re.fullmatch(r"`([^`]+)`(?: from (\d+))?", cells[0])
        if named is None or len(cells) < 3 or named[1] not in {*PROGRAMS, *FOLDERS}:
            continue
        program, since = named.groups()
        if since is not None and _version(program.partition(" ")[0]) < int(since):
            continue
        text = re.search("`(.*)`", cells[1])  # to the last one: sox quotes with one
        codes = _BY_ERRNO if "errno" in cells[2] else frozenset(map(int, re.findall(r"\d+", cells[2])))
        found[program] = Row(program, text[1] if text else "", codes, cells[3] if len(cells) > 3 else "")
    return found


def _version(program: str) -> int:
    """Give the first number of a program's version; 0 if it is not here."""
    try:
        told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True, timeout=20)
    except FileNotFoundError:
        return 0
    number = re.search(r"version \D*(\d+)", told.stdout)
    return int(number[1]) if number else 0


def words(column: int = 1) -> dict[str, str]:
    """Read the words for each errno; those that Samba (3) or NFS (4) have for it stand in other columns."""
    rows = (cells for cells in _cells("What it says") if re.fullmatch(r"E[A-Z]+", cells[0]))
    return {cells[0]: cells[column].strip("`") for cells in rows}


def costs() -> dict[str, tuple[str, str]]:
    """Read the table of bytes: for each row, what is said of a wav and of an m4a."""
    return {cells[0]: (cells[1], cells[2]) for cells in _cells("What it costs") if len(cells) == 3}


def dialogs() -> dict[str, dict[str, str]]:
    """Read the table of file managers: for each errno, what each of them says."""
    head, *rows = _cells("File managers")
    return {errno: dict(zip(head[1:], row[1:], strict=True)) for row in rows for errno in row[0].split(", ")}


def daws() -> dict[str, dict[str, str]]:
    """Read the table of DAWs: for each errno, what each of them says and where."""
    rows = _cells("DAWs")
    head, *told = rows[[row[0] for row in rows].index("what came") :]
    return {errno: dict(zip(head[1:], row[1:], strict=True)) for row in told for errno in row[0].split(", ")}


def _cells(heading: str) -> list[list[str]]:
    section = PAGE.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def tried(
    pairs: Sequence[tuple[str, Path]],
    limit: float,
    programs: Mapping[str, tuple[tuple[str, ...], str]] = PROGRAMS,
    most: int = _SIDE_BY_SIDE,
) -> list[Ran]:
    """Run programs, `most` side by side, each on its path; none may take longer than `limit` seconds."""
    with ThreadPoolExecutor(most) as pool:
        return list(pool.map(lambda pair: work(programs[pair[0]][0], pair[1], limit=limit), pairs))
