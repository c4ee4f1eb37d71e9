"""The life of an instance: initializer, pre-stop, and what ends it early."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu import report
from fcemu.emulator import Emulator
from fcemu.errors import StartError
from fcemu.journal import HookCalled, InstanceChanged, InvocationEnded, Record
from fcemu.model import Function
from tests.conftest import Serve, function

BOTH = {"initializer": {"handler": "x", "timeout": 2}, "preStop": {"handler": "x", "timeout": 2}}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def hooked(tmp_path: Path) -> Callable[..., Function]:
    """A function that keeps a diary."""

    def make(lifecycle: Any = BOTH, initialize: str = "200", **props: Any) -> Function:
        environment = {"DIARY": str(tmp_path / "diary"), "INITIALIZE": initialize}
        return function("hooked.py", instanceLifecycleConfig=lifecycle, environmentVariables=environment, **props)

    return make


@pytest.fixture
def diary(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the function was asked so far."""
    file = tmp_path / "diary"
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def reached(emulator: Emulator, wanted: Callable[[Record], bool]) -> asyncio.Future[Record]:
    """Done with the first further record that is wanted."""
    future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
    emulator.journal.subscribe(lambda r: future.set_result(r) if not future.done() and wanted(r) else None)
    return future


def paths(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['method']} {entry['path']}" for entry in entries]


async def test_initializer_runs_once_before_the_first_request(
    serve: Serve, client: aiohttp.ClientSession, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """An instance is initialized once, with the common headers and no body, before anything else reaches it."""
    emulator = await serve(hooked(), start="lazy")
    for _ in range(2):
        async with client.get(emulator.url) as response:
            assert response.status == 200
    assert paths(diary()) == ["POST /initialize", "GET /", "GET /"]
    first = diary()[0]
    assert first["body"] == ""
    assert first["headers"]["x-fc-control-path"] == "/initialize"
    assert first["headers"]["x-fc-function-name"] == "fn"
    hooks = [record for record in emulator.journal.records if isinstance(record, HookCalled)]
    assert [(hook.hook, hook.phase, hook.error) for hook in hooks] == [
        ("Initialize", "Start", None),
        ("Initialize", "End", None),
    ]
    assert first["headers"]["x-fc-request-id"] == hooks[0].request_id
    assert f"FC Initialize Start RequestId: {hooks[0].request_id}" in report.as_text(hooks[0])[0]


async def test_hooks_are_called_only_if_they_are_configured(
    serve: Serve, client: aiohttp.ClientSession, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """Without instanceLifecycleConfig no hook is called."""
    emulator = await serve(hooked(lifecycle={}))
    async with client.get(emulator.url) as response:
        assert response.status == 200
    await emulator.stop()
    assert paths(diary()) == ["GET /"]


@pytest.mark.parametrize("initialize", ["500", "404", "never"])
async def test_failed_initializer_is_answered_as_documented(
    serve: Serve,
    client: aiohttp.ClientSession,
    hooked: Callable[..., Function],
    diary: Callable[[], Any],
    initialize: str,
) -> None:
    """A failed initializer answers 200 with its own error type; the request does not reach the function, the next
    one starts another instance.
    """
    lifecycle = {"initializer": {"handler": "x", "timeout": 1}}
    emulator = await serve(hooked(lifecycle, initialize), start="lazy")
    for _ in range(2):
        async with client.get(emulator.url) as response:
            body = json.loads(await response.text())
        assert response.status == 200
        assert response.headers["X-Fc-Error-Type"] == "InitializationError"
        assert list(body) == ["errorMessage"]
        assert body["errorMessage"].startswith("/initialize ")
    assert paths(diary()) == ["POST /initialize"] * 2
    assert len({entry["pid"] for entry in diary()}) == 2
    ended = [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]
    assert [record.error_code for record in ended] == ["InitializationError"] * 2


async def test_failed_initializer_keeps_an_eager_start_from_getting_ready(
    serve: Serve, hooked: Callable[..., Function]
) -> None:
    """An eager emulator with a function whose initializer fails does not start, and says why."""
    with pytest.raises(StartError, match="/initialize answered 500"):
        await serve(hooked(initialize="500"))


async def test_hook_time_is_billed_but_hooks_are_no_calls(
    serve: Serve, client: aiohttp.ClientSession, hooked: Callable[..., Function]
) -> None:
    """The bill has the time of the initializer and counts the request only."""
    emulator = await serve(hooked())
    before = emulator.bill("fn")
    assert before.invocations == 0
    assert before.milliseconds > 0
    over = reached(emulator, lambda record: isinstance(record, InvocationEnded))
    async with client.get(emulator.url):
        await asyncio.wait_for(over, 30)
    assert emulator.bill("fn").invocations == 1


async def test_pre_stop_is_called_before_an_idle_instance_ends(
    serve: Serve, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """An instance that is released is told before; an error of the hook changes nothing."""
    emulator = await serve(hooked(), idleTimeout=0.2)
    await asyncio.wait_for(reached(emulator, lambda r: isinstance(r, InstanceChanged) and r.state == "ended"), 30)
    assert paths(diary()) == ["POST /initialize", "GET /pre-stop"]
    assert diary()[1]["headers"]["x-fc-control-path"] == "/pre-stop"


async def test_pre_stop_is_called_when_the_emulator_stops(
    serve: Serve, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """A clean stop tells every instance."""
    emulator = await serve(hooked())
    await emulator.stop()
    assert paths(diary()) == ["POST /initialize", "GET /pre-stop"]


HEALTH = {"httpGetUrl": "/healthz"}


@pytest.mark.parametrize(("concurrency", "health", "replaced"), [(1, None, True), (2, None, False), (1, HEALTH, False)])
async def test_client_that_gives_up_costs_the_instance_at_concurrency_1(
    serve: Serve, client: aiohttp.ClientSession, hooked: Callable[..., Function], diary: Callable[[], Any],
    concurrency: int, health: Any, replaced: bool,
) -> None:  # fmt: skip
    """An abandoned request replaces its instance at concurrency 1, unless a health check is configured."""
    made = hooked(lifecycle={}, instanceConcurrency=concurrency)
    runtime = made.customRuntimeConfig.model_dump(exclude_none=True) | ({"healthCheckConfig": health} if health else {})
    emulator = await serve(Function.model_validate({**made.model_dump(), "customRuntimeConfig": runtime}))
    over = reached(emulator, lambda record: isinstance(record, InvocationEnded))
    asking = asyncio.create_task(client.get(f"{emulator.url}/sleep"))
    async with asyncio.timeout(30):
        while not diary():
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait_for(over, 30)
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert (diary()[0]["pid"] != diary()[-1]["pid"]) is replaced
