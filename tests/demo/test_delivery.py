"""Delivery: every range mode and every ill, judged on the response value."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicfs.demo import (
    Close,
    ContentRange,
    Cut,
    Framing,
    Pause,
    Ranges,
    Reset,
    Response,
    Service,
    Stall,
    Tag,
    whole,
)
from tests.demo.asking import ADA, fetch

SIZE = 1000
DATA = bytes(number % 251 for number in range(SIZE))


@pytest.fixture
def service() -> Service:
    """A service whose one clip has a small m4a."""
    made = Service()
    made.add_clip(ADA, m4a=DATA)
    return made


def ask(service: Service, span: str | None = None, **headers: str) -> Response:
    """Ask for the m4a, or a range of it."""
    if span is not None:
        headers["Range"] = f"bytes={span}"
    return fetch(service, f"{service.origins.bucket}/{service.flow.clips[0].uuid}.m4a", **headers)


SERVICE = Service()
SERVICE.add_clip(ADA, m4a=DATA)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1))
def test_ranges_are_slices(first: int, last: int) -> None:
    """A range inside the object is 206, that slice, and a head that agrees, in every mode that has ranges."""
    start, stop = min(first, last), max(first, last) + 1
    for mode in (Ranges.HONOUR, Ranges.LAX, Ranges.STRICT):
        SERVICE.clear()
        SERVICE.twist(ranges=mode)
        response = ask(SERVICE, f"{start}-{stop - 1}")
        assert (response.status, whole(response)) == (206, DATA[start:stop])
        assert response.header("content-range") == f"bytes {start}-{stop - 1}/{SIZE}"
        assert response.header("content-length") == str(stop - start)


@pytest.mark.parametrize(
    ("span", "honour", "lax", "strict"),
    [
        ("500-", 206, 206, 206),
        ("-100", 206, 206, 206),
        ("500-2000", 206, 200, 416),
        ("0-1000", 206, 200, 416),
        ("-2000", 206, 200, 416),
        ("1000-", 416, 200, 416),
        ("5000-6000", 416, 200, 416),
        ("9-2", 200, 200, 200),
        ("0-1,5-6", 200, 200, 200),
        ("x-9", 200, 200, 200),
        ("-", 200, 200, 200),
    ],
)
def test_out_of_bounds(service: Service, span: str, honour: int, lax: int, strict: int) -> None:
    """RFC, OSS and strict servers differ only beyond the object's end; nonsense is as if not asked."""
    expected = {Ranges.HONOUR: honour, Ranges.LAX: lax, Ranges.STRICT: strict, Ranges.IGNORE: 200}
    for mode, status in expected.items():
        service.clear()
        service.twist(ranges=mode)
        response = ask(service, span)
        assert response.status == status
        if status == 200:
            assert whole(response) == DATA
        if status == 416:
            assert response.header("content-range") == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (ContentRange.SHIFTED, "bytes 11-20/1000"),
        (ContentRange.STAR, "bytes 10-19/*"),
        (ContentRange.MISSING, None),
        (ContentRange.WRONG_TOTAL, "bytes 10-19/1001"),
    ],
)
def test_content_range_lies(service: Service, how: ContentRange, told: str | None) -> None:
    """A 206 can lie about its place while its bytes are right."""
    service.twist(content_range=how)
    response = ask(service, "10-19")
    assert (response.status, response.header("content-range")) == (206, told)
    assert whole(response) == DATA[10:20]


def test_etags(service: Service) -> None:
    """ETags are strong and steady, weak, absent, or new at each call."""
    tags = []
    for how in (Tag.STRONG, Tag.STRONG, Tag.WEAK, Tag.NONE, Tag.CHANGES, Tag.CHANGES):
        service.clear()
        service.twist(etag=how)
        tags.append(ask(service).header("etag"))
    assert tags[0] == tags[1]
    assert tags[2] == f"W/{tags[0]}"
    assert tags[3] is None
    assert len({tags[0], tags[4], tags[5]}) == 3


def test_conditions(service: Service) -> None:
    """If-Match is 412 or passes, If-None-Match is 304 or passes, If-Range decides about the range."""
    tag = ask(service).header("etag") or ""
    assert ask(service, if_match=tag).status == 200
    assert ask(service, if_match='"other"').status == 412
    assert ask(service, if_none_match=tag).status == 304
    assert ask(service, if_none_match='"other"').status == 200
    assert ask(service, "0-9", if_range=tag).status == 206
    assert ask(service, "0-9", if_range='"other"').status == 200


def test_validators_off(service: Service) -> None:
    """Last-Modified and the generation can be left out."""
    assert ask(service).header("last-modified")
    service.twist(last_modified=False, generation=False)
    response = ask(service)
    assert (response.header("last-modified"), response.header("x-goog-generation")) == (None, None)


def test_short_and_long(service: Service) -> None:
    """A short or long body has framing that claims all is well."""
    service.twist(times=1, short=7)
    response = ask(service, "0-99")
    assert (response.header("content-length"), whole(response)) == ("93", DATA[:93])
    assert response.header("content-range") == "bytes 0-99/1000"
    service.twist(times=1, long=7)
    response = ask(service)
    assert (response.header("content-length"), whole(response)) == ("1007", DATA + bytes(7))


@pytest.mark.parametrize(("clean", "event"), [(False, Reset()), (True, Close())])
def test_cut(service: Service, clean: bool, event: Reset | Close) -> None:
    """A cut sends that many bytes of the response, then the event, though more was announced."""
    service.twist(cut=Cut(40, clean))
    response = ask(service, "100-299")
    assert response.header("content-length") == "200"
    assert list(response.steps) == [DATA[100:140], event]


def test_stall_and_drip(service: Service) -> None:
    """A stall follows its bytes; a drip has pauses that make its rate."""
    service.twist(stall_at=5)
    assert list(ask(service).steps) == [DATA[:5], Stall()]
    service.clear()
    service.twist(drip=500.0)
    steps = list(ask(service).steps)
    assert sum(step.seconds for step in steps if isinstance(step, Pause)) == pytest.approx(2.0)
    assert b"".join(step for step in steps if isinstance(step, bytes)) == DATA


def test_a_gate_holds_the_last_bytes_back(service: Service) -> None:
    """What comes before them is sent; they wait, as long as it takes, until the gate is open."""
    looks = iter((False, False, True))
    service.twist(drip=10_000.0, gate=lambda: next(looks))
    steps = list(ask(service).steps)
    assert steps[:4] == [DATA[:500], Pause(0.05), Pause(0.05), Pause(0.05)]
    assert b"".join(step for step in steps if isinstance(step, bytes)) == DATA


def test_slow_first_byte(service: Service) -> None:
    """A slow first byte is a pause before the status line."""
    service.twist(first_byte=2.5)
    assert ask(service).before == (Pause(2.5),)


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE])
def test_no_length(service: Service, framing: Framing) -> None:
    """Other framings announce no length and have the same bytes."""
    service.twist(framing=framing)
    response = ask(service)
    assert (response.framing, response.header("content-length"), whole(response)) == (framing, None, DATA)


def test_restless(service: Service) -> None:
    """Restless bytes differ at each call from the asked byte on, and never before it."""
    service.flow.clips[0].assets["m4a"] = service.flow.clips[0].assets["wav"]
    service.twist(restless=True, differs_from=50_000)
    one, two = whole(ask(service)), whole(ask(service))
    assert len(one) == len(two)
    assert one != two
    assert one[:50_000] == two[:50_000]


def test_gzip(service: Service) -> None:
    """A transcoded object comes compressed, whole and without a length, whatever was asked."""
    service.twist(gzip=True)
    response = ask(service, "0-9", accept_encoding="identity")
    assert (response.status, response.header("content-encoding")) == (200, "gzip")
    assert response.header("content-length") is None
    assert gzip.decompress(whole(response)) == DATA


def test_redirects(service: Service) -> None:
    """A redirect leads here again, to plain http, to a given place, or to the same bytes on another host."""
    places = {}
    for name in ("loop", "http", "https://example.com/x", "other"):
        service.twist(times=1, redirect=name)
        response = ask(service)
        assert response.status == 302
        places[name] = response.header("location") or ""
    assert places["loop"] == f"{service.origins.bucket}/{service.flow.clips[0].uuid}.m4a"
    assert places["http"] == places["loop"].replace("https:", "http:")
    assert places["https://example.com/x"] == "https://example.com/x"
    assert places["other"].startswith(service.origins.cdn)
    assert whole(fetch(service, places["other"])) == DATA


def test_content_type(service: Service) -> None:
    """The type can be any."""
    service.twist(content_type="application/octet-stream")
    assert ask(service).header("content-type") == "application/octet-stream"


def test_bytes_behind_the_end(service: Service) -> None:
    """`extra` sends bytes that the head does not announce, behind those that it does."""
    service.twist(extra=7)
    response = ask(service)
    assert response.header("content-length") == str(SIZE)
    assert whole(response) == DATA + bytes(7)


def test_a_bent_body_is_framed_as_what_it_is(service: Service) -> None:
    """`bend` makes another body of the right one, under a head that fits it."""
    service.twist(bend=bytes.upper)
    service.twist(bend=lambda data: data[:10])
    response = ask(service)
    assert whole(response) == DATA[:10]
    assert response.header("content-length") == "10"
