"""The embedded service: a small, honest imitation of the two music services and their byte servers.

How it thinks: it is the product's `musicfs demo` (reached in-process) and the fake upstream of every test
(reached over loopback), so it has one plain door: `Service.answer(Request) -> Response`, with the body in
steps. What the real services do, and how they fail, is written down in upstream-api.md; §6 there is this
package's checklist.

    values.py       request, response, steps            knobs.py, faults.py   how it misbehaves
    catalogue.py    accounts, clips, jobs               delivery.py           bytes out, well or ill
    assets.py       objects of any size, made on read   archive.py            ZIPs, good and bad
    flowmusic.py, tempolor.py, byteservers.py           the roles
    score.py, composer.py, songs.py, media/             the demo's music
    service.py      the front door

What must always be true: no clock, no socket, no wait; the same seed and requests give the same answers.
It refuses httpx and trio: doors are built elsewhere.
"""

from musicfs.demo.archive import Member, archive_of, big_zip, zip_of
from musicfs.demo.assets import (
    Asset,
    Joined,
    Mp3Noise,
    Noise,
    Plain,
    content,
    m4a_of,
    mp3_of,
    wav_of,
    wav_of_size,
)
from musicfs.demo.catalogue import Clip, FlowJob, Job
from musicfs.demo.knobs import ContentRange, Cut, Delivery, Fault, Knobs, Ranges, Tag, Twist, Where
from musicfs.demo.service import Record, Service
from musicfs.demo.values import (
    Close,
    Framing,
    Origins,
    Pause,
    Request,
    Reset,
    Response,
    Role,
    Stall,
    Step,
    whole,
)
from musicfs.demo.world import DEMO_TOKEN

__all__ = [
    "DEMO_TOKEN",
    "Asset",
    "Clip",
    "Close",
    "ContentRange",
    "Cut",
    "Delivery",
    "Fault",
    "FlowJob",
    "Framing",
    "Job",
    "Joined",
    "Knobs",
    "Member",
    "Mp3Noise",
    "Noise",
    "Origins",
    "Pause",
    "Plain",
    "Ranges",
    "Record",
    "Request",
    "Reset",
    "Response",
    "Role",
    "Service",
    "Stall",
    "Step",
    "Tag",
    "Twist",
    "Where",
    "archive_of",
    "big_zip",
    "content",
    "m4a_of",
    "mp3_of",
    "wav_of",
    "wav_of_size",
    "whole",
    "zip_of",
]
