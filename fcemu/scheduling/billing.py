"""What would the cloud bill? (PAGE "Billing"; D/03/01, D/04/034)

Each instance is billed for the union of its busy intervals, so overlapping invocations are billed once. With a
concurrency of 1 that is the sum of the invocations. Refused requests are not billed. Times are rounded up to 1 ms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class _Interval:
    """The current busy interval of an instance."""

    billed_until: float
    in_flight: int = 0
    seconds: float = 0.0
    milliseconds: int = 0


@dataclass
class _Total:
    """The running total of a function."""

    invocations: int = 0
    milliseconds: int = 0


@dataclass(frozen=True)
class Bill:
    """What one function has cost."""

    invocations: int = 0
    milliseconds: int = 0

    def memory_gb_seconds(self, memory_mb: int) -> float:
        """Configured memory × billed time (D/03/01)."""
        return memory_mb / 1024 * self.milliseconds / 1000

    def vcpu_seconds(self, cpu: float) -> float:
        """Configured vCPU × billed time (D/03/01)."""
        return cpu * self.milliseconds / 1000


class BillingMeter:
    """Measures the busy time of instances, in monotonic seconds. Each `end` must follow a `start` of its instance."""

    def __init__(self) -> None:
        self._intervals: dict[str, _Interval] = {}
        self._totals: dict[str, _Total] = {}

    def start(self, instance_id: str, now: float) -> None:
        """An invocation begins on an instance."""
        interval = self._intervals.get(instance_id)
        if interval is None:
            interval = self._intervals[instance_id] = _Interval(billed_until=now)
        interval.in_flight += 1

    def end(self, instance_id: str, function: str, now: float, calls: int = 1) -> int:
        """An invocation ends; returns the milliseconds that it adds to the bill.

        The shares of a busy interval add up to its length, rounded up to 1 ms. Where two invocations overlap, the first
        to end is charged the time until then, and the second one the rest.

        Args:
            calls: invocations to count; 0 for a lifecycle hook, whose time is billed but which is no call (D/03/01).
        """
        interval = self._intervals[instance_id]
        interval.in_flight -= 1
        interval.seconds += max(0.0, now - interval.billed_until)
        interval.billed_until = now
        # 1e-6: the rounding errors of a sum of floats must not turn an exact millisecond into the next one.
        total = math.ceil(interval.seconds * 1000 - 1e-6)
        share = total - interval.milliseconds
        interval.milliseconds = total
        if interval.in_flight == 0:
            del self._intervals[instance_id]
        bill = self._totals.get(function)
        if bill is None:
            bill = self._totals[function] = _Total()
        bill.invocations += calls
        bill.milliseconds += share
        return share

    def clear(self) -> None:
        """Set all bills to zero. Invocations that are running are billed from their start."""
        self._totals.clear()

    def bill(self, function: str) -> Bill:
        """What a function has cost so far, without invocations that are still running."""
        total = self._totals.get(function, _Total())
        return Bill(total.invocations, total.milliseconds)
