"""`fcemu exec`: the command finds the functions, keeps its input, output and exit code, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.conftest import FUNCTIONS
from tests.served import is_alive, left

FCEMU = (sys.executable, "-m", "fcemu")

linux = pytest.mark.skipif(sys.platform != "linux", reason="orphans are ended for certain on Linux only")


def function(name: str = "fn", script: str = "echo.py", **trigger: Any) -> dict[str, Any]:
    """The configuration of a function of tests/functions."""
    return {
        "functionName": name,
        "code": str(FUNCTIONS),
        "timeout": 30,
        "instanceConcurrency": 10,
        "customRuntimeConfig": {"command": [sys.executable, *script.split()]},
        "triggers": [
            {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous", **trigger}}
        ],
    }


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a configuration of the given functions; of one that echoes by default."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)

    def write(*functions: dict[str, Any], **account: Any) -> str:
        file = tmp_path / "trigger.yaml"
        file.write_text(yaml.safe_dump({"functions": list(functions) or [function()], **account}))
        return str(file)

    return write


def run(file: str, *command: str, options: tuple[str, ...] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    """`fcemu exec` to its end."""
    arguments = [*FCEMU, "exec", file, *options, "--", *command]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **more)


PYTHON = """
import os, urllib.request
print(urllib.request.urlopen(os.environ["FCEMU_URL"] + "/pid").status)
"""

NODE = """
fetch(process.env.FCEMU_URL_FN + '/pid').then(answer => console.log(answer.status));
"""

CLIENTS = {
    "sh": ["sh", "-c", 'curl --silent --output /dev/null --write-out "%{http_code}\\n" "$FCEMU_URL/pid"'],
    "python": [sys.executable, "-c", PYTHON],
    "node": ["node", "-e", NODE],
}


@pytest.mark.parametrize("language", CLIENTS)
def test_command_reaches_the_function_at_once(config: Callable[..., str], language: str) -> None:
    """A command in any language finds the address in its environment, and its first request succeeds."""
    tool = {"sh": "curl", "node": "node"}.get(language, sys.executable)
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    ended = run(config(), *CLIENTS[language])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "200\n", "")


def test_websocket_address_is_one(config: Callable[..., str]) -> None:
    """A WebSocket client can connect to FCEMU_WS_URL."""
    script = (
        "import os; from websockets.sync.client import connect\n"
        "with connect(os.environ['FCEMU_WS_URL']) as ws: ws.send('hello'); print(ws.recv())"
    )
    ended = run(config(), sys.executable, "-c", script)
    assert ended.stdout == "hello\n", ended.stderr


def test_each_function_has_an_address_that_needs_no_name(config: Callable[..., str]) -> None:
    """Each of several functions has a port of its own on 127.0.0.1; custom domains are at the front's port."""
    route = {"path": "/*", "functionName": "chat-room"}
    domain = {"domainName": "app.example.com", "routeConfig": {"routes": [route]}}
    file = config(function("chat-room"), function("API"), customDomains=[domain])
    script = """
import json, os, urllib.request
from websockets.sync.client import connect

def asked(url, **headers):
    answer = json.load(urllib.request.urlopen(urllib.request.Request(url + "/environment", headers=headers)))
    return answer["FC_FUNCTION_NAME"]

found = {name: asked(url) for name, url in os.environ.items() if name.startswith("FCEMU_URL")}
found["front"] = asked(os.environ["FCEMU_FRONT_URL"], Host="app.example.com")
assert all("//127.0.0.1:" in url for name, url in os.environ.items() if name.startswith("FCEMU_") and "URL" in name)
with connect(os.environ["FCEMU_WS_URL_API"]) as ws:
    ws.send("hello")
    found["ws"] = ws.recv()
print(json.dumps(found))
"""
    ended = run(file, sys.executable, "-c", script)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "FCEMU_URL": "chat-room",
        "FCEMU_URL_CHAT_ROOM": "chat-room",
        "FCEMU_URL_API": "API",
        "front": "chat-room",
        "ws": "hello",
    }


def test_limits_are_the_same_at_every_port(config: Callable[..., str]) -> None:
    """A function's own port and the front share the same instances and limits."""
    file = config(function("one"), function("two"))
    script = """
import json, os, urllib.request

def instance(url, **headers):
    return json.load(urllib.request.urlopen(urllib.request.Request(url + "/pid", headers=headers)))["instance"]

front = instance(os.environ["FCEMU_FRONT_URL"], Host="one.localhost")
print(front == instance(os.environ["FCEMU_URL_ONE"]) != instance(os.environ["FCEMU_URL_TWO"]))
"""
    assert run(file, sys.executable, "-c", script).stdout == "True\n"


def test_reset_holds_at_every_port(config: Callable[..., str]) -> None:
    """A reset by the control plane also cuts connections at a function's own port."""
    file = config(function("one"), function("two"))
    script = """
import os, urllib.request
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

with connect(os.environ["FCEMU_WS_URL_TWO"]) as ws:
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(os.environ["FCEMU_ADMIN_URL"] + "/reset", b"{}", headers))
    try:
        ws.recv(timeout=10)
    except ConnectionClosedError as error:
        print(error.rcvd, urllib.request.urlopen(os.environ["FCEMU_URL_TWO"]).status)
"""
    ended = run(file, sys.executable, "-c", script)
    assert ended.stdout == "None 200\n", ended.stderr


@pytest.mark.parametrize("configured", [False, True])
def test_command_can_sign(config: Callable[..., str], configured: bool) -> None:
    """If a trigger verifies signatures, the command gets the key pair: the configured one, or one made for the run."""
    keys = {"accessKeys": [{"accessKeyId": "mine", "accessKeySecret": "a secret"}]} if configured else {}
    script = """
import os, time, urllib.request
from fcemu import sign
from fcemu.model import AccessKey
key = AccessKey(accessKeyId=os.environ["FCEMU_ACCESS_KEY_ID"], accessKeySecret=os.environ["FCEMU_ACCESS_KEY_SECRET"])
url = os.environ["FCEMU_URL_SIGNED"] + "/"
signed = sign("GET", url, key, time.time())
print(key.accessKeyId, urllib.request.urlopen(urllib.request.Request(url, headers=dict(signed.headers))).status)
"""
    ended = run(config(function("open"), function("signed", authType="function"), **keys), sys.executable, "-c", script)
    name, status = ended.stdout.split()
    assert status == "200"
    assert (name == "mine") is configured


def test_no_key_pair_without_signatures(config: Callable[..., str]) -> None:
    """Without a trigger that verifies signatures, the environment has no key pair."""
    assert "FCEMU_ACCESS_KEY" not in run(config(), "env").stdout


# ---- input, output, end


CONTROLLED = """
import json, os, urllib.error, urllib.request

def tell(path, body):
    url, headers = os.environ["FCEMU_ADMIN_URL"] + path, {"Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)).read()

tell("/clock/advance", {"seconds": 3600})
tell("/faults", {"refuse": 429})
try:
    urllib.request.urlopen(os.environ["FCEMU_URL"])
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_command_has_the_clock_and_the_faults_in_its_hand(config: Callable[..., str]) -> None:
    """The variables have the control plane's address, so any language can advance the clock and add a fault."""
    done = run(config(), sys.executable, "-c", CONTROLLED)
    assert (done.returncode, done.stdout) == (0, "429\n"), done.stderr


def test_streams_are_the_commands_own(config: Callable[..., str]) -> None:
    """The command's input and output are untouched: fcemu adds nothing to them."""
    ended = run(config(), "sh", "-c", "cat; echo out; echo err >&2", input="typed\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "typed\nout\n", "err\n")


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_exit_code_is_the_commands(config: Callable[..., str], script: str, code: int) -> None:
    """The exit code is the command's, or 128 + n if signal n killed it."""
    assert run(config(), "sh", "-c", script).returncode == code


def test_failing_command_is_followed_by_the_end_of_the_log(config: Callable[..., str]) -> None:
    """After a command fails, stderr shows what the functions printed and why requests were refused."""
    script = 'curl --silent --request PUT "$FCEMU_URL/" >/dev/null; exit 4'
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ended = run(config(), "sh", "-c", script)
    assert (ended.returncode, ended.stdout) == (4, "")
    first, *log = ended.stderr.splitlines()
    assert first.startswith("fcemu: the command ended with exit code 4.")
    assert any(line.endswith("stdout | starting") for line in log)
    assert any("reason: http allows GET, not PUT" in line for line in log)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_goes_to_a_file(config: Callable[..., str], tmp_path: Path, log_format: str) -> None:
    """With --log the file has the whole log, and nothing of it is printed after a failing command."""
    log = tmp_path / "fcemu.log"
    ended = run(config(), "false", options=("--log", str(log), "--log-format", log_format))
    assert (ended.returncode, ended.stderr) == (1, "")
    text = log.read_text()
    assert "starting" in text
    if log_format == "json":
        assert all("record" in json.loads(line) for line in text.splitlines())


def test_log_goes_to_stderr(config: Callable[..., str]) -> None:
    """`--log -` is stderr; stdout stays the command's."""
    ended = run(config(), "echo", "hello", options=("--log", "-"))
    assert ended.stdout == "hello\n"
    assert "instance ready" in ended.stderr


# ---- what does not run


def test_command_that_is_not_there_is_127(config: Callable[..., str], tmp_path: Path) -> None:
    """A command that is not found is reported with exit code 127, before anything is started."""
    ended = run(config(), "no-such-command", options=("--log", str(tmp_path / "log")))
    assert (ended.returncode, ended.stderr) == (127, "fcemu: no-such-command: command not found\n")
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("mode", "text", "told"), [(0o644, "#!/bin/sh\n", "permission denied"), (0o755, "exit 0\n", "not a program")]
)
def test_command_that_cannot_be_executed_is_126(
    config: Callable[..., str], tmp_path: Path, mode: int, text: str, told: str
) -> None:
    """A file that is not executable, or not a program, is reported with exit code 126."""
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(mode)
    ended = run(config(), str(script))
    assert ended.returncode == 126
    assert ended.stderr.startswith(f"fcemu: {script}: {told}")


def test_folder_is_no_command(config: Callable[..., str], tmp_path: Path) -> None:
    """A folder instead of a command is reported with exit code 126."""
    ended = run(config(), str(tmp_path))
    assert (ended.returncode, ended.stderr) == (126, f"fcemu: {tmp_path}: this is a folder\n")


def test_function_that_does_not_start_ends_before_the_command(config: Callable[..., str], tmp_path: Path) -> None:
    """If a function exits at the start, the command does not run; its output is printed, and the exit code is 1."""
    ended = run(config(function(script="listen.py exit")), "touch", str(tmp_path / "ran"))
    assert ended.returncode == 1
    assert "No module named uvicorn" in ended.stderr
    assert not (tmp_path / "ran").exists()


def test_bad_configuration_is_2(tmp_path: Path) -> None:
    """An unusable configuration is reported with line numbers, and the exit code is 2."""
    file = tmp_path / "trigger.yaml"
    file.write_text("functionName: fn\ntimeout: 100000\n")
    ended = run(str(file), "true")
    assert ended.returncode == 2
    assert "trigger.yaml:2: timeout" in ended.stderr


@pytest.mark.parametrize("arguments", [["trigger.yaml"], ["trigger.yaml", "--"], ["trigger.yaml", "true"]])
def test_command_stands_behind_two_hyphens(arguments: list[str]) -> None:
    """Without a command after `--`, the usage is printed, and the exit code is 2."""
    ended = subprocess.run([*FCEMU, "exec", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "Error" in ended.stderr


# ---- signals, and what is left


Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


def heed_signals() -> None:
    """Let signals do what they do by default: these tests may run under nohup, where sh could not trap SIGHUP."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


@pytest.fixture
async def start(config: Callable[..., str]) -> AsyncIterator[Start]:
    """Start `fcemu exec` on a command of sh that says `up` when it runs."""
    started: list[asyncio.subprocess.Process] = []
    KNOWN.clear()

    async def begin(script: str, *functions: dict[str, Any], ready: bool = True) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *FCEMU, "exec", config(*functions), "--", "sh", "-c", script,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            preexec_fn=heed_signals,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        if ready:
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"up\n"
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
    for each in KNOWN:  # should a test have failed
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    for process in started:
        await process.communicate()


KNOWN: set[psutil.Process] = set()
"""All processes seen below fcemu in this test."""


def family(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """All its descendant processes."""
    found = psutil.Process(process.pid).children(recursive=True)
    KNOWN.update(found)
    return found


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda signum: signum.name)
async def test_signal_is_the_commands(start: Start, signum: signal.Signals) -> None:
    """A signal to fcemu is passed to the command, which decides how to exit."""
    name = signum.name.removeprefix("SIG")
    process = await start(f"trap 'echo caught; exit 7' {name}; echo up; while :; do sleep 0.02; done")
    everybody = family(process)
    process.send_signal(signum)
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, stdout) == (7, b"caught\n")
    assert b"fcemu" not in stderr  # no log: this end was asked for
    assert await left(everybody) == []


async def test_signal_that_the_command_does_not_catch_ends_it(start: Start) -> None:
    """A command that SIGTERM kills gives exit code 143, without the log, because the user has asked for it."""
    process = await start("echo up; exec sleep 60")
    process.send_signal(signal.SIGTERM)
    _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, stderr) == (143, b"")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
async def test_signal_during_the_start_ends_it(start: Start, signum: signal.Signals, tmp_path: Path) -> None:
    """A signal during the start ends the start; the command does not run, and the exit code is 128 + n."""
    process = await start(f"touch {tmp_path}/ran", function(script="listen.py never"), ready=False)
    async with asyncio.timeout(30):
        while len(family(process)) < 4:  # the watcher, the keeper, a guard and the function
            await asyncio.sleep(0.01)
    everybody = family(process)
    process.send_signal(signum)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 128 + signum
    assert await left(everybody) == []
    assert not (tmp_path / "ran").exists()


DAEMONS = "(setsid sleep 3600 &) ; setsid sh -c 'trap \"\" TERM HUP; exec sleep 3601' & sleep 3603 & "
"""Three that sleep: they leave the command's group, or its children, or ignore signals."""


async def sleepers(process: asyncio.subprocess.Process, count: int) -> list[psutil.Process]:
    """All processes below fcemu, once this many of them sleep for an hour."""
    async with asyncio.timeout(30):
        while True:
            everybody = family(process)
            with contextlib.suppress(psutil.Error):
                if sum(each.cmdline()[:1] == ["sleep"] and each.cmdline()[1] > "36" for each in everybody) == count:
                    return everybody
            await asyncio.sleep(0.01)


@linux
async def test_what_the_command_leaves_is_ended(start: Start, tmp_path: Path) -> None:
    """All processes that the command has left running are killed, in any session; the exit code stays the command's."""
    process = await start(f"{DAEMONS} echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 3")
    everybody = await sleepers(process, 3)
    (tmp_path / "go").touch()
    assert await asyncio.wait_for(process.wait(), 30) == 3
    assert [each for each in everybody if is_alive(each)] == []


@linux
async def test_command_does_not_outlive_fcemu(start: Start) -> None:
    """When fcemu exec is killed, the command, its daemons and the functions are killed, too."""
    process = await start(f"{DAEMONS} echo up; sleep 3604")
    everybody = await sleepers(process, 4)
    process.kill()
    assert await left(everybody) == []


@linux
async def test_command_does_not_outlive_its_watcher(start: Start) -> None:
    """When the process that watches the command is killed, its process group is killed, and fcemu exits with 137."""
    process = await start("sleep 3603 & echo up; sleep 3604")
    everybody = await sleepers(process, 2)
    (watcher,) = [
        each for each in psutil.Process(process.pid).children() if "keeper.py" not in " ".join(each.cmdline())
    ]
    watcher.kill()
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 137
    assert await left(everybody) == []


# ---- a terminal


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, *argv: str, cwd: Path) -> None:
        self._output = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            heed_signals()
            os.execvpe(argv[0], argv, {**os.environ, "PS1": "$ ", "TERM": "dumb"})
        os.set_blocking(self._fd, False)

    def type(self, text: str) -> None:
        """Type into the terminal."""
        os.write(self._fd, text.encode())

    def sees(self, text: str) -> None:
        """Wait until a text appears; the next wait begins after it."""
        until = time.monotonic() + 30
        while text.encode() not in self._output:
            assert time.monotonic() < until, self._output.decode()
            try:
                self._output += os.read(self._fd, 4096)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                raise AssertionError(f"it ended: {self._output.decode()}") from None
        self._output = self._output.partition(text.encode())[2]

    def processes(self) -> list[psutil.Process]:
        """All processes in it, itself first."""
        shell = psutil.Process(self.pid)
        return [shell, *shell.children(recursive=True)]

    def exit_code(self) -> int:
        """Wait until it ends, and return the exit code."""
        os.set_blocking(self._fd, True)
        with contextlib.suppress(OSError):
            while os.read(self._fd, 4096):
                pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> None:
        """Kill what is left, in case a test has failed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in self.processes():
                process.kill()
            os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run a command in a terminal."""
    opened: list[Terminal] = []

    def run_in(*argv: str) -> Terminal:
        opened.append(Terminal(*argv, cwd=tmp_path))
        return opened[-1]

    yield run_in
    for each in opened:
        each.end()


InTerminal = Callable[..., Terminal]


@linux
def test_command_that_reads_is_given_the_terminal(config: Callable[..., str], terminal: InTerminal) -> None:
    """A command that reads from the terminal gets the user's input."""
    script = "answer = input('your name? '); print('hello', answer)"
    screen = terminal(*FCEMU, "exec", config(), "--", sys.executable, "-c", script)
    screen.sees("your name? ")
    screen.type("fc\n")
    screen.sees("hello fc")
    assert screen.exit_code() == 0


@linux
@pytest.mark.parametrize("reads", ["", "read x; "], ids=["alone", "with the terminal"])
def test_control_c_is_the_commands(config: Callable[..., str], terminal: InTerminal, reads: str) -> None:
    """Ctrl-C interrupts the command, whether it was given the terminal or not."""
    script = f"trap 'echo caught; exit 5' INT; {reads} echo up; while :; do sleep 0.02; done"
    screen = terminal(*FCEMU, "exec", config(), "--", "sh", "-c", script)
    if reads:
        screen.type("\n")
    screen.sees("up")
    screen.type("\x03")
    screen.sees("caught")
    assert screen.exit_code() == 5


@linux
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("reads", ["", "read x; "], ids=["alone", "with the terminal"])
def test_control_z_stops_a_job_that_goes_on(config: Callable[..., str], terminal: InTerminal, reads: str) -> None:
    """In a shell, Ctrl-Z suspends fcemu and its command as one job, and `fg` continues both, with the terminal."""
    screen = terminal("bash", "--norc", "--noediting", "-i")
    screen.sees("$ ")
    script = f"{reads} echo up$((1+1)); while [ ! -e go ]; do sleep 0.02; done; read x; echo got-$x"
    screen.type(f"{' '.join(FCEMU)} exec {config()} -- sh -c '{script}'\n")
    if reads:
        screen.type("\n")
    screen.sees("up2")
    screen.type("\x1a")
    screen.sees("Stopped")
    job = [each for each in screen.processes()[1:] if each.cmdline()[:1] == ["sh"] or "exec" in each.cmdline()]
    assert [each.status() for each in job] == [psutil.STATUS_STOPPED] * 3  # fcemu, the watcher and the command
    screen.type("fg; echo code=$?\n")
    screen.sees("echo code=$?")
    (Path(psutil.Process(screen.pid).cwd()) / "go").touch()
    screen.type("it\n")
    screen.sees("got-it")
    screen.sees("code=0")
    screen.type("exit\n")
    assert screen.exit_code() == 0
