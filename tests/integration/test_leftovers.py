"""`fcemu ps` lists the processes of fcemu; `fcemu prune` stops those that were left behind, and no others."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from fcemu.processes import leftovers
from fcemu.processes.identity import identity
from tests.conftest import FUNCTIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="how a front ends is for certain on Linux only")

FCEMU = [sys.executable, "-m", "fcemu"]
Start = Callable[[str], "Served"]


class Served:
    """A running `fcemu serve` with a name of its own."""

    def __init__(self, process: subprocess.Popen[bytes], facts: dict[str, Any], pids: Path, config: Path) -> None:
        self.process = process
        self.url: str = facts["url"]
        self.config = config
        (self.keeper,) = psutil.Process(process.pid).children()
        (self.guard,) = self.keeper.children()
        self._pids = pids

    def functions(self) -> list[int]:
        """The pids of the function's processes that live: by its own word, or by the guard's children."""
        noted = [int(pid) for pid in self._pids.read_text().split()] if self._pids.exists() else []
        return [pid for pid in noted or [child.pid for child in self.guard.children()] if identity(pid)]

    def kill_all_at_once(self) -> None:
        """Kill keeper, guard and front, so that none of them can clean up."""
        processes = (self.keeper, self.guard, psutil.Process(self.process.pid))
        for process in processes:
            process.suspend()  # so that none of them sees another's end
        while any(process.status() != psutil.STATUS_STOPPED for process in processes):
            time.sleep(0.01)
        for process in processes:
            process.kill()
        self.process.wait()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "fcemu"


@pytest.fixture
def start(tmp_path: Path, state: Path) -> Iterator[Start]:
    """Start `fcemu serve` with a script of tests/functions."""
    with contextlib.ExitStack() as stack:

        def started(script: str) -> Served:
            folder = tmp_path / script
            folder.mkdir()
            file, ready, pids = folder / "trigger.yaml", folder / "ready.json", folder / "pids"
            trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "anonymous"}}
            config = {
                "functionName": script.partition(".")[0],
                "code": str(FUNCTIONS),
                "customRuntimeConfig": {"command": [sys.executable, script]},
                "environmentVariables": {"PIDS": str(pids)},
                "triggers": [trigger],
                "fcemu": {"stopGrace": 0.5},
            }
            file.write_text(yaml.safe_dump(config))
            command = [*FCEMU, "serve", str(file), "--port", "0", "--ready-file", str(ready)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.DEVNULL))
            stack.callback(process.terminate)
            until = time.monotonic() + 30
            while not ready.exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.01)
            return Served(process, json.loads(ready.read_text()), pids, file)

        yield started


def fcemu(command: str) -> list[list[str]]:
    """The words of each line that a command prints."""
    done = subprocess.run([*FCEMU, command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_running_front_is_listed_with_its_processes(start: Start, state: Path) -> None:
    """`ps` shows front, keeper, guard and function, with address, configuration and function name."""
    served = start("echo.py")
    (file,) = (state / "runs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    lines = {words[0]: words for words in fcemu("ps")}
    front = lines[str(served.process.pid)]
    assert (front[1], front[-2:]) == ("front", [served.url, str(served.config)])
    assert lines[str(served.keeper.pid)][1] == "keeper"
    assert lines[str(served.guard.pid)][1] == "guard"
    (function,) = served.functions()
    assert (lines[str(function)][1], lines[str(function)][-2]) == ("function", "echo")
    served.process.terminate()
    assert served.process.wait(30) == 0
    assert list((state / "runs").iterdir()) == []
    assert str(served.process.pid) not in {words[0] for words in fcemu("ps")}


@pytest.mark.xdist_group("prune")
def test_prune_ends_what_was_left_behind_and_nothing_else(start: Start, state: Path, only_pruner: None) -> None:
    """Daemons of a front that was killed with keeper and guard are stopped; all other processes stay."""
    living, dead = start("echo.py"), start("nasty.py")
    program = ["-c", "import time; print(flush=True); time.sleep(300)", "nasty.py", "fcemu"]
    similar = subprocess.Popen(
        [sys.executable, *program], env={**os.environ, "FC_INSTANCE_ID": "c-1"}, stdout=subprocess.PIPE
    )
    with similar:
        try:
            assert similar.stdout is not None
            similar.stdout.readline()
            dead.kill_all_at_once()
            until = time.monotonic() + 30
            while len(lost := dead.functions()) > 3:  # the parent-death signal takes the function's own process
                assert time.monotonic() < until
                time.sleep(0.01)
            assert len(lost) == 3
            assert {str(pid) for pid in lost} <= {words[0] for words in fcemu("ps") if words[1] == "left"}
            ended = {int(words[1].rstrip(":")) for words in fcemu("prune") if words[0] == "stopped"}
            assert ended >= set(lost)
            assert dead.functions() == []
            survivors = {similar.pid, living.process.pid, living.keeper.pid, living.guard.pid, *living.functions()}
            assert len(survivors) == 5
            assert not ended & survivors
            assert all(identity(pid) for pid in survivors)
            assert [file.name for file in (state / "runs").iterdir()] == [f"{living.process.pid}.json"]
            assert not ended & {int(words[1].rstrip(":")) for words in fcemu("prune") if words[0] == "stopped"}
        finally:
            similar.kill()


def test_pid_that_is_used_again_is_not_the_front() -> None:
    """A front is identified by pid and start time, so another process with its pid is not taken for it."""
    mine = identity(os.getpid())
    assert mine is not None
    assert leftovers.is_alive(mine)
    assert not leftovers.is_alive(f"{os.getpid()}:1")


def test_process_is_not_signalled_under_a_former_identity(state: Path) -> None:
    """If a pid is reused between being found and being signalled, the new process is left alone."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as other:
        try:
            leftovers._send(leftovers.Started(other.pid, f"{other.pid}:1", "1:1", "fn", "c-1"), 9)
            time.sleep(0.2)
            assert other.poll() is None
        finally:
            other.kill()


def test_state_folder_that_cannot_be_written_does_not_stop_the_serving(start: Start, state: Path) -> None:
    """If the state folder cannot be written, the front still serves, and `ps` finds it through its functions."""
    state.parent.mkdir()
    state.write_text("a file where the folder should be")
    served = start("echo.py")
    assert str(served.process.pid) in {words[0] for words in fcemu("ps")}
