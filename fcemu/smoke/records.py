"""What the journal recorded while the checks ran: how requests and instances ended."""

from __future__ import annotations

import asyncio
import contextlib

from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Journal, Notice, Record


class Records:
    """All records of a journal from now on, for as long as the checks run.

    Attributes:
        all: the records, oldest first.
    """

    def __init__(self, journal: Journal) -> None:
        self.all: list[Record] = []
        self._waiting: dict[str, asyncio.Future[InvocationEnded]] = {}
        journal.subscribe(self._keep)

    def _keep(self, record: Record) -> None:
        self.all.append(record)
        if isinstance(record, InvocationEnded):
            waiting = self._waiting.get(record.request_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(record)

    async def ended(self, request_id: str, timeout: float) -> InvocationEnded | None:
        """The end of an invocation. It may be recorded a little after the client has got the answer.

        Args:
            timeout: seconds to wait for it.

        Returns:
            The record; None if there is none in time.
        """
        for record in reversed(self.all):
            if isinstance(record, InvocationEnded) and record.request_id == request_id:
                return record
        waiting = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(waiting, timeout)
            return None
        finally:
            self._waiting.pop(request_id, None)

    def instance_of(self, request_id: str) -> str | None:
        """The id of the instance that got a request; None if no instance did."""
        started = (record for record in self.all if isinstance(record, InvocationStarted))
        return next((record.instance_id for record in started if record.request_id == request_id), None)

    def is_single_instance(self, function: str) -> bool:
        """Whether this machine can run only one instance of a function."""
        notices = (record for record in self.all if isinstance(record, Notice) and record.function == function)
        return any(notice.kind == "single-instance" for notice in notices)

    def exits(self, function: str, before: int | None = None) -> list[InstanceChanged]:
        """How instances of a function exited, oldest first.

        Args:
            before: how many of the records to look at; all if it is None.
        """
        return [
            record
            for record in self.all[:before]
            if isinstance(record, InstanceChanged)
            and (record.function, record.state) == (function, "ended")
            and record.exit_code is not None
        ]

    def unexpected_exits(self, function: str, before: int) -> list[InstanceChanged]:
        """How instances of a function exited that fcemu did not stop; `before` as for `exits`."""
        changes = (record for record in self.all if isinstance(record, InstanceChanged))
        stopped = {record.instance_id for record in changes if record.state == "stopping"}
        return [record for record in self.exits(function, before) if record.instance_id not in stopped]
