"""Where a request may go: a link read as a URL, and where a redirect leads.

How it thinks: links are what services sent us, so they may be anything. The doors refuse the rest: here it is
only said whether a link is one, and that nobody is led from https to http.
"""

from __future__ import annotations

from functools import lru_cache

import httpx

from musicfs.errors import Misbehaved, Rejected


def url_of(text: str) -> httpx.URL:
    """Read a link.

    Raises:
        Rejected: it is none, or not http(s).
    """
    try:
        url = _parsed(text)
    except (httpx.InvalidURL, ValueError, TypeError) as wrong:
        raise Rejected("the link is not a URL") from wrong
    if url.scheme not in ("http", "https") or not url.host:
        raise Rejected("the link is not http(s)")
    return url


@lru_cache(maxsize=64)
def _parsed(text: str) -> httpx.URL:
    """Take a link apart, 30 microseconds, once for all the requests that a file's bytes come by."""
    return httpx.URL(text)


def redirected(url: httpx.URL, answer: httpx.Response) -> httpx.URL:
    """Read where the answer to a request to `url` leads.

    Raises:
        Misbehaved: nowhere.
        Rejected: away from https.
    """
    try:
        target = url.join(answer.headers.get("location", ""))
    except (httpx.InvalidURL, ValueError) as wrong:
        raise Misbehaved("a redirect leads nowhere") from wrong
    if target.scheme not in ("https", url.scheme) or target.scheme not in ("http", "https"):
        raise Rejected("a redirect leads away from https")
    if target == url:
        raise Misbehaved("a redirect leads to itself")
    return target
