"""Session affinity: all requests of a session reach one instance, by header, by cookie, and for MCP."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import connect

from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationStarted
from fcemu.model import Function
from tests.conftest import Serve, function
from tests.wire import Wire, request

if TYPE_CHECKING:
    from mcp import ClientSession


def affine(kind: str, script: str = "echo.py", **config: Any) -> Function:
    """A function with session affinity, with two sessions per instance by default."""
    command = {"command": [sys.executable, *script.split()]}
    made: Function = function(
        customRuntimeConfig=command,
        sessionAffinity=kind,
        sessionAffinityConfig={"sessionConcurrencyPerInstance": 2, **config},
        instanceConcurrency=200,
        triggerConfig={"methods": ["GET", "POST", "DELETE"]},
    )
    return made


def by_header(**config: Any) -> Function:
    """HEADER_FIELD by X-My-Session."""
    return affine("HEADER_FIELD", affinityHeaderFieldName="X-My-Session", **config)


async def instance_of(client: aiohttp.ClientSession, emulator: Emulator, **headers: str) -> tuple[str, Any]:
    """The instance that answers, and the answer."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(f"{emulator.url}/pid", headers=sent) as response:
        assert response.status == 200, await response.text()
        return str((await response.json(content_type=None))["instance"]), response


async def test_sessions_by_header_fill_instances_and_stay(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Five sessions, two per instance, are in three instances, and each stays in its own."""
    emulator = await serve(by_header())
    ids = ["a", "b", "c", "d", "e"]
    first = [(await instance_of(client, emulator, x_my_session=id))[0] for id in ids]
    again = [(await instance_of(client, emulator, X_MY_SESSION=id))[0] for id in ids]
    assert first == again
    assert len(set(first)) == 3
    assert [first.count(instance) for instance in dict.fromkeys(first)] == [2, 2, 1]


async def test_client_without_an_id_is_given_one(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A client without the header gets one in the answer; sending it back leads to the same instance."""
    emulator = await serve(by_header(sessionConcurrencyPerInstance=1))
    first, answer = await instance_of(client, emulator)
    id = answer.headers["x-my-session"]
    await instance_of(client, emulator)  # somebody else, in another instance
    again, answer = await instance_of(client, emulator, x_my_session=id)
    assert again == first
    assert "x-my-session" not in answer.headers


async def test_cookie_leads_back(serve: Serve, client: aiohttp.ClientSession) -> None:
    """The first answer sets the documented cookie; a request with it reaches the same instance and gets no other."""
    emulator = await serve(affine("GENERATED_COOKIE", sessionConcurrencyPerInstance=1, sessionTTLInSeconds=600))
    first, answer = await instance_of(client, emulator)
    name, _, rest = answer.headers["Set-Cookie"].partition("=")
    id, _, attributes = rest.partition("; ")
    assert (name, attributes) == ("x-fc-cookie-session-id", "Max-Age=600")
    other, _ = await instance_of(client, emulator)
    assert other != first
    again, answer = await instance_of(client, emulator, cookie=f"theme=dark; {name}={id}")
    assert again == first
    assert "Set-Cookie" not in answer.headers


async def test_cookie_of_the_function_is_kept(serve: Serve) -> None:
    """The gateway's cookie is set in addition to those of the function."""
    import base64

    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: mine=1\r\nContent-Length: 0\r\n\r\n"
    emulator = await serve(affine("GENERATED_COOKIE", "raw.py"))
    async with await Wire.open(emulator) as wire:
        await wire.send(request(f"/say/{base64.urlsafe_b64encode(answer).decode()}"))
        cookies = (await wire.answer()).values("set-cookie")
    assert cookies[0] == "mine=1"
    assert cookies[1].startswith("x-fc-cookie-session-id=")


async def test_socket_carries_its_session_by_header_only(serve: Serve) -> None:
    """The client's header on an upgrade counts; a 101 has neither the header nor the cookie (OBS)."""
    emulator = await serve(by_header(sessionConcurrencyPerInstance=2))
    url = emulator.url.replace("http", "ws")
    async with contextlib.AsyncExitStack() as stack:
        for id in ("a", "b", "a", "c", "b", "a"):
            ws = await stack.enter_async_context(connect(url, additional_headers={"X-My-Session": id}, proxy=None))
            assert ws.response is not None
            assert "x-my-session" not in ws.response.headers
        started = [r.instance_id for r in emulator.journal.records if isinstance(r, InvocationStarted)]
    a, b, a2, c, b2, a3 = started
    assert a == b == a2 == b2 == a3
    assert c != a
    emulator = await serve(affine("GENERATED_COOKIE"))
    async with connect(emulator.url.replace("http", "ws"), proxy=None) as ws:
        assert ws.response is not None
        assert "set-cookie" not in ws.response.headers


async def test_cookie_on_an_upgrade_leads_back(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A socket whose handshake has the cookie is in the session's instance (INF)."""
    emulator = await serve(affine("GENERATED_COOKIE", sessionConcurrencyPerInstance=1))
    first, answer = await instance_of(client, emulator)
    await instance_of(client, emulator)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    async with connect(emulator.url.replace("http", "ws"), additional_headers={"Cookie": cookie}, proxy=None):
        started = [r.instance_id for r in emulator.journal.records if isinstance(r, InvocationStarted)]
    assert started[-1] == first


@pytest.mark.parametrize(
    ("config", "headers", "status", "code"),
    [
        ({}, {"X-My-Session": "-no"}, 400, "InvalidArgument"),
        ({"disableSessionIdReuse": True}, {"X-My-Session": "old"}, 401, "SessionNotFound"),
    ],
)
async def test_session_that_cannot_be_is_refused(
    serve: Serve, client: aiohttp.ClientSession, config: Any, headers: dict[str, str], status: int, code: str
) -> None:
    """An invalid id is refused with 400, a spent one with 401; neither is billed."""
    emulator = await serve(by_header(sessionTTLInSeconds=1, **config))
    if status == 401:
        await instance_of(client, emulator, x_my_session="old")
    async with asyncio.timeout(30):
        while True:  # until the session has expired
            async with client.get(emulator.url, headers=headers) as response:
                body = await response.json()
            if response.status != 200:
                break
            await asyncio.sleep(0.05)
    assert (response.status, body["Code"]) == (status, code)


async def test_session_slots_run_out_with_429(serve: Serve, client: aiohttp.ClientSession) -> None:
    """At the limit of instances, one more session is refused with 429; the others continue."""
    emulator = await serve(by_header(sessionConcurrencyPerInstance=1), quotas={"instances": 1})
    await instance_of(client, emulator, x_my_session="a")
    async with client.get(emulator.url, headers={"X-My-Session": "b"}) as response:
        assert (response.status, (await response.json())["Code"]) == (429, "ResourceExhausted")
    await instance_of(client, emulator, x_my_session="a")


async def test_idle_instance_stays_for_its_session(serve: Serve, client: aiohttp.ClientSession) -> None:
    """An instance is released only after its last session has ended."""
    emulator = await serve(by_header(sessionIdleTimeoutInSeconds=1), idleTimeout=0.1)
    await instance_of(client, emulator, x_my_session="a")
    ended = asyncio.Event()
    emulator.journal.subscribe(
        lambda r: ended.set() if isinstance(r, InstanceChanged) and r.state == "stopping" else None
    )
    await asyncio.wait_for(ended.wait(), 30)
    (stopping,) = [r for r in emulator.journal.records if isinstance(r, InstanceChanged) and r.state == "stopping"]
    (started,) = [r for r in emulator.journal.records if isinstance(r, InvocationStarted)]
    assert stopping.wall_time - started.wall_time > 0.9


# ---- MCP, with the protocol's own server and client


@contextlib.asynccontextmanager
async def mcp_session(kind: str, url: str) -> AsyncIterator[ClientSession]:
    """An initialized session of the protocol's own client."""
    # Imported here: it takes a second, and most who load this module run none of these tests.
    from mcp import ClientSession
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client

    transport: Any = sse_client if kind == "MCP_SSE" else streamable_http_client
    async with transport(url) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        yield session


async def where(session: ClientSession) -> str:
    """The instance in which a tool of the session runs."""
    result = await session.call_tool("where", {})
    text: str = result.content[0].text  # type: ignore[union-attr]
    return text


@pytest.mark.parametrize(
    ("kind", "script", "path"),
    [("MCP_SSE", "mcp_where.py sse", "/sse"), ("MCP_STREAMABLE", "mcp_where.py streamable-http", "/mcp")],
)
async def test_mcp_session_stays_in_its_instance(serve: Serve, kind: str, script: str, path: str) -> None:
    """Three sessions of a real MCP client, one per instance, are in three instances of a real MCP server."""
    emulator = await serve(affine(kind, script, sessionConcurrencyPerInstance=1))
    async with (
        mcp_session(kind, emulator.url + path) as one,
        mcp_session(kind, emulator.url + path) as two,
        mcp_session(kind, emulator.url + path) as three,
    ):
        first = [await where(session) for session in (one, two, three)]
        again = [await where(session) for session in (three, two, one)]
    assert len(set(first)) == 3
    assert again == first[::-1]


async def test_mcp_session_that_was_ended_is_401(serve: Serve, client: aiohttp.ClientSession) -> None:
    """DELETE ends a streamable session; its id is refused from then on, and so is an unknown one."""
    emulator = await serve(affine("MCP_STREAMABLE", "mcp_where.py streamable-http"))
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    headers = {"Accept": "application/json, text/event-stream"}
    url = f"{emulator.url}/mcp"
    async with client.post(url, json=hello, headers=headers) as response:
        assert response.status == 200, await response.text()
        headers["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
    async with client.delete(url, headers=headers) as response:
        assert response.status == 200
    for id in (headers["Mcp-Session-Id"], "made-up"):
        async with client.post(url, json=hello, headers={**headers, "Mcp-Session-Id": id}) as response:
            assert (response.status, (await response.json())["Code"]) == (401, "SessionNotFound")
