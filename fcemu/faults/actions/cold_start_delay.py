"""Let an instance take longer to start."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fcemu.faults.actions.action import Start, StartAction
from fcemu.faults.actions.failure import Failure, first


class ColdStartDelay(StartAction):
    """The start of an instance takes this many seconds longer."""

    coldStartDelay: Annotated[float, Field(gt=0, strict=False)]

    def apply(self, start: Start) -> None:
        start.delay(self.coldStartDelay)

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        return (
            Failure(
                "cold-start",
                "the first instance takes 3 s longer to start",
                "D/04/076",
                "allow more time for the handshake: in the cloud an instance may take 120 s to start",
                rules=(first(coldStartDelay=3),),
            ),
        )
