"""The scenarios of the matrix."""

from __future__ import annotations

import pytest

from fcemu.matrix.scenarios import BASELINE, account_in, listing, scenarios, select
from fcemu.model import FaultRule
from tests.unit.matrix.builders import account, scenario


def test_every_failure_has_a_scenario() -> None:
    """The documented scenarios exist, the baseline first, each with all of its texts."""
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
    """There is a scenario for 403 if a trigger or a domain requires authentication."""
    assert ("refused-403" in [each.name for each in scenarios(account(trigger, domain))]) is is_there


@pytest.mark.parametrize(
    ("after", "timeout", "idle"), [(1.0, 1, 1.0), (0.2, 1, 0.2), (3.0, 3, 3.0), (120.0, 60, 120.0)]
)
def test_time_is_as_long_as_asked(after: float, timeout: int, idle: float) -> None:
    """Scenarios that depend on time act after this many seconds; a timeout after at least one."""
    found = {each.name: each for each in scenarios(account(), after)}
    assert account_in(found["timeout"], account()).functions[0].timeout == timeout
    (rule,) = found["nat-rst"].rules
    assert rule.action.idle_for == idle


def test_account_has_the_faults_of_the_scenario() -> None:
    """In a scenario its own rules apply, with the seed, instead of those of the configuration."""
    mine = account(faults=[FaultRule.model_validate({"name": "mine", "cut": True})], start="lazy", stopGrace=7)
    for each in scenarios(mine):
        there = account_in(each, mine, seed=3).fcemu
        assert (tuple(there.faults), there.faultSeed, there.stopGrace) == (each.rules, 3, 7)
        assert there.start == ("lazy" if each.name in ("cold-start", "start-fails") else "eager")
        assert there.scatter is (each.name == "scatter")
    assert account_in(scenario("cut-early"), mine).functions == mine.functions


def test_select() -> None:
    """Scenarios can be chosen, in addition to the baseline, or left out."""
    found = scenarios(account())
    assert select(found) == found
    assert [each.name for each in select(found, ["crash", "cut-late"])] == ["baseline", "cut-late", "crash"]
    assert [each.name for each in select(found, ["crash"], ["baseline"])] == ["crash"]
    assert len(select(found, skip=["crash", "timeout"])) == len(found) - 2


@pytest.mark.parametrize(
    ("only", "skip"), [(["crash", "nonsense"], []), ([], ["nonsense"]), (["crash"], ["crash", BASELINE])]
)
def test_select_refuses(only: list[str], skip: list[str]) -> None:
    """An unknown name is refused, and so is an empty selection."""
    with pytest.raises(
        ValueError, match="there is no scenario nonsense; the scenarios are baseline, |no scenario is left"
    ):
        select(scenarios(account()), only, skip)


def test_listing() -> None:
    """The list has what happens and where it is documented."""
    heading, baseline, first, *_ = listing(scenarios(account())).splitlines()
    assert heading.split() == ["SCENARIO", "WHAT", "HAPPENS", "SOURCE"]
    assert baseline.split() == ["baseline", "nothing", "–"]
    assert " ".join(first.split()).endswith("404: the trigger is not known everywhere yet PAGE")
