"""`musicfs status`: what is mounted, cached, in flight and failing, as the daemon itself says it.

How it thinks: the daemon's reply is a JSON object; `--json` prints it as it came, otherwise it becomes a
few small tables of plain columns. A key that is missing (an older daemon) leaves its line out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicfs import config, host
from musicfs.commands import columns, exits, options
from musicfs.commands.columns import Table, bytes_text, span_text


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = verbs.add_parser("status", help="what is mounted, cached, in flight and failing")
    parser.add_argument("--json", action="store_true", help="the daemon's answer as one JSON object")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?", help="default: the only one")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Ask the daemon and print."""
    from musicfs import control

    mountpoint = options.mountpoint(args.mountpoint) if args.mountpoint else None
    try:
        daemon = control.find(config.runtime_dirs(environ), mountpoint)
        reply = control.ask(daemon.socket, "status")
    except control.NotRunning as failure:
        _point_at_dead_mount(mountpoint)
        raise failure
    if args.json:
        print(json.dumps(reply, indent=2))
    else:
        columns.draw(tables(reply), sys.stdout)
    return exits.DONE


def _point_at_dead_mount(mountpoint: Path | None) -> None:
    """Say it when a musicfs is mounted although no daemon answers."""
    for mount in host.mounts():
        if mount.is_ours and mountpoint in (None, mount.mountpoint) and host.is_stale(mount.mountpoint):
            print(
                f"musicfs: the daemon of {mount.mountpoint} is dead; run: musicfs umount {mount.mountpoint}",
                file=sys.stderr,
            )


def tables(reply: Mapping[str, Any]) -> list[Table]:
    """Lay a reply out for a person."""
    drawn = [
        Table("", ("", ""), _facts(reply)),
        Table("Songs", ("service", "account", "songs", "state", "listed", "error"), _songs(reply)),
        Table("In flight", ("what", "done", "of", "waiting"), _transfers(reply)),
        Table("Failing", ("when", "path", "error"), _errors(reply)),
    ]
    return [table for table in drawn if table.rows]


def _facts(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    cache, upstream = _mapping(reply, "cache"), _mapping(reply, "upstream")
    kinds = _mapping(upstream, "kinds")
    requests = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    cached = f"{bytes_text(cache.get('used'))} of {bytes_text(cache.get('limit'))}"
    facts = (
        ("mounted", "mountpoint" in reply, f"{reply.get('mountpoint')}"),
        ("version", "version" in reply, f"{reply.get('version')}"),
        ("process", "pid" in reply, f"{reply.get('pid')}"),
        ("running", "uptime" in reply, span_text(reply.get("uptime"))),
        ("cached", bool(cache), f"{cached} in {cache.get('objects', '?')} objects"),
        ("pinned", bool(cache.get("pinned")), bytes_text(cache.get("pinned"))),
        ("requests", bool(upstream), f"{requests}; {bytes_text(upstream.get('bytes'))} fetched"),
        (
            "refused",
            bool(reply.get("scanners_refused")),
            f"{reply.get('scanners_refused')} reads of indexers",
        ),
    )
    return [(label, text) for label, known, text in facts if known]


def _songs(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for service in _entries(reply, "services"):
        age = service.get("listed_ago")
        listed = "never" if age is None else f"{span_text(age)} ago"
        error = _text(service, "error")
        rows.append((_text(service, "service"), "", _text(service, "songs"), "", listed, error))
        for account in _entries(service, "accounts"):
            state, error = _text(account, "state"), _text(account, "error")
            rows.append(("", _text(account, "name"), _text(account, "songs"), state, "", error))
    return rows


def _transfers(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            _text(transfer, "path") or _text(transfer, "key"),
            bytes_text(transfer.get("done")),
            bytes_text(transfer.get("size")),
            _text(transfer, "waiting"),
        )
        for transfer in _entries(reply, "transfers")
    ]


def _errors(reply: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"{span_text(error.get('ago'))} ago" if "ago" in error else "",
            _text(error, "path") or _text(error, "key"),
            _text(error, "error") or _text(error, "message"),
        )
        for error in _entries(reply, "errors")
    ]


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
