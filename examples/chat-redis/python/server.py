"""A chat room: everybody in the room receives what one user says. The path names the room: ws://…/lobby.

Two users of a room may be in two instances. With REDIS_URL each room is a channel in Redis, so they receive each
other's messages. Without it they do so only if they happen to share an instance.
"""

import asyncio
import logging
import os
from contextlib import suppress

from aiohttp import WSCloseCode, WSMsgType, web
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

url = os.environ.get("REDIS_URL")
# One retry, because a connection of the pool may have died while the instance was frozen.
redis = Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 1)) if url else None


class User:
    """A socket of this instance and its unsent messages, so that a slow one does not hold up its room."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self.socket, self.transport = socket, transport
        self.unsent: asyncio.Queue[str] = asyncio.Queue(maxsize=100)

    async def write(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self.socket.send_str(await self.unsent.get())


class Room:
    """The users of a room in this instance; with Redis, subscribed to the room's channel."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users: set[User] = set()
        self.open = asyncio.Event()
        self.listening = asyncio.create_task(self.listen())

    async def say(self, text: str) -> None:
        if not redis:
            return self.deliver(text)
        try:
            await redis.publish(self.name, text)
        except RedisError as error:
            logging.warning("%s: a message is lost: %s", self.name, error)

    async def listen(self) -> None:
        while redis:
            try:
                async with redis.pubsub() as channel:  # a connection of its own: only this task may use it
                    await channel.subscribe(self.name)
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self.deliver(message["data"])
                        else:
                            logging.info("%s: subscribed", self.name)
                            self.open.set()
            except RedisError as error:
                logging.warning("%s: hears nothing, subscribes again in a second: %s", self.name, error)
                self.open.clear()
                await asyncio.sleep(1)
        self.open.set()

    def deliver(self, text: str) -> None:
        for user in self.users:
            if user.unsent.full():
                logging.warning("%s: a client is too slow and cut off", self.name)
                user.transport.abort()  # it sees 1006, as when a connection breaks, and reconnects
            else:
                user.unsent.put_nowait(text)


rooms: dict[str, Room] = {}


async def chat(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(heartbeat=30, max_msg_size=64 * 1024)
    await socket.prepare(request)
    if request.path not in rooms:
        rooms[request.path] = Room(request.path)
    room, user = rooms[request.path], User(socket, request.transport)
    room.users.add(user)
    writing = asyncio.create_task(user.write())
    try:
        await room.open.wait()  # a user who can send also receives
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await room.say(message.data)
    finally:
        writing.cancel()
        room.users.remove(user)
        if not room.users:
            room.listening.cancel()
            del rooms[room.name]
    return socket


async def goodbye(app: web.Application) -> None:
    users = [user for room in rooms.values() for user in room.users]
    await asyncio.gather(*(user.socket.close(code=WSCloseCode.GOING_AWAY) for user in users))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    app = web.Application()
    app.router.add_get("/{room:.*}", chat)
    app.on_shutdown.append(goodbye)  # at SIGTERM
    if redis:
        app.on_cleanup.append(lambda app: redis.aclose())
    port = int(os.environ.get("FC_SERVER_PORT", "9000"))
    web.run_app(app, host="0.0.0.0", port=port, shutdown_timeout=3, print=None, access_log=None)
