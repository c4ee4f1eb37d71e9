"""The bill: the union of busy intervals."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fcemu.scheduling.billing import Bill, BillingMeter


def test_single_invocation_is_billed_from_start_to_end() -> None:
    """With concurrency 1 an invocation is billed for its own time, rounded up to 1 ms."""
    meter = BillingMeter()
    meter.start("i", 10.0)
    assert meter.end("i", "fn", 10.04227) == 43
    assert meter.bill("fn") == Bill(1, 43)


def test_idle_time_between_invocations_is_free() -> None:
    """Nothing is billed while an instance has nothing to do."""
    meter = BillingMeter()
    for start in (0.0, 100.0):
        meter.start("i", start)
        meter.end("i", "fn", start + 1)
    assert meter.bill("fn") == Bill(2, 2000)


def test_instances_are_billed_on_their_own() -> None:
    """Two instances busy at once are billed twice."""
    meter = BillingMeter()
    meter.start("i", 0.0)
    meter.start("j", 0.0)
    assert meter.end("i", "fn", 1.0) + meter.end("j", "fn", 1.0) == 2000


def test_hook_is_billed_for_its_time_but_is_no_call() -> None:
    """The time of a lifecycle hook is on the bill, the call is not."""
    meter = BillingMeter()
    meter.start("i", 0.0)
    assert meter.end("i", "fn", 1.0, calls=0) == 1000
    assert meter.bill("fn") == Bill(0, 1000)


def test_bill_of_a_function_that_never_ran_is_empty() -> None:
    """A function without invocations has an empty bill."""
    assert BillingMeter().bill("fn") == Bill(0, 0)


def test_resource_use_is_configured_size_times_duration() -> None:
    """Memory and vCPU are billed as configured, not as used."""
    bill = Bill(1, 2000)
    assert bill.memory_gb_seconds(512) == 1.0
    assert bill.vcpu_seconds(0.5) == 1.0


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=12))
def test_shares_add_up_to_the_union_and_never_exceed_wall_time(intervals: list[tuple[int, int]]) -> None:
    """However invocations overlap, their shares are the union of the busy intervals, each rounded up."""
    spans = sorted((min(a, b) / 7, max(a, b) / 7) for a, b in intervals)
    events = sorted(
        [(start, 0, n) for n, (start, _) in enumerate(spans)] + [(end, 1, n) for n, (_, end) in enumerate(spans)]
    )
    meter = BillingMeter()
    total = 0
    for at, kind, _ in events:
        if kind == 0:
            meter.start("i", at)
        else:
            share = meter.end("i", "fn", at)
            assert share >= 0
            total += share
    expected, begin, end = 0, *spans[0]
    for start, stop in spans[1:]:
        if start > end:
            expected += math.ceil((end - begin) * 1000 - 1e-6)
            begin, end = start, stop
        end = max(end, stop)
    expected += math.ceil((end - begin) * 1000 - 1e-6)
    assert abs(total - expected) <= 1
    assert total <= math.ceil((spans[-1][1] if len(spans) == 1 else max(e for _, e in spans)) * 1000) + len(spans)


def test_bills_can_start_from_zero() -> None:
    """Clearing forgets what was billed; an invocation that is running is billed from its start."""
    meter = BillingMeter()
    meter.start("i1", 0.0)
    meter.end("i1", "fn", 1.0)
    meter.start("i1", 1.0)
    meter.clear()
    assert meter.bill("fn") == Bill()
    meter.end("i1", "fn", 3.0)
    assert meter.bill("fn") == Bill(1, 2000)
