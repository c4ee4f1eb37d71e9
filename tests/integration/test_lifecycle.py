"""The life cycle of an instance: initializer, pre-stop, and what ends it early."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from fcemu import report
from fcemu.emulator import Emulator
from fcemu.errors import StartError
from fcemu.journal import HookCalled, InstanceChanged, InvocationEnded, LogLine, Notice, Record
from fcemu.model import Function
from fcemu.processes import cgroups
from tests.conftest import Serve, function

BOTH = {"initializer": {"handler": "x", "timeout": 2}, "preStop": {"handler": "x", "timeout": 2}}


@pytest.fixture
def hooked(tmp_path: Path) -> Callable[..., Function]:
    """A function that records the requests it gets."""

    def make(lifecycle: Any = BOTH, initialize: str = "200", **props: Any) -> Function:
        environment = {"DIARY": str(tmp_path / "diary"), "INITIALIZE": initialize}
        return function("hooked.py", instanceLifecycleConfig=lifecycle, environmentVariables=environment, **props)

    return make


@pytest.fixture
def diary(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """The requests that the function has got so far."""
    file = tmp_path / "diary"
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def reached(emulator: Emulator, wanted: Callable[[Record], bool]) -> asyncio.Future[Record]:
    """A future that is done with the next record that matches."""
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
    """The bill includes the time of the initializer, but counts only the request."""
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
    """The pre-stop hook is called before an idle instance is released; an error of the hook changes nothing."""
    emulator = await serve(hooked(), idleTimeout=0.2)
    await asyncio.wait_for(reached(emulator, lambda r: isinstance(r, InstanceChanged) and r.state == "ended"), 30)
    assert paths(diary()) == ["POST /initialize", "GET /pre-stop"]
    assert diary()[1]["headers"]["x-fc-control-path"] == "/pre-stop"


async def test_pre_stop_is_called_when_the_emulator_stops(
    serve: Serve, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """The pre-stop hook of every instance is called when the emulator stops."""
    emulator = await serve(hooked())
    await emulator.stop()
    assert paths(diary()) == ["POST /initialize", "GET /pre-stop"]


PATIENT = """
import os, signal, socket, time
signal.signal(signal.SIGTERM, lambda *_: print("told to stop", flush=True))
server = socket.create_server(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])))
while True:
    time.sleep(1)
"""


async def test_function_is_told_to_stop_once(serve: Serve) -> None:
    """A clean stop sends one SIGTERM, because many servers take a second one as an order to exit at once."""
    emulator = await serve(function(customRuntimeConfig={"command": [sys.executable, "-c", PATIENT]}), stopGrace=0.5)
    await emulator.stop()
    assert [r.text for r in emulator.journal.records if isinstance(r, LogLine)] == ["told to stop"]


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

    def asked() -> list[dict[str, Any]]:
        return [entry for entry in diary() if entry["path"] != "/healthz"]

    async with asyncio.timeout(30):
        while not asked():
            await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait_for(over, 30)
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert (asked()[0]["pid"] != asked()[-1]["pid"]) is replaced


# ---- between invocations


async def count(client: aiohttp.ClientSession, emulator: Emulator) -> int:
    """How far the function has counted."""
    async with client.get(emulator.url) as response:
        assert response.status == 200
        return int((await response.json(content_type=None))["count"])


def ticking(**props: Any) -> Function:
    """A function that counts in the background, with its only instance."""
    made: Function = function("ticking.py", concurrencyConfig={"reservedConcurrency": 1}, **props)
    return made


async def frozen(emulator: Emulator) -> None:
    """Wait until the emulator's instance stands still."""
    assert emulator._pool is not None
    (instance,) = emulator._pool._instances.values()
    async with asyncio.timeout(30):
        while not instance.process.frozen:
            await asyncio.sleep(0.01)


async def test_background_work_stops_between_invocations(serve: Serve, client: aiohttp.ClientSession) -> None:
    """An idle instance is frozen, so its background work stands still until the next request."""
    emulator = await serve(ticking(), freeze="auto")
    assert emulator._pool is not None
    (instance,) = emulator._pool._instances.values()
    process = psutil.Process(instance.process.pid)
    for _ in range(2):
        await count(client, emulator)
        await frozen(emulator)
        async with asyncio.timeout(30):
            before = None
            while before != (before := process.num_ctx_switches()):  # a running one wakes a thousand times a second
                await asyncio.sleep(0.2)


async def test_instance_is_not_frozen_while_a_socket_is_open(serve: Serve, client: aiohttp.ClientSession) -> None:
    """An open WebSocket is an invocation: the instance keeps running, and is frozen after the socket is closed."""
    emulator = await serve(function("echo.py"), freeze="auto")
    assert emulator._pool is not None
    (instance,) = emulator._pool._instances.values()
    async with client.ws_connect(emulator.url) as ws:
        await asyncio.sleep(0.5)  # longer than it takes to freeze
        assert not instance.process.frozen
        await ws.send_str("hello")
        assert await ws.receive_str() == "hello"
    await frozen(emulator)
    async with client.ws_connect(emulator.url) as ws:
        await ws.send_str("again")
        assert await ws.receive_str() == "again"


@pytest.mark.parametrize(
    ("props", "settings"),
    [({}, {"freeze": "off"}), ({"provisionConfig": {"alwaysAllocateCPU": True}}, {"freeze": "auto"})],
    ids=["off", "always-allocated"],
)
async def test_freezing_can_be_switched_off(
    serve: Serve, client: aiohttp.ClientSession, props: dict[str, Any], settings: dict[str, Any]
) -> None:
    """With freeze: off, or with CPU that is always allocated, background work continues."""
    emulator = await serve(ticking(**props), **settings)
    before = await count(client, emulator)
    async with asyncio.timeout(30):
        while await count(client, emulator) - before < 500:
            await asyncio.sleep(0.3)  # longer than it takes to freeze


async def test_instance_that_nobody_has_called_yet_is_not_frozen(serve: Serve) -> None:
    """An instance without an invocation so far is not frozen, because it may still be starting up."""
    emulator = await serve(ticking(), freeze="auto")
    assert emulator._pool is not None
    (instance,) = emulator._pool._instances.values()
    await asyncio.sleep(0.5)  # longer than it takes to freeze
    assert not instance.process.frozen


async def test_frozen_instance_says_good_bye(
    serve: Serve, client: aiohttp.ClientSession, hooked: Callable[..., Function], diary: Callable[[], Any]
) -> None:
    """A frozen instance is thawed for its pre-stop hook before it is stopped."""
    emulator = await serve(hooked(), freeze="auto")
    async with client.get(emulator.url) as response:
        assert response.status == 200
    await frozen(emulator)
    await emulator.stop()
    assert paths(diary())[-1] == "GET /pre-stop"


# ---- how many there are


@pytest.mark.parametrize("start", ["eager", "lazy"])
async def test_minimum_of_instances_is_there_and_is_kept(
    serve: Serve, client: aiohttp.ClientSession, start: str
) -> None:
    """The minimum of instances is started before ready, is kept when idle, and is restored when one exits."""
    emulator = await serve(function(scalingConfig={"minInstances": 2}), idleTimeout=0.1, start=start)
    states = [record.state for record in emulator.journal.records if isinstance(record, InstanceChanged)]
    assert states.count("ready") == 2
    third = reached(emulator, lambda r: isinstance(r, InstanceChanged) and r.state == "ready")
    async with client.get(f"{emulator.url}/exit") as response:
        assert response.status == 502
    await asyncio.wait_for(third, 30)
    states = [record.state for record in emulator.journal.records if isinstance(record, InstanceChanged)]
    assert (states.count("ready"), states.count("stopping")) == (3, 0)


async def test_instance_that_dies_fails_its_own_invocations_only(serve: Serve, client: aiohttp.ClientSession) -> None:
    """When one of two instances exits, only its own sockets end, and the next request starts another instance."""
    emulator = await serve(function(instanceConcurrency=2))
    sockets = [await client.ws_connect(emulator.url) for _ in range(3)]
    await sockets[0].send_str("exit")
    for lost in sockets[:2]:
        assert (await asyncio.wait_for(lost.receive(), 30)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert lost.close_code == 1006
    await sockets[2].send_str("still here")
    assert await sockets[2].receive_str() == "still here"
    # Sockets break a moment before the exit is known; until then a request may still be sent to the dead instance.
    while not any(isinstance(r, InstanceChanged) and r.state == "ended" for r in emulator.journal.records):
        await asyncio.sleep(0.01)
    fourth, fifth = await client.ws_connect(emulator.url), await client.ws_connect(emulator.url)
    starts = [r for r in emulator.journal.records if isinstance(r, InstanceChanged) and r.state == "starting"]
    assert len(starts) == 3
    for ws in (*sockets, fourth, fifth):
        await ws.close()


async def test_crash_loop_backs_off_and_says_why(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A function that does not start is not started for each request for ever: the answer stays the same, the log
    says what the back-off is about.
    """
    broken = function(customRuntimeConfig={"command": ["sh", "-c", "echo no module named app >&2; exit 1"]})
    emulator = await serve(broken, start="lazy")
    for _ in range(5):
        async with client.get(emulator.url) as response:
            body = json.loads(await response.text())
        assert (response.status, body["Code"]) == (412, "CAExited")
        assert "no module named app" in body["Message"]
    records = list(emulator.journal.records)
    assert sum(isinstance(r, InstanceChanged) and r.state == "failed" for r in records) == 3
    (record,) = [record for record in records if isinstance(record, Notice)]
    assert (record.kind, record.function) == ("back-off", "fn")
    notice = record.text
    assert "3 instances in a row failed before they ran an invocation; the next is started in 1 s" in notice
    assert "no module named app" in notice
    last = [record for record in records if isinstance(record, InvocationEnded)][-1]
    assert "3 instances in a row" in str(last.reason)


# ---- too much memory


@pytest.mark.parametrize("sampled", [False, True], ids=["kernel", "sampled"])
async def test_instance_that_uses_too_much_memory_is_ended(
    serve: Serve, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, sampled: bool
) -> None:
    """An instance over its memorySize is killed; its invocations fail with 502, and the next request starts another."""
    if sampled:
        monkeypatch.setattr(cgroups, "candidates", lambda ability: [])
    emulator = await serve(function("hungry.py", memorySize=128))
    gone = reached(emulator, lambda r: isinstance(r, Notice) and r.level == "error")
    async with client.get(f"{emulator.url}/eat") as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (502, "FunctionOOMError")
    assert "memorySize: 128MB" in body["Message"]
    notice = await asyncio.wait_for(gone, 30)
    assert isinstance(notice, Notice)
    assert (notice.kind, notice.function) == ("memory-limit", "fn")
    assert "more than its memorySize of 128 MB" in notice.text
    async with client.get(emulator.url) as response:
        assert response.status == 200
    changes = [record for record in emulator.journal.records if isinstance(record, InstanceChanged)]
    (ended,) = [change for change in changes if change.state == "ended"]
    assert (ended.exit_code, ended.reason) == (137, "memory-limit")


async def test_memory_limit_can_be_switched_off(serve: Serve, client: aiohttp.ClientSession) -> None:
    """With memoryLimit: off, an instance may use all memory of the machine."""
    emulator = await serve(function("hungry.py", memorySize=128), memoryLimit="off")
    async with client.get(f"{emulator.url}/eat") as response:
        assert response.status == 200
