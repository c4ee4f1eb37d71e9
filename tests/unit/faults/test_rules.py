"""What goes wrong on purpose: when, to whom, and how."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fcemu.faults.pace import Fuse, Pace
from fcemu.faults.rules import Fault, Faults, refusal
from fcemu.model import FAULT_ACTIONS, FaultAfter, FaultRule


def rule(**keys: Any) -> FaultRule:
    """A rule that cuts, unless told otherwise."""
    return FaultRule.model_validate({**({} if keys.keys() & set(FAULT_ACTIONS) else {"cut": True}), **keys})


def happened(match: dict[str, Any], *, times: int = 1, seed: int = 0, **request: Any) -> list[bool]:
    """Whether a rule happens to each of several equal requests."""
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
    """Function, path, header and kind all have to fit; what is not written fits all."""
    assert happened(match) == [expected]


@pytest.mark.parametrize(
    ("nth", "expected"), [("1", [1]), ("3", [3]), ("2-4", [2, 3, 4]), ("4-", [4, 5, 6]), ("7", []), (2, [2])]
)
def test_nth_counts_what_fits(nth: object, expected: list[int]) -> None:
    """A rule can happen to the nth request, or to some from the nth on."""
    found = happened({"nth": nth}, times=6)
    assert [number + 1 for number, yes in enumerate(found) if yes] == expected


def test_probability_is_drawn_from_the_seed() -> None:
    """The same seed gives the same draws, another one others, and the share is what was asked for."""
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
    """A rule's name is its own, or what it does; those that never fired can be told."""
    faults = Faults([rule(name="nat"), rule(stall=True)])
    faults.faults[0].fired += 1
    assert faults.never_fired() == ["stall"]


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_refusal_is_the_clouds(status: int) -> None:
    """Each documented status has the cloud's code and a message; the rule is named in the log only."""
    error = refusal(Fault(rule(name="busy", refuse=status)), "fn")
    assert error.status == status
    assert "busy" in error.reason
    assert "busy" not in error.message
    assert "{" not in error.message


@pytest.mark.parametrize(
    ("after", "direction", "expected"),
    [
        ({"bytes": 0}, "both", 0),
        ({"bytes": 15}, "both", 5),
        ({"bytes": 20}, "both", 10),
        ({"bytes": 21}, "both", None),
        ({"messages": 2}, "both", 4),
        ({"messages": 3}, "both", 8),
        ({"messages": 4}, "both", None),
        ({"bytes": 17, "messages": 2}, "both", 4),
        ({"messages": 1}, "toFunction", None),
        ({"bytes": 5}, "toFunction", None),
    ],
)
def test_fuse_burns_behind_the_right_byte(after: dict[str, Any], direction: Any, expected: int | None) -> None:
    """After ten bytes and a message, ten more with messages that end at 4 and 8: so many of them still pass."""
    fuse = Fuse(FaultAfter.model_validate(after), direction)
    if after != {"bytes": 0}:
        assert fuse.passed("toClient", 10, [10]) is None
    assert fuse.passed("toClient", 10, [4, 8]) == expected
    assert fuse.passed("toClient", 100, [50]) is None or expected is None


def test_pace_keeps_the_order() -> None:
    """Bytes are late by the delay, vary by the jitter, and never overtake each other."""
    pace = Pace(delay=1.0, jitter=0.5)
    assert pace.due(10, now=0.0, chance=1.0) == 1.5
    assert pace.due(10, now=0.1, chance=0.0) == 1.5
    assert pace.due(10, now=5.0, chance=0.5) == 6.0


def test_pace_limits_the_bandwidth() -> None:
    """Bytes go on when the line has carried those before them."""
    pace = Pace(bandwidth=100.0)
    assert [pace.due(50, now, 0.5) for now in (0.0, 0.0, 10.0)] == [0.5, 1.0, 10.5]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "exactly one of"),
        ({"cut": True, "stall": True}, "this one does cut and stall"),
        ({"cut": False}, "True"),
        ({"refuse": 418}, "400"),
        ({"refuse": 429, "after": {"seconds": 1}}, "happens at once"),
        ({"cut": True, "jitter": 1}, "varies a `delay`"),
        ({"close": 1006}, "write `cut: true`"),
        ({"close": 1011, "match": {"kind": "http"}}, "WebSockets only"),
        ({"coldStartDelay": 1, "match": {"path": "/"}}, "happens to an instance"),
        ({"cut": True, "match": {"nth": "0"}}, "pattern"),
        ({"cut": True, "match": {"probability": 2}}, "less than or equal to 1"),
    ],
)
def test_rule_that_cannot_be_is_refused(keys: dict[str, Any], said: str) -> None:
    """A rule does exactly one thing, which goes with the rest of it."""
    with pytest.raises(ValidationError, match=said):
        FaultRule.model_validate(keys)
