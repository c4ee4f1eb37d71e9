"""Tests by anyio."""

import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    """`fc.connect` is aiohttp's, which needs asyncio; on trio, give `fc.ws_url` to a client of your choice."""
    return "asyncio"


async def test_census(fc):
    """A request can be sent while tasks of the test go on."""
    async with fc.connect("/rooms/attic"), fc.connect("/rooms/cellar"):
        answer = await anyio.to_thread.run_sync(fc.request, "GET", "/rooms")
    assert (answer.json()["attic"], answer.json()["cellar"]) == (1, 1)
