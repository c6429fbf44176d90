"""TemPolor v1 as useapi.net answers it: accounts, lists, records, minted links, the scheduler.

How it thinks: upstream-api.md §3 turned round. A download is JSON with a signed link, never bytes, and
404 has three meanings: no account configured, no such record, not ready yet.

What must always be true: each mint is a new link to the same path; a job that is not COMPLETED has no
links.
It refuses anything that would write: the service answers those with 405.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from musicfs.demo.byteservers import cover_url, object_path, sign
from musicfs.demo.catalogue import Job, TempolorAccount
from musicfs.demo.faults import refusal
from musicfs.demo.values import Request
from musicfs.demo.world import Outcome, Route, World, answer_json, iso

_JOB = re.compile(r"user:(\d+)-tempolor:(\d+)-job:([^/]+)")
_COMPLETED = 30
_NAMES = {0: "GENERATING", 10: "FAILED", 30: "COMPLETED"}


def route(world: World, request: Request, parts: Sequence[str]) -> Route | None:
    """Find the answer for the path below `/v1/tempolor`, already decoded."""
    match parts:
        case ["accounts"]:
            return Route("accounts", lambda: _accounts(world))
        case ["accounts", user_id]:
            return Route("accounts", lambda: _account(world, user_id))
        case ["music"]:
            return Route("list", lambda: _list(world, request))
        case ["music", "download", job_id]:
            return Route("mint", lambda: _mint(world, request, job_id), request.first("file_format") or "mp3")
        case ["music", job_id]:
            return Route("record", lambda: _record(world, request, job_id))
        case ["scheduler"]:
            return Route("scheduler", lambda: _scheduler(world))
    return None


def _account_json(account: TempolorAccount) -> dict[str, Any]:
    told: dict[str, Any] = {
        "user_id": account.user_id,
        "updated": 1_747_319_434_567,
        "updatedUTC": "2025-05-15T14:30:34.567Z",
        "maxJobs": 10,
        "requestParams": {},
    }
    return told | ({"error": account.error} if account.error else {})


def _accounts(world: World) -> Outcome:
    accounts = world.tempolor.accounts
    if not accounts:
        return refusal(404, "No accounts configured")
    return answer_json({ident: _account_json(account) for ident, account in accounts.items()})


def _account(world: World, user_id: str) -> Outcome:
    account = world.tempolor.accounts.get(user_id)
    return refusal(404, "Account not configured") if account is None else answer_json(_account_json(account))


def _broken(world: World, user_id: str) -> Outcome | None:
    account = world.tempolor.accounts.get(user_id)
    if account is None or not account.broken:
        return None
    return refusal(596, f"Account {user_id} in error state: {account.error or 'session refused'}")


def _list(world: World, request: Request) -> Outcome:
    """Answer one page of one account and type (upstream-api.md 3.2)."""
    knobs, tempolor = world.knobs, world.tempolor
    kind, sent = request.first("type") or "song", request.first("cursor") or ""
    if kind not in ("song", "instrumental"):
        return refusal(400, "Parameter type must be song or instrumental")
    if not tempolor.accounts:
        return refusal(404, "No accounts configured")
    user_id = request.first("user_id")
    if user_id is None and len(tempolor.accounts) > 1:
        return refusal(400, "Parameter user_id is required")
    user_id = user_id or next(iter(tempolor.accounts))
    if user_id not in tempolor.accounts:
        return refusal(404, "Account not configured")
    broken = _broken(world, user_id)
    if broken is not None:
        return broken
    mine = [job for job in reversed(tempolor.jobs) if (job.account, job.kind) == (user_id, kind)]
    start = int(sent[1:], 36) if re.fullmatch(r"p[0-9a-z]{1,8}", sent) else 0
    stop = start + knobs.tempolor_page
    more = stop < len(mine)
    cursor = _cursor(stop) if more else ""
    if knobs.stuck_cursor:
        more, cursor = True, sent or _cursor(stop)
    records = [] if knobs.empty_lists else [_json(world, job) for job in mine[start:stop]]
    if knobs.between_pages is not None:
        knobs.between_pages()
    return answer_json({"records": records, "hasNext": more, "cursor": cursor})


def _cursor(place: int) -> str:
    # Opaque to the client; base 36 only so that nobody is tempted to do sums with it.
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while place:
        place, digit = divmod(place, 36)
        text = digits[digit] + text
    return "p" + (text or "0")


def _json(world: World, job: Job) -> dict[str, Any]:
    """Make a record (upstream-api.md 3.3)."""
    done = job.status == _COMPLETED
    told: dict[str, Any] = {
        "bizType": "ai_material_music",
        "childType": "lyric_to_material",
        "sourceType": "sm_user_gen",
        "itemId": job.item,
        "job_id": world.tempolor.handle(job),
        "genItemId": job.item,
        "userId": job.account,
        "titleEn": job.title,
        "cover": cover_url(world, job),
        "status": job.status,
        "status_name": _NAMES.get(job.status, "UNKNOWN"),
        "status_final": job.status in (10, _COMPLETED),
        "progress": 100 if done else 40,
        "downloadTotal": 0,
        "musicMaterial": {"style": "", "key": "F:minor", "bpm": 96, "dur": job.duration, "seed": 1234567890},
        "createTime": int(job.created * 1000),
        "updateTime": int(job.updated * 1000),
        "ltmMaterialExtendDto": {"lyricsPrompt": job.lyrics or "", "description": ""},
    }
    if done:
        told |= {f"{form}OssId": object_path(job, form)[1:] for form in ("mp3", "wav")}
    else:
        told["musicMaterial"].pop("dur")
    if world.knobs.list_nulls:
        told |= {"titleEn": None, "cover": None, "musicMaterial": None, "ltmMaterialExtendDto": None}
    return told


def _find(world: World, request: Request, job_id: str) -> Job | Outcome:
    named = _JOB.fullmatch(job_id)
    encoded = "%3a" in request.path.lower()
    if named is None or (encoded and world.knobs.encoded_ids_refused):
        return refusal(400, "job_id has incorrect format")
    job = world.tempolor.job(named[3])
    if job is None or world.tempolor.handle(job) != job_id:
        return refusal(404, f"No record found for {job_id}")
    return _broken(world, job.account) or job


def _record(world: World, request: Request, job_id: str) -> Outcome:
    job = _find(world, request, job_id)
    return answer_json(_json(world, job)) if isinstance(job, Job) else job


def _mint(world: World, request: Request, job_id: str) -> Outcome:
    """Answer a link (upstream-api.md 3.4)."""
    form = request.first("file_format") or "mp3"
    if form not in ("mp3", "wav", "stems"):
        return refusal(400, "Parameter file_format must be mp3, wav or stems")
    job = _find(world, request, job_id)
    if not isinstance(job, Job):
        return job
    if job.status != _COMPLETED:
        return refusal(400, f"Generation is not completed yet ({job.status})")
    if world.clock() < job.updated + world.knobs.not_ready:
        return refusal(404, f"No record found for {job_id}")
    if form == "stems" and form not in job.assets:
        return refusal(world.knobs.stems_refusal, "Stems are not available")
    url = None if world.knobs.mint_null else sign(world, object_path(job, form))
    return answer_json({"url": url, "remainSeconds": world.knobs.remain_seconds})


def _scheduler(world: World) -> Outcome:
    running = [job for job in world.tempolor.jobs if job.status == 0]
    return answer_json(
        [
            {"job_id": world.tempolor.handle(job), "started": iso(job.created), "elapsed": "01:10"}
            for job in running
        ]
    )
