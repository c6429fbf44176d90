"""The embedded service: both APIs, the signing CDN and the public bucket, behind one plain function.

How it thinks: `answer` takes a request value and gives a response value whose body is in steps; it
neither waits nor opens a socket. `musicfs demo` reaches it in-process, the tests over loopback
(tests/loopback.py). On the way every request is recorded, then faults may replace the answer, then twists
may bend how its bytes leave.

What must always be true: one request is one record; `sent` counts bytes as their steps are taken; the API
wants the exact token; nothing but GET and HEAD is answered with anything but 405; everything follows from
the seed, the clock and the order of requests.
It refuses to write, to sleep and to speak HTTP.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import unquote, urlencode, urlsplit

from musicfs.demo import byteservers, flowmusic, songs, tempolor
from musicfs.demo.delivery import Parcel, Place, deliver
from musicfs.demo.faults import Answer, refusal
from musicfs.demo.knobs import Delivery, Fault, Knobs, Twist, Where
from musicfs.demo.values import Origins, Request, Response, Role, Step
from musicfs.demo.world import DEMO_TOKEN, Route, World, answer_json


@dataclass(slots=True)
class Record:
    """One request, as it went."""

    role: Role
    method: str
    kind: str
    """accounts, list, record, jobs, mint, mp3, range, whole, scheduler, account, write, other."""
    path: str
    """As sent, without the query."""
    form: str | None
    range: str | None
    """The Range header."""
    authorised: bool
    """An Authorization header came along."""
    status: int
    moment: float
    """Seconds since the epoch, by the service's clock."""
    sent: int = 0
    """Body bytes taken so far."""


class Service(World):
    """The embedded service; see the module."""

    def __init__(
        self,
        origins: Origins | None = None,
        clock: Callable[[], float] = lambda: 1_795_000_000.0,  # November 2026, after every made-up date
        *,
        seed: int = 0,
        token: str = DEMO_TOKEN,
    ) -> None:
        super().__init__(origins or Origins(), clock, seed, token)
        self.faults: list[Fault] = []
        self.twists: list[Twist] = []
        self.log: list[Record] = []
        self.add_clip = self.flow.add_clip
        self.add_job = self.tempolor.add_job
        self._lock = threading.RLock()
        self._calls = 0

    @classmethod
    def demo(
        cls,
        clock: Callable[[], float],
        origins: Origins | None = None,
        *,
        seed: int = 0,
        token: str = DEMO_TOKEN,
    ) -> Self:
        """Make a service that holds the demo's songs."""
        service = cls(origins, clock, seed=seed, token=token)
        songs.fill(service.flow, service.tempolor)
        service.knobs.list_timing = True  # else nobody who tries the demo would see timed lyrics
        return service

    # Who asks, and what comes back.

    def request(self, method: str, url: str, headers: Any = ()) -> Request | None:
        """Make a request value of an absolute URL; None if it belongs to none of the three hosts.

        `headers` are (name, value) pairs of text.
        """
        role = self.origins.role_of(url)
        if role is None:
            return None
        split = urlsplit(url)
        target = f"{split.path}?{split.query}" if split.query else split.path
        return Request.parse(method, target, role, headers)

    def answer(self, request: Request) -> Response:
        """Answer a request. The steps are made as they are taken."""
        with self._lock:
            route = self._route(request)
            self._calls += 1
            response = self._decide(request, route)
            record = Record(
                request.role,
                request.method,
                route.kind,
                request.path,
                route.form,
                request.headers.get("range"),
                "authorization" in request.headers,
                response.status,
                self.clock(),
            )
            self.log.append(record)
        steps = () if request.method == "HEAD" else response.steps
        return replace(response, steps=_counted(record, steps))

    def _route(self, request: Request) -> Route:
        if request.method not in ("GET", "HEAD"):
            return Route("write", lambda: refusal(405, "Method Not Allowed"))
        if request.role is not Role.API:
            return byteservers.route(self, request)
        route = self._api(request) or Route("other", lambda: refusal(404, "Not Found"))
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return replace(route, answer=lambda: refusal(401, "Unauthorized"))
        if self.knobs.subscription_expired:
            return replace(
                route, answer=lambda: refusal(402, "Account has no subscription or subscription expired")
            )
        return route

    def _api(self, request: Request) -> Route | None:
        match [unquote(part) for part in request.path.strip("/").split("/")]:
            case ["v1", "flowmusic", *rest]:
                return flowmusic.route(self, request, rest)
            case ["v1", "tempolor", *rest]:
                return tempolor.route(self, request, rest)
            case ["v2", "account"]:
                return Route("account", lambda: answer_json(self._subscription()))
        return None

    def _subscription(self) -> dict[str, Any]:
        """Make the account page (upstream-api.md 1.5)."""
        accounts: dict[str, Any] = {}
        for name, linked in (("flowmusic", self.flow.accounts), ("tempolor", self.tempolor.accounts)):
            bad = sum(account.error is not None for account in linked.values())
            accounts[name] = {"total": len(linked), "active": len(linked) - bad, "error": bad}
        return {
            "id": int(self.user),
            "email": "demo@example.com",
            "created": "2026-01-01T00:00:00.000Z",
            "subscriptionIsActive": not self.knobs.subscription_expired,
            "subscriptions": 1,
            "maxAccountsPerAPI": 3,
            "accounts": accounts,
        }

    def _decide(self, request: Request, route: Route) -> Response:
        text = unquote(request.path) + "".join(f"&{name}={value}" for name, value in request.query)
        for fault in self.faults:
            meant = fault.matches
            fits = (
                meant.fits(request, text, route.kind, route.form)
                if isinstance(meant, Where)
                else meant(request)
            )
            if fits:
                _spend(self.faults, fault)
                return fault.answer(request)
        outcome = route.answer()
        if not isinstance(outcome, Parcel):
            return outcome
        how = self._delivery(request, route, text, outcome.source)
        query = f"?{urlencode(request.query)}" if request.query else ""
        here = f"{self.origins.of(request.role)}{request.path}{query}"
        place = Place(here, byteservers.mirror_url(self, request), self._calls)
        return deliver(request, outcome, how, place)

    def _delivery(self, request: Request, route: Route, text: str, source: str) -> Delivery:
        how: Delivery = getattr(self.knobs, source)
        for twist in list(self.twists):
            if twist.where.fits(request, text, route.kind, route.form):
                _spend(self.twists, twist)
                how = replace(how, **twist.changes)
        return how

    # The grips.

    def fail(
        self,
        answer: Answer,
        *,
        times: int | None = None,
        role: Role | None = None,
        path: str = "",
        kind: str | None = None,
        form: str | None = None,
    ) -> Fault:
        """Answer the requests that fit with `answer` (see faults.py), `times` times or until cleared."""
        fault = Fault(Where(role, path, kind, form), answer, times)
        with self._lock:  # an answer under way may have put other faults in their place for a moment
            self.faults.append(fault)
        return fault

    def twist(
        self,
        *,
        times: int | None = None,
        role: Role | None = None,
        path: str = "",
        kind: str | None = None,
        form: str | None = None,
        **changes: Any,
    ) -> Twist:
        """Change `Delivery` fields for the requests that fit, `times` times or until cleared."""
        twist = Twist(Where(role, path, kind, form), changes, times)
        with self._lock:
            self.twists.append(twist)
        return twist

    def clear(self) -> None:
        """Be healthy again: no faults, no twists, knobs as new. Catalogue and log stay."""
        with self._lock:
            self.faults.clear()
            self.twists.clear()
            self.knobs = Knobs()

    # The books.

    @property
    def counts(self) -> Counter[str]:
        """Requests by kind."""
        return Counter(record.kind for record in list(self.log))

    def bytes_sent(self, role: Role | None = None) -> int:
        """Sum the body bytes taken, of one role or of all."""
        return sum(record.sent for record in list(self.log) if role in (None, record.role))

    def reset_counts(self) -> None:
        """Begin a new log."""
        with self._lock:
            self.log.clear()


def _spend(kept: list[Any], item: Fault | Twist) -> None:
    """Count one use, and take it away after its last."""
    if item.times is not None:
        item.times -= 1
        if item.times <= 0:
            kept.remove(item)


def _counted(record: Record, steps: Any) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, bytes):
            record.sent += len(step)
        yield step
