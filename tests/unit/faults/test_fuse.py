"""When a fault happens: after bytes or messages."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.faults.fuse import Fuse, fired
from fcemu.faults.rules import Fault
from fcemu.model import FaultAfter, FaultRule


@pytest.mark.parametrize(
    ("after", "direction", "expected"),
    [
        ({"bytes": 0}, "both", 0),
        ({"bytes": 15}, "both", 5),
        ({"bytes": 20}, "both", 10),
        ({"bytes": 21}, "both", None),
        ({"messages": 2}, "both", 4),
        ({"messages": 3}, "both", 8),
        ({"messages": 4}, "both", None),
        ({"bytes": 17, "messages": 2}, "both", 4),
        ({"messages": 1}, "toFunction", None),
        ({"bytes": 5}, "toFunction", None),
    ],
)
def test_fuse_burns_behind_the_right_byte(after: dict[str, Any], direction: Any, expected: int | None) -> None:
    """After ten bytes and a message, of ten more bytes with messages that end at 4 and 8 this many still pass."""
    fuse = Fuse(FaultAfter.model_validate(after), direction)
    if after != {"bytes": 0}:
        assert fuse.passed("toClient", 10, [10]) is None
    assert fuse.passed("toClient", 10, [4, 8]) == expected
    assert fuse.passed("toClient", 100, [50]) is None or expected is None


def test_fuse_burns_once() -> None:
    """A fuse that the caller's clock has burnt does not burn again, neither by time nor by bytes."""
    fuse = Fuse(FaultAfter(bytes=1, seconds=1), "both")
    assert fuse.burn()
    assert not fuse.burn()
    assert fuse.passed("toClient", 10, []) is None


def test_faults_fire_in_the_order_of_the_bytes() -> None:
    """Of several faults that fire within one piece, the one with fewer bytes before it comes first."""
    late, early, never = (
        Fault(FaultRule.model_validate({"cut": True, "name": name, "after": {"bytes": after}}))
        for name, after in (("late", 8), ("early", 3), ("never", 11))
    )
    fuses = [(Fuse(fault.rule.after, "both"), fault) for fault in (late, early, never) if fault.rule.after is not None]
    assert [(at, fault.name) for at, fault in fired(fuses, "toClient", 10, [])] == [(3, "early"), (8, "late")]
