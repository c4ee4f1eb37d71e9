"""Let little pass per second."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fcemu.faults.actions.action import Connection, ConnectionAction


class Bandwidth(ConnectionAction):
    """This many bytes pass per second."""

    bandwidth: Annotated[float, Field(gt=0, strict=False)]

    def apply(self, connection: Connection) -> None:
        connection.limit(self.bandwidth)
