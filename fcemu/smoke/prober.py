"""Does a served account keep its configuration's promises? Carries out the checks of `checks.py`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import psutil
from multidict import CIMultiDict
from yarl import URL

from fcemu.clients.client import Response, close_code, request_id
from fcemu.clients.raw import ask
from fcemu.clients.request import Request
from fcemu.clients.tokens import KeyPair
from fcemu.clock import ManualClock
from fcemu.configuration.env_file import env_file
from fcemu.configuration.overrides import variant
from fcemu.emulator import Emulator
from fcemu.errors import Refusal
from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Notice, Record
from fcemu.model import Account
from fcemu.outcomes import Outcome, Status
from fcemu.processes.identity import identity
from fcemu.serving.printer import Printer
from fcemu.serving.run import running
from fcemu.serving.signals import Interrupted, Signals
from fcemu.smoke import checks, credentials
from fcemu.smoke.checks import Check
from fcemu.smoke.credentials import Credential, Identity
from fcemu.smoke.doors import Door
from fcemu.trigger.affinity import COOKIE

_PATIENCE = 10.0
"""Seconds to wait for what should come at once, besides the start of an instance."""

_SILENCE = 1.0
"""Seconds without a message after which a function is taken not to echo."""

_LEAST_REAL = 0.3
"""Seconds that a timeout takes at least, in which the function can leave by itself."""

_STEP = 0.05
"""Seconds between two times at which the clock of a scaled timeout is put forward."""

_KILLED = 137
"""Exit code of a process that SIGKILL has killed."""

_REPORT = "if the configuration does not say otherwise, this is a bug in fcemu; please report it"


@dataclass(frozen=True)
class Smoke:
    """What to check, and how.

    Attributes:
        config: where the account is from, for `fcemu ps`.
        shown: the same for people who look at the outcomes.
        account, identity: as `prepared` makes them.
        path: the path of requests.
        only: names of functions; all if there are none.
        websocket: a function that does not take WebSockets is a failure.
        timeout_scale: a timeout takes so much of its time in truth; at 0 the clock is put forward.
        line: of a function, one of its triggers, or a domain, in the file.
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


def prepared(account: Account, config: Path) -> tuple[Account, Identity]:
    """The account as it is served for the checks, and who may come in.

    It listens on any free port, starts instances when they are needed, and nothing goes wrong on purpose. Where there
    are sessions, requests without one are scattered: else they would meet in one instance, too. Wherever a JWT lets in,
    one of a key made for this run does, as well: of the configured keys only the public part is known.

    Args:
        config: its file.
    """
    pair = KeyPair.generate(kid=f"fcemu-smoke-{secrets.token_hex(4)}")
    sessions = any(function.affinity is not None for function in account.functions)
    settings = {"listen": "127.0.0.1:0", "start": "lazy", "scatter": sessions, "faults": []}
    account = variant(account, {"fcemu": settings}, folder=config.parent, where=(str(config), 1), jwks=pair.jwks)
    key = account.accessKeys[0] if account.accessKeys else None
    return account, Identity(key, pair, forger=KeyPair.generate(kid=pair.kid))


async def probe(run: Smoke, log: Printer | None) -> list[Outcome]:
    """Serve an account, check it, stop it; a signal ends it before its time.

    Args:
        log: prints what happens; None for nobody.

    Returns:
        What came of each check, in their order.

    Raises:
        FcemuError: the account could not be served.
        Interrupted: a signal came.
    """
    others = psutil.Process().children(recursive=True)  # of a program that does other things besides
    signals = Signals()
    stop = signals.stop
    planned = checks.checks(run.account, run.path, run.only)
    emulator = Emulator(run.account, clock=ManualClock(), env_file=env_file(run.account))
    prober = _Prober(run, emulator)
    outcomes: list[Outcome] = []
    stopped = asyncio.create_task(stop.wait())
    if log is not None:
        emulator.journal.subscribe(log.record)  # but no bill: it is forgotten between the checks
    async with running(emulator, run.config, None, stop) as ready:
        for check in planned if ready else ():
            if not isinstance(check, checks.Stops | checks.NothingLeft):
                probing = asyncio.create_task(prober.outcome(check))
                await asyncio.wait((probing, stopped), return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    probing.cancel()
                    await asyncio.wait([probing])
                    raise Interrupted(signals.came)
                outcomes.append(probing.result())
        stopped.cancel()
        if not ready:
            raise Interrupted(signals.came)
        processes = [child for child in psutil.Process().children(recursive=True) if child not in others]
        before, begun = len(prober.records), time.perf_counter()
    seconds = time.perf_counter() - begun
    for check in planned:
        if isinstance(check, checks.Stops):
            verdict = _stopped(prober.records, before, check.function, run.account.fcemu.stopGrace)
            outcomes.append(prober.told(check, verdict, 0.0))
        elif isinstance(check, checks.NothingLeft):
            outcomes.append(prober.told(check, _left(processes, seconds), seconds))
    return outcomes


@dataclass
class _Verdict:
    """What came of a check, less what is known of it anyway."""

    status: Status
    detail: str = ""
    remedy: str = ""


class _Prober:
    """Carries out checks, one after the other.

    Attributes:
        records: everything that happened.
    """

    def __init__(self, run: Smoke, emulator: Emulator) -> None:
        self.records: list[Record] = []
        self._run = run
        self._emulator = emulator
        self._down: set[str] = set()
        self._start: dict[str, float] = {}  # how many seconds it took to start
        self._plain: dict[tuple[str, str], str] = {}
        emulator.journal.subscribe(self.records.append)

    async def outcome(self, check: Check) -> Outcome:
        """What comes of a check; nothing is open behind it."""
        begun = time.perf_counter()
        try:
            verdict = await self._verdict(check)
        except (TimeoutError, OSError, aiohttp.ClientError, asyncio.IncompleteReadError) as error:
            seconds = self._patience(check.function)
            text = f"no answer within {seconds:.0f} s" if isinstance(error, TimeoutError) else f"no answer: {error}"
            verdict = _Verdict("failed", text, "look at the function's output (--log -), or choose another --path")
        if isinstance(check, checks.Handshake) and verdict.status != "passed" and check.door is not None:
            self._plain.setdefault((check.door.host, check.door.path), "there is no socket without a handshake")
        await self._emulator.reset()
        return self.told(check, verdict, time.perf_counter() - begun)

    def told(self, check: Check, verdict: _Verdict, seconds: float) -> Outcome:
        """The outcome of a check."""
        door = check.door
        line = self._run.line(check.function, door.trigger if door else None, door.domain if door else None)
        return Outcome(
            check.function, door.name if door else "", check.name, check.expected, verdict.status, verdict.detail,
            verdict.remedy, seconds, self._run.shown, line,
        )  # fmt: skip

    async def _verdict(self, check: Check) -> _Verdict:
        match check:
            case checks.Impossible():
                return _Verdict("skipped", check.why)
            case checks.Refused():
                return await self._refused(check)
            case checks.Starts():
                return await self._starts(check)
        door = check.door
        assert door is not None
        if check.function in self._down:
            return _Verdict("skipped", "the function does not start")
        match check:
            case checks.Answered():
                return await self._answered(await self._send(check.request, door, check.credential))
            case checks.SameInstance():
                return await self._same_instance(door, check.header)
            case checks.Handshake():
                return await self._handshake(door, check.credential)
        assert isinstance(check, checks.Socket)
        if (plain := self._plain.get((door.host, door.path))) is not None:
            return _Verdict("skipped", plain)
        if isinstance(check, checks.Full):
            return await self._full(door, check)
        async with self._socket(door, check.credential) as socket:
            if isinstance(check, checks.TimesOut):
                return await self._times_out(socket, check.seconds)
            return await self._echo(socket)

    # ---- the checks

    async def _refused(self, check: checks.Refused) -> _Verdict:
        response = await self._send(check.request, check.door, check.credential)
        differs = checks.difference(check.refusal, response.status, _code(response), response.message)
        if not differs:
            return _Verdict("passed")
        ended = await self._record(response.request_id)
        return _Verdict("failed", differs + _reason(ended, response), _remedy(ended) or _REPORT)

    async def _starts(self, check: checks.Starts) -> _Verdict:
        """Whether an instance comes up, whatever the function then answers."""
        ready = asyncio.Event()

        def watch(record: Record) -> None:
            if isinstance(record, InstanceChanged) and (record.function, record.state) == (check.function, "ready"):
                ready.set()

        unsubscribe = self._emulator.journal.subscribe(watch)
        begun = time.perf_counter()
        patience = self._run.account.fcemu.startTimeout + _PATIENCE
        asking = asyncio.create_task(self._send(check.request, check.door, patience=patience))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait((asking, waiting), return_when=asyncio.FIRST_COMPLETED)
            if ready.is_set():
                self._start[check.function] = time.perf_counter() - begun
                # A client that leaves can cost an instance (D/08/058).
                await asyncio.wait([asking], timeout=_PATIENCE)
                return _Verdict("passed")
            verdict = await self._answered(await asking)
            self._down.add(check.function)
            return _Verdict("failed", verdict.detail, verdict.remedy)
        finally:
            unsubscribe()
            waiting.cancel()
            asking.cancel()
            await asyncio.wait((asking, waiting))

    async def _answered(self, response: Response) -> _Verdict:
        if (code := _code(response)) is not None:
            ended = await self._record(response.request_id)
            told = f"got {response.status} {code}: {response.message}{_reason(ended, response)}"
            return _Verdict("failed", told, _remedy(ended))
        told = f"the function answered {response.status}"
        if response.status >= 500:
            return _Verdict("failed", told, "look at its output (--log -), or choose another --path")
        fine = response.status < 400 or response.status == 426  # a server that takes WebSockets only
        return _Verdict("passed", told if fine else f"{told}; --path chooses another path")

    async def _handshake(self, door: Door, credential: Credential) -> _Verdict:
        response = await self._send(door.upgrade(), door, credential)
        if response.status == 101:
            return _Verdict("passed")
        if _code(response) is not None:
            return await self._answered(response)
        plain = f"it answers an upgrade with {response.status}: a plain HTTP function, or it wants another --path"
        self._plain[door.host, door.path] = plain
        return _Verdict("failed" if self._run.websocket else "skipped", plain)

    async def _echo(self, socket: aiohttp.ClientWebSocketResponse) -> _Verdict:
        closed = _Verdict("skipped", "no echo: the function closed the socket")
        for kind in ("text", "binary"):
            sent = f"fcemu smoke {secrets.token_hex(4)}"
            try:
                await (socket.send_str(sent) if kind == "text" else socket.send_bytes(sent.encode()))
                # A function may greet first, and the vendor's own sample sends everything back as text.
                while (message := await socket.receive(_SILENCE)).data not in (sent, sent.encode()):
                    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                        return closed
            except ConnectionError:
                return closed
            except TimeoutError:
                return _Verdict("skipped", f"no echo of a {kind} message")
        return _Verdict("passed")

    async def _full(self, door: Door, check: checks.Full) -> _Verdict:
        async with contextlib.AsyncExitStack() as stack:
            for number in range(check.sockets):
                try:
                    await stack.enter_async_context(self._socket(door, check.credential))
                except aiohttp.WSServerHandshakeError as error:
                    if self._alone(check.function):
                        return _Verdict("skipped", f"{number} sockets fit: this machine runs one instance of it")
                    return _Verdict("failed", f"socket {number + 1} got {error.status}")
            response = await self._send(door.upgrade(), door, check.credential)
            code, message = _code(response), response.message
            differs = checks.difference(Refusal.RESOURCE_EXHAUSTED, response.status, code, message)
        return _Verdict("failed", f"socket {check.sockets + 1}: {differs}", _REPORT) if differs else _Verdict("passed")

    async def _times_out(self, socket: aiohttp.ClientWebSocketResponse, seconds: int) -> _Verdict:
        closed = asyncio.create_task(close_code(socket))
        try:
            await self._pass_time(seconds, closed)
            await asyncio.wait([closed], timeout=_PATIENCE)
        finally:
            closed.cancel()
            await asyncio.wait([closed])
        if closed.cancelled():
            return _Verdict("failed", f"the socket is still open after {seconds} s", _REPORT)
        code, ended = closed.result(), await self._record(request_id(socket))
        if ended is None:
            return _Verdict("failed", f"{code}, but the journal has no end of the socket", _REPORT)
        after = f"{code} after {ended.duration:.1f} s"
        if ended.closed_by == "function":
            return _Verdict("skipped", f"the function closed the socket itself, with {after}")
        if (code, ended.closed_by) != (1006, "timeout") or ended.duration < seconds:
            return _Verdict("failed", f"{after}, by {ended.closed_by}", _remedy(ended) or _REPORT)
        return _Verdict("passed", after)

    async def _pass_time(self, seconds: float, closed: asyncio.Task[object]) -> None:
        """Let so many seconds pass on the emulator's clock, or until the socket is closed."""
        clock = self._emulator.clock
        assert isinstance(clock, ManualClock)
        target = clock.now() + seconds
        await asyncio.wait([closed], timeout=_LEAST_REAL)
        if (real := seconds * self._run.timeout_scale - _LEAST_REAL) > 0:
            ahead = max(0.0, seconds / real - 1) * _STEP  # beyond what passes by itself
            while clock.now() < target and not closed.done():
                await asyncio.wait([closed], timeout=_STEP)
                await clock.advance(ahead)
        elif not closed.done():
            await clock.advance(seconds)

    async def _same_instance(self, door: Door, header: str | None) -> _Verdict:
        own = _session(header, "fcemu-smoke-one")
        first = await self._send(door.request(headers=own), door)
        if header is None and _code(first) is None:
            cookies = SimpleCookie(first.headers.get("Set-Cookie", ""))
            if COOKIE not in cookies:
                return _Verdict("failed", f"the answer sets no cookie {COOKIE}", _REPORT)
            own = (("Cookie", f"{COOKIE}={cookies[COOKIE].value}"),)
        other = await self._send(door.request(headers=_session(header, "fcemu-smoke-two")), door)
        again = [await self._send(door.request(headers=own), door) for _ in range(2)]
        for response in (first, other, *again):
            if _code(response) is not None:
                return await self._answered(response)
        met = {self._instance(response) for response in (first, *again)}
        if len(met) > 1:
            return _Verdict("failed", f"the requests of one session met {len(met)} instances", _REPORT)
        return _Verdict("passed")

    # ---- sending

    async def _send(
        self, request: Request, door: Door | None, credential: Credential = "right", patience: float = 0.0
    ) -> Response:
        patience = patience or self._patience(door.function if door is not None else "")
        return await ask(self._emulator.port, self._authorised(request, door, credential), patience)

    def _patience(self, function: str) -> float:
        """Seconds to wait for a function, should it need another instance."""
        return _PATIENCE + 3 * self._start.get(function, 0.0)

    @contextlib.asynccontextmanager
    async def _socket(self, door: Door, credential: Credential) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        request = self._authorised(Request("GET", door.host, door.path), door, credential)
        headers = CIMultiDict((("Host", request.host), *request.headers))
        url = URL(f"http://127.0.0.1:{self._emulator.port}{request.target}", encoded=True)
        timeout = aiohttp.ClientWSTimeout(ws_close=_SILENCE)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            async with asyncio.timeout(self._patience(door.function)):
                socket = await client.ws_connect(url, headers=headers, timeout=timeout, max_msg_size=0)
            async with socket:
                yield socket

    def _authorised(self, request: Request, door: Door | None, credential: Credential) -> Request:
        return credentials.authorised(request, door, credential, self._run.identity, self._emulator.clock.wall_now())

    # ---- what happened

    async def _record(self, id: str) -> InvocationEnded | None:
        """The record of a request; it may come a little after the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SILENCE):
                while True:
                    for record in reversed(self.records):
                        if isinstance(record, InvocationEnded) and record.request_id == id:
                            return record
                    await asyncio.sleep(0.005)
        return None

    def _instance(self, response: Response) -> str | None:
        started = (r for r in self.records if isinstance(r, InvocationStarted))
        return next((r.instance_id for r in started if r.request_id == response.request_id), None)

    def _alone(self, function: str) -> bool:
        """Whether this machine can run one instance of a function only."""
        notices = (r for r in self.records if isinstance(r, Notice) and r.function == function)
        return any(notice.kind == "single-instance" for notice in notices)


def _session(header: str | None, id: str) -> tuple[tuple[str, str], ...]:
    return ((header, id),) if header is not None else ()


def _code(response: Response) -> str | None:
    """The cloud's code, empty where an error has no body to say it; None where the function answered."""
    return (response.code or "") if "X-Fc-Error-Type" in response.headers else None


def _reason(ended: InvocationEnded | None, response: Response) -> str:
    """What the log says beyond what the client was told."""
    reason = (ended.reason if ended is not None else None) or ""
    return f"\nreason: {reason}" if reason and reason != response.message else ""


def _remedy(ended: InvocationEnded | None) -> str:
    return (ended.remedy if ended is not None else None) or ""


def _stopped(records: Sequence[Record], before: int, function: str, grace: float) -> _Verdict:
    """How the instances of a function ended.

    Args:
        before: how many of the records are from before the stop.
    """
    changes = [(i, r) for i, r in enumerate(records) if isinstance(r, InstanceChanged) and r.function == function]
    asked = {r.instance_id for _, r in changes if r.state == "stopping"}
    ended = [(i, r) for i, r in changes if r.state == "ended" and r.exit_code is not None]
    if by_itself := [r for i, r in ended if i < before and r.instance_id not in asked]:
        text = f"an instance ended by itself during the checks: {by_itself[0].detail}"
        return _Verdict("failed", text, "look at its output (--log -)")
    if not ended:
        return _Verdict("skipped", "no instance was running")
    codes = sorted({r.detail for _, r in ended})
    told = f"{len(ended)} instance{'s' * (len(ended) > 1)}: {', '.join(codes)}"
    if any(r.exit_code == _KILLED and r.reason is None for _, r in ended):
        remedy = "end at SIGTERM, or raise fcemu.stopGrace"
        return _Verdict("failed", f"{told}; killed {grace:g} s after SIGTERM", remedy)
    return _Verdict("passed", told)


def _left(processes: Sequence[psutil.Process], seconds: float) -> _Verdict:
    """Whether processes are gone, so many seconds after they were asked."""
    alive = [process for process in processes if process.is_running() and identity(process.pid) is not None]
    if not alive:
        return _Verdict("passed", f"{len(processes)} processes are gone after {seconds:.1f} s")
    return _Verdict("failed", f"alive: {', '.join(str(process.pid) for process in alive)}", _REPORT)
