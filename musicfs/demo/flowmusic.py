"""Flow Music v1 as useapi.net answers it: accounts, lists, mp3 downloads, jobs.

How it thinks: upstream-api.md §2 turned round; field names and error texts are those of its pages, and
where the pages disagree or are silent a knob chooses.

What must always be true: lists are newest first; `next` is null on the last page only; nothing but the
knobs and the catalogue decides an answer.
It refuses anything that would write: the service answers those with 405.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from musicfs.demo.byteservers import cover_url, media_url
from musicfs.demo.catalogue import Clip, FlowAccount, FlowJob
from musicfs.demo.delivery import Parcel
from musicfs.demo.faults import refusal
from musicfs.demo.values import Request
from musicfs.demo.world import Outcome, Route, World, answer_json, iso

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_CLIP = re.compile(rf"user:(\d+)-(.+)-clip:({_UUID})")
_JOB = re.compile(rf"job:({_UUID})-user:(\d+)-(.+)-bot:flowmusic")


def route(world: World, request: Request, parts: Sequence[str]) -> Route | None:
    """Find the answer for the path below `/v1/flowmusic`, already decoded."""
    match parts:
        case ["accounts"]:
            return Route("accounts", lambda: _accounts(world))
        case ["accounts", email]:
            return Route("accounts", lambda: _account(world, email))
        case ["music"]:
            return Route("list", lambda: _list(world, request))
        case ["music", "download"]:
            return Route("mp3", lambda: _download(world, request), "mp3")
        case ["jobs"]:
            return Route("jobs", lambda: _running(world))
        case ["jobs", jobid]:
            return Route("record", lambda: _record(world, jobid))
    return None


def _account_json(account: FlowAccount) -> dict[str, Any]:
    told = {
        "email": account.email,
        "tier": "plus",
        "user_id": "00000000-0000-4000-8000-000000000000",
        "maxJobs": 12,
        "added": "2026-05-01T09:00:00.000Z",
        "refreshed_at": "2026-06-01T09:00:00.000Z",
        "refreshed_count": 3,
        "access_token": "redacted",
        "access_token_expires_at": "2026-06-02T09:00:00.000Z",
        "refresh_token": "redacted",
        "session_id": "redacted",
    }
    return told | ({"error": account.error} if account.error else {})


def _accounts(world: World) -> Outcome:
    return answer_json({email: _account_json(account) for email, account in world.flow.accounts.items()})


def _account(world: World, email: str) -> Outcome:
    account = world.flow.accounts.get(email)
    if account is None:
        return refusal(404, "Account not configured")
    live = {} if account.error else {"credits_remaining": 500, "tokens_remaining": 0}
    return answer_json(_account_json(account) | live)


def _broken(world: World, email: str) -> Outcome | None:
    account = world.flow.accounts.get(email)
    if account is None or not account.broken:
        return None
    return refusal(596, f"Account {email} in error state: {account.error or 'refresh token rejected'}")


def _count(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() else None


def _list(world: World, request: Request) -> Outcome:
    """Answer one page (upstream-api.md 2.2)."""
    knobs, flow = world.knobs, world.flow
    limit = _count(request.first("limit"), knobs.flow_page)
    offset = _count(request.first("offset"), 0)
    if limit is None or not 1 <= limit <= 100:
        return refusal(400, "Parameter limit must be between 1 and 100")
    if offset is None:
        return refusal(400, "Parameter offset must be 0 or more")
    sound = [email for email, account in flow.accounts.items() if not account.broken]
    email = request.first("email") or next(iter([*sound, *flow.accounts]), "")
    if email not in flow.accounts:
        return refusal(404, "Account not configured")
    broken = _broken(world, email)
    if broken is not None:
        return broken
    mine = [] if knobs.empty_lists else [clip for clip in reversed(flow.clips) if clip.account == email]
    shown = mine[offset : offset + limit]
    after = offset + limit if offset + limit < len(mine) else None
    entries = [_entry(world, clip) for clip in shown]
    if knobs.between_pages is not None:
        knobs.between_pages()
    return answer_json({"email": email, "clips": entries, "limit": limit, "offset": offset, "next": after})


def _entry(world: World, clip: Clip) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "clip": world.flow.handle(clip),
        "title": clip.title,
        "lyrics": clip.lyrics,
        "duration_s": clip.duration,
        "image_url": cover_url(world, clip),
    }
    if world.knobs.list_nulls:
        entry |= {"title": None, "lyrics": None, "duration_s": None, "image_url": None}
    if world.knobs.list_timing:
        entry |= {"lyrics_timing": clip.timing}
    return entry | (_urls(world, clip) if world.knobs.list_urls else {})


def _urls(world: World, clip: Clip) -> dict[str, str]:
    # Both are filled even where the object is missing, as for a stem's wav (upstream-api.md 2.8).
    return {"audio_url": media_url(world, clip, "m4a"), "wav_url": media_url(world, clip, "wav")}


def _download(world: World, request: Request) -> Outcome:
    """Answer the mp3 (upstream-api.md 2.3)."""
    ident = request.first("id") or ""
    if request.first("format") not in (None, "mp3"):
        return refusal(400, "Parameter format not supported")
    job, named = _JOB.fullmatch(ident), _CLIP.fullmatch(ident)
    if job:
        found = _job(world, ident)
        if not isinstance(found, FlowJob):
            return found
        if found.status != "completed" or not found.clips:
            return refusal(409, "Job is not completed")
        return _mp3(world, found.clips[0])
    if not named:
        return refusal(400, "Parameter id not a valid clip ID or jobid")
    clip = world.flow.clip(named[3])
    if clip is None or world.flow.handle(clip) != ident:
        return refusal(world.knobs.unknown_clip, "Clip not found")
    return _mp3(world, clip)


def _mp3(world: World, clip: Clip) -> Outcome:
    broken = _broken(world, clip.account)
    if broken is not None:
        return broken
    if world.knobs.bass_refused and (clip.title or "").endswith(" - bass"):
        return refusal(403, "Forbidden")
    asset = clip.assets.get("mp3")
    if asset is None:
        return refusal(404, "Clip not found")
    name = ("Content-Disposition", f'attachment; filename="{clip.uuid}.mp3"')
    return Parcel(asset, "audio/mpeg", "mp3", modified=clip.modified or clip.created, headers=(name,))


def _job(world: World, jobid: str) -> FlowJob | Outcome:
    job = next((job for job in world.flow.jobs if world.flow.handle(job) == jobid), None)
    if job is None:
        return refusal(404, "Job not found")
    return refusal(403, "Forbidden") if job.foreign else job


def _running(world: World) -> Outcome:
    told: dict[str, Any] = {}
    for job in world.flow.jobs:
        if job.status == "pending":
            line = {"jobid": world.flow.handle(job), "status": "pending", "created_at": iso(job.created)}
            told.setdefault(job.account, {"running": 0, "maxJobs": 12, "jobs": []})["jobs"].append(line)
            told[job.account]["running"] += 1
    return answer_json(told)


def _record(world: World, jobid: str) -> Outcome:
    """Answer a job's record (upstream-api.md 2.5)."""
    job = _job(world, jobid)
    if not isinstance(job, FlowJob):
        return job
    told: dict[str, Any] = {
        "jobid": jobid,
        "email": job.account,
        "status": job.status,
        "created_at": iso(job.created),
        "request": {"prompt": "A song about the sea", "mode": "async"},
    }
    if job.status != "pending":
        told |= {"completed_at": iso(job.created + 140), "duration_ms": 140_000}
    if job.status == "completed":
        told["clips"] = [_full(world, clip) for clip in job.clips]
    if job.status == "failed":
        told["error"] = {"code": "GENERATION_FAILED", "message": "The song could not be made"}
    return answer_json(told)


def _full(world: World, clip: Clip) -> dict[str, Any]:
    extra = {"seed": 42, "lyrics_timing": clip.timing, "created_at": iso(clip.created)}
    return _entry(world, clip) | extra | _urls(world, clip)
