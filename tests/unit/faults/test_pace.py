"""How slowly a direction passes."""

from __future__ import annotations

from fcemu.faults.pace import Pace


def test_pace_keeps_the_order() -> None:
    """Bytes are late by the delay, vary by the jitter, and never overtake each other."""
    pace = Pace(delay=1.0, jitter=0.5)
    assert pace.due(10, now=0.0, chance=1.0) == 1.5
    assert pace.due(10, now=0.1, chance=0.0) == 1.5
    assert pace.due(10, now=5.0, chance=0.5) == 6.0


def test_pace_limits_the_bandwidth() -> None:
    """Bytes go on when the line has carried those before them."""
    pace = Pace(bandwidth=100.0)
    assert [pace.due(50, now, 0.5) for now in (0.0, 0.0, 10.0)] == [0.5, 1.0, 10.5]


def test_pace_is_idle() -> None:
    """A pace without a delay and a bandwidth slows nothing down."""
    assert Pace().idle
    assert not Pace(delay=1.0).idle
    assert not Pace(bandwidth=1.0).idle
