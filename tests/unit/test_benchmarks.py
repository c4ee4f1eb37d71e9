"""The results of the benchmarks: medians, ratios, wrk's output, tables, verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import figures, growth, loads, results
from benchmarks.figures import ANONYMOUS, Figure, Measured, Run
from benchmarks.fronts import FRONTS, Front, configuration
from benchmarks.growth import CURVES
from benchmarks.loads import TooShort, noted, parsed, wrk_command
from benchmarks.machine import Failed, Machine, Missing
from benchmarks.targets import TARGETS, Target, Verdict, verdicts
from benchmarks.works import WORKS, Work
from fcemu.model import Account

WRK = """\
Running 60m test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.95ms    0.87ms   9.07ms   93.65%
    Req/Sec    51.91k    10.89k   61.23k    90.00%
  Latency Distribution
     50%  763.00us
     75%    0.91ms
     90%    1.16ms
     99%    5.53ms
  51602 requests in 1.01s, 13.09MB read
Requests/sec:  51318.16
"""

MACHINE = Machine(Path("/nowhere"), 1, 0)


def run(front: float = 0.5, operations: int = 1000) -> Run:
    """A run of a second in which the front used this many seconds of CPU time."""
    return Run(operations, 1.0, 10.0, 20.0, front, 0.25, 0.125)


def measured(name: str, **rows: list[Run]) -> Measured:
    """A work with rows; `_` in a name stands for `, `."""
    return Measured(WORKS[name], {row.replace("_", ", "): runs for row, runs in rows.items()})


def test_cost_of_an_operation_is_the_fronts_time() -> None:
    """Seconds of CPU time become microseconds for each operation."""
    assert figures.front_us(run(front=0.5, operations=1000)) == 500.0
    assert figures.per_second(replace(run(operations=1000), seconds=2.0)) == 500.0


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Rounds are compared with each other, not their medians: 1/1, 8/4, 4/1 have the median 2, their medians 4 to 1."""
    ones = [run(front=0.1), run(front=0.8), run(front=0.4)]
    others = [run(front=0.1), run(front=0.4), run(front=0.1)]
    assert figures.ratio(ones, others) == pytest.approx(2.0)


def test_difference_is_the_median_of_the_rounds_differences() -> None:
    """The difference is the median of the rounds' differences, in microseconds."""
    ones, others = [run(front=0.3), run(front=0.5), run(front=0.9)], [run(front=0.1), run(front=0.4), run(front=0.1)]
    assert figures.difference(ones, others) == pytest.approx(200.0)


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    """Without runs, with a round missing, or where there is no front, nothing is compared."""
    assert figures.ratio([run()], []) is None
    assert figures.ratio([run()], [run(), run()]) is None
    assert figures.ratio([run()], [run(front=0.0)]) is None
    assert figures.difference([run()], []) is None


def test_row_that_failed_is_not_compared() -> None:
    """Runs before a failure do not count."""
    of = measured("echo-1", nginx=[run()], fcemu=[run()])
    assert of.ratio("fcemu") == 1.0
    of.without["nginx"] = "failed: it did"
    assert of.ratio("fcemu") is None


def test_wrk_is_understood() -> None:
    """Requests, seconds, percentiles; its units become microseconds."""
    assert parsed(WRK) == (51602, 1.01, 763.0, 5530.0)


@pytest.mark.parametrize(
    "more", ["  Non-2xx or 3xx responses: 7\n", "  Socket errors: connect 0, read 1, write 0, timeout 0\n"]
)
def test_answer_of_another_kind_fails_a_run(more: str) -> None:
    """A run in which wrk counts errors has no figures."""
    with pytest.raises(Failed, match=more.strip()):
        parsed(WRK + more)


@pytest.mark.parametrize(
    "text", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", WRK.replace("51602 requests", "0 requests")]
)
def test_run_of_wrk_without_requests_fails(text: str) -> None:
    """A run without requests is not a measurement."""
    with pytest.raises(Failed):
        parsed(text)


def test_run_that_was_too_short_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no request ended in time, a run is repeated and made longer, but not forever."""
    tried: list[float] = []

    def slow(machine: Machine, front: Front, work: Work, guard: str | None, seconds: float) -> Run:
        tried.append(seconds)
        parsed(WRK.replace("51602 requests", f"{int(seconds > enough)} requests"))
        return run()

    monkeypatch.setattr(loads, "http", slow)
    front, enough = Front("fcemu", 1, None), 4.0
    loads.run(MACHINE, front, WORKS["get-64"], None, 0.3)
    assert tried == pytest.approx([0.3, 1.2, 4.8])
    enough = 1e9
    with pytest.raises(TooShort):
        loads.run(MACHINE, front, WORKS["get-64"], None, 0.3)
    assert tried[3:] == pytest.approx([0.3, 1.2, 4.8, 19.2, 20.0])


def test_guarded_function_is_sent_what_it_wants(tmp_path: Path) -> None:
    """A signature or a token goes with each request to the function of that name."""
    signed = " ".join(wrk_command(WORKS["signed-64"], 1, "signed", tmp_path))
    assert "Host: signed.localhost" in signed
    assert "Authorization: ACS3-HMAC-SHA256 Credential=bench" in signed
    assert "Authorization: Bearer ey" in " ".join(wrk_command(WORKS["jwt-64"], 1, "jwt", tmp_path))
    assert "Authorization" not in " ".join(wrk_command(WORKS["get-64"], 1, None, tmp_path))


def test_each_path_is_asked_for_once(tmp_path: Path) -> None:
    """A script of wrk requests each path once."""
    paths = wrk_command(WORKS["paths-64"], 1, None, tmp_path)
    assert '"/" .. n' in Path(paths[paths.index("-s") + 1]).read_text()


def test_large_body_is_sent_or_fetched(tmp_path: Path) -> None:
    """10 MiB go up by a script of wrk's, and down from a path of their own."""
    up = wrk_command(WORKS["up-10m"], 1, None, tmp_path)
    assert "10 * 1024 * 1024" in Path(up[up.index("-s") + 1]).read_text()
    assert wrk_command(WORKS["down-10m"], 1, None, tmp_path)[-1] == "http://127.0.0.1:1/10m"


def test_configuration_of_fcemu_is_a_valid_one() -> None:
    """Three functions, each guarded in another way."""
    account = Account.model_validate(configuration(MACHINE, Path("/nowhere/listens")))
    guards = {f.functionName: f.triggers[0].triggerConfig.authType for f in account.functions}
    assert guards == {"bench": "anonymous", "signed": "function", "jwt": "jwt"}


def test_configuration_of_a_point_has_as_many_as_it_says() -> None:
    """Functions without requests start no instance; one instance of the requested function has room for a client."""
    configured = partial(growth.configuration, machine=MACHINE, listens=Path("/nowhere/listens"))
    functions = Account.model_validate(configured("functions", 300))
    instances = Account.model_validate(configured("instances", 50))
    sockets = Account.model_validate(configured("idle sockets", 9000))
    assert (len(functions.functions), functions.fcemu.start) == (300, "lazy")
    assert (len(instances.functions), instances.fcemu.start) == (1, "eager")
    assert (instances.functions[0].minimum, sockets.functions[0].minimum) == (50, 0)
    asked = [account.functions[-1] for account in (functions, instances, sockets)]
    assert {function.functionName for function in asked} == {"bench"}
    room = min(function.instanceConcurrency for function in asked)
    assert max(curve.work.connections for curve in CURVES) <= room


def test_points_of_a_curve_grow() -> None:
    """The first point is the base of the ratios; a quick run has the same first point, and only a few others."""
    for curve in CURVES:
        assert list(curve.points) == sorted(set(curve.points))
        assert list(curve.quick) == sorted(set(curve.quick))
        assert curve.quick[0] == curve.points[0]
        assert curve.quick[-1] < curve.points[-1]
    assert len({curve.work.name for curve in CURVES} | WORKS.keys()) == len(CURVES) + len(WORKS)


def test_curve_is_compared_with_its_first_point() -> None:
    """The table, the page and the JSON of a curve name what grows, and that ratios are to the first point."""
    rows = {"1": [run(front=0.2)], "300": [run(front=0.3)]}
    curve = Measured(CURVES[1].work, rows, of="functions", base="1")
    head, _, first, last = results.table(curve).splitlines()
    assert head.startswith("| functions | ")
    assert "| ratio to first |" in head
    assert "| 200.0 | 1.00 |" in first
    assert last.startswith("| 300 | ")
    assert "| 300.0 | 1.50 |" in last
    report = results.Report({}, [], [curve], [], [])
    page, kept = results.markdown(report), json.loads(results.as_json(report))
    assert page.index("## How it grows") < page.index(head) < page.index("## Targets")
    assert kept["growth"]["functions"]["rows"]["300"]["ratioToFirst"] == pytest.approx(1.5)


def test_row_says_why_it_could_not_be_measured() -> None:
    """Missing programs are skipped, failed runs have failed, and unexpected errors are not hidden."""
    of = measured("echo-1", nginx=[], fcemu=[])
    with noted(of, "nginx"):
        raise Missing("nginx is not installed")
    with noted(of, "fcemu"):
        raise Failed("1 instances run instead of 3")
    assert of.without == {"nginx": "skipped: nginx is not installed", "fcemu": "failed: 1 instances run instead of 3"}
    with pytest.raises(ZeroDivisionError), noted(of, "direct"):
        _ = 1 / 0


def test_table_has_a_line_for_each_row() -> None:
    """Medians, the ratio to nginx, and how busy client and backend were."""
    of = measured("echo-1", direct=[run(front=0.0)], nginx=[run(front=0.2)], fcemu=[run(front=0.3)])
    assert results.table(of).splitlines() == [
        "| front | operations/s | p50 µs | p99 µs | front CPU µs/op | ratio to nginx | client use | backend use |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| direct | 1,000 | 10 | 20 | – | – | 25% | 12% |",
        "| nginx | 1,000 | 10 | 20 | 200.0 | 1.00 | 25% | 12% |",
        "| fcemu | 1,000 | 10 | 20 | 300.0 | 1.50 | 25% | 12% |",
    ]


def test_table_says_why_a_row_has_no_figures() -> None:
    """A missing front is skipped by name, in as many columns as the others."""
    of = measured("idle", nginx=[], fcemu=[replace(run(), held=9500, memory=2048.0)])
    of.without["nginx"] = "skipped: nginx is not installed"
    head, _, nginx, fcemu = results.table(of).splitlines()
    assert "skipped: nginx is not installed" in nginx
    assert {line.count("|") for line in (head, nginx, fcemu)} == {12}
    assert fcemu.endswith("| 9,500 | 0 | 2.0 |")


def test_table_of_a_guarded_function_has_the_price_of_its_guard() -> None:
    """A guarded function is compared with the anonymous function, not with nginx."""
    of = Measured(WORKS["signed-64"], {ANONYMOUS: [run(front=0.2)], "fcemu, signed": [run(front=0.25)]})
    head, _, _, signed = results.table(of).splitlines()
    assert "above anonymous, µs" in head
    assert "| 250.0 | 50.0 |" in signed


def test_verdict_is_met_at_its_bound() -> None:
    """A target is met at its bound; without a measurement it is neither met nor missed."""
    target = Target("it", 1.0, "figure", "it")
    words = [Verdict(target, value).word for value in (0.9, 1.0, 1.1, None)]
    assert words == ["met", "met", "**missed**", "not measured"]


def test_each_kind_of_target_finds_its_figure() -> None:
    """Ratios, differences, memory, lost sockets, and figures of their own."""
    works = [
        measured("get-64", nginx=[run(front=0.1)], fcemu=[run(front=0.2)]),
        Measured(WORKS["signed-64"], {ANONYMOUS: [run(front=0.2)], "fcemu, signed": [run(front=0.25)]}),
        measured(
            "idle", fcemu=[replace(run(), held=9500, dropped=0, memory=3072.0), replace(run(), held=9499, dropped=1)]
        ),
    ]
    found = {
        (verdict.target.name, verdict.target.kind): verdict.value
        for verdict in verdicts(works, [Figure("help", "--help", 0.1, "s")])
        if verdict.value is not None
    }
    assert found == {
        ("get-64", "ratio"): pytest.approx(2.0),
        ("signed-64", "above"): pytest.approx(50.0),
        ("idle", "memory"): 3.0,
        ("idle", "lost"): 2,
        ("help", "figure"): 0.1,
    }


def test_ratio_of_a_target_is_to_its_own_base() -> None:
    """Large messages are compared with nginx as it is, and with one that has larger buffers."""
    rows = {"nginx": [run(front=0.4)], "nginx-64k": [run(front=0.1)], "fcemu": [run(front=0.2)]}
    found = verdicts([Measured(WORKS["echo-1m"], rows)], [])
    assert {v.target.base: v.value for v in found if v.target.name == "echo-1m"} == {
        "nginx": pytest.approx(0.5),
        "nginx-64k": pytest.approx(2.0),
    }


def test_targets_are_of_works_that_there_are() -> None:
    """A target with a misspelt name would never be measured."""
    figures_of_their_own = {"jwt-ratio", "start", "help", "policy"}
    assert {target.name for target in TARGETS if target.kind != "figure"} <= WORKS.keys()
    assert {target.name for target in TARGETS if target.kind == "figure"} == figures_of_their_own


def test_report_keeps_every_run() -> None:
    """The page has the tables and the targets; the JSON has the runs."""
    works = [measured("echo-1", nginx=[run(), run()], fcemu=[run(), run()])]
    report = results.Report({"runs": "2"}, works, [], [Figure("help", "--help", 0.1, "s")], verdicts(works, []))
    page, kept = results.markdown(report), json.loads(results.as_json(report))
    assert "## echo-1: " in page
    assert "| --help | 0.1 s |" in page
    assert "| 1.1 | 1 | met |" in page
    assert len(kept["works"]["echo-1"]["rows"]["fcemu"]["runs"]) == 2
    assert kept["works"]["echo-1"]["rows"]["fcemu"]["ratioToNginx"] == 1.0
    assert kept["targets"][0]["verdict"] == "met"


def test_fronts_are_measured_with_the_base_among_them() -> None:
    """A selection of fronts always includes nginx, the base, and fcemu."""
    assert {figures.BASE, figures.TUNED, "fcemu"} <= FRONTS.keys()
