"""The doctor's look at the network: token, subscription, linked accounts, byte servers, clocks.

How it thinks: the same wire as a mount's, with the same doors and the providers' own conversations, so what
works here works there. Accounts are numbered in the order in which useapi.net lists them. Of Flow Music's
public bucket one byte is fetched; a TemPolor link is not asked for, because it may count as a download.

What must always be true: everything ends within a minute, however the network is; no account is named.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import trio

from musicfs import config, providers
from musicfs.commands import exits
from musicfs.commands.doctor.verdicts import Verdict, good, note, wrong
from musicfs.core.streams import Haste
from musicfs.errors import (
    AccountBroken,
    BytesMissing,
    Lapsed,
    MusicfsError,
    Refused,
    TooSlow,
    UpstreamError,
    Withdrawn,
)
from musicfs.model import Account, Form, Locator, Provider, Song
from musicfs.providers import NAMES, useapi
from musicfs.wire import Doors, Head, Wire

DEADLINE = 8.0
"""Seconds one question may take; a person waits for the answer."""
LIMIT = 60.0
"""Seconds for all of them."""
SKEW = 120.0
"""Seconds between two clocks that nothing minds: links live for an hour."""
ACCOUNTS = 20
"""Accounts of one service whose listing is tried; useapi.net's plans allow three."""


def look(chosen: config.Settings, doors: Doors) -> list[Verdict]:
    """Ask everything and give the verdicts."""
    found: list[Verdict] = []

    async def asking() -> None:
        with trio.move_on_after(LIMIT) as limit:
            await _look(Wire(doors, DEADLINE, time.time), chosen, found)
        if limit.cancelled_caught:
            found.append(_failed("network", TooSlow(f"not everything was answered within {LIMIT:.0f} s")))
        with trio.move_on_after(1.0):
            await doors.aclose()

    trio.run(asking)
    return found


def try_token(doors: Doors) -> useapi.Subscription:
    """Ask useapi.net whose token it is.

    Raises:
        UpstreamError: it is refused, or nobody could be asked.
    """

    async def asking() -> useapi.Subscription:
        try:
            return await Wire(doors, DEADLINE, time.time).converse(useapi.subscription())
        finally:
            with trio.move_on_after(1.0, shield=True):
                await doors.aclose()

    return trio.run(asking)


async def _look(wire: Wire, chosen: config.Settings, found: list[Verdict]) -> None:
    """Ask one thing after the other; without the token there is nothing to go on with."""
    try:
        page = await wire.converse(useapi.subscription())
        found += [good("token", "useapi.net accepts it"), subscription(page), clock(page.now, time.time())]
    except Withdrawn:
        found.append(note("subscription", "cannot be told: this API has no account page"))
    except Lapsed as lapsed:
        found.append(good("token", "useapi.net knows it"))
        found.append(_failed("subscription", lapsed))
        return
    except Refused as refused:
        found.append(wrong("token", f"useapi.net says: {refused}", "Run: musicfs login", exits.NO_PERMISSION))
        return
    except UpstreamError as failed:
        found.append(_failed("useapi.net", failed))
        return
    sample: Song | None = None
    for slug, provider in providers.find(chosen.media_url).items():
        song = await _accounts(wire, provider, NAMES.get(slug, slug), found)
        sample = song if slug == "flowmusic" else sample
    found.append(await _bucket(wire, chosen.media_url, sample))
    found.append(
        note("TemPolor's bytes", "are not tried: asking for a link may count as a download on your plan")
    )


def subscription(page: useapi.Subscription) -> Verdict:
    """Judge the account page."""
    name = "subscription"
    if page.active is None:
        return note(name, "useapi.net does not say whether it is active")
    if not page.active:
        return wrong(name, "has lapsed", "Renew it at useapi.net", exits.NO_PERMISSION)
    return good(name, "is active")


def clock(theirs: float | None, ours: float) -> Verdict:
    """Compare this machine's clock with the server's; seconds since the epoch."""
    if theirs is None:
        return note("clock", "cannot be compared: the server's answer has no date")
    apart = ours - theirs
    if abs(apart) <= SKEW:
        return good("clock", f"agrees with the server's ({abs(apart):.0f} s apart)")
    way = "ahead of" if apart > 0 else "behind"
    return wrong(
        "clock",
        f"is {abs(apart):.0f} s {way} the server's, so links look dead or alive when they are not",
        "Set the clock: timedatectl set-ntp true",
    )


async def _accounts(wire: Wire, provider: Provider, name: str, found: list[Verdict]) -> Song | None:
    """Try each linked account's listing; gives a song, if one was seen."""
    try:
        accounts = await wire.converse(provider.accounts())
    except UpstreamError as failed:
        found.append(_failed(name, failed))
        return None
    if not accounts:
        found.append(note(name, "no account is linked", "Add one at useapi.net"))
    sample: Song | None = None
    for place, account in enumerate(accounts[:ACCOUNTS], 1):
        verdict, song = await _account(wire, provider, account, f"{name}, account {place}")
        found.append(verdict)
        sample = sample or song
    return sample


async def _account(
    wire: Wire, provider: Provider, account: Account, name: str
) -> tuple[Verdict, Song | None]:
    try:
        if account.error:
            raise AccountBroken("useapi.net reports an error of this account")
        page = await wire.converse(provider.page(account, None))
    except UpstreamError as failed:
        return _failed(name, failed), None
    return good(name, "its songs can be listed"), next(iter(page.songs), None)


async def _bucket(wire: Wire, media_url: str, song: Song | None) -> Verdict:
    """Fetch one byte of a song that a listing showed, or of one that cannot exist: an answer is an answer."""
    name, host = "Flow Music's bytes", urlsplit(media_url).hostname
    ident = song.ident if song is not None else "00000000-0000-0000-0000-000000000000"
    url = (song.urls.get(Form.M4A) if song is not None else None) or f"{media_url}/{ident}.{Form.M4A}"
    try:
        await wire.pull(_Place(url), _OneByte())
    except BytesMissing as missing:
        if song is None:
            return good(name, f"{host} answers")
        return note(name, f"{host} answers, but has no m4a of the newest song: {missing}", missing.remedy)
    except MusicfsError as failed:
        return _failed(name, failed)
    return good(name, f"{host} gives them")


class _Place:
    """One URL, as the wire asks for it."""

    form = Form.M4A

    def __init__(self, url: str) -> None:
        self._url = url

    async def locate(self) -> Locator:
        return Locator(self._url)

    def expire(self, locator: Locator) -> None:
        """There is no other."""


class _OneByte:
    """A sink that wants the first byte and no more."""

    def __init__(self) -> None:
        self.haste = Haste.NOW
        self.at = 0
        self.stop: int | None = 1
        self.foretold = False

    def begin(self, head: Head) -> None:
        """Take any."""

    def take(self, data: bytes) -> bool:
        self.at += len(data)
        return False

    def faltered(self, failure: UpstreamError) -> None:
        """Wait for the last word."""

    def end(self) -> None:
        """Accept."""


def _failed(name: str, failure: MusicfsError) -> Verdict:
    return wrong(name, str(failure), failure.remedy, exits.code_for(failure))
