"""What happened? One record per fact, kept in order, bounded, and handed to whoever subscribed.

The access log, the billing report and test assertions are views of these records. Nobody changes one. They are not
frozen, because two are made for every request, and a frozen one of so many fields costs six times as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ClosedBy = Literal["client", "function", "timeout", "reload", "fault", "shutdown", "error"]


@dataclass(slots=True)
class InvocationStarted:
    """An invocation was handed to an instance."""

    wall_time: float
    request_id: str
    function: str
    instance_id: str


@dataclass(slots=True)
class InvocationEnded:
    """A request is over: answered, refused, cut, or its WebSocket closed."""

    wall_time: float
    request_id: str
    function: str | None
    qualifier: str | None
    method: str
    target: str
    kind: Literal["http", "websocket"]
    status: int | None
    """The HTTP status the client got (101 for a socket); None if it left before one was sent."""
    duration: float
    """Seconds from the request's arrival to its end."""
    error_code: str | None = None
    reason: str | None = None
    remedy: str | None = None
    instance_id: str | None = None
    cold_start: bool = False
    billed_ms: int = 0
    """Milliseconds that this invocation added to its instance's bill."""
    close_code: int | None = None
    """Code of the Close frame that ended a socket; 1005 for one without a code, 1006 for none at all."""
    closed_by: ClosedBy | None = None
    error: str | None = None
    """What the cloud would write behind `FC Invoke End … Error:`."""


@dataclass(slots=True)
class HookCalled:
    """A lifecycle hook of an instance begins or ends."""

    wall_time: float
    function: str
    instance_id: str
    hook: Literal["Initialize", "PreStop"]
    phase: Literal["Start", "End"]
    request_id: str
    """A UUID, unlike an invocation's (fc-semantics 5.6)."""
    error: str | None = None


@dataclass(slots=True)
class InstanceChanged:
    """An instance was started, became ready, failed or ended; or its health changed."""

    wall_time: float
    function: str
    instance_id: str
    state: Literal["starting", "ready", "unhealthy", "healthy", "failed", "stopping", "ended"]
    detail: str = ""


@dataclass(slots=True)
class FaultFired:
    """Something went wrong on purpose."""

    wall_time: float
    rule: str
    action: str
    function: str
    request_id: str | None
    """None where it happened to the start of an instance."""
    instance_id: str | None


@dataclass(slots=True)
class LogLine:
    """One line that a function's process wrote."""

    wall_time: float
    function: str
    instance_id: str
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(slots=True)
class Notice:
    """Something the user should know about, with what to do."""

    wall_time: float
    level: Literal["info", "warning", "error"]
    text: str


Record = InvocationStarted | InvocationEnded | HookCalled | InstanceChanged | FaultFired | LogLine | Notice


class Journal:
    """The last `limit` records, and the subscribers who get each one as it is written."""

    def __init__(self, limit: int = 10_000) -> None:
        self.records: deque[Record] = deque(maxlen=limit)
        self._subscribers: list[Callable[[Record], None]] = []

    def subscribe(self, subscriber: Callable[[Record], None]) -> Callable[[], None]:
        """Hand every further record to `subscriber`; returns what ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def write(self, record: Record) -> None:
        """Keep a record and hand it on."""
        self.records.append(record)
        for subscriber in self._subscribers:
            subscriber(record)
