"""What holds for every law of these tests."""

from hypothesis import HealthCheck, settings


def test_a_law_has_no_stop_watch() -> None:
    """A machine that stands still for a moment breaks no law: no example has a limit."""
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check
