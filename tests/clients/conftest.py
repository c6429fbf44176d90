"""Which programs are tried in a run, and the stage they are tried on.

How it thinks: a test names the programs it needs, or the files of one that is no command. CI installs a part
of them (`ORDINARY`); a test that needs others, or is marked `long`, is left out of an ordinary run and is for
`sh scripts/clients`, which installs them all and says so in the environment. There nothing is left out: a
program that is missing fails its tests. Elsewhere such a test says which it is, and passes by.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from glob import glob
from pathlib import Path

import pytest

from tests.clients.desktop_pasting import GTK2
from tests.clients.desktop_session import DESK
from tests.clients.sound import Sound, made
from tests.clients.stage import Stage, stage
from tests.mounted.conftest import mark
from tests.mounted.mounting import MOUNTS

EVERYTHING = os.environ.get("MUSICFS_CLIENTS") == "all"
"""Whether this is the long form."""
ORDINARY = {
    *("sh", "ls", "find", "du", "cp", "mv", "tar", "cat", "head", "tail", "dd", "sha256sum", "python3"),
    *("ffmpeg", "ffprobe", "rsync", "smbd", "smbclient"),
    *(*DESK, "thunar", "gdbus", "pcmanfm", *GTK2, "audacity", "ardour7-lua"),
}
"""What every Debian has, scripts/setup installs, or CI (`scripts/setup --desktop`)."""

_HERE = Path(__file__).parent
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "needs(*programs): run where these are installed; see tests/clients")
    config.addinivalue_line("markers", "long: only for scripts/clients; see tests/clients")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and leave out what belongs to the long form."""
    mark(items, _HERE)
    left_out = [] if EVERYTHING else [item for item in items if _needed(item) - ORDINARY or _long(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _needed(item: pytest.Item) -> frozenset[str]:
    return frozenset(name for one in item.iter_markers("needs") for name in one.args)


def _long(item: pytest.Item) -> bool:
    return _HERE in item.path.parents and item.get_closest_marker("long") is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say which program is missing: a failure in the long form, and else a reason to pass by."""
    needed = _needed(item)
    missing = [name for name in sorted(needed) if not _there(name)]
    said = f"not installed: {', '.join(missing)}; scripts/clients does it" if missing else ""
    if needed & set(DESK) and os.geteuid() != 0:
        said = "only root can mount for others and run programs as another user"
    if said:
        pytest.fail(said) if EVERYTHING else pytest.skip(said)


def _there(name: str) -> bool:
    return bool(glob(name) if name.startswith("/") else shutil.which(name, path=_PATH))


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """Make the sound of every song."""
    return made(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def scene(sound: Sound, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set one stage for a module, 40 ms away over 320 Mbit/s: songs are taken, never shared."""
    with stage(tmp_path_factory.mktemp("stage"), sound, rate=40_000_000, listing_ttl=3600) as scene:
        yield scene


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Fail a test whose mounts say more than it declared."""
    yield
    for mount in list(MOUNTS):
        mount.check()
