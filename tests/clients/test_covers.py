"""Covers in a file manager: shown where they are, at the price of a picture."""

from __future__ import annotations

import time

import pytest

from musicfs.demo import Service
from tests.clients.desktop_session import DESK, SLOW, Desk, session
from tests.clients.desktop_thunar import Thunar
from tests.indexers.library import png
from tests.mounted.mounting import Mount, mounted, until

_TUMBLER = "org.freedesktop.thumbnails.Thumbnailer1"

pytestmark = [pytest.mark.needs("thunar", "ffmpegthumbnailer", "gdbus", *DESK), SLOW]


def told(desk: Desk, mount: Mount, service: Service) -> str:
    """Say what there is instead of one picture."""
    made = [path.name for path in (desk.home / ".cache").rglob("*.png")]
    asked = [(one.kind, one.form, one.sent) for one in list(service.log)]
    return f"{made}\n{asked}\n{sorted(desk.programs().values())}\n{mount.log}\n{desk.read()}"


def test_a_cover_in_thunar() -> None:
    """A song's folder in Thunar shows its cover, for which the picture comes and not one byte of sound."""
    service = Service(clock=time.time)
    service.add_clip("ada@example.com", "Red", cover=png(400))
    with session() as desk:
        uid, gid = desk.user.pw_uid, desk.user.pw_gid
        with mounted(service, desk.place, allow_other="true", uid=uid, gid=gid) as mount:
            mount.listed("library")
            service.reset_counts()
            # Thunar waits 25 seconds for it at most.
            ready = ("gdbus", "wait", "--session", "--timeout", "90", "--activate", _TUMBLER, _TUMBLER)
            assert desk.run(*ready, limit=100).returncode == 0
            thunar = Thunar(desk)
            window = thunar.show(mount.path / "library" / "Red")

            def pictured() -> bool:
                # Thunar 4.18 asks twice within milliseconds, and Tumbler's two threads then name what they
                # write by the same second: now and then one renames the other's away ("Could not save").
                if desk.thumbnails == 0 and desk.swept():
                    desk.press(window, "F5")
                return desk.thumbnails == 1

            until(pictured, 60, lambda: told(desk, mount, service))
            desk.shoot("thunar-cover")
            asked = [(one.kind, one.form, one.sent) for one in list(service.log)]
            assert ("mp3", "mp3") not in [(kind, form) for kind, form, _ in asked]
            assert sum(sent for _, form, sent in asked if form in ("m4a", "wav")) <= 2  # a byte for each size
            assert any(form == "cover" for _, form, _ in asked)
