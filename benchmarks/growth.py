"""How does front CPU for an operation grow? fcemu alone, point by point, as there is more of something else."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks import fronts, loads, processes
from benchmarks.figures import Measured, Run
from benchmarks.fronts import Front
from benchmarks.machine import Failed, Machine
from benchmarks.works import Work

Grows = Literal["idle sockets", "functions", "instances"]


@dataclass(frozen=True)
class Curve:
    """A work that is done at several points.

    Attributes:
        grows: what there is more of at each point: sockets that the client holds, functions of the account, of which
            one is asked, or instances of this one.
        points: how many there are; all others are compared with the first.
        quick: the points of a quick run.
    """

    work: Work
    grows: Grows
    points: tuple[int, ...]
    quick: tuple[int, ...]


CURVES = (
    Curve(
        Work("sockets", "WebSocket ping-pong, 100 sockets, 64 B, beside idle ones", "idle", 0),
        "idle sockets",
        (0, 1000, 4000, 9000),
        (0, 200),
    ),
    Curve(
        Work("functions", "HTTP GET, 64 keep-alive connections, to one function of several", "get", 64),
        "functions",
        (1, 10, 100, 300),
        (1, 10),
    ),
    Curve(
        Work("instances", "HTTP GET, 64 keep-alive connections, to one of several instances", "get", 64),
        "instances",
        (1, 10, 50),
        (1, 3),
    ),
    Curve(
        Work("instances-handshake", "WebSocket handshake, 16 at a time, to one of several instances", "handshake", 16),
        "instances",
        (1, 10, 50),
        (1, 3),
    ),
)


def measure(machine: Machine, curve: Curve, points: Sequence[int], rounds: int, seconds: float) -> Measured:
    """Measure a curve: in each round every point once, with a front of its own that runs alone."""
    rows = {f"{count:,}": count for count in points}
    measured = Measured(curve.work, {row: [] for row in rows}, of=curve.grows, base=next(iter(rows)))
    for _ in range(rounds):
        for row, count in rows.items():
            if row in measured.without:
                continue
            with (
                loads.noted(measured, row),
                fronts.fcemu(machine, partial(configuration, curve.grows, count)) as front,
            ):
                measured.runs[row].append(_run(machine, front, curve, count, seconds))
    return measured


def configuration(grows: Grows, count: int, machine: Machine, listens: Path) -> dict[str, object]:
    """The trigger's configuration for a point. Of several functions only the one that is asked has an instance."""
    several = grows == "functions"
    others = [f"other-{number}" for number in range(1, count if several else 1)]
    bench, *rest = (fronts.function(machine, listens, name, fronts.ANYBODY) for name in ("bench", *others))
    if grows == "instances":
        bench["scalingConfig"] = {"minInstances": count}
    return {"functions": [*rest, bench], "fcemu": {"start": "lazy" if several else "eager"}}


def _run(machine: Machine, front: Front, curve: Curve, count: int, seconds: float) -> Run:
    """One run at a point.

    Raises:
        Failed: it went wrong, or instances are missing, or there are more.
    """
    if curve.grows == "idle sockets":  # they need as many instances as they need
        return loads.run(machine, front, replace(curve.work, connections=count), None, seconds)
    _ask(front)
    run = loads.run(machine, front, curve.work, None, seconds)
    wanted = count if curve.grows == "instances" else 1
    if (found := len(processes.running(machine.backend))) != wanted:
        raise Failed(f"{found} instances run instead of {wanted}")
    return run


def _ask(front: Front) -> None:
    """Ask the function once: its cold start may take longer than the client warms up, and is no part of an operation.

    Raises:
        Failed: there was no good answer.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)) as connection:
        try:
            connection.request("GET", "/", headers={"Host": "bench.localhost"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"the first request: {error}") from error
    if status != 200:
        raise Failed(f"the first request was answered with {status}")
