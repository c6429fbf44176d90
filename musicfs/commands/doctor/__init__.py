"""`musicfs doctor`: everything a mount needs, looked at one by one; what is wrong, and what to do.

verdicts   one thing looked at, and how it stands
machine    FUSE, disk, lock, mounts
running    what a running daemon met: servers, accounts, the disk
services   token, subscription, accounts, byte servers, clock
record     all of it for a bug report, with what is private taken out

How it thinks: everything is looked at, whatever else is wrong; only the network needs a token. The token
and settings are those that a mount with the same `--config` would have.
What must always be true: no mount is touched, nothing is changed; 0 means that nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from musicfs import config, host
from musicfs.commands import logs, options, page
from musicfs.commands.doctor import machine, running
from musicfs.commands.doctor.verdicts import Standing, Verdict, code_of, good, note, wrong
from musicfs.commands.exits import code_for
from musicfs.errors import ConfigError, MusicfsError

_EXAMPLE = "musicfs doctor --report > report.md    # for a bug report"


def add(verbs: options.Verbs) -> None:
    """Describe the verb."""
    parser = page.verb(verbs, "doctor", "see what is wrong, and what to do", _EXAMPLE)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings of this file's profile")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="the findings as one JSON object")
    shape.add_argument("--report", action="store_true", help="findings, settings and status as Markdown")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Look at everything, print it, and give the code of the first thing that is wrong."""
    logs.set_up("critical", "text", environ, sys.stderr)
    verdicts: list[Verdict] = []
    loaded: config.Loaded | None = None
    try:
        loaded = config.load({}, environ, args.config)
        verdicts.append(good("settings", f"are in order, profile {loaded.profile!r}"))
    except ConfigError as failure:
        remedy = "Mend it there; musicfs config show lists every setting"
        verdicts.append(wrong("settings", str(failure), remedy, code_for(failure)))
    chosen = loaded or config.Loaded(config.Settings())
    verdicts += look(chosen, environ)
    if args.report:
        from musicfs.commands.doctor import record

        print(record.written(chosen, verdicts, environ))
    elif args.json:
        print(
            json.dumps(
                {"good": code_of(verdicts) == 0, "findings": [one.told() for one in verdicts]}, indent=2
            )
        )
    else:
        draw(verdicts, sys.stdout)
    return code_of(verdicts)


def look(loaded: config.Loaded, environ: Mapping[str, str]) -> Iterator[Verdict]:
    """Look at one thing after the other."""
    from musicfs import control

    chosen, table = loaded.settings, host.mounts()
    paths = config.find_paths(environ, loaded.profile, chosen.cache_dir, chosen.state_dir)
    registered = control.daemons(config.runtime_dirs(environ))
    daemons = {one.mountpoint: one.pid for one in registered}
    yield machine.device()
    yield machine.mounter()
    yield machine.library()
    yield machine.others(chosen.allow_other)
    yield machine.control_files(table)
    yield from machine.disk(paths, chosen, table)
    yield machine.lock(paths, daemons)
    yield from machine.mounted(table, daemons)
    demos = {mount.mountpoint for mount in table if mount.source == "musicfs:demo"}
    for daemon in registered:
        yield from running.look(daemon, demo=daemon.mountpoint in demos)
    yield from _network(chosen, environ, table)


def _network(
    chosen: config.Settings, environ: Mapping[str, str], table: Sequence[host.Mount]
) -> Iterator[Verdict]:
    """Find the token and try everything that needs it."""
    try:
        token = config.find_token(chosen, environ)
        yield good("token", f"is in {token.origin}")
        from musicfs.commands.doctor import services
        from musicfs.wire.decided import doors_as

        yield from services.look(chosen, doors_as(chosen, token))
    except config.NoToken as failure:
        if any(mount.is_ours and mount.source == "musicfs:demo" for mount in table):
            yield note("token", "there is none, and the demo needs none", "For your own music: musicfs login")
        else:
            yield wrong("token", str(failure), failure.remedy, code_for(failure))
    except MusicfsError as failure:
        yield wrong("token", str(failure), failure.remedy or "Or run: musicfs login", code_for(failure))


def draw(verdicts: Sequence[Verdict], stream: TextIO) -> None:
    """Print the findings, each with what to do, and at the end how many things are wrong.

    On a terminal they are folded at its width; a pipe gets them uncut.
    """
    width = max(len(verdict.name) for verdict in verdicts)
    columns = max(shutil.get_terminal_size().columns, width + 40) if stream.isatty() else sys.maxsize
    for verdict in verdicts:
        head = f"{_MARKS[verdict.standing]}  {verdict.name.ljust(width)}  "
        for lead, text in ((head, verdict.says), (" " * len(head) + "-> ", verdict.remedy)):
            hang = " " * len(lead)
            for line in textwrap.wrap(text, columns, initial_indent=lead, subsequent_indent=hang):
                stream.write(f"{line}\n")
    bad = sum(verdict.standing is Standing.WRONG for verdict in verdicts)
    count = {0: "Nothing is wrong", 1: "One thing is wrong"}.get(bad, f"{bad} things are wrong")
    stream.write(f"{count}.\n")


_MARKS = {Standing.GOOD: "good ", Standing.NOTE: "note ", Standing.WRONG: "WRONG"}
