"""Let a connection go silent."""

from __future__ import annotations

from typing import Literal

from fcemu.faults.actions.action import Connection, ConnectionAction
from fcemu.faults.actions.failure import Failure, first_connection


class Stall(ConnectionAction):
    """Nothing passes any more, and neither side is notified."""

    stall: Literal[True]

    def apply(self, connection: Connection) -> None:
        connection.stall()

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "half-open",
                "the first connection is dead after its first message, but neither end notices",
                "INF",
                "send pings, and reconnect when one is not answered",
                rules=first_connection({"messages": 1}, stall=True),
            ),
        )
