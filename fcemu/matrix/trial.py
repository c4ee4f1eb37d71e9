"""The result of running the client's test in a scenario, and how results are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fcemu.journal import FaultFired, InvocationEnded, InvocationStarted, Record
from fcemu.matrix.scenarios import BASELINE, Scenario
from fcemu.outcomes import Outcome, Status
from fcemu.report import table

Verdict = Literal["survived", "failed", "hung", "not reached"]


@dataclass(frozen=True)
class Trial:
    """A run of the command in a scenario.

    Attributes:
        exit_code: of the command; 128 + n if signal n killed it.
        hung: whether it was stopped because it took too long.
        seconds: how long it ran.
        records: invocations and faults in the meantime.
        output, log: the last lines of its output and of the emulator's log.
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
        """Whether the client has met the failure of the scenario."""
        return _reached(self.scenario, self.records)

    @property
    def verdict(self) -> Verdict:
        """How the client fared. A command that fails has failed, even if it has not met the failure."""
        if self.hung:
            return "hung"
        if self.exit_code:
            return "failed"
        return "survived" if self.reached else "not reached"

    @property
    def ending(self) -> str:
        """How the command ended, in words."""
        if self.hung:
            return f"was stopped after {self.seconds:.0f} s (--limit)"
        code = self.exit_code
        return f"exited with code {code}" + (f" (signal {code - 128})" if code > 128 else "")

    def details(self, log: bool) -> list[str]:
        """The run in lines: how the command ended, how its requests ended, and its last output.

        Args:
            log: whether to add the end of the emulator's log.
        """
        answers = Counter(map(_answer, _ended(self.records)))
        made = ", ".join(f"{number} × {answer}" if number > 1 else answer for answer, number in answers.items())
        lines = [f"the command {self.ending}; its requests: {made or 'none'}", *(f"| {line}" for line in self.output)]
        return [*lines, "the end of fcemu's log:", *(f"| {line}" for line in self.log)] if log and self.log else lines

    @property
    def hint(self) -> str:
        """What to do about it; empty if the client survived."""
        match self.verdict:
            case "survived":
                return ""
            case "not reached":
                return self.scenario.missed
            case _ if self.scenario.name == BASELINE:
                return self.scenario.advice
            case _ if not self.reached:
                return f"it did not meet the failure ({self.scenario.missed}); does it fail occasionally?"
            case _:
                return self.scenario.advice


# ---- reports


def _ended(records: Iterable[Record]) -> list[InvocationEnded]:
    return [record for record in records if isinstance(record, InvocationEnded)]


def _answer(end: InvocationEnded) -> str:
    """How a request ended: its status, and how its WebSocket was closed."""
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
            # A WebSocket that stayed open has met the failure: its traffic kept it alive, as it should.
            after = min(seconds for rule in scenario.rules if (seconds := rule.action.idle_for) is not None)
            return fired or any(end.kind == "websocket" and end.duration > after for end in ended)
        case "timeout":
            return any(end.closed_by == "timeout" for end in ended)
        case "instances":
            called = {(each.function, each.instance_id) for each in records if isinstance(each, InvocationStarted)}
            return len(called) > len({function for function, _ in called})


def passed(trials: Iterable[Trial], strict: bool = False) -> bool:
    """Whether a run of the matrix has succeeded: the client survived every failure that it met.

    Args:
        strict: whether it must meet every failure.
    """
    return all(_status(trial, strict) != "failed" for trial in trials)


def _status(trial: Trial, strict: bool) -> Status:
    match trial.verdict:
        case "survived":
            return "passed"
        case "not reached" if not strict:
            return "skipped"
        case _:
            return "failed"


def as_text(trials: Sequence[Trial], strict: bool = False) -> str:
    """For a terminal: a table of the trials, the details of those that failed, then the counts."""
    rows = [("SCENARIO", "OUTCOME", "EXIT", "SECONDS", "WHAT HAPPENS", "HINT")]
    for trial in trials:
        code, seconds = "-" if trial.hung else str(trial.exit_code), f"{trial.seconds:.1f}"
        rows.append((trial.scenario.name, trial.verdict, code, seconds, trial.scenario.happens, trial.hint))
    lines = [table(rows), ""]
    for trial in trials:
        if _status(trial, strict) == "failed":
            scenario = trial.scenario.name
            lines += [f"{scenario}: {line}" for line in trial.details(log=scenario == BASELINE)]
    counts = ((sum(trial.verdict == verdict for trial in trials), verdict) for verdict in get_args(Verdict))
    summary = ", ".join(f"{number} {verdict}" for number, verdict in counts if number)
    return "\n".join([*lines, f"{summary} in {sum(trial.seconds for trial in trials):.1f} s"])


def as_outcomes(trials: Iterable[Trial], group: str, file: str, strict: bool = False) -> list[Outcome]:
    """The trials as outcomes, for JUnit and GitHub Actions.

    Args:
        group: the names of the functions.
        file: the configuration file.
    """
    return [_as_outcome(trial, _status(trial, strict), group, file) for trial in trials]


def _as_outcome(trial: Trial, status: Status, group: str, file: str) -> Outcome:
    scenario, hint = trial.scenario, trial.hint
    unmet = trial.verdict == "not reached"
    detail = (
        "" if trial.verdict == "survived" else f"not reached: {hint}" if unmet else "\n".join(trial.details(log=True))
    )
    expected, remedy = f"survives: {scenario.happens}", "" if unmet else hint
    return Outcome(group, "", scenario.name, expected, status, detail, remedy, trial.seconds, file)
