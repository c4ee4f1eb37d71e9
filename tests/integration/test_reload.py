"""A running emulator applies changed triggers, functions and code without a restart."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationEnded, Notice, Record
from fcemu.model import Account, Function
from tests.conftest import FUNCTIONS, Serve, function
from tests.served import Fcemu, Served

USER = {"userName": "administrator", "password": "Correct-horse-1!"}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder of code to change."""
    for name in ("ticking.py", "echo.py", "fixed.py"):
        shutil.copy(FUNCTIONS / name, tmp_path / name)
    return tmp_path


def release(code: Path, version: str) -> None:
    """Write a new version of the code."""
    file = code / "ticking.py"
    file.write_text(re.sub(r"(?m)^VERSION = .*$", f"VERSION = {version!r}", file.read_text()))


def updated(emulator: Emulator, *functions: Function, changed: Any = (), **settings: Any) -> None:
    """Update an emulator with other functions, or other settings."""
    account = emulator.account
    fcemu = account.fcemu.model_copy(update=settings)
    emulator.update(account.model_copy(update={"functions": list(functions), "fcemu": fcemu}), changed)


async def recorded(emulator: Emulator, wanted: Callable[[Record], bool]) -> Record:
    """The first record that matches, now or later."""
    future: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
    stop = emulator.journal.subscribe(
        lambda record: future.set_result(record) if not future.done() and wanted(record) else None
    )
    for record in emulator.journal.records:
        if wanted(record):
            stop()
            return record
    return await asyncio.wait_for(future, 30)


def came(state: str, number: int = 1) -> Callable[[Record], bool]:
    """A condition: an instance has reached the state for the nth time."""
    seen = 0

    def wanted(record: Record) -> bool:
        nonlocal seen
        seen += isinstance(record, InstanceChanged) and record.state == state
        return seen == number

    return wanted


async def version(client: aiohttp.ClientSession, emulator: Emulator) -> str:
    """The version of the code that answers."""
    async with client.get(emulator.url) as response:
        assert response.status == 200
        return str((await response.json(content_type=None))["version"])


async def test_changed_trigger_holds_from_the_next_request_on(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Another method list takes effect at once, on open connections too, and no instance is replaced."""
    emulator = await serve(function())
    async with client.put(emulator.url) as response:
        assert response.status == 200
    updated(emulator, function(triggerConfig={"methods": ["GET"]}))
    async with client.put(emulator.url) as response:
        assert response.status == 403
    async with client.get(emulator.url) as response:
        assert response.status == 200
    assert [r.state for r in emulator.journal.records if isinstance(r, InstanceChanged)] == ["starting", "ready"]


@pytest.mark.parametrize("auth", [{}, {"authType": "basic", "authConfig": {"users": [USER]}}], ids=["open", "guarded"])
async def test_request_under_way_at_a_change_leaves_nothing_behind(
    serve: Serve, client: aiohttp.ClientSession, auth: dict[str, Any]
) -> None:
    """A request that waits while the configuration changes does not restore the old one for the next request."""
    emulator = await serve(function(timeout=20, triggerConfig=auth), start="lazy")
    login = "Basic " + base64.b64encode(b"administrator:Correct-horse-1!").decode()

    async def timeout() -> str:
        async with client.get(emulator.url, headers={"Authorization": login}) as response:
            headers = (await response.json(content_type=None))["headers"]
        return str(next(value for name, value in headers if name == "X-Fc-Function-Timeout"))

    waiting = asyncio.create_task(timeout())
    await recorded(emulator, came("starting"))
    updated(emulator, function(timeout=25, triggerConfig=auth))
    assert await waiting == "20"
    assert await timeout() == "25"


async def test_changed_trigger_can_take_a_while_as_in_the_cloud(serve: Serve, client: aiohttp.ClientSession) -> None:
    """With triggerDelay the former trigger applies until the delay has passed."""
    emulator = await serve(function(), triggerDelay=0.3)
    updated(emulator, function(triggerConfig={"methods": ["GET"]}))
    statuses = []
    async with asyncio.timeout(30):
        while 403 not in statuses:
            async with client.put(emulator.url) as response:
                statuses.append(response.status)
    assert statuses[0] == 200


async def test_changed_code_takes_over_when_it_is_ready(
    serve: Serve, client: aiohttp.ClientSession, code: Path
) -> None:
    """Requests are answered by the old code until the new code is ready, then by the new code; none fails."""
    emulator = await serve(function("ticking.py", code=str(code)))
    assert await version(client, emulator) == "1"
    release(code, "2")
    updated(emulator, *emulator.account.functions, changed=["fn"])
    seen = []
    async with asyncio.timeout(30):
        while "2" not in seen:
            seen.append(await version(client, emulator))
    assert set(seen) <= {"1", "2"}
    assert seen == sorted(seen)
    await recorded(emulator, came("ended"))


async def test_code_that_does_not_start_leaves_the_old_serving(
    serve: Serve, client: aiohttp.ClientSession, code: Path
) -> None:
    """If new code does not start, its output is printed and the old code keeps serving until the next change."""
    emulator = await serve(function("ticking.py", code=str(code)))
    good = (code / "ticking.py").read_text()
    (code / "ticking.py").write_text("raise RuntimeError('oh no')")
    updated(emulator, *emulator.account.functions, changed=["fn"])
    notice = await recorded(emulator, lambda r: isinstance(r, Notice) and r.level == "error")
    assert isinstance(notice, Notice)
    assert (notice.kind, notice.function) == ("reload-failed", "fn")
    assert "the previous code still serves" in notice.text
    assert "oh no" in notice.text
    assert await version(client, emulator) == "1"
    (code / "ticking.py").write_text(good)
    release(code, "3")
    updated(emulator, *emulator.account.functions, changed=["fn"])
    await recorded(emulator, came("ready", 2))
    assert await version(client, emulator) == "3"


@pytest.mark.parametrize(("mode", "ends"), [("drain", False), ("cut", True), ("pin", False)])
async def test_open_socket_follows_the_setting(
    serve: Serve, client: aiohttp.ClientSession, code: Path, mode: str, ends: bool
) -> None:
    """When new code is ready, an open socket stays (drain, pin) or is cut (cut); new sockets go to the new code."""
    emulator = await serve(function("echo.py", code=str(code)), onReload=mode)
    async with connect(emulator.url.replace("http", "ws"), proxy=None) as ws:
        updated(emulator, *emulator.account.functions, changed=["fn"])
        await recorded(emulator, came("ready", 2))
        async with client.get(f"{emulator.url}/pid") as response:
            new = (await response.json(content_type=None))["instance"]
        (first, *_) = [r.instance_id for r in emulator.journal.records if isinstance(r, InstanceChanged)]
        assert new != first
        if ends:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(ws.recv(), 30)
            assert ws.close_code == 1006
        else:
            await ws.send("still here")
            assert await ws.recv() == "still here"
    await recorded(emulator, came("ended"))


async def test_draining_has_a_limit(serve: Serve, code: Path) -> None:
    """A socket that is still open after drainLimit is cut: 1006."""
    emulator = await serve(function("echo.py", code=str(code)), drainLimit=0.2)
    async with connect(emulator.url.replace("http", "ws"), proxy=None) as ws:
        updated(emulator, *emulator.account.functions, changed=["fn"])
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(ws.recv(), 30)
        assert ws.close_code == 1006
    record = await recorded(emulator, lambda r: isinstance(r, InvocationEnded))
    assert isinstance(record, InvocationEnded)
    assert (record.close_code, record.closed_by) == (1006, "reload")


async def test_changed_function_gets_new_instances(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A change of a variable, or of any property but the triggers, starts a new instance."""
    emulator = await serve(function(environmentVariables={"ROOM": "one"}))
    updated(emulator, function(environmentVariables={"ROOM": "two"}))
    await recorded(emulator, came("ready", 2))
    async with client.get(f"{emulator.url}/environment") as response:
        assert (await response.json(content_type=None))["ROOM"] == "two"


async def test_changed_variables_of_the_env_file_reach_every_function(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    """A change in fcemu.envFile gives every function new instances."""
    emulator = await serve(function())
    emulator.update(emulator.account, env_file={"ROOM": "three"})
    await recorded(emulator, came("ready", 2))
    async with client.get(f"{emulator.url}/environment") as response:
        assert (await response.json(content_type=None))["ROOM"] == "three"


async def test_functions_come_and_go(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A new function is started and can be reached; a removed one is stopped and answers 404."""
    emulator = await serve(function())
    updated(emulator, function(), function(functionName="other"))
    await recorded(emulator, came("ready", 2))
    async with client.get(emulator.url, headers={"Host": "other.localhost"}) as response:
        assert response.status == 200
    updated(emulator, function(functionName="other"), function(functionName="third"))
    async with client.get(emulator.url, headers={"Host": "fn.localhost"}) as response:
        assert response.status == 404
    await recorded(emulator, came("ended"))


async def test_function_that_can_have_one_instance_is_restarted(
    serve: Serve, client: aiohttp.ClientSession, code: Path
) -> None:
    """If a second instance is impossible, the old one is stopped first, and the next request reaches the new one."""
    import socket

    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        port = probe.getsockname()[1]
    fixed = {"command": [sys.executable, "fixed.py", str(port)], "port": port}
    emulator = await serve(function(code=str(code), customRuntimeConfig=fixed), portBinding="port", stopGrace=0)
    async with client.get(f"{emulator.url}/pid") as response:
        first = (await response.json(content_type=None))["instance"]
    updated(emulator, *emulator.account.functions, changed=["fn"])
    async with client.get(f"{emulator.url}/pid") as response:
        assert response.status == 200
        assert (await response.json(content_type=None))["instance"] != first


async def test_rapid_changes_end_with_the_last(serve: Serve, client: aiohttp.ClientSession, code: Path) -> None:
    """After several changes in quick succession, the last one serves, and one instance is left."""
    emulator = await serve(function("ticking.py", code=str(code)))
    for number in ("2", "3", "4"):
        release(code, number)
        updated(emulator, *emulator.account.functions, changed=["fn"])
    async with asyncio.timeout(30):
        while await version(client, emulator) != "4":
            await asyncio.sleep(0.01)

    def alive() -> int:
        states: dict[str, str] = {}
        for record in emulator.journal.records:
            if isinstance(record, InstanceChanged):
                states[record.instance_id] = record.state
        return sum(state not in ("ended", "failed") for state in states.values())

    async with asyncio.timeout(30):
        while alive() != 1:
            await asyncio.sleep(0.01)


async def test_update_needs_a_running_emulator() -> None:
    """An emulator that does not run cannot be updated."""
    emulator = Emulator(Account(functions=[function()]))
    with pytest.raises(RuntimeError):
        emulator.update(emulator.account)


# ---- `fcemu serve --reload`


class Log:
    """What a running `fcemu serve` prints, line by line."""

    def __init__(self, fcemu: Fcemu) -> None:
        assert fcemu.process.stdout is not None
        self._lines = fcemu.process.stdout

    async def until(self, text: str) -> str:
        """The next line with this text."""
        async with asyncio.timeout(30):
            while line := (await self._lines.readline()).decode():
                if text in line:
                    return line
        raise AssertionError(f"fcemu ended without {text!r}")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_serve_follows_its_files(
    served: Served, client: aiohttp.ClientSession, code: Path, tmp_path: Path, loop: str
) -> None:
    """With --reload, saved changes take effect; a mistake is reported and changes nothing."""
    app = tmp_path / "app"
    app.mkdir()
    shutil.copy(code / "ticking.py", app)
    fcemu = await served("ticking.py", "--reload", "--loop", loop, code=str(app))
    log, file = Log(fcemu), tmp_path / "trigger.yaml"

    async def status(method: str) -> int:
        async with client.request(method, fcemu.url) as response:
            return response.status

    good = file.read_text()
    file.write_text(good.replace("- POST", "- PUT"))
    await log.until("changed: the configuration")
    assert await status("POST") == 403
    file.write_text(good.replace("timeout: 60", "timeout: soon"))
    await log.until("the configuration cannot be used; the previous one stays in force")
    assert "timeout: expected a whole number" in await log.until(f"{file}:")
    assert await status("POST") == 403
    release(app, "2")
    await log.until("changed: fn")
    await log.until("instance ready")
    async with client.get(fcemu.url) as response:
        assert (await response.json(content_type=None))["version"] == "2"
    (app / "ticking.py").write_text("raise RuntimeError('oh no')")
    await log.until("the new code does not start; the previous code still serves")
    async with client.get(fcemu.url) as response:
        assert (await response.json(content_type=None))["version"] == "2"


async def test_serve_says_what_needs_a_restart(served: Served, tmp_path: Path) -> None:
    """A changed account id is reported to take effect at the next start."""
    fcemu = await served("echo.py", "--reload")
    log, file = Log(fcemu), tmp_path / "trigger.yaml"
    file.write_text(file.read_text() + "accountId: '1'\n")
    await log.until("`accountId` takes effect at the next start of fcemu")


async def test_serve_can_be_debugged(served: Served, client: aiohttp.ClientSession) -> None:
    """With --debug, the attach line is printed, the table shows that there are no timeouts, and there are none."""
    fcemu = await served("echo.py", "--debug", timeout=1)
    log = Log(fcemu)
    assert "none (--debug)" in await log.until("ws://127.0.0.1")
    async with client.get(f"{fcemu.url}/sleep?seconds=1.5") as response:
        assert response.status == 200
    fcemu.process.terminate()


async def test_debugger_attaches_to_each_function(serve: Serve, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Two Node functions that start together have inspectors on two ports, both of which answer."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed: attaching to Node was NOT tested")
    (tmp_path / "index.js").write_text("require('http').createServer((q, r) => r.end('ok')).listen(9000, '0.0.0.0');")
    node = function(code=str(tmp_path), customRuntimeConfig={"command": ["node", "index.js"]})
    emulator = await serve(node, node.model_copy(update={"functionName": "other"}), debug=True)
    notices = [r.text for r in emulator.journal.records if isinstance(r, Notice) and r.kind == "debugger"]
    ports = {re.findall(r"127\.0\.0\.1:(\d+)", text)[0] for text in notices}
    assert len(ports) == 2
    for port in ports:
        async with client.get(f"http://127.0.0.1:{port}/json/list") as response:
            assert "index.js" in await response.text()
