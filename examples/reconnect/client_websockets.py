"""Keeps notes with `websockets`, which reconnects and sends pings.

We must resend unanswered messages ourselves, and say which refusals are temporary.
"""

import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import uuid

from websockets.asyncio.client import ClientConnection, connect, process_exception
from websockets.exceptions import ConnectionClosed, InvalidStatus

SECOND = float(os.environ.get("SECOND", "1000")) / 1000  # shorter in tests
NOTES = 12


def fatal(error: Exception) -> Exception | None:
    """Decide which errors end the attempts. The library retries after 500, 502, 503 and 504; the cloud has more.

    404: the trigger is only a few seconds old. 412: an instance did not start. 429: too many requests at the moment.
    """
    if isinstance(error, InvalidStatus) and error.response.status_code in (404, 412, 429):
        return None
    return process_exception(error)


class Connection:
    """A connection that is restored whenever it breaks. Every request is answered sooner or later."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, asyncio.Future]] = {}
        self._ids = itertools.count()
        self._socket: ClientConnection | None = None
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._give_up)

    async def ask(self, **request: object) -> dict:
        """Send a request as often as necessary, and return the answer."""
        message_id = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        message = json.dumps({"id": message_id, **request})
        self._waiting[message_id] = message, answer
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):  # `_run` sends it again
                await self._socket.send(message)
        return await answer

    async def close(self) -> None:
        """Close the connection for good."""
        self._running.cancel()
        await asyncio.wait([self._running])

    async def _run(self) -> None:
        async for socket in connect(
            os.environ["FCEMU_WS_URL"],
            open_timeout=20 * SECOND,  # a cold start takes time, and continues while we try again
            ping_interval=10 * SECOND,  # keeps the connection alive …
            ping_timeout=15 * SECOND,  # … and notices when it is dead
            close_timeout=5 * SECOND,
            process_exception=fatal,
        ):
            self._socket = socket
            with contextlib.suppress(ConnectionClosed):
                for message, _ in list(self._waiting.values()):
                    await socket.send(message)
                async for data in socket:
                    answer = json.loads(data)
                    _, waiting = self._waiting.pop(answer["id"], (None, None))
                    if waiting is not None:
                        waiting.set_result(answer)
            self._socket = None
            await asyncio.sleep(random.random() * SECOND)  # not all clients at once

    def _give_up(self, running: asyncio.Task) -> None:
        """Pass an error that ends the attempts to everybody who waits."""
        if not running.cancelled() and (error := running.exception()) is not None:
            for _, answer in self._waiting.values():
                answer.set_exception(error)


async def work() -> None:
    """Keep twelve notes, with a pause in the middle, then check that all are there."""
    job = str(uuid.uuid4())
    writer = Connection()
    async with asyncio.timeout(600 * SECOND), asyncio.TaskGroup() as notes:
        for number in range(1, NOTES + 1):
            notes.create_task(writer.ask(keep=number, job=job, text=f"note {number}"))
            await asyncio.sleep((30 if number == NOTES // 2 else 1) * SECOND)  # the user thinks
    reader = Connection()  # a second user, whom the cloud may send to another instance
    async with asyncio.timeout(600 * SECOND):
        count = (await reader.ask(count=job))["count"]
    await asyncio.gather(writer.close(), reader.close())
    if count != NOTES:
        sys.exit(f"there are {count} notes of {NOTES}")
    print(f"all {NOTES} notes are there")


if __name__ == "__main__":
    asyncio.run(work())
