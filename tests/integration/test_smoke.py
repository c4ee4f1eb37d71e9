"""`fcemu smoke`: what passes, what fails, and how the results reach CI."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
import yaml

from fcemu.clients.tokens import KeyPair
from fcemu.configuration import access_keys
from fcemu.configuration.load import load
from fcemu.errors import FCError
from fcemu.gateway import gateway
from fcemu.gateway.deadlines import Deadlines
from fcemu.model import Account, Function, HttpTrigger, HttpTriggerConfig
from fcemu.outcomes import Outcome
from fcemu.scheduling.fleet import Terms
from fcemu.scheduling.scheduler import Scheduler
from fcemu.smoke import prober
from fcemu.smoke.checks import Refused, planned_checks
from fcemu.smoke.prober import SmokeRun
from fcemu.smoke.run import prepare, run_checks
from fcemu.trigger import affinity
from fcemu.trigger.admission import Admission
from fcemu.trigger.authentication import Authenticators
from fcemu.trigger.basic_auth import BasicAuthenticator
from fcemu.trigger.bearer_auth import BearerAuthenticator
from fcemu.trigger.jwt_auth import JwtAuthenticator
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router
from fcemu.trigger.signature import SignatureAuthenticator
from tests.conftest import FUNCTIONS
from tests.integration.test_port_binding import free_port
from tests.served import left

FCEMU = (sys.executable, "-m", "fcemu")

TOKENS = [
    {"enable": True, "tokenName": "a", "tokenData": "a" * 32},
    {"enable": False, "tokenName": "b", "tokenData": "b" * 32},
]
AUTH: dict[str, dict[str, Any]] = {
    "function": {},
    "jwt": {"authConfig": {"jwks": KeyPair.generate().jwks()}},
    "bearer": {"authConfig": {"BearerFormat": "opaque", "opaqueTokenConfig": {"tokens": TOKENS}}},
    "basic": {"authConfig": {"users": [{"userName": "administrator", "password": "Passw0rd!long"}]}},
}

HTTP_ONLY = """
const http = require('http');
http.createServer((request, response) => response.end('plain')).listen(process.env.FC_SERVER_PORT, '0.0.0.0');
"""

ODD = """
import asyncio, os
from aiohttp import web

async def talk(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if os.environ["ON_MESSAGE"] == "exit":
            os._exit(3)
        if os.environ["ON_MESSAGE"] == "close":
            await socket.close(code=1008)
    return socket

async def fail(request):
    raise web.HTTPInternalServerError

async def hang(request):
    await asyncio.sleep(3600)

async def leave(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.close(code=4000)
    return socket

app = web.Application()
for path, handler in (("/", talk), ("/fail", fail), ("/hang", hang), ("/leave", leave)):
    app.router.add_get(path, handler)
web.run_app(app, host="0.0.0.0", port=int(os.environ["FC_SERVER_PORT"]), print=None)
"""
"""Takes WebSockets and sends nothing back; on a message it does what ON_MESSAGE says. Other paths, other faults."""


def function(name: str = "fn", *command: str, trigger: dict[str, Any] | None = None, **props: Any) -> dict[str, Any]:
    """The configuration of a function; without a command it echoes."""
    config = {"methods": ["GET", "POST"], "authType": "anonymous", **(trigger or {})}
    return {
        "functionName": name,
        "code": str(FUNCTIONS),
        "timeout": 60,
        "instanceConcurrency": 10,
        "customRuntimeConfig": {"command": list(command) or [sys.executable, "echo.py"]},
        "triggers": [{"triggerName": "http", "triggerConfig": config}],
        **props,
    }


def odd(folder: Path, on_message: str = "") -> dict[str, Any]:
    """The configuration of a function that runs ODD."""
    (folder / "odd.py").write_text(ODD)
    return function("fn", sys.executable, "odd.py", code=str(folder), environmentVariables={"ON_MESSAGE": on_message})


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a configuration."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in os.environ:
        if name.startswith(("GITHUB_", "ALIBABA_CLOUD_")):
            monkeypatch.delenv(name)

    def of(*functions: dict[str, Any], **account: Any) -> Path:
        file = tmp_path / "trigger.yaml"
        account = {"fcemu": {"stopGrace": 1}, **account}
        file.write_text(yaml.safe_dump({"functions": list(functions), **account}, sort_keys=False))
        return file

    return of


def run(file: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`fcemu smoke` to its end."""
    return subprocess.run(
        [*FCEMU, "smoke", str(file), *options],
        capture_output=True, text=True, timeout=100, check=False, env={**os.environ, **env},
    )  # fmt: skip


def junit(file: Path, tmp_path: Path, *options: str) -> tuple[int, dict[tuple[str, str], ElementTree.Element]]:
    """Exit code and cases, by function and name."""
    report = tmp_path / "junit.xml"
    ended = run(file, "--junit", str(report), *options)
    assert report.exists(), ended.stderr
    root = ElementTree.parse(report).getroot()
    cases = {
        (suite.attrib["name"], case.attrib["name"]): case for suite in root for case in suite
    }  # a case that is there twice, at two doors, counts once
    return ended.returncode, cases


def status(case: ElementTree.Element) -> str:
    """The status of a test case."""
    tags = {child.tag for child in case}
    return "failed" if "failure" in tags else "skipped" if "skipped" in tags else "passed"


# ---- what is right


def test_functions_that_keep_their_promises_pass(write: Write, tmp_path: Path, echo_node: Path) -> None:
    """Functions in Python, Node and sh pass with every kind of authentication: exit code 0, nothing skipped."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "index.js").write_text(HTTP_ONLY)
    authenticated = [function(kind, trigger={"authType": kind, **config}) for kind, config in AUTH.items()]
    file = write(
        *authenticated,
        function("closed", trigger={"disableURLInternet": True}),
        function("sample", code=str(echo_node), customRuntimeConfig={"command": ["node", "index.js"]}),
        function("plain", code=str(tmp_path / "node"), customRuntimeConfig={"command": ["node", "index.js"]}),
        function("shell", "sh", "-c", f"exec {sys.executable} echo.py"),
        function("disabled", concurrencyConfig={"reservedConcurrency": 0}),
        function("small", instanceConcurrency=2, concurrencyConfig={"reservedConcurrency": 2}),
        function(
            "sessions",
            sessionAffinity="GENERATED_COOKIE",
            sessionAffinityConfig={"sessionConcurrencyPerInstance": 2},
            concurrencyConfig={"reservedConcurrency": 2},
            instanceConcurrency=200,
        ),
        customDomains=[{"domainName": "a.test", "routeConfig": {"routes": [{"path": "/ws", "functionName": "shell"}]}}],
    )
    code, cases = junit(file, tmp_path)
    found = {case: status(element) for case, element in cases.items()}
    assert code == 0
    skipped = {case for case, what in found.items() if what == "skipped"}
    assert skipped == {("plain", "handshake"), ("plain", "echo"), ("plain", "timeout of 60 s")}
    assert {what for what in found.values()} == {"passed", "skipped"}
    for kind in AUTH:
        assert {(kind, "starts"), (kind, "request"), (kind, "echo"), (kind, "timeout of 60 s")} < found.keys()
    expected = [
        ("function", "signature of 16 minutes ago"), ("jwt", "token of another key"), ("bearer", "disabled token"),
        ("basic", "wrong password"), ("closed", "internet URL is disabled"), ("sample", "echo"),
        ("disabled", "disabled by reservedConcurrency: 0"), ("small", "5 sockets at once"),
        ("sessions", "5 sockets at once"), ("sessions", "session"), ("shell", "stops"),
    ]  # fmt: skip
    assert set(expected) < found.keys()


def test_table_is_on_the_terminal(write: Write) -> None:
    """The results are a table on stdout that ends with the counts; nothing else is printed."""
    ended = run(write(function()))
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["FUNCTION", "TRIGGER", "CHECK", "EXPECTED", "OUTCOME"]
    assert any(line.split()[:3] == ["fn", "http", "handshake"] and line.endswith("passed") for line in lines)
    assert "passed in" in lines[-1]
    assert (ended.returncode, ended.stderr) == (0, "")


def test_long_timeout_is_checked_in_no_time(write: Write, tmp_path: Path) -> None:
    """A timeout of a day is checked exactly and without waiting, because the clock is advanced."""
    _, cases = junit(write(function(timeout=86400)), tmp_path)
    case = cases["fn", "timeout of 86400 s"]
    assert status(case) == "passed"
    assert (case.findtext("system-out") or "").startswith("1006 after 86400.")


def test_timeout_can_be_waited_for(write: Write, tmp_path: Path) -> None:
    """With --timeout-scale a fraction of the timeout passes in real time, and all of it on the emulator's clock."""
    _, cases = junit(write(function(timeout=40)), tmp_path, "--timeout-scale", "0.01")
    case = cases["fn", "timeout of 40 s"]
    assert (case.findtext("system-out") or "").startswith("1006 after 40.")
    assert float(case.attrib["time"]) >= 0.35


def test_one_function_can_be_checked(write: Write, tmp_path: Path) -> None:
    """With --function only that function is checked: another one that does not start is no failure."""
    file = write(function("good"), function("bad", sys.executable, "listen.py", "exit"))
    code, cases = junit(file, tmp_path, "--function", "good")
    assert code == 0
    assert {function for function, _ in cases} == {"good", f"fcemu smoke {file}"}


def test_path_can_be_chosen(write: Write, tmp_path: Path) -> None:
    """Requests go to --path: a path that the function refuses is reported, another one passes."""
    code, cases = junit(write(function()), tmp_path, "--path", "/refuse?x=y")
    assert (code, status(cases["fn", "handshake"])) == (0, "skipped")
    code, cases = junit(write(function()), tmp_path, "--path", "/refuse?x=y", "--websocket")
    assert (code, status(cases["fn", "handshake"])) == (1, "failed")
    code, cases = junit(write(function()), tmp_path, "--path", "/chat", "--websocket")
    assert (code, status(cases["fn", "handshake"])) == (0, "passed")


@pytest.mark.parametrize("on_message", ["", "close"])
def test_function_that_never_echoes_is_no_failure(write: Write, tmp_path: Path, on_message: str) -> None:
    """A function that does not answer a message, or closes the socket, is skipped by the check of the echo."""
    code, cases = junit(write(odd(tmp_path, on_message)), tmp_path)
    assert code == 0
    assert status(cases["fn", "echo"]) == "skipped"
    assert status(cases["fn", "timeout of 60 s"]) == "passed"


def test_machine_that_runs_one_instance_is_no_failure(write: Write, tmp_path: Path) -> None:
    """If only one instance of a function can run, the check of a limit of two is skipped, with the reason."""
    port = free_port()
    runtime = {"command": [sys.executable, "fixed.py", str(port)], "port": port}
    limits = {"reservedConcurrency": 2}
    served = function(customRuntimeConfig=runtime, instanceConcurrency=1, concurrencyConfig=limits)
    file = write(served, fcemu={"portBinding": "port", "stopGrace": 1})
    code, cases = junit(file, tmp_path)
    assert code == 0
    (skipped,) = cases["fn", "3 sockets at once"]
    assert "this machine can run only one instance of it" in skipped.attrib["message"]


# ---- what is wrong


def test_function_that_does_not_start_is_a_failure(write: Write, tmp_path: Path) -> None:
    """A function that does not start fails with its output; its refusals and the other functions are checked anyway."""
    file = write(function("bad", sys.executable, "listen.py", "exit"), function("good"))
    code, cases = junit(file, tmp_path)
    assert code == 1
    case = cases["bad", "starts"]
    assert "No module named uvicorn" in (case.findtext("failure") or "")
    assert {status(cases["bad", name]) for name in ("request", "handshake", "echo", "stops")} == {"skipped"}
    assert {status(cases["bad", name]) for name in ("method PUT", "headers over 8 KB")} == {"passed"}
    assert {status(case) for (function, _), case in cases.items() if function == "good"} == {"passed"}


def test_function_that_answers_500_is_a_failure(write: Write, tmp_path: Path) -> None:
    """A function that answers with an error of its own fails the check of the request."""
    code, cases = junit(write(odd(tmp_path)), tmp_path, "--path", "/fail")
    assert code == 1
    (failure,) = cases["fn", "request"]
    assert failure.attrib["message"] == "the function answered 500"


def test_function_that_ends_by_itself_is_a_failure(write: Write, tmp_path: Path) -> None:
    """A function that exits on a message fails, and its exit code is reported."""
    code, cases = junit(write(odd(tmp_path, on_message="exit")), tmp_path)
    assert code == 1
    (failure,) = cases["fn", "stops"]
    assert failure.attrib["message"] == "an instance exited by itself during the checks: exit code 3"


def test_function_that_leaves_its_sockets_has_no_timeout(write: Write, tmp_path: Path) -> None:
    """If the function closes each socket at once, the check of its timeout is skipped, with the reason."""
    code, cases = junit(write(odd(tmp_path)), tmp_path, "--path", "/leave")
    assert code == 0
    (skipped,) = cases["fn", "timeout of 60 s"]
    assert skipped.attrib["message"].startswith("the function closed the socket itself, with 4000 after ")


def test_function_that_has_to_be_killed_is_a_failure(write: Write, tmp_path: Path) -> None:
    """A function that ignores SIGTERM fails the check of the stop, but no process of it is left."""
    pids = {"PIDS": str(tmp_path / "pids")}
    code, cases = junit(write(function("fn", sys.executable, "nasty.py", environmentVariables=pids)), tmp_path)
    assert code == 1
    (failure,) = cases["fn", "stops"]
    assert failure.attrib["message"] == "1 instance: exit code 137; killed 1 s after SIGTERM"
    assert status(cases[f"fcemu smoke {tmp_path / 'trigger.yaml'}", "nothing is left"]) == "passed"


# ---- how it is told to CI


CONFIGURATION = """\
functions:
  - functionName: good
    code: {folder}
    customRuntimeConfig: {{command: [{python}, echo.py]}}
    triggers: &open
      - {{triggerName: http, triggerConfig: {{methods: [GET], authType: anonymous}}}}
  - functionName: bad
    code: {folder}
    customRuntimeConfig: {{command: [{python}, nasty.py]}}
    environmentVariables: {{PIDS: {folder}/no/such/folder}}
    triggers:
      - {{triggerName: other, qualifier: prod, triggerConfig: {{methods: [GET], authType: anonymous}}}}
"""


def test_github_marks_the_lines(write: Write, tmp_path: Path) -> None:
    """In GitHub Actions a failure is an annotation of its line in the file, and the job's summary has a table."""
    file = write(function())
    file.write_text(CONFIGURATION.format(folder=FUNCTIONS, python=sys.executable))
    summary = tmp_path / "summary.md"
    summary.write_text("# earlier steps\n")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
    ended = run(file, **github)
    assert ended.returncode == 1
    (command,) = [each for each in ended.stdout.splitlines() if each.startswith("::")]
    assert command.startswith("::error file=trigger.yaml,line=12,title=bad other%3A starts::got 412 CAExited: ")
    assert "FileNotFoundError" in command
    page = summary.read_text()
    assert page.startswith("# earlier steps\n### fcemu smoke trigger.yaml\n")
    assert "| bad | other | starts | an instance is ready | ❌ got 412 CAExited" in page
    assert "| good | http | handshake | 101 | ✅ passed |" in page


def test_github_is_told_nothing_elsewhere(write: Write, tmp_path: Path) -> None:
    """Outside GitHub Actions there are no annotations, and no summary is written."""
    file = write(function("bad", sys.executable, "listen.py", "exit"))
    ended = run(file, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert "::error" not in ended.stdout
    assert not (tmp_path / "summary.md").exists()


def test_bad_configuration_is_2_and_marked(write: Write) -> None:
    """An unusable configuration gives exit code 2; in GitHub Actions each mistake is an annotation."""
    file = write(function(timeout=100_000))
    ended = run(file, GITHUB_ACTIONS="true")
    assert ended.returncode == 2
    assert "timeout: " in ended.stderr
    assert re.match(r"::error file=.*trigger.yaml,line=\d+,title=functions\[0\].timeout::", ended.stdout)


@pytest.mark.parametrize("options", [["--function", "nobody"], ["--path", "no-slash"], ["--timeout-scale", "2"]])
def test_wrong_option_is_2(write: Write, options: list[str]) -> None:
    """An unknown function, an invalid path and a scale above 1 are reported, and the exit code is 2."""
    ended = run(write(function()), *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Error" in ended.stderr


def test_report_that_cannot_be_written_is_told(write: Write, tmp_path: Path) -> None:
    """A --junit file that cannot be written is an error."""
    ended = run(write(function()), "--junit", str(tmp_path))
    assert ended.returncode == 1
    assert "cannot be written" in ended.stderr


def test_log_has_the_functions_output(write: Write, tmp_path: Path) -> None:
    """With --log the functions' output and every request are in a file."""
    run(write(function()), "--log", str(tmp_path / "log"))
    assert "stdout | starting" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
async def test_signal_ends_it_cleanly(write: Write, signum: signal.Signals) -> None:
    """A signal ends the checks with exit code 128 + n, and no process is left."""
    file = write(function("fn", sys.executable, "listen.py", "never"))
    process = await asyncio.create_subprocess_exec(*FCEMU, "smoke", str(file), stdout=-1, stderr=-1)
    try:
        async with asyncio.timeout(30):
            while len(everybody := psutil.Process(process.pid).children(recursive=True)) < 3:
                await asyncio.sleep(0.01)
        process.send_signal(signum)
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, stderr.decode()) == (128 + signum, f"fcemu: stopped by {signum.name}\n")
    assert await left(everybody) == []


# ---- an emulator that breaks a promise


Probe = Callable[..., Awaitable[dict[str, Outcome]]]


@pytest.fixture
def probe(write: Write, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Check one function in this process: the outcomes by name."""
    monkeypatch.setattr(prober, "_PATIENCE", 2.0)

    async def of(function: dict[str, Any], path: str = "/") -> dict[str, Outcome]:
        file = write(function)
        account = load(file).account
        if access_keys.verifies_signatures(account):
            account = account.model_copy(update={"accessKeys": [access_keys.generate("0" * 48)]})
        account, identity = prepare(account, file)
        found = await run_checks(SmokeRun(str(file), file.name, account, identity, path=path), None)
        return {outcome.name: outcome for outcome in found}

    return of


SESSIONS: dict[str, Any] = {
    "sessionAffinity": "HEADER_FIELD",
    "sessionAffinityConfig": {"affinityHeaderFieldName": "x-session"},
    "instanceConcurrency": 200,
}

BREAKABLE = {
    "open": function(),
    **{kind: function(trigger={"authType": kind, **config}) for kind, config in AUTH.items()},
    "closed": function(trigger={"disableURLInternet": True}),
    "post": function(trigger={"methods": ["POST"]}),
    "disabled": function(concurrencyConfig={"reservedConcurrency": 0}),
    "untriggered": function(triggers=[]),
    "sessions": function(**SESSIONS),
    "mcp": function(sessionAffinity="MCP_STREAMABLE", instanceConcurrency=200),
}
"""Together they promise every kind of refusal but those that need several hosts."""


def forgiving(rule: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """A rule of the emulator that accepts what it should refuse."""

    def forgives(*arguments: Any) -> Any:
        try:
            return rule(*arguments)
        except FCError:
            return instead(*arguments)

    return forgives


@pytest.fixture
def forgive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulator accept everything that it should refuse."""
    config = HttpTriggerConfig(methods=["GET"], authType="anonymous")
    trigger = HttpTrigger(triggerName="http", triggerConfig=config)

    def somewhere(router: Router, head: RequestHead) -> Route:
        return Route(next(iter(router._functions.values())), "LATEST", False, trigger)

    rules: list[tuple[Any, str, Callable[..., Any]]] = [
        (Router, "route", somewhere),
        (gateway, "admit", lambda route, head: Admission()),
    ]
    for kind in (SignatureAuthenticator, JwtAuthenticator, BearerAuthenticator, BasicAuthenticator):
        rules.append((kind, "authenticate", lambda self, head, body, now: (head, body)))
    for owner, name, instead in rules:
        monkeypatch.setattr(owner, name, forgiving(getattr(owner, name), instead))
    monkeypatch.setattr(affinity, "claim", lambda *_: None)
    monkeypatch.setattr(Authenticators, "of", lambda authenticators, route: None)
    monkeypatch.setattr(Scheduler, "_refusal", lambda *_: None)


@pytest.mark.usefixtures("forgive")
@pytest.mark.parametrize("configuration", BREAKABLE.values(), ids=BREAKABLE)
async def test_missing_refusals_are_found(probe: Probe, configuration: dict[str, Any]) -> None:
    """If the emulator accepts what it should refuse, every check of a refusal fails."""
    account = Account.model_validate({"functions": [configuration]})
    promised = {check.name for check in planned_checks(account) if isinstance(check, Refused)}
    assert promised
    found = await probe(configuration)
    # A function that waits for the body that was announced does not answer.
    wrong = re.compile("the request reached the function, which answered [0-9]+|no answer within [0-9]+ s")
    assert {n for n in promised if found[n].status != "failed" or not wrong.fullmatch(found[n].detail)} == set()


async def test_other_refusal_with_the_same_code_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal for another reason than the expected one fails, even with the same status and code."""
    former = Router.route

    def without_methods(router: Router, head: RequestHead) -> Route:
        route = former(router, head)
        route.methods = ()
        return route

    monkeypatch.setattr(Router, "route", without_methods)
    found = await probe(function(trigger={"authType": "bearer", **AUTH["bearer"]}))
    assert found["no token"].status == "failed"
    assert "got 403 AccessDenied for another reason: the http method 'GET' is not allowed" in found["no token"].detail
    assert found["no token"].remedy


async def test_missing_limit_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that accepts more sockets than fit fails."""
    monkeypatch.setattr(Scheduler, "_refusal", lambda *_: None)
    found = await probe(function(instanceConcurrency=1, concurrencyConfig={"reservedConcurrency": 1}))
    assert found["2 sockets at once"].status == "failed"
    assert "socket 2: the request reached the function, which answered 101" in found["2 sockets at once"].detail


async def test_limit_that_comes_too_early_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that accepts fewer sockets than fit fails."""
    former = Scheduler.configure

    def configure(scheduler: Scheduler, name: str, terms: Terms, *more: Any) -> None:
        former(scheduler, name, replace(terms, concurrency=1), *more)

    monkeypatch.setattr(Scheduler, "configure", configure)
    found = await probe(function(instanceConcurrency=2, concurrencyConfig={"reservedConcurrency": 1}))
    assert (found["3 sockets at once"].status, found["3 sockets at once"].detail) == ("failed", "socket 2 got 429")


async def test_missing_timeout_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that leaves a socket open at the timeout fails."""
    monkeypatch.setattr(Deadlines, "set", lambda *_: None)
    found = await probe(function())
    assert found["timeout of 60 s"].status == "failed"
    assert found["timeout of 60 s"].detail == "the socket is still open after 60 s"


async def test_timeout_that_comes_too_early_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that cuts a socket before its timeout fails."""
    former = Deadlines.set
    monkeypatch.setattr(Deadlines, "set", lambda self, begun, _, told: former(self, begun, 30, told))
    found = await probe(function())
    assert found["timeout of 60 s"].status == "failed"
    assert found["timeout of 60 s"].detail.startswith("1006 after 30.0 s, by timeout")


@pytest.mark.parametrize("kind", ["HEADER_FIELD", "GENERATED_COOKIE"])
async def test_session_without_affinity_is_found(probe: Probe, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """An emulator that ignores sessions fails."""
    former = affinity.claim

    def forgetful(function: Function, head: RequestHead, new_id: str) -> affinity.SessionClaim | None:
        claim = former(function, head, new_id)
        return claim and replace(claim, id=new_id)

    monkeypatch.setattr(affinity, "claim", forgetful)
    props = SESSIONS if kind == "HEADER_FIELD" else {"sessionAffinity": kind, "instanceConcurrency": 200}
    found = await probe(function(**props))
    assert (found["session"].status, found["session"].detail) == (
        "failed",
        "the requests of one session reached 2 instances",
    )


async def test_process_that_is_left_is_found(probe: Probe) -> None:
    """A process that is still running after the stop fails."""
    probing = asyncio.ensure_future(probe(function()))
    await asyncio.sleep(0)  # what runs before it begins is none of its
    lingering = subprocess.Popen(["sleep", "60"])
    try:
        found = await probing
    finally:
        lingering.kill()
        lingering.wait()
    left_over = found["nothing is left"]
    assert (left_over.status, left_over.detail) == ("failed", f"alive: {lingering.pid}")


async def test_function_that_never_answers_is_found(probe: Probe, tmp_path: Path) -> None:
    """A function that does not answer fails its request after a while, and is stopped."""
    found = await probe(odd(tmp_path), path="/hang")
    assert found["starts"].status == "passed"
    assert found["request"].status == "failed"
    assert found["request"].detail.startswith("no answer within ")
    assert found["nothing is left"].status == "passed"
