"""The chat room of examples/chat-redis: its users meet with a real Redis, and may not meet without one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from fcemu.configuration.load import load
from fcemu.emulator import Emulator
from fcemu.journal import InstanceChanged, InvocationStarted, LogLine
from fcemu.model import CustomRuntimeConfig, Function
from tests.conftest import EXAMPLES, Serve

Chat = Callable[[str | None], Function]

BOUND = 30
"""Seconds after which a test gives up waiting; no test waits that long for what works."""


class RedisServer:
    """A redis-server on loopback that stores nothing; it keeps its port when it restarts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = 0
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it, and wait until it accepts commands."""
        for _ in range(10):
            port = self._port or _free_port()
            options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(self._folder)]
            process = await asyncio.create_subprocess_exec(
                "redis-server", "--port", str(port), *options, stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            async for line in process.stdout:
                if b"Ready to accept connections" in line:
                    self._port, self._process = port, process
                    return
            await process.wait()  # somebody else took the port meanwhile
        pytest.fail("redis-server does not start")

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            await process.communicate()

    async def cli(self, *command: str) -> str:
        """What Redis answers to a command."""
        arguments = ["redis-cli", "-u", self.url, *command]
        process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        return output.decode()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """A Redis of this test's own."""
    for program in ("redis-server", "redis-cli"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the chat room was NOT tested over Redis")
    server = RedisServer(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def installed_node(installed: Callable[[str, str], Path]) -> Path:
    """A copy of examples/chat-redis/node with its dependencies installed."""
    return installed("chat-redis/node", "the chat room in Node was")


@pytest.fixture(params=["python", "node"])
def chat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Chat:
    """The example in one of its languages, as its trigger.yaml describes it: with the Redis at a URL, or with none."""
    monkeypatch.delenv("REDIS_URL", raising=False)  # a function inherits ours
    if request.param == "node":
        folder, command = request.getfixturevalue("installed_node"), ["node", "index.js"]
    else:
        pytest.importorskip(
            "redis", reason="the package redis is not installed: the chat room in Python was NOT tested"
        )
        folder, command = EXAMPLES / "chat-redis" / "python", [sys.executable, "server.py"]

    def make(redis_url: str | None) -> Function:
        (example,) = load(folder / "trigger.yaml").account.functions
        return example.model_copy(
            update={
                "customRuntimeConfig": CustomRuntimeConfig(command=command),
                "environmentVariables": {"REDIS_URL": redis_url} if redis_url else {},
            }
        )

    return make


@contextlib.asynccontextmanager
async def user(emulator: Emulator, room: str = "lobby") -> AsyncIterator[ClientConnection]:
    """A user who has entered the room, and received their own greeting."""
    async with connect(f"ws://127.0.0.1:{emulator.port}/{room}", proxy=None) as ws:
        await says(ws, "hello")
        yield ws


async def hears(ws: ClientConnection) -> str:
    """The next message that a user receives."""
    return str(await asyncio.wait_for(ws.recv(), BOUND))


async def says(ws: ClientConnection, text: str) -> None:
    """Send a message; it must be the next one that the user receives."""
    await ws.send(text)
    assert await hears(ws) == text


def instances(emulator: Emulator) -> list[str]:
    """The instance of each invocation, in the order in which they began."""
    return [record.instance_id for record in emulator.journal.records if isinstance(record, InvocationStarted)]


def logged(emulator: Emulator, text: str) -> bool:
    """Whether the function has printed a line that contains this text."""
    return any(isinstance(record, LogLine) and text in record.text for record in emulator.journal.records)


async def happens(emulator: Emulator, what: Callable[[], bool]) -> None:
    """Wait until the records of the journal satisfy a condition."""
    changed = asyncio.Event()
    end = emulator.journal.subscribe(lambda record: changed.set())
    try:
        async with asyncio.timeout(BOUND):
            while not what():
                await changed.wait()
                changed.clear()
    finally:
        end()


def server(emulator: Emulator) -> psutil.Process:
    """The server's process in the one instance."""
    (instance,) = set(instances(emulator))
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("FC_INSTANCE_ID") == instance:
                found.append(process)
    (one,) = found
    return one


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Freeze a process, as the cloud does between invocations."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.parametrize("language", ["python", "node"])
def test_trigger_loads(language: str) -> None:
    """The configuration of each language's example loads."""
    assert load(EXAMPLES / "chat-redis" / language / "trigger.yaml").account.functions


async def test_users_in_two_instances_meet_through_redis(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """With Redis, two users of a room receive each other's messages although they are in two instances."""
    emulator = await serve(chat(redis.url), scatter=True)
    async with user(emulator) as ann, user(emulator) as bob:
        assert len(set(instances(emulator))) == 2
        assert await hears(ann) == "hello"  # Bob's
        await says(ann, "Hello, Bob!")
        assert await hears(bob) == "Hello, Bob!"
        await says(bob, "你好, Ann!")
        assert await hears(ann) == "你好, Ann!"


async def test_users_in_two_instances_miss_each_other_without_redis(serve: Serve, chat: Chat) -> None:
    """Without Redis, two users in two instances receive only their own messages."""
    emulator = await serve(chat(None), scatter=True)
    async with user(emulator) as ann, user(emulator) as bob:
        assert len(set(instances(emulator))) == 2
        await says(ann, "Is anybody here?")
        await says(bob, "Is nobody here?")
        await says(ann, "Good night.")


async def test_users_in_one_instance_meet_without_redis(serve: Serve, chat: Chat) -> None:
    """Without Redis, two users meet if they are in the same instance, which hides the mistake."""
    emulator = await serve(chat(None))
    async with user(emulator) as ann, user(emulator) as bob:
        assert len(set(instances(emulator))) == 1
        assert await hears(ann) == "hello"  # Bob's
        await says(ann, "Hello, Bob!")
        assert await hears(bob) == "Hello, Bob!"


@pytest.mark.parametrize("shared", [True, False], ids=["redis", "memory"])
async def test_rooms_are_apart(serve: Serve, chat: Chat, redis: RedisServer, shared: bool) -> None:
    """A user of another room receives nothing, in the same instance or in another one."""
    emulator = await serve(chat(redis.url if shared else None), scatter=shared)
    async with user(emulator) as ann, user(emulator, "lobby/2") as eve:
        await says(ann, "a secret")
        await says(eve, "nothing to be heard here")
        await says(ann, "another secret")


async def test_room_works_again_after_redis_restarts(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """Users stay in their room when Redis stops and starts again, and the log says so."""
    emulator = await serve(chat(redis.url), scatter=True)

    async with user(emulator) as ann, user(emulator) as bob:
        await redis.stop()
        await ann.send("nobody will hear this")
        await happens(emulator, lambda: logged(emulator, "a message is lost"))
        await redis.start()
        async with asyncio.timeout(BOUND):
            for number in range(1000):  # what is said before everybody is subscribed again is lost
                await ann.send(f"try {number}")
                with contextlib.suppress(TimeoutError):
                    assert str(await asyncio.wait_for(bob.recv(), 0.1)).startswith("try")
                    break
        await bob.send("I hear you!")
        while await hears(ann) != "I hear you!":
            pass


async def test_newcomer_during_an_outage_waits_for_redis(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """A user who enters while Redis is down is in the room as soon as it is up, and no message is lost."""
    await redis.stop()
    emulator = await serve(chat(redis.url))
    async with connect(f"ws://127.0.0.1:{emulator.port}/lobby", proxy=None) as ann:
        await ann.send("Is anybody here?")
        await redis.start()
        assert await hears(ann) == "Is anybody here?"


async def test_instance_unsubscribes_when_the_last_user_leaves(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """An instance is subscribed to a room as long as it has a user there."""
    emulator = await serve(chat(redis.url))

    async def subscriptions(expected: int) -> None:
        async with asyncio.timeout(BOUND):
            while (await redis.cli("PUBSUB", "NUMSUB", "/lobby")).split() != ["/lobby", str(expected)]:
                await asyncio.sleep(0.02)

    async with user(emulator, "elsewhere"):  # somebody stays, for an instance without a socket may not run
        async with user(emulator):
            async with user(emulator):
                await subscriptions(1)
            await subscriptions(1)
        await subscriptions(0)


async def test_instance_wakes_up_after_redis_has_restarted(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """An instance that was frozen while Redis restarted accepts users as before."""
    emulator = await serve(chat(redis.url))
    async with user(emulator):
        pass
    with frozen(server(emulator)):
        await redis.stop()
        await redis.start()
    async with user(emulator) as ann, user(emulator) as bob:
        assert await hears(ann) == "hello"  # Bob's
        await says(ann, "Hello, Bob!")
        assert await hears(bob) == "Hello, Bob!"
    assert len(set(instances(emulator))) == 1


async def test_newcomer_hears_nothing_of_what_a_frozen_instance_missed(
    serve: Serve, chat: Chat, redis: RedisServer
) -> None:
    """A user who enters after an instance was frozen does not receive messages from before."""
    emulator = await serve(chat(redis.url))
    async with connect(f"ws://127.0.0.1:{emulator.port}/lobby", proxy=None) as ann:
        await says(ann, "hello")
        with frozen(server(emulator)):
            # More than one look at the connection to Redis yields, so that the newcomer comes in between.
            script = "for _ = 1, 200 do redis.call('PUBLISH', KEYS[1], string.rep('old news ', 5000)) end"
            await redis.cli("EVAL", script, "1", "/lobby")
            ann.transport.abort()
            bob = asyncio.create_task(connect(f"ws://127.0.0.1:{emulator.port}/lobby", proxy=None).__aenter__())
            await happens(emulator, lambda: len(instances(emulator)) == 2)
        async with await bob as ws:
            await says(ws, "hello")


async def test_slow_client_is_cut_and_the_others_hear_everything(serve: Serve, chat: Chat) -> None:
    """A client that does not read does not delay the others, and its socket is finally cut."""
    emulator = await serve(chat(None))

    async with user(emulator) as ann:
        slow = await connect(f"ws://127.0.0.1:{emulator.port}/lobby", proxy=None, compression=None, max_queue=1)
        await slow.send("hello")
        assert await hears(ann) == "hello"
        for number in range(2000):
            await says(ann, f"{number} ".ljust(60_000, "x"))
            if logged(emulator, "too slow"):
                break
        with pytest.raises(ConnectionClosed) as caught:
            async for _ in slow:  # what was on its way
                pass
        assert caught.value.rcvd is None
        await says(ann, "still here")


async def test_server_says_goodbye(serve: Serve, chat: Chat, redis: RedisServer) -> None:
    """On SIGTERM the server closes its sockets with 1001 and exits by itself, without an error."""
    emulator = await serve(chat(redis.url))

    def ended() -> bool:
        changes = [record for record in emulator.journal.records if isinstance(record, InstanceChanged)]
        return any(change.state == "ended" and change.exit_code == 0 for change in changes)

    async with user(emulator) as ann:
        server(emulator).terminate()
        with pytest.raises(ConnectionClosed) as caught:
            await hears(ann)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
    await happens(emulator, ended)
    assert not logged(emulator, "Error")
