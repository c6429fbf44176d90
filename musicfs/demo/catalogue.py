"""What the two services hold: accounts, clips and jobs, for tests to edit while the service runs.

How it thinks: plain mutable records in lists, oldest first; the shapes of the JSON are made elsewhere. A
clip or job carries its bytes as assets by form; a form that is not there is one that the byte server
answers 404 for.

What must always be true: a handle (the id that travels over the wire) follows from the record alone, as
in upstream-api.md 2.1 and 3.1; whatever is not given is made up from the seed and a counter, the same
each time.
It refuses to answer requests.
"""

from __future__ import annotations

import random
import uuid as uuids
from collections.abc import Collection
from dataclasses import dataclass, field

from musicfs.demo.assets import Asset, Mp3Noise, Source, asset_of, m4a_of, wav_of

# 1 June 2026, 10:00 UTC: the day of the documents; records made without a date follow a minute apart.
FIRST_DAY = 1_780_308_000.0

_DEFAULT_SECONDS = 12.0  # length of a made-up song: 192 kB of mp3, short enough for any test


@dataclass(slots=True)
class FlowAccount:
    """A Flow Music account."""

    email: str
    error: str | None = None
    """What GET /accounts says is wrong with it."""
    broken: bool = False
    """Every request that needs it answers 596."""


@dataclass(slots=True)
class Clip:
    """A Flow Music clip."""

    account: str
    uuid: str
    title: str | None
    duration: float | None
    """Seconds, as listed."""
    created: float
    """Seconds since the epoch."""
    lyrics: str | None = None
    timing: list[list[float]] | None = None
    """Start and end of each sung line, in seconds."""
    assets: dict[str, Asset] = field(default_factory=dict)
    """By form: mp3, m4a, wav, cover."""
    modified: float | None = None
    """Seconds since the epoch for Last-Modified; None is `created`."""


@dataclass(slots=True)
class FlowJob:
    """A Flow Music job, which made up to two clips."""

    account: str
    uuid: str
    status: str = "completed"
    """pending, completed or failed."""
    clips: list[Clip] = field(default_factory=list)
    created: float = FIRST_DAY
    foreign: bool = False
    """Belongs to another useapi user: 403."""


@dataclass(slots=True)
class TempolorAccount:
    """A TemPolor account."""

    user_id: str
    error: str | None = None
    broken: bool = False
    """Every request that needs it answers 596; not documented for TemPolor, so be tolerant."""


@dataclass(slots=True)
class Job:
    """A TemPolor job: a song or an instrumental."""

    account: str
    item: str
    title: str | None
    duration: float | None
    """Seconds (`musicMaterial.dur`)."""
    created: float
    updated: float
    kind: str = "song"
    """song or instrumental."""
    status: int = 30
    """0 GENERATING, 10 FAILED, 30 COMPLETED."""
    lyrics: str | None = None
    assets: dict[str, Asset] = field(default_factory=dict)
    """By form: mp3, wav, stems, cover."""
    modified: float | None = None
    """Seconds since the epoch for Last-Modified; None is `updated`."""


class _Making:
    """Makes up identities and dates, in a fixed order."""

    def __init__(self, user: str, seed: str) -> None:
        self.user = user
        self._random = random.Random(seed)
        self._made = 0

    def moment(self) -> float:
        """Return the next made-up date, a minute after the last, in seconds since the epoch."""
        self._made += 1
        return FIRST_DAY + 60.0 * self._made

    def number(self, bits: int) -> int:
        """Draw a number."""
        return self._random.getrandbits(bits)


class Flow(_Making):
    """Flow Music's records."""

    def __init__(self, user: str, seed: int) -> None:
        super().__init__(user, f"flow/{seed}")
        self.accounts: dict[str, FlowAccount] = {}
        self.clips: list[Clip] = []
        """Oldest first; lists show them newest first."""
        self.jobs: list[FlowJob] = []

    def add_account(self, email: str, error: str | None = None) -> FlowAccount:
        """Link an account."""
        self.accounts[email] = FlowAccount(email, error)
        return self.accounts[email]

    def add_clip(
        self,
        account: str,
        title: str | None = "Untitled",
        duration: float | None = _DEFAULT_SECONDS,
        uuid: str | None = None,
        *,
        mp3: Source | None = None,
        m4a: Source | None = None,
        wav: Source | None = None,
        cover: Source | None = None,
        without: Collection[str] = (),
        lyrics: str | None = None,
        timing: list[list[float]] | None = None,
        created: float | None = None,
    ) -> Clip:
        """Add a clip (and its account); forms not given are made up unless named in `without`."""
        if account not in self.accounts:
            self.add_account(account)
        ident = uuid or str(uuids.UUID(int=self.number(128), version=4))
        seconds = duration or _DEFAULT_SECONDS
        assets: dict[str, Asset] = {
            "mp3": asset_of(mp3) if mp3 is not None else Mp3Noise(seconds, ident),
            "m4a": asset_of(m4a) if m4a is not None else m4a_of(seconds, ident),
            "wav": asset_of(wav) if wav is not None else wav_of(seconds, ident),
        }
        if cover is not None:
            assets["cover"] = asset_of(cover)
        kept = {form: asset for form, asset in assets.items() if form not in without}
        clip = Clip(account, ident, title, duration, created or self.moment(), lyrics, timing, kept)
        self.clips.append(clip)
        return clip

    def add_stems(self, parent: Clip) -> list[Clip]:
        """Add the four stem clips of a clip, whose wav does not exist (upstream-api.md 2.8)."""
        names = ("drums", "bass", "vocals", "other")
        return [
            self.add_clip(parent.account, f"{parent.title} - {name}", parent.duration, without=("wav",))
            for name in names
        ]

    def add_job(
        self, account: str, *clips: Clip, status: str = "completed", foreign: bool = False
    ) -> FlowJob:
        """Add a job and the clips it made."""
        ident = str(uuids.UUID(int=self.number(128), version=4))
        job = FlowJob(account, ident, status, list(clips), self.moment(), foreign)
        self.jobs.append(job)
        return job

    def break_account(self, email: str, error: str = "refresh token rejected") -> None:
        """Let an account answer 596 and say why in GET /accounts."""
        self.accounts[email].error, self.accounts[email].broken = error, True

    def handle(self, thing: Clip | FlowJob) -> str:
        """Return the id that travels over the wire."""
        if isinstance(thing, Clip):
            return f"user:{self.user}-{thing.account}-clip:{thing.uuid}"
        return f"job:{thing.uuid}-user:{self.user}-{thing.account}-bot:flowmusic"

    def clip(self, uuid: str) -> Clip | None:
        """Find a clip."""
        return next((clip for clip in self.clips if clip.uuid == uuid), None)


class Tempolor(_Making):
    """TemPolor's records."""

    def __init__(self, user: str, seed: int) -> None:
        super().__init__(user, f"tempolor/{seed}")
        self.accounts: dict[str, TempolorAccount] = {}
        self.jobs: list[Job] = []
        """Oldest first; lists show the newest first, which nobody promises."""

    def add_account(self, user_id: str, error: str | None = None) -> TempolorAccount:
        """Link an account."""
        self.accounts[user_id] = TempolorAccount(user_id, error)
        return self.accounts[user_id]

    def add_job(
        self,
        account: str,
        title: str | None = "Untitled",
        duration: float | None = _DEFAULT_SECONDS,
        item: str | None = None,
        *,
        kind: str = "song",
        status: int = 30,
        mp3: Source | None = None,
        wav: Source | None = None,
        stems: Source | None = None,
        cover: Source | None = None,
        without: Collection[str] = (),
        lyrics: str | None = None,
        created: float | None = None,
        updated: float | None = None,
    ) -> Job:
        """Add a job (and its account); mp3 and wav are made up unless given or named in `without`."""
        if account not in self.accounts:
            self.add_account(account)
        ident = item or f"{self.number(48):012x}"
        seconds = duration or _DEFAULT_SECONDS
        assets: dict[str, Asset] = {
            "mp3": asset_of(mp3) if mp3 is not None else Mp3Noise(seconds, ident),
            "wav": asset_of(wav) if wav is not None else wav_of(seconds, ident),
        }
        assets |= {
            form: asset_of(data) for form, data in (("stems", stems), ("cover", cover)) if data is not None
        }
        kept = {form: asset for form, asset in assets.items() if form not in without}
        moment = created or self.moment()
        changed = updated if updated is not None else moment + 120.0
        job = Job(account, ident, title, duration, moment, changed, kind, status, lyrics, kept)
        self.jobs.append(job)
        return job

    def break_account(self, user_id: str, error: str = "session refused") -> None:
        """Let an account answer 596 and say why in GET /accounts."""
        self.accounts[user_id].error, self.accounts[user_id].broken = error, True

    def handle(self, job: Job) -> str:
        """Return the id that travels over the wire."""
        return f"user:{self.user}-tempolor:{job.account}-job:{job.item}"

    def job(self, item: str) -> Job | None:
        """Find a job."""
        return next((job for job in self.jobs if job.item == item), None)
