"""Every fault that a server can make while a song is fetched, with what a program may see of it.

How it thinks: a `Case` is one fault at one place (the API's mp3, the API's link, the CDN, the bucket), the
errnos that are the truth about it (DESIGN §3), whether the bytes may also come through, and how many requests
one reader may cost. The tables are the list of issue 5, item by item.

The bound: one question is asked at most `TRIES` times while somebody waits (`wire.gate.Patience`), and bytes
that come start the count anew, one block at a time. A program asks in `open`, or in a read, which the kernel
repeats page by page; a link is minted, and once more if it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from musicfs.demo import ContentRange, Cut, Framing, Ranges, Role, Service, Tag
from musicfs.demo.faults import Answer, body, dropped, garbage, html, json_error, throttled, xml_error
from tests.faults.bends import BENDS

TRIES = 7
"""Attempts while one kernel request waits (`Patience.attempts`)."""

ONCE = 3 * TRIES + 3
"""Requests for a song that brings no bytes: an `open` and a read that is repeated, with their links."""
LONG = ONCE + 11 * TRIES
"""Requests for a song that breaks again and again, each of its eleven blocks at worst."""

SOME = 100_000
"""A byte within the first request; `FAR` lies in a later one."""
FAR = 400_000


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one place."""

    place: str
    what: str
    errors: frozenset[str]
    answer: Answer | None = None
    twist: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    """Whether the song may come through all the same."""
    calls: int = ONCE
    """How many requests for the song one reader may cost."""

    @property
    def name(self) -> str:
        """Name it for a person."""
        return f"{self.place}: {self.what}"

    def inject(self, service: Service, ident: str, times: int | None = None) -> None:
        """Make the service do it to one song, `times` times or until it is cleared."""
        where: dict[str, Any] = {**PLACES[self.place], "path": ident, "times": times}
        if self.answer is not None:
            service.fail(self.answer, **where)
        else:
            service.twist(**where, **self.twist)


PLACES: dict[str, dict[str, Any]] = {
    "mp3": {"kind": "mp3"},
    "link": {"kind": "mint"},
    "cdn": {"role": Role.CDN},
    "bucket": {"role": Role.BUCKET},
    "stems": {"role": Role.CDN, "form": "stems"},
}

REFUSED = frozenset({"EACCES"})
BROKEN = frozenset({"EIO"})
BUSY = frozenset({"EBUSY"})
LATE = frozenset({"ETIMEDOUT"})
AWAY = frozenset({"EHOSTUNREACH"})
OTHER = frozenset({"ESTALE"})
GONE = frozenset({"ENOENT"})

STATUSES: dict[int, frozenset[str]] = {
    401: REFUSED,
    402: REFUSED,
    403: REFUSED,
    404: BROKEN,
    409: BUSY,
    410: BROKEN,
    412: BROKEN,
    418: BROKEN,
    429: BUSY,
    **dict.fromkeys((500, 501, 502, 503, 504, *range(520, 527)), BROKEN),
    596: REFUSED,
}


def _statuses(place: str) -> Iterator[Case]:
    say: Callable[[int], Answer] = json_error if place in ("mp3", "link") else html
    for status, errors in STATUSES.items():
        # The bucket's 403 counts as its 404 (DESIGN §3).
        truth = BROKEN if (place, status) == ("bucket", 403) else errors
        if place == "stems" and status in (404, 410):
            truth = GONE  # of an archive whose job ended long ago: a song without stems
        yield Case(place, str(status), truth, say(status))
    yield Case(place, "502 as a page", BROKEN, html(502))


THROTTLED: dict[str, Answer] = {
    "429, seconds": throttled(1),
    "429, a date gone by": throttled(date=0.0),
    "429, garbage": throttled("as soon as we can"),
    "429, a negative number": throttled("-5"),
    "429, in the body": throttled(until="2030-01-01T00:00:00Z"),
}

RUBBISH: dict[str, Answer] = {
    "HTML with 200": html(200),
    "JSON with 200": body(b'{"error":"Bad day","code":500}'),
    "broken JSON with 200": garbage(),
    "XML with 200": xml_error(200, "SlowDown"),
    "text with 200": body(b"try again later", "text/plain"),
    "nothing with 200": body(b"", "audio/mpeg"),
    "204": body(b"", "audio/mpeg", 204),
    "304": body(b"", "audio/mpeg", 304),
    "reset": dropped(),
    "closed": dropped(clean=True),
}

REDIRECTS = {
    "to itself": "loop",
    "to a private address": "https://10.1.2.3/song",
    "to a link-local address": "https://169.254.169.254/latest/meta-data",
    "to a private IPv6 address": "https://[fd00::1]/song",
    "to ftp": "ftp://example.com/song",
    "to a file": "file:///etc/passwd",
    "to no port": "https://127.0.0.1:99999/song",
    "to nonsense": "https://[::::/song",
    "to nowhere": "",
}


def _bytes(place: str) -> Iterator[Case]:
    """What happens on the way of a body."""
    for what, answer in {**THROTTLED, **RUBBISH}.items():
        yield Case(place, what, BUSY if what.startswith("429") else BROKEN, answer)
    for what, target in REDIRECTS.items():
        # A port that cannot be one is as good as a host that is not there.
        yield Case(place, f"a redirect {what}", BROKEN | AWAY, twist={"redirect": target})
    yield Case(
        place,
        "a redirect to a name that does not exist",
        AWAY | BROKEN,
        twist={"redirect": "https://no.invalid/"},
    )
    yield Case(place, "gzip in spite of identity", BROKEN, twist={"gzip": True})
    for at in (0, 1, SOME, FAR):
        for clean in (False, True):
            what = f"{'closed' if clean else 'reset'} at byte {at}"
            yield Case(place, what, BROKEN | OTHER, twist={"cut": Cut(at, clean)}, exact=True, calls=LONG)
    for at in (0, 1, SOME, FAR):
        yield Case(
            place, f"a stall at byte {at}", LATE | OTHER, twist={"stall_at": at}, exact=True, calls=LONG
        )
    yield Case(place, "a drip", LATE, twist={"drip": 100.0}, exact=False)
    yield Case(place, "chunked", frozenset(), twist={"framing": Framing.CHUNKED}, exact=True)
    yield Case(place, "no length", frozenset(), twist={"framing": Framing.CLOSE}, exact=True)
    extra: dict[str, Any] = {"framing": Framing.LENGTH, "extra": 1000}
    yield Case(place, "bytes behind the end", BROKEN, twist=extra, exact=True, calls=LONG)


def _ranged(place: str) -> Iterator[Case]:
    """What a server of ranges can get wrong besides."""
    for what, how in (
        ("shifted", ContentRange.SHIFTED),
        ("without Content-Range", ContentRange.MISSING),
    ):
        yield Case(place, f"a range {what}", BROKEN, twist={"content_range": how})
    yield Case(
        place, "a range of *", BROKEN, twist={"content_range": ContentRange.STAR}, exact=True, calls=LONG
    )
    wrong = {"content_range": ContentRange.WRONG_TOTAL}
    yield Case(place, "a range of a wrong total", BROKEN | OTHER, twist=wrong, calls=LONG)
    for ranges in (Ranges.IGNORE, Ranges.LAX, Ranges.STRICT):
        yield Case(place, f"ranges: {ranges}", frozenset(), twist={"ranges": ranges}, exact=True)
    yield Case(place, "416", BROKEN, xml_error(416, "InvalidRange"))
    for what in ("short", "long"):
        yield Case(place, f"a body that is {what}", BROKEN, twist={what: 1000})
        twist: dict[str, Any] = {what: 1000, "framing": Framing.CHUNKED}
        yield Case(
            place, f"a chunked body that is {what}", BROKEN | OTHER, twist=twist, exact=True, calls=LONG
        )
    yield Case(place, "a validator that changes", OTHER, twist={"etag": Tag.CHANGES}, exact=True, calls=LONG)
    for tag in (Tag.WEAK, Tag.NONE):
        yield Case(place, f"an ETag that is {tag}", frozenset(), twist={"etag": tag}, exact=True)


def _mp3() -> Iterator[Case]:
    yield from _statuses("mp3")
    yield from _bytes("mp3")
    # Half of the song, behind framing that claims all is well.
    half = {"framing": Framing.CHUNKED, "short": 200_000}
    yield Case("mp3", "a body that ends early and looks complete", BROKEN, twist=half)


LINKS = {
    "null": b'{"url":null}',
    "no URL": b'{"url":"::::"}',
    "a number": b'{"url":12}',
    "a list": b'{"url":["https://127.0.0.1/a.wav"]}',
    "ftp": b'{"url":"ftp://example.com/a.wav"}',
    "a file": b'{"url":"file:///etc/passwd"}',
    "plain http": b'{"url":"http://example.invalid/a.wav"}',
    "a private address": b'{"url":"https://10.1.2.3/a.wav"}',
    "a link-local address": b'{"url":"https://169.254.169.254/a.wav"}',
    "a mapped private address": b'{"url":"https://[::ffff:10.1.2.3]/a.wav"}',
    "credentials": b'{"url":"https://ada:secret@127.0.0.1/a.wav"}',
    "no such port": b'{"url":"https://127.0.0.1:99999/a.wav"}',
    "a newline": b'{"url":"https://127.0.0.1/a\\nb.wav"}',
    "a NUL": b'{"url":"https://127.0.0.1/a\\u0000b.wav"}',
    "half a surrogate": b'{"url":"https://127.0.0.1/\\ud800.wav"}',
    "a label of 300": b'{"url":"https://' + b"a" * 300 + b'.example/a.wav"}',
    "an empty label": b'{"url":"https://a..b/a.wav"}',
    "megabytes": b'{"url":"https://127.0.0.1/' + b"a" * 2_000_000 + b'"}',
}


def _link() -> Iterator[Case]:
    yield from _statuses("link")
    for what, answer in {**THROTTLED, **RUBBISH}.items():
        yield Case("link", what, BUSY if what.startswith("429") else BROKEN, answer)
    for what, text in LINKS.items():
        errors = BROKEN | AWAY if what.endswith(("label", "300", "port")) else BROKEN
        yield Case("link", f"a link that is {what}", errors, body(text))
    yield Case(
        "link", "a link to a name that does not exist", AWAY, body(b'{"url":"https://no.invalid/a.wav"}')
    )
    for what, life in (("negative", b"-5"), ("endless", b"1e300"), ("a text", b'"soon"'), ("null", b"null")):
        text = b'{"url":"https://10.1.2.3/","remainSeconds":' + life + b"}"
        yield Case("link", f"a life that is {what}", BROKEN, body(text))
    for what, bend in BENDS.items():
        fine = what in (
            "nothing but ids",
            "records doubled",
            "records null",
            "a text for a list",
            "null for a list",
        )
        yield Case("link", f"JSON: {what}", frozenset() if fine else BROKEN, twist={"bend": bend}, exact=fine)
    for what, target in REDIRECTS.items():
        yield Case("link", f"a redirect {what}", BROKEN, twist={"redirect": target})
    yield Case("link", "gzip in spite of identity", BROKEN, twist={"gzip": True})
    for clean in (False, True):
        yield Case("link", f"cut at byte 10, {clean}", BROKEN, twist={"cut": Cut(10, clean)})
    yield Case("link", "a body that is long", BROKEN, twist={"long": 100})


def _cdn(place: str) -> Iterator[Case]:
    yield from _statuses(place)
    yield from _bytes(place)
    yield from _ranged(place)


def _stems() -> Iterator[Case]:
    """Give what can happen to an archive, silence last: after two silent ones no new one is asked for a
    while."""
    cases = sorted(_cdn("stems"), key=lambda case: case.errors >= LATE)
    yield from (replace(case, errors=case.errors | LATE) for case in cases)


CASES: list[Case] = [*_mp3(), *_link(), *_cdn("cdn"), *_cdn("bucket"), *_stems()]
"""Faults of one answer: they hit one song and leave its neighbours alone."""
