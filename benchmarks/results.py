"""How do results read? Tables in Markdown, and everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import BASE, Figure, Measured, Run, front_us, median_of, per_second
from benchmarks.targets import Verdict


@dataclass(frozen=True)
class Report:
    """All that a run of the benchmarks found out.

    Attributes:
        facts: about the machine and the options.
        curves: of fcemu alone; their rows are points.
    """

    facts: dict[str, str]
    works: list[Measured]
    curves: list[Measured]
    figures: list[Figure]
    verdicts: list[Verdict]


def table(measured: Measured) -> str:
    """A work as a table."""
    work = measured.work
    last = "above anonymous, µs" if work.guard else f"ratio to {_name_of_base(measured)}"
    heads = [measured.of, "operations/s", "p50 µs", "p99 µs", "front CPU µs/op", last, "client use", "backend use"]
    if work.kind == "idle":
        heads += ["held", "dropped", "memory per socket, KB"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for row, runs in measured.runs.items():
        if row in measured.without:
            lines.append(f"| {row} | {measured.without[row]} |" + " |" * (len(heads) - 2))
        elif runs:
            cells = _cells(measured, row, runs)
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _name_of_base(measured: Measured) -> str:
    return measured.base if measured.base == BASE else "first"


def _cells(measured: Measured, row: str, runs: Sequence[Run]) -> list[str]:
    compared = measured.above(row) if measured.work.guard else measured.ratio(row)
    cells = [
        f"{median_of(runs, per_second):,.0f}",
        f"{median_of(runs, lambda run: run.p50):,.0f}",
        f"{median_of(runs, lambda run: run.p99):,.0f}",
        f"{median_of(runs, front_us):,.1f}" if all(run.front for run in runs) else "–",
        "–" if compared is None else f"{compared:.1f}" if measured.work.guard else f"{compared:.2f}",
        f"{median_of(runs, lambda run: run.client / run.seconds):.0%}",
        f"{median_of(runs, lambda run: run.backend / run.seconds):.0%}",
    ]
    if measured.work.kind == "idle":
        cells += [
            f"{min(run.held for run in runs):,}",
            f"{sum(run.dropped for run in runs):,}",
            "–" if (memory := measured.memory(row)) is None else f"{memory / 1024:.1f}",
        ]
    return cells


def table_of_figures(figures: Sequence[Figure]) -> str:
    """What was measured inside fcemu."""
    lines = [f"| {figure.what} | {figure.value:.3g} {figure.unit} |" for figure in figures]
    return "\n".join(["| what | median |", "|---|---:|", *lines])


def table_of_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Targets, met or missed."""
    lines = ["| target | at most | measured | |", "|---|---:|---:|---|"]
    for verdict in verdicts:
        value = "–" if verdict.value is None else f"{verdict.value:.3g}"
        lines.append(f"| {verdict.target.what} | {verdict.target.bound:g} | {value} | {verdict.word} |")
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Everything on one page."""
    parts = [
        "# Results",
        "Made by `python -m benchmarks`; [README.md](README.md) says how to read them. Absolute figures are those of "
        "one machine. The ratios say more.",
        "\n".join(f"* {name}: {value}" for name, value in report.facts.items()),
    ]
    for measured in report.works:
        parts += [f"## {measured.work.name}: {measured.work.title}", table(measured)]
    if report.curves:
        parts += ["## How it grows", "fcemu alone; a ratio is that to the first point of its curve."]
    for measured in report.curves:
        parts += [f"### {measured.work.name}: {measured.work.title}", table(measured)]
    if report.figures:
        parts += ["## Inside fcemu", table_of_figures(report.figures)]
    parts += ["## Targets", table_of_verdicts(report.verdicts)]
    return "\n\n".join(parts) + "\n"


def as_json(report: Report) -> str:
    """Everything, every run included."""
    inside = {
        figure.key: {"what": figure.what, "median": figure.value, "unit": figure.unit} for figure in report.figures
    }
    targets = [
        {"what": v.target.what, "atMost": v.target.bound, "measured": v.value, "verdict": v.word}
        for v in report.verdicts
    ]
    whole = {
        "facts": report.facts,
        "works": _by_name(report.works),
        "growth": _by_name(report.curves),
        "inside": inside,
        "targets": targets,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _by_name(works: Sequence[Measured]) -> dict[str, Any]:
    return {
        measured.work.name: {
            "title": measured.work.title,
            "rows": {row: _row(measured, row, runs) for row, runs in measured.runs.items()},
        }
        for measured in works
    }


def _row(measured: Measured, row: str, runs: Sequence[Run]) -> dict[str, Any]:
    if row in measured.without:
        return {"without": measured.without[row]}
    return {
        f"ratioTo{_name_of_base(measured).title()}": measured.ratio(row),
        "aboveAnonymousMicroseconds": measured.above(row) if measured.work.guard else None,
        "runs": [asdict(run) for run in runs],
    }
