"""The billing examples of the vendor's page."""

from __future__ import annotations

import pytest

from fcemu.scheduling.billing import BillingMeter

T1, T2, T3, T4 = 1.0, 2.0, 3.0, 4.0

# (at, "start" | "end", invocation, instance) …, billable seconds; PAGE "Billing"
TABLE = [
    (
        "concurrency 1: from established to closed",
        [(T1, "start", "a"), (T3, "end", "a")],
        T3 - T1,
    ),
    (
        "concurrency 2: T4-T1, the overlap T2-T3 once",
        [(T1, "start", "a"), (T2, "start", "a"), (T3, "end", "a"), (T4, "end", "a")],
        T4 - T1,
    ),
    (
        "the same two connections in two instances: both in full",
        [(T1, "start", "a"), (T2, "start", "b"), (T3, "end", "a"), (T4, "end", "b")],
        (T3 - T1) + (T4 - T2),
    ),
    (
        "between last close and next connection nothing is billed",
        [(T1, "start", "a"), (T2, "end", "a"), (T3, "start", "a"), (T4, "end", "a")],
        (T2 - T1) + (T4 - T3),
    ),
]


@pytest.mark.parametrize(("what", "events", "seconds"), TABLE, ids=[row[0] for row in TABLE])
def test_example(what: str, events: list[tuple[float, str, str]], seconds: float) -> None:
    """The page's example costs what the page says."""
    meter = BillingMeter()
    for at, event, instance in events:
        if event == "start":
            meter.start(instance, at)
        else:
            meter.end(instance, "fn", at)
    assert meter.bill("fn").milliseconds == seconds * 1000
