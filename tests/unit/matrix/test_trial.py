"""The verdict of a trial, and how it is reported."""

from __future__ import annotations

from typing import Any

import pytest

from fcemu.journal import FaultFired, InvocationEnded, InvocationStarted, Record
from fcemu.matrix.trial import Trial, as_outcomes, as_text, passed
from tests.unit.matrix.builders import scenario


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
    """The records show whether a client has met a scenario."""
    assert trial(name, 0, *records).reached is reached


@pytest.mark.parametrize(
    ("one", "verdict", "hint"),
    [
        (trial("cut-early", 0, fired()), "survived", ""),
        (trial("cut-early", 1, fired()), "failed", "reconnect after 1006, and resend what was not answered"),
        (trial("cut-early", 143, fired(), hung=True), "hung", "reconnect after 1006"),
        (trial("cut-late", 0), "not reached", "its first WebSocket had fewer than five messages"),
        (trial("cut-late", 1), "failed", "it did not meet the failure (its first WebSocket had fewer"),
        (trial("baseline", 0), "survived", ""),
        (trial("baseline", 1), "failed", "fix the command first: it must succeed when nothing goes wrong"),
    ],
)
def test_verdict(one: Trial, verdict: str, hint: str) -> None:
    """A trial has a verdict, and a hint unless the client survived."""
    assert one.verdict == verdict
    assert one.hint.startswith(hint)
    assert bool(one.hint) is (verdict != "survived")


def test_passed() -> None:
    """A run passes if the client survived everything that it met; a strict run only if it met everything."""
    survived, missed, failed = trial("crash", 0, fired()), trial("crash"), trial("crash", 1, fired())
    assert passed([survived, missed])
    assert passed([survived], strict=True)
    assert not passed([survived, missed], strict=True)
    assert not passed([survived, failed])
    assert not passed([trial("crash", 143, hung=True)])


def test_text() -> None:
    """The table has a line per scenario; the output of those that failed follows, with the log for the baseline."""
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
    assert lines[1].endswith("the first connection is reset by a NAT after 1 s without traffic")
    assert " ".join(lines[2].split()).endswith("429: too many requests at once retry after 429, with increasing delays")
    assert lines[6:] == [
        "baseline: the command exited with code 2; its requests: none",
        "baseline: | no module",
        "baseline: the end of fcemu's log:",
        "baseline: | instance ready",
        "refused-429: the command exited with code 1; its requests: 429",
        "refused-429: | a",
        "refused-429: | b",
        "cut-early: the command was stopped after 1 s (--limit); its requests: 101 (closed with 1006 by fault), "
        "2 × 101 (closed with 1000 by client)",
        "1 survived, 2 failed, 1 hung, 1 not reached in 6.0 s",
    ]
    assert "cut-late: the command exited with code 0; its requests: none" in as_text(trials, strict=True)


def test_signal_is_told() -> None:
    """The number of the signal that killed a command is reported."""
    assert trial("crash", 139).ending == "exited with code 139 (signal 11)"


@pytest.mark.parametrize(("strict", "status"), [(False, "skipped"), (True, "failed")])
def test_outcomes_for_machines(strict: bool, status: str) -> None:
    """Each trial is an outcome, with output and log if it failed."""
    trials = [
        trial("crash", 0, fired()),
        trial("cut-early", 1, fired(), output=("a",), log=("b",)),
        trial("cut-late"),
    ]
    survived, failed, missed = as_outcomes(trials, "fn", "trigger.yaml", strict)
    assert (survived.group, survived.name, survived.status, survived.detail) == ("fn", "crash", "passed", "")
    assert (
        survived.expected == "survives: the first connection's instance crashes after its first message to the client"
    )
    assert (failed.status, failed.remedy, failed.file) == ("failed", trials[1].hint, "trigger.yaml")
    assert failed.detail.splitlines() == [
        "the command exited with code 1; its requests: none", "| a", "the end of fcemu's log:", "| b",
    ]  # fmt: skip
    assert (missed.status, missed.seconds) == (status, 1.2)
    assert missed.detail == "not reached: its first WebSocket had fewer than five messages"
