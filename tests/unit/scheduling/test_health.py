"""Whether an instance is healthy, by its last checks."""

from __future__ import annotations

import pytest

from fcemu.model import HealthCheckConfig
from fcemu.scheduling.health import Health, passes


def states(checks: str, failures: int = 3, successes: int = 1) -> str:
    """After each check (`+` passed, `-` failed) whether the instance is healthy: h or u."""
    config = HealthCheckConfig(httpGetUrl="/healthz", failureThreshold=failures, successThreshold=successes)
    health = Health(config)
    seen = ""
    for check in checks:
        before = health.healthy
        assert health.observe(check == "+") is (health.healthy is not before)
        seen += "h" if health.healthy else "u"
    return seen


@pytest.mark.parametrize(
    ("checks", "failures", "successes", "expected"),
    [
        ("+++", 3, 1, "hhh"),
        ("---", 3, 1, "hhu"),
        ("--+--+---", 3, 1, "hhhhhhhhu"),
        ("-+-+", 1, 1, "uhuh"),
        ("-++-+++", 1, 3, "uuuuuuh"),
    ],
)
def test_thresholds_count_checks_in_a_row(checks: str, failures: int, successes: int, expected: str) -> None:
    """A number of failures in a row make an instance unhealthy, a number of successes in a row healthy again."""
    assert states(checks, failures, successes) == expected


@pytest.mark.parametrize(("status", "expected"), [(199, False), (200, True), (399, True), (400, False), (500, False)])
def test_answer_of_200_to_399_passes(status: int, expected: bool) -> None:
    """A check passes with 200 to 399."""
    assert passes(status) is expected
