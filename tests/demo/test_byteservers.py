"""The byte hosts: who is let in, and what bytes a link gives (upstream-api.md §4)."""

from __future__ import annotations

from hashlib import md5

import pytest

from musicfs.demo import Clip, Job, Service, content, whole
from tests.demo.asking import ADA, NOW, SOLO, fetch, get, mint, told


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
    """A service with one clip and one job."""
    made = Service(clock=clock)
    made.add_clip(ADA, "Clip", cover=b"jpeg")
    made.add_job(SOLO, "Job", cover=b"png")
    return made


@pytest.fixture
def clip(service: Service) -> Clip:
    """The clip."""
    return service.flow.clips[0]


@pytest.fixture
def job(service: Service) -> Job:
    """The job."""
    return service.tempolor.jobs[0]


def link(service: Service, job: Job) -> str:
    """Mint a link to the job's mp3."""
    return mint(service, service.tempolor.handle(job))


def test_link_form(service: Service, job: Job) -> None:
    """An auth_key has four fields: the moment of signing, a random one, 0 and an md5 in hex."""
    key = link(service, job).partition("auth_key=")[2]
    stamp, rand, uid, digest = key.split("-")
    assert (stamp, uid, len(digest)) == (str(int(NOW)), "0", len(md5(b"").hexdigest()))
    assert rand


def test_link_expires(service: Service, clock: Clock, job: Job) -> None:
    """A link lives to the last second of its validity, and then is 403 with Tengine's reason."""
    url = link(service, job)
    clock.now += 1800
    assert fetch(service, url).status == 200
    clock.now += 1
    response = fetch(service, url)
    assert response.status == 403
    assert response.header("X-Tengine-Error") == "denied by req auth: expired timestamp"


def test_link_is_checked(service: Service, job: Job) -> None:
    """A changed hash, another object's key, a later timestamp and a missing key are refused."""
    url = link(service, job)
    path, _, key = url.partition("?auth_key=")
    stamp, rest = key.split("-", 1)
    wrong = "denied by req auth: invalid md5hash"
    assert fetch(service, url[:-1] + ("0" if url[-1] != "0" else "1")).header("X-Tengine-Error") == wrong
    assert fetch(service, f"{path.replace('mp3', 'wav')}?auth_key={key}").header("X-Tengine-Error") == wrong
    assert fetch(service, f"{path}?auth_key={int(stamp) + 9}-{rest}").header("X-Tengine-Error") == wrong
    assert fetch(service, path).header("X-Tengine-Error") == "denied by req auth: no url arg auth_key"


def test_validity_knob(service: Service, clock: Clock, job: Job) -> None:
    """The knob shortens the life of links that are already out."""
    url = link(service, job)
    service.knobs.validity = 5
    clock.now += 6
    assert fetch(service, url).status == 403


def test_cdn_missing(service: Service, job: Job) -> None:
    """An object whose bytes are gone is 404 behind a good link."""
    url = link(service, job)
    del job.assets["mp3"]
    assert fetch(service, url).status == 404


@pytest.mark.parametrize("form", ["m4a", "wav"])
def test_bucket(service: Service, clip: Clip, form: str) -> None:
    """The bucket gives a clip's forms to anyone, with Google's generation stamp."""
    response = fetch(service, f"{service.origins.bucket}/{clip.uuid}.{form}")
    assert response.status == 200
    assert (response.header("x-goog-generation") or "").isdecimal()
    assert whole(response) == content(clip.assets[form])


def test_bucket_missing(service: Service, clip: Clip) -> None:
    """A missing object is 404 with NoSuchKey in XML; the bucket never has an mp3."""
    for name in (f"{clip.uuid}.mp3", "00000000-0000-4000-8000-000000000000.m4a"):
        response = fetch(service, f"{service.origins.bucket}/{name}")
        assert response.status == 404
        assert b"<Code>NoSuchKey</Code>" in whole(response)


def test_bucket_hates_tokens(service: Service, clip: Clip) -> None:
    """Any Authorization header is 401 there, and is on the record."""
    url = f"{service.origins.bucket}/{clip.uuid}.m4a"
    assert fetch(service, url, Authorization=f"Bearer {service.token}").status == 401
    assert service.log[-1].authorised


def test_covers(service: Service, clip: Clip, job: Job) -> None:
    """Covers are public on both hosts, at the URLs that lists and records give."""
    entry = told(get(service, "/v1/flowmusic/music"))["clips"][0]
    assert whole(fetch(service, entry["image_url"])) == b"jpeg"
    record = told(get(service, f"/v1/tempolor/music/{service.tempolor.handle(job)}"))
    assert whole(fetch(service, record["cover"])) == b"png"


def test_signed_bucket(service: Service, clock: Clock, clip: Clip) -> None:
    """In signed mode the public path is 403, the record's URL works, and dies as a 400."""
    service.knobs.signed_bucket = True
    service.knobs.list_urls = True
    assert fetch(service, f"{service.origins.bucket}/{clip.uuid}.m4a").status == 403
    url = told(get(service, "/v1/flowmusic/music"))["clips"][0]["audio_url"]
    assert whole(fetch(service, url)) == content(clip.assets["m4a"])
    assert fetch(service, url[:-1] + ("0" if url[-1] != "0" else "1")).status == 403
    clock.now += 1801
    assert fetch(service, url).status == 400


def test_last_modified(service: Service, clip: Clip) -> None:
    """Last-Modified is the clip's date, or what the test set."""
    url = f"{service.origins.bucket}/{clip.uuid}.m4a"
    before = fetch(service, url).header("last-modified")
    clip.modified = NOW
    assert fetch(service, url).header("last-modified") == "Wed, 18 Nov 2026 11:06:40 GMT" != before


def test_new_bytes_new_tag(service: Service, clip: Clip) -> None:
    """Other bytes under the same name have another ETag and generation."""
    url = f"{service.origins.bucket}/{clip.uuid}.m4a"
    names = ("etag", "x-goog-generation")
    before = [fetch(service, url).header(name) for name in names]
    clip.assets["m4a"] = service.add_clip(ADA, "Else").assets["m4a"]
    after = [fetch(service, url).header(name) for name in names]
    assert all(new and new != old for new, old in zip(after, before, strict=True))
