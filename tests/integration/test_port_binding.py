"""Several instances, each on 0.0.0.0 and the configured port of one machine, unmodified."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu.emulator import Emulator
from fcemu.errors import StartError
from fcemu.instances.port_binding import PortBinding, own_address, self_test
from fcemu.instances.process import FunctionProcess, Keeper
from fcemu.journal import InvocationEnded, InvocationStarted, Notice
from tests.conftest import Serve, function

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's user notification is Linux's")


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    """A keeper of its own."""
    keeper = Keeper()
    yield keeper
    await asyncio.to_thread(keeper.close)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


def free_port() -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("0.0.0.0", 0))
        port: int = sock.getsockname()[1]
        return port


def fixed(port: int, **props: Any) -> Any:
    """The echo function, hard-wired to a port."""
    return function(customRuntimeConfig={"command": [sys.executable, "fixed.py", str(port)], "port": port}, **props)


def used_instances(emulator: Emulator) -> set[str]:
    """The instances that ran an invocation."""
    return {r.instance_id for r in emulator.journal.records if isinstance(r, InvocationStarted)}


class Asked:
    """A Python program whose binds of one port are answered by us."""

    def __init__(self, keeper: Keeper, program: str, replace: bool) -> None:
        self.port = free_port()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        text = f"import socket, threading, os\nPORT = {self.port}\n{program}\nimport time\ntime.sleep(60)\n"
        self._process: FunctionProcess = keeper.spawn(
            [sys.executable, "-I", "-S", "-c", text],
            {},
            Path("/"),
            lambda _, line: self.lines.put_nowait(line),
            ask=True,
        )
        self._replace = replace
        self.binding: PortBinding

    async def __aenter__(self) -> Asked:
        self.binding = PortBinding(await self._process.listener(), self.port, own_address(), self._replace)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.exited
        self.binding.close()

    async def listening(self) -> None:
        await asyncio.wait_for(self.binding.listening, 30)

    async def accepts(self) -> bool:
        """Whether a connection to the instance's address succeeds."""
        try:
            _, writer = await asyncio.open_connection(self.binding.address, self.binding.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


@pytest.mark.parametrize("replace", [False, True], ids=["duplicate", "replace"])
@pytest.mark.parametrize(
    "program",
    [
        "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen()",
        "s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 0); s.bind(('::', PORT)); s.listen()",
        "s = socket.socket()\ndef serve():\n s.bind(('', PORT)); s.listen()\nthreading.Thread(target=serve).start()",
        "s = socket.socket(); s.bind(('0.0.0.0', PORT))\nif os.fork() == 0: s.listen()",
        "a = socket.socket(socket.AF_INET6); a.setsockopt(41, 26, 1); a.bind(('::', PORT))\n"
        "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen(); a.listen()",
    ],
    ids=["ipv4", "ipv6", "thread", "child", "both-families"],
)
async def test_listen_is_the_moment_of_readiness(keeper: Keeper, program: str, replace: bool) -> None:
    """Whoever in the instance binds all addresses of the port is reached at the instance's own, once it listens."""
    async with Asked(keeper, program, replace) as asked:
        await asked.listening()
        assert asked.binding.port == asked.port
        assert await asked.accepts()


@pytest.mark.parametrize("replace", [False, True], ids=["duplicate", "replace"])
@pytest.mark.parametrize(("family", "host"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
async def test_bind_to_loopback_is_known(keeper: Keeper, family: str, host: str, replace: bool) -> None:
    """A bind to 127.0.0.1 or ::1 succeeds for the function, is known to us, and makes nothing ready."""
    program = f"s = socket.socket(socket.{family}); s.bind(('{host}', PORT)); s.listen(); print('up', flush=True)"
    async with Asked(keeper, program, replace) as asked:
        assert await asyncio.wait_for(asked.lines.get(), 30) == "up"
        assert asked.binding.loopback == host
        assert not asked.binding.listening.done()


async def test_other_binds_go_on_as_if_nobody_had_asked(keeper: Keeper) -> None:
    """Another port, UDP and Unix sockets are bound by the kernel."""
    program = (
        "a = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()\n"
        "b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "b.bind(('127.0.0.1', PORT)); c = socket.socket(socket.AF_UNIX); c.bind('\\0fcemu-test-%d' % os.getpid())\n"
        "print(a.getsockname()[0], b.getsockname()[1] == PORT, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asyncio.wait_for(asked.lines.get(), 30) == "127.0.0.1 True"
        assert asked.binding.loopback is None


async def test_second_bind_in_one_instance_fails_as_ever(keeper: Keeper) -> None:
    """Two servers on one port of one instance collide, as in the cloud."""
    program = (
        "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen(); t = socket.socket()\n"
        "try: t.bind(('0.0.0.0', PORT)); t.listen(); print('both', flush=True)\n"
        "except OSError as error: print(error.errno, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asyncio.wait_for(asked.lines.get(), 30) == str(98)


async def test_port_that_somebody_else_has_is_no_obstacle(keeper: Keeper) -> None:
    """A program of the host on all addresses of the port moves the instance to another one, not out of the way."""
    program = "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen()"
    asked = Asked(keeper, program, replace=False)
    with socket.create_server(("0.0.0.0", asked.port)):
        async with asked:
            await asked.listening()
            assert asked.binding.port != asked.port
            assert await asked.accepts()


async def test_instances_share_the_configured_port(serve: Serve, client: aiohttp.ClientSession) -> None:
    """Three sockets at concurrency 1 are in three instances of a function that is hard-wired to one port."""
    emulator = await serve(fixed(free_port(), instanceConcurrency=1), portBinding="seccomp")
    sockets = [await client.ws_connect(emulator.url) for _ in range(3)]
    for number, ws in enumerate(sockets):
        await ws.send_str(str(number))
        assert await ws.receive_str() == str(number)
    assert len(used_instances(emulator)) == 3
    assert not [record for record in emulator.journal.records if isinstance(record, Notice)]
    for ws in sockets:
        await ws.close()


ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (ASGI, ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "PORT"]),
        (ASGI, ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "PORT", "--workers", "2"]),
        (ASGI, ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "PORT", "--reload"]),
        (WSGI, ["gunicorn", "server:app", "--bind", "0.0.0.0:PORT", "--workers", "2"]),
    ],
    ids=["uvicorn", "uvicorn-workers", "uvicorn-reload", "gunicorn"],
)
async def test_python_servers_share_the_port(
    serve: Serve, client: aiohttp.ClientSession, tmp_path: Path, code: str, command: list[str]
) -> None:
    """Two instances of a usual Python server are on one port, workers and reloaders included."""
    (tmp_path / "server.py").write_text(code)
    port = free_port()
    runtime = {"command": [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in command)], "port": port}
    one = function(code=str(tmp_path), customRuntimeConfig=runtime)
    emulator = await serve(one, one.model_copy(update={"functionName": "other"}), portBinding="seccomp")
    for host in ("fn.localhost", "other.localhost"):
        async with client.get(emulator.url, headers={"Host": host}) as response:
            assert (response.status, await response.text()) == (200, "ok")


async def test_server_on_loopback_is_refused_and_told(serve: Serve, client: aiohttp.ClientSession) -> None:
    """A server on 127.0.0.1 and the configured port answers 412; the record names the address and what to write."""
    command = {"command": [sys.executable, "listen.py", "127.0.0.1"], "port": free_port()}
    emulator = await serve(function(customRuntimeConfig=command), start="lazy", portBinding="seccomp")
    async with client.get(emulator.url) as response:
        assert response.status == 412
    record = next(r for r in emulator.journal.records if isinstance(r, InvocationEnded))
    assert record.reason is not None
    assert f"127.0.0.1:{command['port']}" in record.reason
    assert "0.0.0.0" in str(record.remedy)


async def test_self_test_works_here(keeper: Keeper) -> None:
    """Where this test runs, the self-test finds a way."""
    assert await self_test(keeper) in (False, True)


@pytest.mark.parametrize("setting", ["auto", "seccomp"])
async def test_inside_itself_it_falls_back_or_says_why(serve: Serve, tmp_path: Path, setting: str) -> None:
    """Inside an instance there can be no second filter: auto falls back to ports, seccomp says that it cannot."""
    inner = tmp_path / "inner.py"
    inner.write_text(
        "import asyncio, sys\n"
        "from tests.conftest import function\n"
        "from fcemu.emulator import Emulator\n"
        "from fcemu.model import Account, Settings\n"
        "async def main():\n"
        f"    settings = Settings(listen='127.0.0.1:0', portBinding='{setting}', stopGrace=0)\n"
        "    emulator = Emulator(Account(functions=[function()], fcemu=settings))\n"
        "    try:\n"
        "        async with emulator:\n"
        "            print([r.text for r in emulator.journal.records if type(r).__name__ == 'Notice'], flush=True)\n"
        "    except Exception as error:\n"
        "        print(error, flush=True)\n"
        "asyncio.run(main())\n"
        "sys.exit(5)\n"
    )
    root = str(Path(__file__).parent.parent.parent)
    outer = function(
        code=str(tmp_path),
        customRuntimeConfig={"command": [sys.executable, "inner.py"]},
        environmentVariables={"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    with pytest.raises(StartError) as caught:
        await serve(outer, portBinding="seccomp")
    expected = "cannot share a port here" if setting == "auto" else "portBinding is seccomp, which does not work here"
    assert expected in str(caught.value)
    assert os.strerror(16) in str(caught.value)
