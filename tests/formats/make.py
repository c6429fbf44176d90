"""Writes down what this musicfs keeps on disk, for those that come after: `python -m tests.formats.make`.

Run it once for each new format, when the number in `musicfs/state/tables.py` or `musicfs/store/store.py`
rises, and commit what it made; what is there already is never made again. A real mount of the loopback
service is used, so that what is kept is what a user of that version had: a song read whole in one pass, a
part of a wav, a stem out of its archive, a pinned song. `expected.json` says what must be found.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from musicfs.demo import Service, zip_of
from musicfs.state.tables import FORMAT as STATE
from musicfs.store.store import FORMAT as CACHE
from tests.mounted.mounting import Mount, done, mounted, sha256

HERE = Path(__file__).parent
PART = 100_000
"""Bytes of the wav that are read: two blocks."""


def kept(state: int, cache: int) -> Path:
    """Name the folder of what a version with these formats had."""
    return HERE / f"state-{state}-cache-{cache}"


def make(folder: Path, home: Path) -> None:
    """Use a mount as somebody would, and keep its state and cache."""
    service = Service(clock=time.time)
    service.add_clip("ada@example.org", "Harbour Lights", 2.0)
    service.add_clip("ada@example.org", "Harbour Lights", 3.0)
    service.add_job("100", "Neon/Drift", 4.0, stems=zip_of({"drums.wav": b"RIFF" + bytes(range(256)) * 20}))
    with mounted(service, home) as mount:
        expected = use(mount)
        assert mount.stop() == 0, mount.log
    folder.mkdir()
    shutil.copy(home / "state" / "state.db", folder)
    shutil.copytree(home / "cache", folder / "cache")
    (folder / "cache" / "lock").unlink()
    text = json.dumps(expected, indent=1, sort_keys=True)
    (folder / "expected.json").write_text(text + "\n")


def use(mount: Mount) -> dict[str, object]:
    """Read, warm and look; give what has to be found again."""
    tree = look(mount.path)
    whole = [name for name in tree if name.startswith("flowmusic/") or "/stems/" in name]
    wav = next(name for name in tree if name.startswith("tempolor/") and name.endswith("song.wav"))
    files = {name: sha256(mount.path / name) for name in whole if not name.startswith("library/")}
    part = done(["sh", "-c", f'head -c {PART} "$0" | sha256sum', mount.path / wav])[:64]
    pinned = next(name for name in files if name.startswith("flowmusic/"))
    assert mount.ask("warm", str(mount.path / pinned)).returncode == 0
    return {"tree": look(mount.path), "files": files, "wav": wav, "part": part, "pinned": pinned}


def look(top: Path) -> dict[str, list[int]]:
    """Walk a mount: each file's size in bytes and time in seconds."""
    done(["ls", "-lR", top])  # a first look brings what is asked for when a folder is opened
    lines = done(["find", top, "-type", "f", "-printf", "%P\\t%s\\t%Ts\\n"]).splitlines()
    found = (line.split("\t") for line in lines)
    return {name: [int(size), int(when)] for name, size, when in found}


def main() -> int:
    """Make what is missing."""
    folder = kept(STATE, CACHE)
    if folder.exists():
        print(f"{folder.name} is there, and stays as it is")
        return 0
    with tempfile.TemporaryDirectory() as home:
        make(folder, Path(home))
    print(folder.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
