"""The machine without a kernel and on a mount, and readers that know the bytes: the short form."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from musicfs.demo import Service
from tests.faults.gauges import settle
from tests.faults.model_kernelless import KernellessMachine
from tests.faults.model_mounted import MountedMachine
from tests.faults.soak import readers, stock
from tests.figures import FAULTS
from tests.mounted.mounting import mounted
from tests.trust.witness import catalogue
from tests.world import LOOSE_ENDS

BREADTH = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
DEPTH = settings(BREADTH, max_examples=2, stateful_step_count=25)


@LOOSE_ENDS
@pytest.mark.expected_log("^WARNING")
@pytest.mark.timeout(240)
def test_model_without_a_kernel() -> None:
    """Whatever is asked and whatever happens meanwhile: bytes of one content, or an error with a reason."""
    run_state_machine_as_test(KernellessMachine, settings=BREADTH)


@pytest.mark.timeout(240)
def test_model_on_a_real_mount() -> None:
    """The same through the kernel and its caches."""
    run_state_machine_as_test(MountedMachine, settings=DEPTH)


@pytest.mark.timeout(120)
def test_random_readers(tmp_path: Path, service: Service) -> None:
    """Threads that read at random, in order, by maps and past the end never see a wrong byte or an error."""
    stock(service)
    files = catalogue(service)
    before = FAULTS["reads verified"]
    with mounted(service, tmp_path, cache_size=6_000_000, deadline=20) as mount:
        mount.list_all()
        end = time.monotonic() + 4.0
        with readers(mount, files, tmp_path, 4.0, sick=False):
            time.sleep(max(0.0, end - time.monotonic()))
        settle(mount)
    assert FAULTS["reads verified"] > before + 20
