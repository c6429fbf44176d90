"""Songs of which the service has no stems: an empty folder, asked for once a day."""

from __future__ import annotations

import os
import time
from pathlib import Path

from musicfs.demo import Service
from tests.mounted.mounting import mounted


def test_asked_for_once(tmp_path: Path) -> None:
    """That a song has no stems is asked for once a day: not at the second look, and not after a restart."""
    service = Service(clock=time.time)
    jobs = [service.add_job("100", f"Solo {number}", 0.2) for number in range(3)]
    for job in jobs:
        job.created = job.updated = time.time() - 7200  # so that a refusal is the last word
    with mounted(service, tmp_path) as mount:
        mount.list_all()
        for restart in (False, True):
            if restart:
                mount.restart()
            for job in jobs:
                assert os.listdir(mount.path / "tempolor" / job.item / "stems") == []
            assert service.counts["mint"] == len(jobs)
