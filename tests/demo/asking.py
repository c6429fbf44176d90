"""Short ways to put a request to the embedded service in-process and to read what comes back."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from musicfs.demo import Request, Response, Role, Service, whole

NOW = 1_795_000_000.0
"""The service's moment in these tests: 18 November 2026, in seconds since the epoch."""

ADA = "ada@example.com"
SOLO = "100200300"


def get(service: Service, path: str, headers: dict[str, str] | None = None, **query: object) -> Response:
    """Ask the API, with the token."""
    headers = {"Authorization": f"Bearer {service.token}"} | (headers or {})
    target = f"{path}?{urlencode(query)}" if query else path
    return service.answer(Request.parse("GET", target, Role.API, headers.items()))


def fetch(service: Service, url: str, **headers: str) -> Response:
    """Ask whichever host a URL belongs to, without the token; `if_match="x"` is the header If-Match."""
    request = service.request("GET", url, [(name.replace("_", "-"), text) for name, text in headers.items()])
    assert request is not None, "the URL belongs to no host"
    return service.answer(request)


def told(response: Response) -> Any:
    """Read a 200's JSON."""
    assert response.status == 200
    return json.loads(whole(response))


def error(response: Response) -> tuple[int, str]:
    """Read an error's status and text, and check that its body repeats the status."""
    body = json.loads(whole(response))
    assert body["code"] == response.status
    return response.status, body["error"]


def mint(service: Service, job_id: str, form: str = "mp3") -> str:
    """Ask for a link."""
    url: str = told(get(service, f"/v1/tempolor/music/download/{job_id}", file_format=form))["url"]
    return url
