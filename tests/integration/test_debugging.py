"""Debuggers attach to commands made by `debugged`, with Node's inspector and debugpy's protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fcemu.instances.debugging import Script, debuggable, debugged
from fcemu.instances.machine import try_port_binding
from fcemu.processes.keeper_client import KeeperClient
from fcemu.processes.port_binding import PortBinding, own_address
from fcemu.processes.process import FunctionProcess

BIN = Path(sys.executable).parent


class Started:
    """A function under a debugger, which listens on `debugger`; the server prints its address on `lines`."""

    def __init__(self, process: FunctionProcess, lines: asyncio.Queue[str], debugger: int, argv: list[str]) -> None:
        self.process = process
        self.debugger = debugger
        self.argv = argv
        self._lines = lines

    async def url(self) -> str:
        """The address of the function's server, once it has said that it is up."""
        seen: list[str] = []
        while True:
            seen.append(await asyncio.wait_for(self._lines.get(), 60))
            if found := re.search(r"http://127\.0\.0\.1:\d+", seen[-1]):
                return found[0]


Start = Callable[..., Awaitable[Started]]


def free_port() -> int:
    """A free port."""
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
async def keeper() -> AsyncIterator[KeeperClient]:
    """A keeper of its own."""
    keeper = KeeperClient()
    yield keeper
    await asyncio.to_thread(keeper.close)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def start(keeper: KeeperClient, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a command of the folder `tmp_path` under its debugger: `await start("npm", "start", NODE_OPTIONS=…)`."""
    started: list[FunctionProcess] = []

    def script(word: str) -> Script | None:
        place = str(tmp_path / word) if "/" in word else shutil.which(word)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return Script(place, Path(place).read_text()) if place else None
        return None

    async def start(*argv: str, ask: bool = False, **variables: str) -> Started:
        environment = {**os.environ, **variables}
        command = debuggable(argv, script)
        assert command is not None
        own = False
        if command.language == "python":
            own = subprocess.run(command.probe, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False).returncode == 0
        spec = importlib.util.find_spec("debugpy")
        ours = spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else None
        port = free_port()
        made = debugged(command, port, environment, own_debugpy=own, our_debugpy=ours)
        lines: asyncio.Queue[str] = asyncio.Queue()
        process = keeper.spawn(
            made.argv,
            {**environment, **made.environment},
            tmp_path,
            lambda _, line: lines.put_nowait(line),
            ask=ask,
        )
        started.append(process)
        return Started(process, lines, port, made.argv)

    yield start
    for process in started:
        process.kill()
        await process.exited


# ---- Node

NODE_SERVER = """#!/usr/bin/env node
const server = require("http").createServer((request, response) => response.end("ok"));
server.listen(0, "127.0.0.1", () => console.log("http://127.0.0.1:" + server.address().port));
"""
NODE_CLUSTER = """
const cluster = require("cluster");
if (cluster.isPrimary) {
  cluster.fork();
  globalThis.role = "primary";
} else {
  globalThis.role = "worker";
  const server = require("http").createServer((request, response) => response.end("ok"));
  server.listen(0, "127.0.0.1", () => console.log("http://127.0.0.1:" + server.address().port));
}
"""


@pytest.fixture
def node_function(tmp_path: Path) -> Path:
    """A folder with a Node server, and every usual way to start it."""
    for program in ("node", "npm", "npx"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: debugging of Node was NOT tested")
    (tmp_path / "index.js").write_text(NODE_SERVER)
    (tmp_path / "package.json").write_text(json.dumps({"name": "x", "scripts": {"start": "node index.js"}}))
    for name, text in {
        "bootstrap": "#!/bin/sh\nnode --version\nexec node index.js\n",
        "index": NODE_SERVER,
        "node_modules/.bin/serve": '#!/usr/bin/env node\nrequire("../../index.js");\n',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


async def evaluated(client: aiohttp.ClientSession, port: int, expression: str) -> tuple[str, object]:
    """The title of the inspector on a port, and the value of an expression evaluated there."""
    async with client.get(f"http://127.0.0.1:{port}/json/list") as response:
        (target,) = await response.json(content_type=None)
    async with client.ws_connect(target["webSocketDebuggerUrl"]) as ws:
        await ws.send_json({"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression}})
        answer = await ws.receive_json(timeout=30)
    return target["title"], answer["result"]["result"]["value"]


@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("node index.js", "index.js"),
        ("node --inspect-brk=127.0.0.1:0 index.js", "index.js"),
        ("npm start", "index.js"),
        ("npx serve", "serve"),
        ("./bootstrap", "index.js"),
        ("./index", "index"),
    ],
)
async def test_node_can_be_inspected(
    start: Start, client: aiohttp.ClientSession, node_function: Path, command: str, title: str
) -> None:
    """The inspector on the port belongs to the server's process, and the server answers."""
    function = await start(*command.split())
    url = await function.url()
    found, value = await evaluated(client, function.debugger, "1 + 1")
    assert Path(found).name == title
    assert value == 2
    async with client.get(url) as response:
        assert await response.text() == "ok"


async def test_worker_of_a_cluster_can_be_inspected(
    start: Start, client: aiohttp.ClientSession, node_function: Path
) -> None:
    """Started by npm, the inspector belongs to the worker, which handles requests, not to the primary."""
    (node_function / "index.js").write_text(NODE_CLUSTER)
    function = await start("npm", "start")
    await function.url()
    assert (await evaluated(client, function.debugger, "role"))[1] == "worker"


async def test_node_options_are_kept(start: Start, client: aiohttp.ClientSession, node_function: Path) -> None:
    """The developer's NODE_OPTIONS still apply."""
    function = await start("npm", "start", NODE_OPTIONS="--title=kept")
    await function.url()
    assert (await evaluated(client, function.debugger, "process.title"))[1] == "kept"


# ---- Python

PYTHON_SERVER = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")  # here

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})  # here
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]  # here
"""


class Session:
    """A client of the Debug Adapter Protocol, as an editor is one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._seen: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: object) -> int:
        number = next(self._numbers)
        message = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return number

    async def find(self, **wanted: object) -> dict[str, Any]:
        """The body of the first message with these keys, that was not found before."""
        while True:
            for message in self._seen:
                if wanted.items() <= message.items():
                    self._seen.remove(message)
                    assert message.get("success", True), message
                    body: dict[str, Any] = message.get("body", {})
                    return body
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 60)
            length = int(head.split(b":")[1])
            self._seen.append(json.loads(await self._reader.readexactly(length)))

    async def call(self, command: str, **arguments: object) -> dict[str, Any]:
        return await self.find(type="response", request_seq=self.send(command, **arguments))


@contextlib.asynccontextmanager
async def attached(port: int, source: Path, **target: object) -> AsyncIterator[Session]:
    """A session that stops at the line of `source` that is marked with `here`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        session = Session(reader, writer)
        await session.call("initialize", adapterID="python", pathFormat="path", linesStartAt1=True)
        attach = session.send("attach", justMyCode=True, **target)
        await session.find(event="initialized")
        line = next(n for n, text in enumerate(source.read_text().splitlines(), 1) if text.endswith("# here"))
        await session.call("setBreakpoints", source={"path": str(source)}, breakpoints=[{"line": line}])
        await session.call("configurationDone")
        await session.find(type="response", request_seq=attach)
        yield session
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def stops_and_goes_on(client: aiohttp.ClientSession, url: str, sessions: list[Session], source: Path) -> None:
    """A request stops at the breakpoint in one of the sessions, and is answered when it continues."""

    async def answer() -> str:
        async with client.get(url) as response:
            return await response.text()

    request = asyncio.create_task(answer())
    stops = {asyncio.create_task(session.find(event="stopped")): session for session in sessions}
    (stop, *_), others = await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
    for other in others:
        other.cancel()
    stopped, session = stop.result(), stops[stop]
    assert not request.done()
    assert stopped["reason"] == "breakpoint"
    frames = (await session.call("stackTrace", threadId=stopped["threadId"]))["stackFrames"]
    assert frames[0]["source"]["path"] == str(source)
    await session.call("continue", threadId=stopped["threadId"])
    assert await request == "ok"


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "server.py"],
        ["/usr/bin/env", sys.executable, "-X", "dev", "-um", "server"],
        [str(BIN / "uvicorn"), "server:app", "--port", "0"],
    ],
    ids=["script", "module", "console-script"],
)
async def test_python_stops_at_a_breakpoint(
    start: Start, client: aiohttp.ClientSession, tmp_path: Path, command: list[str]
) -> None:
    """The function gets ready without a debugger, answers, and stops at a breakpoint once one has attached."""
    source = tmp_path / "server.py"
    source.write_text(ASGI if "uvicorn" in command[0] else PYTHON_SERVER)
    function = await start(*command)
    url = await function.url()
    async with client.get(url) as response:
        assert await response.text() == "ok"
    async with attached(function.debugger, source) as session:
        await stops_and_goes_on(client, url, [session], source)


async def test_interpreter_without_debugpy_takes_ours(
    start: Start, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A function in a virtual environment without debugpy is debugged with fcemu's debugpy."""
    venv.create(tmp_path / "venv", symlinks=True)
    source = tmp_path / "server.py"
    source.write_text(PYTHON_SERVER)
    function = await start(str(tmp_path / "venv/bin/python"), "server.py")
    assert "-m" not in function.argv
    url = await function.url()
    async with attached(function.debugger, source) as session:
        await stops_and_goes_on(client, url, [session], source)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's user notification is Linux's")
@pytest.mark.parametrize(
    ("code", "command", "children"),  # with uvicorn one of them is multiprocessing's resource tracker
    [
        (ASGI, ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "PORT", "--workers", "2"], 3),
        (ASGI, ["uvicorn", "server:app", "--host", "0.0.0.0", "--port", "PORT", "--reload"], 2),
        (WSGI, ["gunicorn", "server:app", "--bind", "0.0.0.0:PORT"], 1),
    ],
    ids=["uvicorn-workers", "uvicorn-reload", "gunicorn"],
)
async def test_workers_can_be_debugged_on_a_shared_port(
    start: Start,
    keeper: KeeperClient,
    client: aiohttp.ClientSession,
    tmp_path: Path,
    code: str,
    command: list[str],
    children: int,
) -> None:
    """The workers of a debugged server share its port, and each asks the editor to attach to it."""
    replace = await try_port_binding(keeper)
    if isinstance(replace, str):
        pytest.skip(f"instances cannot share a port here: {replace}")
    source = tmp_path / "server.py"
    source.write_text(code)
    port = free_port()
    function = await start(str(BIN / command[0]), *(part.replace("PORT", str(port)) for part in command[1:]), ask=True)
    binding = PortBinding(await function.process.listener(), port, own_address(), replace)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(binding.close)
        await asyncio.wait((binding.listening, function.process.exited), return_when=asyncio.FIRST_COMPLETED)
        assert binding.listening.done(), function.process.tail
        url = f"http://{binding.address}:{binding.port}"
        async with client.get(url) as response:
            assert await response.text() == "ok"
        first = await stack.enter_async_context(attached(function.debugger, source))
        asked = [await first.find(event="debugpyAttach") for _ in range(children)]
        sessions = [
            await stack.enter_async_context(
                attached(function.debugger, source, subProcessId=one["subProcessId"], connect=one["connect"])
            )
            for one in asked
        ]
        await stops_and_goes_on(client, url, sessions, source)
