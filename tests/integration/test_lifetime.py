"""`fcemu serve` as a process: it gets ready, it stops, and however it ends, nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import websockets
import yaml

from fcemu.model import AccessKey
from fcemu.trigger.signature import sign
from tests.conftest import FUNCTIONS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are ended for certain on Linux only")

Served = Callable[..., Awaitable["Fcemu"]]


class Fcemu:
    """A running `fcemu serve`."""

    def __init__(self, process: asyncio.subprocess.Process, facts: dict[str, Any], pids: Path) -> None:
        self.process = process
        self.url: str = facts["url"]
        self.port: int = facts["port"]
        self._pids = pids

    def family(self) -> list[psutil.Process]:
        """Every process that it started, whatever became of its parents."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        if self._pids.exists():
            for pid in self._pids.read_text().split():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(int(pid)))
        return list(dict.fromkeys(found))

    async def output(self) -> str:
        """All that it printed, until its end."""
        assert self.process.stdout is not None
        return (await self.process.stdout.read()).decode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """Start `fcemu serve` on a function of tests/functions and wait for its ready file."""
    started: list[asyncio.subprocess.Process] = []

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
            "fcemu": {"stopGrace": 0.5},
            **props,
        }
        file = tmp_path / "trigger.yaml"
        file.write_text(yaml.safe_dump(config))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fcemu", "serve", str(file), "--port", "0", "--ready-file", str(ready), *options,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        async with asyncio.timeout(30):
            while not ready.exists():
                assert process.returncode is None
                await asyncio.sleep(0.01)
        return Fcemu(process, json.loads(ready.read_text()), pids)

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()  # to the end of its output, so that no pipe is left open


def port_is_free(port: int) -> bool:
    """Whether nothing listens on a port any more."""
    with contextlib.closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


async def gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those processes that are still alive after a generous wait."""
    return (await asyncio.to_thread(psutil.wait_procs, processes, 20))[1]


async def test_ready_means_that_requests_succeed(served: Served) -> None:
    """Once the ready file is there, a request and a socket succeed at the addresses in it."""
    fcemu = await served()
    async with aiohttp.ClientSession() as client, client.get(fcemu.url) as response:
        assert response.status == 200
    async with websockets.connect(fcemu.url.replace("http", "ws")) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signal_stops_cleanly_with_sockets_open(served: Served, signum: signal.Signals, loop: str) -> None:
    """SIGINT, SIGTERM and SIGHUP end everything within the grace period, exit code 0, with a bill."""
    fcemu = await served("echo.py", "--loop", loop)
    async with websockets.connect(fcemu.url.replace("http", "ws")) as ws:
        await ws.send("hello")
        await ws.recv()
        family = fcemu.family()
        assert len(family) >= 3  # keeper, guard, function
        fcemu.process.send_signal(signum)
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
    output = await fcemu.output()
    assert await fcemu.process.wait() == 0
    assert "refused (not billed)" in output
    assert await gone(family) == []
    assert port_is_free(fcemu.port)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_stubborn_function_does_not_outlive_the_front(served: Served, signum: signal.Signals) -> None:
    """A function that ignores signals, double-forks and calls setsid is gone after a clean stop and after a kill -9."""
    fcemu = await served("nasty.py")
    family = fcemu.family()
    assert len(family) >= 3 + 3  # keeper, guard, function and three daemons
    fcemu.process.send_signal(signum)
    await fcemu.process.wait()
    assert await gone(family) == []
    assert port_is_free(fcemu.port)


async def test_function_does_not_outlive_its_guard(served: Served) -> None:
    """When the process that guards a function is killed, the function and its daemons go too."""
    fcemu = await served("nasty.py")
    family = fcemu.family()
    keeper = psutil.Process(fcemu.process.pid).children()[0]
    (guard,) = keeper.children()
    rest = [process for process in family if process.pid not in (keeper.pid, guard.pid)]
    guard.kill()
    assert await gone([guard, *rest]) == []
    # The next request starts a new instance.
    async with aiohttp.ClientSession() as client, client.get(fcemu.url) as response:
        assert response.status == 200


async def test_functions_survive_their_keeper_and_end_with_the_front(served: Served) -> None:
    """A killed keeper takes nothing down; its functions still serve, and end with the front."""
    fcemu = await served("nasty.py")
    keeper = psutil.Process(fcemu.process.pid).children()[0]
    family = fcemu.family()
    keeper.kill()
    async with aiohttp.ClientSession() as client, client.get(fcemu.url) as response:
        assert response.status == 200
    fcemu.process.kill()
    await fcemu.process.wait()
    assert await gone(family) == []


async def test_second_signal_ends_at_once(served: Served) -> None:
    """A second Ctrl-C does not wait for the grace period."""
    fcemu = await served("nasty.py", fcemu={"stopGrace": 300})
    family = fcemu.family()
    fcemu.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        while not port_is_free(fcemu.port):  # it has seen the first signal
            await asyncio.sleep(0.01)
    fcemu.process.send_signal(signal.SIGINT)
    assert await fcemu.process.wait() == 128 + signal.SIGINT
    assert await gone(family) == []


async def test_stdout_that_nobody_reads_any_more_does_not_stop_the_serving(served: Served) -> None:
    """A closed pipe at stdout ends the printing only."""
    fcemu = await served()
    transport = fcemu.process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
    transport.close()
    async with aiohttp.ClientSession() as client:
        for _ in range(3):
            async with client.get(fcemu.url) as response:
                assert response.status == 200
    fcemu.process.send_signal(signal.SIGTERM)
    assert await fcemu.process.wait() == 0


async def test_json_log_is_one_object_a_line(served: Served) -> None:
    """With --log-format json every line is an object, the ready line and the bill included."""
    fcemu = await served("echo.py", "--log-format", "json")
    async with aiohttp.ClientSession() as client, client.put(fcemu.url) as response:
        assert response.status == 403
    fcemu.process.send_signal(signal.SIGTERM)
    records = [json.loads(line) for line in (await fcemu.output()).splitlines()]
    kinds = [record["record"] for record in records]
    assert {"LogLine", "InstanceChanged", "InvocationEnded", "Ready", "Billing"} <= set(kinds)
    (refused,) = [record for record in records if record["record"] == "InvocationEnded"]
    assert (refused["status"], refused["error_code"]) == (403, "AccessDenied")


async def test_ready_file_is_removed_at_the_end(served: Served, tmp_path: Path) -> None:
    """The ready file says what is true: it goes with the emulator."""
    fcemu = await served()
    assert os.listdir(tmp_path).count("ready.json") == 1
    fcemu.process.send_signal(signal.SIGTERM)
    await fcemu.process.wait()
    assert not (tmp_path / "ready.json").exists()


async def test_table_says_what_is_served(served: Served) -> None:
    """The start table has the function, its addresses, methods, authentication, concurrency and timeout."""
    fcemu = await served()
    fcemu.process.send_signal(signal.SIGTERM)
    output = await fcemu.output()
    for text in (
        "fn",
        f"ws://127.0.0.1:{fcemu.port}/",
        "GET,POST",
        "anonymous",
        "60 s",
        "try: npx wscat -c",
        "ready: ",
    ):
        assert text in output


async def test_key_is_made_for_a_signed_trigger_and_a_refusal_can_be_explained(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without configured keys one is made and shown; it signs, and `explain` says why an unsigned call was refused."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "function"}}
    fcemu = await served(triggers=[trigger])
    facts = json.loads((tmp_path / "ready.json").read_text())
    key = AccessKey(accessKeyId=facts["accessKeyId"], accessKeySecret=facts["accessKeySecret"])
    signed = sign("GET", fcemu.url + "/a?b=c", key, time.time())
    async with aiohttp.ClientSession() as client:
        async with client.get(signed.url, headers=dict(signed.headers)) as response:
            assert response.status == 200
        old = sign("GET", fcemu.url + "/a?b=c", key, time.time() - 16 * 60 - 2)
        async with client.get(old.url, headers=dict(old.headers)) as response:
            assert response.status == 403
            request_id = (await response.json())["RequestId"]
    presigned = sign("GET", fcemu.url.replace("http", "ws"), key, time.time(), scheme="presigned")
    async with websockets.connect(presigned.url) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
    explained = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fcemu", "explain", request_id, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await explained.communicate()
    assert "the date of the request is 16 min " in said.decode()
    fcemu.process.send_signal(signal.SIGTERM)
    output = await fcemu.output()
    assert f"access key made for this run: id {key.accessKeyId} secret {key.accessKeySecret}" in output
    log = output.partition("\nready: ")[2]
    assert key.accessKeySecret not in log
    assert "x-fc-signature=…" in log
