"""The scenarios of `fcemu matrix`: an account in; documented failures, as values, out.

A scenario causes one failure. Each fault action says which failures it can cause; settings cause the others.
`runner.py` runs the client's test in each scenario.
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
"""How to tell that a client has met a scenario:

always     it always has
fault      a fault rule has fired
idle       a fault rule has fired, or a WebSocket was open for long enough
timeout    an invocation reached its execution timeout
instances  two instances of one function were invoked
"""

BASELINE = "baseline"
"""The name of the scenario in which nothing goes wrong."""


@dataclass(frozen=True)
class Scenario:
    """A documented failure.

    Attributes:
        happens: what happens, in a few words.
        source: where the failure is documented (docs/explanation/sources.md).
        advice: how a client survives it.
        missed: why a client has not met it.
        reach: how to tell that a client has met it.
        rules: fault rules that cause it.
        settings: settings under `fcemu:` that cause it.
        timeout: the maximum execution timeout, in seconds; None to leave it as configured.
        redeploys: whether all functions get new instances at the first request.
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
    """All scenarios that clients of an account can meet, the baseline first.

    Args:
        after: seconds that a connection lasts or is idle before a scenario that depends on time acts on it.
    """
    actions = ACTIONS.values()
    before_a_connection = [each for each in actions if issubclass(each, (RequestAction, StartAction))]
    on_a_connection = [each for each in actions if each not in before_a_connection]
    return [
        Scenario(
            BASELINE,
            "nothing",
            "–",
            "fix the command first: it must succeed when nothing goes wrong; the other scenarios were not run",
            reach="always",
        ),
        *_of_actions(before_a_connection, account, after),
        _timeout(after),
        *_of_actions(on_a_connection, account, after),
        *_of_instances(),
    ]


def _of_actions(actions: Iterable[type[Action]], account: Account, after: float) -> Iterator[Scenario]:
    """A scenario for each failure that these actions can cause."""
    for failure in (failure for action in actions for failure in action.failures(after)):
        if failure.of_credentials and not _authenticates(account):
            continue
        rules = tuple(_rule(failure.name, keys) for keys in failure.rules)
        caused_by = [rule.action for rule in rules]
        yield Scenario(
            failure.name,
            failure.happens,
            failure.source,
            failure.advice,
            missed=failure.missed,
            reach="idle" if any(each.idle_for is not None for each in caused_by) else "fault",
            rules=rules,
            settings={"start": "lazy"} if any(isinstance(each, StartAction) for each in caused_by) else {},
        )


def _authenticates(account: Account) -> bool:
    triggers = (trigger.triggerConfig.authType for function in account.functions for trigger in function.triggers)
    types = {*triggers, *(domain.authConfig.authType for domain in account.customDomains)}
    return not types <= {"anonymous", "none"}


def _rule(failure: str, keys: Mapping[str, Any]) -> FaultRule:
    """A rule with the name of the failure; that of a rule for plain requests ends in `-http`."""
    rule = FaultRule.model_validate({"name": failure, **keys})
    return rule.model_copy(update={"name": f"{failure}-http"}) if rule.match.kind == "http" else rule


def _timeout(after: float) -> Scenario:
    timeout = max(1, round(after))
    return Scenario(
        "timeout",
        f"the execution timeout is reached after {timeout} s",
        "PAGE",
        "reconnect after 1006, and continue where the connection broke",
        missed=f"none of its connections lasted {timeout} s (--after)",
        reach="timeout",
        timeout=timeout,
    )


def _of_instances() -> Iterator[Scenario]:
    share = "keep shared state outside the instance: two connections may reach different instances"
    yield Scenario(
        "scatter",
        "consecutive connections go to different instances",
        "PAGE",
        share,
        missed="it made only one connection",
        reach="instances",
        settings={"scatter": True},
    )
    yield Scenario(
        "redeploy",
        "new code is deployed at the first request; open connections stay with the old code",
        "D/04/002",
        share,
        missed="it made no connection after the new code was deployed",
        reach="instances",
        settings={"onReload": "pin"},
        redeploys=True,
    )


def select(found: Sequence[Scenario], only: Collection[str] = (), skip: Collection[str] = ()) -> list[Scenario]:
    """Choose the scenarios to run.

    Args:
        only: names of scenarios to run, in addition to the baseline; empty for all.
        skip: names of scenarios to leave out.

    Raises:
        ValueError: a name is unknown, or no scenario is left.
    """
    names = [scenario.name for scenario in found]
    if unknown := [name for name in (*only, *skip) if name not in names]:
        raise ValueError(f"there is no scenario {', '.join(unknown)}; the scenarios are {', '.join(names)}")
    chosen = [each for each in found if each.name not in skip and (not only or each.name in (BASELINE, *only))]
    if not chosen:
        raise ValueError("no scenario is left to run")
    return chosen


def account_in(scenario: Scenario, account: Account, seed: int = 0) -> Account:
    """The account with the faults and settings of a scenario, which replace its own faults.

    Args:
        seed: seed for the random choices of fault rules.
    """
    faults = {"faults": list(scenario.rules), "faultSeed": seed}
    settings = account.fcemu.model_copy(update={"start": "eager", **scenario.settings, **faults})
    functions = account.functions
    if (most := scenario.timeout) is not None:
        functions = [each.model_copy(update={"timeout": min(each.timeout, most)}) for each in functions]
    return account.model_copy(update={"functions": functions, "fcemu": settings})


def listing(found: Iterable[Scenario]) -> str:
    """The scenarios as a table."""
    rows = ((each.name, each.happens, each.source) for each in found)
    return table([("SCENARIO", "WHAT HAPPENS", "SOURCE"), *rows])
