"""What goes wrong on purpose: when, to whom, and how? (`fcemu.faults`)

A rule is asked once for each request, or for each start of an instance, whether it happens to it; chance is drawn from
the seed, so that a run can be repeated. When it happens in the course of a socket or an answer is counted by a `Fuse`.
What it does is carried out where the bytes are: `gateway/faulty_tunnel.py`, `gateway/faulty_answer.py`, the gateway
and the launcher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fcemu.errors import FCError, Refusal
from fcemu.model import FaultMatch, FaultRule

_REFUSALS: dict[int, tuple[Refusal, dict[str, object]]] = {
    400: (Refusal.BAD_REQUEST, {"detail": "the request is refused by a fault rule"}),
    403: (Refusal.AUTHENTICATION_UNAVAILABLE, {}),
    404: (Refusal.TRIGGER_NOT_FOUND, {}),
    429: (Refusal.RESOURCE_EXHAUSTED, {"detail": "the concurrency limit is exceeded"}),
    500: (Refusal.INTERNAL_SERVER_ERROR, {}),
    503: (Refusal.SYSTEM_THROTTLED, {}),
}


@dataclass
class Fault:
    """A rule, and what has become of it.

    Attributes:
        matched: how many requests, or starts, fitted all but `nth` and `probability`.
        fired: how many times it happened.
    """

    rule: FaultRule
    matched: int = 0
    fired: int = 0

    @property
    def name(self) -> str:
        """Its name; without one, what it does."""
        return self.rule.name or self.rule.action


class Faults:
    """The rules of a run.

    Args:
        rules: in this order; of several that would refuse, the first does.
        seed: decides what is drawn by chance.
    """

    def __init__(self, rules: Iterable[FaultRule] = (), seed: int = 0) -> None:
        self.replace(rules, seed)

    def replace(self, rules: Iterable[FaultRule], seed: int) -> None:
        """Other rules, as if they were the first."""
        self.seed = seed
        self.faults = [Fault(rule) for rule in rules]

    def add(self, rule: FaultRule) -> Fault:
        """One more rule."""
        self.faults.append(fault := Fault(rule))
        return fault

    def remove(self, fault: Fault) -> None:
        """A rule less, if it is still there; what it happens to already goes on."""
        self.faults = [other for other in self.faults if other is not fault]

    def never_fired(self) -> list[str]:
        """The names of the rules that never happened."""
        return [fault.name for fault in self.faults if not fault.fired]

    def of_request(self, function: str, path: str, headers: Mapping[str, str], websocket: bool) -> list[Fault]:
        """The faults that happen to a request.

        Args:
            headers: names in lower case.
        """
        kind = "websocket" if websocket else "http"
        return [
            fault
            for fault in self.faults
            if fault.rule.action not in ("coldStartDelay", "refuseToStart")
            and (websocket or fault.rule.action not in ("close", "idle"))
            and _fits(fault.rule.match, function, path, headers, kind)
            and self._happens(fault)
        ]

    def of_start(self, function: str) -> list[Fault]:
        """The faults that happen to an instance that is started."""
        return [
            fault
            for fault in self.faults
            if fault.rule.action in ("coldStartDelay", "refuseToStart")
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


def refusal(fault: Fault, function: str) -> FCError:
    """The documented answer that a fault gives."""
    assert fault.rule.refuse is not None
    row, values = _REFUSALS[fault.rule.refuse]
    reason = f"fault {fault.name}: refused on purpose"
    return FCError(row, reason=reason, remedy="remove the rule from fcemu.faults", **{"function": function, **values})
