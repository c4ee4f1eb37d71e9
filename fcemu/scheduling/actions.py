"""What does the scheduler ask its caller to do?"""

from __future__ import annotations

from dataclasses import dataclass

from fcemu.errors import FCError


@dataclass(slots=True)
class Assign:
    """Run the invocation on the instance."""

    invocation: str
    instance: str
    cold_start: bool


@dataclass(frozen=True)
class Refuse:
    """Answer the invocation with the error."""

    invocation: str
    error: FCError


@dataclass(frozen=True)
class Start:
    """Start an instance of the function under this id."""

    function: str
    instance: str


@dataclass(frozen=True)
class Stop:
    """End the instance."""

    instance: str
    reason: str


Action = Assign | Refuse | Start | Stop
