"""The machine over the filesystem's verbs, and over a real mount; long forms by `python -m tests.faults`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.model_kernelless import KernellessMachine
from tests.world import LOOSE_ENDS

BREADTH = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@LOOSE_ENDS
@pytest.mark.expected_log("^WARNING")
@pytest.mark.timeout(240)
def test_model_without_a_kernel() -> None:
    """Whatever is asked and whatever happens meanwhile: bytes of one content, or an error with a reason."""
    run_state_machine_as_test(KernellessMachine, settings=BREADTH)
