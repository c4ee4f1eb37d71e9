"""What do several runs say together? Medians, and ratios of runs of the same round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.works import Work

BASE = "nginx"
"""Whom all others are compared with."""

TUNED = "nginx-64k"
"""Whom they are compared with besides, where messages or bodies are large."""

ANONYMOUS = "fcemu, anonymous"
"""Whom a guarded function is compared with."""


@dataclass(frozen=True)
class Run:
    """One run of a client against a front.

    Attributes:
        seconds: how long it took.
        p50, p99: microseconds that an operation took.
        front, client, backend: seconds of CPU time.
        held, dropped: idle sockets, and how many of them ended.
        memory: bytes of the front for each idle socket.
    """

    operations: int
    seconds: float
    p50: float
    p99: float
    front: float
    client: float
    backend: float
    held: int = 0
    dropped: int = 0
    memory: float | None = None


@dataclass(frozen=True)
class Figure:
    """A number with a name; `key` is what targets know it by."""

    key: str
    what: str
    value: float
    unit: str


@dataclass
class Measured:
    """What came of one work.

    Attributes:
        runs: of each row one per round.
        without: why a row has no figures.
        of: what its rows are.
        base: the row that all others are compared with.
    """

    work: Work
    runs: dict[str, list[Run]] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    of: str = "front"
    base: str = BASE

    def ratio(self, row: str, base: str | None = None) -> float | None:
        """Front CPU of a row relative to another."""
        return ratio(self._of(row), self._of(base or self.base))

    def above(self, row: str) -> float | None:
        """Microseconds of front CPU of a row above the anonymous one."""
        return difference(self._of(row), self._of(ANONYMOUS))

    def memory(self, row: str) -> float | None:
        """Bytes of the front for each idle socket."""
        found = [run.memory for run in self._of(row) if run.memory is not None]
        return median(found) if found else None

    def lost(self, row: str) -> int | None:
        """Idle sockets that could not be opened or did not stay, in the worst run."""
        return max((self.work.connections - run.held + run.dropped for run in self._of(row)), default=None)

    def _of(self, row: str) -> list[Run]:
        return [] if row in self.without else self.runs.get(row, [])


def per_second(run: Run) -> float:
    """Operations per second."""
    return run.operations / run.seconds


def front_us(run: Run) -> float:
    """Microseconds of the front's CPU time for one operation."""
    return run.front * 1e6 / run.operations


def median_of(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    """The median of a value."""
    return median(map(value, runs))


def ratio(runs: Sequence[Run], base: Sequence[Run]) -> float | None:
    """The front's CPU time for an operation, relative to another front's: the median of the rounds' ratios.

    What disturbs the machine for a while disturbs both runs of a round, so that their ratio is steadier than the ratio
    of the medians. None where one of them used no time, or where rounds are missing.
    """
    if not runs or len(runs) != len(base) or any(run.front <= 0 for run in (*runs, *base)):
        return None
    return median(front_us(one) / front_us(other) for one, other in zip(runs, base, strict=True))


def difference(runs: Sequence[Run], base: Sequence[Run]) -> float | None:
    """Microseconds of the front's CPU time for an operation above another's: the median of the rounds' differences."""
    if not runs or len(runs) != len(base):
        return None
    return median(front_us(one) - front_us(other) for one, other in zip(runs, base, strict=True))
