"""A WebSocket server that says on its standard output what it saw, and does what a message tells it to."""

import asyncio
import os
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol


async def talk(connection: ServerConnection) -> None:
    extensions = ",".join(extension.name for extension in connection.protocol.extensions)
    print(f"open subprotocol={connection.subprotocol} extensions={extensions}", flush=True)
    try:
        async for message in connection:
            match message.split(" ", 2) if isinstance(message, str) else ():
                case ["close", code, reason]:
                    await connection.close(int(code), reason)
                case ["ping", data]:
                    await (await connection.ping(data))
                    await connection.send("ponged")
                case _:
                    await connection.send(message)
    except ConnectionClosed:
        pass
    await connection.wait_closed()
    print(f"closed {connection.close_code} {connection.close_reason}", flush=True)


def choose(connection: ServerConnection, offers: Sequence[Subprotocol]) -> Subprotocol | None:
    """This server's preference among what the client offers."""
    return next((Subprotocol(name) for name in ("json", "chat") if name in offers), None)


async def main() -> None:
    port = int(os.environ["FC_SERVER_PORT"])
    async with serve(talk, "0.0.0.0", port, select_subprotocol=choose, max_size=None, ping_interval=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
