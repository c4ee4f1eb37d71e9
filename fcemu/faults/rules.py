"""Which rules of `fcemu.faults` happen to a request, or to the start of an instance?

That is decided once, when the request arrives or the instance is started. Chance is drawn from the seed, so that a run
can be repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fcemu.faults.actions.action import ConnectionAction, RequestAction, SocketAction, StartAction
from fcemu.model import FaultMatch, FaultRule

_OF_HTTP = (RequestAction, ConnectionAction)
_OF_WEBSOCKETS = (RequestAction, ConnectionAction, SocketAction)


@dataclass
class Fault:
    """A rule of this run.

    Attributes:
        matched: how many requests, or starts, matched everything but `nth` and `probability`.
        fired: how many times it happened.
    """

    rule: FaultRule
    matched: int = 0
    fired: int = 0

    @property
    def name(self) -> str:
        """Its name; by default its action's key."""
        return self.rule.name or self.rule.action.key


class Faults:
    """The rules of a run.

    Args:
        rules: if several refuse a request, the first one does.
        seed: decides what is drawn by chance.
    """

    def __init__(self, rules: Iterable[FaultRule] = (), seed: int = 0) -> None:
        self.replace(rules, seed)

    def replace(self, rules: Iterable[FaultRule], seed: int) -> None:
        """Use other rules, and forget what the former ones counted."""
        self.seed = seed
        self.faults = [Fault(rule) for rule in rules]

    def add(self, rule: FaultRule) -> Fault:
        """Add a rule."""
        self.faults.append(fault := Fault(rule))
        return fault

    def remove(self, fault: Fault) -> None:
        """Remove a rule, if it is still there; what it has begun goes on."""
        self.faults = [other for other in self.faults if other is not fault]

    def never_fired(self) -> list[str]:
        """The names of the rules that never happened."""
        return [fault.name for fault in self.faults if not fault.fired]

    def of_request(self, function: str, path: str, headers: Mapping[str, str], websocket: bool) -> list[Fault]:
        """The faults that happen to a request.

        Args:
            headers: names in lower case.
        """
        kind, actions = ("websocket", _OF_WEBSOCKETS) if websocket else ("http", _OF_HTTP)
        return [
            fault
            for fault in self.faults
            if isinstance(fault.rule.action, actions)
            and _fits(fault.rule.match, function, path, headers, kind)
            and self._happens(fault)
        ]

    def of_start(self, function: str) -> list[Fault]:
        """The faults that happen to the start of an instance."""
        return [
            fault
            for fault in self.faults
            if isinstance(fault.rule.action, StartAction)
            and fault.rule.match.function in (None, function)
            and self._happens(fault)
        ]

    def chance(self, fault: Fault, number: int) -> float:
        """The nth number of a rule, 0 to 1, drawn from the seed."""
        digest = hashlib.sha256(f"{self.seed}/{fault.name}/{number}".encode()).digest()
        return int.from_bytes(digest[:7]) / 2**56

    def _happens(self, fault: Fault) -> bool:
        fault.matched += 1
        first, dash, last = (fault.rule.match.nth or "1-").partition("-")
        most = int(last) if last else float("inf") if dash else int(first)
        if not int(first) <= fault.matched <= most:
            return False
        return self.chance(fault, fault.matched) < fault.rule.match.probability


def _fits(match: FaultMatch, function: str, path: str, headers: Mapping[str, str], kind: str) -> bool:
    return (
        match.function in (None, function)
        and match.kind in (None, kind)
        and (match.path is None or fnmatchcase(path, match.path))
        and all(
            name.lower() in headers and fnmatchcase(headers[name.lower()], value)
            for name, value in match.header.items()
        )
    )
