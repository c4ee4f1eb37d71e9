"""An instance that accepts requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fcemu.model import Function
from fcemu.processes.memory import memory_mb
from fcemu.processes.process import FunctionProcess


class HeldLease(Protocol):
    """What an instance knows of a lease on it.

    Attributes:
        cut: ends the invocation when the instance is stopped; None if it needs no help.
    """

    cut: Callable[[], None] | None


class IdleConnection(Protocol):
    """An open connection that carries no request."""

    def abort(self) -> None:
        """Close it at once."""
        ...


@dataclass(eq=False)
class RunningInstance:
    """An instance that accepts requests.

    Attributes:
        host, port: where the front dials it.
        leases: of the invocations that it runs; the pool's.
        idle_since: monotonic seconds, while it runs none.
        debugged: a debugger may be attached: it may take all the time it wants.
        idle_connections: open connections to it that nobody uses; the gateway's.
    """

    id: str
    function: Function
    process: FunctionProcess
    host: str
    port: int
    debugged: bool = False
    leases: set[HeldLease] = field(default_factory=set)
    idle_since: float = 0.0
    idle_connections: list[IdleConnection] = field(default_factory=list)
    _memory: tuple[float, float] = (0.0, 0.0)

    def memory_mb(self, now: float) -> float:
        """Resident memory of its process tree in MB, at most a second old: many sockets of it may end together."""
        measured, memory = self._memory
        if now - measured > 1.0:
            memory = memory_mb(self.process.guard)
            self._memory = (now, memory)
        return memory

    def drop_connections(self) -> None:
        """Close what is open to it and unused."""
        for connection in self.idle_connections:
            connection.abort()
        self.idle_connections.clear()
