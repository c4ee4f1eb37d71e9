"""The outcomes of checks, as a table, as JUnit XML, and as annotations and a summary for GitHub Actions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Literal
from xml.etree import ElementTree

from fcemu.report import table

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check.

    Attributes:
        group: what was checked, e.g. the name of a function; empty if the check is about everything.
        part: a part of it, e.g. the name of a trigger.
        name: what was checked about it.
        expected: the expected result.
        detail: the actual result, if it is worth reporting.
        remedy: what to do about a failure.
        seconds: how long the check took.
        file, line: the place in the configuration; line 0 if it is not known.
    """

    group: str
    part: str
    name: str
    expected: str
    status: Status
    detail: str = ""
    remedy: str = ""
    seconds: float = 0.0
    file: str = ""
    line: int = 0


def count(outcomes: Iterable[Outcome], status: Status) -> int:
    """The number of outcomes with this status."""
    return sum(outcome.status == status for outcome in outcomes)


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line: `12 passed, 1 failed, 2 skipped in 3.4 s`."""
    counts = ((count(outcomes, status), status) for status in ("passed", "failed", "skipped"))
    text = ", ".join(f"{number} {status}" for number, status in counts if number) or "nothing was checked"
    return f"{text} in {sum(outcome.seconds for outcome in outcomes):.1f} s"


def as_table(outcomes: Sequence[Outcome], heading: tuple[str, str] = ("FUNCTION", "TRIGGER")) -> str:
    """For a terminal: a table, then the details of what failed and what was skipped, then the counts."""
    rows = [(*heading, "CHECK", "EXPECTED", "OUTCOME")]
    rows += [(o.group or "-", o.part or "-", o.name, o.expected, _brief(o)) for o in outcomes]
    lines = [table([tuple(map(_visible, row)) for row in rows]), ""]
    for outcome in outcomes:
        if outcome.status != "passed":
            lines.append(f"{outcome.status}: {_visible(_title(outcome))}")
            lines += [f"  {_visible(line)}" for line in outcome.detail.splitlines()]
            lines += [f"  remedy: {_visible(line)}" for line in outcome.remedy.splitlines()]
    return "\n".join([*lines, summary(outcomes)])


def as_junit(outcomes: Sequence[Outcome], name: str, at: float) -> str:
    """JUnit XML, as GitHub Actions, GitLab and Jenkins read it: a suite per group, a case per outcome.

    Args:
        name: the name of all suites together.
        at: the time of the checks, in seconds since 1970 UTC.
    """
    root = ElementTree.Element("testsuites", _totals(outcomes), name=_xml(name))
    for group, members in groupby(sorted(outcomes, key=lambda o: o.group), key=lambda o: o.group):
        cases = list(members)
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        suite = ElementTree.SubElement(root, "testsuite", _totals(cases), name=_xml(group or name), timestamp=when)
        for outcome in cases:
            classname = ".".join(filter(None, (name, group, outcome.part)))
            case = ElementTree.SubElement(suite, "testcase", classname=_xml(classname), name=_xml(outcome.name))
            case.set("time", f"{outcome.seconds:.3f}")
            if outcome.file:
                case.set("file", _xml(outcome.file))
                case.set("line", str(outcome.line))
            if outcome.status == "failed":
                failure = ElementTree.SubElement(case, "failure", type="failed", message=_xml(_first(outcome.detail)))
                failure.text = _xml(_details(outcome))
            elif outcome.status == "skipped":
                ElementTree.SubElement(case, "skipped", message=_xml(outcome.detail))
            elif outcome.detail:
                ElementTree.SubElement(case, "system-out").text = _xml(outcome.detail)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_annotations(outcomes: Iterable[Outcome]) -> list[str]:
    """Workflow commands of GitHub Actions that annotate the configuration, one per failure."""
    return [
        annotation(outcome.file, outcome.line, _title(outcome), _details(outcome))
        for outcome in outcomes
        if outcome.status == "failed"
    ]


def annotation(file: str, line: int, title: str, text: str) -> str:
    """A workflow command that annotates a line of a file with an error; line 0 is the whole file."""
    properties = {"file": file, "line": str(line) if line else "", "title": title}
    written = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items() if value)
    return f"::error {written}::{_escaped(text)}"


def as_markdown(outcomes: Sequence[Outcome], title: str, heading: tuple[str, str] = ("Function", "Trigger")) -> str:
    """For the summary page of a job, in Markdown."""
    marks = {"passed": "✅", "failed": "❌", "skipped": "⏭️"}
    rows: list[tuple[str, ...]] = [(*heading, "Check", "Expected", "Outcome"), ("---",) * 5]
    for outcome in outcomes:
        text = _brief(outcome) if outcome.status == "passed" else _details(outcome)
        cells = (outcome.group, outcome.part, outcome.name, outcome.expected, f"{marks[outcome.status]} {text}")
        rows.append(tuple(map(_cell, cells)))
    lines = [f"### {_cell(title)}", "", summary(outcomes), "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, ""])


def _brief(outcome: Outcome) -> str:
    return f"passed: {outcome.detail}" if outcome.status == "passed" and outcome.detail else outcome.status


def _title(outcome: Outcome) -> str:
    return (
        " ".join(filter(None, (outcome.group, outcome.part))) + f": {outcome.name}" if outcome.group else outcome.name
    )


def _details(outcome: Outcome) -> str:
    expected = f"expected: {outcome.expected}" if outcome.status == "failed" else ""
    remedy = f"remedy: {outcome.remedy}" if outcome.remedy else ""
    return "\n".join(filter(None, (outcome.detail, expected, remedy)))


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(count(outcomes, "failed")),
        "errors": "0",
        "skipped": str(count(outcomes, "skipped")),
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }


def _first(text: str) -> str:
    return text.partition("\n")[0]


def _visible(text: str) -> str:
    """Text without control characters, which could move the cursor of a terminal."""
    return "".join(c if c.isprintable() else _code(c) for c in text)


def _xml(text: str) -> str:
    """Text without characters that XML 1.0 does not allow (2.2); ElementTree escapes the rest."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", lambda match: _code(match[0]), text)


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}"


def _escaped(text: str, more: str = "") -> str:
    """Text escaped for a workflow command. Other control characters are made visible, because web pages drop them."""
    text = "".join(c if c.isprintable() or c in "\r\n" else _code(c) for c in text)
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _cell(text: str) -> str:
    """Text escaped for a cell of a Markdown table."""
    for character, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(character, written)
    return "<br>".join(map(_visible, text.splitlines()))
