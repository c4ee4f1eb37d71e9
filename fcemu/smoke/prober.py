"""Carries out the checks of `checks.py` against a running emulator, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from fcemu.clients.client import Response, close_code, request_id
from fcemu.clients.raw import send
from fcemu.clients.request import Request
from fcemu.clock import ManualClock
from fcemu.emulator import Emulator
from fcemu.errors import Refusal
from fcemu.journal import InstanceChanged, InvocationEnded, Record
from fcemu.model import Account
from fcemu.outcomes import Outcome, Status
from fcemu.smoke import checks, credentials
from fcemu.smoke.checks import Check
from fcemu.smoke.credentials import Credential, Identity
from fcemu.smoke.endpoints import Endpoint
from fcemu.smoke.records import Records
from fcemu.trigger.affinity import COOKIE

_PATIENCE = 10.0
"""Seconds to wait for an answer that should be immediate, in addition to the start of an instance."""

_SILENCE = 1.0
"""Seconds without a message after which a function counts as one that does not echo."""

_MIN_WAIT = 0.3
"""Real seconds to wait for a timeout at least, in which the function may close the socket itself."""

_STEP = 0.05
"""Real seconds between two advances of the clock for a scaled timeout."""

REPORT = "unless the configuration explains this, it is a bug in fcemu; please report it"
"""The remedy for results that only a bug of fcemu explains."""


@dataclass(frozen=True)
class SmokeRun:
    """What to check, and how.

    Attributes:
        config: where the account comes from, for `fcemu ps`.
        shown: the same, as outcomes name it.
        account, identity: as `run.prepare` returns them.
        path: the path of requests.
        only: the names of the functions to check; empty for all.
        websocket: whether a function that does not accept WebSockets fails.
        timeout_scale: the fraction of each timeout to wait in real time; 0 only advances the clock.
        line: returns the line in the file of a function, one of its triggers, or a custom domain.
    """

    config: str
    shown: str
    account: Account
    identity: Identity
    path: str = "/"
    only: frozenset[str] = frozenset()
    websocket: bool = False
    timeout_scale: float = 0.0
    line: Callable[[str, str | None, str | None], int] = lambda function, trigger, domain: 0

    def outcome(self, check: Check, result: Result, seconds: float) -> Outcome:
        """The outcome of a check that had this result and took this many seconds."""
        endpoint = check.endpoint
        trigger, domain = (endpoint.trigger, endpoint.domain) if endpoint is not None else (None, None)
        return Outcome(
            group=check.function,
            part=endpoint.name if endpoint is not None else "",
            name=check.name,
            expected=check.expected,
            status=result.status,
            detail=result.detail,
            remedy=result.remedy,
            seconds=seconds,
            file=self.shown,
            line=self.line(check.function, trigger, domain),
        )


@dataclass(frozen=True)
class Result:
    """The result of a check."""

    status: Status
    detail: str = ""
    remedy: str = ""


class Prober:
    """Carries out checks, one at a time.

    Attributes:
        records: what the journal has recorded so far.
    """

    def __init__(self, run: SmokeRun, emulator: Emulator) -> None:
        self.records = Records(emulator.journal)
        self._run = run
        self._emulator = emulator
        self._not_starting: set[str] = set()
        self._start_seconds: dict[str, float] = {}
        # By host and path: why there is no WebSocket.
        self._no_socket: dict[tuple[str, str], str] = {}

    async def carry_out(self, check: Check) -> Outcome:
        """Carry out a check; afterwards nothing is open, and no session is left."""
        begun = time.perf_counter()
        try:
            result = await self._result(check)
        except (TimeoutError, OSError, aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            seconds = self._timeout(check.function)
            text = f"no answer within {seconds:.0f} s" if isinstance(error, TimeoutError) else f"no answer: {error}"
            result = Result("failed", text, "look at the function's output (--log -), or choose another --path")
        if isinstance(check, checks.Handshake) and result.status != "passed" and check.endpoint is not None:
            self._no_socket.setdefault((check.endpoint.host, check.endpoint.path), "the handshake did not succeed")
        await self._emulator.reset()
        return self._run.outcome(check, result, time.perf_counter() - begun)

    async def _result(self, check: Check) -> Result:
        match check:
            case checks.NotCheckable():
                return Result("skipped", check.why)
            case checks.Refused():
                return await self._refused(check)
            case checks.Starts():
                return await self._starts(check)
        endpoint = check.endpoint
        assert endpoint is not None
        if check.function in self._not_starting:
            return Result("skipped", "the function does not start")
        match check:
            case checks.Answered():
                return await self._answered(await self._send(check.request, endpoint, check.credential))
            case checks.SameInstance():
                return await self._same_instance(endpoint, check.header)
            case checks.Handshake():
                return await self._handshake(endpoint, check.credential)
        assert isinstance(check, checks.SocketCheck)
        if (reason := self._no_socket.get((endpoint.host, endpoint.path))) is not None:
            return Result("skipped", reason)
        if isinstance(check, checks.Full):
            return await self._full(endpoint, check)
        async with self._socket(endpoint, check.credential) as socket:
            if isinstance(check, checks.TimesOut):
                return await self._times_out(socket, check.seconds)
            return await self._echo(socket)

    # ---- one method per kind of check

    async def _refused(self, check: checks.Refused) -> Result:
        response = await self._send(check.request, check.endpoint, check.credential)
        differs = checks.difference(check.refusal, response.status, _code(response), response.message)
        if not differs:
            return Result("passed")
        ended = await self.records.ended(response.request_id, _SILENCE)
        return Result("failed", differs + _reason(ended, response), _remedy(ended) or REPORT)

    async def _starts(self, check: checks.Starts) -> Result:
        """Whether an instance gets ready, whatever the function then answers."""
        ready = asyncio.Event()

        def watch(record: Record) -> None:
            if isinstance(record, InstanceChanged) and (record.function, record.state) == (check.function, "ready"):
                ready.set()

        unsubscribe = self._emulator.journal.subscribe(watch)
        begun = time.perf_counter()
        timeout = self._run.account.fcemu.startTimeout + _PATIENCE
        request = asyncio.create_task(self._send(check.request, check.endpoint, timeout=timeout))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait((request, waiting), return_when=asyncio.FIRST_COMPLETED)
            if ready.is_set():
                self._start_seconds[check.function] = time.perf_counter() - begun
                # Wait: a client that disconnects early can cost an instance (D/08/058).
                await asyncio.wait([request], timeout=_PATIENCE)
                return Result("passed")
            result = await self._answered(await request)
            self._not_starting.add(check.function)
            return Result("failed", result.detail, result.remedy)
        finally:
            unsubscribe()
            waiting.cancel()
            request.cancel()
            await asyncio.wait((request, waiting))

    async def _answered(self, response: Response) -> Result:
        if (code := _code(response)) is not None:
            ended = await self.records.ended(response.request_id, _SILENCE)
            detail = f"got {response.status} {code}: {response.message}{_reason(ended, response)}"
            return Result("failed", detail, _remedy(ended))
        detail = f"the function answered {response.status}"
        if response.status >= 500:
            return Result("failed", detail, "look at its output (--log -), or choose another --path")
        fine = response.status < 400 or response.status == 426  # of a server that accepts only WebSockets
        return Result("passed", detail if fine else f"{detail}; --path chooses another path")

    async def _handshake(self, endpoint: Endpoint, credential: Credential) -> Result:
        response = await self._send(endpoint.upgrade(), endpoint, credential)
        if response.status == 101:
            return Result("passed")
        if _code(response) is not None:
            return await self._answered(response)
        reason = (
            f"it answered the handshake with {response.status}: it is a plain HTTP function, or needs another --path"
        )
        self._no_socket[endpoint.host, endpoint.path] = reason
        return Result("failed" if self._run.websocket else "skipped", reason)

    async def _echo(self, socket: aiohttp.ClientWebSocketResponse) -> Result:
        closed = Result("skipped", "no echo: the function closed the socket")
        for kind in ("text", "binary"):
            sent = f"fcemu smoke {secrets.token_hex(4)}"
            try:
                await (socket.send_str(sent) if kind == "text" else socket.send_bytes(sent.encode()))
                # A function may send a greeting first. The vendor's sample echoes all messages as text.
                while (message := await socket.receive(_SILENCE)).data not in (sent, sent.encode()):
                    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        return closed
            except ConnectionError:
                return closed
            except TimeoutError:
                return Result("skipped", f"no echo of a {kind} message")
        return Result("passed")

    async def _full(self, endpoint: Endpoint, check: checks.Full) -> Result:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(check.sockets):
                try:
                    await stack.enter_async_context(self._socket(endpoint, check.credential))
                except aiohttp.WSServerHandshakeError as error:
                    if self.records.is_single_instance(check.function):
                        detail = f"only {number} sockets fit, because this machine can run only one instance of it"
                        return Result("skipped", detail)
                    return Result("failed", f"socket {number + 1} got {error.status}")
            response = await self._send(endpoint.upgrade(), endpoint, check.credential)
            code, message = _code(response), response.message
            differs = checks.difference(Refusal.RESOURCE_EXHAUSTED, response.status, code, message)
        return Result("failed", f"socket {check.sockets + 1}: {differs}", REPORT) if differs else Result("passed")

    async def _times_out(self, socket: aiohttp.ClientWebSocketResponse, seconds: int) -> Result:
        closed = asyncio.create_task(close_code(socket))
        try:
            await self._pass_time(seconds, closed)
            await asyncio.wait([closed], timeout=_PATIENCE)
        finally:
            closed.cancel()
            await asyncio.wait([closed])
        if closed.cancelled():
            return Result("failed", f"the socket is still open after {seconds} s", REPORT)
        code, ended = closed.result(), await self.records.ended(request_id(socket), _SILENCE)
        if ended is None:
            return Result("failed", f"closed with {code}, but the journal has no record of the end", REPORT)
        after = f"{code} after {ended.duration:.1f} s"
        if ended.closed_by == "function":
            return Result("skipped", f"the function closed the socket itself, with {after}")
        if (code, ended.closed_by) != (1006, "timeout") or ended.duration < seconds:
            return Result("failed", f"{after}, by {ended.closed_by}", _remedy(ended) or REPORT)
        return Result("passed", after)

    async def _pass_time(self, seconds: float, closed: asyncio.Task[object]) -> None:
        """Let this many seconds pass on the emulator's clock, or less if the socket is closed earlier."""
        clock = self._emulator.clock
        assert isinstance(clock, ManualClock)
        target = clock.now() + seconds
        await asyncio.wait([closed], timeout=_MIN_WAIT)
        if (real := seconds * self._run.timeout_scale - _MIN_WAIT) > 0:
            ahead = max(0.0, seconds / real - 1) * _STEP  # in addition to the time that passes by itself
            while clock.now() < target and not closed.done():
                await asyncio.wait([closed], timeout=_STEP)
                await clock.advance(ahead)
        elif not closed.done():
            await clock.advance(seconds)

    async def _same_instance(self, endpoint: Endpoint, header: str | None) -> Result:
        own = _session(header, "fcemu-smoke-one")
        first = await self._send(endpoint.request(headers=own), endpoint)
        if header is None and _code(first) is None:
            cookies = SimpleCookie(first.headers.get("Set-Cookie", ""))
            if COOKIE not in cookies:
                return Result("failed", f"the answer does not set the cookie {COOKIE}", REPORT)
            own = (("Cookie", f"{COOKIE}={cookies[COOKIE].value}"),)
        other = await self._send(endpoint.request(headers=_session(header, "fcemu-smoke-two")), endpoint)
        again = [await self._send(endpoint.request(headers=own), endpoint) for _ in range(2)]
        for response in (first, other, *again):
            if _code(response) is not None:
                return await self._answered(response)
        instances = {self.records.instance_of(response.request_id) for response in (first, *again)}
        if len(instances) > 1:
            return Result("failed", f"the requests of one session reached {len(instances)} instances", REPORT)
        return Result("passed")

    # ---- sending

    async def _send(
        self, request: Request, endpoint: Endpoint | None, credential: Credential = "right", timeout: float = 0.0
    ) -> Response:
        timeout = timeout or self._timeout(endpoint.function if endpoint is not None else "")
        return await send(self._emulator.port, self._authorised(request, endpoint, credential), timeout)

    def _timeout(self, function: str) -> float:
        """Seconds to wait for an answer of a function, which may need another instance."""
        return _PATIENCE + 3 * self._start_seconds.get(function, 0.0)

    @contextlib.asynccontextmanager
    async def _socket(
        self, endpoint: Endpoint, credential: Credential
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        request = self._authorised(Request("GET", endpoint.host, endpoint.path), endpoint, credential)
        headers = CIMultiDict((("Host", request.host), *request.headers))
        url = URL(f"http://127.0.0.1:{self._emulator.port}{request.target}", encoded=True)
        close_timeout = aiohttp.ClientWSTimeout(ws_close=_SILENCE)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            async with asyncio.timeout(self._timeout(endpoint.function)):
                socket = await client.ws_connect(url, headers=headers, timeout=close_timeout, max_msg_size=0)
            async with socket:
                yield socket

    def _authorised(self, request: Request, endpoint: Endpoint | None, credential: Credential) -> Request:
        return credentials.authorised(
            request, endpoint, credential, self._run.identity, self._emulator.clock.wall_now()
        )


def _session(header: str | None, id: str) -> tuple[tuple[str, str], ...]:
    return ((header, id),) if header is not None else ()


def _code(response: Response) -> str | None:
    """The code of the gateway's error, empty if it has no body; None if the function answered."""
    return (response.code or "") if "X-Fc-Error-Type" in response.headers else None


def _reason(ended: InvocationEnded | None, response: Response) -> str:
    """The reason in the log, if the client did not get it as the message."""
    reason = (ended.reason if ended is not None else None) or ""
    return f"\nreason: {reason}" if reason and reason != response.message else ""


def _remedy(ended: InvocationEnded | None) -> str:
    return (ended.remedy if ended is not None else None) or ""
