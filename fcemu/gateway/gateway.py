"""What happens to a request? `Gateway.handle`, read from top to bottom."""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
import uuid
from collections.abc import Sequence
from email.utils import formatdate
from functools import partial
from typing import NamedTuple

from fcemu.clock import Clock
from fcemu.errors import FCError, Refusal
from fcemu.faults.injected import Injected
from fcemu.faults.rules import Fault, Faults, refusal
from fcemu.gateway import forward, headers
from fcemu.gateway.connection import Connection, Request
from fcemu.gateway.deadlines import Deadlines
from fcemu.gateway.exchange import Exchange
from fcemu.gateway.faulty_answer import begin_answer
from fcemu.gateway.faulty_tunnel import FaultyPipe, FaultyTunnel
from fcemu.gateway.flow import Outbox
from fcemu.gateway.frames import ABNORMAL
from fcemu.gateway.response import ResponseHead, bad_response
from fcemu.gateway.tunnel import Pipe, Tunnel, splice
from fcemu.gateway.upstream import Upstream, UpstreamLost
from fcemu.identifiers import request_id
from fcemu.instances.environment import common_headers
from fcemu.instances.pool import InstancePool, Lease
from fcemu.journal import ClosedBy, FaultFired, InvocationEnded, Journal
from fcemu.model import Account, Function
from fcemu.trigger import affinity, limits
from fcemu.trigger.admission import admit
from fcemu.trigger.affinity import SessionClaim
from fcemu.trigger.authentication import Authenticator, Authenticators, redacted
from fcemu.trigger.request import RequestHead
from fcemu.trigger.routing import Route, Router

_CLIENT_CLOSED = 499
"""What metrics and logs say of a client that left before an answer (D/04/089); nobody receives it."""

_EXIT_IS_KNOWN_AFTER = 0.5
"""Seconds to wait for the exit code of an instance whose connection broke."""


class _Admitted(NamedTuple):
    """What was decided of a request's head, and by which account's tables: by others it may not be admitted."""

    by: Router
    route: Route
    authenticator: Authenticator | None
    preflight: bool


class Gateway:
    """The front: takes connections, gives every request its answer, and records it.

    Args:
        pool: the instances of the same account.
        faults: what goes wrong on purpose; without a rule nothing is in the way.

    Attributes:
        connections: client connections in their HTTP phase.
        known: requests that were read before, by their bytes.
        outbox: where small pieces wait for the end of the round.
    """

    def __init__(self, account: Account, pool: InstancePool, journal: Journal, clock: Clock, faults: Faults) -> None:
        self.update(account)
        self._faults = faults
        self._pool = pool
        self._journal = journal
        self._clock = clock
        self._deadlines = Deadlines(clock)
        self._tunnels: set[Tunnel] = set()
        self._exchanges: set[Exchange] = set()
        self.connections: set[Connection] = set()
        self.known: dict[bytes, RequestHead] = {}
        self.outbox = Outbox()
        self._last_tunnel: asyncio.Future[None] | None = None
        self._closing = False
        self._date = (0, "")
        self._random = random.Random()  # of our own: a test that seeds the common one must not make ids repeat

    def update(self, account: Account) -> None:
        """Take over an account: from the next request on its triggers and domains hold (D/04/002 FAQ)."""
        self._account = account
        self._router = Router(account)
        self._authenticators = Authenticators(account)
        self._common: dict[tuple[str, str], bytes] = {}

    def connection(self) -> Connection:
        """A protocol for one more client connection."""
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
            admitted: _Admitted | None = request.head.admitted
            if admitted is None or admitted.by is not self._router:
                admitted = request.head.admitted = self._admit(exchange)
            route = exchange.route = admitted.route
            authenticator = exchange.authenticator = admitted.authenticator
            if admitted.preflight:
                keep = await self._answer_preflight(exchange, route)
            else:
                if authenticator is not None:
                    await self._authenticate(exchange, authenticator)
                keep = await self._invoke(exchange, route)
        except FCError as error:
            keep = await self._refuse(exchange, error)
        except asyncio.CancelledError:
            if exchange.cause is None:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            keep = await self._interrupted(exchange)
        except UpstreamLost as lost:
            exchange.task = None  # its end is known; neither the deadline nor the client changes it
            keep = await self._broken(exchange, lost)
        except ConnectionError:
            exchange.closed_by = "client"
        except Exception as error:
            # A bug of ours is the cloud's "system error", and is shown in full in our log.
            reason = "".join(traceback.format_exception(error))
            remedy = "this is a bug in fcemu; please report it with the lines above"
            keep = await self._refuse(exchange, FCError(Refusal.INTERNAL_SERVER_ERROR, reason=reason, remedy=remedy))
        finally:
            connection.on_lost = None
            self._exchanges.discard(exchange)
            if not exchange.tunnelled:
                self._finish(exchange)
        return keep

    def refuse_new(self) -> None:
        """From now on a request on an open connection gets 503."""
        self._closing = True

    async def cut_open(self) -> None:
        """Cut every open socket and request, and wait until they are over."""
        for exchange in list(self._exchanges):
            exchange.interrupt("shutdown")
        if self._tunnels:
            self._last_tunnel = asyncio.get_running_loop().create_future()
            for tunnel in list(self._tunnels):
                tunnel.abort("shutdown")
            await asyncio.wait([self._last_tunnel], timeout=1.0)
            self._last_tunnel = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._exchanges:
                    await asyncio.sleep(0)

    async def close(self) -> None:
        """Cut what is still open and wait for the handlers."""
        await self.cut_open()
        self._deadlines.close()
        for connection in list(self.connections):
            connection.close()
        # A loop that ends before they have leaks them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self.connections:
                    await asyncio.sleep(0)

    # ---- the steps

    def _admit(self, exchange: Exchange) -> _Admitted:
        """Where a request goes and who guards that; or refuse it. Nothing of it depends on the time."""
        head = exchange.head
        limits.check_message(head)
        route = exchange.route = self._router.route(head)
        authenticator = exchange.authenticator = self._authenticators.of(route)
        return _Admitted(self._router, route, authenticator, admit(route, head).preflight)

    async def _authenticate(self, exchange: Exchange, authenticator: Authenticator) -> None:
        """Let the request pass, with the claims of its token, or refuse it."""
        head = exchange.head if exchange.head.is_websocket else headers.without_hops(exchange.head)
        body = None
        if authenticator.needs_body:
            body = await forward.read_body(exchange) if head.has_body else b""
        exchange.head, exchange.body = authenticator.authenticate(head, body, self._clock.wall_now())

    async def _invoke(self, exchange: Exchange, route: Route) -> bool:
        """Run a function on the request; returns whether the client's connection can be used again."""
        if self._closing:
            raise FCError(Refusal.SHUTTING_DOWN)
        happening: Sequence[Fault] = ()
        if self._faults.faults:
            happening = self._happening(exchange, route)
        session = None
        if route.function.sessionAffinity != "NONE":
            session = affinity.claim(route.function, exchange.head, str(uuid.uuid4()))
        lease = exchange.lease = await self._pool.acquire(route.function, exchange.request_id, session)
        if not lease.instance.debugged:  # a debugger may hold it up
            length = route.function.timeout
            exchange.deadline = self._deadlines.set(lease.started, length, exchange.time_is_up)
        # A body is read as one, not as frames, so a request with a body is a plain one.
        websocket = exchange.head.is_websocket and not exchange.head.has_body
        request = headers.request_bytes(
            exchange.head,
            self._common_headers(route),
            request_id=exchange.request_id,
            base_path=route.base_path,
            websocket=websocket,
        )
        if happening:
            exchange.injected = self._inject(exchange, lease, happening)
            if not websocket:
                await begin_answer(exchange, exchange.injected)
        upstream, head, sender = await forward.open_exchange(exchange, lease.instance, request)
        if head.status == 101:
            if not websocket:
                upstream.abort()
                raise bad_response("the function switched protocols, which the client had not asked for")
            self._tunnel(exchange, lease, upstream, head)
            return False
        if session is not None:
            self._settle_session(exchange, route.function, lease, session, head)
        # A function that refuses an upgrade answers like any other (fc-semantics 8).
        redirects = self._account.fcemu.redirects
        return await forward.relay(
            exchange, lease.instance, upstream, head, sender, redirects=redirects, date=self._now_date()
        )

    def _happening(self, exchange: Exchange, route: Route) -> list[Fault]:
        """The faults that happen to a request from here on.

        Raises:
            FCError: one refuses it.
        """
        head, name = exchange.head, route.function.functionName
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in head.headers}
        happening = self._faults.of_request(name, head.path, headers, head.is_websocket)
        for fault in happening:
            if fault.rule.action == "refuse":
                self._record_fault(exchange, fault, name, None)
                raise refusal(fault, name)
        return happening

    def _inject(self, exchange: Exchange, lease: Lease, happening: Sequence[Fault]) -> Injected:
        instance = lease.instance

        def fired(fault: Fault) -> None:
            self._record_fault(exchange, fault, instance.function.functionName, instance.id)

        return Injected(self._faults, happening, self._clock, fired, instance.process.kill)

    def _record_fault(self, exchange: Exchange, fault: Fault, function: str, instance: str | None) -> None:
        if fault.rule.action == "refuse":
            fault.fired += 1
        self._journal.write(
            FaultFired(self._clock.wall_now(), fault.name, fault.rule.action, function, exchange.request_id, instance)
        )

    @staticmethod
    def _settle_session(
        exchange: Exchange, function: Function, lease: Lease, session: SessionClaim, head: ResponseHead
    ) -> None:
        """What an answer says of its session, to the client or to us.

        A 101 never gets here: it carries neither cookie nor header (OBS: fc-semantics 7.3).
        """
        exchange.told = affinity.told_by(function, session)
        if session.ends and 200 <= head.status < 300:
            lease.end_session()
        elif session.id is None and function.sessionAffinity == "MCP_STREAMABLE":
            if ids := head.values(affinity.MCP_HEADER.encode()):
                lease.tell_session(ids[0].decode("latin-1"))
        elif session.id is None:
            exchange.tap = affinity.FirstEvent(lease.tell_session)

    def _tunnel(self, exchange: Exchange, lease: Lease, upstream: Upstream, head: ResponseHead) -> None:
        """Let the socket outlive the handler; its end, whoever brings it, ends the invocation."""

        def ended(close_code: int, closed_by: ClosedBy) -> None:
            if injected is not None:
                injected.close()
            self._tunnels.discard(tunnel)
            if self._last_tunnel is not None and not self._tunnels:
                self._last_tunnel.set_result(None)
            if self._closing and closed_by == "function" and close_code == ABNORMAL:
                closed_by = "shutdown"  # the instance was stopped
            exchange.close_code, exchange.closed_by = close_code, closed_by
            if closed_by == "timeout":
                exchange.rejected = self._timed_out(lease)
                exchange.error = exchange.rejected.message
            self._finish(exchange)

        exchange.request.connection.on_lost = None
        injected = exchange.injected
        if injected is None:
            tunnel = splice(exchange, upstream, head, self._clock, ended, Tunnel, Pipe)
        else:
            begin = partial(FaultyTunnel.begin, injected=injected)
            tunnel = splice(exchange, upstream, head, self._clock, ended, FaultyTunnel, FaultyPipe, begin)
        exchange.detach()
        if exchange.deadline is not None:
            exchange.deadline.on_reached = lambda: tunnel.abort("timeout")
        lease.cut = lambda: tunnel.abort("reload")
        self._tunnels.add(tunnel)

    async def _answer_preflight(self, exchange: Exchange, route: Route) -> bool:
        close = not exchange.request.keep_alive
        exchange.status = 200
        await exchange.send(
            headers.preflight_bytes(
                exchange.head, route, request_id=exchange.request_id, date=self._now_date(), close=close
            )
        )
        return not close

    # ---- what can go wrong

    async def _refuse(self, exchange: Exchange, error: FCError) -> bool:
        """Answer with an error of the gateway, or cut what has begun."""
        exchange.rejected = error
        if exchange.begun:
            exchange.closed_by = exchange.closed_by or "error"
            exchange.cut()
            return False
        exchange.status = error.status
        # A request with a body that nobody read would be in the way of the next one.
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
            exchange.closed_by = "client"
        return not close

    async def _interrupted(self, exchange: Exchange) -> bool:
        """The deadline passed, the client left, or everything ends."""
        if exchange.cause == "fault":
            exchange.closed_by = "fault"
            exchange.cut()
            return False
        if exchange.cause == "shutdown":
            exchange.closed_by = "shutdown"
            return await self._refuse(exchange, FCError(Refusal.SHUTTING_DOWN))
        if exchange.cause == "client":
            exchange.closed_by = "client"
            exchange.error = "Invocation canceled by client"
            return False
        exchange.closed_by = "timeout"
        lease = exchange.lease
        assert lease is not None
        function = lease.instance.function
        # The function is still at work on a request that nobody waits for. Alone in its instance it is replaced
        # (D/08/095); among others it stays, or they would fail with it.
        lease.retire = function.instanceConcurrency == 1
        error = self._timed_out(lease)
        exchange.error = error.message
        return await self._refuse(exchange, error)

    def _timed_out(self, lease: Lease) -> FCError:
        function = lease.instance.function
        return FCError(
            Refusal.FUNCTION_TIMEOUT,
            seconds=function.timeout,
            memory=lease.instance.memory_mb(self._clock.now()),
            remedy=f"raise `timeout` of {function.functionName} (now {function.timeout} s, at most 86400); "
            "a socket that has to live longer needs a client that reconnects",
        )

    async def _broken(self, exchange: Exchange, lost: UpstreamLost) -> bool:
        """The instance dropped the request (D/08/069)."""
        lease = exchange.lease
        assert lease is not None
        process = lease.instance.process
        await asyncio.wait([process.exited], timeout=_EXIT_IS_KNOWN_AFTER)
        if process.exited.done():
            code, memory = process.exited.result()
            reason = f"{lost}; instance {lease.instance.id} exited with code {code}. Its last lines:\n" + "\n".join(
                process.tail
            )
        else:
            memory = lease.instance.memory_mb(self._clock.now())
            reason = str(lost)
        milliseconds = round((self._clock.now() - lease.started) * 1000)
        if process.out_of_memory:
            limit = lease.instance.function.memorySize
            error = FCError(
                Refusal.FUNCTION_OOM,
                milliseconds=milliseconds,
                memory=memory,
                limit=limit,
                reason=f"instance {lease.instance.id} used more than its memorySize of {limit} MB",
                remedy="raise memorySize, or look for what the function keeps",
            )
        else:
            remedy = "look at the function's own output"
            error = FCError(
                Refusal.PROCESS_EXITED, milliseconds=milliseconds, memory=memory, reason=reason, remedy=remedy
            )
        exchange.error = error.message
        return await self._refuse(exchange, error)

    def refuse_unparsed(self, why: str) -> bytes:
        """The 400 for what is no HTTP request (RFC 9112 11.2: smuggling), recorded like any other refusal."""
        detail = f"the request is not valid HTTP: {why}"
        error = FCError(Refusal.BAD_REQUEST, detail=detail, remedy="send HTTP/1.1 as RFC 9112 has it")
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
        """Give the slot back and write the record; the one place where an invocation ends."""
        if (deadline := exchange.deadline) is not None:
            exchange.deadline = None  # it knows the exchange: a cycle, which only a collection would free
            deadline.cancel()
        if exchange.injected is not None:
            exchange.injected.close()
        lease, rejected, route = exchange.lease, exchange.rejected, exchange.route
        if lease is not None and exchange.closed_by == "client" and not exchange.tunnelled:
            # Alone in its instance, and without a health check, a call that its client gave up takes the instance
            # with it (D/08/058).
            function = lease.instance.function
            checked = function.customRuntimeConfig.healthCheckConfig is not None
            lease.retire = lease.retire or (function.instanceConcurrency == 1 and not checked)
        billed = lease.release() if lease is not None else 0
        self._journal.write(
            InvocationEnded(
                wall_time=self._clock.wall_now(),
                request_id=exchange.request_id,
                function=route.function.functionName if route else None,
                qualifier=route.qualifier if route else None,
                method=exchange.head.method,
                target=redacted(exchange.target, exchange.authenticator),
                kind="websocket" if exchange.tunnelled else "http",
                status=exchange.status if exchange.begun else _CLIENT_CLOSED,
                duration=self._clock.now() - exchange.started,
                error_code=rejected.code if rejected else None,
                reason=rejected.reason if rejected else None,
                remedy=rejected.remedy if rejected else None,
                instance_id=lease.instance.id if lease else None,
                cold_start=lease.cold_start if lease else False,
                billed_ms=billed,
                close_code=exchange.close_code,
                closed_by=exchange.closed_by,
                error=exchange.error,
            )
        )

    # ---- small things

    def _common_headers(self, route: Route) -> bytes:
        key = (route.function.functionName, route.qualifier)
        if key not in self._common:
            pairs = common_headers(route.function, route.qualifier, self._account.accountId)
            self._common[key] = headers.lines(pairs)
        return self._common[key]

    def _new_request_id(self) -> str:
        return request_id(self._clock.wall_now(), self._random.getrandbits(96))

    def _now_date(self) -> str:
        second = int(self._clock.wall_now())
        if second != self._date[0]:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]
