"""The vendor's Node sample runs unmodified, and npm's `ws` works as a client.

The sample listens on port 9000, whatever FC_SERVER_PORT says. Each of its instances has an address of its own, so no
test needs port 9000 of the machine; where an instance has none, a copy of the sample listens on a free port.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fcemu.emulator import Emulator
from fcemu.journal import InvocationEnded, InvocationStarted, LogLine, Notice
from fcemu.model import Function
from tests.conftest import FUNCTIONS, Serve, function
from tests.integration.test_port_binding import free_port

WsClient = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def sample(echo_node: Path) -> Callable[..., Function]:
    """The sample as a function: the command and concurrency of its trigger.yaml unless told otherwise."""

    def make(**props: Any) -> Function:
        runtime = {"command": ["node"], "args": ["index.js"], "port": 9000}
        return function(code=str(echo_node), customRuntimeConfig=runtime, **{"instanceConcurrency": 100, **props})

    return make


@pytest.fixture
def ws_client(echo_node: Path) -> WsClient:
    """Run tests/functions/ws-client.js: `await ws_client(emulator, send=…, expect=…)`."""

    async def run(emulator: Emulator, **job: Any) -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(FUNCTIONS / "ws-client.js"),
            json.dumps({"url": f"ws://127.0.0.1:{emulator.port}/", **job}),
            env={**os.environ, "NODE_PATH": str(echo_node / "node_modules")},
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        saw: list[dict[str, Any]] = json.loads(output)
        return saw

    return run


def ends(emulator: Emulator) -> list[InvocationEnded]:
    return [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]


def fixed_port_notices(emulator: Emulator, port: int = 9000) -> list[str]:
    notices = [record for record in emulator.journal.records if isinstance(record, Notice)]
    return [notice.text for notice in notices if notice.kind == "single-instance" and f"port {port}" in notice.text]


async def test_sample_echoes(serve: Serve, sample: Callable[..., Function], ws_client: WsClient) -> None:
    """The vendor's sample echoes text, and binary as text, to npm's client."""
    emulator = await serve(sample())
    (saw,) = await ws_client(
        emulator, send=["hello", "你好", {"hex": b"bytes".hex()}, ""], expect=4, close=[1000, "bye"]
    )
    assert saw["messages"] == ["hello", "你好", "bytes", ""]
    assert (saw["code"], saw["reason"]) == (1000, "bye")
    (end,) = ends(emulator)
    assert (end.kind, end.status, end.close_code, end.closed_by) == ("websocket", 101, 1000, "client")
    lines = [record.text for record in emulator.journal.records if isinstance(record, LogLine)]
    assert "[SERVER] connection()" in lines


async def test_sample_at_the_timeout(serve: Serve, sample: Callable[..., Function], ws_client: WsClient) -> None:
    """npm's client reports 1006 at the execution timeout, as the vendor's page says."""
    emulator = await serve(sample(timeout=1))
    (saw,) = await ws_client(emulator, send=["hello"])
    assert (saw["messages"], saw["code"], saw["reason"]) == (["hello"], 1006, "")
    (end,) = ends(emulator)
    assert (end.close_code, end.closed_by) == (1006, "timeout")


async def test_sample_with_100_sockets(serve: Serve, sample: Callable[..., Function], ws_client: WsClient) -> None:
    """100 sockets at a time share the sample's one instance at instanceConcurrency 100."""
    emulator = await serve(sample())
    saw = await ws_client(emulator, count=100, send=["one", "two"], expect=2)
    assert [(each["messages"], each["code"]) for each in saw] == [(["one", "two"], 1005)] * 100
    started = [record for record in emulator.journal.records if isinstance(record, InvocationStarted)]
    assert len(started) == 100
    assert len({record.instance_id for record in started}) == 1


async def test_sample_gets_one_instance(serve: Serve, echo_node: Path, tmp_path: Path, ws_client: WsClient) -> None:
    """The emulator says that a server hard-wired to a port gets one instance, and refuses a second socket."""
    port = free_port()
    text = (echo_node / "index.js").read_text()
    assert text.count("9000") == 1
    (tmp_path / "index.js").write_text(text.replace("9000", str(port)))
    (tmp_path / "node_modules").symlink_to(echo_node / "node_modules")
    runtime = {"command": ["node"], "args": ["index.js"], "port": port}
    hard_wired = function(code=str(tmp_path), customRuntimeConfig=runtime, instanceConcurrency=1)
    emulator = await serve(hard_wired, portBinding="port")
    (notice,) = fixed_port_notices(emulator, port)
    assert "requests beyond 1 at a time are refused with 429" in notice
    assert "FC_SERVER_PORT" in notice
    async with connect(f"ws://127.0.0.1:{emulator.port}/", proxy=None) as first:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://127.0.0.1:{emulator.port}/", proxy=None)
        assert caught.value.response.status_code == 429
        (saw,) = await ws_client(emulator)
        assert (saw["status"], json.loads(saw["body"])["Code"]) == (429, "ResourceExhausted")
        await first.send("still here")
        assert await first.recv() == "still here"
    assert len(fixed_port_notices(emulator, port)) == 1


async def test_sample_in_five_instances(serve: Serve, sample: Callable[..., Function]) -> None:
    """Ten sockets at concurrency 2 are in five instances of the sample, every one of them on port 9000."""
    emulator = await serve(sample(instanceConcurrency=2), portBinding="seccomp")
    sockets = [await connect(f"ws://127.0.0.1:{emulator.port}/", proxy=None) for _ in range(10)]
    for number, ws in enumerate(sockets):
        await ws.send(str(number))
        assert await ws.recv() == str(number)
    started = [record.instance_id for record in emulator.journal.records if isinstance(record, InvocationStarted)]
    assert sorted(Counter(started).values()) == [2] * 5
    for ws in sockets:
        await ws.close()
    assert fixed_port_notices(emulator) == []


SERVERS = {
    "default-address": "require('http').createServer((q, r) => r.end('ok')).listen(9000);",
    "ipv6": "require('http').createServer((q, r) => r.end('ok')).listen(9000, '::');",
    "cluster": (
        "const c = require('cluster'); if (c.isPrimary) { c.fork(); c.fork(); } "
        "else require('http').createServer((q, r) => r.end('ok')).listen(9000, '0.0.0.0');"
    ),
    "worker-thread": (
        "const w = require('worker_threads'); if (w.isMainThread) new w.Worker(__filename); "
        "else require('http').createServer((q, r) => r.end('ok')).listen(9000, '0.0.0.0');"
    ),
}


@pytest.mark.parametrize("command", [["node", "index.js"], ["npm", "start"]], ids=["node", "npm-start"])
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS.keys())
async def test_node_servers_share_the_port(
    serve: Serve, echo_node: Path, tmp_path: Path, server: str, command: list[str]
) -> None:
    """Two instances of a Node server share port 9000, however it listens and is started."""
    (tmp_path / "index.js").write_text(server)
    (tmp_path / "package.json").write_text(json.dumps({"name": "x", "scripts": {"start": "node index.js"}}))
    made = function(
        functionName="fn", code=str(tmp_path), customRuntimeConfig={"command": command}, instanceConcurrency=1
    )
    other = made.model_copy(update={"functionName": "other"})
    emulator = await serve(made, other, portBinding="seccomp")
    async with aiohttp.ClientSession() as client:
        for host in ("fn.localhost", "other.localhost"):
            async with client.get(emulator.url, headers={"Host": host}) as response:
                assert (response.status, await response.text()) == (200, "ok")


async def test_ws_client_negotiates(serve: Serve, ws_client: WsClient) -> None:
    """npm's client negotiates subprotocol and compression with a Python function, and gets its Close frame."""
    emulator = await serve(function("chat.py"))
    messages = ["x" * 100_000, "close 4999 enough"]
    (saw,) = await ws_client(emulator, protocols=["soap", "chat"], send=messages)
    assert saw["subprotocol"] == "chat"
    assert saw["extensions"].startswith("permessage-deflate")
    assert saw["messages"] == ["x" * 100_000]
    assert (saw["code"], saw["reason"]) == (4999, "enough")
    (end,) = ends(emulator)
    assert (end.close_code, end.closed_by) == (4999, "function")


async def test_ws_client_sends_binary(serve: Serve, ws_client: WsClient) -> None:
    """npm's client gets back the bytes that it sent to a Python function."""
    emulator = await serve(function("chat.py"))
    data = {"hex": bytes(range(256)).hex() * 100}
    (saw,) = await ws_client(emulator, send=[data, {"hex": ""}], expect=2, close=[3000, ""])
    assert saw["messages"] == [data, {"hex": ""}]
    assert saw["code"] == 3000
