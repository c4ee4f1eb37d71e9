"""How a kit waits for records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Journal, LogLine, Record
from fcemu.testing.records import Activity, described, wait_for_end, wait_for_record

_T = TypeVar("_T")


def ended(request_id: str) -> InvocationEnded:
    """The end of an invocation."""
    return InvocationEnded(0.0, request_id, "fn", "LATEST", "GET", "/", kind="http", status=200, duration=0.1)


def line(text: str) -> LogLine:
    """A line that a function has printed."""
    return LogLine(0.0, "fn", "i-1", "stdout", text)


def during(wait: Callable[[Journal], Awaitable[_T]], before: list[Record], after: list[Record]) -> _T:
    """What a wait returns if some records are there before it begins, and others are written later."""
    journal = Journal()

    async def run() -> _T:
        for record in before:
            journal.write(record)
        for record in after:
            asyncio.get_running_loop().call_soon(journal.write, record)
        return await wait(journal)

    return asyncio.run(run())


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_nth_record_is_one_of_before_or_after(nth: int) -> None:
    """Records from before and after the call are counted alike."""
    lines = [line(str(number)) for number in range(1, 4)]
    found = during(lambda journal: wait_for_record(journal, lambda record: True, nth, 30.0), [lines[0]], [*lines[1:]])
    assert found is lines[nth - 1]


def test_record_that_does_not_come_is_a_timeout() -> None:
    """Without a matching record in time there is a TimeoutError."""
    with pytest.raises(TimeoutError):
        during(lambda journal: wait_for_record(journal, lambda record: False, 1, 0.01), [line("a")], [line("b")])


def test_end_is_found_by_request_id() -> None:
    """The end of an invocation is that of its request id."""
    found = during(lambda journal: wait_for_end(journal, "1-b"), [ended("1-a")], [ended("1-b")])
    assert found.request_id == "1-b"


def test_activity_ends_with_the_last_invocation() -> None:
    """Activity ends when every invocation that has started has ended, and knows all instances."""
    journal = Journal()

    async def run() -> tuple[bool, bool, bool]:
        activity = Activity(journal)
        at_first = await activity.ends(0.01)
        for request_id in ("1-a", "1-b"):
            journal.write(InvocationStarted(0.0, request_id, "fn", "i-1"))
        journal.write(InstanceChanged(0.0, "fn", "i-1", "ready"))
        journal.write(ended("1-a"))
        meanwhile = await activity.ends(0.01)
        asyncio.get_running_loop().call_soon(journal.write, ended("1-b"))
        assert activity.instances == {"i-1"}
        return at_first, meanwhile, await activity.ends(30.0)

    assert asyncio.run(run()) == (True, False, True)


def test_message_shows_the_last_records() -> None:
    """A message for a failing test is followed by the last twenty records."""
    text = described("no such record", [line(str(number)) for number in range(50)])
    assert text.startswith("no such record\n")
    assert [each.rpartition(" ")[2] for each in text.splitlines()[1:]] == [str(number) for number in range(30, 50)]
