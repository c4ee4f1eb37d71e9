"""Drop an idle connection, as a NAT does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fcemu.faults.actions.action import Socket, SocketAction
from fcemu.faults.actions.failure import Failure, first

_FAILURES = {
    "rst": ("is reset by a NAT", "reconnect after 1006"),
    "fin": ("is closed by a NAT", "reconnect after 1006"),
    "blackhole": ("is dropped silently by a NAT", "reconnect when a ping is not answered"),
}


class IdleDrop(BaseModel):
    """What a NAT does with a connection without traffic (PAGE, "Connection keepalive").

    Attributes:
        after: seconds without traffic.
        mode: reset it, close it, or forget it: nothing passes any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    after: Annotated[float, Field(gt=0, strict=False)]
    mode: Literal["rst", "fin", "blackhole"] = "rst"


class Idle(SocketAction):
    """A socket without traffic for this many seconds is dropped: by `rst`, `fin`, or `blackhole` (neither side is
    notified). Pings count as traffic."""

    idle: IdleDrop

    @property
    def idle_for(self) -> float:
        return self.idle.after

    def apply(self, socket: Socket) -> None:
        {"rst": socket.reset, "fin": socket.finish, "blackhole": socket.forget}[self.idle.mode]()

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return tuple(
            Failure(
                f"nat-{mode}",
                f"the first connection {what} after {after:g} s without traffic",
                "PAGE",
                f"send pings more often than every {after:g} s (--after), or {otherwise}",
                rules=(first("websocket", idle={"after": after, "mode": mode}),),
                missed=f"none of its WebSockets lasted {after:g} s (--after)",
            )
            for mode, (what, otherwise) in _FAILURES.items()
        )
