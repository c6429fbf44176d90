"""Where the real programs are missing, or nobody can become another user, these tests say so and pass by."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.indexers.desktop import EXTRACT, TRACKER

_HERE = Path(__file__).parent
_PROGRAMS = (
    *("Xvfb", "dbus-daemon", "xdotool", "thunar", "ffmpegthumbnailer", "tracker3"),
    *("baloo_file", "balooctl", "updatedb", "plocate", "mpd", "minidlnad"),
)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def _reason() -> str | None:
    """Say why no desktop can be played here, if so."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse that this user may open"
    if os.geteuid() != 0:
        return "only root can mount for others and run programs as another user"
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    missing += [each.name for each in (TRACKER, EXTRACT) if not each.exists()]
    if not list(Path("/usr/lib").glob("*/tumbler-1/plugins/tumbler-ffmpeg-thumbnailer.so")):
        missing.append("tumblerd with its extra plugins")
    return f"not installed: {', '.join(missing)}; scripts/setup --indexers does it" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and skip it where it cannot be."""
    reason = _reason()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.mounted)
            item.add_marker(pytest.mark.indexers)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
