"""What can the cloud do to a client, and did the client survive it? The chaos matrix of `fcemu matrix`, as values.

A scenario is one documented failure. The files of the fault actions say which failures they make; settings make the
others. `trials.py` runs the author's command through each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fcemu.faults.actions.action import Action, RequestAction, StartAction
from fcemu.faults.actions.registry import ACTIONS
from fcemu.model import Account, FaultRule
from fcemu.report import table

Reach = Literal["always", "fault", "idle", "timeout", "instances"]
"""What shows that a client has met a scenario: nothing needs to; a rule that fired; that, or a connection that lasted
long enough for it; an execution timeout; calls of one function in two instances."""

BASELINE = "baseline"
"""The scenario in which nothing happens."""


@dataclass(frozen=True)
class Scenario:
    """A documented failure.

    Attributes:
        happens: what, in a few words.
        source: where it is documented (docs/explanation/sources.md).
        advice: what a client that survives it does.
        missed: what the client did not do, where it has not met it.
        reach: what shows that the client has met it.
        rules: that make it happen.
        settings: of `fcemu:`, that make it happen.
        timeout: the longest execution timeout, in seconds; None for what is configured.
        redeploys: with the first request there is new code of every function.
    """

    name: str
    happens: str
    source: str
    advice: str
    missed: str = "it sent no request"
    reach: Reach = "fault"
    rules: tuple[FaultRule, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    timeout: int | None = None
    redeploys: bool = False


# ---- the scenarios of an account


def scenarios(account: Account, after: float = 1.0) -> list[Scenario]:
    """Every scenario that can be met with an account, the baseline first.

    Args:
        after: seconds that a connection lasts, or is without traffic, until what is a matter of time happens to it.
    """
    actions = ACTIONS.values()
    before_a_connection = [each for each in actions if issubclass(each, (RequestAction, StartAction))]
    on_a_connection = [each for each in actions if each not in before_a_connection]
    return [
        Scenario(
            BASELINE,
            "nothing",
            "–",
            "make it pass where nothing happens; the other scenarios were not run",
            reach="always",
        ),
        *_of_actions(before_a_connection, account, after),
        _timeout(after),
        *_of_actions(on_a_connection, account, after),
        *_of_instances(),
    ]


def _of_actions(actions: Iterable[type[Action]], account: Account, after: float) -> Iterator[Scenario]:
    """A scenario for each failure that fault actions make."""
    for failure in (failure for action in actions for failure in action.failures(after)):
        if failure.of_credentials and not _authenticates(account):
            continue
        rules = tuple(_rule(failure.name, keys) for keys in failure.rules)
        done = [rule.action for rule in rules]
        yield Scenario(
            failure.name,
            failure.happens,
            failure.source,
            failure.advice,
            missed=failure.missed,
            reach="idle" if any(each.idle_for is not None for each in done) else "fault",
            rules=rules,
            settings={"start": "lazy"} if any(isinstance(each, StartAction) for each in done) else {},
        )


def _authenticates(account: Account) -> bool:
    triggers = (trigger.triggerConfig.authType for function in account.functions for trigger in function.triggers)
    types = {*triggers, *(domain.authConfig.authType for domain in account.customDomains)}
    return not types <= {"anonymous", "none"}


def _rule(failure: str, keys: Mapping[str, Any]) -> FaultRule:
    """A rule with the failure's name; that for plain requests shows in the log as such."""
    rule = FaultRule.model_validate({"name": failure, **keys})
    return rule.model_copy(update={"name": f"{failure}-http"}) if rule.match.kind == "http" else rule


def _timeout(after: float) -> Scenario:
    timeout = max(1, round(after))
    return Scenario(
        "timeout",
        f"the execution timeout is reached after {timeout} s",
        "PAGE",
        "connect again after 1006, and go on where it was",
        missed=f"no connection of its lasted {timeout} s (--after)",
        reach="timeout",
        timeout=timeout,
    )


def _of_instances() -> Iterator[Scenario]:
    share = "keep what two connections share outside of the instance: they need not meet in one"
    yield Scenario(
        "scatter",
        "consecutive connections go to different instances",
        "PAGE",
        share,
        missed="it made one connection",
        reach="instances",
        settings={"scatter": True},
    )
    yield Scenario(
        "redeploy",
        "there is new code from the first request on; open connections stay with the old one",
        "D/04/002",
        share,
        missed="it made no connection when the new code was there",
        reach="instances",
        settings={"onReload": "pin"},
        redeploys=True,
    )


def select(found: Sequence[Scenario], only: Collection[str] = (), skip: Collection[str] = ()) -> list[Scenario]:
    """Those of the scenarios that are to be run.

    Args:
        only: names, and the baseline; all if there is none.
        skip: names of others to leave out.

    Raises:
        ValueError: there is no scenario of that name, or none is left.
    """
    names = [scenario.name for scenario in found]
    if unknown := [name for name in (*only, *skip) if name not in names]:
        raise ValueError(f"there is no scenario {', '.join(unknown)}; there are {', '.join(names)}")
    chosen = [each for each in found if each.name not in skip and (not only or each.name in (BASELINE, *only))]
    if not chosen:
        raise ValueError("no scenario is left to be run")
    return chosen


def account_in(scenario: Scenario, account: Account, seed: int = 0) -> Account:
    """The account as it is in a scenario; faults of its own do not happen.

    Args:
        seed: of what rules draw by chance.
    """
    faults = {"faults": list(scenario.rules), "faultSeed": seed}
    settings = account.fcemu.model_copy(update={"start": "eager", **scenario.settings, **faults})
    functions = account.functions
    if (most := scenario.timeout) is not None:
        functions = [each.model_copy(update={"timeout": min(each.timeout, most)}) for each in functions]
    return account.model_copy(update={"functions": functions, "fcemu": settings})


def listing(found: Iterable[Scenario]) -> str:
    """Scenarios as a table."""
    rows = ((each.name, each.happens, each.source) for each in found)
    return table([("SCENARIO", "WHAT HAPPENS", "SOURCE"), *rows])
