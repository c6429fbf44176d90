"""Every fault that a listing can have, under a real mount: before the first one was ever read, and
afterwards.

How it thinks: what could not be asked is never "deleted". A folder that was never listed is an error while
its service is unwell, never empty and never "no such folder"; one that was listed once keeps every name,
whatever the service says, and gives it within a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from musicfs.demo import Clip, Cut, Role, Service
from musicfs.demo.faults import Answer, black_hole, body, dropped, garbage, html, json_error, throttled
from tests.faults.bends import BENDS
from tests.faults.servers import BROKEN, BUSY, LATE, REDIRECTS, STATUSES
from tests.faults.stage import Stage, listed, staged
from tests.figures import FAULTS
from tests.mounted.mounting import PLAYLISTS, run, until

RATE = 20.0  # a listing is stale after a twentieth of a second here, and asked again behind whoever looks
FOLDERS = ("flowmusic", "tempolor", "library")
CLIPS, JOBS = 130, 30  # more than one page of each
TRIED = 2 * 5 + 2
"""Requests that one refresh of one service costs at most: a background pass has five attempts (DESIGN §3),
for the accounts and for a page."""

ANSWERS: dict[str, tuple[frozenset[str], Answer]] = {
    **{str(status): (errors, json_error(status)) for status, errors in STATUSES.items()},
    **{f"{status} as a page": (BROKEN, html(status)) for status in (200, 502, 503, 524)},
    "429 for a minute": (BUSY, throttled(60)),
    "429, garbage": (BUSY, throttled("whenever")),
    "broken JSON": (BROKEN, garbage()),
    "nothing": (BROKEN, body(b"")),
    "an empty list": (BROKEN, body(b"[]")),
    "nested deep": (BROKEN, body(BENDS["nested deep"](b""))),
    "reset": (BROKEN, dropped()),
    "closed": (BROKEN, dropped(clean=True)),
    "a black hole": (LATE, black_hole()),
}
TWISTS: dict[str, tuple[frozenset[str], dict[str, Any]]] = {
    "gzip in spite of identity": (BROKEN, {"gzip": True}),
    "cut": (BROKEN, {"cut": Cut(50)}),
    "closed early": (BROKEN, {"cut": Cut(50, clean=True)}),
    "a stall": (LATE, {"stall_at": 50}),
    "a short body": (BROKEN, {"short": 20}),
    "a long body": (BROKEN, {"long": 20}),
    "megabytes": (BROKEN, {"bend": BENDS["megabytes"]}),
    "half of it": (BROKEN, {"bend": BENDS["half of it"]}),
    **{f"a redirect {what}": (BROKEN, {"redirect": target}) for what, target in REDIRECTS.items()},
}
QUIET = {"429 for a minute", "429", "429, garbage"}
"""What silences a kind of request for the whole host, so that it is tried last."""


Injection = tuple[str, frozenset[str], Callable[[], None]]


def _answer(service: Service, answer: Answer, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        service.fail(answer, kind=kind)


def _twist(service: Service, twist: dict[str, Any], kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        service.twist(kind=kind, **twist)


def _injections(service: Service, kinds: tuple[str, ...]) -> list[Injection]:
    """Give every fault that is an error for both services, as something to do."""
    answers = sorted(ANSWERS.items(), key=lambda item: item[0] in QUIET)
    return [
        *((what, errors, partial(_twist, service, twist, kinds)) for what, (errors, twist) in TWISTS.items()),
        *((what, errors, partial(_answer, service, answer, kinds)) for what, (errors, answer) in answers),
    ]


def _service() -> Service:
    service = Service(clock=time.time)
    for number in range(CLIPS):
        service.add_clip("ada@example.com", f"Song {number}", 5.0)
    for number in range(JOBS):
        service.add_job("100", f"Job {number}", 5.0)
    return service


def _looked(stage: Stage, folder: str) -> tuple[str, set[str]]:
    """List a folder with `ls`; gives the errno's name and the names."""
    ended = run(["ls", "-U", stage.mount.path / folder], limit=stage.patience)
    FAULTS["readings"] += 1
    for number_name in ("EIO", "EACCES", "EBUSY", "ETIMEDOUT", "EHOSTUNREACH", "ENOENT"):
        if _TEXT[number_name] in ended.stderr:
            return number_name, set(ended.stdout.splitlines())
    assert ended.returncode == 0, ended.stderr
    return "", set(ended.stdout.splitlines())


_TEXT = {
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
    "EBUSY": "Device or resource busy",
    "ETIMEDOUT": "Connection timed out",
    "EHOSTUNREACH": "No route to host",
    "ENOENT": "No such file",
}


def _shows(stage: Stage, folder: str, names: set[str]) -> bool:
    return _looked(stage, folder)[1] == names


def _names(service: Service) -> dict[str, set[str]]:
    return {
        "flowmusic": {f"{clip.uuid}.mp3" for clip in service.flow.clips},
        "tempolor": {job.item for job in service.tempolor.jobs},
        "library": {str(clip.title) for clip in service.flow.clips}
        | {str(job.title) for job in service.tempolor.jobs}
        | PLAYLISTS,
    }


@pytest.mark.parametrize("kinds", [("list",), ("accounts",)], ids=lambda kinds: kinds[0])
def test_never_listed(kinds: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder that was never listed is the fault's errno, never empty and never ENOENT; once the service is
    well, it is complete."""
    service = _service()
    wrong: list[str] = []
    with staged(service, tmp_path_factory.mktemp("cold"), rate=RATE, deadline=60, listing_ttl=1) as stage:
        stage.mount.expect(".")
        # One code reads the answers of both kinds, so a few will do for the second; FAULTS_ALL=1 takes all.
        step = 1 if "FAULTS_ALL" in os.environ else 2 if kinds == ("list",) else 7
        for what, errors, begin in _injections(service, kinds)[::step]:
            if kinds == ("accounts",) and what == "404":
                continue  # TemPolor's way of saying that no account is linked
            stage.heal()
            begin()
            time.sleep(2 / RATE)  # The last failure is remembered until the listing is due again.
            before = len(service.log)
            for folder in FOLDERS:
                error, names = _looked(stage, folder)
                if names or error not in errors | LATE:
                    wrong.append(f"{what}: {folder} is {error or sorted(names)[:3]}")
            if len(service.log) - before > 3 * TRIED:
                wrong.append(f"{what}: {len(service.log) - before} requests")
            FAULTS["faults alone"] += 1
        assert not wrong
        stage.heal()
        for folder, names in _names(service).items():
            until(partial(_shows, stage, folder, names), 30)


def test_listed_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A tree that was listed once keeps every name under every fault, and its folders come at once."""
    service = _service()
    wrong: list[str] = []
    with staged(service, tmp_path_factory.mktemp("warm"), rate=RATE, deadline=60, listing_ttl=1) as stage:
        stage.mount.expect(".")
        listed(stage)
        known = _names(service)
        both = ("list", "accounts")
        bends = [
            (what, BROKEN, partial(_twist, service, {"bend": bend}, both)) for what, bend in BENDS.items()
        ]
        injections: list[Injection] = [*_injections(service, both), *bends]
        for what, _, begin in injections:
            stage.heal()
            begin()
            before = len(service.log)
            for folder in ("flowmusic", "tempolor"):
                stage.mount.listed(folder)  # who looks at a stale listing has it asked for behind him
            time.sleep(2 / RATE)
            for folder in FOLDERS:
                began = time.monotonic()
                error, names = _looked(stage, folder)
                if error or names != known[folder]:
                    wrong.append(f"{what}: {folder} is {error or len(names)}")
                if time.monotonic() - began > 2:
                    wrong.append(f"{what}: {folder} took {time.monotonic() - began:.1f} s")
            if len(service.log) - before > 2 * 3 * TRIED:
                wrong.append(f"{what}: {len(service.log) - before} requests")
            FAULTS["faults alone"] += 1
        assert not wrong


def test_pages_that_shift(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A list to which songs are added, and from which they go, between its pages loses none that stays."""
    service = _service()
    kept = _names(service)["flowmusic"]
    changes: list[Clip] = []

    def shift() -> None:
        if len(changes) < 5:
            changes.append(service.add_clip("ada@example.com", f"New {len(changes)}", 5.0))
        elif len(changes) < 10:
            service.flow.clips.remove(changes[len(changes) - 5])
            changes.append(changes[0])

    service.knobs.between_pages = shift
    with staged(service, tmp_path_factory.mktemp("shifting"), rate=RATE, deadline=60, listing_ttl=1) as stage:
        stage.mount.expect("listing")
        service.knobs.between_pages = shift  # the stage began by healing it
        until(lambda: kept <= _looked(stage, "flowmusic")[1], 30)
        for _ in range(10):
            time.sleep(2 / RATE)
            assert kept <= _looked(stage, "flowmusic")[1]
        assert len(changes) >= 5
        assert {record.role for record in service.log} == {Role.API}
