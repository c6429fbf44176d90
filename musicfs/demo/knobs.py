"""The knobs: how the embedded service misbehaves, and towards whom.

How it thinks: there are three grips, from the usual to the odd. `Knobs` are fields that hold until
changed; four of them are a `Delivery`, the way bytes leave a source. A `Twist` lays other `Delivery`
fields over the standing ones for the requests that fit a `Where`, for ever or for the next few. A `Fault`
replaces the answer outright; `faults.py` has the answers ready-made.

What must always be true: an untouched `Knobs()` is a healthy service; times run out exactly; the first
fitting fault wins, while every fitting twist is laid on, later ones on top.
It refuses to answer anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from musicfs.demo.values import Framing, Request, Response, Role


class Ranges(StrEnum):
    """What a source does with a Range header."""

    HONOUR = "honour"
    """RFC 9110: an end beyond the object is clipped, a start beyond it is 416."""
    LAX = "lax"
    """Alibaba OSS by default (upstream-api.md 4.2): any part out of bounds makes it 200 and whole."""
    STRICT = "strict"
    """416 for any part out of bounds, the end included."""
    IGNORE = "ignore"
    """Always 200 and the whole object."""


class ContentRange(StrEnum):
    """What a 206 says about itself."""

    RIGHT = "right"
    SHIFTED = "shifted"
    """Start and end are one too high."""
    STAR = "star"
    """The total is `*`."""
    MISSING = "missing"
    WRONG_TOTAL = "wrong-total"
    """The total is one too high."""


class Tag(StrEnum):
    """What kind of ETag goes out."""

    STRONG = "strong"
    WEAK = "weak"
    NONE = "none"
    CHANGES = "changes"
    """Strong, but another one for each request."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection after `at` bytes of the response's body, by a reset or (`clean`) a close."""

    at: int
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a source's bytes leave it."""

    ranges: Ranges = Ranges.HONOUR
    framing: Framing = Framing.LENGTH
    content_range: ContentRange = ContentRange.RIGHT
    etag: Tag = Tag.STRONG
    last_modified: bool = True
    generation: bool = False
    """Send `x-goog-generation`."""
    first_byte: float = 0.0
    """Seconds before the status line."""
    cut: Cut | None = None
    stall_at: int | None = None
    """Go silent after this many bytes of the response's body."""
    drip: float | None = None
    """Bytes a second; None is as fast as it goes."""
    gate: Callable[[], bool] | None = None
    """The last bytes of a body wait until it is open."""
    short: int = 0
    """Bytes left off the end behind framing that claims all is well."""
    long: int = 0
    """Bytes too many at the end, counted in Content-Length."""
    extra: int = 0
    """Bytes sent behind the end that the framing told."""
    restless: bool = False
    """Other bytes (of the same length) at each call, from byte `differs_from` on."""
    differs_from: int = 64
    gzip: bool = False
    """Send it compressed and ignore ranges, whatever was accepted (GCS transcoding, upstream-api.md 4.3)."""
    redirect: str | None = None
    """A Location to answer 302 with; `loop` = here again, `other` = the same bytes on another host,
    `http` = the same URL in plain http."""
    content_type: str | None = None
    """Another Content-Type than the usual one."""
    bend: Callable[[bytes], bytes] | None = None
    """Makes another body of the right one; of JSON, say, with fields missing."""


@dataclass(slots=True)
class Knobs:
    """All that holds until it is changed."""

    api: Delivery = field(
        default_factory=lambda: Delivery(ranges=Ranges.IGNORE, etag=Tag.NONE, last_modified=False)
    )
    """The JSON answers."""
    mp3: Delivery = field(
        default_factory=lambda: Delivery(ranges=Ranges.IGNORE, etag=Tag.NONE, last_modified=False)
    )
    """Flow Music's mp3 download."""
    cdn: Delivery = field(default_factory=Delivery)
    bucket: Delivery = field(default_factory=lambda: Delivery(generation=True))

    list_urls: bool = False
    """GET /flowmusic/music carries audio_url and wav_url (upstream-api.md 2.2, reading A)."""
    list_timing: bool = False
    """GET /flowmusic/music carries lyrics_timing, as a job's record does; no document says that it may."""
    list_nulls: bool = False
    """Every nullable field of a list is null."""
    empty_lists: bool = False
    """Lists answer 200 with no entries."""
    flow_page: int = 20
    """Flow Music's page size where no limit is sent (20 in REST and MCP, 30 in Postman)."""
    tempolor_page: int = 20
    """TemPolor's page size; no parameter changes it."""
    stuck_cursor: bool = False
    """TemPolor lists hand out the cursor they were sent and say there is more."""
    between_pages: Callable[[], None] | None = None
    """Called after each page of a list has been made; it may change the catalogue."""

    subscription_expired: bool = False
    """402 on everything."""
    bass_refused: bool = False
    """403 for the mp3 of ` - bass` stems (upstream-api.md 2.3)."""
    unknown_clip: int = 404
    """Status for a well-formed clip id that does not exist; not documented, 404 or 400."""
    encoded_ids_refused: bool = False
    """TemPolor paths with a percent-encoded job_id are 400."""

    remain_seconds: int = 0
    """What a minted link says of its life; 0 as in the only sample."""
    validity: float = 1800.0
    """Seconds that the CDN accepts a link after its timestamp."""
    not_ready: float = 0.0
    """Seconds after updateTime during which a COMPLETED job's download is 404 (upstream-api.md 3.4)."""
    mint_null: bool = False
    """The mint answers 200 with a null url."""
    stems_refusal: int = 404
    """Status of a stems mint for a job that has no archive."""
    signed_bucket: bool = False
    """audio_url and wav_url are signed and die after `validity` seconds; the public path is 403."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which requests are meant; an empty field fits all."""

    role: Role | None = None
    path: str = ""
    """A part of the decoded path and query."""
    kind: str | None = None
    """accounts, list, record, jobs, mint, mp3, range, whole, scheduler, account, write, other."""
    form: str | None = None
    """mp3, m4a, wav, stems, cover."""

    def fits(self, request: Request, text: str, kind: str, form: str | None) -> bool:
        """Say whether a request, with its decoded text, kind and form, is meant."""
        return (
            self.role in (None, request.role)
            and self.path in text
            and self.kind in (None, kind)
            and self.form in (None, form)
        )


@dataclass(slots=True)
class Fault:
    """Answer the requests that fit with `answer`, `times` times or (None) until removed."""

    matches: Where | Callable[[Request], bool]
    answer: Callable[[Request], Response]
    times: int | None = None


@dataclass(slots=True)
class Twist:
    """Lay `changes` over the `Delivery` of the requests that fit, `times` times or (None) until removed."""

    where: Where
    changes: Mapping[str, Any]
    times: int | None = None

    def __post_init__(self) -> None:
        replace(Delivery(), **self.changes)  # A misspelt field fails here, not at some later request.
