"""What can the cloud do to a client, and did the client survive it? The chaos matrix of `fcemu matrix`, as values.

A scenario is one documented failure, made by fault rules (`fcemu.faults`) or by settings. `trials.py` runs the author's
command through each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
    return [
        Scenario(
            BASELINE,
            "nothing",
            "–",
            "make it pass where nothing happens; the other scenarios were not run",
            reach="always",
        ),
        *_refusals(account),
        *_of_starts(),
        *_of_connections(after),
        *_closes(),
        *_of_lines(after),
        *_of_instances(),
    ]


_AGAIN = "connect again after 1006, and send again what was not answered"


def _refusals(account: Account) -> Iterator[Scenario]:
    rows = {
        # 400 is left out: it says that the request is wrong, and who gives up does right.
        403: ("signature or token has expired", "get a new signature or token for each attempt"),
        404: ("the trigger is not known everywhere yet", "try again after 404: a new trigger takes about 10 seconds"),
        429: ("too many at once", "try again after 429, later each time"),
        500: ("system error", "try again after 500"),
        503: ("system throttling", "try again after 503, later each time"),
    }
    if not _authenticates(account):
        del rows[403]
    for status, (why, advice) in rows.items():
        name = f"refused-{status}"
        rule = _rule(name, nth="1", refuse=status)
        yield Scenario(name, f"the first request is refused with {status}: {why}", "PAGE", advice, rules=(rule,))


def _authenticates(account: Account) -> bool:
    triggers = (trigger.triggerConfig.authType for function in account.functions for trigger in function.triggers)
    types = {*triggers, *(domain.authConfig.authType for domain in account.customDomains)}
    return not types <= {"anonymous", "none"}


def _of_starts() -> Iterator[Scenario]:
    yield Scenario(
        "cold-start",
        "the first instance takes 3 s longer to start",
        "D/04/076",
        "let a handshake take its time: the cloud gives an instance 120 s to start",
        rules=(_rule("cold-start", nth="1", coldStartDelay=3),),
        settings={"start": "lazy"},
    )
    yield Scenario(
        "start-fails",
        "the first instance does not start: 412",
        "D/04/076",
        "try again after 412: the next instance may start",
        rules=(_rule("start-fails", nth="1", refuseToStart=True),),
        settings={"start": "lazy"},
    )


def _of_connections(after: float) -> Iterator[Scenario]:
    timeout = max(1, round(after))
    yield Scenario(
        "timeout",
        f"the execution timeout is reached after {timeout} s",
        "PAGE",
        "connect again after 1006, and go on where it was",
        missed=f"no connection of its lasted {timeout} s (--after)",
        reach="timeout",
        timeout=timeout,
    )
    yield Scenario(
        "cut-early",
        "the first connection breaks behind its first message: 1006",
        "PAGE",
        _AGAIN,
        rules=_of_first("cut-early", {"messages": 1}, cut=True),
    )
    yield Scenario(
        "cut-mid-frame",
        "the first connection breaks in the middle of a frame: 1006",
        "PAGE",
        _AGAIN,
        missed="it got no message",
        rules=(_rule("cut-mid-frame", "websocket", "1", {"bytes": 3}, direction="toClient", cut=True),),
    )
    yield Scenario(
        "cut-late",
        "the first connection breaks behind its fifth message: 1006",
        "PAGE",
        _AGAIN,
        missed="its first WebSocket had fewer than five messages",
        rules=(_rule("cut-late", "websocket", "1", {"messages": 5}, cut=True),),
    )


def _closes() -> Iterator[Scenario]:
    codes = {1001: "going away", 1011: "internal error", 1012: "service restart", 1013: "try again later"}
    for code, meaning in codes.items():
        name = f"close-{code}"
        yield Scenario(
            name,
            f"the first connection is closed with {code}, {meaning}",
            "RFC 6455 7.4.1",
            f"connect again after {code}, and send again what was not answered",
            missed="no WebSocket of its had a message",
            rules=(_rule(name, "websocket", "1", {"messages": 1}, close=code),),
        )


def _of_lines(after: float) -> Iterator[Scenario]:
    ways = {
        "rst": ("is reset by a NAT", "connect again after 1006"),
        "fin": ("is ended by a NAT", "connect again after 1006"),
        "blackhole": ("is forgotten by a NAT", "connect again when a ping is not answered"),
    }
    for mode, (what, otherwise) in ways.items():
        name = f"nat-{mode}"
        yield Scenario(
            name,
            f"the first connection {what} when it was idle for {after:g} s",
            "PAGE",
            f"send pings, more often than every {after:g} s (--after); or {otherwise}",
            missed=f"no WebSocket of its lasted {after:g} s (--after)",
            reach="idle",
            rules=(_rule(name, "websocket", "1", idle={"after": after, "mode": mode}),),
        )
    yield Scenario(
        "half-open",
        "the first connection is dead behind its first message, and nobody is told",
        "INF",
        "send pings, and connect again when one is not answered",
        rules=_of_first("half-open", {"messages": 1}, stall=True),
    )
    yield Scenario(
        "slow-line",
        "everything is 0.2 s late, give or take 0.1, and passes at 20 kB/s",
        "INF",
        "give answers more time",
        rules=(_rule("slow-line", delay=0.2, jitter=0.1), _rule("slow-line", bandwidth=20_000)),
    )


def _of_instances() -> Iterator[Scenario]:
    share = "keep what two connections share outside of the instance: they need not meet in one"
    yield Scenario(
        "crash",
        "the first connection's instance dies behind the first message that it sends",
        "D/04/034",
        "try again after 1006, or 502; keep nothing in an instance's memory only",
        rules=_of_first("crash", {"messages": 1}, direction="toClient", crash=True),
    )
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


def _of_first(name: str, after: dict[str, Any], **action: Any) -> tuple[FaultRule, ...]:
    """Rules for the first connection: of a WebSocket then; of a plain request before the function has it."""
    return _rule(name, "websocket", "1", after, **action), _rule(f"{name}-http", "http", "1", **action)


def _rule(
    name: str, kind: str | None = None, nth: str | None = None, after: dict[str, Any] | None = None, **action: Any
) -> FaultRule:
    return FaultRule.model_validate({"name": name, "match": {"kind": kind, "nth": nth}, "after": after, **action})


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
