"""Records and tables as text."""

from __future__ import annotations

import json

from fcemu import report
from fcemu.journal import FaultFired, HookCalled, InstanceChanged, InvocationEnded, InvocationStarted, LogLine, Notice
from fcemu.model import Account
from fcemu.scheduling.billing import Bill

ENDED = InvocationEnded(
    wall_time=3661.5, request_id="1-a-b-c", function="fn", qualifier="LATEST", method="GET", target="/x", kind="http",
    status=200, duration=0.0123, instance_id="c-65d71219-00000001-00000000000a", cold_start=True, billed_ms=13,
)  # fmt: skip


def test_invocation_is_one_line_behind_the_clouds_end_line() -> None:
    """An invocation has the cloud's End line and a line of fcemu."""
    assert report.as_text(ENDED) == [
        "01:01:01.500 fn 00000000000a | FC Invoke End RequestId: 1-a-b-c",
        "01:01:01.500 fn 1-a-b-c GET /x 200 00000000000a cold 12.3 ms billed 13 ms",
    ]


def test_invocation_start_is_worded_as_the_cloud_does() -> None:
    """The Start line has the cloud's words."""
    record = InvocationStarted(0.0, "1-a-b-c", "fn", "c-1-2-3")
    assert report.as_text(record) == ["00:00:00.000 fn c-1-2-3 | FC Invoke Start RequestId: 1-a-b-c"]


def test_refusal_explains_itself() -> None:
    """A refused request's line is followed by the reason and the remedy, and has no End line."""
    record = InvocationEnded(
        wall_time=0.0, request_id="1-a", function="fn", qualifier=None, method="PUT", target="/", kind="http",
        status=403, duration=0.0, error_code="AccessDenied", reason="not PUT\nmore", remedy="add PUT",
    )  # fmt: skip
    assert report.as_text(record) == [
        "00:00:00.000 fn 1-a PUT / 403 AccessDenied 0.0 ms billed 0 ms",
        "00:00:00.000   reason: not PUT",
        "    more",
        "00:00:00.000   remedy: add PUT",
    ]


def test_socket_shows_its_close_code_and_who_closed() -> None:
    """A socket's line has the close code and the side."""
    record = InvocationEnded(
        wall_time=0.0, request_id="1-a", function="fn", qualifier=None, method="GET", target="/", kind="websocket",
        status=101, duration=1.0, instance_id="c-1", close_code=1006, closed_by="timeout",
        error="Function timed out after 1 seconds",
    )  # fmt: skip
    first, second = report.as_text(record)
    assert first.endswith("FC Invoke End RequestId: 1-a, Error: Function timed out after 1 seconds")
    assert "101 close 1006 by timeout" in second


def test_target_cannot_forge_a_log_line() -> None:
    """Control characters of a target are escaped."""
    record = InvocationEnded(
        wall_time=0.0, request_id="1-a", function=None, qualifier=None, method="GET",
        target="/\x1b[2J\n/\x85", kind="http", status=404, duration=0.0,
    )  # fmt: skip
    (line,) = report.as_text(record)
    assert "/\\x1b[2J\\x0a/\\x85" in line


def test_other_records_read_as_lines() -> None:
    """A function's output, an instance's state and a notice are one line each."""
    assert report.as_text(LogLine(0.0, "fn", "c-1", "stderr", "oh")) == ["00:00:00.000 fn c-1 stderr | oh"]
    assert report.as_text(InstanceChanged(0.0, "fn", "c-1", "ready", "127.0.0.2:1")) == [
        "00:00:00.000 fn c-1 instance ready: 127.0.0.2:1"
    ]
    hook = HookCalled(0.0, "fn", "c-1", "PreStop", "End", "a-uuid", "/pre-stop answered 500")
    assert report.as_text(hook) == [
        "00:00:00.000 fn c-1 | FC PreStop End RequestId: a-uuid, Error: /pre-stop answered 500"
    ]
    assert report.as_text(Notice(0.0, "warning", "look")) == ["00:00:00.000 warning: look"]
    request = FaultFired(0.0, "flaky", "refuse", "fn", "1-a-b-c", "c-1")
    start = FaultFired(0.0, "late", "coldStartDelay", "fn", None, "c-65d71219-00000001-00000000000a")
    assert report.as_text(request) == ["00:00:00.000 fn 1-a-b-c fault flaky: refuse"]
    assert report.as_text(start) == ["00:00:00.000 fn 00000000000a fault late: coldStartDelay"]


def test_json_has_the_records_type_and_fields() -> None:
    """A record as JSON names its type."""
    parsed = json.loads(report.as_json(ENDED))
    assert (parsed["record"], parsed["billed_ms"], parsed["close_code"]) == ("InvocationEnded", 13, None)


def test_json_has_for_programs_what_the_text_says() -> None:
    """How an instance ended, and what a notice is about, are fields, so that programs need not read the text."""
    ended = InstanceChanged(0.0, "fn", "c-1", "ended", "exit code 137: too much memory", 137, "memory-limit")
    parsed = json.loads(report.as_json(ended))
    assert (parsed["exit_code"], parsed["reason"]) == (137, "memory-limit")
    parsed = json.loads(report.as_json(Notice(0.0, "warning", "look", "single-instance", "fn")))
    assert (parsed["kind"], parsed["function"]) == ("single-instance", "fn")
    assert json.loads(report.as_json(Notice(0.0, "info", "look")))["kind"] is None


def test_routes_of_domains_have_rows_of_their_own() -> None:
    """A domain's route shows its URL, the methods that it names, and the domain's authentication."""
    routes = [{"path": "/a/*", "functionName": "fn", "methods": ["GET", "PUT"]}, {"path": "/b", "functionName": "fn"}]
    domain = {"domainName": "api.example.com", "routeConfig": {"routes": routes}}
    served = Account.model_validate({"functions": [{"functionName": "fn"}], "customDomains": [domain]})
    _, _, first, second = [row.split() for row in report.url_map(served, 80).splitlines()]
    urls = ["ws://api.example.com:80/a/*", "http://api.example.com:80/a/*"]
    assert first == ["→", "fn", *urls, "GET,PUT", "anonymous"]
    assert second[4:] == ["any", "anonymous"]


def account(*names: str) -> Account:
    """Functions with one trigger each."""
    trigger = {"triggerName": "t", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
    return Account.model_validate({"functions": [{"functionName": name, "triggers": [trigger]} for name in names]})


def test_one_function_is_addressed_by_ip_and_several_by_name() -> None:
    """The table shows addresses that work: the IP for one function, names for several."""
    assert "ws://127.0.0.1:8080/" in report.url_map(account("a"), 8080)
    several = report.url_map(account("a", "B"), 8080)
    assert "ws://a.localhost:8080/" in several
    assert "http://b.localhost:8080/" in several


def test_table_says_what_is_closed() -> None:
    """A disabled internet URL, a trigger without GET and a function without trigger are shown as such."""
    config = {"methods": ["POST"], "authType": "anonymous"}
    closed = {"triggerName": "t", "triggerConfig": {**config, "disableURLInternet": True}}
    shown = report.url_map(
        Account.model_validate(
            {
                "functions": [
                    {"functionName": "a", "triggers": [{"triggerName": "t", "triggerConfig": config}]},
                    {"functionName": "b", "triggers": [closed]},
                    {"functionName": "c"},
                ]
            }
        ),
        1,
    )
    assert "needs GET" in shown
    assert "closed (403)" in shown
    assert "b-vpc.localhost:1" in shown
    assert "no HTTP trigger (404)" in shown


def test_bill_lists_functions_and_refusals() -> None:
    """The summary has a row a function and the number of refused requests."""
    shown = report.billing(account("a"), lambda _: Bill(2, 2000), 3)
    assert "2000 ms" in shown
    assert "1.000 GB·s" in shown
    assert "3 refused (not billed)" in shown
