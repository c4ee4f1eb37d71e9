"""Waits for records of the journal, and prints them for failing tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import cast

from fcemu import report
from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Journal, Record

_RECORDED_WITHIN = 2.0
"""Seconds to wait for the end of an invocation after its client has seen it: the function may take its time."""

_SHOWN = 20
"""Records to print in an error message."""


async def wait_for_record(journal: Journal, matches: Callable[[Record], bool], nth: int, timeout: float) -> Record:
    """The nth record that matches, among those in the journal and those to come.

    Args:
        matches: called with each record; whatever it raises is raised here.
        nth: counted from 1.
        timeout: seconds.

    Raises:
        TimeoutError: there is none in time.
    """
    found: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
    left = nth

    def look(record: Record) -> None:
        nonlocal left
        try:
            left -= bool(matches(record))
            if not left and not found.done():
                found.set_result(record)
        except Exception as error:
            if not found.done():
                found.set_exception(error)

    for record in journal.records:
        look(record)
    unsubscribe = journal.subscribe(look)
    try:
        async with asyncio.timeout(timeout):
            return await found
    finally:
        unsubscribe()


async def wait_for_end(journal: Journal, request_id: str) -> InvocationEnded:
    """The end of an invocation that is over for its client.

    Raises:
        TimeoutError: it is not recorded in time.
    """

    def matches(record: Record) -> bool:
        return isinstance(record, InvocationEnded) and record.request_id == request_id

    return cast(InvocationEnded, await wait_for_record(journal, matches, 1, _RECORDED_WITHIN))


class Activity:
    """What goes on in an emulator, from the records of its journal. Use it from the journal's event loop.

    Attributes:
        instances: the ids of all instances so far.
    """

    def __init__(self, journal: Journal) -> None:
        self.instances: set[str] = set()
        self._open: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        journal.subscribe(self._note)

    def _note(self, record: Record) -> None:
        match record:
            case InvocationStarted():
                self._open.add(record.request_id)
                self._idle.clear()
            case InvocationEnded():
                self._open.discard(record.request_id)
                if not self._open:
                    self._idle.set()
            case InstanceChanged():
                self.instances.add(record.instance_id)

    async def ends(self, timeout: float) -> bool:
        """Whether all open invocations end within this many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        return not self._open


def described(text: str, records: Sequence[Record]) -> str:
    """A message, followed by the last records in lines."""
    return "\n".join([text, *(f"  {line}" for record in records[-_SHOWN:] for line in report.as_text(record))])
