"""The pytest plugin: each test here runs a pytest of its own in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import EXAMPLES, FUNCTIONS

TRIGGER = {"triggerName": "http", "triggerConfig": {"methods": ["GET", "POST"], "authType": "anonymous"}}

BREAKS = [sys.executable, "-c", "open('started', 'a').write('.'); print('I cannot'); raise SystemExit(3)"]


def configuration(**props: Any) -> dict[str, Any]:
    """A trigger.yaml for the echo function."""
    return {
        "functionName": "echo",
        "code": str(FUNCTIONS),
        "timeout": 60,
        "instanceConcurrency": 20,
        "customRuntimeConfig": {"command": [sys.executable, "echo.py"]},
        "triggers": [TRIGGER],
        "fcemu": {"stopGrace": 0.5},
        **props,
    }


class Project:
    """A project that uses the plugin: its configuration and its tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.ini("asyncio_default_fixture_loop_scope = function")
        self.file("trigger.yaml", yaml.safe_dump(configuration()))

    def file(self, name: str, text: str) -> None:
        """Write a file."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def ini(self, *lines: str) -> None:
        """Write the ini file; warnings are errors, so that a test that leaves something unclosed fails."""
        options = "--strict-markers --strict-config -p no:cacheprovider -p no:hypothesispytest"
        self.file("pytest.ini", "\n".join(["[pytest]", f"addopts = {options}", "filterwarnings = error", *lines, ""]))

    def tests(self, text: str) -> None:
        """Write a module of tests."""
        self.file("test_project.py", "import pytest\n" + text)

    def run(self, *arguments: str, **outcomes: int) -> str:
        """Run pytest, and check how many passed, failed, …; returns what it printed."""
        result = self.pytester.runpytest_subprocess(*arguments, timeout=100)
        result.assert_outcomes(**outcomes)
        return result.stdout.str()


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in a folder of its own."""
    # With CI pytest tells errors once more, at full length.
    for name in ("FCEMU_NO_SKIPS", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    return Project(pytester)


# ---- the plugin and pytest


def test_nothing_of_fcemu_is_imported_at_start(project: Project) -> None:
    """In a project that does not use the plugin, pytest imports only three small modules of it."""
    project.ini()
    project.tests(
        "import sys\n"
        "def test_imports():\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'fcemu'}\n"
        "    testing = {'fcemu.testing', 'fcemu.testing.pytest_plugin', 'fcemu.testing.pytest_fixtures'}\n"
        "    assert ours == {'fcemu', *testing}\n"
        "    assert not {'aiohttp', 'pydantic', 'yaml', 'psutil', 'jwt'} & sys.modules.keys()\n"
    )
    project.run("-p", "no:asyncio", "-p", "no:aiohttp", "-p", "no:xdist", passed=1)


def test_plugin_can_be_turned_off_by_the_ini_file(project: Project) -> None:
    """If the ini file disables the plugin, there is neither fixture nor marker."""
    project.ini("asyncio_default_fixture_loop_scope = function", "fcemu_plugin = false")
    project.tests("def test_plain(): pass\ndef test_fixture(fc): pass\n")
    assert "fixture 'fc' not found" in project.run(passed=1, errors=1)
    project.tests("@pytest.mark.fc(timeout=2)\ndef test_marked(): pass\n")
    assert "'fc' not found in `markers`" in project.run(errors=1)


def test_plugin_can_be_left_out(project: Project) -> None:
    """`-p no:fcemu` works."""
    project.tests("def test_plain(): pass\ndef test_fixture(fc): pass\n")
    assert "fixture 'fc' not found" in project.run("-p", "no:fcemu", passed=1, errors=1)


def test_plugin_is_described(project: Project) -> None:
    """pytest describes the fixtures, the marker and the settings."""
    project.tests("")
    assert "An emulator of Function Compute" in project.pytester.runpytest_subprocess("--fixtures").stdout.str()
    assert "@pytest.mark.fc(function=None" in project.pytester.runpytest_subprocess("--markers").stdout.str()
    help = project.pytester.runpytest_subprocess("--help").stdout.str()
    for name in ("--fcemu-config=FILE", "fcemu_config (string)", "fcemu_plugin (bool)"):
        assert name in help


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_asyncio_mode_stays_the_projects_own(project: Project, mode: str) -> None:
    """In either asyncio mode, plain, asyncio and anyio tests get the fixture, and so do asynchronous fixtures."""
    project.ini("asyncio_default_fixture_loop_scope = function", f"asyncio_mode = {mode}")
    anyio = "@pytest.mark.anyio\n" if mode == "strict" else "@pytest.mark.asyncio\n"
    project.tests(
        "import pytest_asyncio\n"
        "@pytest.fixture\n"
        "def anyio_backend(): return 'asyncio'\n"
        "@pytest_asyncio.fixture\n"
        "async def ws(fc):\n"
        "    async with fc.connect() as ws: yield ws\n"
        "def test_plain(fc): assert fc.request('GET').status == 200\n"
        "@pytest.mark.asyncio\n"
        "async def test_asyncio(ws):\n"
        "    await ws.send_str('hi')\n"
        "    assert await ws.receive_str() == 'hi'\n"
        f"{anyio}"
        "async def test_anyio(fc):\n"
        "    async with fc.connect() as ws: await ws.send_str('hi')\n"
    )
    project.run(passed=3)


# ---- what is served


def test_usual_file_is_served(project: Project) -> None:
    """By default the trigger.yaml in the root folder is served, wherever pytest is started."""
    project.file("below/test_below.py", "def test_name(fc): assert fc.account.functions[0].functionName == 'echo'\n")
    project.run("--rootdir", str(project.path), "below", passed=1)


def test_no_file_is_told(project: Project) -> None:
    """Without a configuration, the failure says how to name one."""
    (project.path / "trigger.yaml").unlink()
    project.tests("def test_any(fc): pass\n")
    output = project.run(errors=1)
    assert f"fcemu: there is neither trigger.yaml nor s.yaml in {project.path}; name the configuration with" in output
    assert "Traceback" not in output


def test_option_wins_over_the_ini_file(project: Project) -> None:
    """A path of the ini file is relative to the root folder, one of the option to where pytest is started."""
    project.ini("asyncio_default_fixture_loop_scope = function", "fcemu_config = deploy/ini.yaml")
    project.file("below/test_below.py", "def test_name(fcemu_config): print('serves', fcemu_config)\n")
    project.pytester.chdir()
    os.chdir("below")
    assert f"serves {project.path}/deploy/ini.yaml\n" in project.run("-s", passed=1)
    assert f"serves {project.path}/below/mine.yaml\n" in project.run("-s", "--fcemu-config", "mine.yaml", passed=1)


def test_fixture_says_what_is_served(project: Project) -> None:
    """`fcemu_config` can be overridden for some tests, and return a path or a mapping."""
    project.file("deploy/other.yaml", yaml.safe_dump(configuration(functionName="file")))
    for name, served in (("file", "deploy/other.yaml"), ("mapping", configuration(functionName="mapping"))):
        project.file(
            f"test_{name}.py",
            "import pytest\n"
            f"@pytest.fixture\ndef fcemu_config(): return {served!r}\n"
            f"def test_name(fc): assert fc.account.functions[0].functionName == '{name}'\n",
        )
    project.run(passed=2)


def test_bad_configuration_is_told_in_its_words(project: Project) -> None:
    """Every mistake of the file is reported with its line, and without a traceback."""
    project.file("trigger.yaml", yaml.safe_dump(configuration(timeout="60", tiemout=3)))
    project.tests("def test_any(fc): pass\n")
    output = project.run(errors=1)
    assert "timeout: expected a whole number from 1 to 86400, found the string '60'" in output
    assert "tiemout: unknown key; did you mean `timeout`?" in output
    assert f"{project.path / 'trigger.yaml'}:" in output
    assert "Traceback" not in output
    assert "site-packages" not in output


def test_function_that_does_not_start_is_told_once_waited_for(project: Project) -> None:
    """The error has the function's last output and no traceback; the second test does not wait for it again."""
    project.file("trigger.yaml", yaml.safe_dump(configuration(code=".", customRuntimeConfig={"command": BREAKS})))
    project.tests("def test_one(fc): pass\ndef test_two(fc): pass\n")
    output = project.run(errors=2)
    assert output.count("Logs:I cannot") == 2
    assert "kit.py" not in output
    assert (project.path / "started").read_text() == "."


def test_markers_change_keys(project: Project) -> None:
    """For each key the nearest marker applies; a test without a marker has the values of the file."""
    project.tests(
        "@pytest.mark.fc(timeout=2, instanceConcurrency=7)\n"
        "class TestMarked:\n"
        "    def test_class(self, fc):\n"
        "        function = fc.account.functions[0]\n"
        "        assert (function.timeout, function.instanceConcurrency) == (2, 7)\n"
        "    @pytest.mark.fc(timeout=3)\n"
        "    def test_method(self, fc):\n"
        "        function = fc.account.functions[0]\n"
        "        assert (function.timeout, function.instanceConcurrency) == (3, 7)\n"
        "def test_unmarked(fc):\n"
        "    assert fc.account.functions[0].timeout == 60\n"
    )
    project.run(passed=3)


def test_bad_marker_is_told_with_its_test(project: Project) -> None:
    """A mistake in a marker is reported with the file and line of its test."""
    project.tests(
        "@pytest.mark.fc(timeout=0)\ndef test_value(fc): pass\n"
        "@pytest.mark.fc(function='other', timeout=1)\ndef test_function(fc): pass\n"
        "@pytest.mark.fc(2)\ndef test_position(fc): pass\n"
    )
    output = project.run(errors=3)
    assert "test_project.py:2: timeout: expected a number from 1 to 86400, found 0" in output
    assert "test_project.py:4: there is no function 'other'; configured: echo" in output
    assert "@pytest.mark.fc takes only keyword arguments, such as timeout=2" in output
    assert "Traceback" not in output


def test_few_emulators_are_kept(project: Project) -> None:
    """Only a few emulators run at the same time; the least recently used one is stopped."""
    project.tests(
        "import psutil\n"
        "ports = {}\n"
        "@pytest.mark.parametrize('n', [1, 2, 3, 4, 1, 5, 1])\n"
        "def test_variant(n, request):\n"
        "    request.node.add_marker(pytest.mark.fc(timeout=n))\n"
        "    fc = request.getfixturevalue('fc')\n"
        "    assert fc.account.functions[0].timeout == n\n"
        "    assert len(psutil.Process().children()) <= 4\n"
        "    assert ports.setdefault(n, fc.port) == fc.port\n"
    )
    project.run(passed=7)


def test_each_test_begins_anew(project: Project) -> None:
    """Each test has its own journal, bill and time; address and instance are kept."""
    project.tests(
        "import time\n"
        "known = set()\n"
        "@pytest.mark.parametrize('n', range(3))\n"
        "def test_one(n, fc):\n"
        "    assert fc.journal == []\n"
        "    assert fc.billing['echo'].invocations == 0\n"
        "    assert abs(fc.clock.now() - time.time()) < 60\n"
        "    known.add((fc.port, fc.request('GET', '/pid').json()['pid']))\n"
        "    assert len(known) == 1\n"
        "    fc.clock.advance(minutes=2)\n"
    )
    project.run(passed=3)


def test_stopped_emulator_is_replaced(project: Project) -> None:
    """A test may stop its emulator to see what a client does then; the next test gets a new one."""
    project.tests(
        "def test_stops(fc):\n"
        "    fc.stop()\n"
        "    with pytest.raises(ConnectionRefusedError): fc.request('GET')\n"
        "def test_next(fc): assert fc.request('GET').status == 200\n"
        "def test_fails(fc):\n"
        "    fc.stop()\n"
        "    assert 0\n"
    )
    assert "INTERNALERROR" not in project.run(passed=2, failed=1)


# ---- what tests get to know


def test_failing_test_tells_what_happened(project: Project) -> None:
    """The report of a failing test has the invocations, with reason and remedy, and the function's output."""
    project.tests(
        "@pytest.mark.asyncio\n"
        "async def test_fails(fc):\n"
        "    async with fc.connect('/room') as ws:\n"
        "        await ws.send_str('exit')\n"
        "        await fc.expect_close(ws, 1000)\n"
        "def test_refused(fc):\n"
        "    assert fc.request('DELETE', '/x').status == 200\n"
        "def test_passes(fc): fc.request('GET', '/fine')\n"
        "@pytest.fixture\n"
        "def broken(fc):\n"
        "    fc.request('GET', '/in-a-fixture')\n"
        "    raise KeyError\n"
        "def test_set_up(broken): pass\n"
        "def test_logs(fc):\n"
        "    fc.request('GET', '/exit')\n"
        "    fc.clock.advance(1)\n"
        "    fc.request('GET')\n"
        "    assert not fc.logs\n"
        "def test_without(): assert 0\n"
    )
    output = project.run(failed=4, errors=1, passed=1)
    assert output.count("- fcemu invocations -") == 4
    assert "GET /room 101 close 1006 by function" in output
    assert "instance ended: exit code 3" in output
    assert "remedy: add DELETE to `methods`" in output
    assert "GET /in-a-fixture 200" in output
    assert "GET /fine" not in output
    assert output.count("- fcemu function log -") == 1
    assert "stdout | starting" in output


def test_what_is_left_open_fails_the_teardown(project: Project) -> None:
    """A WebSocket and a request that a test leaves open are reported; the next test is not disturbed."""
    project.tests(
        "import contextlib, threading\n"
        "from websockets.sync.client import connect\n"
        "held = contextlib.ExitStack()\n"
        "@pytest.mark.asyncio\n"
        "async def test_awaited(fc): await fc.connect('/awaited')\n"
        "def test_own_client(fc): held.enter_context(connect(fc.ws_url + '/own'))\n"
        "def test_request(fc):\n"
        "    thread = threading.Thread(target=fc.request, args=('GET', '/sleep'))\n"
        "    thread.start()\n"
        "    held.callback(thread.join)\n"
        "    fc.wait_for(lambda record: True)\n"
        "def test_next(fc): assert fc.request('GET').status == 200\n"
        "def test_last(): held.close()\n"
    )
    output = project.run(passed=5, errors=3)
    assert output.count("fcemu: still open at the end of the test:") >= 3
    for what in ("WebSocket /awaited to echo", "WebSocket /own to echo", "GET /sleep to echo"):
        assert what in output
    assert output.count("FC Invoke Start") == 3
    assert output.count("Traceback") == 0


def test_fixture_that_closes_is_waited_for(project: Project) -> None:
    """A socket that a fixture opens for a test, and closes after it, does not count as left open."""
    project.tests(
        "import websockets.sync.client\n"
        "@pytest.fixture\n"
        "def ws(fc):\n"
        "    with websockets.sync.client.connect(fc.ws_url) as ws: yield ws\n"
        "def test_one(ws): ws.send('hi')\n"
    )
    project.run(passed=1)


def test_process_that_is_left_fails_the_session(project: Project) -> None:
    """A process that was started by an instance and is still running is reported at the end."""
    project.tests(
        "import os, subprocess, sys\n"
        "from fcemu.processes.identity import identity\n"
        "def test_one(fc):\n"
        "    env = {**os.environ, 'FC_INSTANCE_ID': fc.instances[0].id, 'FCEMU_RUN': identity(os.getpid())}\n"
        "    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, env=env)\n"
        "    process.__class__.__del__ = lambda self: None\n"
        "    sys.left = process\n"
    )
    output = project.run(passed=1, errors=1)
    assert "fcemu: processes of functions are still running: pid " in output
    assert "ERROR at teardown of test_one" in output


# ---- workers, and the sample project


def test_workers_do_not_share_anything(project: Project) -> None:
    """With pytest-xdist, each worker has its own emulators."""
    project.tests(
        "import os, pathlib, time\n"
        "@pytest.mark.parametrize('n', range(2))\n"
        "def test_one(n, fc):\n"
        "    mine = pathlib.Path(os.environ['PYTEST_XDIST_WORKER'])\n"
        "    mine.write_text(f\"{fc.port} {fc.request('GET', '/pid').json()['pid']}\")\n"
        "    until = time.monotonic() + 60\n"
        "    while len(found := list(pathlib.Path().glob('gw*'))) < 2: assert time.monotonic() < until\n"
        "    time.sleep(0.1)\n"
        "    facts = [path.read_text().split() for path in found]\n"
        "    assert len(set(map(tuple, zip(*facts)))) == 2\n"
        "    assert len({port for port, _ in facts}) == len({pid for _, pid in facts}) == 2\n"
        "    assert len(fc.invocations) == 1\n"
    )
    project.run("-n", "2", passed=2)


@pytest.mark.parametrize("options", [["tests"], ["tests/test_plain.py", "-n", "2"]], ids=["alone", "workers"])
def test_sample_project(options: list[str], tmp_path: Path) -> None:
    """The tests of the sample project pass when they are run as its README says."""
    copy = shutil.copytree(EXAMPLES / "pytest", tmp_path / "rooms", ignore=shutil.ignore_patterns("__pycache__"))
    # As in an activated environment: python3 and pytest are those of these tests.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["pytest", "-q", "-W", "error", *options]
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if os.environ.get("FCEMU_NO_SKIPS"):
        assert "skipped" not in done.stdout


def test_sample_without_pytest() -> None:
    """The kit can be used in a script without pytest."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command, folder = ["python3", "without_pytest.py"], EXAMPLES / "pytest"
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith(" 200 {}\n")
