"""`fcemu serve` as a process: it gets ready, it stops, and it leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import websockets

from fcemu.model import AccessKey
from fcemu.trigger.signature import sign
from tests.served import Served, left, listening

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="orphans are ended for certain on Linux only")

CLEAN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CRASHES = (signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL)


async def test_ready_means_that_requests_succeed(served: Served) -> None:
    """Once the ready file exists, a request and a socket succeed at the addresses in it."""
    fcemu = await served()
    async with aiohttp.ClientSession() as client, client.get(fcemu.url) as response:
        assert response.status == 200
    async with websockets.connect(fcemu.url.replace("http", "ws")) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("signum", CLEAN, ids=lambda signum: signum.name)
async def test_signal_stops_cleanly_with_sockets_open(served: Served, signum: signal.Signals, loop: str) -> None:
    """SIGINT, SIGTERM and SIGHUP stop everything within the grace period; a bill is printed, and the exit code is 0."""
    fcemu = await served("echo.py", "--loop", loop)
    async with websockets.connect(fcemu.url.replace("http", "ws")) as ws:
        await ws.send("hello")
        await ws.recv()
        family, addresses = fcemu.family(), fcemu.addresses()
        assert len(family) >= 3  # keeper, guard, function
        fcemu.process.send_signal(signum)
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
    output = await fcemu.output()
    assert await fcemu.process.wait() == 0
    assert "refused (not billed)" in output
    assert await left(family, addresses) == []


@pytest.mark.parametrize("binding", ["auto", "port"])
@pytest.mark.parametrize("signum", CLEAN + CRASHES, ids=lambda signum: signum.name)
async def test_stubborn_function_does_not_outlive_the_front(
    served: Served, signum: signal.Signals, binding: str
) -> None:
    """A function that ignores signals, double-forks and calls setsid is killed, however the front ends."""
    fcemu = await served("nasty.py", fcemu={"portBinding": binding})
    assert len(fcemu.family()) >= 3 + 3  # keeper, guard, function and three daemons
    assert len(fcemu.addresses()) == 2  # the front's and the function's
    # A limit of 1 means no core dump, to a file or to a program.
    resource.prlimit(fcemu.process.pid, resource.RLIMIT_CORE, (1, 1))
    assert await fcemu.left_after(signum) == []
    assert fcemu.process.returncode == (0 if signum in CLEAN else -signum)


async def test_nothing_outlives_front_and_keeper_together(served: Served) -> None:
    """When the front and the keeper are killed at once, the guards kill everything."""
    fcemu = await served("nasty.py")
    assert await fcemu.left_after(signal.SIGKILL, fcemu.keeper()) == []


async def test_function_does_not_outlive_its_guard(served: Served) -> None:
    """When the process that guards a function is killed, the function and its daemons are killed, too."""
    fcemu = await served("nasty.py")
    family, addresses = fcemu.family(), fcemu.addresses()
    keeper = fcemu.keeper()
    (guard,) = keeper.children()
    guard.kill()
    assert await left(set(family) - {keeper}, addresses - listening([fcemu.process.pid])) == []
    assert await fcemu.instance()  # a new one


async def test_functions_survive_their_keeper_and_end_with_the_front(served: Served) -> None:
    """When the keeper is killed, its functions still serve, and are killed when the front ends."""
    fcemu = await served("nasty.py")
    family, instance = fcemu.family(), await fcemu.instance()
    fcemu.keeper().kill()
    assert await fcemu.instance() == instance
    assert len(fcemu.family()) == len(family)
    assert await fcemu.left_after(signal.SIGKILL) == []


async def test_instances_after_the_keepers_death_are_kept_as_well(served: Served) -> None:
    """A killed keeper is replaced: new instances are killed with their guard, or with the front."""
    fcemu = await served("nasty.py", fcemu={"scatter": True})
    first, old = await fcemu.instance(), fcemu.keeper()
    before = set(fcemu.family())
    old.kill()
    assert await left([old]) == []  # a start that is asked of one that is about to die would be lost
    second = await fcemu.instance()
    assert second != first
    keeper = fcemu.keeper()
    assert keeper != old
    (guard,) = keeper.children()
    guard.kill()
    assert await left(set(fcemu.family()) - before - {keeper}) == []
    served_by = {await fcemu.instance() for _ in range(4)}
    assert len(served_by) == 2
    assert first in served_by
    assert second not in served_by
    assert len(fcemu.addresses()) == 3  # the front's and two instances'
    assert await fcemu.left_after(signal.SIGKILL) == []


async def test_second_signal_ends_at_once(served: Served) -> None:
    """A second Ctrl-C skips the grace period."""
    fcemu = await served("nasty.py", fcemu={"stopGrace": 300})
    family, addresses = fcemu.family(), fcemu.addresses()
    fcemu.process.send_signal(signal.SIGINT)
    assert await left([], [("127.0.0.1", fcemu.port)]) == []  # it has seen the first signal
    fcemu.process.send_signal(signal.SIGINT)
    assert await fcemu.process.wait() == 128 + signal.SIGINT
    assert await left(family, addresses) == []


async def test_stdout_that_nobody_reads_any_more_does_not_stop_the_serving(served: Served) -> None:
    """A closed pipe at stdout stops only the printing."""
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
    """With --log-format json every line is a JSON object, including the ready line and the bill."""
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
    """The ready file is removed when the emulator stops."""
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
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without configured keys, one is generated and printed; it can sign, and `explain` explains an unsigned call."""
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    trigger = {"triggerName": "http", "triggerConfig": {"methods": ["GET"], "authType": "function"}}
    fcemu = await served(triggers=[trigger])
    key = AccessKey(accessKeyId=fcemu.facts["accessKeyId"], accessKeySecret=fcemu.facts["accessKeySecret"])
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


async def test_control_plane_is_opened_when_asked_for(served: Served, client: aiohttp.ClientSession) -> None:
    """With --admin, the output and the ready file have its address, and it works until the front stops."""
    fcemu = await served("echo.py", "--admin", "127.0.0.1:0")
    admin = fcemu.facts["admin"]
    for rule in ({"name": "busy", "refuse": 429}, {"name": "unused", "cut": True, "match": {"path": "/x"}}):
        async with client.post(f"{admin}/faults", json=rule) as response:
            assert response.status == 201
    async with client.get(fcemu.url) as response:
        assert response.status == 429
    family, addresses = fcemu.family(), fcemu.addresses()
    fcemu.process.send_signal(signal.SIGTERM)
    output = await fcemu.output()
    assert f"control plane: {admin}" in output
    assert "fault busy: refuse" in output
    assert "fault unused never fired" in output
    assert await left(family, addresses) == []
