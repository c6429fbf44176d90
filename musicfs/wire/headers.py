"""What the headers of an answer say, as values; pure.

How it thinks: HTTP's inclusive ends are born and die here; a header that cannot be read is None, and the
reader of the value decides how bad that is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from musicfs.model import Span

_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,18})")
_YEAR = 365 * 86_400.0  # seconds; a longer Retry-After is as good as for ever


class Head(msgspec.Struct, frozen=True):
    """The head of a checked answer that bytes follow."""

    start: int
    """Offset of the body's first byte in the object."""
    total: int | None
    """The object's length in bytes, if the answer says."""
    ranged: bool
    """True: 206, a part; False: 200, the whole from its first byte."""
    validator: str = ""
    """What a later answer about the same bytes must repeat."""
    announced: int | None = None
    """How many body bytes the server announced."""

    def __repr__(self) -> str:
        return f"<Head of {self.total} bytes from {self.start}>"


class ContentRange(msgspec.Struct, frozen=True):
    """A parsed Content-Range; `span` is None in a 416, `total` None where the server says `*`."""

    span: Span | None
    total: int | None


def content_range(value: str | None) -> ContentRange | None:
    """Read a Content-Range header; None if it is missing or makes no sense."""
    text = (value or "").strip()
    if matched := _RANGE.fullmatch(text):
        first, last = int(matched[1]), int(matched[2])
        total = None if matched[3] == "*" else int(matched[3])
        if first <= last and (total is None or last < total):
            return ContentRange(Span(first, last + 1), total)
        return None
    if matched := _UNSATISFIED.fullmatch(text):
        return ContentRange(None, int(matched[1]))
    return None


def range_header(at: int, stop: int | None) -> dict[str, str]:
    """Ask for `[at, stop)`, for the last `-at` bytes, or (both unknown) for the whole."""
    if at < 0:
        return {"Range": f"bytes={at}"}
    return {} if stop is None else {"Range": f"bytes={at}-{stop - 1}"}


def start_of(at: int, total: int | None) -> int:
    """Say where a range begins that was asked for at `at`, in an object of `total` bytes."""
    return at if at >= 0 or total is None else max(total + at, 0)


def length(headers: Mapping[str, str]) -> int | None:
    """Read Content-Length, None if there is none that makes sense."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def validator(headers: Mapping[str, str], total: int | None) -> str:
    """Say what identifies these bytes: strong ETag, else Google's generation or a crc64, else date + size.

    Weak ETags do not promise equal bytes (RFC 9110 §8.8.1) and are passed over.
    """
    etag = headers.get("etag", "").strip()
    if len(etag) > 2 and etag.startswith('"'):
        return f"etag {etag}"
    for name in ("x-goog-generation", "x-goog-hash", "x-oss-hash-crc64ecma"):
        if headers.get(name):
            return f"{name} {headers[name]}"
    if headers.get("last-modified"):
        return f"date {headers['last-modified']} size {total}"
    return f"size {total}"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Read Retry-After (seconds or an HTTP date; `now` is seconds since the epoch) as seconds to wait."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), _YEAR)
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - now, 0.0), _YEAR)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
