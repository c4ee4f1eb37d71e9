"""What does the scheduler ask its caller to do?"""

from __future__ import annotations

from dataclasses import dataclass

from fcemu.errors import FCError


@dataclass(slots=True)
class Assign:
    """Run the invocation on the instance. Not frozen: one is made for every invocation, and frozen ones cost more.

    Attributes:
        cold_start: the invocation waited for the instance to start.
    """

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
    """Start an instance of the function with this id."""

    function: str
    instance: str


@dataclass(frozen=True)
class Stop:
    """Stop the instance. The reason is for people."""

    instance: str
    reason: str


Action = Assign | Refuse | Start | Stop
