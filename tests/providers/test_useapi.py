"""The account page of useapi.net: what is read of it, and what never leaves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs import providers
from musicfs.errors import Lapsed, Refused, UpstreamError
from musicfs.model import Reply
from musicfs.providers import useapi
from musicfs.providers.useapi import Subscription

PAGE = {
    "id": 1234,
    "email": "ada@example.com",
    "subscriptionIsActive": True,
    "accounts": {"flowmusic": {"total": 3, "active": 2, "error": 1}, "odd": "text"},
}


def told(status: int, body: bytes, **headers: str) -> Subscription:
    """Have a conversation with one answer."""
    talk = useapi.subscription()
    assert next(talk).path == "/v2/account"
    with pytest.raises(StopIteration) as ended:
        talk.send(Reply(status, body, headers))
    found: Subscription = ended.value.value
    return found


def test_the_page_is_read() -> None:
    """Active or not, accounts by API, and the server's clock; entries that make no sense are left out."""
    said = told(200, json.dumps(PAGE).encode(), date="Sat, 21 Nov 2026 08:00:00 GMT")
    assert said == Subscription(True, {"flowmusic": (3, 1)}, 1_795_248_000.0)
    assert "example.com" not in repr(said)
    assert told(200, b"{}", date="garbage") == Subscription(None, {}, None)


@pytest.mark.parametrize(("status", "named"), [(401, Refused), (402, Lapsed), (500, UpstreamError)])
def test_refusals_have_their_names(status: int, named: type[UpstreamError]) -> None:
    """The token's fault and the subscription's are two things."""
    talk = useapi.subscription()
    next(talk)
    with pytest.raises(named):
        talk.send(Reply(status, b"{}"))


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_body_is_an_answer_or_of_the_family(body: bytes) -> None:
    """Garbage raises nothing foreign."""
    talk = useapi.subscription()
    next(talk)
    try:
        talk.send(Reply(200, body, {"date": body.decode("latin-1")}))
    except (StopIteration, UpstreamError):
        pass


def test_it_is_no_provider() -> None:
    """It has no songs, so the tree has no folder for it."""
    assert list(providers.find("https://media.example.net")) == ["flowmusic", "tempolor"]
