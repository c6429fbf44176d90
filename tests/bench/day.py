"""A day in the life: what one musicfs asks of the services from morning to night, by kind, as a table.

How it thinks: a real mount of the embedded service over loopback, and a library of made-up songs; each hour
of the day is a few lines that do what people and programs do, and the service's own log says what came of
it. Hours run one after the other and as fast as they go: requests and bytes do not depend on the clock, but
for the refreshes. Those are run for real with a listing that is fresh for one second; what one costs is
then counted once for every 60 seconds of the sixteen hours that somebody looks, and what a full pass costs
once for every hour of the day.

What must always be true: nothing is counted that the service has not been asked; every copy is compared.

    python -m tests.bench.day [--songs 150]
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from musicfs.demo import Service, zip_of
from tests.loopback import running
from tests.mounted.mounting import Mount, attached, done

KINDS = {
    "listings": ("accounts", "list", "jobs", "record"),
    "links": ("mint",),
    "mp3s made": ("mp3",),
    "ranges": ("range", "whole"),
}
SECONDS = 60.0  # a song plays; mp3 and m4a 1 MB, wav 10.6 MB
AWAKE, TTL = 16, 60.0  # hours that somebody looks into the folder; seconds a listing is fresh by default
_REFRESHES = 12  # run for real
_STALE = 1.2  # seconds after which a listing that is fresh for one is not


@dataclass(frozen=True, slots=True)
class Bill:
    """What some work cost the services."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(self.requests + other.requests, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Bill:
        return Bill(
            Counter({kind: round(count * times) for kind, count in self.requests.items()}), self.bytes * times
        )


class Day:
    """One library, one mount, and the bills so far."""

    def __init__(self, songs: int, home: Path, refreshes: int = _REFRESHES) -> None:
        self.service = Service(clock=time.time)
        self.home, self.copy, self.refreshes = home, home / "copy", refreshes
        self.bills: list[tuple[str, Bill]] = []
        for number in range(songs * 4 // 5):
            self.service.add_clip("ada@example.com", f"Song {number}", SECONDS)
        for number in range(songs // 5):
            stems = zip_of({f"{name}.wav": b"RIFF" + bytes(2_000_000) for name in ("bass", "drums", "voice")})
            self.service.add_job("100", f"Piece {number}", SECONDS, stems=stems)

    def hour(self, name: str, work: Callable[[], object], times: float = 1.0) -> Bill:
        """Do some work and put on the bill what it cost, so many times."""
        self.service.reset_counts()
        work()
        counts = self.service.counts
        requests = Counter({kind: sum(counts[one] for one in ones) for kind, ones in KINDS.items()})
        assert sum(requests.values()) == counts.total(), counts
        bill = Bill(requests, float(self.service.bytes_sent())) * times
        self.bills.append((name, bill))
        return bill

    # What people and programs do -----------------------------------------------------------------------

    def browse(self, mount: Mount) -> None:
        """Look into every big folder, and into ten songs."""
        for folder in ("flowmusic", "tempolor", "library"):
            done(["ls", "-l", mount.path / folder])
        for song in _songs(mount)[:10]:
            done(["ls", "-l", mount.path / "library" / song])

    def play(self, mount: Mount) -> None:
        """Play an mp3 and a wav of Flow Music's, and an mp3 of TemPolor's."""
        for path in ("Song 1/Song 1.mp3", "Song 2/Song 2.wav", "Piece 0/Piece 0.mp3"):
            done(["cat", mount.path / "library" / path])

    def scan(self, mount: Mount) -> None:
        """Look at head and tail of each song's file, as a media server does that reads tags."""
        for song in _songs(mount):
            for path in sorted((mount.path / "library" / song).glob("*.m4a")) or [
                mount.path / "library" / song / f"{song}.mp3"
            ]:
                with path.open("rb") as file:
                    file.read(262_144)
                    file.seek(-131_072, 2)
                    file.read()

    def back_up(self, mount: Mount) -> None:
        """Copy both services' folders, as a timer does at night, and compare."""
        for folder in ("flowmusic", "tempolor"):
            done(["rsync", "-a", "--delete", f"{mount.path / folder}/", self.copy / folder], limit=900.0)
        differ = filecmp.dircmp(mount.path / "flowmusic", self.copy / "flowmusic")
        assert [*differ.left_only, *differ.right_only, *differ.diff_files] == []

    def refreshed(self, mount: Mount) -> None:
        """Look again and again, each time when the listing is not fresh any more."""
        for _ in range(self.refreshes):
            mount.listed("library")
            time.sleep(_STALE)


def _songs(mount: Mount) -> list[str]:
    """Give the songs' folders, without the playlists beside them."""
    return sorted(name for name in mount.listed("library") if not name.endswith(".m3u8"))


def live(day: Day) -> None:
    """Let the day pass."""
    day.copy.mkdir(parents=True)
    with running(day.service) as loop:
        with attached(Mount(loop, day.home)) as mount:
            full = day.hour("start, and the first listing", lambda: mount.listed("library"))
            day.hour("browsing: `ls -l` of every big folder and ten songs", lambda: day.browse(mount))
            day.hour("three songs played", lambda: day.play(mount))
            day.hour("the same three again", lambda: day.play(mount))
            day.hour("a media server's first scan: head and tail of a file a song", lambda: day.scan(mount))
            day.hour("its second scan", lambda: day.scan(mount))
            day.hour("the first nightly `rsync -a` of both services' folders", lambda: day.back_up(mount))
            day.hour("the second", lambda: day.back_up(mount))
        with attached(Mount(loop, day.home, listing_ttl=1)) as mount:
            mount.listed("library")
            time.sleep(2 * _STALE)  # What the start itself asks is none of it.
            looks = AWAKE * 3600 / TTL
            day.hour(
                f"refreshes: {AWAKE} hours of somebody looking, one a minute",
                lambda: day.refreshed(mount),
                looks / day.refreshes,
            )
        day.bills.append(("a full pass every hour, round the clock", full * 24))


def table(day: Day) -> str:
    """Write the bills as Markdown."""
    rows = [*day.bills, ("**the day**", sum((bill for _, bill in day.bills), Bill()))]
    lines = [f"| | {' | '.join(KINDS)} | MB |", f"|---|{'--:|' * (len(KINDS) + 1)}"]
    for name, bill in rows:
        counts = " | ".join(f"{bill.requests[kind]:,}" for kind in KINDS)
        lines.append(f"| {name} | {counts} | {bill.bytes / 1e6:,.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.day", description=__doc__)
    parser.add_argument(
        "--songs", type=int, default=150, help="songs in the library, a fifth of them TemPolor's"
    )
    home = Path(tempfile.mkdtemp(prefix="musicfs-day-"))
    try:
        day = Day(parser.parse_args().songs, home)
        live(day)
        print(table(day))
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
