"""Which targets are met? They are ratios to nginx where they can be, since a ratio holds on other machines, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import BASE, TUNED, Figure, Measured


@dataclass(frozen=True)
class Target:
    """An upper bound for what is measured.

    Attributes:
        kind: what of `name`: a work's ratio to nginx, its microseconds above an anonymous request, its kilobytes for an
            idle socket, its idle sockets that did not stay; or a figure of its own.
        base: whom a ratio is to.
    """

    what: str
    bound: float
    kind: Literal["ratio", "above", "memory", "lost", "figure"]
    name: str
    base: str = BASE


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured; None if it was not."""

    target: Target
    value: float | None

    @property
    def word(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.target.bound else "**missed**"


_OF_LARGE = (
    ("WebSocket messages of 64 KB", 0.85, "echo-64k"),
    ("WebSocket messages of 1 MB", 0.80, "echo-1m"),
    ("10 MiB down", 1.0, "down-10m"),
    ("10 MiB up", 1.0, "up-10m"),
)

TARGETS = (
    Target("WebSocket messages of 64 B, 1 socket: front CPU relative to nginx", 1.10, "ratio", "echo-1"),
    Target("WebSocket messages of 64 B, 100 sockets: front CPU relative to nginx", 1.10, "ratio", "echo-100"),
    *(
        Target(f"{what}: front CPU relative to {base}", bound, "ratio", name, base)
        for what, bound, name in _OF_LARGE
        for base in (BASE, TUNED)
    ),
    Target("handshake, echo, close: front CPU relative to nginx", 2.5, "ratio", "handshake"),
    Target("handshake, echo, close: front CPU relative to nginx, in the long run", 1.8, "ratio", "handshake"),
    Target("small HTTP requests, 64 connections: front CPU relative to nginx", 2.5, "ratio", "get-64"),
    Target("small HTTP requests, 64 connections: front CPU relative to nginx, in the long run", 1.6, "ratio", "get-64"),
    Target("a signed request above an anonymous one, µs of front CPU", 60, "above", "signed-64"),
    Target("a JWT (ES256) relative to PyJWT's own verification", 1.20, "figure", "jwt-ratio"),
    Target("front memory of an idle socket, KB", 5, "memory", "idle"),
    Target("idle sockets that could not be held while 100 others were at work", 0, "lost", "idle"),
    Target("`fcemu serve` ready after the function listens, s", 0.5, "figure", "start"),
    Target("`fcemu --help`, s", 0.15, "figure", "help"),
    Target("the policy's own price for an invocation, µs", 40, "figure", "policy"),
)
"""Where messages and bodies are large, nginx with its own small buffers is easy to beat: the bound is for both."""


def verdicts(works: Sequence[Measured], figures: Sequence[Figure]) -> list[Verdict]:
    """Every target, with what was measured of fcemu."""
    by_name = {measured.work.name: measured for measured in works}
    by_key = {figure.key: figure.value for figure in figures}
    return [Verdict(target, _value(target, by_name.get(target.name), by_key)) for target in TARGETS]


def _value(target: Target, measured: Measured | None, by_key: dict[str, float]) -> float | None:
    if target.kind == "figure":
        return by_key.get(target.name)
    if measured is None:
        return None
    match target.kind:
        case "ratio":
            return measured.ratio("fcemu", target.base)
        case "above":
            return measured.above(f"fcemu, {measured.work.guard}")
        case "memory":
            memory = measured.memory("fcemu")
            return None if memory is None else memory / 1024
        case "lost":
            return measured.lost("fcemu")
