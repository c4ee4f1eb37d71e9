"""Close a socket with a code."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from fcemu.faults.actions.action import Socket, SocketAction
from fcemu.faults.actions.failure import Failure, first

_FAILURES = {1001: "going away", 1011: "internal error", 1012: "service restart", 1013: "try again later"}


def _sendable(code: int) -> int:
    """A code that a Close frame can have (RFC 6455 7.4)."""
    if 1004 <= code <= 1006 or 1015 <= code < 3000:
        raise ValueError(f"{code} cannot be sent in a Close frame; for 1006 write `cut: true`")
    return code


class Close(SocketAction):
    """The client gets a Close frame with this code, between two frames; the connection to the function ends."""

    close: Annotated[int, Field(ge=1000, le=4999), AfterValidator(_sendable)]

    def apply(self, socket: Socket) -> None:
        socket.close(self.close)

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return tuple(
            Failure(
                f"close-{code}",
                f"the first connection is closed with {code}, {meaning}",
                "RFC 6455 7.4.1",
                f"reconnect after {code}, and resend what was not answered",
                rules=(first("websocket", {"messages": 1}, close=code),),
                missed="none of its WebSockets carried a message",
            )
            for code, meaning in _FAILURES.items()
        )
