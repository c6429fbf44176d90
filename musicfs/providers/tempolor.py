"""TemPolor v1 behind useapi.net (upstream-api.md §3).

Calls used: `GET /accounts` (404 = none), `GET /music/` (one account, one type, pages by an opaque cursor),
`GET /music/<job_id>`, `GET /music/download/<job_id>` (mints a link for mp3, wav or stems; may count as a
download on the user's plan, so it is asked only when the bytes are wanted).

Odd: every field is optional (§3); instrumentals are listed only when asked for; `remainSeconds` 0 means
unknown, not expired (§3.4); a record that has just become COMPLETED answers 404 for a while.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import msgspec

from musicfs.core.answers import LONGEST, TITLE, accounts_of, check, decode, picture, says, told, words
from musicfs.core.sheets import Sheet, pack
from musicfs.errors import BytesMissing, Misbehaved, NotFinished, Withdrawn
from musicfs.model import Account, Conversation, Form, Locator, Page, Provider, Reply, Request, Song, State
from musicfs.providers.covers import cover

# The item id is opaque (§3.1): anything that can be a folder's name and has none of the id's own separators.
# Controls and marks that turn a line of text round are no part of one: it is printed in lists and logs.
# Neither are bytes that are no UTF-8, which a name typed by hand may hold as lone surrogates.
_ODD = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_JOB = re.compile(rf"user:\d+-tempolor:[^:/\ud800-\udfff]+-job:([^:/{_ODD}]{{1,200}})")
_TYPES = ("song", "instrumental")
_FRESH = 120.0  # seconds after COMPLETED in which 404 means "not ready yet" (DESIGN §3; seen: a few seconds)
_AHEAD = 300.0  # seconds that a signer's clock may be ahead; a link of a shorter life is renewed when refused
_BASE = "/v1/tempolor"


class _Material(msgspec.Struct, gc=False):
    dur: msgspec.Raw = msgspec.Raw()
    bpm: msgspec.Raw = msgspec.Raw()
    key: msgspec.Raw = msgspec.Raw()
    style: msgspec.Raw = msgspec.Raw()
    mood: msgspec.Raw = msgspec.Raw()
    otherInfo: msgspec.Raw = msgspec.Raw()


class _Extended(msgspec.Struct, gc=False):
    lyricsPrompt: msgspec.Raw = msgspec.Raw()
    description: msgspec.Raw = msgspec.Raw()


class _Record(msgspec.Struct, gc=False):
    job_id: str
    titleEn: str | None = None
    status: int | None = None
    status_final: bool | None = None
    createTime: float | None = None
    updateTime: float | None = None
    cover: msgspec.Raw = msgspec.Raw()
    musicMaterial: msgspec.Raw = msgspec.Raw()
    ltmMaterialExtendDto: msgspec.Raw = msgspec.Raw()


class _List(msgspec.Struct):
    records: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    hasNext: bool | None = None
    cursor: str | None = None


class _Link(msgspec.Struct):
    url: str | None = None
    remainSeconds: float | None = None


class TemPolor:
    """The conversations with TemPolor."""

    slug = "tempolor"
    forms: tuple[str, ...] = (Form.MP3, Form.WAV, Form.STEMS)
    made_anew: tuple[str, ...] = ()
    newest_first = False  # no order is documented (§3.2)

    def accounts(self) -> Conversation[list[Account]]:
        """Ask which accounts are linked; 404 is none (§3.7)."""
        reply = yield Request(f"{_BASE}/accounts", kind="accounts")
        if reply.status == 404:
            return []
        return [Account(ident) for ident in accounts_of(reply)]

    def page(self, account: Account, cursor: str | None) -> Conversation[Page]:
        """Ask for one page of one type; after the last song the instrumentals begin."""
        kind, _, mark = (cursor or "song ").partition(" ")
        query = [("user_id", account.ident), ("type", kind)] + ([("cursor", mark)] if mark else [])
        reply = yield Request(f"{_BASE}/music/", tuple(query), kind="list")
        listed: _List = decode(reply, _List)
        # A page that does not even name its records (an error told with 200) left out nobody knows how many.
        unsaid = int(listed.records is msgspec.UNSET)
        records = listed.records or []
        songs = [song for raw in records if (song := _song(raw, account.ident)) is not None]
        following = None
        if len(listed.cursor or "") > LONGEST:
            raise Misbehaved("the next page's cursor is no cursor")
        if records and listed.hasNext is not False and listed.cursor and listed.cursor != mark:
            following = f"{kind} {listed.cursor}"
        elif kind == _TYPES[0]:
            following = f"{_TYPES[1]} "
        return Page(tuple(songs), following, len(records) - len(songs) + unsaid)

    def record(self, handle: str) -> Conversation[Song]:
        """Ask for a job by its full id (§3.3); its state is in the song.

        Raises:
            Withdrawn: there is no such record.
        """
        reply = yield Request(f"{_BASE}/music/{handle}", kind="record")
        check(reply)
        song = _song(msgspec.Raw(reply.body), "")
        if song is None:
            raise Misbehaved("the record cannot be read")
        return song

    def recognise(self, name: str) -> str | None:
        """Know a full job id."""
        return name if _JOB.fullmatch(name) and _ident(name) else None

    def guest(self, name: str) -> Song | None:
        """Know none: every TemPolor id has a record."""
        return None

    def free(self, song: Song, form: str) -> bool:
        """Know that every form needs a link, but for covers."""
        return form.startswith(Form.COVER)

    def locate(self, song: Song, form: str, now: float) -> Conversation[Locator]:
        """Mint a link (§3.4).

        Raises:
            NotFinished: not completed yet, or completed a moment ago and not downloadable yet.
            Withdrawn: the job failed.
            BytesMissing: 404 or 410 long after it was completed; of stems, 400 too.
        """
        if form.startswith(Form.COVER):
            return cover(song, form)
        path = f"{_BASE}/music/download/{song.handle}"
        reply = yield Request(path, (("file_format", form),), kind="mint")
        if reply.status == 400 and says(reply, "not completed"):
            if says(reply, f"({_FAILED})"):
                raise Withdrawn("the job failed, there is no song")
            raise NotFinished("the song is still being made")
        if reply.status in (404, 410):
            finished = song.updated or song.created
            if finished is not None and now - finished < _FRESH:
                raise NotFinished("the song was finished a moment ago and is not ready yet")
            raise BytesMissing(f"the service has no bytes for this form ({reply.status})")
        if reply.status == 400 and form == Form.STEMS:
            raise BytesMissing("the service has no stems of this song (400)")
        return _link(reply, now)


_GENERATING, _FAILED, _COMPLETED = 0, 10, 30  # §3.3


def provider(media_url: str) -> Provider:
    """Build the provider; TemPolor has no public bucket."""
    return TemPolor()


def _link(reply: Reply, now: float) -> Locator:
    link: _Link = decode(reply, _Link)
    if not link.url or len(link.url) > LONGEST:
        raise Misbehaved("the answer holds no link")
    lives = link.remainSeconds or 0.0
    if lives <= 0:
        # The signature's own time is a lower bound of the expiry (§4.1); in the past it says nothing, and
        # near now it may be the moment of signing, by a clock that is ahead of ours.
        lives = _signed_until(link.url) - now
        lives = lives if lives > _AHEAD else 0.0
    return Locator(link.url, minted=True, lives=lives if lives > 0 else None)


def _signed_until(url: str) -> float:
    try:
        marks = parse_qs(urlsplit(url).query).get("auth_key", [""])
        return float(int(marks[0].partition("-")[0]))
    except (ValueError, OverflowError):
        return 0.0


def _ident(handle: str) -> str | None:
    matched = _JOB.fullmatch(handle)
    if matched is None or matched[1] in (".", "..") or len(matched[1].encode()) > 200:
        return None
    return matched[1]


def _song(raw: msgspec.Raw, account: str) -> Song | None:
    """Read one record; None if it cannot be read: one bad record never empties a folder."""
    try:
        record = msgspec.json.decode(raw, type=_Record, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    ident = _ident(record.job_id)
    if ident is None or len(record.job_id) > LONGEST:
        return None
    material = told(record.musicMaterial, _Material) or _Material()
    return Song(
        "tempolor",
        ident,
        record.job_id,
        account,
        title=record.titleEn and record.titleEn[:TITLE],
        duration=told(material.dur, float),
        created=_moment(record.createTime),
        updated=_moment(record.updateTime),
        state=_state(record),
        cover=picture(record.cover),
        sheet=pack(_sheet(material, told(record.ltmMaterialExtendDto, _Extended) or _Extended())),
    )


def _sheet(material: _Material, extended: _Extended) -> Sheet:
    bpm = told(material.bpm, float)
    return Sheet(
        lyrics=words(extended.lyricsPrompt),
        prompt=words(material.otherInfo),
        description=words(extended.description),
        style=words(material.style),
        mood=words(material.mood),
        key=(words(material.key) or "").replace(":", " ") or None,  # `F:minor` (§3.3)
        bpm=bpm if bpm and 0 < bpm < 10_000 else None,  # a number that a tempo can be
    )


def _state(record: _Record) -> State:
    if record.status == _FAILED:
        return State.FAILED
    if record.status in (_COMPLETED, None) or record.status_final:
        return State.READY
    return State.UNFINISHED


def _moment(milliseconds: float | None) -> float | None:
    return milliseconds / 1000 if milliseconds and milliseconds > 0 else None
