"""Let everything arrive later."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fcemu.faults.actions.action import Connection, ConnectionAction
from fcemu.faults.actions.failure import Failure


class Delay(ConnectionAction):
    """Data arrives this many seconds late, plus or minus the jitter; the order is kept. An HTTP request waits before it
    reaches the function."""

    delay: Annotated[float, Field(gt=0, strict=False)]
    jitter: Annotated[float | None, Field(gt=0, strict=False, description="varies a `delay`")] = None

    def apply(self, connection: Connection) -> None:
        connection.delay(self.delay, self.jitter or 0.0)

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "slow-line",
                "all data is delayed by 0.2 s ± 0.1 s, and limited to 20 kB/s",
                "INF",
                "allow more time for answers",
                rules=({"delay": 0.2, "jitter": 0.1}, {"bandwidth": 20_000}),
            ),
        )
