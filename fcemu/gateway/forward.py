"""How does one HTTP exchange reach an instance and come back, streamed both ways?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fcemu.errors import FCError
from fcemu.gateway import failures, headers
from fcemu.gateway.exchange import Exchange
from fcemu.gateway.faulty_answer import FaultyAnswer
from fcemu.gateway.memory import Memory
from fcemu.gateway.request_body import BodyBroken, RequestBody
from fcemu.gateway.response import Body, ResponseHead
from fcemu.gateway.upstream import Upstream, UpstreamLost, connect, give_back, idle
from fcemu.instances.running import RunningInstance
from fcemu.trigger import limits

_RETRIED = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""Idempotent methods: a request is sent again if the connection breaks before an answer (D/08/069)."""


async def open_exchange(
    exchange: Exchange, instance: RunningInstance, request: bytes, memory: Memory
) -> tuple[Upstream, ResponseHead, asyncio.Task[None] | None]:
    """Send a request to an instance.

    Args:
        request: the head for the instance.

    Returns:
        The connection, the final response head, and the task that still sends the request's body, if it has one.

    Raises:
        UpstreamLost: the connection broke before an answer.
        FCError: the answer, or the request's body, cannot be forwarded.
    """
    has_body = exchange.head.has_body
    retry = exchange.head.method in _RETRIED and not has_body
    outbox = exchange.request.connection.outbox
    upstream = idle(instance) or await connect(instance, outbox)
    while True:
        sender: asyncio.Task[None] | None = None
        try:
            upstream.write(request)
            if has_body:
                sender = asyncio.create_task(_send_body(exchange, upstream))
            while True:
                head = memory.response(
                    await (upstream.head() if sender is None else _head_or_refused_body(upstream, sender))
                )
                if head.status >= 200 or head.status == 101:
                    return upstream, head, sender
                if exchange.head.version >= (1, 1):  # HTTP/1.0 has no interim answers (100, 103)
                    await exchange.send_interim(headers.interim_bytes(head))
        except UpstreamLost:
            upstream.abort()
            await _settle(sender)
            if not retry or upstream.answered or exchange.begun:
                raise
            retry = False
            upstream = await connect(instance, outbox)
        except BaseException:
            upstream.abort()
            await _settle(sender)
            raise


async def relay(
    exchange: Exchange,
    instance: RunningInstance,
    upstream: Upstream,
    head: ResponseHead,
    sender: asyncio.Task[None] | None,
    faulty: FaultyAnswer | None,
    *,
    redirects: str,
    date: str,
) -> bool:
    """Forward an instance's response; returns whether the client's connection can be used again.

    Args:
        faulty: lets faults happen to the answer as it passes.

    Raises:
        UpstreamLost: the instance closed the connection; if `exchange.begun`, the answer is cut short.
        ConnectionError: the client left.
        FCError: the answer cannot be forwarded.
    """
    reusable = False
    try:
        assert exchange.route is not None
        headers.enforce_response(head, exchange.head, exchange.route, redirects)
        http11 = exchange.head.version >= (1, 1)
        body = Body(head, exchange.head.method, rechunk=http11, tap=exchange.tap)
        # HTTP/1.0 has no chunks: the body ends with the connection.
        unbounded = not http11 and not body.done and head.content_length is None
        # An answer before the whole request body was read leaves the rest of the body on the connection.
        close = unbounded or not exchange.request.keep_alive or (sender is not None and not sender.done())
        exchange.ending.status = head.status
        answer = headers.response_bytes(
            head,
            body,
            exchange.head,
            exchange.route,
            request_id=exchange.request_id,
            date=date,
            close=close,
            session_header=exchange.session_header,
        )
        if faulty is None and not body.done and (arrived := upstream.read_now()):
            # The part of the body that arrived with the head is sent with it: a small answer is a single write.
            try:
                answer += body.feed(arrived)
            except FCError:
                await exchange.send(answer)  # the client gets the head, as if the broken chunk arrived later
                raise
        await exchange.send(answer)
        while not body.done:
            data = await upstream.read()
            if data:
                if faulty is not None:
                    await faulty.passes(len(data))
                await exchange.send(body.feed(data))
                continue
            if (refused := _refusal_of_body(sender)) is not None:
                raise refused
            if (rest := body.end()) is None:
                raise UpstreamLost("the instance closed the connection in the middle of its answer")
            await exchange.send(rest)
        sent_all = sender is None or (sender.done() and not sender.cancelled() and sender.exception() is None)
        reusable = sent_all and head.keeps_alive and not body.surplus and not body.until_close
        return not close
    finally:
        if reusable:
            give_back(instance, upstream)
        else:
            upstream.abort()
        if sender is not None:
            await _settle(sender)


async def _head_or_refused_body(upstream: Upstream, sender: asyncio.Task[None]) -> bytes:
    """The next head; raises the refusal of the request's body if that comes first."""
    answer = asyncio.create_task(upstream.head())
    try:
        if not sender.done():
            await asyncio.wait((answer, sender), return_when=asyncio.FIRST_COMPLETED)
        if (refused := _refusal_of_body(sender)) is not None:
            raise refused
        return await answer
    finally:
        await _settle(answer)


def _refusal_of_body(sender: asyncio.Task[None] | None) -> BaseException | None:
    """Why the rest of a body is not sent; None if it is, or if only the instance stopped reading it."""
    if sender is None or not sender.done() or sender.cancelled() or isinstance(sender.exception(), UpstreamLost):
        return None
    return sender.exception()


async def read_body(exchange: Exchange) -> bytes:
    """The whole body of a request, for an authenticator that needs it.

    Raises:
        FCError: BODY_TOO_LARGE, BAD_REQUEST.
    """
    if exchange.head.header("expect") is not None and exchange.head.version >= (1, 1):
        # The client waits before it sends its body (RFC 9110 10.1.1), and the function has not seen the request yet.
        await exchange.send_interim(b"HTTP/1.1 100 Continue\r\n\r\n")
    return b"".join([part async for part in _parts(exchange)])


async def _send_body(exchange: Exchange, upstream: Upstream) -> None:
    """Stream the request's body. An error cuts the instance's connection, so that a part is not taken for the whole.

    Raises:
        FCError: BODY_TOO_LARGE, BAD_REQUEST.
        UpstreamLost: the instance closed the connection.
    """
    try:
        await _pass_body(exchange, upstream)
    except UpstreamLost:
        raise
    except BaseException:
        upstream.abort()
        raise


async def _pass_body(exchange: Exchange, upstream: Upstream) -> None:
    chunked = exchange.head.is_chunked
    async for data in _parts(exchange):
        upstream.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        await upstream.drain()
    if chunked:
        upstream.write(b"0\r\n\r\n")


async def _parts(exchange: Exchange) -> AsyncIterator[bytes]:
    """The body as it arrives, or as it was read before. Its size is counted, as it may be unannounced (D/04/002)."""
    if exchange.body is not None:
        if exchange.body:
            yield exchange.body
        return
    size = 0
    while data := await _next_part(exchange.request.body):
        size += len(data)
        if size > limits.BODY:
            raise limits.body_too_large()
        yield data


async def _next_part(body: RequestBody) -> bytes:
    try:
        return await body.read()
    except BodyBroken as error:
        raise failures.body_breaks_off(str(error)) from error


async def _settle(task: asyncio.Task[object] | None) -> None:
    """Cancel a task of the exchange and wait for its end, so that it does not outlive the exchange."""
    if task is None:
        return
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await asyncio.shield(asyncio.gather(task, return_exceptions=True))
