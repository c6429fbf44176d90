"""Flow Music: the shapes and error texts of upstream-api.md §2."""

from __future__ import annotations

import pytest

from musicfs.demo import Clip, Service, content, whole
from tests.demo.asking import ADA, error, fetch, get, told

API = "/v1/flowmusic"


@pytest.fixture
def service() -> Service:
    """A service with 45 clips of one account and two of another."""
    made = Service()
    for number in range(45):
        made.add_clip(ADA, f"Song {number}", 100.5 + number)
    made.add_clip("ben+x@example.org", None, None, lyrics=None)
    made.add_clip("ben+x@example.org", "Ben's", 3.0, cover=b"jpeg")
    return made


def test_accounts(service: Service) -> None:
    """Accounts are keyed by e-mail; a broken one says why; none at all is an empty object."""
    service.flow.break_account(ADA, "refresh token rejected")
    accounts = told(get(service, f"{API}/accounts"))
    assert list(accounts) == [ADA, "ben+x@example.org"]
    assert accounts[ADA]["error"] == "refresh token rejected"
    assert "error" not in accounts["ben+x@example.org"]
    assert told(get(Service(), f"{API}/accounts")) == {}


def test_account(service: Service) -> None:
    """One account adds its credits unless it is broken; a stranger is 404."""
    assert told(get(service, f"{API}/accounts/{ADA}"))["credits_remaining"] == 500
    service.flow.break_account(ADA)
    assert "credits_remaining" not in told(get(service, f"{API}/accounts/{ADA}"))
    assert error(get(service, f"{API}/accounts/eve@example.com"))[0] == 404


def test_list_shape(service: Service) -> None:
    """A list names its account and pages; an entry has the five documented fields and no more."""
    page = told(get(service, f"{API}/music", email="ben+x@example.org", limit=1))
    ben = service.flow.clips[-1]
    assert {key: page[key] for key in page if key != "clips"} == {
        "email": "ben+x@example.org",
        "limit": 1,
        "offset": 0,
        "next": 1,
    }
    assert page["clips"] == [
        {
            "clip": f"user:1234-ben+x@example.org-clip:{ben.uuid}",
            "title": "Ben's",
            "lyrics": None,
            "duration_s": 3.0,
            "image_url": f"https://storage.googleapis.com/producer-app-public/assets/{ben.uuid}.jpg",
        }
    ]


def test_paging(service: Service) -> None:
    """Following `next` gives every clip once, newest first, and ends with null."""
    titles, offset = [], 0
    while offset is not None:
        page = told(get(service, f"{API}/music/", email=ADA, limit=10, offset=offset))
        titles += [clip["title"] for clip in page["clips"]]
        offset = page["next"]
    assert titles == [f"Song {number}" for number in reversed(range(45))]
    assert told(get(service, f"{API}/music", email=ADA, limit=45))["next"] is None


def test_default_page(service: Service) -> None:
    """Without a limit a page has 20 clips, or what the knob says."""
    assert len(told(get(service, f"{API}/music", email=ADA))["clips"]) == 20
    service.knobs.flow_page = 30
    assert len(told(get(service, f"{API}/music", email=ADA))["clips"]) == 30


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "offset=-1"])
def test_bad_paging(service: Service, query: str) -> None:
    """A limit outside 1 to 100 and a negative offset are 400."""
    assert error(get(service, f"{API}/music?{query}"))[0] == 400


def test_default_account(service: Service) -> None:
    """Without an e-mail the first account that works is listed; a stranger's is 404."""
    assert told(get(service, f"{API}/music"))["email"] == ADA
    service.flow.break_account(ADA)
    assert told(get(service, f"{API}/music"))["email"] == "ben+x@example.org"
    assert error(get(service, f"{API}/music", email="eve@example.com"))[0] == 404


def test_broken_account(service: Service) -> None:
    """596 names the account, for its list and its downloads, and leaves the other account alone."""
    service.flow.break_account(ADA)
    text = "Account ada@example.com in error state: refresh token rejected"
    assert error(get(service, f"{API}/music", email=ADA)) == (596, text)
    handle = service.flow.handle(service.flow.clips[0])
    assert error(get(service, f"{API}/music/download", id=handle)) == (596, text)
    assert told(get(service, f"{API}/music", email="ben+x@example.org"))["clips"]


def test_list_urls(service: Service) -> None:
    """The knob of trap 1 puts both URLs into the list."""
    service.knobs.list_urls = True
    entry = told(get(service, f"{API}/music", email=ADA, limit=1))["clips"][0]
    uuid = entry["clip"].rpartition(":")[2]
    assert entry["audio_url"].endswith(f"/producer-app-public/clips/{uuid}.m4a")
    assert entry["wav_url"].endswith(f"/producer-app-public/clips/{uuid}.wav")


def test_list_ills(service: Service) -> None:
    """Lists can be all nulls, or empty with 200."""
    service.knobs.list_nulls = True
    entry = told(get(service, f"{API}/music", email=ADA))["clips"][0]
    assert [entry[name] for name in ("title", "lyrics", "duration_s", "image_url")] == [None] * 4
    service.knobs.empty_lists = True
    page = told(get(service, f"{API}/music", email=ADA))
    assert (page["clips"], page["next"]) == ([], None)


def test_between_pages(service: Service) -> None:
    """A clip made between two pages shifts the second by one, as it would."""

    def meanwhile() -> None:
        service.add_clip(ADA, "New")

    service.knobs.between_pages = meanwhile
    first = told(get(service, f"{API}/music", email=ADA, limit=10))
    second = told(get(service, f"{API}/music", email=ADA, limit=10, offset=first["next"]))
    assert first["clips"][-1]["clip"] == second["clips"][0]["clip"]


def test_download(service: Service) -> None:
    """A clip's mp3 comes as bytes with a file name; encoded and trailing-slash forms are the same."""
    clip = service.flow.clips[-1]
    for path in (f"{API}/music/download", f"{API}/music/download/"):
        response = get(service, path, id=service.flow.handle(clip), format="mp3")
        assert response.header("content-type") == "audio/mpeg"
        assert response.header("content-disposition") == f'attachment; filename="{clip.uuid}.mp3"'
        assert whole(response) == content(clip.assets["mp3"])


def test_download_refusals(service: Service) -> None:
    """Bad ids and formats are 400 in the documented words; an unknown clip is what the knob says."""
    words = "Parameter id not a valid clip ID or jobid"
    assert error(get(service, f"{API}/music/download", id="clip:nonsense")) == (400, words)
    assert error(get(service, f"{API}/music/download")) == (400, words)
    handle = service.flow.handle(service.flow.clips[0])
    assert error(get(service, f"{API}/music/download", id=handle, format="wav"))[0] == 400
    stranger = handle[:-12] + "000000000000"
    assert error(get(service, f"{API}/music/download", id=stranger))[0] == 404
    service.knobs.unknown_clip = 400
    assert error(get(service, f"{API}/music/download", id=stranger))[0] == 400


def test_download_by_job(service: Service) -> None:
    """A finished job's id gives its first clip; a pending one is 409, a stranger 404."""
    first, second = service.flow.clips[:2]
    done, waiting = service.flow.add_job(ADA, first, second), service.flow.add_job(ADA, status="pending")
    response = get(service, f"{API}/music/download", id=service.flow.handle(done))
    assert whole(response) == content(first.assets["mp3"])
    assert error(get(service, f"{API}/music/download", id=service.flow.handle(waiting)))[0] == 409
    service.flow.jobs.remove(done)
    assert error(get(service, f"{API}/music/download", id=service.flow.handle(done)))[0] == 404


def test_bass(service: Service) -> None:
    """The knob refuses the bass stem's mp3 alone; its m4a in the bucket is still there, its wav never was."""
    service.knobs.bass_refused = True
    drums, bass, *_ = service.flow.add_stems(service.flow.clips[0])
    assert get(service, f"{API}/music/download", id=service.flow.handle(drums)).status == 200
    assert error(get(service, f"{API}/music/download", id=service.flow.handle(bass)))[0] == 403
    assert fetch(service, f"{service.origins.bucket}/{bass.uuid}.m4a").status == 200
    assert fetch(service, f"{service.origins.bucket}/{bass.uuid}.wav").status == 404


def test_running_jobs(service: Service) -> None:
    """Running jobs are keyed by account; finished ones are not listed; none at all is an empty object."""
    assert told(get(service, f"{API}/jobs")) == {}
    service.flow.add_job(ADA, service.flow.clips[0])
    job = service.flow.add_job(ADA, status="pending")
    running = told(get(service, f"{API}/jobs"))
    assert running[ADA]["running"] == 1
    assert [line["jobid"] for line in running[ADA]["jobs"]] == [service.flow.handle(job)]


@pytest.mark.parametrize("encode", [False, True])
def test_record(service: Service, encode: bool) -> None:
    """A finished job's record has its clips with dates and URLs, asked for raw or encoded."""
    clip: Clip = service.flow.clips[-1]
    job = service.flow.add_job(clip.account, clip)
    handle = service.flow.handle(job)
    path = handle.replace(":", "%3A").replace("@", "%40").replace("+", "%2B") if encode else handle
    record = told(get(service, f"{API}/jobs/{path}"))
    assert (record["jobid"], record["email"], record["status"]) == (handle, clip.account, "completed")
    entry = record["clips"][0]
    assert entry["audio_url"] == f"{service.origins.bucket}/{clip.uuid}.m4a"
    assert entry["created_at"].endswith(".000Z")


def test_record_states(service: Service) -> None:
    """Pending has no clips, failed has an error object with a code in text, foreign is 403, unknown 404."""
    pending, failed, foreign = (
        service.flow.handle(service.flow.add_job(ADA, status=status, foreign=foreign))
        for status, foreign in (("pending", False), ("failed", False), ("completed", True))
    )
    assert "clips" not in told(get(service, f"{API}/jobs/{pending}"))
    assert isinstance(told(get(service, f"{API}/jobs/{failed}"))["error"]["code"], str)
    assert error(get(service, f"{API}/jobs/{foreign}"))[0] == 403
    assert error(get(service, f"{API}/jobs/{foreign}x"))[0] == 404
