"""The two hosts that hand out bytes: the signing CDN and the public bucket.

How it thinks: a URL is made here and checked here, so the signature is one formula in one place. The CDN
signs by Alibaba's "type A" (upstream-api.md 4.1); the bucket is public (4.3) unless the `signed_bucket`
knob is set.

What must always be true: a link is judged when the request begins, by the injected clock; the bucket
answers 401 to any Authorization header; a `/mirror/` path gives the other host's bytes unsigned, as a
redirect's end.
It refuses to look at ranges; `delivery.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import md5
from urllib.parse import unquote, urlencode, urlsplit

from musicfs.demo.assets import Asset
from musicfs.demo.catalogue import Clip, Job
from musicfs.demo.delivery import Parcel
from musicfs.demo.faults import page, xml
from musicfs.demo.values import Request, Role
from musicfs.demo.world import Outcome, Route, World

_SIGNING_KEY = "the-demo-signs-with-this"
_PUBLIC, _PRIVATE = "producer-app-public", "producer-app-private"

TYPES: Mapping[str, str] = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "zip": "application/zip",
    "jpg": "image/jpeg",
    "png": "image/png",
}
_FORMS = {"zip": "stems", "jpg": "cover", "png": "cover"}
_ENDINGS = {"stems": "zip", "cover": "png"}


def object_path(job: Job, form: str) -> str:
    """Return a TemPolor object's path on the CDN, stable over mints (upstream-api.md 3.4)."""
    return f"/ai_material/ai_material/{form}/{job.item}.{_ENDINGS.get(form, form)}"


def _digest(*fields: str) -> str:
    return md5("-".join((*fields, _SIGNING_KEY)).encode(), usedforsecurity=False).hexdigest()


def sign(world: World, path: str) -> str:
    """Make a link to a CDN path; the timestamp is the moment of signing, in seconds."""
    world.minted += 1
    stamp, rand = str(int(world.clock())), f"{world.minted:x}"
    key = f"{stamp}-{rand}-0-{_digest(path, stamp, rand, '0')}"
    return f"{world.origins.of(Role.CDN)}{path}?auth_key={key}"


def media_url(world: World, clip: Clip, form: str) -> str:
    """Make a clip's bucket URL, signed if the bucket is."""
    public = f"{world.origins.bucket}/{clip.uuid}.{form}"
    if not world.knobs.signed_bucket:
        return public
    url = public.replace(_PUBLIC, _PRIVATE, 1)
    stamp = f"{datetime.fromtimestamp(world.clock(), UTC):%Y%m%dT%H%M%SZ}"
    lives = str(int(world.knobs.validity))
    signature = _digest(urlsplit(url).path, stamp, lives)
    fields = {"X-Goog-Date": stamp, "X-Goog-Expires": lives, "X-Goog-Signature": signature}
    return f"{url}?{urlencode({'X-Goog-Algorithm': 'GOOG4-RSA-SHA256'} | fields)}"


def cover_url(world: World, thing: Clip | Job) -> str | None:
    """Make the URL of a cover, which is always public; None where there is none."""
    if "cover" not in thing.assets:
        return None
    if isinstance(thing, Clip):
        return f"{world.origins.bucket.rpartition('/')[0]}/assets/{thing.uuid}.jpg"
    return f"{world.origins.of(Role.CDN)}/cover/{thing.item}.png"


def mirror_url(world: World, request: Request) -> str:
    """Return where the other byte host serves the same bytes."""
    other = Role.BUCKET if request.role is Role.CDN else Role.CDN
    return f"{world.origins.of(other)}/mirror{request.path}"


def route(world: World, request: Request) -> Route:
    """Find the answer for a byte host's path."""
    path = unquote(request.path)
    ending = path.rpartition(".")[2]
    kind = "range" if "range" in request.headers else "whole"
    return Route(kind, lambda: _answer(world, request, path, ending), _FORMS.get(ending, ending))


def _answer(world: World, request: Request, path: str, ending: str) -> Outcome:
    mirrored = path.startswith("/mirror/")
    path = path.removeprefix("/mirror")
    cdn = request.role is Role.CDN
    if not cdn and "authorization" in request.headers:
        return xml(401, "AuthenticationRequired")
    refused = None if mirrored else (_check_cdn if cdn else _check_bucket)(world, request, path)
    if refused is not None:
        return refused
    found = _find_job(world, path) if cdn is not mirrored else _find_clip(world, path)
    if found is None:
        return xml(404, "NoSuchKey")
    asset, modified = found
    return Parcel(asset, TYPES.get(ending, "application/octet-stream"), str(request.role), modified=modified)


def _check_cdn(world: World, request: Request, path: str) -> Outcome | None:
    """Refuse a link as the edge does (upstream-api.md 4.1); covers need none."""
    if path.startswith("/cover/"):
        return None
    fields = (request.first("auth_key") or "").split("-")
    if len(fields) != 4 or not fields[0].isdigit():
        reason = "no url arg auth_key"
    elif _digest(path, *fields[:3]) != fields[3]:
        reason = "invalid md5hash"
    elif world.clock() > int(fields[0]) + world.knobs.validity:
        reason = "expired timestamp"
    else:
        return None
    return page(403, ("X-Tengine-Error", f"denied by req auth: {reason}"))


def _check_bucket(world: World, request: Request, path: str) -> Outcome | None:
    if "/assets/" in path or not (world.knobs.signed_bucket or _PRIVATE in path):
        return None
    if _PRIVATE not in path:
        return xml(403, "AccessDenied")
    stamp, lives = request.first("X-Goog-Date") or "", request.first("X-Goog-Expires") or ""
    if _digest(path, stamp, lives) != request.first("X-Goog-Signature"):
        return xml(403, "SignatureDoesNotMatch")
    signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return xml(400, "ExpiredToken") if world.clock() > signed + int(lives) else None


def _find_clip(world: World, path: str) -> tuple[Asset, float] | None:
    folder, _, name = path.rpartition("/")
    ident, _, ending = name.rpartition(".")
    home = urlsplit(world.origins.bucket).path
    clip = world.flow.clip(ident)
    if clip is None:
        return None
    if folder in (home, home.replace(_PUBLIC, _PRIVATE, 1)) and ending in ("m4a", "wav"):
        asset = clip.assets.get(ending)
    elif folder == f"{home.rpartition('/')[0]}/assets":
        asset = clip.assets.get("cover")
    else:
        return None
    return None if asset is None else (asset, clip.modified or clip.created)


def _find_job(world: World, path: str) -> tuple[Asset, float] | None:
    folder, _, name = path.rpartition("/")
    job = world.tempolor.job(name.rpartition(".")[0])
    if job is None:
        return None
    form = folder.rpartition("/")[2]
    if path not in (object_path(job, form), f"/cover/{job.item}.png") or form not in job.assets:
        return None
    return job.assets[form], job.modified or job.updated
