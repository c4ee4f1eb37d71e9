"""Which instances does a function have, and what state is each in?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto

from fcemu.errors import FCError
from fcemu.scheduling.sessions import Sessions

_FAILURES_BEFORE_BACK_OFF = 3
"""Failed starts in a row after which the next start is delayed."""

_LONGEST_BACK_OFF = 60.0
"""Seconds."""


@dataclass(frozen=True)
class Terms:
    """The limits and timeouts of a function's instances.

    Attributes:
        concurrency: invocations that an instance runs at the same time (`instanceConcurrency`).
        idle_timeout: seconds after which an idle instance is released.
        reserved: the highest number of instances (`reservedConcurrency`); None if only the account's quota applies.
        minimum: instances that are kept even if they are idle.
        drain: seconds in which an instance must finish its invocations once newer code has replaced it; infinity for
            no limit.
    """

    concurrency: int
    idle_timeout: float
    reserved: int | None = None
    minimum: int = 0
    drain: float = math.inf


class State(Enum):
    """What an instance is doing."""

    STARTING = auto()
    READY = auto()
    RETIRING = auto()  # accepts no new invocation; stops when its last one ends


@dataclass(eq=False)
class TrackedInstance:
    """An instance as the scheduler sees it."""

    id: str
    fleet: Fleet
    generation: int
    state: State = State.STARTING
    unhealthy: FCError | None = None
    """The error of its last health check, if the instance is unhealthy."""
    proven: bool = False
    """An invocation has ended in it, so its exit does not count as a failed start."""
    in_flight: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    """Invocations for which it is being started."""
    idle_since: float = 0.0
    drained_at: float = math.inf

    @property
    def old(self) -> bool:
        """Whether an instance with newer code has been ready."""
        return self.generation < self.fleet.serving

    @property
    def idle(self) -> bool:
        """Whether it has started and runs no invocation."""
        return not self.in_flight and self.state is not State.STARTING

    @property
    def has_room(self) -> bool:
        """Whether it accepts one more invocation."""
        waiting = len(self.waiting) if self.state is State.STARTING else 0
        full = len(self.in_flight) + waiting >= self.fleet.terms.concurrency
        return self.state is not State.RETIRING and self.unhealthy is None and not full

    def is_pinned(self, now: float) -> bool:
        """Whether it is old and must stay because sessions live in it (`onReload: pin`)."""
        sessions = self.fleet.sessions
        stays = self.old and self.fleet.terms.drain == math.inf
        return stays and sessions is not None and sessions.count(self.id, now) > 0

    def release_at(self) -> float:
        """When it will be released if nothing more happens; infinity if it stays. Its sessions keep it (INF)."""
        if not self.idle:
            return math.inf
        sessions, terms = self.fleet.sessions, self.fleet.terms
        sessions_end = sessions.until(self.id) if sessions is not None else -math.inf
        if self.state is State.RETIRING:
            return sessions_end
        if terms.minimum and len(self.fleet.counted()) <= terms.minimum:
            return math.inf
        return max(self.idle_since + terms.idle_timeout, sessions_end)


@dataclass(eq=False)
class Fleet:
    """The instances of one function, and the invocations that wait for one."""

    function: str
    terms: Terms
    sessions: Sessions | None = None
    limit: int | None = None
    limit_reason: str = ""
    generation: int = 1
    """Generation of the code that new instances run."""
    serving: int = 0
    """Newest generation of which an instance has been ready."""
    last_used: str = ""
    """Id of the instance that got the last invocation."""
    queue: list[str] = field(default_factory=list)
    """Invocations that wait and may run in any instance, oldest first."""
    instances: dict[str, TrackedInstance] = field(default_factory=dict)
    failures: int = 0
    """Failed starts in a row."""
    last_error: FCError | None = None
    retry_at: float = -math.inf
    """No instance is started before this time."""

    def starting(self) -> list[TrackedInstance]:
        """The instances that are starting, oldest first."""
        return [instance for instance in self.instances.values() if instance.state is State.STARTING]

    def counted(self) -> list[TrackedInstance]:
        """The instances that count towards limits and the minimum: all but old ones that only finish their work."""
        return [i for i in self.instances.values() if not (i.old and i.state is State.RETIRING)]

    def health_error(self) -> FCError | None:
        """The health check error of an unhealthy instance; None if all are healthy."""
        return next((i.unhealthy for i in self.instances.values() if i.unhealthy is not None), None)

    def count_failure(self, error: FCError, now: float) -> None:
        """Count a failed start. From the third in a row on, the next start is delayed, twice as long each time."""
        self.failures += 1
        self.last_error = error
        if self.failures >= _FAILURES_BEFORE_BACK_OFF:
            self.retry_at = now + min(2.0 ** (self.failures - _FAILURES_BEFORE_BACK_OFF), _LONGEST_BACK_OFF)

    def forget_failures(self) -> None:
        """Start counting failed starts from zero."""
        self.failures, self.retry_at = 0, -math.inf
