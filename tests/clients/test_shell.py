"""The shell's programs: they read, list and copy what is on the mount as if it were on the disk.

Budgets are what came over the wire at most, heads of answers included, for a song of 1.4 MB (mp3), 1.2 MB
(m4a) or 10.6 MB (wav); what was measured stands beside them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.stage import Stage, Twin
from tests.clients.work import KIB, MIB, agrees, whole, work
from tests.mounted.mounting import done

MAPPED = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    print(len(mapped), [mapped[len(mapped) * part // 3 - 1] for part in (1, 2, 3)])
"""
MAPPED_WHOLE = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    print(hashlib.sha256(mapped).hexdigest())
"""
LISTED = "ls -lR --time-style=full-iso {name} | grep ^- | awk '{{ $2 = \"\"; print }}'"
"""`ls -l` without the number of links: a song is on the mount twice."""

IN_PART = {
    "head": (
        ["head", "-c", "1000", "{name}"],
        384 * KIB,
    ),  # 97 to 257 KiB: the first window ends with its reader
    "tail": (["tail", "-c", "128", "{name}"], 640 * KIB),  # 289 KiB
    "dd": (
        ["dd", "if={name}", "of={out}/part", "bs=4k", "skip=300", "count=4", "status=none"],
        MIB,  # 449 to 641 KiB
    ),
    # A page fault brings the kernel's read-ahead around it: 1 MiB where root mounts.
    "mmap": (["python3", "-c", MAPPED, "{name}"], 4 * MIB),  # 2.9 MiB
}


@pytest.mark.parametrize("what", IN_PART)
def test_in_part(what: str, scene: Stage) -> None:
    """A program that reads a part of a wav gets the same bytes, and not much more of it is fetched."""
    words, budget = IN_PART[what]
    agrees(scene, scene.wav(), words, budget)


WHOLE = {
    "cat": ["cat", "{name}"],
    "cp": ["cp", "{name}", "{out}"],
    "dd": ["dd", "if={name}", "of={out}/copy", "bs=1M", "status=none"],
    "sha256sum": ["sha256sum", "{name}"],
    "mmap": ["python3", "-c", MAPPED_WHOLE, "{name}"],
    "file": ["file", "--brief", "{name}"],
}
LONG = dict.fromkeys(WHOLE, pytest.mark.long) | {"file": pytest.mark.needs("file")}


@pytest.mark.parametrize(
    "what", [pytest.param(key, marks=() if key in ("cat", "mmap") else LONG[key]) for key in WHOLE]
)
def test_whole(what: str, scene: Stage) -> None:
    """A program that reads a file whole has each of its bytes fetched once, and makes the same of them."""
    for twin in (scene.mp3(), scene.stem("more/voice.wav")):
        # The end of an archive, with its directory, is fetched first, and belongs to nobody's stem.
        agrees(scene, twin, WHOLE[what], whole(twin) + 128 * KIB)


COPIERS = {
    "cp -r": (["cp", "-r", "{name}", "{out}"], ("cp",)),
    "cp -a": (["cp", "-a", "{name}", "{out}"], ()),
    "rsync": (["rsync", "-a", "{name}", "{out}"], ("rsync",)),
    "tar": (["tar", "--sort=name", "--format=gnu", "-cf", "{out}/a.tar", "{name}"], ()),
    "zip": (["sh", "-c", "find {name} -type f | sort | zip -qX@ {out}/a.zip"], ("zip",)),
    "rclone": (["rclone", "--config", "/dev/null", "copy", "{name}", "{out}"], ("rclone",)),
}


@pytest.mark.parametrize(
    "what", [pytest.param(key, marks=pytest.mark.needs(*needs)) for key, (_, needs) in COPIERS.items()]
)
def test_copies(what: str, scene: Stage) -> None:
    """A song's folder is copied or packed as a local one is; each byte comes once, and of the next song at
    most what is fetched ahead: two files, of a ranged one 8 MiB."""
    twin = scene.folder()
    agrees(scene, twin, COPIERS[what][0], whole(twin) + 2 * 8 * MIB)


@pytest.fixture(scope="module")
def folder(scene: Stage) -> Twin:
    """Take a folder, and have it copied once, so that its sizes are known."""
    twin = scene.folder()
    work(["cp", "-r", "{name}", "{out}"], twin.there)
    scene.settle()
    return twin


LISTINGS = {
    "ls": (LISTED.replace("{{", "{").replace("}}", "}"), ()),
    "find": ("find {name} -type f -printf '%P %s %m %u %g %T@\\n' | sort", ()),
    "du": ("find {name} -type f | sort | xargs du -b", ()),
    "tree": ("tree -pugD {name}", ("tree",)),
}


@pytest.mark.parametrize(
    "what", [pytest.param(key, marks=pytest.mark.needs(*needs)) for key, (_, needs) in LISTINGS.items()]
)
def test_lists(what: str, scene: Stage, folder: Twin) -> None:
    """What lists a folder says the same names, sizes, modes, owners and times, and costs nothing."""
    cost = agrees(scene, folder, ["sh", "-c", LISTINGS[what][0]], 0)
    assert not cost.requests


def test_lists_cold(scene: Stage) -> None:
    """Listing a folder that nobody has touched costs its archive's link and directory, and no sound."""
    twin = scene.folder()
    with scene.counted() as cost:
        done(["ls", "-lR", twin.there])
        done(["find", twin.there, "-size", "+1k"])
        done(["du", "-a", twin.there])
    assert sorted(cost.requests) == ["mint", "range"]
    assert cost.bytes < 128 * KIB


FLAGS = ("-a", "-aHAX", "-a --checksum")
MORE_FLAGS = ("-rtvz", "-r --size-only", "-a --inplace --partial")


@pytest.mark.needs("rsync")
@pytest.mark.parametrize(
    "flags", [*FLAGS, *(pytest.param(more, marks=pytest.mark.long) for more in MORE_FLAGS)]
)
def test_rsync_twice(flags: str, scene: Stage, folder: Twin, tmp_path: Path) -> None:
    """A second rsync with the same flags copies nothing, and asks the services nothing."""
    words = ["rsync", *flags.split(), "--delete", f"{folder.there}/", f"{tmp_path}/copy/"]
    done(words)
    done(["diff", "-r", folder.here, tmp_path / "copy"])
    with scene.counted() as cost:
        assert done([*words, "--out-format=%i %n"]).count(" song.") == 0
    assert not cost.requests


def test_move_is_refused(scene: Stage, tmp_path: Path) -> None:
    """`mv` out of the mount leaves the song where it is and says that it may not be removed; within the
    mount it is refused before a byte is fetched."""
    twin, other = scene.mp3(), scene.mp3()
    moved = work(["mv", "{name}", "{out}"], twin.there)
    assert moved.code == 1
    assert moved.complained.endswith("Read-only file system\n")
    assert twin.there.read_bytes() == twin.here.read_bytes()
    with scene.counted() as cost:
        moved = work(["mv", "{name}", "other.mp3"], other.there)
    assert moved.code == 1
    assert moved.complained.endswith("Read-only file system\n")
    assert not cost.requests
