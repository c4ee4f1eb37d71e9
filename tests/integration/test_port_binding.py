"""Several unmodified instances on one machine, each on 0.0.0.0 and the configured port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
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
from fcemu.instances.machine import try_port_binding
from fcemu.journal import InvocationEnded, InvocationStarted, Notice
from fcemu.processes import port_binding
from fcemu.processes.keeper import SYSCALLS
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.port_binding import PortBinding, own_address
from fcemu.processes.process import FunctionProcess
from tests.conftest import Serve, function
from tests.denied import PIDFD_GETFD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's user notification is Linux's")


@pytest.fixture
async def keeper() -> AsyncIterator[KeeperClient]:
    """A keeper of its own."""
    keeper = KeeperClient()
    yield keeper
    await asyncio.to_thread(keeper.close)


def free_port() -> int:
    """A free port."""
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
    """A Python program whose binds of one port are handled by fcemu."""

    def __init__(
        self, keeper: KeeperClient, program: str, replace: bool, port: int | None = None, address: str | None = None
    ) -> None:
        self.port = port or free_port()
        self.address = address or own_address()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        text = f"import socket, threading, os\nPORT = {self.port}\n{program}\nimport time\ntime.sleep(60)\n"
        self.process: FunctionProcess = keeper.spawn(
            [sys.executable, "-I", "-S", "-c", text],
            {},
            Path("/"),
            lambda _, line: self.lines.put_nowait(line),
            ask=True,
        )
        self._replace = replace
        self.binding: PortBinding

    async def __aenter__(self) -> Asked:
        self.binding = PortBinding(await self.process.listener(), self.port, self.address, self._replace)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.kill()
        await self.process.exited
        self.binding.close()

    async def listening(self) -> None:
        """Wait until it listens."""
        await asyncio.wait_for(self.binding.listening, 30)

    async def says(self) -> str:
        """The next line that it prints."""
        return await asyncio.wait_for(self.lines.get(), 30)

    async def accepts(self) -> bool:
        """Whether a connection to the instance's address succeeds."""
        try:
            _, writer = await asyncio.open_connection(self.binding.address, self.binding.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


both_ways = pytest.mark.parametrize("replace", [False, True], ids=["duplicate", "replace"])


@both_ways
@pytest.mark.parametrize(
    "program",
    [
        "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen()",
        "s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 0); s.bind(('::', PORT)); s.listen()",
        "s = socket.socket()\ndef serve():\n s.bind(('', PORT)); s.listen()\nthreading.Thread(target=serve).start()",
        "s = socket.socket(); s.bind(('0.0.0.0', PORT))\nif os.fork() == 0: s.listen()",
        "a = socket.socket(socket.AF_INET6); a.setsockopt(41, 26, 1); a.bind(('::', PORT))\n"
        "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen(); a.listen()",
        # As Go does where the kernel has Multipath TCP.
        "try: s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)\n"
        "except OSError: s = socket.socket(socket.AF_INET6)\n"
        "s.setsockopt(41, 26, 0); s.bind(('::', PORT)); s.listen()",
    ],
    ids=["ipv4", "ipv6", "thread", "child", "both-families", "multipath"],
)
async def test_listen_is_the_moment_of_readiness(keeper: KeeperClient, program: str, replace: bool) -> None:
    """Any process of the instance that binds the port on all addresses is reachable once it listens."""
    async with Asked(keeper, program, replace) as asked:
        await asked.listening()
        assert asked.binding.port == asked.port
        assert await asked.accepts()


@both_ways
@pytest.mark.parametrize(("family", "host"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
async def test_bind_to_loopback_is_known(keeper: KeeperClient, family: str, host: str, replace: bool) -> None:
    """A bind to 127.0.0.1 or ::1 succeeds and is noticed, but does not make the instance ready."""
    program = f"s = socket.socket(socket.{family}); s.bind(('{host}', PORT)); s.listen(); print('up', flush=True)"
    async with Asked(keeper, program, replace) as asked:
        assert await asked.says() == "up"
        assert asked.binding.loopback == host
        assert not asked.binding.listening.done()


async def test_other_binds_go_on_as_if_nobody_had_asked(keeper: KeeperClient) -> None:
    """Another port, UDP and Unix sockets are bound by the kernel."""
    program = (
        "a = socket.socket(); a.bind(('127.0.0.1', 0)); a.listen()\n"
        "b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "b.bind(('127.0.0.1', PORT)); c = socket.socket(socket.AF_UNIX); c.bind('\\0fcemu-test-%d' % os.getpid())\n"
        "print(a.getsockname()[0], b.getsockname()[1] == PORT, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asked.says() == "127.0.0.1 True"
        assert asked.binding.loopback is None


@pytest.mark.parametrize("first", ["s.listen()", "pass"], ids=["listening", "bound"])
async def test_second_bind_in_one_instance_fails_as_ever(keeper: KeeperClient, first: str) -> None:
    """Two servers on the same port of one instance conflict, as in the cloud."""
    program = (
        f"s = socket.socket(); s.bind(('0.0.0.0', PORT)); {first}; t = socket.socket()\n"
        "try: t.bind(('0.0.0.0', PORT)); print('both', flush=True)\n"
        "except OSError as error: print(error.errno, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asked.says() == str(errno.EADDRINUSE)


@both_ways
async def test_server_may_close_and_start_again(keeper: KeeperClient, replace: bool) -> None:
    """A server that was closed takes no connections from the next one of its instance."""
    program = (
        "def serve():\n"
        "  s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', PORT)); s.listen(); return s\n"
        "serve().close(); s = serve(); print('again', flush=True)\n"
        "while True: s.accept()[0].send(b'x')"
    )
    async with Asked(keeper, program, replace) as asked:
        assert await asked.says() == "again"
        for _ in range(20):  # the kernel would share them out among all who listen
            reader, writer = await asyncio.open_connection(asked.binding.address, asked.binding.port)
            assert await asyncio.wait_for(reader.read(1), 10) == b"x"
            writer.close()
            await writer.wait_closed()


@both_ways
async def test_interrupted_bind_may_be_tried_again(keeper: KeeperClient, replace: bool) -> None:
    """Under many signals, binds and listens that fail with EINTR succeed when they are called again."""
    program = (
        "import signal\n"
        "interrupted = 0\n"
        "def insist(call, *args):\n"
        "  global interrupted\n"
        "  while True:\n"
        "    try: return call(*args)\n"
        "    except InterruptedError: interrupted += 1\n"
        "signal.signal(signal.SIGALRM, lambda *_: None)\n"
        "for _ in range(200):\n"
        "  with socket.socket() as s:\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)\n"
        "    insist(s.bind, ('', PORT)); insist(s.listen)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "print(interrupted, flush=True)"
    )
    async with Asked(keeper, program, replace) as asked:
        assert int(await asked.says()) > 0


async def test_bind_of_a_bound_socket_succeeds(keeper: KeeperClient) -> None:
    """A repeated bind of a bound socket succeeds, because a signal may have hidden the answer to the first."""
    program = (
        "for family, host in ((2, '0.0.0.0'), (2, '127.0.0.1'), (10, '::')):\n"
        "  s = socket.socket(family)\n"
        "  if family == 10: s.setsockopt(41, 26, 1)\n"
        "  s.bind((host, PORT)); name = s.getsockname(); s.bind((host, PORT))\n"
        "  print(s.getsockname() == name, flush=True)\n"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert [await asked.says() for _ in range(3)] == ["True"] * 3


async def test_bind_without_us_fails(keeper: KeeperClient) -> None:
    """If no supervisor answers a bind, it fails instead of waiting forever."""
    program = (
        "s = socket.socket()\n"
        "try: s.bind(('', PORT)); print('bound', flush=True)\n"
        "except OSError as error: print(error.errno, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        asked.binding.close()
        assert await asked.says() == str(errno.ENOSYS)


async def test_nobody_is_asked_when_nobody_is_left(keeper: KeeperClient) -> None:
    """When an instance ends, its descriptor is closed, because a readable one would keep the loop busy."""
    async with Asked(keeper, "s = socket.socket(); s.bind(('', PORT)); s.listen()", replace=False) as asked:
        await asked.listening()
        asked.process.kill()
        async with asyncio.timeout(30):
            while asked.binding._listener != -1:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("denied", "outcome"), [(PIDFD_GETFD, "bound"), (SYSCALLS[os.uname().machine][1], str(errno.EPERM))]
)
async def test_function_may_have_a_filter_of_its_own(keeper: KeeperClient, denied: int, outcome: str) -> None:
    """A seccomp filter that the function installs, as Chromium does, works with ours, and its refusals win."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        f"from tests.denied import deny; deny({denied})\n"
        "s = socket.socket()\n"
        "try: s.bind(('', PORT)); s.listen(); print('bound', flush=True)\n"
        "except OSError as error: print(error.errno, flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asked.says() == outcome
        assert asked.binding.listening.done() == (outcome == "bound")


async def test_address_that_cannot_be_read_is_the_kernels(keeper: KeeperClient) -> None:
    """A bind with an invalid pointer fails with EFAULT."""
    program = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True); s = socket.socket()\n"
        "print(libc.bind(s.fileno(), ctypes.c_void_p(-1), 16), ctypes.get_errno(), flush=True)"
    )
    async with Asked(keeper, program, replace=False) as asked:
        assert await asked.says() == f"-1 {errno.EFAULT}"


async def test_process_that_we_may_not_look_into_is_the_kernels(
    keeper: KeeperClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a process's memory may not be read, e.g. of a setuid program, the kernel carries out its bind."""

    def denied(*_: object) -> bytes:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(port_binding, "_memory", denied)
    program = "s = socket.socket(); s.bind(('0.0.0.0', PORT)); print(*s.getsockname(), flush=True)"
    async with Asked(keeper, program, replace=False) as asked:
        assert await asked.says() == f"0.0.0.0 {asked.port}"


async def test_port_that_somebody_else_has_is_no_obstacle(keeper: KeeperClient) -> None:
    """If a program of the host has the port on all addresses, the instance is moved to another port."""
    program = "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen()"
    asked = Asked(keeper, program, replace=False)
    with socket.create_server(("0.0.0.0", asked.port)):
        async with asked:
            await asked.listening()
            assert asked.binding.port != asked.port
            assert await asked.accepts()


@both_ways
async def test_sibling_follows_the_first_to_another_port(keeper: KeeperClient, replace: bool) -> None:
    """Servers that share a port by SO_REUSEPORT share the one that the first was moved to."""
    program = (
        "def serve():\n"
        "  s = socket.socket(); s.setsockopt(1, 15, 1); s.bind(('', PORT)); s.listen(); return s\n"
        "s = serve()\n"
        "if os.fork() == 0: s = serve(); print(*s.getsockname(), flush=True)"
    )
    asked = Asked(keeper, program, replace)
    with socket.create_server(("0.0.0.0", asked.port)):
        async with asked:
            assert await asked.says() == f"{asked.binding.address} {asked.binding.port}"
            assert asked.binding.port != asked.port


@both_ways
async def test_fronts_that_chose_one_address_do_not_share_it(keeper: KeeperClient, replace: bool) -> None:
    """An instance at an address that another front's instance has already is moved to another port."""
    program = "s = socket.socket(); s.bind(('0.0.0.0', PORT)); s.listen()"
    async with Asked(keeper, program, replace) as first:
        await first.listening()
        async with Asked(keeper, program, replace, first.port, first.address) as second:
            await second.listening()
            assert second.binding.port != first.binding.port


def test_addresses_do_not_run_out() -> None:
    """After any number of instances there is an address for the next one."""
    addresses = {own_address() for _ in range(70_000)}
    assert len(addresses) == 65_534
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("127.91.0.0/16") for address in addresses)


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


async def test_self_test_works_here(keeper: KeeperClient) -> None:
    """On the machine of this test, the self-test finds a way to share ports."""
    assert await try_port_binding(keeper) in (False, True)


@pytest.mark.parametrize("setting", ["auto", "seccomp"])
async def test_inside_itself_it_falls_back_or_says_why(serve: Serve, tmp_path: Path, setting: str) -> None:
    """Inside an instance no second filter is possible: auto falls back to ports, and seccomp is an error."""
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
