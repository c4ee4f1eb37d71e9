"""Which instance does a session live in, and until when? (D/04/007, D/04/010-013; fc-semantics 7.2)

* A session takes one of its instance's session slots for as long as it lives.
* Its life is limited from its beginning (TTL); each request restarts its idle time. While a request runs it is not
  idle (INF).
* A session ends with its instance (INF).
* An id that was used may be used again, for a new session; with `disableSessionIdReuse` it is refused for three days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fcemu.model import Function

_REFUSED_FOR = 3 * 24 * 3600.0
"""Seconds that an expired id is refused, where ids are not used again (D/04/010)."""


@dataclass
class _Session:
    id: str
    instance: str
    ends_at: float
    idle_since: float
    requests: int = 0


def sessions_of(function: Function) -> Sessions | None:
    """The sessions of a function, as its `sessionAffinity` says; None for NONE."""
    config = function.affinity
    if config is None:
        return None
    if function.sessionAffinity == "MCP_SSE":  # it lives as long as its stream, which has the execution timeout
        return Sessions(config.sessionConcurrencyPerInstance, life=function.timeout, streams=True)
    return Sessions(
        config.sessionConcurrencyPerInstance,
        life=config.sessionTTLInSeconds,
        idle=config.sessionIdleTimeoutInSeconds,
        reuse=not config.disableSessionIdReuse,
    )


@dataclass
class Sessions:
    """The sessions of one function. Times are monotonic seconds.

    Args:
        per_instance: session slots of an instance.
        life: seconds from the beginning of a session to its end.
        idle: seconds without a request after which it ends; 0 for no such limit.
        reuse: whether an id may be used again.
        streams: a session is a stream, and ends with the invocation that began it.
    """

    per_instance: int
    life: float
    idle: float = 0
    reuse: bool = True
    streams: bool = False
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _of_instance: dict[str, dict[str, _Session]] = field(default_factory=dict)
    _refused: dict[str, float] = field(default_factory=dict)

    def change(self, rules: Sessions) -> None:
        """Take over other rules; what lives goes on until it would have ended."""
        self.per_instance, self.life, self.idle = rules.per_instance, rules.life, rules.idle
        self.reuse, self.streams = rules.reuse, rules.streams

    def instance(self, id: str, now: float) -> str | None:
        """The instance of a living session; None if there is none of that id."""
        session = self._sessions.get(id)
        if session is not None and now >= self._end(session):
            self.end(id, now)
            return None
        return session.instance if session else None

    def is_refused(self, id: str, now: float) -> bool:
        """Whether the id was used up and may not be used again."""
        return self._refused.get(id, -math.inf) > now

    def has_slot(self, instance: str, now: float) -> bool:
        """Whether one more session can live in the instance."""
        return self.count(instance, now) < self.per_instance

    def count(self, instance: str, now: float) -> int:
        """How many sessions live in the instance."""
        for session in list(self._of_instance.get(instance, {}).values()):
            if now >= self._end(session):
                self.end(session.id, now)
        return len(self._of_instance.get(instance, {}))

    def begin(self, id: str, instance: str, now: float) -> None:
        """A session begins in an instance."""
        session = _Session(id, instance, now + self.life, now)
        self._sessions[id] = self._of_instance.setdefault(instance, {})[id] = session

    def rename(self, id: str, told: str) -> None:
        """A session that began without an id of its own is now known by the one that the function told."""
        session = self._sessions.pop(id, None)
        if session is not None:
            del self._of_instance[session.instance][id]
            session.id = told
            self._sessions[told] = self._of_instance[session.instance][told] = session

    def enter(self, id: str) -> None:
        """A request of the session begins."""
        if (session := self._sessions.get(id)) is not None:
            session.requests += 1

    def leave(self, id: str, now: float) -> None:
        """A request of the session ended."""
        if (session := self._sessions.get(id)) is not None:
            session.requests -= 1
            session.idle_since = now

    def end(self, id: str, now: float, spent: bool = True) -> None:
        """A session is over; unless it was never of use, its id is `spent`."""
        session = self._sessions.pop(id, None)
        if session is None:
            return
        rest = self._of_instance[session.instance]
        del rest[id]
        if not rest:
            del self._of_instance[session.instance]
        if spent and not self.reuse:
            self._refused = {old: until for old, until in self._refused.items() if until > now}
            self._refused[id] = now + _REFUSED_FOR

    def end_all(self, instance: str, now: float, spent: bool = True) -> None:
        """An instance is gone, and its sessions with it."""
        for id in list(self._of_instance.get(instance, {})):
            self.end(id, now, spent)

    def until(self, instance: str) -> float:
        """When the last of an instance's sessions ends if nothing more happens; minus infinity if it has none."""
        return max(map(self._end, self._of_instance.get(instance, {}).values()), default=-math.inf)

    def _end(self, session: _Session) -> float:
        if session.requests or not self.idle:
            return session.ends_at
        return min(session.ends_at, session.idle_since + self.idle)
