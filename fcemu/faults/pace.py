"""When do bytes go on that a fault slows down?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["toClient", "toFunction"]


@dataclass
class Pace:
    """The delay and the bandwidth of one direction of one connection.

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
        """It slows nothing down."""
        return not (self.delay or self.bandwidth)

    def due(self, size: int, now: float, chance: float) -> float:
        """When bytes that arrived now go on; never before those that arrived earlier.

        Args:
            chance: 0 to 1: from the shortest delay to the longest.
        """
        at = max(now + max(0.0, self.delay + self.jitter * (2 * chance - 1)), self._free_at)
        self._free_at = at + (size / self.bandwidth if self.bandwidth else 0.0)
        return self._free_at if self.bandwidth else at
