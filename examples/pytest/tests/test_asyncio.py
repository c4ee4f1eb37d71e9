"""Tests on asyncio."""

import asyncio

import pytest
from client import listen, say

pytestmark = pytest.mark.asyncio


async def test_everybody_hears(fc):
    """Everybody in a room receives what one of them says."""
    async with fc.connect("/rooms/lobby") as alice, fc.connect("/rooms/lobby") as bob:
        await alice.send_str("hello")
        assert await bob.receive_str() == "hello"
    assert [record.close_code for record in fc.invocations] == [1000, 1000]


async def test_closed_by_the_timeout(fc):
    """After `timeout` seconds the client sees 1006, however busy the connection is."""
    ws = await fc.connect("/rooms/lobby")
    fc.clock.advance(seconds=30)
    ended = await fc.expect_close(ws, 1006)
    assert ended.closed_by == "timeout"


async def test_closed_by_the_function(fc):
    """A close code of the function's own passes through."""
    async with fc.connect("/rooms/lobby") as ws:
        await ws.send_str("/kick me")
        await fc.expect_close(ws, 4001)


async def test_closed_while_the_service_restarts(fc):
    """A Close frame that says "try later" arrives between two messages."""
    with fc.fault(close=1012, after={"messages": 1}, direction="toClient") as restart:
        async with fc.connect("/rooms/lobby") as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "hello"
            await fc.expect_close(ws, 1012)
    assert restart.fired == 1


async def test_client_comes_back(fc):
    """Our client reconnects after the timeout."""
    listening = listen(fc.ws_url, "lobby")
    heard = asyncio.ensure_future(anext(listening))
    await asyncio.to_thread(fc.wait_for, "lobby: 1 here")
    fc.clock.advance(seconds=30)
    await asyncio.to_thread(fc.wait_for, "lobby: 1 here", nth=2)
    await say(fc.ws_url, "lobby", "still there?")
    assert await heard == "still there?"
    await listening.aclose()
