"""What integration tests share: a client, and `fcemu serve` as a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import EXAMPLES, FUNCTIONS
from tests.served import Fcemu, Served


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


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Make a copy of an example with its npm packages installed; without npm `untested` is what the skip names."""

    def install(example: str, untested: str) -> Path:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed: {untested} NOT tested")
        folder = tmp_path_factory.mktemp("node") / example.partition("/")[0]
        shutil.copytree(EXAMPLES / example, folder, ignore=shutil.ignore_patterns("node_modules"))
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(command, cwd=folder, check=True)
        return folder

    return install


@pytest.fixture(scope="session")
def echo_node(installed: Callable[[str, str], Path]) -> Path:
    """A copy of examples/echo-node with its dependency installed."""
    return installed("echo-node", "the vendor's Node sample was")
