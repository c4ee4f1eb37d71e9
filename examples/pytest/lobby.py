"""The lobby: a web application that gets the list of rooms from the function."""

import aiohttp
from aiohttp import web

ROOMS = web.AppKey("rooms", str)


async def index(request: web.Request) -> web.Response:
    """One line for each room."""
    async with aiohttp.ClientSession() as session, session.get(request.app[ROOMS]) as answer:
        if answer.status != 200:
            raise web.HTTPServiceUnavailable(text="the rooms are closed")
        rooms = await answer.json()
    return web.Response(text="".join(f"{name}: {members}\n" for name, members in rooms.items()))


def application(url: str) -> web.Application:
    """The application, given the function's address."""
    app = web.Application()
    app[ROOMS] = f"{url}/rooms"
    app.router.add_get("/", index)
    return app
