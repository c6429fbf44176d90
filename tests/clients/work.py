"""A piece of work done three times: on the local copy, on the mount cold, and on the mount without a network.

How it thinks: a program runs in the folder that holds the file, and is given a bare name, so that what it
prints is the same wherever the folder is. `{name}` in its words is the file or folder, `{out}` an empty
folder for what it makes. Exit code, standard output and every byte it left are what has to be equal; what it
says on the side (times, speeds) is not.

What must always be true: nothing runs without a bound on its time.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.stage import Cost, Stage, Twin
from tests.mounted.mounting import run

LIMIT = 60.0  # seconds for a program on a busy machine; the slowest takes 6 on a quiet one
KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it left."""

    code: int
    said: str
    left: dict[str, str]
    """The SHA-256 of each file it made; a folder is "folder"."""
    complained: str = field(compare=False, default="")


def work(words: Sequence[str], path: Path, *, limit: float = LIMIT) -> Ran:
    """Run a program on a file or folder."""
    with tempfile.TemporaryDirectory(prefix="musicfs-clients-") as out:
        named = [word.replace("{name}", path.name).replace("{out}", out) for word in words]
        ended = run(named, limit=limit, cwd=path.parent)
        said, complained = (text.replace(out, "{out}") for text in (ended.stdout, ended.stderr))
        return Ran(ended.returncode, said, _left(Path(out)), complained)


def _left(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): "folder"
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
    }


def agrees(scene: Stage, twin: Twin, words: Sequence[str], budget: int, *, code: int = 0) -> Cost:
    """See a program do the same on the mount as on the copy: cold within `budget` bytes of upstream, then
    without a network; give what the cold run cost."""
    here = work(words, twin.here)
    assert here.code == code, here.complained
    with scene.counted() as cost:
        cold = work(words, twin.there)
    assert cold == here, cold.complained
    with scene.pulled():
        warm = work(words, twin.there)
    assert warm == here, warm.complained
    assert cost.bytes <= budget, f"{cost.bytes} bytes came for {words[0]}, {budget} were to be enough"
    return cost


def whole(twin: Twin) -> int:
    """Give the budget of who reads all of it: its bytes once, and 1 % and 64 KiB for what goes along."""
    return twin.size * 101 // 100 + 65_536
