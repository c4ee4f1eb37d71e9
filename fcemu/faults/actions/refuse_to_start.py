"""Let an instance fail to start."""

from __future__ import annotations

from typing import Literal

from fcemu.faults.actions.action import Start, StartAction
from fcemu.faults.actions.failure import Failure, first


class RefuseToStart(StartAction):
    """The start of an instance fails with 412."""

    refuseToStart: Literal[True]

    def apply(self, start: Start) -> None:
        start.exit(1)

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "start-fails",
                "the first instance does not start: 412",
                "D/04/076",
                "retry after 412: the next instance may start",
                rules=(first(refuseToStart=True),),
            ),
        )
