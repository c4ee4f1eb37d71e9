"""What happened when the client's test met a scenario?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fcemu.journal import FaultFired, InvocationEnded, InvocationStarted, Record
from fcemu.matrix.scenarios import BASELINE, Scenario
from fcemu.outcomes import Outcome as Told
from fcemu.outcomes import Status
from fcemu.report import table

Outcome = Literal["survived", "failed", "hung", "not reached"]


@dataclass(frozen=True)
class Trial:
    """How the command fared in a scenario.

    Attributes:
        exit_code: 128 + n where signal n ended it.
        hung: it was ended because it had taken too long.
        seconds: how long it ran.
        records: what happened meanwhile; of use are invocations and faults.
        output, log: the last lines that it wrote, and those of the emulator's log.
    """

    scenario: Scenario
    exit_code: int
    hung: bool
    seconds: float
    records: Sequence[Record]
    output: tuple[str, ...] = ()
    log: tuple[str, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether the client has met what the scenario is about."""
        return _reached(self.scenario, self.records)

    @property
    def outcome(self) -> Outcome:
        """Its result. A command that fails has failed, even where nothing happened to it."""
        if self.hung:
            return "hung"
        if self.exit_code:
            return "failed"
        return "survived" if self.reached else "not reached"

    @property
    def ended(self) -> str:
        """How the command ended, in words."""
        if self.hung:
            return f"was ended after {self.seconds:.0f} s (--limit)"
        code = self.exit_code
        return f"ended with exit code {code}" + (f" (signal {code - 128})" if code > 128 else "")

    def told(self, log: bool) -> list[str]:
        """What is known of it, in lines: how it ended, what became of its requests, what it wrote last.

        Args:
            log: with the end of the emulator's log.
        """
        answers = Counter(map(_answer, _ended(self.records)))
        made = ", ".join(f"{number} × {answer}" if number > 1 else answer for answer, number in answers.items())
        lines = [f"the command {self.ended}; its requests: {made or 'none'}", *(f"| {line}" for line in self.output)]
        return [*lines, "the end of fcemu's log:", *(f"| {line}" for line in self.log)] if log and self.log else lines

    @property
    def hint(self) -> str:
        """What to do about it; empty where it survived."""
        match self.outcome:
            case "survived":
                return ""
            case "not reached":
                return self.scenario.missed
            case _ if self.scenario.name == BASELINE:
                return self.scenario.advice
            case _ if not self.reached:
                return f"nothing of it happened ({self.scenario.missed}); does it fail from time to time?"
            case _:
                return self.scenario.advice


# ---- what has come of it


def _ended(records: Iterable[Record]) -> list[InvocationEnded]:
    return [record for record in records if isinstance(record, InvocationEnded)]


def _answer(end: InvocationEnded) -> str:
    """What became of a request: a status, and how its WebSocket was closed."""
    status = "no answer" if end.status is None else str(end.status)
    return status if end.close_code is None else f"{status} (closed with {end.close_code} by {end.closed_by})"


def _reached(scenario: Scenario, records: Sequence[Record]) -> bool:
    fired = any(isinstance(record, FaultFired) for record in records)
    ended = _ended(records)
    match scenario.reach:
        case "always":
            return True
        case "fault":
            return fired
        case "idle":
            # Pings, or other traffic, have kept it open: that is how to survive.
            after = min(seconds for rule in scenario.rules if (seconds := rule.action.idle_for) is not None)
            return fired or any(end.kind == "websocket" and end.duration > after for end in ended)
        case "timeout":
            return any(end.closed_by == "timeout" for end in ended)
        case "instances":
            called = {(each.function, each.instance_id) for each in records if isinstance(each, InvocationStarted)}
            return len(called) > len({function for function, _ in called})


def passed(trials: Iterable[Trial], strict: bool = False) -> bool:
    """Whether a run of the matrix has succeeded: whatever was met was survived.

    Args:
        strict: everything has to be met.
    """
    return all(_status(trial, strict) != "failed" for trial in trials)


def _status(trial: Trial, strict: bool) -> Status:
    match trial.outcome:
        case "survived":
            return "passed"
        case "not reached" if not strict:
            return "skipped"
        case _:
            return "failed"


def as_text(trials: Sequence[Trial], strict: bool = False) -> str:
    """For a terminal: a line each, then what failed with the end of its output, then the counts."""
    rows = [("SCENARIO", "OUTCOME", "EXIT", "SECONDS", "WHAT HAPPENS", "HINT")]
    for trial in trials:
        code, seconds = "-" if trial.hung else str(trial.exit_code), f"{trial.seconds:.1f}"
        rows.append((trial.scenario.name, trial.outcome, code, seconds, trial.scenario.happens, trial.hint))
    lines = [table(rows), ""]
    for trial in trials:
        if _status(trial, strict) == "failed":
            scenario = trial.scenario.name
            lines += [f"{scenario}: {line}" for line in trial.told(log=scenario == BASELINE)]
    counts = ((sum(trial.outcome == outcome for trial in trials), outcome) for outcome in get_args(Outcome))
    told = ", ".join(f"{number} {outcome}" for number, outcome in counts if number)
    return "\n".join([*lines, f"{told} in {sum(trial.seconds for trial in trials):.1f} s"])


def as_outcomes(trials: Iterable[Trial], group: str, file: str, strict: bool = False) -> list[Told]:
    """The same, for machines.

    Args:
        group: what they are about.
        file: the configuration.
    """
    return [_as_outcome(trial, _status(trial, strict), group, file) for trial in trials]


def _as_outcome(trial: Trial, status: Status, group: str, file: str) -> Told:
    scenario, hint = trial.scenario, trial.hint
    unmet = trial.outcome == "not reached"
    told = "" if trial.outcome == "survived" else f"not reached: {hint}" if unmet else "\n".join(trial.told(log=True))
    expected, remedy = f"survives: {scenario.happens}", "" if unmet else hint
    return Told(group, "", scenario.name, expected, status, told, remedy, trial.seconds, file)
