"""Sends requests and opens WebSockets for tests, and finds out how a WebSocket was closed."""

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
from typing import Any, Protocol

import aiohttp
import psutil

_NO_CODE = 1005
"""The close code if the Close frame has none (RFC 6455 7.1.5)."""


@dataclass(frozen=True)
class Response:
    """The answer to a request.

    Attributes:
        headers: by name, in any case; `get_all` returns all values of a name.
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
            ValueError: the body is not JSON.
        """
        return loads(self.body)

    @property
    def code(self) -> str | None:
        """The cloud's `Code` if the gateway refused the request; None if the function answered."""
        return self._error().get("Code")

    @property
    def message(self) -> str | None:
        """The cloud's `Message` if the gateway refused the request; None if the function answered."""
        return self._error().get("Message")

    @property
    def request_id(self) -> str:
        """The id of the request, as in the journal."""
        return str(self.headers.get("X-Fc-Request-Id", ""))

    def _error(self) -> dict[str, str]:
        return self.json() if "X-Fc-Error-Type" in self.headers and self.body else {}


def request(
    port: int, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
) -> Response:
    """Send a request to 127.0.0.1 and wait for the answer. Blocks; does not follow redirects.

    Args:
        timeout: seconds to wait for each part of the answer.

    Raises:
        OSError: there was no answer, or it was incomplete.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, target, body, dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, answer.msg, answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer is incomplete: {error!r}") from error
    finally:
        connection.close()


class WebSocketsConnection(Protocol):
    """A client's connection of the library `websockets`; these are the members that fcemu uses."""

    @property
    def close_code(self) -> int | None:
        """The close code once the connection is closed."""
        ...

    def recv(self) -> Awaitable[object]:
        """The next message."""
        ...


WebSocket = aiohttp.ClientWebSocketResponse | WebSocketsConnection
"""A WebSocket that a test has opened."""


class PendingWebSocket:
    """A WebSocket to open: `await` it, or enter it with `async with`, which also closes it.

    Args:
        options: arguments of aiohttp's `ClientSession.ws_connect`.
        on_close: awaited at the end of `async with`, after the socket is closed, with the id of its request.
    """

    def __init__(self, url: str, options: Mapping[str, Any], on_close: Callable[[str], Awaitable[object]]) -> None:
        self._url = url
        self._options = options
        self._on_close = on_close
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._handshake: aiohttp.ClientResponse | None = None

    def __await__(self) -> Generator[Any, None, aiohttp.ClientWebSocketResponse]:
        return self._open().__await__()

    async def __aenter__(self) -> aiohttp.ClientWebSocketResponse:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._socket is not None
        await self._socket.close()
        await self._on_close(self.request_id)

    @property
    def is_open(self) -> bool:
        """Whether it has been opened, and not been closed."""
        return self._socket is not None and not self._socket.closed

    @property
    def request_id(self) -> str:
        """The request id in the response to the handshake."""
        assert self._handshake is not None
        return self._handshake.headers.get("X-Fc-Request-Id", "")

    def opened(self, websocket: object) -> bool:
        """Whether it opened this WebSocket."""
        return self._socket is websocket

    def abandon(self) -> None:
        """Drop the connection. The event loop need not run, or even exist any more."""
        assert self._handshake is not None
        self._handshake.close()

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "fc.connect() needs a running asyncio loop; without one, use another client with fc.ws_url"
            ) from None
        # One session per socket. The socket outlives the session, and closing the socket closes the connection.
        connector = aiohttp.TCPConnector(force_close=True, resolver=aiohttp.ThreadedResolver())
        # The trace is aiohttp's public way to the response of a handshake.
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._answered)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
            self._socket = await session.ws_connect(self._url, **self._options)
            session.detach()
        return self._socket

    async def _answered(self, session: object, context: object, params: aiohttp.TraceRequestEndParams) -> None:
        self._handshake = params.response


def abandon(sockets: list[PendingWebSocket]) -> None:
    """Drop the sockets that are still open and empty the list, so that no later test gets warnings about them."""
    still_open = [socket for socket in sockets if socket.is_open]
    sockets.clear()
    if still_open:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for socket in still_open:
                socket.abandon()
            del still_open, socket
            gc.collect()


def request_id(websocket: WebSocket) -> str:
    """The request id in the answer to the handshake; empty if there is none."""
    # aiohttp has no public way from a WebSocket to its handshake. Without this attribute, the id is unknown.
    response = getattr(websocket, "response", None) or getattr(websocket, "_response", None)
    return str(response.headers.get("X-Fc-Request-Id", "")) if response is not None else ""


def is_connected(port: int) -> bool:
    """Whether a client is connected to this port of this process."""
    connections = psutil.Process().net_connections("tcp")
    own = (each for each in connections if each.laddr and each.laddr.port == port)
    return any(each.status == psutil.CONN_ESTABLISHED for each in own)


async def close_code(websocket: WebSocket) -> int | None:
    """Read a WebSocket until it is closed, and return the close code that the client got."""
    if isinstance(websocket, aiohttp.ClientWebSocketResponse):
        while not websocket.closed:
            message = await websocket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data) or _NO_CODE  # aiohttp's own `close_code` would be 1006
        return websocket.close_code
    while True:
        try:
            await websocket.recv()
        except Exception:
            if websocket.close_code is None:
                raise
            return int(websocket.close_code)
