"""What every provider keeps, whatever its service says: the socket's contract as laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs import providers
from musicfs.errors import MusicfsError
from musicfs.model import Account, Conversation, Locator, Page, Provider, Reply, Request, Song
from tests.providers.talking import leaves

LAW = settings(max_examples=200, deadline=None)
MEDIA = "https://storage.googleapis.com/producer-app-public/clips"
NOW = 1_795_000_000.0
MAIL = "joe@example.com"
HANDLES = {
    "flowmusic": f"user:1234-{MAIL}-clip:0f0e0d0c-0b0a-4908-8706-050403020100",
    "tempolor": "user:12345-tempolor:100200300-job:9f8e7d6c5b4a",
}
JOBS = {
    "flowmusic": f"job:11111111-2222-4333-8444-555555555555-user:1234-{MAIL}-bot:flowmusic",
    "tempolor": HANDLES["tempolor"],
}
FIELDS = [
    "clips",
    "clip",
    "title",
    "duration_s",
    "created_at",
    "audio_url",
    "wav_url",
    "next",
    "error",
    "status",
    "records",
    "hasNext",
    "cursor",
    "job_id",
    "titleEn",
    "status_final",
    "createTime",
    "updateTime",
    "musicMaterial",
    "dur",
    "url",
    "remainSeconds",
]
GUESTS = list(providers.find(MEDIA).values())
values = leaves(FIELDS) | st.sampled_from([*HANDLES.values(), *JOBS.values()])
bodies = st.binary(max_size=200) | values.map(lambda value: msgspec.json.encode(_finite(value)))


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def song(service: str) -> Song:
    """Make a song that such a service could have listed."""
    return Song(service, "9f8e7d6c5b4a", HANDLES[service], MAIL, updated=NOW - 10)


TALKS: dict[str, Callable[[Provider], Conversation[Any]]] = {
    "accounts": lambda guest: guest.accounts(),
    "page": lambda guest: guest.page(Account(MAIL), None),
    "record": lambda guest: guest.record(JOBS[guest.slug]),
    "locate": lambda guest: guest.locate(song(guest.slug), "stems", NOW),
}


def carry(conversation: Conversation[Any], status: int, body: bytes) -> Any:
    """Answer every question alike; give the noun, or the family's failure."""
    try:
        asked: Request = next(conversation)
        for _ in range(20):
            assert asked.path.startswith("/v1/")
            assert asked.kind != "other"
            assert MAIL not in repr(asked)
            asked = conversation.send(Reply(status, body))
        raise AssertionError("the conversation does not end")
    except StopIteration as done:
        return done.value
    except MusicfsError as failure:
        failed = failure
    assert MAIL not in str(failed)
    return failed


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.slug)
@pytest.mark.parametrize("verb", TALKS)
@LAW
@given(status=st.sampled_from([200, 200, 200, 200, 400, 404, 410, 429, 500, 596, 302]), body=bodies)
def test_rubbish_is_only_ever_a_musicfs_error(guest: Provider, verb: str, status: int, body: bytes) -> None:
    """Whatever a service answers, a conversation gives its noun or an error of the family."""
    carry(TALKS[verb](guest), status, body)


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.slug)
@LAW
@given(values=st.lists(st.dictionaries(st.sampled_from(FIELDS), values, max_size=6), max_size=4))
def test_what_a_page_gives_can_be_shown(guest: Provider, values: list[dict[str, Any]]) -> None:
    """Songs of a hostile page have identities that can be paths, and reprs that hold no address."""
    handle = HANDLES[guest.slug]
    listed = [_finite({"clip": handle, "job_id": handle} | value) for value in values]
    body = msgspec.json.encode({"clips": listed, "records": listed, "next": None, "hasNext": False})
    found = carry(guest.page(Account(MAIL), None), 200, body)
    if isinstance(found, MusicfsError):
        return
    assert isinstance(found, Page)
    for one in found.songs:
        assert one.service == guest.slug
        assert "/" not in one.ident
        assert one.ident not in ("", ".", "..")
        assert MAIL not in repr(one)
        assert one.title is None or isinstance(one.title, str)
        msgspec.json.encode(one)
    assert MAIL not in repr(found)


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.slug)
@LAW
@given(name=st.text(max_size=80) | st.sampled_from([*HANDLES.values(), *JOBS.values()]))
def test_any_name_may_be_asked_about(guest: Provider, name: str) -> None:
    """A name that the kernel asks for is recognised, or a guest, or neither; never an exception."""
    assert guest.recognise(name) in (None, name)
    visitor = guest.guest(name)
    assert visitor is None or (visitor.service == guest.slug and visitor.handle == name)


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.slug)
def test_a_locator_tells_no_secret(guest: Provider) -> None:
    """A link's repr shows no URL."""
    url = b'{"url":"https://edge.example.net/a?auth_key=secret","remainSeconds":9}'
    for form in guest.forms:
        found = carry(guest.locate(song(guest.slug), form, NOW), 200, url)
        assert isinstance(found, Locator)
        assert "http" not in repr(found)
        assert "auth_key" not in repr(found)


def test_providers_are_found_in_order() -> None:
    """Every file of the guest wing is a provider, by its slug, Flow Music before TemPolor."""
    found = providers.find(MEDIA)
    assert list(found) == ["flowmusic", "tempolor"]
    assert [guest.slug for guest in found.values()] == list(found)
