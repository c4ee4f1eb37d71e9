"""Instances are started on demand, ready only when reachable, limited, released, and explained when they fail."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu.emulator import Emulator
from fcemu.errors import StartError
from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, LogLine, Notice
from tests.conftest import Serve, function


def listening(how: str, **props: Any) -> Any:
    """A function that starts in the way that it tells tests/functions/listen.py."""
    return function(customRuntimeConfig={"command": [sys.executable, "listen.py", how]}, **props)


def states(emulator: Emulator) -> list[str]:
    """The states of the instances, in order."""
    return [record.state for record in emulator.journal.records if isinstance(record, InstanceChanged)]


async def refused(
    serve: Serve, client: aiohttp.ClientSession, how: str, **settings: Any
) -> tuple[dict[str, str], InvocationEnded]:
    """Call a function that does not start; returns the body of its 412 and the record."""
    emulator = await serve(listening(how), start="lazy", **settings)
    async with client.get(emulator.url) as response:
        assert response.status == 412
        assert response.headers["X-Fc-Error-Type"] == "FCCommonError"
        body = json.loads(await response.text())
    assert list(body) == ["RequestId", "Code", "Message"]
    (record,) = [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]
    assert record.billed_ms == 0
    return body, record


async def test_function_that_exits_answers_412_with_its_last_output(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """A function that exits before it listens is answered with CAExited and its last output."""
    body, _ = await refused(serve, client, "exit")
    assert body["Code"] == "CAExited"
    assert "exited unexpectedly(code 1, message:operation not permitted) with start command" in body["Message"]
    assert "No module named uvicorn" in body["Message"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_function_on_loopback_is_not_working_and_is_told_what_to_write(
    serve: Serve, client: aiohttp.ClientSession, host: str
) -> None:
    """A server on 127.0.0.1 or ::1 cannot be reached; the log says so and recommends 0.0.0.0."""
    body, record = await refused(serve, client, host)
    assert body["Code"] == "FunctionNotStarted"
    assert body["Message"].startswith("Function instance health check failed on port 9000 in ")
    assert record.reason is not None
    assert f"listens on {host}:" in record.reason
    assert record.remedy is not None
    assert "0.0.0.0" in record.remedy


async def test_function_that_never_listens_answers_412_after_the_start_timeout(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """A function that does not listen within startTimeout is answered with 412."""
    body, record = await refused(serve, client, "never", startTimeout=1)
    assert body["Code"] == "FunctionNotStarted"
    assert "how: never" in body["Message"]
    assert record.reason == "the function does not listen on any port"


async def test_function_on_another_port_is_told_where_it_listens(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A server on another port cannot be reached; the log says where it listens and where it should."""
    _, record = await refused(serve, client, "0.0.0.0/free", startTimeout=2)
    assert record.reason is not None
    assert record.reason.startswith("the function listens on 0.0.0.0:")
    assert record.remedy is not None
    assert "0.0.0.0:9000" in record.remedy


async def test_missing_bootstrap_is_named(serve: Serve, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Without a command, the file bootstrap runs; if it is missing, the answer names it."""
    emulator = await serve(function(code=str(tmp_path), customRuntimeConfig={}), start="lazy")
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (412, "CAFileNotFound")
    assert "/code/bootstrap is not exist" in body["Message"]


async def test_bootstrap_without_permission_is_named(
    serve: Serve, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A bootstrap that is not executable answers CAFilePermission."""
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    emulator = await serve(function(code=str(tmp_path), customRuntimeConfig={}), start="lazy")
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (412, "CAFilePermission")


async def test_unknown_command_is_named(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A command that does not exist is answered with CAExited, which names it."""
    emulator = await serve(function(customRuntimeConfig={"command": ["no-such-command"]}), start="lazy")
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (412, "CAExited")
    assert "no-such-command" in body["Message"]


async def test_eager_start_fails_with_the_functions_last_output(serve: Serve) -> None:
    """If a function cannot start, an eager emulator does not start, and says why."""
    with pytest.raises(StartError, match="No module named uvicorn"):
        await serve(listening("exit"))


async def test_failed_start_is_tried_again_by_the_next_request(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Each request after a failed start starts a new instance."""
    emulator = await serve(listening("exit"), start="lazy")
    for _ in range(2):
        async with client.get(emulator.url) as response:
            assert response.status == 412
    assert states(emulator).count("failed") == 2


async def test_eager_start_has_an_instance_before_the_first_request(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """An eager emulator is ready with a warm instance: the first request is no cold start."""
    emulator = await serve(function())
    async with client.get(emulator.url) as response:
        await response.read()
    (record,) = [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]
    assert not record.cold_start


async def test_lazy_start_makes_the_first_request_a_cold_start(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A lazy emulator starts an instance at the first request, which is recorded as cold."""
    emulator = await serve(function(), start="lazy")
    assert states(emulator) == []
    for _ in range(2):
        async with client.get(emulator.url) as response:
            await response.read()
            assert response.status == 200
    records = [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]
    assert [record.cold_start for record in records] == [True, False]


async def test_concurrency_one_runs_each_request_in_its_own_instance(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """With instanceConcurrency 1, each open socket has its own instance, each with its own port."""
    emulator = await serve(function(instanceConcurrency=1))
    sockets = [await client.ws_connect(emulator.url) for _ in range(3)]
    started = [record.instance_id for record in emulator.journal.records if isinstance(record, InvocationStarted)]
    assert len(set(started)) == 3
    for socket_ in sockets:
        await socket_.close()


async def test_instance_limit_answers_429(serve: Serve, client: aiohttp.ClientSession) -> None:
    """When all allowed instances are full, a request is refused with 429 and is not billed."""
    emulator = await serve(function(instanceConcurrency=1), quotas={"instances": 1})
    async with client.ws_connect(emulator.url):
        async with client.get(emulator.url) as response:
            body = json.loads(await response.text())
        assert (response.status, body["Code"]) == (429, "ResourceExhausted")
    record = next(record for record in emulator.journal.records if isinstance(record, InvocationEnded))
    assert record.billed_ms == 0
    assert record.remedy


async def test_idle_instance_is_reclaimed(serve: Serve, client: aiohttp.ClientSession) -> None:
    """An instance that is idle for idleTimeout seconds is stopped."""
    emulator = await serve(function(), idleTimeout=0.2)
    ended = asyncio.Event()
    emulator.journal.subscribe(
        lambda record: ended.set() if isinstance(record, InstanceChanged) and record.state == "ended" else None
    )
    await asyncio.wait_for(ended.wait(), 30)
    assert states(emulator) == ["starting", "ready", "stopping", "ended"]
    async with client.get(emulator.url) as response:
        assert response.status == 200


async def test_output_of_a_function_is_logged_line_by_line(serve: Serve) -> None:
    """Lines that a function prints to stdout and stderr are in the journal, with the instance."""
    emulator = await serve(function())
    lines = {(record.stream, record.text) for record in emulator.journal.records if isinstance(record, LogLine)}
    assert {("stdout", "starting"), ("stderr", "a warning")} <= lines


async def test_function_finds_its_environment(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A function finds the documented variables and its configured ones, in its code folder."""
    emulator = await serve(function(environmentVariables={"ROOM": "lobby"}))
    async with client.get(f"{emulator.url}/environment") as response:
        environment = await response.json()
    assert environment["ROOM"] == "lobby"
    assert environment["FC_FUNCTION_NAME"] == "fn"
    assert environment["FC_INSTANCE_ID"].startswith("c-")


async def test_function_on_the_configured_port_gets_one_instance_and_a_warning(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """A server that ignores FC_SERVER_PORT is found on the configured port; a second instance is refused."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    fixed = {"command": [sys.executable, "fixed.py", str(port)], "port": port}
    emulator = await serve(function(instanceConcurrency=1, customRuntimeConfig=fixed), portBinding="port")
    (notice,) = [record for record in emulator.journal.records if isinstance(record, Notice)]
    assert (notice.kind, notice.function) == ("single-instance", "fn")
    assert f"always listens on port {port}" in notice.text
    async with client.ws_connect(emulator.url):
        async with client.get(emulator.url) as response:
            assert response.status == 429
        over = asyncio.Event()
        emulator.journal.subscribe(lambda record: over.set() if isinstance(record, InvocationEnded) else None)
    await asyncio.wait_for(over.wait(), 30)
    async with client.get(emulator.url) as response:
        assert response.status == 200


async def test_two_users_of_one_room_do_not_meet_when_scattered(serve: Serve, client: aiohttp.ClientSession) -> None:
    """With scatter, the first two sockets are in different instances, although they would fit into one."""
    emulator = await serve(function(instanceConcurrency=100), scatter=True)
    async with client.ws_connect(emulator.url), client.ws_connect(emulator.url):
        pass
    started = [record.instance_id for record in emulator.journal.records if isinstance(record, InvocationStarted)]
    assert len(set(started)) == 2
