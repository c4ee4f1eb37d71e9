"""Kill an instance."""

from __future__ import annotations

from typing import Literal

from fcemu.faults.actions.action import Connection, ConnectionAction
from fcemu.faults.actions.failure import Failure, first_connection


class Crash(ConnectionAction):
    """The instance is killed."""

    crash: Literal[True]

    def apply(self, connection: Connection) -> None:
        connection.crash()

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "crash",
                "the first connection's instance crashes after its first message to the client",
                "D/04/034",
                "retry after 1006 or 502; do not keep state only in the memory of an instance",
                rules=first_connection({"messages": 1}, direction="toClient", crash=True),
            ),
        )
