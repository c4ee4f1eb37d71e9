"""Let a connection break."""

from __future__ import annotations

from typing import Literal

from fcemu.faults.actions.action import Connection, ConnectionAction
from fcemu.faults.actions.failure import RECONNECT, Failure, first, first_connection


class Cut(ConnectionAction):
    """The client's connection is dropped without a Close frame: 1006."""

    cut: Literal[True]

    def apply(self, connection: Connection) -> None:
        connection.cut()

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "cut-early",
                "the first connection breaks after its first message: 1006",
                "PAGE",
                RECONNECT,
                rules=first_connection({"messages": 1}, cut=True),
            ),
            Failure(
                "cut-mid-frame",
                "the first connection breaks in the middle of a frame: 1006",
                "PAGE",
                RECONNECT,
                rules=(first("websocket", {"bytes": 3}, direction="toClient", cut=True),),
                missed="it received no message",
            ),
            Failure(
                "cut-late",
                "the first connection breaks after its fifth message: 1006",
                "PAGE",
                RECONNECT,
                rules=(first("websocket", {"messages": 5}, cut=True),),
                missed="its first WebSocket had fewer than five messages",
            ),
        )
