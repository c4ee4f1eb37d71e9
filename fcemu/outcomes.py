"""What came of checks, and how does it read? As a table, as JUnit XML, and as GitHub Actions shows it."""

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
    """What came of one check.

    Attributes:
        group: what it is about, such as a function; empty for all of them.
        part: what of that, such as a trigger.
        detail: what came instead, or what else is worth saying.
        remedy: what to do about it.
        seconds: how long it took.
        file, line: what in the configuration it is about; line 0 if it is not known.
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
    """How many have this status."""
    return sum(outcome.status == status for outcome in outcomes)


def summary(outcomes: Sequence[Outcome]) -> str:
    """One line: `12 passed, 1 failed, 2 skipped in 3.4 s`."""
    counts = ((count(outcomes, status), status) for status in ("passed", "failed", "skipped"))
    told = ", ".join(f"{number} {status}" for number, status in counts if number) or "nothing was checked"
    return f"{told} in {sum(outcome.seconds for outcome in outcomes):.1f} s"


def as_table(outcomes: Sequence[Outcome], heading: tuple[str, str] = ("FUNCTION", "TRIGGER")) -> str:
    """For a terminal: a line each, then what failed and what was skipped in full, then the counts."""
    rows = [(*heading, "CHECK", "EXPECTED", "OUTCOME")]
    rows += [(o.group or "-", o.part or "-", o.name, o.expected, _briefly(o)) for o in outcomes]
    lines = [table([tuple(map(_visible, row)) for row in rows]), ""]
    for outcome in outcomes:
        if outcome.status != "passed":
            lines.append(f"{outcome.status}: {_visible(_title(outcome))}")
            lines += [f"  {_visible(line)}" for line in outcome.detail.splitlines()]
            lines += [f"  remedy: {_visible(line)}" for line in outcome.remedy.splitlines()]
    return "\n".join([*lines, summary(outcomes)])


def as_junit(outcomes: Sequence[Outcome], name: str, at: float) -> str:
    """JUnit XML as GitHub's actions, GitLab and Jenkins read it: a suite for each group, a case for each outcome.

    Args:
        name: of the whole.
        at: seconds since 1970 UTC.
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
                told = ElementTree.SubElement(case, "failure", type="failed", message=_xml(_first(outcome.detail)))
                told.text = _xml(_in_full(outcome))
            elif outcome.status == "skipped":
                ElementTree.SubElement(case, "skipped", message=_xml(outcome.detail))
            elif outcome.detail:
                ElementTree.SubElement(case, "system-out").text = _xml(outcome.detail)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def as_annotations(outcomes: Iterable[Outcome]) -> list[str]:
    """Workflow commands by which GitHub marks the lines of the configuration that failures are about."""
    return [
        annotation(outcome.file, outcome.line, _title(outcome), _in_full(outcome))
        for outcome in outcomes
        if outcome.status == "failed"
    ]


def annotation(file: str, line: int, title: str, text: str) -> str:
    """One such command."""
    properties = {"file": file, "line": str(line) if line else "", "title": title}
    told = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items() if value)
    return f"::error {told}::{_escaped(text)}"


def as_markdown(outcomes: Sequence[Outcome], title: str, heading: tuple[str, str] = ("Function", "Trigger")) -> str:
    """For a job's summary page."""
    marks = {"passed": "✅", "failed": "❌", "skipped": "⏭️"}
    rows: list[tuple[str, ...]] = [(*heading, "Check", "Expected", "Outcome"), ("---",) * 5]
    for outcome in outcomes:
        told = _briefly(outcome) if outcome.status == "passed" else _in_full(outcome)
        cells = (outcome.group, outcome.part, outcome.name, outcome.expected, f"{marks[outcome.status]} {told}")
        rows.append(tuple(map(_cell, cells)))
    lines = [f"### {_cell(title)}", "", summary(outcomes), "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, ""])


def _briefly(outcome: Outcome) -> str:
    return f"passed: {outcome.detail}" if outcome.status == "passed" and outcome.detail else outcome.status


def _title(outcome: Outcome) -> str:
    return (
        " ".join(filter(None, (outcome.group, outcome.part))) + f": {outcome.name}" if outcome.group else outcome.name
    )


def _in_full(outcome: Outcome) -> str:
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
    """Text that cannot move a terminal's cursor."""
    return "".join(c if c.isprintable() else _code(c) for c in text)


def _xml(text: str) -> str:
    """Text without what XML 1.0 cannot hold (2.2); ElementTree escapes the rest."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", lambda match: _code(match[0]), text)


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's runner takes it apart again; other control characters would be lost on a web page."""
    text = "".join(c if c.isprintable() or c in "\r\n" else _code(c) for c in text)
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table, as text."""
    for character, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(character, written)
    return "<br>".join(map(_visible, text.splitlines()))
