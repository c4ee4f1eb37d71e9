"""Tests of a web application that calls the function, by pytest-aiohttp."""

import pytest
from lobby import application


@pytest.mark.asyncio
async def test_lobby(fc, aiohttp_client):
    """The lobby lists the rooms, and answers 503 when the function refuses its request."""
    lobby = await aiohttp_client(application(fc.url))
    async with fc.connect("/rooms/attic"):
        answer = await lobby.get("/")
        assert await answer.text() == "attic: 1\n"
    with fc.fault(refuse=429):
        answer = await lobby.get("/")
        assert (answer.status, await answer.text()) == (503, "the rooms are closed")
