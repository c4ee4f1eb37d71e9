"""Which instances does a function have, and in which state is each?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto

from fcemu.errors import FCError
from fcemu.scheduling.sessions import Sessions


@dataclass(frozen=True)
class Terms:
    """What the instances of a function are subject to.

    Attributes:
        concurrency: invocations that one takes at once.
        idle_timeout: seconds after which an idle one is released.
        reserved: at most so many; None for no limit of its own.
        minimum: so many are kept.
        drain: seconds that they have to finish once newer code is there; infinity for all the time they need.
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
    RETIRING = auto()  # takes nothing new; stops when its last invocation ends


@dataclass(eq=False)
class PlacedInstance:
    """An instance as the scheduler sees it."""

    id: str
    function: FunctionGroup
    generation: int
    state: State = State.STARTING
    unhealthy: FCError | None = None
    """What its last checks said, if it failed too many."""
    proven: bool = False
    """An invocation ended in it, so that its death is no failure to start."""
    in_flight: set[str] = field(default_factory=set)
    waiting: list[str] = field(default_factory=list)
    """Invocations for which it is being started."""
    idle_since: float = 0.0
    drained_at: float = math.inf

    @property
    def old(self) -> bool:
        """Newer code has taken its place."""
        return self.generation < self.function.serving

    @property
    def idle(self) -> bool:
        """It runs no invocation."""
        return not self.in_flight and self.state is not State.STARTING

    @property
    def has_room(self) -> bool:
        """It takes new invocations."""
        waiting = len(self.waiting) if self.state is State.STARTING else 0
        full = len(self.in_flight) + waiting >= self.function.terms.concurrency
        return self.state is not State.RETIRING and self.unhealthy is None and not full


@dataclass(eq=False)
class FunctionGroup:
    """A function, its instances, and the invocations that wait for one."""

    name: str
    terms: Terms
    sessions: Sessions | None = None
    limit: int | None = None
    limit_reason: str = ""
    generation: int = 1
    """Of the code that new instances run."""
    serving: int = 0
    """The newest generation that had a ready instance."""
    last_used: str = ""
    queue: list[str] = field(default_factory=list)
    """Invocations that wait and may run in any instance, oldest first."""
    instances: dict[str, PlacedInstance] = field(default_factory=dict)
    failures: int = 0
    last_error: FCError | None = None
    retry_at: float = -math.inf

    def starting(self) -> list[PlacedInstance]:
        return [instance for instance in self.instances.values() if instance.state is State.STARTING]

    def counted(self) -> list[PlacedInstance]:
        """Those that count against limits and for the minimum: old ones that only finish do not."""
        return [i for i in self.instances.values() if not (i.old and i.state is State.RETIRING)]
