"""Which instance does a session live in, and until when? (D/04/007, D/04/010-013; semantics 7.2)

* A session takes one of the session slots of its instance as long as it lives.
* The time from its beginning is limited (TTL), and so is the time without a request (idle time). A session with a
  running request is not idle (INF).
* A session ends with its instance (INF).
* The id of a session that has ended can begin a new session. With `disableSessionIdReuse` it is refused for three days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fcemu.model import Function

_REFUSED_FOR = 3 * 24 * 3600.0
"""Seconds for which the id of an ended session is refused if ids are not reused (D/04/010)."""


@dataclass
class _Session:
    id: str
    instance: str
    ends_at: float
    idle_since: float
    requests: int = 0


def sessions_of(function: Function) -> Sessions | None:
    """Empty sessions with the rules of a function's `sessionAffinity`; None for NONE."""
    config = function.affinity
    if config is None:
        return None
    if function.sessionAffinity == "MCP_SSE":  # it lives as long as its stream, which ends at the execution timeout
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
        idle: seconds without a request after which a session ends; 0 for no limit.
        reuse: whether the id of an ended session may begin a new one.
        streams: a session is a stream and ends with the invocation that began it.
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
        """Take over other rules. Living sessions keep the end that they have."""
        self.per_instance, self.life, self.idle = rules.per_instance, rules.life, rules.idle
        self.reuse, self.streams = rules.reuse, rules.streams

    def instance(self, id: str, now: float) -> str | None:
        """The instance of a living session; None if no session has this id."""
        session = self._sessions.get(id)
        if session is not None and now >= self._end(session):
            self.end(id, now)
            return None
        return session.instance if session else None

    def is_refused(self, id: str, now: float) -> bool:
        """Whether the id belonged to an ended session and may not be reused yet."""
        return self._refused.get(id, -math.inf) > now

    def has_slot(self, instance: str, now: float) -> bool:
        """Whether one more session can live in the instance."""
        return self.count(instance, now) < self.per_instance

    def count(self, instance: str, now: float) -> int:
        """Number of sessions that live in the instance."""
        for session in list(self._of_instance.get(instance, {}).values()):
            if now >= self._end(session):
                self.end(session.id, now)
        return len(self._of_instance.get(instance, {}))

    def begin(self, id: str, instance: str, now: float) -> None:
        """A session begins in an instance."""
        session = _Session(id, instance, now + self.life, now)
        self._sessions[id] = self._of_instance.setdefault(instance, {})[id] = session

    def rename(self, id: str, new: str) -> None:
        """A session that began without an id of its own gets the one that the function returned."""
        session = self._sessions.pop(id, None)
        if session is not None:
            del self._of_instance[session.instance][id]
            session.id = new
            self._sessions[new] = self._of_instance[session.instance][new] = session

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
        """A session ends.

        Args:
            spent: the id has been used; False if the instance of a new session failed to start.
        """
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
        """An instance ends, and its sessions with it. `spent` as in `end`."""
        for id in list(self._of_instance.get(instance, {})):
            self.end(id, now, spent)

    def until(self, instance: str) -> float:
        """When the last session of an instance ends if no request comes; minus infinity if it has no session."""
        return max(map(self._end, self._of_instance.get(instance, {}).values()), default=-math.inf)

    def _end(self, session: _Session) -> float:
        if session.requests or not self.idle:
            return session.ends_at
        return min(session.ends_at, session.idle_since + self.idle)
