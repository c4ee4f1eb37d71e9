"""What is a fault action, and what does it act on?

An action is a class in a file of its own, listed in `registry`. Its fields are its keys in a rule of `fcemu.faults`:
the first names the action, the others are further numbers of it. Its docstring is its line in the documentation. Its
base class says what it happens to: requests, starts, connections, or sockets only.

The places where faults happen (`gateway/faulty_*.py`, `instances/faulty_start.py`) implement the protocols.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from fcemu.errors import FCError
from fcemu.faults.actions.failure import Failure


class Start(Protocol):
    """The start of an instance."""

    def delay(self, seconds: float) -> None:
        """Make it take longer."""
        ...

    def exit(self, code: int) -> None:
        """Let the server exit before it listens.

        Raises:
            FCError: CA_EXITED.
        """
        ...


class Connection(Protocol):
    """An HTTP answer or an open WebSocket, with the instance that serves it."""

    def cut(self) -> None:
        """Drop the client's connection, without a Close frame."""
        ...

    def crash(self) -> None:
        """Kill the instance."""
        ...

    def stall(self) -> None:
        """Pass nothing on any more in the directions of the rule."""
        ...

    def delay(self, seconds: float, jitter: float) -> None:
        """Pass everything on later in the directions of the rule; both numbers in seconds."""
        ...

    def limit(self, bandwidth: float) -> None:
        """Pass at most this many bytes per second in the directions of the rule."""
        ...


class Socket(Connection, Protocol):
    """An open WebSocket."""

    def close(self, code: int) -> None:
        """Send the client a Close frame between two frames, and close both connections."""
        ...

    def finish(self) -> None:
        """Close both connections without a Close frame (FIN)."""
        ...

    def reset(self) -> None:
        """Reset both connections (RST)."""
        ...

    def forget(self) -> None:
        """Pass nothing on any more in either direction."""
        ...


class Action(BaseModel):
    """What a rule does, with its numbers.

    Attributes:
        key: the rule's key that names the action.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    key: ClassVar[str]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        cls.key = next(iter(cls.model_fields), "")

    @classmethod
    def description(cls) -> str:
        """What it does, in one line without a full stop."""
        return " ".join((cls.__doc__ or "").split()).removesuffix(".")

    @classmethod
    def failures(cls, after: float) -> tuple[Failure, ...]:
        """The documented failures that it causes; `fcemu matrix` has a scenario for each.

        Args:
            after: seconds that a connection is idle before a failure that depends on time acts on it.
        """
        return ()

    @property
    def idle_for(self) -> float | None:
        """Seconds without traffic after which it happens; None if the rule's `after` decides."""
        return None


class RequestAction(Action):
    """It happens to a request before a function is chosen to run."""

    @abstractmethod
    def refusal(self, fault: str, function: str) -> FCError:
        """The answer that the client gets.

        Args:
            fault: the name of the rule.
            function: the name of the function that the request is for.
        """


class StartAction(Action):
    """It happens to the start of an instance."""

    @abstractmethod
    def apply(self, start: Start) -> None:
        """Let it happen."""


class ConnectionAction(Action):
    """It happens to an HTTP answer or to an open WebSocket."""

    @abstractmethod
    def apply(self, connection: Connection) -> None:
        """Let it happen."""


class SocketAction(Action):
    """It happens to an open WebSocket only."""

    @abstractmethod
    def apply(self, socket: Socket) -> None:
        """Let it happen."""
