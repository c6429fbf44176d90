"""Flow Music v1 behind useapi.net (upstream-api.md §2).

Calls used: `GET /accounts`, `GET /music` (one account, pages by offset, newest first), `GET
/jobs/<jobid>`, `GET /music/download` (the mp3's bytes, made anew each time, so read in one pass). m4a and
wav lie in a public bucket: by the URL a list or record carried, else by the clip's uuid under the media
URL.

Odd: the list may or may not carry URLs (§2.2, both readings are served); titles, lyrics, durations and
images may be null; only a job's record tells the times of the lyrics, the prompt and the date; a clip has no
record of its own, so a full clip id is taken at its word and checked at `open`. Pages overlap by one record,
so that a list that shifted between two pages is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from musicfs.core.answers import LONGEST, TITLE, accounts_of, check, decode, picture, told, words
from musicfs.core.sheets import TIMES, Sheet, pack
from musicfs.errors import Misbehaved, NotFinished, Withdrawn
from musicfs.model import NO_URLS, Account, Conversation, Form, Locator, Page, Provider, Reply, Request, Song
from musicfs.providers.covers import cover

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Parsed from both ends: the e-mail address between may hold '-', '+' and '.' (upstream-api.md §2.1).
# Bytes that are no UTF-8 (lone surrogates, in a name typed by hand) are part of none.
_EMAIL = r"[^\n\ud800-\udfff]+"
_CLIP = re.compile(rf"user:\d+-{_EMAIL}-clip:({_UUID})")
_JOB = re.compile(rf"job:({_UUID})-user:\d+-{_EMAIL}-bot:flowmusic")
_PAGE = 100  # the largest page the API gives (§2.2)
_AHEAD = 12  # pages foretold, this one's next among them: twice as many as are ever asked for side by side
_BASE = "/v1/flowmusic"


class _Clip(msgspec.Struct, gc=False):
    clip: str
    title: str | None = None
    duration_s: float | None = None
    created_at: str | None = None
    audio_url: str | None = None
    wav_url: str | None = None
    image_url: msgspec.Raw = msgspec.Raw()
    lyrics: msgspec.Raw = msgspec.Raw()
    lyrics_timing: msgspec.Raw = msgspec.Raw()


_TIMES = tuple[tuple[float, float], ...]
_READ = msgspec.json.Decoder(_Clip, strict=False).decode


class _List(msgspec.Struct):
    clips: list[msgspec.Raw]
    next: int | None = None


class _Sound(msgspec.Struct):
    """A list in which every clip can be read."""

    clips: list[_Clip]
    next: int | None = None


_READ_ALL = msgspec.json.Decoder(_Sound, strict=False).decode


class _Entry(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()


class _Job(msgspec.Struct):
    status: str
    clips: list[msgspec.Raw] | None = None
    request: msgspec.Raw = msgspec.Raw()


class _Asked(msgspec.Struct):
    prompt: msgspec.Raw = msgspec.Raw()


class FlowMusic:
    """The conversations with Flow Music."""

    slug = "flowmusic"
    forms: tuple[str, ...] = (Form.MP3, Form.M4A, Form.WAV)
    made_anew: tuple[str, ...] = (Form.MP3,)  # transcoded on demand (§2.3)
    newest_first = True

    def __init__(self, media_url: str) -> None:
        self._media = media_url.rstrip("/")

    def accounts(self) -> Conversation[list[Account]]:
        """Ask which accounts are linked; `{}` is none (§2.6)."""
        reply = yield Request(f"{_BASE}/accounts", kind="accounts")
        return [Account(email, _trouble(raw)) for email, raw in accounts_of(reply).items()]

    def page(self, account: Account, cursor: str | None) -> Conversation[Page]:
        """Ask for 100 clips of one account; the next page begins with this page's last clip."""
        offset = int(cursor or 0)
        query = (("email", account.ident), ("limit", str(_PAGE)), ("offset", str(offset)))
        reply = yield Request(f"{_BASE}/music", query, kind="list")
        listed, clips = _listed(reply)
        read = [_song(clip, account.ident) for clip in clips]
        songs = tuple(song for song in read if song is not None)
        skipped = len(read) - len(songs)
        if listed.next is None:
            return Page(songs, None, skipped)
        # The next page begins with the last clip that could be read, or the overlap would never be found.
        following = listed.next - 1 - _unread(read)
        if following <= offset:
            raise Misbehaved("the next page does not lie behind this one")
        step = following - offset
        ahead = (following + step * number for number in range(1, _AHEAD)) if step == _PAGE - 1 else ()
        return Page(songs, str(following), skipped, tuple(map(str, ahead)))

    def record(self, handle: str) -> Conversation[Song]:
        """Ask for a job by its full id and return its first clip (§2.5).

        Raises:
            NotFinished: the job is pending.
            Withdrawn: it failed, expired or never existed.
        """
        reply = yield Request(f"{_BASE}/jobs/{handle}", kind="record")
        check(reply)
        job: _Job = decode(reply, _Job)
        if job.status == "pending":
            raise NotFinished("the job is still being made")
        if job.status == "failed":
            raise Withdrawn("the job failed, there is no song")
        for raw in (job.clips or [])[:1]:
            song = _song(_clip(raw), "", told(job.request, _Asked))
            if song is None:
                raise Misbehaved("the job's clip has no readable id")
            return song
        # A record that names no clips: the download takes the job id itself and gives its first clip (§2.3).
        matched = _JOB.fullmatch(handle)
        if matched is None:
            raise Withdrawn("not a job id")
        return Song(self.slug, matched[1].lower(), handle)

    def recognise(self, name: str) -> str | None:
        """Know a full job id."""
        return name if _JOB.fullmatch(name) else None

    def guest(self, name: str) -> Song | None:
        """Take a full clip id at its word: no record exists to ask (§2.2)."""
        matched = _CLIP.fullmatch(name)
        return Song(self.slug, matched[1].lower(), name) if matched else None

    def free(self, song: Song, form: str) -> bool:
        """Know that m4a, wav and covers are public."""
        return form != Form.MP3

    def locate(self, song: Song, form: str, now: float) -> Conversation[Locator]:
        """Say where the bytes are; nothing has to be asked."""
        yield from ()
        if form.startswith(Form.COVER):
            return cover(song, form)
        if form == Form.MP3:
            query = urlencode((("id", song.handle), ("format", "mp3")))
            return Locator(f"{_BASE}/music/download?{query}", authorised=True)
        return Locator(song.urls.get(form) or f"{self._media}/{song.ident}.{form}")


def provider(media_url: str) -> Provider:
    """Build the provider."""
    return FlowMusic(media_url)


def _trouble(raw: msgspec.Raw) -> str | None:
    try:
        entry = msgspec.json.decode(raw, type=_Entry, strict=False)
    except msgspec.MsgspecError:
        return None
    return None if bytes(entry.error) in (b"", b"null") else "the service reports an error"


def _unread(read: list[Song | None]) -> int:
    """Count the clips at a page's end that could not be read."""
    return next((place for place, song in enumerate(reversed(read)) if song is not None), 0)


def _listed(reply: Reply) -> tuple[_List | _Sound, Sequence[_Clip | None]]:
    """Read a list at one go, which takes half as long; clip by clip where one of them cannot be read."""
    check(reply)
    try:
        sound = _READ_ALL(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        listed: _List = decode(reply, _List)
        return listed, [_clip(raw) for raw in listed.clips]
    return sound, sound.clips


def _clip(raw: msgspec.Raw) -> _Clip | None:
    """Read one clip; None if it cannot be: one bad record empties no folder."""
    try:
        return _READ(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _song(clip: _Clip | None, account: str, asked: _Asked | None = None) -> Song | None:
    """Make a song of a clip, and of what its job was asked for; None without an id that can be read."""
    matched = _CLIP.fullmatch(clip.clip) if clip is not None else None
    if clip is None or matched is None or len(clip.clip) > LONGEST:
        return None
    offered = ((Form.M4A, clip.audio_url), (Form.WAV, clip.wav_url))
    return Song(
        "flowmusic",
        matched[1].lower(),
        clip.clip,
        account,
        title=clip.title and clip.title[:TITLE],
        duration=clip.duration_s,
        created=_moment(clip.created_at),
        urls={form: url for form, url in offered if url and len(url) <= LONGEST} or NO_URLS,
        cover=picture(clip.image_url),
        sheet=pack(
            Sheet(
                lyrics=words(clip.lyrics),
                timing=(told(clip.lyrics_timing, _TIMES) or ())[:TIMES],
                prompt=words(asked.prompt) if asked is not None else None,
            )
        ),
    )


def _moment(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError, OSError):
        return None
