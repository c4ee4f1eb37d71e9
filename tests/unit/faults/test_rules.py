"""Which rules happen to a request or to the start of an instance."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.faults.actions.registry import ACTIONS
from fcemu.faults.rules import Faults
from fcemu.model import FaultRule


def rule(**keys: Any) -> FaultRule:
    """A rule; its action is `cut` unless the keys name another."""
    return FaultRule.model_validate({**({} if keys.keys() & ACTIONS.keys() else {"cut": True}), **keys})


def happened(match: dict[str, Any], *, times: int = 1, seed: int = 0, **request: Any) -> list[bool]:
    """Whether a rule fires for each of several equal requests."""
    faults = Faults([rule(match=match)], seed)
    asked = {"function": "fn", "path": "/ws/a", "headers": {"x-user": "ann"}, "websocket": True, **request}
    return [bool(faults.of_request(**asked)) for _ in range(times)]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({}, True),
        ({"function": "fn"}, True),
        ({"function": "other"}, False),
        ({"path": "/ws/a"}, True),
        ({"path": "/ws/*"}, True),
        ({"path": "/ws"}, False),
        ({"header": {"X-User": "ann"}}, True),
        ({"header": {"x-user": "a*"}}, True),
        ({"header": {"x-user": "bob"}}, False),
        ({"header": {"x-other": "*"}}, False),
        ({"kind": "websocket"}, True),
        ({"kind": "http"}, False),
        ({"function": "fn", "path": "/x"}, False),
    ],
)
def test_rule_happens_to_what_fits_all_of_it(match: dict[str, Any], expected: bool) -> None:
    """Function, path, header and kind must all match; a missing key matches everything."""
    assert happened(match) == [expected]


@pytest.mark.parametrize(
    ("nth", "expected"), [("1", [1]), ("3", [3]), ("2-4", [2, 3, 4]), ("4-", [4, 5, 6]), ("7", []), (2, [2])]
)
def test_nth_counts_what_fits(nth: object, expected: list[int]) -> None:
    """A rule can fire for the nth request, or for a range of requests."""
    found = happened({"nth": nth}, times=6)
    assert [number + 1 for number, yes in enumerate(found) if yes] == expected


def test_probability_is_drawn_from_the_seed() -> None:
    """The same seed gives the same choices, another seed different ones, with the configured probability."""
    first, again, other = (happened({"probability": 0.25}, times=1000, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert 200 < sum(first) < 300


def test_faults_of_sockets_do_not_happen_to_requests() -> None:
    """Close frames and idle drops are for WebSockets, starts for instances."""
    faults = Faults([rule(close=1011), rule(idle={"after": 1}), rule(coldStartDelay=1), rule(cut=True)])
    assert [f.name for f in faults.of_request("fn", "/", {}, websocket=False)] == ["cut"]
    assert [f.name for f in faults.of_request("fn", "/", {}, websocket=True)] == ["close", "idle", "cut"]
    assert [f.name for f in faults.of_start("fn")] == ["coldStartDelay"]


def test_rule_that_never_happened_is_known_by_name() -> None:
    """A rule is named as configured, or by its action; rules that never fired are known."""
    faults = Faults([rule(name="nat"), rule(stall=True)])
    faults.faults[0].fired += 1
    assert faults.never_fired() == ["stall"]


def test_rules_come_and_go() -> None:
    """Rules are added, removed once, and replaced, with their counts."""
    faults = Faults([rule(name="first")])
    added = faults.add(rule(name="added"))
    assert faults.never_fired() == ["first", "added"]
    faults.remove(added)
    faults.remove(added)
    assert faults.never_fired() == ["first"]
    faults.replace([rule(name="other")], seed=1)
    assert (faults.never_fired(), faults.seed) == (["other"], 1)


def test_faults_of_starts_match_the_function() -> None:
    """A start is hit by rules for its function, and by those for all."""
    faults = Faults([rule(coldStartDelay=1, match={"function": "fn"}), rule(refuseToStart=True)])
    assert [f.name for f in faults.of_start("fn")] == ["coldStartDelay", "refuseToStart"]
    assert [f.name for f in faults.of_start("other")] == ["refuseToStart"]
