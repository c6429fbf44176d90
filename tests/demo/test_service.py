"""The front door: who may ask, what is recorded, and how faults and twists come and go."""

from __future__ import annotations

import threading
from urllib.parse import quote

import pytest

from musicfs.demo import (
    DEMO_TOKEN,
    Cut,
    Fault,
    Request,
    Reset,
    Response,
    Role,
    Service,
    Stall,
    Twist,
    Where,
    content,
    whole,
)
from musicfs.demo.faults import (
    black_hole,
    body,
    denied_link,
    dropped,
    garbage,
    html,
    json_error,
    throttled,
    xml_error,
)
from tests.demo.asking import ADA, SOLO, error, fetch, get, mint, told

LIST = "/v1/flowmusic/music"


@pytest.fixture
def service() -> Service:
    """A service with one clip and one job."""
    made = Service()
    made.add_clip(ADA, "Clip")
    made.add_job(SOLO, "Job")
    return made


@pytest.mark.parametrize("sent", [None, "Bearer user:1234-other", f"Bearer {quote(DEMO_TOKEN)}", DEMO_TOKEN])
def test_token(service: Service, sent: str | None) -> None:
    """A missing, wrong, encoded or bare token is 401 in the documented words, and still counts as a list."""
    headers = {} if sent is None else {"Authorization": sent}
    response = service.answer(Request.parse("GET", LIST, Role.API, headers.items()))
    assert error(response) == (401, "Unauthorized")
    assert service.counts == {"list": 1}


def test_subscription(service: Service) -> None:
    """The account page counts broken accounts; an expired subscription is 402 on everything."""
    service.flow.break_account(ADA)
    page = told(get(service, "/v2/account"))
    assert page["accounts"]["flowmusic"] == {"total": 1, "active": 0, "error": 1}
    service.knobs.subscription_expired = True
    assert error(get(service, LIST))[0] == 402


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_writes(service: Service, method: str) -> None:
    """Anything that would write is 405 at every host and recorded as a write."""
    for role in Role:
        assert service.answer(Request.parse(method, LIST, role)).status == 405
    assert service.counts == {"write": 3}
    assert {record.method for record in service.log} == {method}


def test_head(service: Service) -> None:
    """HEAD has the headers of GET and no body."""
    url = f"{service.origins.bucket}/{service.flow.clips[0].uuid}.wav"
    request = service.request("HEAD", url)
    assert request is not None
    response = service.answer(request)
    assert response.header("content-length") == str(service.flow.clips[0].assets["wav"].size)
    assert list(response.steps) == []


def test_unknown_paths(service: Service) -> None:
    """A path that nobody serves is 404; a URL of another host is nobody's."""
    assert error(get(service, "/v1/suno/music"))[0] == 404
    assert service.request("GET", "https://example.com/") is None


def test_kinds(service: Service) -> None:
    """Each request is one record of its kind."""
    handle = service.tempolor.handle(service.tempolor.jobs[0])
    url = mint(service, handle)
    get(service, "/v1/flowmusic/accounts")
    get(service, LIST)
    get(service, "/v1/flowmusic/music/download", id=service.flow.handle(service.flow.clips[0]))
    get(service, f"/v1/tempolor/music/{handle}")
    get(service, "/v1/flowmusic/jobs")
    get(service, "/v1/tempolor/scheduler")
    get(service, "/v2/account")
    fetch(service, url)
    fetch(service, url, Range="bytes=0-9")
    kinds = ["mint", "accounts", "list", "mp3", "record", "jobs", "scheduler", "account", "whole", "range"]
    assert [record.kind for record in service.log] == kinds
    assert [record.form for record in service.log if record.form] == ["mp3"] * 4
    assert service.log[-1].range == "bytes=0-9"
    assert [record.authorised for record in service.log] == [True] * 8 + [False] * 2


def test_bytes_are_counted_as_taken(service: Service) -> None:
    """Bytes count when their step is taken, by role, and a new log begins at nothing."""
    url = mint(service, service.tempolor.handle(service.tempolor.jobs[0]), "wav")
    service.reset_counts()
    steps = iter(fetch(service, url).steps)
    assert service.bytes_sent() == 0
    first = next(steps)
    assert isinstance(first, bytes)
    assert service.bytes_sent(Role.CDN) == len(first) == service.log[0].sent
    assert service.bytes_sent(Role.API) == 0
    service.reset_counts()
    assert (service.counts, service.bytes_sent()) == ({}, 0)


def test_fault_times(service: Service) -> None:
    """A fault hits the requests that fit as often as it says, the first fitting one first."""
    service.fail(json_error(500), times=2, kind="list")
    service.fail(html(502), times=1, path="limit=7")
    statuses = [get(service, LIST, limit=7).status for _ in range(4)]
    assert statuses == [500, 500, 502, 200]
    assert service.faults == []


def test_fault_by_function(service: Service) -> None:
    """A fault may choose by any function of the request, and stays until it is removed."""
    fault = Fault(lambda request: request.first("limit") == "3", json_error(503, "down"))
    service.faults.append(fault)
    assert error(get(service, LIST, limit=3)) == (503, "down")
    assert get(service, LIST, limit=4).status == 200
    assert get(service, LIST, limit=3).status == 503
    service.faults.remove(fault)
    assert get(service, LIST, limit=3).status == 200


def test_twist_times(service: Service) -> None:
    """A twist bends the next fitting answers by role, path and form; later twists lie on top."""
    base = f"{service.origins.bucket}/{service.flow.clips[0].uuid}"
    service.twist(times=1, form="wav", short=10)
    service.twist(times=2, role=Role.BUCKET, path=".m4a", short=4)
    service.twist(path=".m4a", short=3)
    sizes = {form: asset.size for form, asset in service.flow.clips[0].assets.items()}
    forms = ("wav", "wav", "m4a", "m4a")
    missing = [sizes[form] - len(whole(fetch(service, f"{base}.{form}"))) for form in forms]
    assert missing == [10, 0, 3, 3]
    assert len(service.twists) == 1


def test_misspelt_twist() -> None:
    """A field that does not exist is an error at once."""
    with pytest.raises(TypeError, match="shrot"):
        Twist(Where(), {"shrot": 1})


def test_clear(service: Service) -> None:
    """Clearing heals the service and leaves its songs and its log."""
    service.fail(json_error(500))
    service.twist(first_byte=1.0)
    service.knobs.list_nulls = True
    assert get(service, LIST).status == 500
    service.clear()
    response = get(service, LIST)
    assert response.before == ()
    assert told(response)["clips"][0]["title"] == "Clip"
    assert len(service.log) == 2


def test_throttling() -> None:
    """429 carries Retry-After in seconds, as a date, in the body, or not at all."""
    request = Request("GET", Role.API, "/")
    assert throttled(7)(request).header("retry-after") == "7"
    assert throttled("soon")(request).header("retry-after") == "soon"
    assert throttled(date=0.0)(request).header("retry-after") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert throttled()(request).header("retry-after") is None
    assert b'"retryAfter":"2026-' in whole(throttled(until="2026-11-21T00:00:00Z")(request))


def test_ready_made_answers() -> None:
    """The other answers are what their names say."""
    request = Request("GET", Role.API, "/")
    assert b"<html>" in whole(html()(request))
    assert html(524)(request).reason == "A Timeout Occurred"
    assert json_error(596)(request).reason == "Account In Error State"
    assert whole(body(b"")(request)) == b""
    assert whole(garbage()(request)).endswith(b"12")
    assert black_hole()(request).before == (Stall(),)
    assert dropped()(request).before == (Reset(),)
    assert denied_link()(request).header("x-tengine-error") == "denied by req auth: expired timestamp"
    assert b"AccessDenied" in whole(xml_error(403, "AccessDenied")(request))


def test_what_is_hung_in_during_an_answer_stays(service: Service) -> None:
    """An answer that puts other faults in their place for a moment loses none that comes meanwhile."""
    began, go_on = threading.Event(), threading.Event()

    def healthy(request: Request) -> Response:
        kept, service.faults = service.faults, []
        try:
            began.set()
            go_on.wait(30)
            return service.answer(request)
        finally:
            service.faults = kept

    service.fail(healthy, kind="list")
    asking = threading.Thread(target=get, args=(service, LIST))
    asking.start()
    assert began.wait(30)
    hanging = threading.Thread(target=service.fail, args=(json_error(500),))
    hanging.start()
    hanging.join(0.2)
    go_on.set()
    for thread in (asking, hanging):
        thread.join(30)
    assert len(service.faults) == 2


def test_deterministic() -> None:
    """Two services with the same seed, clock and requests give the same answers; another seed does not."""

    def story(seed: int) -> list[bytes]:
        service = Service(seed=seed)
        clip, job = service.add_clip(ADA, "A"), service.add_job(SOLO, "B")
        service.twist(restless=True, cut=Cut(5000))
        paths = (LIST, "/v1/tempolor/music", f"/v1/tempolor/music/download/{service.tempolor.handle(job)}")
        answers = [whole(get(service, path)) for path in paths]
        sent = whole(fetch(service, f"{service.origins.bucket}/{clip.uuid}.m4a"))
        return [*answers, sent, *map(content, clip.assets.values())]

    assert story(1) == story(1)
    assert story(1) != story(2)
