"""The control plane has a port of its own, for programs on this machine but not for web pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from fcemu.clock import ManualClock
from fcemu.emulator import Emulator
from fcemu.model import Account, Settings
from fcemu.serving.admin import Admin
from tests.conftest import DEFAULTS, Serve, function

AdminClient = TestClient[web.Request, web.Application]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An emulator whose clock can be advanced."""
    settings = Settings.model_validate(DEFAULTS)
    account = Account(functions=[function("chat.py", timeout=86400)], fcemu=settings)
    async with Emulator(account, clock=ManualClock()) as emulator:
        yield emulator


@pytest.fixture
async def admin(emulator: Emulator, aiohttp_client: AiohttpClient) -> AdminClient:
    """A client of its control plane."""
    return await aiohttp_client(Admin(emulator).application())


async def asked(admin: AdminClient, method: str, path: str, **options: Any) -> Any:
    """The content of a successful answer."""
    async with admin.request(method, path, **options) as response:
        assert response.status in (200, 201), await response.text()
        return await response.json()


async def test_it_listens_on_loopback(emulator: Emulator, client: aiohttp.ClientSession) -> None:
    """While it is entered, it is served on a free port of 127.0.0.1."""
    async with Admin(emulator) as admin:
        assert admin.url.startswith("http://127.0.0.1:")
        async with client.get(admin.url) as response:
            assert (await response.json())["url"] == emulator.url
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(admin.url)


async def test_what_runs_and_what_happened_can_be_asked(
    emulator: Emulator, admin: AdminClient, client: aiohttp.ClientSession
) -> None:
    """Addresses, instances, the journal and bills are available as JSON."""
    async with client.ws_connect(emulator.url) as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        (instance,) = await asked(admin, "GET", "/instances")
        assert (instance["function"], instance["invocations"]) == ("fn", 1)
    assert await asked(admin, "GET", "/") == {
        "url": emulator.url,
        "functions": {"fn": f"http://127.0.0.1:{emulator.port}/"},
    }
    journal = await asked(admin, "GET", "/journal")
    assert {"InstanceChanged", "InvocationStarted"} <= {record["record"] for record in journal}
    assert (await asked(admin, "GET", "/journal?after=1"))[0] == journal[1]
    assert set(await asked(admin, "GET", "/billing")) == {"fn"}


async def test_clock_can_be_put_forward(emulator: Emulator, admin: AdminClient, client: aiohttp.ClientSession) -> None:
    """A socket with a timeout of a day is closed with 1006 as soon as the clock is advanced by a day."""
    async with client.ws_connect(emulator.url) as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        told = await asked(admin, "POST", "/clock/advance", json={"seconds": 86400})
        assert told["ahead"] >= 86400
        await ws.receive()
        assert ws.close_code == 1006


async def test_rules_can_be_added_and_removed(
    emulator: Emulator, admin: AdminClient, client: aiohttp.ClientSession
) -> None:
    """A rule applies from its addition to its removal, and counts how often it fired."""
    id = (await asked(admin, "POST", "/faults", json={"name": "busy", "refuse": 429}))["id"]
    async with client.get(emulator.url) as response:
        assert response.status == 429
    expected = {"id": id, "name": "busy", "action": "refuse", "matched": 1, "fired": 1}
    assert await asked(admin, "GET", "/faults") == [expected]
    assert await asked(admin, "DELETE", f"/faults/{id}") == {"fired": 1}
    async with client.get(emulator.url) as response:
        assert response.status != 429
    async with admin.delete(f"/faults/{id}") as response:
        assert response.status == 404


async def test_reset_begins_anew(emulator: Emulator, admin: AdminClient, client: aiohttp.ClientSession) -> None:
    """After a reset nothing is open, and records, bills and added rules are gone."""
    await asked(admin, "POST", "/faults", json={"refuse": 429, "match": {"path": "/x"}})
    async with client.ws_connect(emulator.url) as ws:
        await asked(admin, "POST", "/reset", json={})
        await ws.receive()
        assert ws.close_code == 1006
    assert await asked(admin, "GET", "/faults") == []
    journal = await asked(admin, "GET", "/journal")
    assert {record["record"] for record in journal} <= {"LogLine"}  # the function may still say that it was cut


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/faults", {"refuse": 418}, "400"),
        ("/faults", [], "object"),
        ("/clock/advance", {"seconds": -1}, "not negative"),
        ("/clock/advance", {"seconds": "1"}, "a number"),
    ],
)
async def test_what_cannot_be_is_told(admin: AdminClient, path: str, body: object, said: str) -> None:
    """A wrong request answers 400 with what was expected."""
    async with admin.post(path, json=body) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 403),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
async def test_pages_are_kept_out(admin: AdminClient, headers: dict[str, str], status: int) -> None:
    """Another Host (DNS rebinding), an Origin, or what a form can send is refused."""
    sent = {"Content-Type": "application/json", **headers}
    async with admin.post("/reset", data="{}", headers=sent) as response:
        assert response.status == status


async def test_machines_clock_cannot_be_put_forward(serve: Serve, aiohttp_client: AiohttpClient) -> None:
    """An emulator on the machine's clock says that its clock cannot be advanced."""
    admin = await aiohttp_client(Admin(await serve(function())).application())
    async with admin.post("/clock/advance", json={"seconds": 1}) as response:
        assert response.status == 400
