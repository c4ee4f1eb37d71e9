"""What happens to a request? Read `Gateway.handle` from top to bottom."""

from __future__ import annotations

import asyncio
import random
import uuid

from fcemu.clock import Clock
from fcemu.errors import FCError, Refusal
from fcemu.faults.rules import Faults
from fcemu.gateway import failures, forward, headers
from fcemu.gateway.connection import Connection, Request
from fcemu.gateway.deadlines import Deadlines
from fcemu.gateway.exchange import Exchange
from fcemu.gateway.faulty_answer import FaultyAnswer
from fcemu.gateway.faulty_request import inject
from fcemu.gateway.faulty_tunnel import FaultyTunnel
from fcemu.gateway.flow import Outbox
from fcemu.gateway.frames import ABNORMAL
from fcemu.gateway.memory import Admitted, Memory
from fcemu.gateway.ongoing import Ongoing
from fcemu.gateway.response import ResponseHead, bad_response
from fcemu.gateway.tunnel import Tunnel, splice
from fcemu.gateway.upstream import Upstream, UpstreamLost
from fcemu.identifiers import request_id
from fcemu.instances.pool import InstancePool, Lease
from fcemu.journal import ClosedBy, InvocationEnded, Journal
from fcemu.model import Account, Function
from fcemu.trigger import affinity, limits
from fcemu.trigger.admission import admit
from fcemu.trigger.affinity import SessionClaim
from fcemu.trigger.authentication import Authenticator, Authenticators
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router

_OVER_WITHIN = 1.0
"""Seconds to wait for what was cut to be over."""

_EXIT_IS_KNOWN_AFTER = 0.5
"""Seconds to wait for the exit code of an instance whose connection broke."""


class Gateway:
    """The front: accepts connections, answers every request, and records it.

    Args:
        pool: the instances of the same account.
        faults: the rules of injected faults.

    Attributes:
        connections: client connections in their HTTP phase.
        memory: the caches.
        outbox: small writes that wait for the end of the round of the event loop.
    """

    def __init__(self, account: Account, pool: InstancePool, journal: Journal, clock: Clock, faults: Faults) -> None:
        self.memory = Memory()
        self.update(account)
        self._faults = faults
        self._pool = pool
        self._journal = journal
        self._clock = clock
        self._deadlines = Deadlines(clock)
        self._tunnels: Ongoing[Tunnel] = Ongoing()
        self._exchanges: Ongoing[Exchange] = Ongoing()
        self.connections: Ongoing[Connection] = Ongoing()
        self.outbox = Outbox()
        self._closing = False
        self._random = random.Random()  # our own: a test that seeds the global one must not repeat ids

    def update(self, account: Account) -> None:
        """Serve another account: its triggers and domains apply from the next request on (D/04/002 FAQ)."""
        self._account = account
        self._router = Router(account)
        self._authenticators = Authenticators(account)
        self.memory.drop_configuration()

    def connection(self) -> Connection:
        """A protocol for a new client connection."""
        return Connection(self)

    async def handle(self, request: Request) -> bool:
        """The request path: route, admit, authenticate, lease, forward or tunnel, record.

        Returns:
            Whether the client's connection can be used again.
        """
        exchange = Exchange(request, self._new_request_id(), self._clock.now())
        connection = request.connection
        connection.on_lost = exchange.client_left
        keep = False
        self._exchanges.add(exchange)
        try:
            raw = request.raw
            admitted = None if raw is None else self.memory.admitted(raw)
            if admitted is None:
                admitted = self._admit(exchange)
                if raw is not None:
                    self.memory.keep_admitted(raw, admitted)
            route = exchange.route = admitted.route
            authenticator = exchange.authenticator = admitted.authenticator
            if admitted.preflight:
                keep = await self._answer_preflight(exchange, route)
            else:
                if authenticator is not None:
                    await self._authenticate(exchange, authenticator)
                keep = await self._invoke(exchange, admitted)
        except FCError as error:
            keep = await self._refuse(exchange, error)
        except asyncio.CancelledError:
            if exchange.cause is None:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            keep = await self._interrupted(exchange)
        except UpstreamLost as lost:
            exchange.task = None  # from here on neither the deadline nor the client changes the outcome
            keep = await self._broken(exchange, lost)
        except ConnectionError:
            exchange.ending.closed_by = "client"
        except Exception as error:
            keep = await self._refuse(exchange, failures.system_error(error))
        finally:
            connection.on_lost = None
            self._exchanges.discard(exchange)
            if not exchange.tunnelled:
                self._finish(exchange)
        return keep

    def refuse_new(self) -> None:
        """Refuse further requests on open connections with 503."""
        self._closing = True

    async def cut_open(self) -> None:
        """Cut every open socket and request, and wait until they have ended."""
        for exchange in list(self._exchanges):
            exchange.interrupt("shutdown")
        for tunnel in list(self._tunnels):
            tunnel.abort("shutdown")
        await self._tunnels.emptied(_OVER_WITHIN)
        await self._exchanges.emptied(_OVER_WITHIN)

    async def close(self) -> None:
        """Cut all that is open, close all connections, and wait for both."""
        await self.cut_open()
        self._deadlines.close()
        for connection in list(self.connections):
            connection.close()
        # If the event loop ended earlier, they would leak.
        await self.connections.emptied(_OVER_WITHIN)

    # ---- the steps

    def _admit(self, exchange: Exchange) -> Admitted:
        """Route a request and admit it, or refuse it. Nothing here depends on the time."""
        head = exchange.head
        limits.enforce_message(head)
        route = exchange.route = self._router.route(head)
        authenticator = exchange.authenticator = self._authenticators.of(route)
        preflight = admit(route, head).preflight
        common = self.memory.common_lines(route, self._account.accountId)
        start = None
        if authenticator is None or exchange.request.raw is not None:  # else it may be changed before it is sent
            start = _request_start(head, route, common)
        return Admitted(route, authenticator, preflight, common, start)

    async def _authenticate(self, exchange: Exchange, authenticator: Authenticator) -> None:
        """Authenticate the request, which may add claims of its token, or refuse it."""
        head = exchange.head if exchange.head.is_websocket else headers.without_hops(exchange.head)
        body = None
        if authenticator.needs_body:
            body = await forward.read_body(exchange) if head.has_body else b""
        exchange.head, exchange.body = authenticator.authenticate(head, body, self._clock.wall_now())

    async def _invoke(self, exchange: Exchange, admitted: Admitted) -> bool:
        """Run a function on the request; returns whether the client's connection can be used again."""
        route = admitted.route
        if self._closing:
            raise FCError(Refusal.SHUTTING_DOWN)
        if self._faults.faults:
            exchange.injected = inject(self._faults, exchange, self._journal, self._clock)
        session = None
        if route.function.sessionAffinity != "NONE":
            session = affinity.claim(route.function, exchange.head, str(uuid.uuid4()))
        lease = exchange.lease = await self._pool.acquire(route.function, exchange.request_id, session)
        if not lease.instance.debugged:  # a debugger may pause the function
            length = route.function.timeout
            exchange.deadline = self._deadlines.set(lease.started, length, exchange.time_is_up)
        websocket = _opens_websocket(exchange.head)
        # The claims of a token change the head.
        start = admitted.start if exchange.head is exchange.request.head else None
        request = headers.request_bytes(
            start or _request_start(exchange.head, route, admitted.common), exchange.request_id
        )
        faulty = None
        if exchange.injected is not None and not websocket:
            faulty = FaultyAnswer(exchange, exchange.injected)
            await faulty.begin()
        upstream, head, sender = await forward.open_exchange(exchange, lease.instance, request, self.memory)
        if head.status == 101:
            if not websocket:
                upstream.abort()
                raise bad_response("the function switched protocols, which the client had not asked for")
            self._tunnel(exchange, lease, upstream, head)
            return False
        if session is not None:
            self._settle_session(exchange, route.function, lease, session, head)
        # A function that refuses an upgrade sends an ordinary answer (semantics 8).
        redirects = self._account.fcemu.redirects
        return await forward.relay(
            exchange, lease.instance, upstream, head, sender, faulty, redirects=redirects, date=self._now_date()
        )

    @staticmethod
    def _settle_session(
        exchange: Exchange, function: Function, lease: Lease, session: SessionClaim, head: ResponseHead
    ) -> None:
        """Give the client the id of its session, or take it from the function's answer.

        A 101 carries neither cookie nor header (OBS: semantics 7.3), so it does not get here.
        """
        exchange.session_header = affinity.session_header(function, session)
        if session.ends and 200 <= head.status < 300:
            lease.end_session()
        elif session.id is None and function.sessionAffinity == "MCP_STREAMABLE":
            if ids := head.values(affinity.MCP_HEADER.encode()):
                lease.tell_session(ids[0].decode("latin-1"))
        elif session.id is None:
            exchange.tap = affinity.FirstEvent(lease.tell_session)

    def _tunnel(self, exchange: Exchange, lease: Lease, upstream: Upstream, head: ResponseHead) -> None:
        """Open a socket that outlives the handler. When it ends, the invocation ends."""

        def ended(close_code: int, closed_by: ClosedBy) -> None:
            self._tunnels.discard(tunnel)
            if self._closing and closed_by == "function" and close_code == ABNORMAL:
                closed_by = "shutdown"  # the instance was stopped
            ending = exchange.ending
            ending.close_code, ending.closed_by = close_code, closed_by
            if closed_by == "timeout":
                ending.refused = self._timed_out(lease)
                ending.error = ending.refused.message
            self._finish(exchange)

        def join(client: asyncio.Transport, function: asyncio.Transport) -> Tunnel:
            if exchange.injected is None:
                return Tunnel(client, function, self._clock, ended)
            return FaultyTunnel(client, function, self._clock, ended, exchange.injected)

        exchange.request.connection.on_lost = None
        tunnel = splice(exchange, upstream, head, join)
        exchange.detach()
        if exchange.deadline is not None:
            exchange.deadline.on_reached = lambda: tunnel.abort("timeout")
        lease.cut = lambda: tunnel.abort("reload")
        self._tunnels.add(tunnel)

    async def _answer_preflight(self, exchange: Exchange, route: Route) -> bool:
        close = not exchange.request.keep_alive
        exchange.ending.status = 200
        await exchange.send(
            headers.preflight_bytes(
                exchange.head, route, request_id=exchange.request_id, date=self._now_date(), close=close
            )
        )
        return not close

    # ---- what can go wrong

    async def _refuse(self, exchange: Exchange, error: FCError) -> bool:
        """Answer with an error of the gateway, or cut an answer that has begun."""
        ending = exchange.ending
        ending.refused = error
        if exchange.begun:
            ending.closed_by = ending.closed_by or "error"
            exchange.cut()
            return False
        ending.status = error.status
        # The rest of an unread body would be read as the next request.
        close = not (exchange.request.keep_alive and exchange.request.body.complete)
        try:
            await exchange.send(
                headers.refusal_bytes(
                    error,
                    exchange.head,
                    exchange.route,
                    request_id=exchange.request_id,
                    date=self._now_date(),
                    close=close,
                )
            )
        except ConnectionError:
            ending.closed_by = "client"
        return not close

    async def _interrupted(self, exchange: Exchange) -> bool:
        """End a request that `Exchange.interrupt` has stopped."""
        cause, ending = exchange.cause, exchange.ending
        ending.closed_by = cause
        if cause == "fault":
            exchange.cut()
            return False
        if cause == "shutdown":
            return await self._refuse(exchange, FCError(Refusal.SHUTTING_DOWN))
        if cause == "client":
            ending.error = "Invocation canceled by client"
            return False
        lease = exchange.lease
        assert lease is not None
        lease.retire = failures.replaces_instance(lease.instance.function, "timeout")
        return await self._fail(exchange, self._timed_out(lease))

    def _timed_out(self, lease: Lease) -> FCError:
        return failures.timed_out(lease.instance.function, lease.instance.memory_mb(self._clock.now()))

    async def _broken(self, exchange: Exchange, lost: UpstreamLost) -> bool:
        """End a request whose instance closed the connection (D/08/069)."""
        assert exchange.lease is not None
        instance, started = exchange.lease.instance, exchange.lease.started
        process = instance.process
        await asyncio.wait([process.exited], timeout=_EXIT_IS_KNOWN_AFTER)
        exited = process.exited.result() if process.exited.done() else None
        memory = exited.peak_memory_mb if exited is not None else instance.memory_mb(self._clock.now())
        seconds = self._clock.now() - started
        if process.out_of_memory:
            error = failures.out_of_memory(instance.function, instance.id, seconds=seconds, memory=memory)
        elif exited is not None:
            error = failures.instance_exited(
                str(lost), instance.id, exited.code, process.tail, seconds=seconds, memory=memory
            )
        else:
            error = failures.instance_lost(str(lost), seconds=seconds, memory=memory)
        return await self._fail(exchange, error)

    async def _fail(self, exchange: Exchange, error: FCError) -> bool:
        """Answer with an error that the cloud also writes to the function's log."""
        exchange.ending.error = error.message
        return await self._refuse(exchange, error)

    def refuse_unparsed(self, why: str) -> bytes:
        """The 400 for bytes that are not a request; it is recorded like any other refusal."""
        error = failures.not_http(why)
        id = self._new_request_id()
        self._journal.write(
            InvocationEnded(
                wall_time=self._clock.wall_now(),
                request_id=id,
                function=None,
                qualifier=None,
                method="?",
                target="?",
                kind="http",
                status=error.status,
                duration=0.0,
                error_code=error.code,
                reason=error.reason,
                remedy=error.remedy,
            )
        )
        return headers.refusal_bytes(error, None, None, request_id=id, date=self._now_date(), close=True)

    # ---- the record

    def _finish(self, exchange: Exchange) -> None:
        """Release the lease and write the record. Every invocation ends here."""
        if (deadline := exchange.deadline) is not None:
            exchange.deadline = None  # it refers to the exchange: a cycle that only the garbage collector would free
            deadline.cancel()
        if exchange.injected is not None:
            exchange.injected.close()
        lease, closed_by = exchange.lease, exchange.ending.closed_by
        billed = 0
        if lease is not None:
            if closed_by is not None and not exchange.tunnelled:
                lease.retire = lease.retire or failures.replaces_instance(lease.instance.function, closed_by)
            billed = lease.release()
        self._journal.write(exchange.record(self._clock.wall_now(), self._clock.now(), billed))

    # ---- small things

    def _new_request_id(self) -> str:
        return request_id(self._clock.wall_now(), self._random.getrandbits(96))

    def _now_date(self) -> str:
        return self.memory.date(self._clock.wall_now())


def _request_start(head: RequestHead, route: Route, common: bytes) -> bytes:
    return headers.request_start(head, common, base_path=route.base_path, websocket=_opens_websocket(head))


def _opens_websocket(head: RequestHead) -> bool:
    """Whether a request opens a socket. One with a body does not: its body is not a stream of frames."""
    return head.is_websocket and not head.has_body
