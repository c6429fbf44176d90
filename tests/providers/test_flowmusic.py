"""Conversations with Flow Music, by hand, against the shapes of upstream-api.md §2."""

from __future__ import annotations

from typing import Any

import pytest

from musicfs.core.sheets import picture, unpack
from musicfs.errors import (
    AccountBroken,
    Misbehaved,
    NotFinished,
    Refused,
    Throttled,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Account, Form, Song
from musicfs.providers.flowmusic import provider
from tests.providers.talking import heard, talk

MAIL = "joe+music-1.x@example.com"
UUID = "0f0e0d0c-0b0a-4908-8706-050403020100"
CLIP = f"user:1234-{MAIL}-clip:{UUID}"
JOB = f"job:11111111-2222-4333-8444-555555555555-user:1234-{MAIL}-bot:flowmusic"
MEDIA = "https://storage.googleapis.com/producer-app-public/clips"
FLOW = provider(MEDIA)
ACCOUNT = Account(MAIL)


def clip(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Make a clip as a list shows it."""
    uuid = f"0f0e0d0c-0b0a-4908-8706-{number:012x}"
    plain = {"clip": f"user:1234-{MAIL}-clip:{uuid}", "title": "Song", "lyrics": "la", "duration_s": 173.03}
    return plain | {"image_url": "https://storage.googleapis.com/x.jpg"} | fields


def page(clips: list[Any], after: int | None = None, offset: int = 0) -> dict[str, Any]:
    """Make a page."""
    return {"email": MAIL, "clips": clips, "limit": 100, "offset": offset, "next": after}


# Accounts -------------------------------------------------------------------------------------------------


def test_accounts_are_the_keys() -> None:
    """The accounts are the object's keys; one with an `error` is told as broken, without its text."""
    said = {MAIL: {"email": MAIL, "tier": "plus"}, "b@example.com": {"error": f"{MAIL}: token rejected"}}
    accounts, asked = talk(FLOW.accounts(), (200, said))
    assert [(one.ident, one.error is None) for one in accounts] == [(MAIL, True), ("b@example.com", False)]
    assert "token rejected" not in str(accounts[1].error)
    assert MAIL not in repr(accounts)
    assert [(one.path, one.kind) for one in asked] == [("/v1/flowmusic/accounts", "accounts")]


def test_no_accounts_is_an_empty_list() -> None:
    """`{}` means that none is linked."""
    assert heard(FLOW.accounts(), (200, {})) == []


@pytest.mark.parametrize("entry", [None, [], "x", 5, {"error": None}])
def test_an_odd_account_is_an_account(entry: Any) -> None:
    """An entry that is not what was documented, or whose error is null, is a sound account."""
    assert heard(FLOW.accounts(), (200, {MAIL: entry}))[0].error is None


def test_an_error_object_is_an_error() -> None:
    """An account's `error` may be an object instead of a text."""
    assert heard(FLOW.accounts(), (200, {MAIL: {"error": {"code": 401}}}))[0].error is not None


# Lists ----------------------------------------------------------------------------------------------------


def test_a_list_is_asked_for_by_the_hundred_and_by_account() -> None:
    """The page size is always sent, as the documents disagree about the default, and so is the account."""
    found, (asked,) = talk(FLOW.page(ACCOUNT, None), (200, page([clip(1), clip(2)])))
    assert (asked.path, asked.kind) == ("/v1/flowmusic/music", "list")
    assert asked.query == (("email", MAIL), ("limit", "100"), ("offset", "0"))
    assert [song.ident[-1] for song in found.songs] == ["1", "2"]
    assert found.next is None
    first = found.songs[0]
    assert (first.title, first.duration, first.account, first.created) == ("Song", 173.03, MAIL, None)
    assert first.handle == f"user:1234-{MAIL}-clip:{first.ident}"


def test_the_next_page_begins_with_the_last_clip() -> None:
    """Pages overlap by one record, so that a list that shifted in between is noticed."""
    first = heard(FLOW.page(ACCOUNT, None), (200, page([clip(n) for n in range(100)], 100)))
    assert first.next is not None
    _, (asked,) = talk(FLOW.page(ACCOUNT, first.next), (200, page([clip(99), clip(100)], None, 99)))
    assert dict(asked.query)["offset"] == "99"


def test_the_next_page_begins_with_the_last_clip_that_can_be_read() -> None:
    """A record that cannot be read at a page's end does not break the overlap, or the list never ends."""
    clips = [clip(n) for n in range(98)] + [{"clip": "rubbish"}, {"clip": None}]
    found = heard(FLOW.page(ACCOUNT, None), (200, page(clips, 100)))
    assert found.next == "97"
    assert found.skipped == 2


@pytest.mark.parametrize("after", [0, 1, -5])
def test_a_next_page_that_goes_back_is_refused(after: int) -> None:
    """A `next` that does not lie behind this page would loop for ever."""
    with pytest.raises(Misbehaved):
        heard(FLOW.page(ACCOUNT, None), (200, page([clip()], after)))


def test_every_nullable_field_may_be_null() -> None:
    """Titles, lyrics, durations and images that are null or missing leave a song without them."""
    nulls = clip(1, title=None, lyrics=None, duration_s=None, image_url=None)
    found = heard(FLOW.page(ACCOUNT, None), (200, page([nulls, {"clip": CLIP}])))
    assert [(song.title, song.duration, song.urls) for song in found.songs] == [(None, None, {})] * 2


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, {"clip": 7}, {"clip": "song"}, clip(title=[1])])
def test_a_record_that_cannot_be_read_is_left_out(odd: Any) -> None:
    """One bad record hides nothing of the others, and is counted."""
    found = heard(FLOW.page(ACCOUNT, None), (200, page([odd, clip(2)])))
    assert [song.ident[-1] for song in found.songs] == ["2"]
    assert found.skipped == 1


def test_a_bad_record_changes_nothing_of_the_others() -> None:
    """Clips are the same whether a page is read at one go or one by one, odd parts included."""
    clips = [
        clip(1, title="", duration_s="12.5", lyrics=["la"], lyrics_timing=[[0, 1.5]]),
        clip(2, image_url=7, lyrics_timing=[["x"]], audio_url=f"{MEDIA}/a.m4a", wav_url=None),
        clip(3, created_at="2026-01-02T03:04:05Z", lyrics="a\nb", lyrics_timing=[[0, 1], [1, 2]]),
        {"clip": CLIP},
    ]
    sound = heard(FLOW.page(ACCOUNT, None), (200, page(clips)))
    mixed = heard(FLOW.page(ACCOUNT, None), (200, page([*clips, {"clip": 7}])))
    assert sound.songs == mixed.songs
    assert (len(sound.songs), sound.skipped, mixed.skipped) == (4, 0, 1)


def test_an_absurdly_nested_record_is_only_misbehaviour() -> None:
    """Nesting beyond every stack is an error of the service, not of ours."""
    deep = b'{"clips":[{"clip":"x","odd":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
    with pytest.raises(Misbehaved):
        heard(FLOW.page(ACCOUNT, None), (200, deep))


@pytest.mark.parametrize(
    ("status", "named"),
    [(401, Refused), (403, Refused), (429, Throttled), (500, Misbehaved), (596, AccountBroken)],
)
def test_a_refused_list_is_its_refusal(status: int, named: type[UpstreamError]) -> None:
    """A list that cannot be had raises what its status means, and quotes no address."""
    with pytest.raises(named) as caught:
        heard(FLOW.page(ACCOUNT, None), (status, {"error": f"Account {MAIL} in error state", "code": status}))
    assert MAIL not in str(caught.value)


# Where the bytes are --------------------------------------------------------------------------------------


def test_urls_of_the_list_are_used() -> None:
    """Where the list carries audio_url and wav_url, they are taken as they are, query and all (reading A)."""
    urls = {"audio_url": f"https://host/{UUID}.m4a?X-Goog-Signature=1", "wav_url": f"https://host/{UUID}.wav"}
    (song,) = heard(FLOW.page(ACCOUNT, None), (200, page([clip(1, **urls)]))).songs
    assert heard(FLOW.locate(song, Form.M4A, 0.0)).url == urls["audio_url"]
    assert heard(FLOW.locate(song, Form.WAV, 0.0)).url == urls["wav_url"]
    assert "Signature" not in repr(song)


@pytest.mark.parametrize("absent", [{}, {"audio_url": None}, {"audio_url": ""}])
def test_without_urls_the_bucket_is_derived(absent: dict[str, Any]) -> None:
    """Where the list carries none, the public bucket is asked by the clip's uuid (reading B)."""
    (song,) = heard(FLOW.page(ACCOUNT, None), (200, page([clip(1, **absent)]))).songs
    locator = heard(FLOW.locate(song, Form.M4A, 0.0))
    assert locator.url == f"{MEDIA}/{song.ident}.m4a"
    assert not locator.authorised
    assert not locator.minted


def test_the_mp3_comes_from_the_api_itself() -> None:
    """The mp3 is the API's own download of the raw clip id, encoded for a query; nothing has to be asked."""
    song = Song("flowmusic", UUID, CLIP)
    locator, asked = talk(FLOW.locate(song, Form.MP3, 0.0))
    assert asked == []
    assert locator.authorised
    assert locator.url == (
        f"/v1/flowmusic/music/download?id=user%3A1234-joe%2Bmusic-1.x%40example.com-clip%3A{UUID}&format=mp3"
    )
    assert not FLOW.free(song, Form.MP3)
    assert FLOW.free(song, Form.WAV)
    assert FLOW.free(song, Form.M4A)


# Jobs and full ids ----------------------------------------------------------------------------------------


def record(status: str, **fields: Any) -> dict[str, Any]:
    """Make a job's record."""
    return {"jobid": JOB, "email": MAIL, "status": status, "created_at": "2026-06-01T10:00:00.000Z"} | fields


def test_a_completed_job_is_its_first_clip() -> None:
    """A record gives the first of its clips, with its date and URLs."""
    full = {"clip": CLIP, "title": None, "created_at": "2026-06-01T10:02:10.000Z", "audio_url": "https://h/a"}
    song, (asked,) = talk(FLOW.record(JOB), (200, record("completed", clips=[full, clip(2)])))
    assert (asked.path, asked.kind) == (f"/v1/flowmusic/jobs/{JOB}", "record")
    assert (song.ident, song.handle, song.created) == (UUID, CLIP, 1_780_308_130.0)
    assert song.urls == {Form.M4A: "https://h/a"}


@pytest.mark.parametrize("absent", [{}, {"clips": None}, {"clips": []}])
def test_a_completed_job_without_clips_downloads_by_its_own_id(absent: dict[str, Any]) -> None:
    """The download takes a job id as well, so a record that names no clips is a song of the job's uuid."""
    song = heard(FLOW.record(JOB), (200, record("completed", **absent)))
    assert (song.ident, song.handle) == ("11111111-2222-4333-8444-555555555555", JOB)


def test_a_pending_job_is_not_finished() -> None:
    """A job that is being made is EBUSY."""
    with pytest.raises(NotFinished):
        heard(FLOW.record(JOB), (200, record("pending")))


def test_a_failed_job_is_no_song() -> None:
    """A job that failed is ENOENT; its error is an object here, unlike elsewhere."""
    with pytest.raises(Withdrawn):
        heard(FLOW.record(JOB), (200, record("failed", error={"code": "X", "message": "no"})))


@pytest.mark.parametrize(
    ("status", "named"), [(403, Refused), (404, Withdrawn), (410, Withdrawn), (596, AccountBroken)]
)
def test_a_job_that_cannot_be_had(status: int, named: type[UpstreamError]) -> None:
    """Another user's job is refused; an expired or unknown one (404, 410) is withdrawn."""
    with pytest.raises(named):
        heard(FLOW.record(JOB), (status, b""))


def test_a_job_whose_clip_cannot_be_read() -> None:
    """A record with a clip of no readable id is misbehaviour, not a song."""
    with pytest.raises(Misbehaved):
        heard(FLOW.record(JOB), (200, record("completed", clips=[{"clip": "?"}])))


def test_full_ids_are_known_from_both_ends() -> None:
    """A job id is recognised and a clip id taken at its word, whatever the address between holds."""
    assert FLOW.recognise(JOB) == JOB
    assert FLOW.recognise(CLIP) is None
    guest = FLOW.guest(CLIP.replace(UUID, UUID.upper()))
    assert guest is not None
    assert guest.ident == UUID
    assert FLOW.guest(JOB) is None
    for name in ("", UUID, "Folder.jpg", f"{CLIP}.mp3", f"{CLIP}x", "job:1-user:2-x-bot:flowmusic"):
        assert FLOW.recognise(name) is None
        assert FLOW.guest(name) is None


# What is told beside the bytes ----------------------------------------------------------------------------


def test_a_clip_tells_its_lyrics_and_cover() -> None:
    """Lyrics, their times and the cover are read where a list carries them; odd ones are not known (§2.2)."""
    told = {
        "lyrics": "One\nTwo",
        "lyrics_timing": [[0.5, 1.0], [1, 2]],
        "image_url": "https://c.example/a.jpg",
    }
    odd = {"lyrics": 7, "lyrics_timing": [["x"]], "image_url": "javascript:alert(1)"}
    whole, bare = heard(FLOW.page(ACCOUNT, None), (200, page([clip(1, **told), clip(2, **odd)]))).songs
    sheet = unpack(whole.sheet)
    assert (sheet.lyrics, sheet.timing) == ("One\nTwo", ((0.5, 1.0), (1.0, 2.0)))
    assert whole.cover == "https://c.example/a.jpg"
    assert (unpack(bare.sheet).timing, bare.cover) == ((), None)


def test_a_record_tells_the_prompt() -> None:
    """A job's record says what was asked for, which no list does (§2.5)."""
    told = record("completed", clips=[clip(1, lyrics="One")], request={"prompt": "a song of the sea"})
    song = heard(FLOW.record(JOB), (200, told))
    assert unpack(song.sheet).prompt == "a song of the sea"


def test_a_cover_lies_where_its_url_says() -> None:
    """A cover is located by its URL and without the token, not by the bucket's rule."""
    told = page([clip(1, image_url="https://c.example/a.jpg")])
    (song,) = heard(FLOW.page(ACCOUNT, None), (200, told)).songs
    found = heard(FLOW.locate(song, str(picture(song)), 0.0))
    assert (found.url, found.authorised) == ("https://c.example/a.jpg", False)
