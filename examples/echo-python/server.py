"""A WebSocket echo function that also answers plain HTTP."""

import os

from aiohttp import WSMsgType, web


async def echo(request: web.Request) -> web.StreamResponse:
    """Echo every message of a WebSocket; answer a plain request with a description of it."""
    if not web.WebSocketResponse().can_prepare(request):
        body = await request.text()
        return web.json_response({"method": request.method, "path": request.path_qs, "body": body})
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


app = web.Application()
app.router.add_route("*", "/{path:.*}", echo)

if __name__ == "__main__":
    # 0.0.0.0, not 127.0.0.1, which cannot be reached from outside the instance.
    web.run_app(app, host="0.0.0.0", port=int(os.environ.get("FC_SERVER_PORT", "9000")), print=None)
