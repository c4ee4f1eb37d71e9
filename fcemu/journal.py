"""What happened? A bounded list of records, in order, which subscribers receive as they are written.

The access log, the billing report and test assertions are views of these records. A record is never changed. The
classes are not frozen, because every request makes two records, and a frozen one with as many fields costs six times
as much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

ClosedBy = Literal["client", "function", "timeout", "reload", "fault", "shutdown", "error"]

InstancePhase = Literal["starting", "ready", "unhealthy", "healthy", "failed", "stopping", "ended"]

NoticeKind = Literal["single-instance", "debugger", "memory-limit", "back-off", "reload-failed"]
"""What a notice about a function is about:

single-instance  this machine can run only one instance of it
debugger         a debugger can attach to an instance
memory-limit     an instance was killed because it used more than its memorySize
back-off         the next start is delayed after several failed starts
reload-failed    the new code does not start; the previous code still serves
"""


@dataclass(slots=True)
class InvocationStarted:
    """An invocation was assigned to an instance."""

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
    """The HTTP status that the client got (101 for a WebSocket); None if it left before one was sent."""
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
    """Code of the Close frame that ended a WebSocket: 1005 if the frame had no code, 1006 if there was no frame."""
    closed_by: ClosedBy | None = None
    error: str | None = None
    """What the cloud would write after `FC Invoke End … Error:`."""


@dataclass(slots=True)
class HookCalled:
    """A lifecycle hook of an instance begins or ends."""

    wall_time: float
    function: str
    instance_id: str
    hook: Literal["Initialize", "PreStop"]
    phase: Literal["Start", "End"]
    request_id: str
    """A UUID, unlike an invocation's (semantics 5.6)."""
    error: str | None = None


@dataclass(slots=True)
class InstanceChanged:
    """An instance was started, became ready, failed or ended; or its health changed."""

    wall_time: float
    function: str
    instance_id: str
    state: InstancePhase
    detail: str = ""
    """For people; programs read the fields below."""
    exit_code: int | None = None
    """With `ended`: exit code of its process, 128 + n if signal n terminated it; None if it was given up earlier."""
    reason: Literal["memory-limit"] | None = None
    """With `ended`: set if the instance was killed because it used more than its memorySize."""


@dataclass(slots=True)
class FaultFired:
    """A fault rule caused a failure."""

    wall_time: float
    rule: str
    action: str
    function: str
    request_id: str | None
    """None if the fault was in the start of an instance."""
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
    """Something that the user should know, and what to do about it."""

    wall_time: float
    level: Literal["info", "warning", "error"]
    text: str
    """For people; programs read the fields below."""
    kind: NoticeKind | None = None
    """What the notice is about, if it is about a function."""
    function: str | None = None


Record = InvocationStarted | InvocationEnded | HookCalled | InstanceChanged | FaultFired | LogLine | Notice


class Journal:
    """The last `limit` records, and the subscribers that receive each one as it is written."""

    def __init__(self, limit: int = 10_000) -> None:
        self.records: deque[Record] = deque(maxlen=limit)
        self._subscribers: list[Callable[[Record], None]] = []

    def subscribe(self, subscriber: Callable[[Record], None]) -> Callable[[], None]:
        """Pass every further record to `subscriber`; returns a function that ends the subscription."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def write(self, record: Record) -> None:
        """Keep a record and pass it to the subscribers."""
        self.records.append(record)
        for subscriber in self._subscribers:
            subscriber(record)
