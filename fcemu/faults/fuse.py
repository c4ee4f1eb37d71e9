"""After how many bytes or messages does a fault happen to an answer or a socket?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fcemu.faults.pace import Direction
from fcemu.faults.rules import Fault
from fcemu.model import FaultAfter


@dataclass
class Fuse:
    """Counts the bytes and messages of a fault's `after`; its seconds are the caller's."""

    after: FaultAfter
    direction: Literal["both", "toClient", "toFunction"]
    bytes: int = 0
    messages: int = 0
    burnt: bool = False

    def burn(self) -> bool:
        """Let it burn down; returns whether it had not done so before."""
        burnt, self.burnt = self.burnt, True
        return not burnt

    def passed(self, direction: Direction, size: int, ends: Sequence[int]) -> int | None:
        """Count bytes; returns how many of them still pass before the fault happens, None if it does not happen yet.

        Args:
            size: the number of bytes.
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


def fired(
    fuses: Iterable[tuple[Fuse, Fault]], direction: Direction, size: int, ends: Sequence[int]
) -> list[tuple[int, Fault]]:
    """The faults that happen while bytes pass, each with how many of the bytes pass before it, in this order."""
    found = [(fuse.passed(direction, size, ends), fault) for fuse, fault in fuses]
    return sorted(((at, fault) for at, fault in found if at is not None), key=lambda pair: pair[0])
