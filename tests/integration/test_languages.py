"""Functions share a port in any language: static Go has no libc, and Java binds IPv4 by IPv6 sockets."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Notice, Record
from fcemu.model import Function
from fcemu.processes.port_binding import PortBinding
from tests.conftest import FUNCTIONS, Serve, function
from tests.integration.conftest import Made
from tests.integration.test_port_binding import free_port, used_instances

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's user notification is Linux's")

Command = Callable[[str, int], list[str]]
"""The start command of a server that listens at a host and port."""


@pytest.fixture(scope="session")
def go_binary(made_once: Made) -> Path:
    """The Go server, built without C; the build's caches go when it is done."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed: static Go functions were NOT tested")

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            own = {"GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0", "GOCACHE": cache, "GOPATH": cache}
            command = ["go", "build", "-o", "server", str(FUNCTIONS / "go" / "server.go")]
            subprocess.run(command, cwd=folder, env={**os.environ, **own}, check=True)

    return made_once("go", build) / "server"


@pytest.fixture(scope="session")
def java_classes(made_once: Made) -> Path:
    """The folder of the Java server's class."""
    for program in ("java", "javac"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: Java functions were NOT tested")
    command = ["javac", "-d", ".", str(FUNCTIONS / "java" / "Server.java")]
    return made_once("java", lambda folder: subprocess.run(command, cwd=folder, check=True))


@pytest.fixture
def command(request: pytest.FixtureRequest) -> Command:
    """The command of a language."""
    if request.param == "go":
        binary = str(request.getfixturevalue("go_binary"))
        return lambda host, port: [binary, f"{host}:{port}"]
    classes = str(request.getfixturevalue("java_classes"))
    stack = ["-Djava.net.preferIPv4Stack=true"] if request.param == "java-ipv4" else []
    return lambda host, port: ["java", *stack, "-cp", classes, "Server", host, str(port)]


@pytest.fixture(params=["as-possible", "replace"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the function's sockets are handled: as this machine allows, and by replacing them."""

    bind = PortBinding.__init__

    def replace(self: PortBinding, listener: int, port: int, address: str, _: bool = False) -> None:
        bind(self, listener, port, address, replace=True)

    if request.param == "replace":
        monkeypatch.setattr(PortBinding, "__init__", replace)


def hard_wired(command: list[str], port: int) -> Function:
    """A function that takes one request at a time, whose server knows its port from its command alone."""
    return function(customRuntimeConfig={"command": command, "port": port}, instanceConcurrency=1)


def assert_share_port(emulator: Emulator, port: int) -> None:
    """Three instances got ready when they listened, each on its own address and the configured port."""
    ready = [r.detail for r in emulator.journal.records if isinstance(r, InstanceChanged) and r.state == "ready"]
    hosts, ports = zip(*(detail.rsplit(":", 1) for detail in ready), strict=True)
    assert len(set(hosts)) == 3
    assert all(host.startswith("127.91.") for host in hosts)  # found by looking, it would be at 127.0.0.2
    assert set(ports) == {str(port)}
    assert not [record for record in emulator.journal.records if isinstance(record, Notice)]


def test_go_server_is_static(go_binary: Path) -> None:
    """The Go server uses no dynamic linker, so no library can be preloaded."""
    elf = go_binary.read_bytes()
    assert elf[:5] == b"\x7fELF\x02"
    (headers,) = struct.unpack_from("=Q", elf, 32)
    size, count = struct.unpack_from("=HH", elf, 54)
    kinds = [struct.unpack_from("=I", elf, headers + size * number)[0] for number in range(count)]
    assert 1 in kinds  # PT_LOAD: they are what we take them for
    assert 3 not in kinds  # PT_INTERP


@pytest.mark.parametrize(
    ("command", "host"),
    [("go", ""), ("go", "0.0.0.0"), ("java", "0.0.0.0"), ("java-ipv4", "0.0.0.0")],
    indirect=["command"],
)
async def test_requests_are_in_instances_on_one_port(
    serve: Serve, client: aiohttp.ClientSession, command: Command, host: str, way: None
) -> None:
    """At concurrency 1, three requests at once are answered by three instances, all on the configured port."""
    port = free_port()
    emulator = await serve(hard_wired(command(host, port), port), portBinding="seccomp")
    all_started = asyncio.Event()

    def count(record: Record) -> None:
        if isinstance(record, InvocationStarted) and len(used_instances(emulator)) == 3:
            all_started.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"begun"
        await all_started.wait()  # each keeps its instance until all have one

    async def instance() -> str:
        async with client.post(emulator.url, data=body()) as response:
            assert response.status == 200
            return await response.text()

    emulator.journal.subscribe(count)
    answers = await asyncio.gather(*(instance() for _ in range(3)))
    assert set(answers) == used_instances(emulator)
    assert_share_port(emulator, port)


@pytest.mark.parametrize("command", ["go"], indirect=True)
async def test_sockets_are_in_instances_on_one_port(
    serve: Serve, client: aiohttp.ClientSession, command: Command
) -> None:
    """Three sockets to a Go server at concurrency 1 are in three instances, and each gets its own messages back."""
    port = free_port()
    emulator = await serve(hard_wired(command("", port), port), portBinding="seccomp")
    sockets = [await client.ws_connect(emulator.url) for _ in range(3)]
    for number, ws in enumerate(sockets):
        await ws.send_str(f"hello {number}")
    for number, ws in enumerate(sockets):
        assert await ws.receive_str() == f"hello {number}"
        await ws.close()
    assert len(used_instances(emulator)) == 3
    assert_share_port(emulator, port)


@pytest.mark.parametrize(
    ("command", "host"), [("go", "127.0.0.1"), ("go", "[::1]"), ("java", "127.0.0.1")], indirect=["command"]
)
async def test_server_on_loopback_is_refused_and_told(
    serve: Serve, client: aiohttp.ClientSession, command: Command, host: str, way: None
) -> None:
    """A server on loopback answers 412; the record names its address and what to write instead."""
    port = free_port()
    emulator = await serve(hard_wired(command(host, port), port), start="lazy", portBinding="seccomp")
    async with client.get(emulator.url) as response:
        assert response.status == 412
    record = next(r for r in emulator.journal.records if isinstance(r, InvocationEnded))
    assert f"listens on {host.strip('[]')}:{port}" in str(record.reason)
    assert "0.0.0.0" in str(record.remedy)


WITHOUT_LIBRARY = """
static int system_call(int number, int first, const void *second, int third) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

static int socket_call(int number, int first, const void *second, int third) {
    int arguments[] = {first, (int)second, third};
    return system_call(102, number, arguments, 0);
}

void _start(void) {
    struct { short family; unsigned short port; int host, rest[2]; } any = {2, PORT >> 8 | (PORT & 255) << 8};
    static const char answer[] = "HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok";
    static char request[4096];
    int server = socket_call(1, 2, (void *)1, 0), yes = 1;
    int option[] = {server, 1, 2, (int)&yes, sizeof yes};
    system_call(102, 14, option, 0);
    if (socket_call(2, server, &any, sizeof any) || socket_call(4, server, (void *)128, 0)) system_call(1, 1, 0, 0);
    for (;;) {
        int client = socket_call(5, server, 0, 0);
        system_call(3, client, request, sizeof request);
        system_call(4, client, answer, sizeof answer - 1);
        system_call(6, client, 0, 0);
    }
}
"""
"""Calls the kernel as 32-bit programs do, by int 0x80; it needs no 32-bit libraries to be built."""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 runs 32-bit programs of i386")
async def test_32_bit_server_is_found_by_looking(serve: Serve, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """The filter does not handle 32-bit programs: such a server gets one instance, and the user is told so."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: a 32-bit function was NOT tested")
    port, binary = free_port(), tmp_path / "server"
    (tmp_path / "server.c").write_text(WITHOUT_LIBRARY)
    flags = ["-m32", "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"]
    subprocess.run(["gcc", *flags, f"-DPORT={port}", "-o", str(binary), "server.c"], cwd=tmp_path, check=True)
    emulator = await serve(hard_wired([str(binary), f":{port}"], port), portBinding="seccomp")
    async with client.get(emulator.url) as response:
        assert (response.status, await response.text()) == (200, "ok")
    (notice,) = [record.text for record in emulator.journal.records if isinstance(record, Notice)]
    assert f"always listens on port {port}" in notice
