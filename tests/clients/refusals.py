"""What each form of a song can fail with, and how that comes about.

How it thinks: a song's forms come from different places, and each place has refusals of its own. The mp3 of
Flow Music is the API's answer, a wav of TemPolor needs a link first, a stem lies in an archive whose link is
known by the time that anybody sees its name, an m4a and a cover are public. So EACCES has no way to these:
a public host's 403 counts as its 404 (DESIGN §3). An m4a is taken apart from the others, because an `open`
believes for five seconds what a walk has just found well.

What must always be true: a form is refused by what really answers for it, and no other song is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from musicfs.demo import Role
from musicfs.demo.faults import Answer, denied_link, html, json_error, throttled, xml_error
from tests.clients.stage import Stage, Twin

TAKEN: Mapping[str, Callable[[Stage], Twin]] = {
    "mp3": Stage.mp3,
    "m4a": lambda scene: scene.m4a(apart=True),
    "wav": Stage.wav,
    "stem": Stage.stem,
    "inflated": Stage.inflated,
    "cover": Stage.cover,
}
"""Every form, and how a song of it is taken that nobody has touched."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer, and whose it is."""

    answer: Answer
    role: Role | None = None
    kind: str | None = None

    def befalls(self, scene: Stage, twin: Twin) -> None:
        """Let whoever asks for this song have the answer."""
        scene.service.fail(self.answer, role=self.role, kind=self.kind, path=twin.ident)


REFUSALS: Mapping[str, Mapping[str, Refusal]] = {
    "EACCES": {
        "mp3": Refusal(json_error(401), kind="mp3"),
        "wav": Refusal(json_error(403), kind="mint"),
        "stem": Refusal(denied_link(), Role.CDN),
        "inflated": Refusal(denied_link(), Role.CDN),
    },
    "EBUSY": {
        "mp3": Refusal(json_error(409), kind="mp3"),
        "m4a": Refusal(throttled(), Role.BUCKET),
        "wav": Refusal(json_error(409), kind="mint"),
        "stem": Refusal(throttled(), Role.CDN),
        "inflated": Refusal(throttled(), Role.CDN),
        "cover": Refusal(throttled(), Role.BUCKET),
    },
    "EIO": {
        "mp3": Refusal(json_error(418), kind="mp3"),
        "m4a": Refusal(xml_error(404, "NoSuchKey"), Role.BUCKET),
        "wav": Refusal(xml_error(400, "InvalidRequest"), Role.CDN),
        "stem": Refusal(xml_error(400, "InvalidRequest"), Role.CDN),
        "inflated": Refusal(xml_error(400, "InvalidRequest"), Role.CDN),
        "cover": Refusal(html(), Role.BUCKET),
    },
}
"""By errno and form."""
