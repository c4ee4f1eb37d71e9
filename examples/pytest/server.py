"""Rooms: all members of /rooms/NAME receive what one of them says. /slow is a job that takes a minute."""

import asyncio
import os

from aiohttp import WSMsgType, web

rooms: dict[str, set[web.WebSocketResponse]] = {}


async def room(request: web.Request) -> web.WebSocketResponse:
    """A member of a room, from its handshake to its end."""
    name = request.match_info["name"]
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    members = rooms.setdefault(name, set())
    members.add(socket)
    print(f"{name}: {len(members)} here", flush=True)
    try:
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                if message.data == "/kick me":
                    await socket.close(code=4001, message=b"as you wish")
                for member in list(members):
                    await member.send_str(message.data)
    finally:
        members.discard(socket)
        if not members:
            del rooms[name]
    return socket


async def census(request: web.Request) -> web.Response:
    """The number of members in each room of this instance."""
    return web.json_response({name: len(members) for name, members in rooms.items()})


async def slow(request: web.Request) -> web.Response:
    """A job that takes a minute."""
    print("working", flush=True)
    await asyncio.sleep(60)
    return web.Response(text="done")


app = web.Application()
app.add_routes([web.get("/rooms/{name}", room), web.get("/rooms", census), web.get("/slow", slow)])

if __name__ == "__main__":
    port = int(os.environ.get("FC_SERVER_PORT", "9000"))
    web.run_app(app, host="0.0.0.0", port=port, print=None, shutdown_timeout=0.1)
