"""One command: every work, round by round and front by front, and a page of results."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import facts, growth, loads, results
from benchmarks.figures import ANONYMOUS, Measured
from benchmarks.fronts import FRONTS, Front
from benchmarks.growth import CURVES
from benchmarks.inside import INSIDE
from benchmarks.machine import Machine, Unable, prepared
from benchmarks.results import Report
from benchmarks.targets import verdicts
from benchmarks.works import WORKS, Work

_QUICK_IDLE = 200
"""Idle sockets of a quick run."""

_SCALE = "scale"
"""What the command line knows all curves by."""

_ALL = (*WORKS, _SCALE, *INSIDE)


def main() -> int:
    """Run the benchmarks; returns the exit code: 1 if a run went wrong, 2 if there can be none. No time decides it."""
    options = _options(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all that was started is ended
    works, curves, figures = [], [], []
    with tempfile.TemporaryDirectory(prefix="fcemu-benchmarks-") as folder:
        try:
            machine = prepared(Path(folder))
        except Unable as error:
            print(error, file=sys.stderr)
            return 2
        for name in options.only or _ALL:
            if name in INSIDE:
                found = INSIDE[name](machine, options.rounds)
                print(f"\n{results.table_of_figures(found)}", flush=True)
                figures += found
                continue
            if name == _SCALE:
                for curve in CURVES if "fcemu" in (options.front or FRONTS) else ():
                    points = curve.quick if options.quick else curve.points
                    measured = growth.measure(machine, curve, points, options.rounds, options.seconds)
                    _show(measured)
                    curves.append(measured)
                continue
            work = WORKS[name]
            if options.quick and work.kind == "idle":
                work = replace(work, connections=_QUICK_IDLE, title=f"{work.title} ({_QUICK_IDLE} only)")
            measured = measure(machine, work, options.front or list(FRONTS), options.rounds, options.seconds)
            _show(measured)
            works.append(measured)
    report = Report(
        facts.facts(machine, options.seconds, options.rounds), works, curves, figures, verdicts(works, figures)
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.md").write_text(results.markdown(report), "utf-8")
    (options.out / "results.json").write_text(results.as_json(report), "utf-8")
    print(f"\n{results.table_of_verdicts(report.verdicts)}\n\n{options.out / 'results.md'}")
    failed = any(
        reason.startswith(loads.FAILED) for measured in (*works, *curves) for reason in measured.without.values()
    )
    return 1 if failed else 0


def _show(measured: Measured) -> None:
    print(f"\n{measured.work.name}: {measured.work.title}\n\n{results.table(measured)}", flush=True)


def measure(machine: Machine, work: Work, fronts: Sequence[str], rounds: int, seconds: float) -> Measured:
    """Measure a work: in each round every front once."""
    rows: dict[str, tuple[str, str | None]] = {name: (name, None) for name in fronts}
    if work.guard:
        rows = {ANONYMOUS: ("fcemu", None), f"fcemu, {work.guard}": ("fcemu", work.guard)} if "fcemu" in fronts else {}
    measured = Measured(work, {row: [] for row in rows})
    # Memory that a front keeps after one round must not serve the sockets of the next: new ones for each.
    times, in_a_row = (rounds, 1) if work.kind == "idle" else (1, rounds)
    for _ in range(times):
        with contextlib.ExitStack() as stack:
            started: dict[str, Front] = {}
            for row, (name, _guard) in rows.items():
                with loads.noted(measured, row):
                    if name not in started:
                        started[name] = stack.enter_context(FRONTS[name](machine))
            for _ in range(in_a_row):
                for row, (name, guard) in rows.items():
                    if row in measured.without:
                        continue
                    with loads.noted(measured, row):
                        measured.runs[row].append(loads.run(machine, started[name], work, guard, seconds))
    return measured


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (2)")
    parser.add_argument("--rounds", type=int, default=5, help="in each of which every front has its turn (5)")
    parser.add_argument(
        "--only",
        action="append",
        choices=_ALL,
        metavar="WORK",
        help="this one; may be repeated: " + ", ".join(_ALL),
    )
    parser.add_argument(
        "--front",
        action="append",
        choices=FRONTS,
        metavar="NAME",
        help="this one; may be repeated: " + ", ".join(FRONTS),
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where results go (benchmarks/)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.3 s, small counts: does it work?")
    options = parser.parse_args(argv)
    if options.quick:
        options.seconds, options.rounds = 0.3, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
