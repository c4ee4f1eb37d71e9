"""What is the state of one request: what arrived, where does it run, how did it end?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fcemu.errors import FCError
from fcemu.faults.injected import Injected
from fcemu.gateway.connection import Request
from fcemu.gateway.deadlines import Deadline
from fcemu.instances.pool import Lease
from fcemu.journal import ClosedBy, InvocationEnded
from fcemu.trigger.authentication import Authenticator, redacted
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route

Cause = Literal["timeout", "client", "fault", "shutdown"]

_CLIENT_CLOSED = 499
"""The status in metrics and logs for a client that left before an answer (D/04/089); no client ever gets it."""

_SOCKET_HEAD = RequestHead("GET", "", ())
"""Replaces the head while a socket is open: sockets are many, and their last record needs the method alone."""


@dataclass(slots=True)
class Ending:
    """How a request ended.

    Attributes:
        status: of the answer; 101 for a socket.
        refused: the error of the gateway that the client got, or that cut its answer short.
        error: what the cloud writes after `FC Invoke End … Error:`.
        close_code: of the Close frame that ended a socket.
        closed_by: what ended a socket, or an answer before its time.
    """

    status: int | None = None
    refused: FCError | None = None
    error: str | None = None
    close_code: int | None = None
    closed_by: ClosedBy | None = None


class Exchange:
    """One request while it is in progress.

    Attributes:
        task: the handler's. To interrupt the handler, `interrupt` sets a `cause` and cancels the task.
        started: monotonic seconds of the request's arrival.
        route, authenticator: None until the request is admitted; an anonymous trigger has no authenticator.
        target: as the client sent it; authentication may add claims of a token to `head`.
        body: the request's body, if it had to be read whole; otherwise it streams.
        injected: the faults that happen to it, if any do.
        session_header: a response header that gives the client the id of its session.
        tap: sees the body of the response as it passes, without its framing.
        begun: a byte of an answer was written to the client, so that no other answer is possible.
        tunnelled: a socket was opened; the exchange ends with the socket, not with the handler.
    """

    __slots__ = (
        "authenticator", "begun", "body", "cause", "deadline", "ending", "head", "injected", "lease", "request",
        "request_id", "route", "session_header", "started", "tap", "target", "task", "tunnelled",
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
        self.session_header: tuple[bytes, bytes] | None = None
        self.tap: Callable[[bytes], None] | None = None
        self.injected: Injected | None = None
        self.begun = False
        self.tunnelled = False
        self.ending = Ending()

    def interrupt(self, cause: Cause) -> None:
        """Stop the handler; the first cause counts."""
        if self.cause is None and self.task is not None and not self.task.done():
            self.cause = cause
            self.task.cancel()

    def client_left(self) -> None:
        """Stop the handler, because nobody waits for the answer."""
        self.interrupt("client")

    def time_is_up(self) -> None:
        """Stop the handler at the execution timeout."""
        self.interrupt("timeout")

    async def send(self, data: bytes) -> None:
        """Write bytes to the client, and wait while it reads slowly.

        Raises:
            ConnectionError: it is gone.
        """
        if not data:
            return
        connection = self.request.connection
        connection.write(data)
        self.begun = True
        if connection.writing_paused:  # rare, and every answer passes here: no coroutine without need
            await connection.drain()

    async def send_interim(self, data: bytes) -> None:
        """Write an interim answer (1xx); the final answer is still to come.

        Raises:
            ConnectionError: the client is gone.
        """
        connection = self.request.connection
        connection.write(data)
        await connection.drain()

    def detach(self) -> None:
        """Drop what only the handler needed: the socket goes on without it."""
        self.begun = self.tunnelled = True
        self.ending.status = 101
        del self.request
        self.task = None
        self.head = _SOCKET_HEAD

    def cut(self) -> None:
        """Cut the client's connection; what was written before is sent, and nothing else."""
        self.request.connection.abort()

    def record(self, wall_time: float, now: float, billed_ms: int) -> InvocationEnded:
        """The record of its end.

        Args:
            wall_time: seconds since 1970 UTC.
            now: monotonic seconds.
            billed_ms: milliseconds billed for the invocation.
        """
        ending, lease, route, refused = self.ending, self.lease, self.route, self.ending.refused
        return InvocationEnded(
            wall_time=wall_time,
            request_id=self.request_id,
            function=route.function.functionName if route else None,
            qualifier=route.qualifier if route else None,
            method=self.head.method,
            target=redacted(self.target, self.authenticator),
            kind="websocket" if self.tunnelled else "http",
            status=ending.status if self.begun else _CLIENT_CLOSED,
            duration=now - self.started,
            error_code=refused.code if refused else None,
            reason=refused.reason if refused else None,
            remedy=refused.remedy if refused else None,
            instance_id=lease.instance.id if lease else None,
            cold_start=lease.cold_start if lease else False,
            billed_ms=billed_ms,
            close_code=ending.close_code,
            closed_by=ending.closed_by,
            error=ending.error,
        )
