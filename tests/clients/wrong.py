"""Each errno of docs/programs.md, brought about for one song that nobody has touched.

How it thinks: all of them can be had on one mount, whose deadline is short and whose cache is smaller than an
mp3. What an errno needs is taken back at the end of its block. Only a host that was silent or gone is left
alone for a while after it, so `ETIMEDOUT` and `EHOSTUNREACH` come last.

    with stage(folder, sound, **SETTINGS) as scene, wrong(scene, "EACCES") as path: ...

What must always be true: in the block `path` fails with that errno and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicfs.demo import Fault, Request, Role, wav_of
from musicfs.demo.faults import Answer, black_hole, html, json_error
from tests.clients.sound import SECONDS
from tests.clients.stage import Stage
from tests.clients.work import MIB
from tests.mounted.failing import STRANGER

SETTINGS: Mapping[str, Any] = {"rtt": 0, "deadline": 3, "cache_size": "1M"}
"""Of the stage; the deadline in seconds."""
ANSWERS: Mapping[str, Answer] = {
    "EACCES": json_error(403),
    "EBUSY": json_error(409),
    "EIO": html(),
    "ETIMEDOUT": black_hole(),
}
ANEW = wav_of(SECONDS, "anew")
"""What a song is once it was made anew under its reader."""
ERRNOS = ("EACCES", "EBUSY", "EIO", "ENOENT", "ENOSPC", "ESTALE", "ETIMEDOUT", "EHOSTUNREACH")


@contextmanager
def wrong(scene: Stage, name: str) -> Iterator[Path]:
    """Have a song fail with an errno in the block, and give its path."""
    bring: dict[str, Callable[[Stage], Path]] = {
        "ENOENT": lambda scene: scene.mount.path / "flowmusic" / f"{STRANGER}.mp3",
        "ENOSPC": lambda scene: scene.mp3().there,
        "ESTALE": _made_anew,
        "EHOSTUNREACH": _gone,
    }
    scene.mount.expect(".")
    try:
        yield bring[name](scene) if name in bring else _refused(scene, ANSWERS[name])
    finally:
        scene.service.clear()
        scene.mount.loop.start(Role.CDN)


def _refused(scene: Stage, answer: Answer) -> Path:
    twin = scene.mp3()
    scene.service.fail(answer, kind="mp3", path=twin.ident)
    return twin.there


def _gone(scene: Stage) -> Path:
    scene.mount.loop.stop(Role.CDN)
    return scene.wav().there


def _made_anew(scene: Stage) -> Path:
    """Have the service make a song anew as soon as somebody has read a part of it."""
    twin = scene.wav()
    job = scene.service.tempolor.job(twin.ident)
    assert job is not None

    def beyond(request: Request) -> bool:
        first = request.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        late = twin.ident in request.path and first.isdigit() and int(first) >= MIB
        if late and job.assets["wav"] is not ANEW:
            job.assets["wav"], job.modified = ANEW, time.time()
        return False  # the answer is a healthy one, of the new song

    scene.service.faults.append(Fault(beyond, html()))
    return twin.there
