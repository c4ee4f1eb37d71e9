"""What the cloud can do to a client, and whether the client survived it."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.journal import FaultFired, InvocationEnded, InvocationStarted, Record
from fcemu.matrix.scenarios import BASELINE, Scenario, account_in, listing, scenarios, select
from fcemu.matrix.trial import Trial, as_outcomes, as_text, passed
from fcemu.model import Account, FaultRule


def account(auth_type: str = "anonymous", domain: str = "", **settings: Any) -> Account:
    """One function with a timeout of 60 s; with a custom domain if it is given an `authType`."""
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": auth_type}}
    domains = [
        {
            "domainName": "example.com",
            "routeConfig": {"routes": [{"path": "/*", "functionName": "fn"}]},
            "authConfig": {"authType": domain},
        }
    ]
    return Account.model_validate(
        {
            "functions": [{"functionName": "fn", "timeout": 60, "triggers": [trigger]}],
            "customDomains": domains if domain else [],
            "fcemu": settings,
        }
    )


def scenario(name: str, after: float = 1.0) -> Scenario:
    """The scenario of that name."""
    (found,) = [each for each in scenarios(account(), after) if each.name == name]
    return found


def fired() -> FaultFired:
    """The record of a fault."""
    return FaultFired(0.0, "rule", "cut", "fn", "1-1", "i-1")


def started(instance: str, function: str = "fn") -> InvocationStarted:
    """The record of an invocation's start."""
    return InvocationStarted(0.0, "1-1", function, instance)


def ended(duration: float = 0.1, **fields: Any) -> InvocationEnded:
    """The record of a WebSocket that is over."""
    fields = {"kind": "websocket", "status": 101, "close_code": 1000, "closed_by": "client", **fields}
    return InvocationEnded(0.0, "1-1", "fn", "LATEST", "GET", "/", duration=duration, **fields)


def trial(name: str, exit_code: int = 0, *records: Record, **fields: Any) -> Trial:
    """A trial that took 1.2 s."""
    return Trial(scenario(name), exit_code, **{"hung": False, "seconds": 1.2, "records": records, **fields})


def test_every_failure_has_a_scenario() -> None:
    """The scenarios are those of the documentation, the baseline first, each with all that is told of it."""
    found = scenarios(account())
    assert [each.name for each in found] == [
        "baseline", "refused-404", "refused-429", "refused-500", "refused-503", "cold-start", "start-fails", "timeout",
        "cut-early", "cut-mid-frame", "cut-late", "close-1001", "close-1011", "close-1012", "close-1013", "nat-rst",
        "nat-fin", "nat-blackhole", "half-open", "slow-line", "crash", "scatter", "redeploy",
    ]  # fmt: skip
    assert all(each.happens and each.source and each.advice and each.missed for each in found)
    assert all(rule.name.startswith(each.name) for each in found for rule in each.rules)


@pytest.mark.parametrize(
    ("trigger", "domain", "is_there"),
    [("anonymous", "", False), ("function", "", True), ("anonymous", "none", False), ("anonymous", "function", True)],
)
def test_credentials_expire_where_there_are_some(trigger: str, domain: str, is_there: bool) -> None:
    """403 is among the scenarios where a trigger or a domain asks who somebody is."""
    assert ("refused-403" in [each.name for each in scenarios(account(trigger, domain))]) is is_there


@pytest.mark.parametrize(
    ("after", "timeout", "idle"), [(1.0, 1, 1.0), (0.2, 1, 0.2), (3.0, 3, 3.0), (120.0, 60, 120.0)]
)
def test_time_is_as_long_as_asked(after: float, timeout: int, idle: float) -> None:
    """What is a matter of time happens after so many seconds, of which a timeout has at least one."""
    found = {each.name: each for each in scenarios(account(), after)}
    assert account_in(found["timeout"], account()).functions[0].timeout == timeout
    (rule,) = found["nat-rst"].rules
    assert rule.idle is not None
    assert rule.idle.after == idle


def test_account_has_the_faults_of_the_scenario() -> None:
    """In a scenario its own rules hold, with the seed, and not those of the configuration; the rest is as it was."""
    mine = account(faults=[FaultRule(name="mine", cut=True)], start="lazy", stopGrace=7)
    for each in scenarios(mine):
        there = account_in(each, mine, seed=3).fcemu
        assert (tuple(there.faults), there.faultSeed, there.stopGrace) == (each.rules, 3, 7)
        assert there.start == ("lazy" if each.name in ("cold-start", "start-fails") else "eager")
        assert there.scatter is (each.name == "scatter")
    assert account_in(scenario("cut-early"), mine).functions == mine.functions


def test_select() -> None:
    """Some scenarios are run, with the baseline; others are left out."""
    found = scenarios(account())
    assert select(found) == found
    assert [each.name for each in select(found, ["crash", "cut-late"])] == ["baseline", "cut-late", "crash"]
    assert [each.name for each in select(found, ["crash"], ["baseline"])] == ["crash"]
    assert len(select(found, skip=["crash", "timeout"])) == len(found) - 2


@pytest.mark.parametrize(
    ("only", "skip"), [(["crash", "nonsense"], []), ([], ["nonsense"]), (["crash"], ["crash", BASELINE])]
)
def test_select_refuses(only: list[str], skip: list[str]) -> None:
    """A name that is none is refused, and so is a selection of nothing."""
    with pytest.raises(ValueError, match="there is no scenario nonsense; there are baseline, |no scenario is left"):
        select(scenarios(account()), only, skip)


@pytest.mark.parametrize(
    ("name", "records", "reached"),
    [
        ("baseline", [], True),
        ("cut-early", [], False),
        ("cut-early", [started("i-1"), ended(60)], False),
        ("cut-early", [fired()], True),
        ("nat-rst", [fired()], True),
        ("nat-rst", [ended(0.9)], False),
        ("nat-rst", [ended(1.1)], True),
        ("nat-rst", [ended(1.1, kind="http", close_code=None)], False),
        ("timeout", [ended(1.1)], False),
        ("timeout", [ended(1.1, close_code=1006, closed_by="timeout")], True),
        ("timeout", [ended(1.1, kind="http", status=502, close_code=None, closed_by="timeout")], True),
        ("scatter", [], False),
        ("scatter", [started("i-1"), started("i-1")], False),
        ("scatter", [started("i-1"), started("i-2", "other")], False),
        ("scatter", [started("i-1"), started("i-2")], True),
        ("redeploy", [started("i-1"), started("i-1")], False),
        ("redeploy", [started("i-1"), started("i-2")], True),
    ],
)
def test_reached(name: str, records: list[Record], reached: bool) -> None:
    """A client has met a scenario when the records show it."""
    assert trial(name, 0, *records).reached is reached


@pytest.mark.parametrize(
    ("one", "outcome", "hint"),
    [
        (trial("cut-early", 0, fired()), "survived", ""),
        (trial("cut-early", 1, fired()), "failed", "connect again after 1006, and send again what was not answered"),
        (trial("cut-early", 143, fired(), hung=True), "hung", "connect again after 1006"),
        (trial("cut-late", 0), "not reached", "its first WebSocket had fewer than five messages"),
        (trial("cut-late", 1), "failed", "nothing of it happened (its first WebSocket had fewer"),
        (trial("baseline", 0), "survived", ""),
        (trial("baseline", 1), "failed", "make it pass where nothing happens"),
    ],
)
def test_outcome(one: Trial, outcome: str, hint: str) -> None:
    """What came of a trial, and what to do about it."""
    assert one.outcome == outcome
    assert one.hint.startswith(hint)
    assert bool(one.hint) is (outcome != "survived")


def test_passed() -> None:
    """Who has survived all that was met has passed; strictly, who has met all of it."""
    survived, missed, failed = trial("crash", 0, fired()), trial("crash"), trial("crash", 1, fired())
    assert passed([survived, missed])
    assert passed([survived], strict=True)
    assert not passed([survived, missed], strict=True)
    assert not passed([survived, failed])
    assert not passed([trial("crash", 143, hung=True)])


def test_text() -> None:
    """The table has a line for each scenario; what failed is told below with its output, the baseline with the log."""
    trials = [
        trial("baseline", 2, output=("no module",), log=("instance ready",)),
        trial("nat-rst", 0, ended(2.0)),
        trial(
            "refused-429", 1, fired(), ended(kind="http", status=429, close_code=None), output=("a", "b"), log=("x",)
        ),
        trial("cut-early", 137, fired(), ended(close_code=1006, closed_by="fault"), ended(), ended(), hung=True),
        trial("cut-late"),
    ]
    text = as_text(trials)
    heading, *lines = text.splitlines()
    assert heading.split() == ["SCENARIO", "OUTCOME", "EXIT", "SECONDS", "WHAT", "HAPPENS", "HINT"]
    assert [" ".join(line.split()[:4]) for line in lines[:5]] == [
        "baseline failed 2 1.2", "nat-rst survived 0 1.2", "refused-429 failed 1 1.2", "cut-early hung - 1.2",
        "cut-late not reached 0",
    ]  # fmt: skip
    assert lines[1].endswith("the first connection is reset by a NAT when it was idle for 1 s")
    assert " ".join(lines[2].split()).endswith("429: too many at once try again after 429, later each time")
    assert lines[6:] == [
        "baseline: the command ended with exit code 2; its requests: none",
        "baseline: | no module",
        "baseline: the end of fcemu's log:",
        "baseline: | instance ready",
        "refused-429: the command ended with exit code 1; its requests: 429",
        "refused-429: | a",
        "refused-429: | b",
        "cut-early: the command was ended after 1 s (--limit); its requests: 101 (closed with 1006 by fault), "
        "2 × 101 (closed with 1000 by client)",
        "1 survived, 2 failed, 1 hung, 1 not reached in 6.0 s",
    ]
    assert "cut-late: the command ended with exit code 0; its requests: none" in as_text(trials, strict=True)


def test_signal_is_told() -> None:
    """A command that a signal has ended is told with its number."""
    assert trial("crash", 139).ended == "ended with exit code 139 (signal 11)"


@pytest.mark.parametrize(("strict", "status"), [(False, "skipped"), (True, "failed")])
def test_outcomes_for_machines(strict: bool, status: str) -> None:
    """Each trial is one outcome, with output and log where it failed."""
    trials = [
        trial("crash", 0, fired()),
        trial("cut-early", 1, fired(), output=("a",), log=("b",)),
        trial("cut-late"),
    ]
    survived, failed, missed = as_outcomes(trials, "fn", "trigger.yaml", strict)
    assert (survived.group, survived.name, survived.status, survived.detail) == ("fn", "crash", "passed", "")
    assert survived.expected == "survives: the first connection's instance dies behind the first message that it sends"
    assert (failed.status, failed.remedy, failed.file) == ("failed", trials[1].hint, "trigger.yaml")
    assert failed.detail.splitlines() == [
        "the command ended with exit code 1; its requests: none", "| a", "the end of fcemu's log:", "| b",
    ]  # fmt: skip
    assert (missed.status, missed.seconds) == (status, 1.2)
    assert missed.detail == "not reached: its first WebSocket had fewer than five messages"


def test_listing() -> None:
    """The list has what happens and where it is documented."""
    heading, baseline, first, *_ = listing(scenarios(account())).splitlines()
    assert heading.split() == ["SCENARIO", "WHAT", "HAPPENS", "SOURCE"]
    assert baseline.split() == ["baseline", "nothing", "–"]
    assert " ".join(first.split()).endswith("404: the trigger is not known everywhere yet PAGE")
