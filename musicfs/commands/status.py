"""`musicfs status`: what is mounted, cached, in flight and failing, as the daemon itself says it.

How it thinks: the daemon's reply is a JSON object; `--json` prints it as it came, otherwise it becomes a
few small tables of plain columns. A key that is missing (an older daemon) leaves its line out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from musicfs.commands import columns, exits, options, page, sentence
from musicfs.commands.columns import Table, bytes_text, span_text


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(
        verbs,
        "status",
        "say what is mounted, cached, in flight and failing",
        "watch musicfs status ~/Music-AI",
    )
    parser.add_argument("--json", action="store_true", help="the daemon's answer as one JSON object")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="default: the only one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask the daemon and print."""
    from musicfs import control

    mountpoint = options.mountpoint(args.mountpoint) if args.mountpoint else None
    reply = control.ask(sentence.daemon_of(environ, mountpoint).socket, "status")
    if args.json:
        print(json.dumps(reply, indent=2))
    else:
        columns.draw(tables(reply), sys.stdout)
    return exits.DONE


def tables(reply: Mapping[str, Any]) -> list[Table]:
    """Lay a reply out for a person."""
    drawn = [
        Table("", ("", ""), _facts(reply)),
        Table("Songs", ("service", "account", "songs", "state", "listed", "error"), _songs(reply)),
        Table("Being fetched", ("file", "for", "done", "of", "a second", "waiting"), _transfers(reply)),
        Table("Failing", ("when", "what", "error"), _errors(reply)),
    ]
    return [table for table in drawn if table.rows]


def _facts(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    cache, upstream = _mapping(reply, "cache"), _mapping(reply, "upstream")
    today = _mapping(upstream, "today")
    cached = f"{bytes_text(cache.get('used'))} of {bytes_text(cache.get('limit'))}"
    rate = cache.get("hit_rate")
    facts = (
        ("mounted", "mountpoint" in reply, f"{reply.get('mountpoint')}"),
        ("version", "version" in reply, f"{reply.get('version')}"),
        ("process", "pid" in reply, f"{reply.get('pid')}"),
        ("running", "uptime" in reply, span_text(reply.get("uptime"))),
        ("cached", bool(cache), f"{cached} in {cache.get('objects', '?')} objects"),
        ("pinned", bool(cache.get("pinned")), bytes_text(cache.get("pinned"))),
        ("hit rate", rate is not None, _hits(rate, cache)),
        ("first byte", "first_byte" in reply, _first_byte(_mapping(reply, "first_byte"))),
        ("asked", _requests(upstream) != _requests(today), f"{_requests(upstream)} since the start"),
        ("asked today", bool(today), _requests(today)),
        ("scanned", bool(today.get("scanned")), f"{bytes_text(today.get('scanned'))} today by media servers"),
        ("servers", bool(_mapping(upstream, "hosts")), _hosts(_mapping(upstream, "hosts"))),
        ("refused", bool(reply.get("scanners_refused")), _refused(reply)),
    )
    return [(label, text) for label, known, text in facts if known and text]


def _hits(rate: object, cache: Mapping[str, Any]) -> str:
    share = f"{100 * rate:.0f} %" if isinstance(rate, (int, float)) else "?"
    return f"{share} of {bytes_text(cache.get('read'))} read were of files in the cache"


def _first_byte(told: Mapping[str, Any]) -> str:
    """Write the times to the first byte: median and 99th percentile, of cached and of fetched files."""
    said = []
    for kind in ("cached", "fetched"):
        times = _mapping(told, kind)
        if times.get("files"):
            middle, worst = _short(times.get("median")), _short(times.get("p99"))
            said.append(f"{kind} {middle}, p99 {worst} (of {times['files']})")
    return "; ".join(said)


def _short(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return "?"
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _requests(told: Mapping[str, Any]) -> str:
    kinds = _mapping(told, "kinds")
    requests = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
    return f"{requests}; {bytes_text(told.get('bytes'))} fetched"


def _hosts(hosts: Mapping[str, Any]) -> str:
    """Name the servers that are left alone or want quiet; nothing if all is well."""
    said = []
    for name in hosts:
        server = _mapping(hosts, name)
        if server.get("down_for") is not None:
            said.append(f"{name} does not answer, left alone for {span_text(server['down_for'])}")
        elif quiet := _mapping(server, "quiet_for"):
            said.append(f"{name} wants quiet for {span_text(max(quiet.values()))}")
    return "; ".join(said)


def _refused(reply: Mapping[str, Any]) -> str:
    by = ", ".join(f"{count} of {program}" for program, count in _mapping(reply, "refused").items())
    return f"{reply.get('scanners_refused')} requests of indexers and media servers" + (
        f": {by}" if by else ""
    )


def _songs(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for service in _entries(reply, "services"):
        state = "being listed" if service.get("refreshing") else ""
        name = _text(service, "name") or _text(service, "service")
        rows.append((name, "", _text(service, "songs"), state, _listed(service), _failing(service)))
        for account in _entries(service, "accounts"):
            name, state = _text(account, "name"), _text(account, "state")
            rows.append(("", name, _text(account, "songs"), state, _listed(account), _failing(account)))
    return rows


def _listed(told: Mapping[str, Any]) -> str:
    """Write when a listing was last read; an older daemon does not say so of accounts."""
    age = told.get("listed_ago")
    if age is None:
        return "not since the start" if "listed_ago" in told else ""
    return f"{span_text(age)} ago"


def _transfers(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            _text(transfer, "path") or _text(transfer, "key"),
            ", ".join(map(str, transfer.get("programs") or ())) or "ahead",
            bytes_text(transfer.get("done")),
            bytes_text(transfer.get("size")),
            bytes_text(transfer.get("rate")),
            _text(transfer, "waiting"),
        )
        for transfer in _entries(reply, "transfers")
    ]


def _errors(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"{span_text(error.get('ago'))} ago" if "ago" in error else "",
            _text(error, "path") or _text(error, "key"),
            _failing(error),
        )
        for error in reversed(_entries(reply, "errors"))
    ]


def _failing(error: Mapping[str, Any]) -> str:
    times = error.get("times", 1)
    said = sentence.joined("", _text(error, "error") or _text(error, "message"), _text(error, "remedy"))
    return f"{said} ({times} times)" if isinstance(times, int) and times > 1 else said


def _mapping(reply: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = reply.get(key)
    return found if isinstance(found, dict) else {}


def _entries(reply: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Take a list of objects; a bare text in it (an error, say) becomes an object with that `error`."""
    found = reply.get(key)
    entries = found if isinstance(found, list) else []
    return [entry if isinstance(entry, dict) else {"error": str(entry)} for entry in entries]


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    return "" if found is None else str(found)
