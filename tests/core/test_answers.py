"""What an API's answer means: the table, and the law that rubbish is only ever an UpstreamError."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.core.answers import check, decode, failure, says
from musicfs.errors import (
    AccountBroken,
    Lapsed,
    Misbehaved,
    NotFinished,
    Refused,
    Rejected,
    Throttled,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Reply


@pytest.mark.parametrize(
    ("status", "named", "number", "again"),
    [
        (400, Rejected, errno.EIO, False),
        (401, Refused, errno.EACCES, False),
        (402, Lapsed, errno.EACCES, False),
        (403, Refused, errno.EACCES, False),
        (404, Withdrawn, errno.ENOENT, False),
        (409, NotFinished, errno.EBUSY, False),
        (410, Withdrawn, errno.ENOENT, False),
        (418, Rejected, errno.EIO, False),
        (429, Throttled, errno.EBUSY, True),
        (500, Misbehaved, errno.EIO, True),
        (503, Misbehaved, errno.EIO, True),
        (524, Misbehaved, errno.EIO, True),
        (596, AccountBroken, errno.EACCES, False),
    ],
)
def test_a_status_has_its_name(status: int, named: type[UpstreamError], number: int, again: bool) -> None:
    """Each status is the situation of DESIGN §3, with its errno, and says whether asking again may help."""
    found = failure(status)
    assert type(found) is named
    assert found.errno == number
    assert found.temporary is again
    assert str(status) in str(found)


@settings(max_examples=150, deadline=None)
@given(st.integers(100, 999), st.binary(max_size=200))
def test_only_200_passes(status: int, body: bytes) -> None:
    """Every status but 200 raises, and the body, which may hold an e-mail address, is never quoted."""
    marked = b"secret@example.com" + body
    if status == 200:
        check(Reply(status, marked))
        return
    with pytest.raises(UpstreamError) as caught:
        check(Reply(status, marked))
    assert "secret" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_rubbish_is_misbehaviour(body: bytes) -> None:
    """Whatever bytes come with a 200, what leaves is a value of the shape or Misbehaved."""
    try:
        value: dict[str, int] = decode(Reply(200, body), dict[str, int])
    except Misbehaved:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    "body",
    [b"", b"<!DOCTYPE html><html></html>", b'{"a":', b'{"a":"x"}', b"\xff\xfe", b'{"x":' + b"[" * 200_000],
)
def test_known_rubbish_is_misbehaviour(body: bytes) -> None:
    """HTML with 200, cut JSON, wrong types, no text at all and absurd nesting are Misbehaved."""
    with pytest.raises(Misbehaved):
        decode(Reply(200, body), dict[str, int])


def test_words_are_found_in_any_shape_of_body() -> None:
    """An error text is recognised whether `error` is a text or an object, in any case."""
    assert says(Reply(400, b'{"error":"Generation is not completed yet (0)"}'), "not completed")
    assert says(Reply(400, b'{"error":{"message":"Generation is NOT completed yet"}}'), "Not Completed")
    assert not says(Reply(400, b""), "not completed")
