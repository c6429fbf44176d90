"""Conversations with TemPolor, by hand, against the shapes of upstream-api.md §3."""

from __future__ import annotations

from typing import Any

import pytest

from musicfs.core.sheets import picture, unpack
from musicfs.errors import (
    AccountBroken,
    BytesMissing,
    Misbehaved,
    NotFinished,
    Refused,
    Rejected,
    Throttled,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Account, Form, Page, State
from musicfs.providers.tempolor import provider
from tests.providers.talking import heard, talk

JOB = "user:12345-tempolor:100200300-job:9f8e7d6c5b4a"
ACCOUNT = Account("100200300")
NOW = 1_795_000_000.0
TEMPOLOR = provider("")


def record(item: str = "9f8e7d6c5b4a", **fields: Any) -> dict[str, Any]:
    """Make a record of a job that is completed."""
    plain: dict[str, Any] = {
        "job_id": f"user:12345-tempolor:100200300-job:{item}",
        "itemId": item,
        "titleEn": "Northern Choir",
        "status": 30,
        "status_name": "COMPLETED",
        "status_final": True,
        "musicMaterial": {"bpm": 130, "dur": 180},
        "createTime": 1_716_565_425_000,
        "updateTime": 1_716_565_700_000,
    }
    return plain | fields


def listed(*records: Any, more: bool | None = False, cursor: str | None = "") -> dict[str, Any]:
    """Make a page."""
    return {"records": list(records), "hasNext": more, "cursor": cursor}


def song_of(**fields: Any) -> Any:
    """Read one record."""
    return heard(TEMPOLOR.record(JOB), (200, record(**fields)))


# Accounts -------------------------------------------------------------------------------------------------


def test_accounts_are_the_keys() -> None:
    """The accounts are the object's keys, whatever their entries hold."""
    accounts, asked = talk(TEMPOLOR.accounts(), (200, {"100200300": {"maxJobs": 10}, "7": None}))
    assert [account.ident for account in accounts] == ["100200300", "7"]
    assert asked[0].path == "/v1/tempolor/accounts"


def test_404_means_no_accounts() -> None:
    """Where Flow Music answers `{}`, TemPolor answers 404: none is linked, and nothing is wrong."""
    assert heard(TEMPOLOR.accounts(), (404, {"error": "No accounts configured"})) == []


@pytest.mark.parametrize(("status", "named"), [(401, Refused), (402, Refused), (503, Misbehaved)])
def test_accounts_that_cannot_be_had(status: int, named: type[UpstreamError]) -> None:
    """Every other refusal is an error, never an empty list."""
    with pytest.raises(named):
        heard(TEMPOLOR.accounts(), (status, b"<html>"))


# Lists ----------------------------------------------------------------------------------------------------


def whole_listing(*pages: dict[str, Any]) -> tuple[list[Page], list[dict[str, str]]]:
    """Follow the cursors through all pages; give the pages and the queries."""
    found: list[Page] = []
    queries: list[dict[str, str]] = []
    cursor: str | None = None
    for said in pages:
        page, (asked,) = talk(TEMPOLOR.page(ACCOUNT, cursor), (200, said))
        assert asked.path == "/v1/tempolor/music/"
        found.append(page)
        queries.append(dict(asked.query))
        cursor = page.next
    assert cursor is None, "the listing goes on"
    return found, queries


def test_both_types_are_listed() -> None:
    """Instrumentals are listed only when asked for: they follow the last song, with the account named."""
    pages, queries = whole_listing(
        listed(record("a"), more=True, cursor="p 1"), listed(record("b")), listed()
    )
    assert [song.ident for page in pages for song in page.songs] == ["a", "b"]
    assert queries == [
        {"user_id": "100200300", "type": "song"},
        {"user_id": "100200300", "type": "song", "cursor": "p 1"},
        {"user_id": "100200300", "type": "instrumental"},
    ]


@pytest.mark.parametrize(
    "end",
    [
        listed(record(), more=False, cursor="p2"),
        listed(record(), more=True, cursor=""),
        listed(record(), more=True, cursor=None),
        listed(record(), more=True, cursor="p1"),
        listed(more=True, cursor="p2"),
        {"records": None, "hasNext": True, "cursor": "p2"},
        {},
    ],
    ids=["no more", "no cursor", "null cursor", "stuck cursor", "no records", "null records", "nothing"],
)
def test_a_listing_ends(end: dict[str, Any]) -> None:
    """No more, an empty or repeated cursor, or no records at all end a type; nothing loops for ever."""
    pages, queries = whole_listing(listed(record("x"), more=True, cursor="p1"), end, listed())
    assert queries[-1]["type"] == "instrumental"
    assert len(pages) == 3


def test_a_missing_has_next_goes_on_with_the_cursor() -> None:
    """The page may go on where `hasNext` is missing and a new cursor is there."""
    _, queries = whole_listing({"records": [record("a")], "cursor": "c"}, listed(), listed())
    assert queries[1]["cursor"] == "c"


@pytest.mark.parametrize("odd", [None, 5, {}, {"job_id": None}, {"job_id": "x"}, record(titleEn=["?"])])
def test_a_record_that_cannot_be_read_is_left_out(odd: Any) -> None:
    """One bad record hides nothing of the others, and is counted."""
    page = heard(TEMPOLOR.page(ACCOUNT, None), (200, listed(odd, record("b"))))
    assert [song.ident for song in page.songs] == ["b"]
    assert page.skipped == 1


@pytest.mark.parametrize("item", ["..", ".", "a/b", "a:b", "", "x" * 201, "é" * 101, "a\x00b", "a\nb"])
def test_an_item_that_can_be_no_folder_is_left_out(item: str) -> None:
    """An item id becomes a folder's name, so one that cannot is no song."""
    assert heard(TEMPOLOR.page(ACCOUNT, None), (200, listed(record(item)))).songs == ()


def test_every_field_is_optional() -> None:
    """A record of nothing but its id is a song."""
    page = heard(TEMPOLOR.page(ACCOUNT, None), (200, listed({"job_id": JOB})))
    (song,) = page.songs
    assert (song.title, song.duration, song.created, song.state) == (None, None, None, State.READY)


@pytest.mark.parametrize(
    ("status", "named"), [(404, Withdrawn), (400, Rejected), (429, Throttled), (596, AccountBroken)]
)
def test_a_refused_list_is_its_refusal(status: int, named: type[UpstreamError]) -> None:
    """A list that cannot be had raises what its status means; it is never an empty page."""
    with pytest.raises(named):
        heard(TEMPOLOR.page(ACCOUNT, None), (status, {"error": "No accounts configured"}))


# Records --------------------------------------------------------------------------------------------------


def test_a_record_is_read() -> None:
    """Milliseconds become seconds; the item id, not the job id, is what the song is called."""
    song, (asked,) = talk(TEMPOLOR.record(JOB), (200, record()))
    assert (asked.path, asked.kind) == (f"/v1/tempolor/music/{JOB}", "record")
    assert (song.ident, song.handle, song.title, song.duration) == (
        "9f8e7d6c5b4a",
        JOB,
        "Northern Choir",
        180,
    )
    assert (song.created, song.updated) == (1_716_565_425.0, 1_716_565_700.0)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": 0, "status_final": False}, State.UNFINISHED),
        ({"status": 10}, State.FAILED),
        ({"status": 30}, State.READY),
        ({"status": 30, "status_final": False}, State.READY),
        ({"status": 20, "status_final": False}, State.UNFINISHED),
        ({"status": 20, "status_final": None}, State.UNFINISHED),
        ({"status": 40, "status_final": True}, State.READY),
        ({"status": None, "status_final": None}, State.READY),
    ],
)
def test_a_status_is_a_state(fields: dict[str, Any], state: State) -> None:
    """0, 10 and 30 are known; any other is unfinished unless it is said to be final."""
    assert song_of(**fields).state is state


@pytest.mark.parametrize("material", [None, [], "x", {}, {"dur": None}, {"dur": "long"}])
def test_a_duration_may_be_missing_in_every_way(material: Any) -> None:
    """A job without a readable duration is a song without one."""
    assert song_of(musicMaterial=material).duration is None


@pytest.mark.parametrize("moment", [0, -5, None])
def test_a_moment_that_is_none(moment: Any) -> None:
    """A time of zero or less is no time."""
    assert song_of(createTime=moment).created is None


@pytest.mark.parametrize(("status", "named"), [(404, Withdrawn), (410, Withdrawn), (403, Refused)])
def test_a_record_that_is_not_there(status: int, named: type[UpstreamError]) -> None:
    """A record that is gone is withdrawn; a refused one is refused."""
    with pytest.raises(named):
        heard(TEMPOLOR.record(JOB), (status, {"error": f"No record found for {JOB}"}))


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"<html>", b"", b'{"job_id":"x","y":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
)
def test_a_record_that_cannot_be_read(body: bytes) -> None:
    """A record that is no record, however absurd, is misbehaviour."""
    with pytest.raises(Misbehaved):
        heard(TEMPOLOR.record(JOB), (200, body))


# Links ----------------------------------------------------------------------------------------------------

LINK = "https://ugc-cdn.api.instabeat.ai/ai/mp3/9f.mp3?auth_key={}-0-0-0123456789abcdef"


def link(body: Any, now: float = NOW, **fields: Any) -> Any:
    """Mint a link with that answer."""
    return heard(TEMPOLOR.locate(song_of(**fields), Form.MP3, now), (200, body))


@pytest.mark.parametrize("form", [Form.MP3, Form.WAV, Form.STEMS])
def test_a_link_is_minted_for_every_form(form: str) -> None:
    """Each form's link is asked for with the raw job id, and is a secret that may be made again."""
    locator, (asked,) = talk(TEMPOLOR.locate(song_of(), form, NOW), (200, {"url": LINK.format(1)}))
    assert (asked.path, asked.kind) == (f"/v1/tempolor/music/download/{JOB}", "mint")
    assert asked.query == (("file_format", form),)
    assert locator.minted
    assert not locator.authorised
    assert "auth_key" not in repr(locator)
    assert not TEMPOLOR.free(song_of(), form)


def test_remaining_seconds_are_the_links_life() -> None:
    """A life that is told is taken."""
    assert link({"url": LINK.format(1), "remainSeconds": 30}).lives == 30


@pytest.mark.parametrize("remaining", [0, None, -1])
def test_zero_remaining_is_unknown_and_not_expired(remaining: Any) -> None:
    """Without a life, the signature's own time is a lower bound of it (upstream-api.md §4.1)."""
    stamp = int(NOW) + 3600
    assert link({"url": LINK.format(stamp), "remainSeconds": remaining}).lives == 3600.0


@pytest.mark.parametrize("ahead", [0, 1, 60, 299])
def test_a_moment_of_signing_is_no_end(ahead: int) -> None:
    """A signature's time that is about now, by whoever's clock, says nothing of how long the link lives."""
    assert link({"url": LINK.format(int(NOW) + ahead), "remainSeconds": 0}).lives is None


@pytest.mark.parametrize(
    "url",
    [
        LINK.format(int(NOW) - 10),
        LINK.format(""),
        LINK.format("soon"),
        LINK.format("1" * 5000),
        "https://host/x",
        "https://host/x?auth_key=",
    ],
)
def test_a_signature_in_the_past_says_nothing(url: str) -> None:
    """A time of signing that has passed, or none that can be read, leaves the life unknown: no expiry."""
    assert link({"url": url, "remainSeconds": 0}).lives is None


@pytest.mark.parametrize("body", [{}, {"url": None}, {"url": ""}, {"remainSeconds": 5}, [], b"<html>"])
def test_an_answer_without_a_link_is_misbehaviour(body: Any) -> None:
    """200 without a URL is not a link."""
    with pytest.raises(Misbehaved):
        link(body)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("Generation is not completed yet (0)", NotFinished),
        ("Generation is not completed yet (20)", NotFinished),
        ("Generation is not completed yet (10)", Withdrawn),
        ("Parameter file_format not supported", Rejected),
    ],
)
def test_a_400_is_read(said: str, named: type[UpstreamError]) -> None:
    """ "Not completed" is EBUSY, of a failed job ENOENT; any other 400 is the service's last word."""
    with pytest.raises(named) as caught:
        heard(TEMPOLOR.locate(song_of(), Form.MP3, NOW), (400, {"error": said, "code": 400}))
    assert type(caught.value) is named


@pytest.mark.parametrize(
    ("age", "named"), [(0.0, NotFinished), (119.0, NotFinished), (121.0, BytesMissing), (9e6, BytesMissing)]
)
def test_a_fresh_404_is_not_ready_yet(age: float, named: type[UpstreamError]) -> None:
    """Within two minutes of being finished a 404 means "not ready yet"; later the bytes are missing."""
    updated = int((NOW - age) * 1000)
    with pytest.raises(named):
        heard(TEMPOLOR.locate(song_of(updateTime=updated), Form.WAV, NOW), (404, b""))


@pytest.mark.parametrize("status", [404, 410])
def test_a_404_of_no_known_age_is_missing(status: int) -> None:
    """Where the record tells no time, a 404 is believed, and 410 says the same: the song stays listed."""
    song = song_of(updateTime=None, createTime=None)
    with pytest.raises(BytesMissing):
        heard(TEMPOLOR.locate(song, Form.WAV, NOW), (status, b""))


@pytest.mark.parametrize(
    ("status", "named"), [(401, Refused), (402, Refused), (429, Throttled), (596, AccountBroken)]
)
def test_a_refused_mint_is_its_refusal(status: int, named: type[UpstreamError]) -> None:
    """A mint that is refused raises what its status means."""
    with pytest.raises(named):
        heard(TEMPOLOR.locate(song_of(), Form.MP3, NOW), (status, b""))


def test_full_ids_are_known() -> None:
    """A full job id is recognised; nothing else is, and no id is taken at its word."""
    assert TEMPOLOR.recognise(JOB) == JOB
    for name in (
        "",
        "9f8e7d6c5b4a",
        "user:1-tempolor:2-job:..",
        "user:1-tempolor:2-job:a:b",
        f"{JOB}/x",
        "desktop.ini",
    ):
        assert TEMPOLOR.recognise(name) is None
    assert TEMPOLOR.guest(JOB) is None


# What is told beside the bytes ----------------------------------------------------------------------------


def test_a_record_tells_what_the_song_is_of() -> None:
    """Lyrics, prompt, key and tempo are read from where they stand; empty texts are not known (§3.3)."""
    material = {"key": "F:minor", "bpm": 130, "dur": 180, "otherInfo": "a hymn", "style": "", "mood": " "}
    extended = {"lyricsPrompt": "Come all you stars", "description": "slow"}
    song = song_of(musicMaterial=material, ltmMaterialExtendDto=extended, cover="https://c.example/a.png")
    told = unpack(song.sheet)
    assert (told.lyrics, told.prompt, told.description) == ("Come all you stars", "a hymn", "slow")
    assert (told.key, told.bpm, told.style, told.mood) == ("F minor", 130, None, None)
    assert (song.duration, song.cover) == (180, "https://c.example/a.png")


@pytest.mark.parametrize("odd", [None, "text", 7, ["list"], {"bpm": "inf", "key": 3, "dur": {}}])
def test_odd_facts_cost_only_themselves(odd: Any) -> None:
    """Facts of a shape that nobody foresaw are not known, and the song is there all the same."""
    song = song_of(musicMaterial=odd, ltmMaterialExtendDto=odd, cover=odd)
    assert song.title == "Northern Choir"
    assert (song.duration, song.cover, song.sheet) == (None, None, b"")


def test_a_cover_is_located_without_a_question() -> None:
    """A cover's place is its URL, without the token; of a cover that was replaced there is none."""
    song = song_of(cover="https://c.example/a.png")
    form = str(picture(song))
    assert TEMPOLOR.free(song, form)
    found, asked = talk(TEMPOLOR.locate(song, form, NOW))
    assert (found.url, found.authorised, asked) == ("https://c.example/a.png", False, [])
    with pytest.raises(BytesMissing):
        talk(TEMPOLOR.locate(song_of(cover="https://c.example/b.png"), form, NOW))
