"""What is known of one request while it is under way?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from fcemu.errors import FCError
from fcemu.gateway.connection import Request
from fcemu.gateway.deadlines import Deadline
from fcemu.journal import ClosedBy
from fcemu.trigger.authentication import Authenticator
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route

if TYPE_CHECKING:
    from fcemu.faults.injected import Injected
    from fcemu.instances.pool import Lease


Cause = Literal["timeout", "client", "fault", "shutdown"]


_OF_A_SOCKET = RequestHead("GET", "", ())
"""What is left of the head while a socket is open: there are many, and only the record of their end is to come."""


class Exchange:
    """One request: what came, where it runs, what became of it.

    Attributes:
        task: the handler's; cancelling it with a `cause` set is how a deadline or a client's leave ends the work.
        started: monotonic seconds of its arrival.
        route, authenticator: what it is for, and who guards that.
        target: as the client sent it; `head` may have been given claims of a token.
        body: the request's body, if it had to be read whole; else it streams.
        injected: the faults that happen to it, if any do.
        told: a response header that tells the client its session's id.
        tap: sees the body of the response as it passes, without its framing.
        begun: bytes of an answer went to the client, so that no other answer is possible.
        tunnelled: a socket was established; its end is the end of the exchange, not the handler's.
    """

    __slots__ = (
        "authenticator", "begun", "body", "cause", "close_code", "closed_by", "deadline", "error", "head",
        "injected", "lease", "rejected", "request", "request_id", "route", "started", "status", "tap", "target",
        "task", "told", "tunnelled",
    )  # fmt: skip

    def __init__(self, request: Request, request_id: str, started: float) -> None:
        self.request = request
        self.target = request.head.target
        self.body: bytes | None = None
        self.head = request.head
        self.request_id = request_id
        self.started = started
        self.task: asyncio.Task[None] | None = request.connection.task
        self.route: Route | None = None
        self.authenticator: Authenticator | None = None
        self.lease: Lease | None = None
        self.deadline: Deadline | None = None
        self.cause: Cause | None = None
        self.told: tuple[bytes, bytes] | None = None
        self.tap: Callable[[bytes], None] | None = None
        self.injected: Injected | None = None
        self.begun = False
        self.tunnelled = False
        self.status: int | None = None
        self.rejected: FCError | None = None
        self.error: str | None = None
        self.close_code: int | None = None
        self.closed_by: ClosedBy | None = None

    def interrupt(self, cause: Cause) -> None:
        """End the handler's work; the first cause counts."""
        if self.cause is None and self.task is not None and not self.task.done():
            self.cause = cause
            self.task.cancel()

    def client_left(self) -> None:
        """End the handler's work, because nobody waits for the answer."""
        self.interrupt("client")

    def time_is_up(self) -> None:
        """End the handler's work at the execution timeout."""
        self.interrupt("timeout")

    async def send(self, data: bytes) -> None:
        """Send bytes to the client as they are, and wait while it is slow.

        Raises:
            ConnectionError: it is gone.
        """
        if not data:
            return
        connection = self.request.connection
        connection.write(data)
        self.begun = True
        if connection.writing_paused:  # hardly ever, and every answer comes by here
            await connection.drain()

    async def send_interim(self, data: bytes) -> None:
        """Send an interim answer (1xx): the final one is still to come.

        Raises:
            ConnectionError: the client is gone.
        """
        connection = self.request.connection
        connection.write(data)
        await connection.drain()

    def detach(self) -> None:
        """The socket has left the handler: let go of all that only the handler needed."""
        self.begun = self.tunnelled = True
        self.status = 101
        del self.request
        self.task = None
        self.head = _OF_A_SOCKET

    def cut(self) -> None:
        """Drop the client's connection; what it has got so far is all it gets."""
        self.request.connection.abort()
