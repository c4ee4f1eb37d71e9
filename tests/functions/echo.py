"""Echoes WebSocket messages; answers plain requests with what came. Also a few ways to misbehave, by path."""

import asyncio
import os
import sys

from aiohttp import WSMsgType, web


async def handle(request: web.Request) -> web.StreamResponse:
    if request.path == "/exit":
        os._exit(3)
    if request.path == "/sleep":
        await asyncio.sleep(float(request.query.get("seconds", "3600")))
    if request.path == "/pid":
        return web.json_response({"pid": os.getpid(), "instance": os.environ["FC_INSTANCE_ID"]})
    if request.path == "/environment":
        return web.json_response(dict(os.environ))
    socket = web.WebSocketResponse(protocols=("chat", "json"), max_msg_size=0)
    if not socket.can_prepare(request):
        body = await request.read()
        return web.json_response(
            {
                "method": request.method,
                "target": request.raw_path,
                "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in request.raw_headers],
                "body": body.decode("latin-1"),
            }
        )
    if request.path == "/refuse":
        return web.Response(status=404, text="no such room")
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            if message.data.startswith("close "):
                _, code, *reason = message.data.split(" ", 2)
                await socket.close(code=int(code), message=" ".join(reason).encode())
            elif message.data == "exit":
                os._exit(3)
            else:
                await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


if __name__ == "__main__":
    print("starting", flush=True)
    print("a warning", file=sys.stderr, flush=True)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", handle)
    web.run_app(app, host="0.0.0.0", port=int(os.environ["FC_SERVER_PORT"]), print=None)
