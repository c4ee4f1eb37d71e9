"""A client of the rooms that reconnects when its connection drops: `python client.py URL ROOM TEXT`."""

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp


async def listen(url: str, room: str, patience: float = 0.1) -> AsyncIterator[str]:
    """Yield what is said in a room, forever; reconnect `patience` seconds after the connection has dropped."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.ws_connect(f"{url}/rooms/{room}") as socket:
                async for message in socket:
                    yield message.data
            await asyncio.sleep(patience)


async def say(url: str, room: str, text: str) -> str:
    """Say something; returns what the room heard."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/rooms/{room}") as socket:
        await socket.send_str(text)
        return await socket.receive_str()


if __name__ == "__main__":
    print(asyncio.run(say(*sys.argv[1:4])))
