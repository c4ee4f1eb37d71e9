"""The first health check decides whether an instance starts, later ones whether it gets new requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationEnded
from fcemu.model import Function
from tests.conftest import Serve, function


@pytest.fixture
def health(tmp_path: Path) -> Path:
    """What the function answers to its checks."""
    file = tmp_path / "health"
    file.write_text("200")
    return file


@pytest.fixture
def checked(health: Path) -> Callable[..., Function]:
    """A function with a health check a second."""

    def make(check: dict[str, Any] | None = None, **props: Any) -> Function:
        made: Function = function("healthy.py", environmentVariables={"HEALTH": str(health)}, **props)
        config = {"httpGetUrl": "/healthz", "periodSeconds": 1, "failureThreshold": 2, **(check or {})}
        runtime = {**made.customRuntimeConfig.model_dump(exclude_none=True), "healthCheckConfig": config}
        return Function.model_validate({**made.model_dump(), "customRuntimeConfig": runtime})

    return make


async def changed(emulator: Emulator, state: str) -> None:
    """Wait until an instance has reached a state."""
    reached = asyncio.Event()
    emulator.journal.subscribe(
        lambda record: reached.set() if isinstance(record, InstanceChanged) and record.state == state else None
    )
    if not any(isinstance(r, InstanceChanged) and r.state == state for r in emulator.journal.records):
        await asyncio.wait_for(reached.wait(), 30)


@pytest.mark.parametrize(("said", "told"), [("500", "500"), ("404", "404"), ("hang", "timeout")])
async def test_first_check_that_fails_is_a_failed_start(
    serve: Serve,
    client: aiohttp.ClientSession,
    checked: Callable[..., Function],
    health: Path,
    said: str,
    told: str,
) -> None:
    """A function whose first check fails answers 412 with the vendor's message; the next request tries again."""
    health.write_text(said)
    emulator = await serve(checked(), start="lazy")
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (412, "FunctionNotStarted")
    assert body["Message"] == (
        f"The function http server cannot be started. check function health failed with status code: {told} "
    )
    record = next(record for record in emulator.journal.records if isinstance(record, InvocationEnded))
    assert "/healthz" in str(record.reason)
    health.write_text("399")
    async with client.get(emulator.url) as response:
        assert response.status == 200


async def test_first_check_waits_for_the_initial_delay(
    serve: Serve, client: aiohttp.ClientSession, checked: Callable[..., Function], health: Path
) -> None:
    """A function that is slow to become healthy has initialDelaySeconds."""
    health.write_text("500")
    emulator = await serve(checked({"initialDelaySeconds": 2}), start="lazy")

    async def recover() -> None:
        await changed(emulator, "starting")
        health.write_text("200")

    recovering = asyncio.create_task(recover())
    async with client.get(emulator.url) as response:
        assert response.status == 200
    await recovering


async def test_unhealthy_instance_is_avoided_until_it_recovers(
    serve: Serve, client: aiohttp.ClientSession, checked: Callable[..., Function], health: Path
) -> None:
    """At the limit of one instance, an unhealthy one answers new requests with 412 until it is healthy again."""
    emulator = await serve(checked(concurrencyConfig={"reservedConcurrency": 1}))
    async with client.get(emulator.url) as response:
        assert response.status == 200
    health.write_text("503")
    await changed(emulator, "unhealthy")
    async with client.get(emulator.url) as response:
        body = json.loads(await response.text())
    assert (response.status, body["Code"]) == (412, "FunctionNotStarted")
    assert body["Message"].endswith("status code: 503 ")
    health.write_text("200")
    await changed(emulator, "healthy")
    async with client.get(emulator.url) as response:
        assert response.status == 200


async def test_requests_go_elsewhere_while_an_instance_is_unhealthy(
    serve: Serve, client: aiohttp.ClientSession, checked: Callable[..., Function], health: Path
) -> None:
    """If another instance is allowed, it is started and serves."""
    emulator = await serve(checked())
    async with client.get(emulator.url) as response:
        first = await response.text()
    health.with_name(f"{health.name}.{first}").write_text("503")
    await changed(emulator, "unhealthy")
    async with client.get(emulator.url) as response:
        assert response.status == 200
        assert await response.text() != first
