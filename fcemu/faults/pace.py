"""When does a fault fire, and how slowly does a direction pass?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fcemu.model import FaultAfter

Direction = Literal["toClient", "toFunction"]


@dataclass
class Fuse:
    """Counts until a fault's `after` is reached: bytes and messages here, seconds by the caller's clock."""

    after: FaultAfter
    direction: Literal["both", "toClient", "toFunction"]
    bytes: int = 0
    messages: int = 0
    burnt: bool = False

    def passed(self, direction: Direction, size: int, ends: Sequence[int]) -> int | None:
        """Bytes pass; returns how many of them still do before it happens, or None if it does not yet.

        Args:
            size: how many bytes.
            ends: where messages end among them.
        """
        if self.burnt or self.direction not in ("both", direction):
            return None
        found: list[int] = []
        if self.after.bytes is not None and self.bytes + size >= self.after.bytes:
            found.append(self.after.bytes - self.bytes)
        if self.after.messages is not None and self.messages + len(ends) >= self.after.messages:
            found.append(ends[self.after.messages - self.messages - 1])
        self.bytes += size
        self.messages += len(ends)
        self.burnt = bool(found)
        return min(found) if found else None


@dataclass
class Pace:
    """When bytes may go on, one direction of one connection: later, and only so fast.

    Attributes:
        delay, jitter: seconds; the delay varies by the jitter both ways.
        bandwidth: bytes per second; 0 for no limit.
    """

    delay: float = 0.0
    jitter: float = 0.0
    bandwidth: float = 0.0
    _free_at: float = field(default=float("-inf"))

    @property
    def idle(self) -> bool:
        """It holds nothing back."""
        return not (self.delay or self.bandwidth)

    def due(self, size: int, now: float, chance: float) -> float:
        """When bytes that came now go on; never before those that came earlier.

        Args:
            chance: 0 to 1; says how much of the jitter.
        """
        at = max(now + max(0.0, self.delay + self.jitter * (2 * chance - 1)), self._free_at)
        self._free_at = at + (size / self.bandwidth if self.bandwidth else 0.0)
        return self._free_at if self.bandwidth else at
