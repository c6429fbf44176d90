"""TemPolor: the shapes and error texts of upstream-api.md §3."""

from __future__ import annotations

import pytest

from musicfs.demo import Job, Service, content, whole, zip_of
from tests.demo.asking import NOW, SOLO, error, fetch, get, mint, told

API = "/v1/tempolor"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The service's clock."""
    return Clock()


@pytest.fixture
def service(clock: Clock) -> Service:
    """A service with 45 songs and 2 instrumentals of one account."""
    made = Service(clock=clock)
    for number in range(45):
        made.add_job(SOLO, f"Song {number}", 60 + number)
    made.add_job(SOLO, "Tide", kind="instrumental")
    made.add_job(SOLO, "Dune", kind="instrumental", stems=zip_of({"a.wav": b"RIFF"}))
    return made


@pytest.fixture
def job(service: Service) -> Job:
    """The job that has stems."""
    return service.tempolor.jobs[-1]


def test_accounts(service: Service) -> None:
    """Accounts are keyed by user id; none at all is 404, unlike Flow Music."""
    accounts = told(get(service, f"{API}/accounts"))
    assert accounts[SOLO]["user_id"] == SOLO
    assert error(get(Service(), f"{API}/accounts"))[0] == 404
    assert told(get(service, f"{API}/accounts/{SOLO}"))["maxJobs"] == 10
    assert error(get(service, f"{API}/accounts/1"))[0] == 404


def test_list_types(service: Service) -> None:
    """The type is song unless asked; instrumentals are only seen by asking."""
    songs = told(get(service, f"{API}/music/"))["records"]
    assert songs[0]["titleEn"] == "Song 44"
    tunes = told(get(service, f"{API}/music/", type="instrumental"))["records"]
    assert [record["titleEn"] for record in tunes] == ["Dune", "Tide"]
    assert error(get(service, f"{API}/music", type="all"))[0] == 400


def test_paging(service: Service) -> None:
    """Following the cursor gives every record once; the last page says so in both fields."""
    titles, cursor = [], ""
    while True:
        page = told(get(service, f"{API}/music", type="song", cursor=cursor))
        titles += [record["titleEn"] for record in page["records"]]
        assert page["hasNext"] == bool(page["cursor"])
        if not page["hasNext"]:
            break
        cursor = page["cursor"]
    assert titles == [f"Song {number}" for number in reversed(range(45))]


def test_stuck_cursor(service: Service) -> None:
    """The knob promises more for ever and repeats the cursor it was sent."""
    service.knobs.stuck_cursor = True
    first = told(get(service, f"{API}/music"))
    again = told(get(service, f"{API}/music", cursor=first["cursor"]))
    assert again["hasNext"]
    assert again["cursor"] == first["cursor"]


def test_second_account(service: Service) -> None:
    """With a second account user_id becomes required, and each lists its own."""
    service.add_job("200", "Other")
    assert error(get(service, f"{API}/music"))[0] == 400
    records = told(get(service, f"{API}/music", user_id="200"))["records"]
    assert [record["titleEn"] for record in records] == ["Other"]
    assert error(get(service, f"{API}/music", user_id="300"))[0] == 404


def test_record(service: Service, job: Job) -> None:
    """A record has milliseconds, a status in three forms and the objects' paths."""
    record = told(get(service, f"{API}/music/{service.tempolor.handle(job)}"))
    assert record["job_id"] == f"user:1234-tempolor:{SOLO}-job:{job.item}"
    assert (record["status"], record["status_name"], record["status_final"]) == (30, "COMPLETED", True)
    assert record["createTime"] == int(job.created * 1000)
    assert record["mp3OssId"] == f"ai_material/ai_material/mp3/{job.item}.mp3"
    assert record["musicMaterial"]["dur"] == job.duration


@pytest.mark.parametrize(("status", "name", "final"), [(0, "GENERATING", False), (10, "FAILED", True)])
def test_unfinished(service: Service, job: Job, status: int, name: str, final: bool) -> None:
    """A job that is not COMPLETED has no paths, and its download is 400 with the status in the text."""
    job.status = status
    handle = service.tempolor.handle(job)
    record = told(get(service, f"{API}/music/{handle}"))
    assert (record["status_name"], record["status_final"], "mp3OssId" in record) == (name, final, False)
    text = f"Generation is not completed yet ({status})"
    assert error(get(service, f"{API}/music/download/{handle}")) == (400, text)


def test_refusals(service: Service, job: Job) -> None:
    """A malformed id is 400, an unknown one 404, in the documented words; so is an odd file format."""
    assert error(get(service, f"{API}/music/nonsense")) == (400, "job_id has incorrect format")
    unknown = service.tempolor.handle(job) + "0"
    assert error(get(service, f"{API}/music/{unknown}")) == (404, f"No record found for {unknown}")
    assert error(get(service, f"{API}/music/download/{unknown}"))[0] == 404
    path = f"{API}/music/download/{service.tempolor.handle(job)}"
    assert error(get(service, path, file_format="m4a"))[0] == 400


def test_encoded_ids(service: Service, job: Job) -> None:
    """An encoded id is understood unless the knob says otherwise."""
    path = f"{API}/music/{service.tempolor.handle(job).replace(':', '%3A')}"
    assert told(get(service, path))["itemId"] == job.item
    service.knobs.encoded_ids_refused = True
    assert error(get(service, path))[0] == 400


@pytest.mark.parametrize("form", ["mp3", "wav", "stems"])
def test_mint(service: Service, job: Job, form: str) -> None:
    """A link is JSON with a signed URL that gives the form's bytes; each mint is a new link."""
    handle = service.tempolor.handle(job)
    answer = told(get(service, f"{API}/music/download/{handle}", file_format=form))
    assert answer["remainSeconds"] == 0
    assert whole(fetch(service, answer["url"])) == content(job.assets[form])
    again = mint(service, handle, form)
    assert again != answer["url"]
    assert again.partition("?")[0] == answer["url"].partition("?")[0]


def test_mint_knobs(service: Service, job: Job) -> None:
    """A mint tells the life it is told to tell, and may have no URL at all."""
    service.knobs.remain_seconds = 600
    service.knobs.mint_null = True
    answer = told(get(service, f"{API}/music/download/{service.tempolor.handle(job)}"))
    assert answer == {"url": None, "remainSeconds": 600}


def test_fresh_404(service: Service, clock: Clock, job: Job) -> None:
    """A fresh COMPLETED answers 404 for as long as the knob says, then gives a link."""
    service.knobs.not_ready = 30
    job.updated = clock.now - 29
    handle = service.tempolor.handle(job)
    assert error(get(service, f"{API}/music/download/{handle}"))[0] == 404
    clock.now += 1
    assert mint(service, handle)


def test_no_stems(service: Service) -> None:
    """Stems of a job that has none are refused with the knob's status."""
    handle = service.tempolor.handle(service.tempolor.jobs[0])
    assert error(get(service, f"{API}/music/download/{handle}", file_format="stems"))[0] == 404
    service.knobs.stems_refusal = 402
    assert error(get(service, f"{API}/music/download/{handle}", file_format="stems"))[0] == 402


def test_scheduler(service: Service, job: Job) -> None:
    """The scheduler is an array of what runs, empty when idle."""
    assert told(get(service, f"{API}/scheduler/")) == []
    job.status = 0
    running = told(get(service, f"{API}/scheduler"))
    assert [line["job_id"] for line in running] == [service.tempolor.handle(job)]


def test_broken_account(service: Service, job: Job) -> None:
    """A broken account answers 596 for its list, records and mints."""
    service.tempolor.break_account(SOLO)
    handle = service.tempolor.handle(job)
    for path in (f"{API}/music", f"{API}/music/{handle}", f"{API}/music/download/{handle}"):
        assert error(get(service, path))[0] == 596


def test_nulls(service: Service, job: Job) -> None:
    """A record's optional fields can all be null."""
    service.knobs.list_nulls = True
    record = told(get(service, f"{API}/music/{service.tempolor.handle(job)}"))
    assert [record[name] for name in ("titleEn", "cover", "musicMaterial")] == [None] * 3
