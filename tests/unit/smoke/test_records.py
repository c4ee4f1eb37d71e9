"""What the checks find in the journal's records."""

from __future__ import annotations

import asyncio

from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Journal
from fcemu.smoke.records import Records


def ended(request_id: str) -> InvocationEnded:
    """The end of an invocation."""
    return InvocationEnded(0.0, request_id, "fn", "LATEST", "GET", "/", kind="http", status=200, duration=0.1)


def records_of(*changes: tuple[str, str, int | None]) -> Records:
    """Records of instances: (instance id, state, exit code) each."""
    journal = Journal()
    records = Records(journal)
    for instance, state, code in changes:
        journal.write(InstanceChanged(0.0, "fn", instance, state, exit_code=code))  # type: ignore[arg-type]
    return records


def test_end_that_is_recorded_is_found() -> None:
    """The end of an invocation is found by its request id, and the instance that got the request."""
    journal = Journal()
    records = Records(journal)
    journal.write(InvocationStarted(0.0, "1-b", "fn", "i-1"))
    for request_id in ("1-a", "1-b"):
        journal.write(ended(request_id))
    assert asyncio.run(records.ended("1-b", 1.0)) == ended("1-b")
    assert records.instance_of("1-b") == "i-1"
    assert records.instance_of("1-a") is None


def test_end_that_is_recorded_later_is_waited_for() -> None:
    """The end of an invocation may be recorded after it was asked for; if it is not, the answer is None."""
    journal = Journal()
    records = Records(journal)

    async def later() -> InvocationEnded | None:
        asyncio.get_running_loop().call_later(0.01, journal.write, ended("1-a"))
        return await records.ended("1-a", 30.0)

    assert asyncio.run(later()) == ended("1-a")
    assert asyncio.run(records.ended("1-b", 0.01)) is None


def test_exits_after_a_stop_are_expected() -> None:
    """An exit is unexpected if it is older than the stop and fcemu had not stopped the instance."""
    records = records_of(
        ("i-1", "ended", 3),
        ("i-2", "stopping", None),
        ("i-2", "ended", 0),
        ("i-3", "ended", 1),
        ("i-4", "ended", None),
    )
    assert [record.exit_code for record in records.exits("fn")] == [3, 0, 1]
    assert [record.instance_id for record in records.unexpected_exits("fn", before=3)] == ["i-1"]
    assert records.exits("other") == []
