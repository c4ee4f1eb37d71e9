"""Fault injection: each fault affects what its rule matches, at the time that it says, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fcemu.emulator import Emulator
from fcemu.faults.actions.action import Socket, SocketAction
from fcemu.faults.actions.registry import ACTIONS
from fcemu.faults.rules import Faults
from fcemu.gateway import faulty_tunnel
from fcemu.gateway.tunnel import Pipe
from fcemu.journal import FaultFired, InstanceChanged, InvocationEnded
from fcemu.model import FaultRule
from fcemu.model.fault import rule_with
from tests.conftest import Serve, function
from tests.wire import Wire, request

UPGRADE = [
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


def opened(emulator: Emulator, path: str = "/", **options: Any) -> connect:
    """A WebSocket to the emulator, without a proxy, pings or compression."""
    options = {"proxy": None, "ping_interval": None, "compression": None, **options}
    return connect(emulator.url.replace("http", "ws") + path, **options)


def fired(emulator: Emulator) -> list[str]:
    """The names of the rules that fired, in order."""
    return [record.rule for record in emulator.journal.records if isinstance(record, FaultFired)]


async def closed(ws: ClientConnection) -> int | None:
    """The close code of a socket."""
    async with asyncio.timeout(30):
        async for _ in _messages(ws):
            pass
    return ws.close_code


async def _messages(ws: ClientConnection) -> AsyncIterator[object]:
    """The messages of a socket until it ends, however it ends."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await ws.recv()


async def ended(emulator: Emulator) -> InvocationEnded:
    """The record of the first invocation that ended."""
    async with asyncio.timeout(30):
        while True:
            for record in emulator.journal.records:
                if isinstance(record, InvocationEnded):
                    return record
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidArgument"),
        (403, "AccessDenied"),
        (404, "TriggerNotFound"),
        (429, "ResourceExhausted"),
        (500, "InternalServerError"),
        (503, "ResourceThrottled"),
    ],
)
async def test_refusals_have_the_clouds_body(
    serve: Serve, client: aiohttp.ClientSession, status: int, code: str
) -> None:
    """A request or a handshake is refused as the cloud refuses it, is not billed, and the next one succeeds."""
    rules = [{"name": "no", "refuse": status, "match": {"nth": "1-2"}}]
    emulator = await serve(function(), faults=rules)
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
        assert (response.status, list(body), body["Code"]) == (status, ["RequestId", "Code", "Message"], code)
    with pytest.raises(InvalidStatus) as caught:
        await opened(emulator)
    assert caught.value.response.status_code == status
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert fired(emulator) == ["no", "no"]
    assert emulator.bill("fn").invocations == 1
    record = await ended(emulator)
    assert "fault no" in str(record.reason)


async def test_rule_matches_path_and_header(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Only requests that match path and header are affected."""
    rules = [{"refuse": 503, "match": {"path": "/ws/*", "header": {"X-User": "ann"}}}]
    emulator = await serve(function(), faults=rules)
    statuses = []
    for path, user in (("/ws/a", "ann"), ("/ws/a", "bob"), ("/other", "ann")):
        async with client.get(emulator.url + path, headers={"x-user": user}) as response:
            statuses.append(response.status)
    assert statuses == [503, 200, 200]


async def test_cut_after_messages(serve: Serve) -> None:
    """The function's second message still arrives; then the client gets 1006."""
    rules = [{"name": "line", "cut": True, "after": {"messages": 2}, "direction": "toClient"}]
    emulator = await serve(function("chat.py"), faults=rules)
    async with opened(emulator) as ws:
        for number in range(4):
            await ws.send(str(number))
        assert [await ws.recv(), await ws.recv()] == ["0", "1"]
        assert await closed(ws) == 1006
    record = await ended(emulator)
    assert (record.close_code, record.closed_by) == (1006, "fault")
    assert fired(emulator) == ["line"]


async def test_cut_after_bytes_ends_in_the_middle_of_a_frame(serve: Serve) -> None:
    """A cut after some bytes can split a frame: the client gets no whole message, then 1006."""
    emulator = await serve(function("chat.py"), faults=[{"cut": True, "after": {"bytes": 50}, "direction": "toClient"}])
    async with opened(emulator) as ws:
        await ws.send("x" * 100)
        assert await closed(ws) == 1006


async def test_cut_after_seconds(serve: Serve) -> None:
    """An idle socket is cut when the time is up."""
    emulator = await serve(function("chat.py"), faults=[{"cut": True, "after": {"seconds": 0.2}}])
    async with opened(emulator) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        assert await closed(ws) == 1006


@pytest.mark.parametrize("code", [1001, 1011, 1013, 4321])
async def test_close_has_its_code_and_comes_between_messages(serve: Serve, code: int) -> None:
    """A Close frame with the code follows a whole message, and the function's socket ends, too."""
    rules = [{"name": "bye", "close": code, "after": {"messages": 1}, "direction": "toClient"}]
    emulator = await serve(function("chat.py"), faults=rules)
    async with opened(emulator) as ws:
        await ws.send("x" * 300_000)
        assert await ws.recv() == "x" * 300_000
        assert await closed(ws) == code
        assert ws.close_reason == "bye"
    record = await ended(emulator)
    assert (record.close_code, record.closed_by) == (code, "fault")


async def test_close_waits_for_the_end_of_a_frame(serve: Serve) -> None:
    """When the time is up in the middle of a large message, that message still arrives whole."""
    rules = [{"close": 1012, "after": {"bytes": 1000}, "direction": "toClient"}]
    emulator = await serve(function("chat.py"), faults=rules)
    async with opened(emulator, max_size=None) as ws:
        await ws.send("y" * 200_000)
        assert await ws.recv() == "y" * 200_000
        assert await closed(ws) == 1012


async def test_close_leaves_the_client_time_to_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client still sends after the Close frame resets nothing; its own Close frame ends the connection."""
    monkeypatch.setattr(faulty_tunnel, "_CLOSING_TAKES", 60.0)
    emulator = await serve(function("echo.py"), faults=[{"close": 1012, "after": {"messages": 1}}])
    async with await Wire.open(emulator) as wire:
        await wire.send(request("/", *UPGRADE))
        assert (await wire.head()).status == 101
        await wire.send(b"\x81\x82\0\0\0\0hi")
        head, size = await wire.reader.readexactly(2)
        assert (head, (await wire.reader.readexactly(size))[:2]) == (0x88, (1012).to_bytes(2, "big"))
        assert await wire.reader.read() == b""
        for _ in range(100):
            await wire.send(b"\x81\x82\0\0\0\0hi")
        assert not [record for record in emulator.journal.records if isinstance(record, InvocationEnded)]
        await wire.send(b"\x88\x82\0\0\0\0\x03\xf4")
        wire.writer.write_eof()
        record = await ended(emulator)
        assert (record.close_code, record.closed_by) == (1012, "fault")


async def test_crash_ends_the_instance(serve: Serve) -> None:
    """The instance and its sockets are gone, and the next request gets a new instance."""
    rules = [{"crash": True, "after": {"messages": 1}, "direction": "toClient", "match": {"nth": 1}}]
    emulator = await serve(function("chat.py"), faults=rules)
    async with opened(emulator) as first, opened(emulator) as second:
        await second.send("alive")
        assert await second.recv() == "alive"
        await first.send("boom")
        assert await closed(first) == 1006
        assert await closed(second) == 1006
    async with asyncio.timeout(30):
        while not any(isinstance(r, InstanceChanged) and r.state == "ended" for r in emulator.journal.records):
            await asyncio.sleep(0.01)
    async with opened(emulator) as third:
        await third.send("again")
        assert await third.recv() == "again"
    states = [record.state for record in emulator.journal.records if isinstance(record, InstanceChanged)]
    assert states.count("ready") == 2


async def test_stalled_socket_stays_open_and_silent(serve: Serve) -> None:
    """On a half-open connection nothing arrives and neither end notices, until the execution timeout ends it."""
    rules = [{"stall": True, "after": {"messages": 1}, "direction": "toClient"}]
    emulator = await serve(function("chat.py", timeout=1), faults=rules)
    async with opened(emulator) as ws:
        await ws.send("heard")
        assert await ws.recv() == "heard"
        await ws.send("lost")
        assert await closed(ws) == 1006
    record = await ended(emulator)
    assert record.closed_by == "timeout"


async def test_stall_of_one_direction_leaves_the_other(serve: Serve) -> None:
    """With a direction, only that one stalls: the client gets nothing, but the function still gets the Close frame."""
    emulator = await serve(function("chat.py"), faults=[{"stall": True, "direction": "toClient"}])
    async with opened(emulator, close_timeout=0.1) as ws:
        await ws.send("hello")
        await ws.close(4001, "enough")
    async with asyncio.timeout(30):
        while not any("closed 4001 enough" in getattr(r, "text", "") for r in emulator.journal.records):
            await asyncio.sleep(0.01)


async def test_delay_keeps_order_and_loses_nothing(serve: Serve) -> None:
    """Delayed and jittered messages arrive later, in their order, the last ones before the close included."""
    rules = [{"delay": 0.1, "jitter": 0.09, "direction": "toClient"}]
    emulator = await serve(function("chat.py"), faults=rules)
    async with opened(emulator) as ws:
        begun = time.monotonic()
        for number in range(50):
            await ws.send(str(number))
        assert [await ws.recv() for _ in range(50)] == [str(number) for number in range(50)]
        assert time.monotonic() - begun > 0.01
        await ws.send("close 4000 done")
        assert await closed(ws) == 4000


async def test_bandwidth_slows_but_loses_nothing(serve: Serve) -> None:
    """At 200 KB/s, 100 KB take at least half a second, and arrive complete."""
    emulator = await serve(function("chat.py"), faults=[{"bandwidth": 200_000, "direction": "toClient"}])
    async with opened(emulator, max_size=None) as ws:
        begun = time.monotonic()
        for _ in range(10):
            await ws.send(b"z" * 10_000)
        assert [len(await ws.recv()) for _ in range(10)] == [10_000] * 10
        assert time.monotonic() - begun > 0.45


@pytest.mark.parametrize("mode", ["rst", "fin", "blackhole"])
async def test_nat_drops_an_idle_connection(serve: Serve, mode: str) -> None:
    """A connection without traffic is dropped as by a NAT; pings count as traffic."""
    rules = [{"name": "nat", "idle": {"after": 0.4, "mode": mode}}]
    emulator = await serve(function("chat.py", timeout=2), faults=rules)
    async with opened(emulator) as ws:
        for _ in range(4):  # longer than the idle time, but never idle
            await asyncio.sleep(0.2)
            await (await ws.ping())
        assert fired(emulator) == []
        assert await closed(ws) == 1006
    assert fired(emulator) == ["nat"]
    record = await ended(emulator)
    assert record.closed_by == ("timeout" if mode == "blackhole" else "fault")


async def test_start_can_be_late_or_refused(serve: Serve, client: aiohttp.ClientSession) -> None:
    """The first start is refused with 412, the second takes longer, and the third is normal."""
    rules = [
        {"name": "no", "refuseToStart": True, "match": {"nth": 1}},
        {"name": "late", "coldStartDelay": 0.3, "match": {"nth": 2}},
    ]
    emulator = await serve(function(), start="lazy", faults=rules)
    async with client.get(emulator.url) as response:
        assert (response.status, (await response.json())["Code"]) == (412, "CAExited")
    begun = time.monotonic()
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert time.monotonic() - begun > 0.3
    assert fired(emulator) == ["no", "late"]


async def test_faults_of_answers(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A plain answer can be late, cut in the middle, or never arrive; after a crash it is 502."""
    rules = [
        {"delay": 0.2, "match": {"path": "/late"}},
        {"cut": True, "match": {"path": "/cut"}},
        {"cut": True, "after": {"bytes": 10}, "direction": "toClient", "match": {"path": "/half"}},
        {"crash": True, "match": {"path": "/crash"}},
        {"stall": True, "match": {"path": "/never"}},
    ]
    emulator = await serve(function(timeout=1), faults=rules)
    begun = time.monotonic()
    async with client.get(f"{emulator.url}/late") as response:
        assert response.status == 200
    assert time.monotonic() - begun > 0.2
    for path in ("/cut", "/half"):
        with pytest.raises(aiohttp.ClientError):  # POST, since the client asks again for a GET
            async with aiohttp.request("POST", emulator.url + path) as response:
                await response.read()
    async with client.get(f"{emulator.url}/crash") as response:
        assert response.status == 502
    async with client.get(f"{emulator.url}/never") as response:
        assert (response.status, (await response.json())["Code"]) == (502, "FunctionTimeoutError")
    assert fired(emulator) == ["delay", "cut", "cut", "crash", "stall"]


async def test_without_rules_the_data_path_is_untouched(serve: Serve) -> None:
    """A socket that no fault affects has ordinary pipes, whether there are rules or not."""
    emulator = await serve(function("chat.py"), faults=[{"cut": True, "match": {"path": "/cut"}}])
    async with opened(emulator) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        assert "" in emulator._gateways
        (tunnel,) = emulator._gateways[""]._tunnels
        assert type(tunnel.client) is Pipe


async def test_rules_come_and_go_while_it_runs(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Rules can be added and removed; a reset restores those of the configuration."""
    emulator = await serve(function())
    fault = emulator.faults.add(FaultRule.model_validate({"refuse": 429}))
    async with client.get(emulator.url) as response:
        assert response.status == 429
    emulator.faults.remove(fault)
    async with client.get(emulator.url) as response:
        assert response.status == 200
    emulator.faults.add(FaultRule.model_validate({"refuse": 429}))
    await emulator.reset()
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert isinstance(emulator.faults, Faults)


class Goodbye(SocketAction):
    """The client gets a Close frame with 4999."""

    goodbye: Literal[True]

    def apply(self, socket: Socket) -> None:
        socket.close(4999)


async def test_one_more_action_is_one_class(serve: Serve) -> None:
    """A new action needs only its class: rules, counts and the log take it as they take the others."""
    rule = rule_with({**ACTIONS, Goodbye.key: Goodbye}).model_validate({"goodbye": True, "after": {"messages": 2}})
    emulator = await serve(function("chat.py"))
    fault = emulator.faults.add(rule)
    async with opened(emulator) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
        assert await closed(ws) == 4999
    assert (await ended(emulator)).closed_by == "fault"
    assert (fired(emulator), fault.fired) == (["goodbye"], 1)


async def test_chance_is_the_same_on_every_run(serve: Serve, client: aiohttp.ClientSession) -> None:
    """With the same seed, the same requests are affected."""
    rules = [{"refuse": 503, "match": {"probability": 0.5}}]

    async def run(seed: int) -> list[int]:
        emulator = await serve(function(), faults=rules, faultSeed=seed)
        statuses = []
        for _ in range(20):
            async with client.get(emulator.url) as response:
                statuses.append(response.status)
        return statuses

    first, again, other = await run(1), await run(1), await run(2)
    assert first == again != other
    assert set(first) == {200, 503}
