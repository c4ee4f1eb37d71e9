"""Fixtures of the integration tests: a client, and `fcemu serve` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import EXAMPLES, FUNCTIONS
from tests.served import Fcemu, Served

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that keeps no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """Start `fcemu serve` on a function of tests/functions and wait for its ready file."""
    # A front that was killed leaves its note for `fcemu prune`.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    async with contextlib.AsyncExitStack() as stack:

        async def start(script: str = "echo.py", *options: str, **props: Any) -> Fcemu:
            pids, ready = tmp_path / "pids", tmp_path / "ready.json"
            trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET", "POST"], "authType": "anonymous"}}
            config = {
                "functionName": "fn",
                "code": str(FUNCTIONS),
                "timeout": 60,
                "instanceConcurrency": 10,
                "customRuntimeConfig": {"command": [sys.executable, script]},
                "environmentVariables": {"PIDS": str(pids)},
                "triggers": [trigger],
                **props,
                "fcemu": {"stopGrace": 0.2, **props.get("fcemu", {})},
            }
            file = tmp_path / "trigger.yaml"
            file.write_text(yaml.safe_dump(config))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fcemu", "serve", str(file), "--port", "0", "--ready-file", str(ready), *options,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            fcemu = Fcemu(process, pids)
            stack.push_async_callback(fcemu.end)
            async with asyncio.timeout(30):
                while not ready.exists():
                    assert process.returncode is None, await fcemu.output()
                    await asyncio.sleep(0.005)
            fcemu.facts = json.loads(ready.read_text())
            return fcemu

        yield start


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep out everybody else who locks this file, in whatever process."""
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make a folder that takes long to make, such as one of npm packages, once for all workers of a run.

    Tests read what is in it, and write nothing there.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # each worker has its own in that of the run

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.made"
        with locked(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture
def only_pruner() -> Iterator[None]:
    """Nobody else who runs these tests prunes: on the whole machine, what was left behind is anybody's to end."""
    with locked(Path(tempfile.gettempdir()) / f"fcemu-tests-prune-{os.getuid()}.lock"):
        yield


@pytest.fixture(scope="session")
def installed(made_once: Made) -> Callable[[str, str], Path]:
    """Make a copy of an example with its npm packages installed; without npm `untested` is what the skip names."""

    def install(example: str, untested: str) -> Path:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed: {untested} NOT tested")

        def fill(folder: Path) -> None:
            ignored = shutil.ignore_patterns("node_modules")
            shutil.copytree(EXAMPLES / example, folder, ignore=ignored, dirs_exist_ok=True)
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
            subprocess.run(command, cwd=folder, check=True)

        return made_once(example.replace("/", "-"), fill)

    return install


@pytest.fixture(scope="session")
def echo_node(installed: Callable[[str, str], Path]) -> Path:
    """A copy of examples/echo-node with its dependency installed."""
    return installed("echo-node", "the vendor's Node sample was")
