"""The demo's catalogue: sixteen songs over both services, with the awkward cases that real libraries have.

How it thinks: each song names the seed of its piece. The WAV and the stems are composed when they are
read; the mp3 and m4a of the same piece, and the covers, are small files in `media/`, made by
scripts/make-demo-media. Titles are chosen to try the naming rules: twins, slashes, quotes, emoji, none at
all.

What must always be true: the three forms of a song are the same piece; identities and dates never change
between releases, so a demo looks the same each time. It refuses to invent at run time.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from musicfs.demo.archive import Member, archive_of
from musicfs.demo.assets import Asset, Delayed, Plain
from musicfs.demo.catalogue import Flow, Tempolor
from musicfs.demo.composer import Piece
from musicfs.demo.score import Part

_NAMESPACE = uuid.UUID("6d757369-6366-4000-8000-64656d6f0000")  # "musicfs" and "demo" in ASCII
_FIRST = 1_788_253_200.0  # 1 September 2026, 09:00 UTC; a song every nine hours from there
_APART = 9 * 3600.0

FLOW_ACCOUNTS = ("ada@example.com", "ben+music@example.org")
TEMPOLOR_ACCOUNTS = ("100200300", "100200301")

_LYRICS = """[Verse 1]
The harbour lights are coming on,
The boats are drawing home.

[Chorus]
Leave one lamp lit."""
_TIMING = ((0.8, 3.6), (4.0, 7.2), (8.0, 11.5))


@dataclass(frozen=True, slots=True)
class _Song:
    """A song of the demo; `seed` is its piece."""

    seed: str
    title: str | None
    account: int = 0
    lyrics: str | None = None
    timing: tuple[tuple[float, float], ...] = ()
    """When each sung line begins and ends, in seconds."""
    timed: bool = True
    """Whether the service tells its duration."""


CLIPS = (
    _Song("harbour-a", "Harbour Lights", lyrics=_LYRICS, timing=_TIMING),
    _Song("harbour-b", "Harbour Lights", lyrics=_LYRICS),  # the other of an A/B pair
    _Song("night", "Night Drive"),
    _Song("night-loud", "NIGHT DRIVE", account=1),  # its twin where case does not count
    _Song("acdc", 'AC/DC: "Live" <at> the Pier? 🎸', timed=False),
    _Song("hidden", ".hidden -r * tune", account=1),
    _Song("untitled", None, timed=False),
    _Song("cafe", unicodedata.normalize("NFD", "Café de la Línea"), account=1),
    _Song("trail", "Trailing dots and spaces... ", account=1),
)
PARENT = "night"
"""The clip that has stem clips."""

JOBS = (
    _Song("choir", "Northern Choir", lyrics="Come all you stars of winter"),
    _Song("choir-2", "Northern Choir", account=1),
    _Song("sakura", "桜の雨 (夜明け)"),
    _Song("long", "So " + "very " * 58 + "endless", account=1, timed=False),  # 300 bytes
    _Song("empty", ""),
)
INSTRUMENTALS = (
    _Song("dash", "-dash first: a waltz", account=1),
    _Song("tide", "Low Tide"),
)
WITH_STEMS = "choir"
"""The job whose stems archive has it all."""

STEM_SUMS = {
    Part.VOCALS: 0x7FAECCF4,
    Part.DRUMS: 0xEACACD2A,
    Part.BASS: 0x5223995D,
    Part.OTHER: 0x13D31A08,
}
"""The CRC-32 of its wavs, so that its directory can be read before they are played: that takes seconds."""

STEM_NAMES = tuple(Part)


def encoded() -> Iterator[tuple[str, Piece, tuple[str, ...]]]:
    """Name every piece that `media/` holds, and the endings of its files."""
    for song in CLIPS:
        yield song.seed, Piece(song.seed), ("mp3", "m4a", "jpg")
    for song in JOBS + INSTRUMENTALS:
        yield song.seed, Piece(song.seed), ("mp3", "png")
    for part in STEM_NAMES:
        yield f"{PARENT}-{part}", Piece(PARENT, part), ("mp3", "m4a")


@lru_cache(maxsize=64)
def _media(name: str) -> Asset:
    return Plain(resources.files("musicfs.demo").joinpath("media", name).read_bytes())


def fill(flow: Flow, tempolor: Tempolor) -> None:
    """Put the demo's songs into both catalogues."""
    for email in FLOW_ACCOUNTS:
        flow.add_account(email)
    for user_id in TEMPOLOR_ACCOUNTS:
        tempolor.add_account(user_id)
    for index, song in enumerate(CLIPS):
        _add_clip(flow, song, _FIRST + index * _APART)
    _add_stems(flow)
    first, second = flow.clips[:2]
    flow.add_job(first.account, first, second)
    flow.add_job(first.account, status="pending")
    for index, song in enumerate(JOBS + INSTRUMENTALS):
        _add_job(tempolor, song, _FIRST + _APART / 2 + index * _APART)
    for status, title in ((0, "Still being made"), (10, "Never was")):
        moment = _FIRST + 20 * _APART + status
        account, item, nothing = TEMPOLOR_ACCOUNTS[0], _item(title), ("mp3", "wav")
        tempolor.add_job(account, title, None, item, status=status, created=moment, without=nothing)


def _item(seed: str) -> str:
    return uuid.uuid5(_NAMESPACE, f"job/{seed}").hex[:12]


def _add_clip(flow: Flow, song: _Song, moment: float) -> None:
    piece = Piece(song.seed)
    flow.add_clip(
        FLOW_ACCOUNTS[song.account],
        song.title,
        round(piece.seconds, 2) if song.timed else None,
        str(uuid.uuid5(_NAMESPACE, f"clip/{song.seed}")),
        mp3=_media(f"{song.seed}.mp3"),
        m4a=_media(f"{song.seed}.m4a"),
        wav=piece,
        cover=_media(f"{song.seed}.jpg"),
        lyrics=song.lyrics,
        timing=[list(pair) for pair in song.timing] or None,
        created=moment,
    )


def _add_stems(flow: Flow) -> None:
    """Add the parent's stems as clips: they have no wav in the bucket (upstream-api.md 2.8)."""
    parent = next(clip for clip in flow.clips if clip.title == "Night Drive")
    for index, part in enumerate(STEM_NAMES):
        name = f"{PARENT}-{part}"
        flow.add_clip(
            parent.account,
            f"{parent.title} - {part}",
            parent.duration,
            str(uuid.uuid5(_NAMESPACE, f"clip/{name}")),
            mp3=_media(f"{name}.mp3"),
            m4a=_media(f"{name}.m4a"),
            without=("wav",),
            created=parent.created + 600 + index,
        )


def _add_job(tempolor: Tempolor, song: _Song, moment: float) -> None:
    piece = Piece(song.seed)
    tempolor.add_job(
        TEMPOLOR_ACCOUNTS[song.account],
        song.title,
        round(piece.seconds) if song.timed else None,
        _item(song.seed),
        kind="instrumental" if song in INSTRUMENTALS else "song",
        mp3=_media(f"{song.seed}.mp3"),
        wav=piece,
        stems=Delayed(stems) if song.seed == WITH_STEMS else None,
        cover=_media(f"{song.seed}.png"),
        lyrics=song.lyrics,
        created=moment,
        updated=moment + 130,
    )


def _stem(name: str, part: Part) -> Member:
    return Member(name, Piece(WITH_STEMS, part), crc=STEM_SUMS[part])


@lru_cache(maxsize=1)
def stems() -> Asset:
    """Lay out a stems archive: stored and deflated members, a folder, names from everywhere, and bad ones."""
    note = "Vier Spuren, ein Stück. Mixed at −14 LUFS.\n".encode()
    members = (
        _stem("vocals.wav", Part.VOCALS),
        _stem("drums.wav", Part.DRUMS),
        _stem("instruments/bass.wav", Part.BASS),
        _stem("instruments/harmony.wav", Part.OTHER),
        Member("instruments/Überblick.txt", note * 40, deflated=True),
        Member("../evil.wav", note),
        Member("__MACOSX/._vocals.wav", note),
    )
    return archive_of(members)
