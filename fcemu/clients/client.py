"""How does a test send a request, open a WebSocket, and see how it ended?"""

from __future__ import annotations

import asyncio
import gc
import http.client
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from email.message import Message
from json import loads
from types import TracebackType
from typing import Any

import aiohttp

_NO_CODE = 1005
"""What a client is told where a Close frame came without a code (RFC 6455 7.1.5)."""


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        headers: names in any case; `get_all` has each of several values.
    """

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none.
        """
        return loads(self.body)

    @property
    def code(self) -> str | None:
        """The cloud's `Code` where the gateway answered with an error; None where the function answered."""
        return self._error().get("Code")

    @property
    def message(self) -> str | None:
        """The cloud's `Message` of such an error."""
        return self._error().get("Message")

    @property
    def request_id(self) -> str:
        """By which the journal knows the request."""
        return str(self.headers.get("X-Fc-Request-Id", ""))

    def _error(self) -> dict[str, str]:
        return self.json() if "X-Fc-Error-Type" in self.headers and self.body else {}


def request(
    port: int, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
) -> Response:
    """Send a request to 127.0.0.1, and wait for its answer. Blocks; follows no redirects.

    Args:
        timeout: seconds without a byte after which it is given up.

    Raises:
        OSError: there was no answer, or not a whole one.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, answer.msg, answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"there was no whole answer: {error!r}") from error
    finally:
        connection.close()


class Connecting:
    """A WebSocket that is about to be opened: await it, or enter it. It is not closed before somebody closes it.

    Args:
        options: arguments of aiohttp's `ClientSession.ws_connect`.
        closed: awaited behind the socket that was entered, with the id of its request.
    """

    def __init__(self, url: str, options: Mapping[str, Any], closed: Callable[[str], Awaitable[object]]) -> None:
        self._url = url
        self._options = options
        self._closed = closed
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    def __await__(self) -> Generator[Any, None, aiohttp.ClientWebSocketResponse]:
        return self._open().__await__()

    async def __aenter__(self) -> aiohttp.ClientWebSocketResponse:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._socket is not None
        await self._socket.close()
        await self._closed(request_id(self._socket))

    @property
    def is_open(self) -> bool:
        """Nobody has closed it."""
        return self._socket is not None and not self._socket.closed

    def abandon(self) -> None:
        """Let go of it. Its loop need not run, nor be there any more."""
        assert self._socket is not None
        self._socket._response.close()

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("fc.connect() needs a running asyncio loop; another client can use fc.ws_url") from None
        # A session per socket, which the socket outlives: with it the connection goes, and nothing is left to close.
        connector = aiohttp.TCPConnector(force_close=True, resolver=aiohttp.ThreadedResolver())
        async with aiohttp.ClientSession(connector=connector) as session:
            self._socket = await session.ws_connect(self._url, **self._options)
            session.detach()
        return self._socket


def abandon(left: list[Connecting]) -> None:
    """Let go of those that nobody has closed, so that their remains make no complaints in some later test."""
    still_open = [connecting for connecting in left if connecting.is_open]
    left.clear()
    if still_open:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for connecting in still_open:
                connecting.abandon()
            del still_open, connecting
            gc.collect()


def request_id(websocket: Any) -> str:
    """The request id in the answer to a handshake; of aiohttp's, or of the library `websockets`."""
    response = getattr(websocket, "response", None) or getattr(websocket, "_response", None)
    return str(response.headers.get("X-Fc-Request-Id", "")) if response is not None else ""


async def close_code(websocket: Any) -> int | None:
    """Read such a WebSocket to its end; returns the close code that the client was told."""
    if isinstance(websocket, aiohttp.ClientWebSocketResponse):
        while not websocket.closed:
            message = await websocket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data) or _NO_CODE  # which aiohttp's own `close_code` takes for 1006
        return websocket.close_code
    while True:
        try:
            await websocket.recv()
        except Exception:
            if websocket.close_code is None:
                raise
            return int(websocket.close_code)
