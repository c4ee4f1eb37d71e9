"""`fcemu matrix`, tested with the clients of examples/reconnect and with smaller ones."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
import yaml

from tests.conftest import FUNCTIONS
from tests.served import is_alive

LOOP = os.environ.get("FCEMU_TEST_LOOP", "asyncio").partition(",")[0]
MATRIX = (sys.executable, "-m", "fcemu", "matrix", "--loop", LOOP)

# A client of the example meets 23 scenarios, which takes a minute.
pytestmark = pytest.mark.timeout(300)


def outcomes(text: str) -> dict[str, str]:
    """The outcome of each scenario in the table that was printed."""
    found = re.findall(r"^([a-z]\S+) +(survived|failed|hung|not reached) +\S+ +\d+\.\d", text, re.MULTILINE)
    return dict(found)


# ---- the example


class Running:
    """A running matrix of the example."""

    def __init__(self, folder: Path, output: Path, store: Path | None, *arguments: str, **environment: str) -> None:
        self.junit = output / "junit.xml"
        environment = {
            **{name: value for name, value in os.environ.items() if name != "STORE"},
            **({"STORE": str(store)} if store is not None else {}),
            "SECOND": "40",
            "WEBSOCKETS_BACKOFF_INITIAL_DELAY": "0.1",
            "WEBSOCKETS_BACKOFF_MIN_DELAY": "0.1",
            "XDG_STATE_HOME": str(output / "state"),
            **environment,
        }
        command = [*MATRIX, "--limit", "25", "--junit", str(self.junit), *arguments]
        output.mkdir(exist_ok=True)
        self.output = (output / "output.txt").open("w+")
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its exit code and output."""
        code = self.process.wait(280)
        self.output.seek(0)
        text = self.output.read()
        print(text)
        return code, text

    def close(self) -> None:
        """Kill it, in case a test has failed."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.output.close()


@pytest.fixture(scope="module")
def example(installed: Callable[[str, str], Path]) -> Path:
    """A copy of examples/reconnect with its dependencies installed."""
    return installed("reconnect", "the clients of examples/reconnect were")


CLIENTS = {
    "reconnecting-websocket": ("trigger.yaml", "--", "node", "client-reconnecting-websocket.js"),
    "socket.io": ("socketio.yaml", "--", "node", "client-socketio.js"),
    "websockets": ("trigger.yaml", "--", sys.executable, "client_websockets.py"),
    "naive": ("trigger.yaml", "--limit", "8", "--", "node", "client-naive.js"),
}


@pytest.fixture
def client_of_example(request: pytest.FixtureRequest, example: Path, tmp_path: Path) -> Iterator[Running]:
    """The matrix of each client; all run at the same time, because they mostly wait."""
    with contextlib.closing(Running(example, tmp_path, tmp_path, *CLIENTS[request.param])) as running:
        yield running


SURVIVED_BY_ALL = ["baseline", "cold-start", "slow-line", "scatter", "redeploy"]
FATAL = [
    "refused-404", "refused-429", "refused-500", "refused-503", "start-fails", "timeout", "cut-early", "cut-mid-frame",
    "cut-late", "close-1001", "close-1011", "close-1012", "close-1013", "nat-rst", "nat-fin", "crash",
]  # fmt: skip
DEADLY_SILENT = ["nat-blackhole", "half-open"]


@pytest.mark.parametrize("client_of_example", ["reconnecting-websocket", "socket.io", "websockets"], indirect=True)
def test_client_that_reconnects_survives_everything(client_of_example: Running) -> None:
    """The clients of examples/reconnect survive every scenario."""
    code, text = client_of_example.end()
    assert outcomes(text) == dict.fromkeys([*SURVIVED_BY_ALL, *FATAL, *DEADLY_SILENT], "survived")
    assert code == 0
    suites = ElementTree.parse(client_of_example.junit).getroot()
    assert (suites.get("tests"), suites.get("failures"), suites.get("skipped")) == ("23", "0", "0")


@pytest.mark.parametrize("client_of_example", ["naive"], indirect=True)
def test_naive_client_fails(client_of_example: Running) -> None:
    """The naive client of examples/reconnect fails when a connection is lost, and hangs when it does not notice."""
    code, text = client_of_example.end()
    assert outcomes(text) == {
        **dict.fromkeys(SURVIVED_BY_ALL, "survived"),
        **dict.fromkeys(FATAL, "failed"),
        **dict.fromkeys(DEADLY_SILENT, "hung"),
    }
    assert code == 1
    assert "refused-429: | Unexpected server response: 429" in text
    assert "timeout: | the connection was closed with 1006" in text
    assert "close-1013: | the connection was closed with 1013" in text
    assert "half-open: the command was stopped after 8 s (--limit)" in text
    failures = ElementTree.parse(client_of_example.junit).getroot().iterfind(".//testcase[failure]")
    assert {case.get("name") for case in failures} == {*FATAL, *DEADLY_SILENT}


def test_what_relies_on_one_instance_fails(example: Path, tmp_path: Path) -> None:
    """Notes in an instance's memory, and long polling without session affinity, do not survive a second instance."""
    memory = ("--only", "crash", "--only", "scatter", "trigger.yaml", "--", "node", "client-reconnecting-websocket.js")
    polling = ("--only", "scatter", "--limit", "5", "socketio.yaml", "--", "node", "client-socketio.js")
    with (
        contextlib.closing(Running(example, tmp_path / "memory", None, *memory)) as in_memory,
        contextlib.closing(
            Running(example, tmp_path / "polling", tmp_path, *polling, TRANSPORT="polling")
        ) as by_polling,
    ):
        (_, told), (_, of_polling) = in_memory.end(), by_polling.end()
    assert outcomes(told) == {"baseline": "survived", "crash": "failed", "scatter": "failed"}
    assert "scatter: | there are 0 notes of 12" in told
    assert outcomes(of_polling) == {"baseline": "survived", "scatter": "hung"}


# ---- what the command does


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The configuration of a function that echoes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
    function = {
        "functionName": "fn",
        "code": str(FUNCTIONS),
        "timeout": 30,
        "instanceConcurrency": 10,
        "customRuntimeConfig": {"command": [sys.executable, "echo.py"]},
        "triggers": [trigger],
    }
    file = tmp_path / "trigger.yaml"
    file.write_text(yaml.safe_dump({**function, "fcemu": {"faults": [{"name": "mine", "refuse": 500}]}}))
    return str(file)


def run(file: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """`fcemu matrix` to its end."""
    return subprocess.run([*MATRIX, file, *arguments], capture_output=True, text=True, timeout=120, check=False, **more)


def python(script: str) -> list[str]:
    """The command that runs a script."""
    return ["--", sys.executable, "-c", f"import os, sys, urllib.request\n{script}"]


def test_client_of_plain_requests(config: str) -> None:
    """A client that sends one request meets only what can happen to one request; faults of the file are ignored."""
    names = ["refused-429", "start-fails", "timeout", "cut-early", "cut-late", "nat-rst", "crash", "redeploy"]
    chosen = [option for name in names for option in ("--only", name)]
    ended = run(config, *chosen, *python("urllib.request.urlopen(os.environ['FCEMU_URL']).read()"))
    assert outcomes(ended.stdout) == {
        "baseline": "survived",
        **dict.fromkeys(["refused-429", "start-fails", "cut-early", "crash"], "failed"),
        **dict.fromkeys(["timeout", "cut-late", "nat-rst", "redeploy"], "not reached"),
    }
    assert ended.returncode == 1
    assert "refused-429: the command exited with code 1; its requests: 429" in ended.stdout
    assert "start-fails: | urllib.error.HTTPError: HTTP Error 412: Precondition Failed" in ended.stdout
    assert "crash: | urllib.error.HTTPError: HTTP Error 502: Bad Gateway" in ended.stdout


def test_failing_baseline_ends_the_run(config: str, tmp_path: Path) -> None:
    """If the command fails in the baseline, it runs only once; its last lines and the log are printed."""
    ended = run(config, *python(f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); print('a\\nb'); sys.exit(3)"))
    assert ended.returncode == 1
    assert outcomes(ended.stdout) == {"baseline": "failed"}
    assert (tmp_path / "runs").read_text() == "x"
    assert "baseline: the command exited with code 3; its requests: none\nbaseline: | a\nbaseline: | b" in ended.stdout
    assert "instance ready" in ended.stdout


def test_command_that_meets_nothing(config: str, tmp_path: Path) -> None:
    """A scenario that the command does not meet is not reached, which fails only a strict run; its input is empty."""
    script = f"open({str(tmp_path / 'names')!r}, 'a').write(os.environ['FCEMU_SCENARIO'] + ' '); sys.stdin.read()"
    chosen = ["--only", "cut-late", "--only", "scatter", *python(script)]
    with subprocess.Popen(["sleep", "100"], stdout=subprocess.PIPE) as input_that_never_ends:
        ended = run(config, *chosen, stdin=input_that_never_ends.stdout)
        input_that_never_ends.kill()
    assert ended.returncode == 0, ended.stderr
    assert outcomes(ended.stdout) == {"baseline": "survived", "cut-late": "not reached", "scatter": "not reached"}
    assert (tmp_path / "names").read_text() == "baseline cut-late scatter "
    assert run(config, "--strict", *chosen, stdin=subprocess.DEVNULL).returncode == 1


def test_command_that_hangs_is_ended_with_all_it_started(config: str, tmp_path: Path) -> None:
    """At the limit, a command that ignores SIGTERM is killed with its processes, and the next scenario runs."""
    script = """
import subprocess, time
if os.environ["FCEMU_SCENARIO"] == "cut-early":
    subprocess.run(["sh", "-c", "trap '' TERM; echo $$ > PIDS; sleep 1000 & echo $! >> PIDS; wait; wait"])
""".replace("PIDS", str(tmp_path / "pids"))
    ended = run(config, "--limit", "1", "--only", "cut-early", "--only", "cut-late", *python(script))
    assert ended.returncode == 1
    assert outcomes(ended.stdout) == {"baseline": "survived", "cut-early": "hung", "cut-late": "not reached"}
    left = []
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        with contextlib.suppress(psutil.NoSuchProcess):
            left += [each for each in [psutil.Process(pid)] if is_alive(each)]
    for process in left:
        process.kill()
    assert left == []
    assert len((tmp_path / "pids").read_text().split()) == 2


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_run(config: str, tmp_path: Path, signum: signal.Signals) -> None:
    """A signal stops the command and the run; the results so far are printed, and no process is left."""
    script = f"""
import time
if os.environ["FCEMU_SCENARIO"] == "cut-early":
    open({str(tmp_path / "there")!r}, "w").close()
    time.sleep(1000)
"""
    command = [*MATRIX, config, "--only", "cut-early", "--only", "cut-late", *python(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 30
        while not (tmp_path / "there").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signum)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signum, f"fcemu: stopped by {signum.name}\n")
    assert outcomes(output) == {"baseline": "survived"}
    assert len(family) > 2
    assert [each for each in family if is_alive(each)] == []


def test_machines_are_told(config: str, tmp_path: Path) -> None:
    """JUnit XML is written; GitHub Actions gets annotations and a summary."""
    page, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    environment = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page), "GITHUB_WORKSPACE": ""}
    fetch = python("urllib.request.urlopen(os.environ['FCEMU_URL']).read()")
    chosen = ["--junit", str(junit), "--only", "refused-429", "--only", "timeout"]
    ended = run(config, *chosen, *fetch, env=environment)
    assert ended.returncode == 1
    cases = ElementTree.parse(junit).getroot().iterfind(".//testcase")
    assert {case.get("name"): [child.tag for child in case] for case in cases} == {
        "baseline": [],
        "refused-429": ["failure"],
        "timeout": ["skipped"],
    }
    assert re.search(r"^::error file=.*,title=fn%3A refused-429::the command exited with code 1", ended.stdout, re.M)
    assert "refused-429" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--list"], 0, "refused-429"),
        (["--list", "--only", "crash"], 0, "D/04/034"),
        (["--only", "nonsense", "--", "true"], 2, "there is no scenario nonsense"),
        ([], 2, "write the command after"),
        (["--", "no-such-command"], 127, "no-such-command: command not found"),
    ],
    ids=["list", "list-some", "unknown", "no-command", "command-not-found"],
)
def test_command_line(config: str, arguments: list[str], code: int, told: str) -> None:
    """`--list` needs no command, and a command line that cannot be run is refused."""
    ended = run(config, *arguments)
    assert (ended.returncode, told in ended.stdout + ended.stderr) == (code, True), ended.stdout + ended.stderr


def test_bad_configuration(tmp_path: Path) -> None:
    """A configuration that cannot be used exits with 2, before anything runs."""
    (tmp_path / "trigger.yaml").write_text("functionName: fn\nnonsense: 1\n")
    ended = run(str(tmp_path / "trigger.yaml"), "--", "true")
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr
