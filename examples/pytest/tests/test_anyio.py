"""Tests with anyio."""

import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """`fc.connect` uses aiohttp, which needs asyncio; on trio, give `fc.ws_url` to a client of your choice."""
    return "asyncio"


async def test_census(fc):
    """A test can send a request while its other tasks continue."""
    async with fc.connect("/rooms/attic"), fc.connect("/rooms/cellar"):
        answer = await anyio.to_thread.run_sync(fc.request, "GET", "/rooms")
    assert (answer.json()["attic"], answer.json()["cellar"]) == (1, 1)
