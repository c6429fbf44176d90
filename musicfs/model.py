"""The nouns that every room shares, frozen, and the socket a provider plugs into.

How it thinks: identity is a `Key`, never a name and never a URL. A key holds no e-mail address, so it may
be printed, logged and used as a file name in the cache; the service's own ids (which do hold one) are
`handle` and `account` and stay out of every repr.

A provider *describes* talk and does not talk: each of its verbs is a generator that yields a `Request`, is
sent the `Reply`, and returns a noun. `wire.converse` is the only one that drives such a generator.

Most are msgspec's structs: to make a frozen dataclass takes 0.4 ms of every start, a struct 0.02.

What must always be true: nothing here behaves beyond validation; spans are half-open, in bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Span(NamedTuple):
    """Bytes `[start, stop)`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many bytes it holds."""
        return self.stop - self.start


class Form:
    """The forms a song's bytes come in; a stems member's form is `stems/<member>`, a cover's
    `cover-<digest of its URL>.jpg` or `.png`: another picture is another file."""

    MP3 = "mp3"
    M4A = "m4a"
    WAV = "wav"
    STEMS = "stems"
    COVER = "cover-"


class Key(NamedTuple):
    """What a file is: `flowmusic:<uuid>:mp3`, `tempolor:<item>:stems/drums.wav`."""

    service: str
    ident: str
    form: str

    def __str__(self) -> str:
        return f"{self.service}:{self.ident}:{self.form}"


class State(StrEnum):
    """Where a song stands with its service."""

    READY = "ready"
    UNFINISHED = "unfinished"
    FAILED = "failed"


NO_URLS: dict[str, str] = {}
"""Of the songs that carry none: one for all, where each its own would be 64 bytes a song. Never changed."""


class Song(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One clip or job, as a listing or a record shows it. Everything but the identity may be missing."""

    service: str
    ident: str
    """The clip's uuid or the TemPolor item id: safe to print, used in paths."""
    handle: str
    """The id the service wants back; holds an e-mail address, so it is never printed."""
    account: str = ""
    """Which linked account lists it (an e-mail address or a user id); never printed."""
    title: str | None = None
    duration: float | None = None
    """Seconds."""
    created: float | None = None
    """Seconds since the epoch, if the service says."""
    updated: float | None = None
    """Seconds since the epoch of the record's last change, if the service says."""
    state: State = State.READY
    urls: dict[str, str] = msgspec.field(default_factory=lambda: NO_URLS)
    """Form → URL where a list or record carried one. Secrets: some are signed."""
    cover: str | None = None
    """URL of its picture, where a list or record carried one. A secret too."""
    sheet: bytes = b""
    """Lyrics, prompt, tempo and the like, packed (`core.sheets`)."""

    def __repr__(self) -> str:
        return f"<Song {self.service}:{self.ident} {self.state.value}>"


class Known(msgspec.Struct, frozen=True, gc=False):
    """What outlives the cache about one file: its version, exact length in bytes, validator."""

    version: int = 0
    size: int | None = None
    validator: str = ""
    one_pass: bool = False


NOTHING = Known()
"""What is known of a file that nobody has asked about."""


class SongRow(msgspec.Struct, kw_only=True, gc=False):
    """A song as the state database keeps it."""

    song: Song
    birth: int = 0
    """Its place in the order of first sight: age order and readdir offset; 0 = not yet given."""
    mtime_ns: int
    """Nanoseconds since the epoch; the first value wins for ever."""
    name: str | None = None
    """Its folder in `library/`, its own for ever."""
    parent: str | None = None
    """A Flow Music stem's song (an ident), then for ever."""
    listed: bool = True
    lacks: float | None = None
    """Seconds since the epoch of the first complete pass in a row that lacked it."""


class Account(msgspec.Struct, frozen=True):
    """One linked account of a service."""

    ident: str
    error: str | None = None
    """Why the service cannot use it, if it said so."""

    def __repr__(self) -> str:
        return "<Account>"


class Page(msgspec.Struct, frozen=True):
    """One page of a listing; `next` is the cursor of the page after it, None on the last."""

    songs: tuple[Song, ...]
    next: str | None = None
    skipped: int = 0
    """Records that could not be read and were left out."""
    ahead: tuple[str, ...] = ()
    """Cursors of the pages that probably come behind `next`, where the service lets them be foretold."""

    def __repr__(self) -> str:
        return f"<Page of {len(self.songs)} songs>"


class Request(msgspec.Struct, frozen=True):
    """A GET to the API: a path below its base URL and the query, not yet encoded."""

    path: str
    query: tuple[tuple[str, str], ...] = ()
    kind: str = "other"
    """What it is counted as in `status`: accounts, list, record, mint."""

    def __repr__(self) -> str:
        return f"<Request {self.kind}>"


class Reply(msgspec.Struct, frozen=True):
    """A final answer of the API: any status, the whole body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


class Locator(msgspec.Struct, frozen=True):
    """Where the bytes of a song's form are at this moment."""

    url: str
    authorised: bool = False
    """True: the URL is the API's own and takes the token. False: a byte server, which never sees it."""
    minted: bool = False
    """True: the link was asked for, may die, and can be asked for again."""
    lives: float | None = None
    """Seconds the link is known to live from its mint; None = unknown, not expired."""

    def __repr__(self) -> str:
        return f"<Locator authorised={self.authorised} minted={self.minted} lives={self.lives}>"


Conversation = Generator[Request, Reply, T]


class Provider(Protocol):
    """One service, described. Pure: no await, no clock, no disk, no network."""

    slug: str
    """Top folder, key prefix."""
    forms: tuple[str, ...]
    """What `library/` lists for a song, in order; `Form.STEMS` = has a stems archive."""
    made_anew: tuple[str, ...]
    """Forms that are made at each request: maybe no length, no ranges, other bytes; read in one pass."""
    newest_first: bool
    """Whether a listing's pages come newest first, so that a refresh may stop at a wholly known page."""

    def accounts(self) -> Conversation[list[Account]]:
        """Ask which accounts are linked."""
        ...

    def page(self, account: Account, cursor: str | None) -> Conversation[Page]:
        """Ask for one page of one account's listing; `cursor` None is the first."""
        ...

    def record(self, handle: str) -> Conversation[Song]:
        """Ask for one thing by its full id."""
        ...

    def recognise(self, name: str) -> str | None:
        """Say whether `name` is a full id of this service that a record can be asked for (then return it)."""
        ...

    def guest(self, name: str) -> Song | None:
        """Make a song of a full id for which no record exists to ask; None if it is not such an id."""
        ...

    def free(self, song: Song, form: str) -> bool:
        """Say whether the form's bytes can be located without asking the API."""
        ...

    def locate(self, song: Song, form: str, now: float) -> Conversation[Locator]:
        """Say where the bytes are, asking for a link if one is needed. `now` is seconds since the epoch."""
        ...
