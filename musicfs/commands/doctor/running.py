"""The doctor's question to a running daemon: what it met that the doctor itself cannot try.

How it thinks: the byte servers behind TemPolor's links are known to whoever reads songs, so the daemon is
asked how each server stood when it was last asked. What failed lately is told once, the newest.
What must always be true: it ends within the socket's time-outs, also where the daemon is stuck.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from musicfs.commands import exits
from musicfs.commands.columns import span_text
from musicfs.commands.doctor.verdicts import Verdict, good, note, wrong
from musicfs.control import Daemon, Declined, NotRunning, ask


def look(daemon: Daemon, *, demo: bool = False) -> Iterator[Verdict]:
    """Ask one daemon and judge what it says; the servers of a demo are not there."""
    name = "daemon"
    try:
        told = ask(daemon.socket, "status")
    except (NotRunning, Declined) as failure:
        remedy = f"Run: musicfs umount {daemon.mountpoint} && kill {daemon.pid}"
        yield wrong(name, f"that of {daemon.mountpoint}: {failure}", remedy, exits.UNAVAILABLE)
        return
    yield good(name, f"that of {daemon.mountpoint} answers, running for {span_text(told.get('uptime'))}")
    if not demo:
        yield from servers(told.get("upstream", {}).get("hosts", {}))
    yield from _damage(told.get("cache", {}))
    if errors := told.get("errors"):
        last = errors[-1]
        says = f"{span_text(last.get('ago'))} ago a program was refused: {last.get('error')}"
        yield note("last failure", says, str(last.get("remedy") or ""))


def servers(hosts: Mapping[str, Any]) -> Iterator[Verdict]:
    """Judge the servers that the daemon asked."""
    for origin, told in hosts.items():
        host = origin.removesuffix(":443")
        if told.get("down_for") is not None:
            says = f"does not answer the daemon, which leaves it alone for {span_text(told['down_for'])}"
            yield wrong(host, says, "Check the network (what is cached still plays).", exits.UNAVAILABLE)
        elif told.get("quiet_for"):
            wait = span_text(max(told["quiet_for"].values()))
            yield note(host, f"asked the daemon for quiet for {wait}", "Wait; it is tried again by itself.")
        else:
            yield good(host, "answered the daemon when it was last asked")


def _damage(cache: Mapping[str, Any]) -> Iterator[Verdict]:
    if cache.get("damaged"):
        says = f"{cache['damaged']} blocks in it were damaged since the daemon's start, and were dropped"
        yield note("cache", says, "Check the disk; musicfs cache verify reads all of it")
