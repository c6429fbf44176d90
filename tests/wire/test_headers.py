"""What headers say: laws, and the law that rubbish never raises."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.model import Span
from musicfs.wire.headers import ContentRange, content_range, length, range_header, retry_after, validator

LAW = settings(max_examples=200, deadline=None)
NOW = 1_795_000_000.0
rubbish = st.text(max_size=60) | st.sampled_from(
    [
        "bytes",
        "bytes */*",
        "bytes 0-0/0",
        "bytes ٣-٤/٩",
        "Mon, 99 Nov 2026 99:99:99 GMT",
        "1e9",
        "-1",
        "0x10",
        "½",
    ]
)


@LAW
@given(rubbish)
def test_rubbish_never_raises(text: str) -> None:
    """Any header value is read as something sensible or as nothing."""
    found = content_range(text)
    if found is not None and found.span is not None:
        assert 0 <= found.span.start < found.span.stop
        assert found.total is None or found.span.stop <= found.total
    for value in (length({"content-length": text}), retry_after({"retry-after": text}, NOW)):
        assert value is None or 0 <= value < 2**63
    assert isinstance(validator({"etag": text, "last-modified": text}, 5), str)


@LAW
@given(st.integers(0, 2**50), st.integers(1, 2**40), st.integers(0, 2**40))
def test_a_range_that_is_answered_is_the_range_that_was_asked(start: int, size: int, behind: int) -> None:
    """HTTP's inclusive end is born and dies here: asked and answered spans are the same."""
    span = Span(start, start + size)
    first, last = range_header(span.start, span.stop)["Range"].removeprefix("bytes=").split("-")
    total = span.stop + behind
    assert content_range(f"bytes {first}-{last}/{total}") == ContentRange(span, total)
    assert content_range(f"  bytes  {first}-{last}/* ") == ContentRange(span, None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -5/10",
        "items 0-4/10",
        "bytes 0-4",
        "bytes 0-4/10, 6-7/10",
    ],
)
def test_a_range_that_makes_no_sense_is_none(text: str | None) -> None:
    """Backward, overlong, foreign, multiple or missing ranges are no range."""
    assert content_range(text) is None


def test_the_length_in_a_refusal_is_read() -> None:
    """A 416 tells the object's length and no span."""
    assert content_range("bytes */1234") == ContentRange(None, 1234)


@pytest.mark.parametrize(
    ("headers", "mark"),
    [
        ({"etag": '"a"', "x-goog-generation": "1"}, 'etag "a"'),
        ({"etag": 'W/"a"', "x-goog-generation": "1"}, "x-goog-generation 1"),
        ({"etag": '""', "x-goog-hash": "crc32c=x"}, "x-goog-hash crc32c=x"),
        ({"x-oss-hash-crc64ecma": "77"}, "x-oss-hash-crc64ecma 77"),
        ({"last-modified": "Mon"}, "date Mon size 9"),
        ({}, "size 9"),
    ],
)
def test_the_strongest_validator_is_taken(headers: dict[str, str], mark: str) -> None:
    """A strong ETag, else a generation or hash, else date and size, else the size; a weak ETag never."""
    assert validator(headers, 9) == mark


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("99999999999999999999", 365 * 86_400.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 365 * 86_400.0),
        (format_datetime(datetime.fromtimestamp(NOW + 60, UTC)), 60.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """Both spellings are waits in seconds, at most a year; a date in the past is now; rubbish is none."""
    assert retry_after({"retry-after": text}, NOW) == seconds
    assert retry_after({}, NOW) is None
