"""How do tests talk to an emulator? In a thread with a loop of its own, so that any kind of test can."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from json import dumps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

import psutil
from pydantic import ValidationError

from fcemu import report
from fcemu.clients import client
from fcemu.clock import ManualClock
from fcemu.configuration import access_keys, load
from fcemu.configuration.env_file import env_file
from fcemu.configuration.overrides import variant
from fcemu.emulator import Emulator
from fcemu.errors import ConfigError, FcemuError, Finding
from fcemu.faults.rules import Fault
from fcemu.instances.pool import InstanceState
from fcemu.journal import InstanceChanged, InvocationEnded, InvocationStarted, Journal, LogLine, Record
from fcemu.model import AccessKey, Account, FaultRule
from fcemu.processes import leftovers
from fcemu.scheduling.billing import Bill
from fcemu.trigger import signature

if TYPE_CHECKING:
    from fcemu.clients.tokens import KeyPair


_T = TypeVar("_T")
_R = TypeVar("_R", bound=Record)

_ROUNDS = 10
"""Rounds of the emulator's loop after which all that a client has seen is recorded, with the output before it."""

_RECORDS = 100_000
"""Records that a journal keeps of one test."""

_RECORDED_WITHIN = 2.0
"""Seconds to wait for the record of what is over for its client: the function may take its time to notice."""


class _Clock(ManualClock):
    """A clock whose time of day can be put right again; its monotonic seconds never go back."""

    def __init__(self) -> None:
        super().__init__()
        self._put_right = 0.0

    def wall_now(self) -> float:
        return super().wall_now() - self._put_right

    def put_right(self) -> None:
        """Let the time of day be the machine's."""
        self._put_right = self.ahead


class KitClock:
    """The emulator's clock, in the test's hand."""

    def __init__(self, kit: Kit, clock: ManualClock) -> None:
        self._kit = kit
        self._clock = clock

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Put the clock forward. What is due on the way happens before this returns, in its order.

        Raises:
            ValueError: it would go back.
        """
        total = seconds + 60 * minutes + 3600 * hours + 86400 * days
        if total < 0:
            raise ValueError("a clock does not go back")

        async def advance(emulator: Emulator) -> None:
            await _settle()
            await self._clock.advance(total)

        self._kit.call(advance)

    def now(self) -> float:
        """Its time of day, in seconds since 1970 UTC."""
        return self._clock.wall_now()


class Kit:
    """An emulator in a thread of its own. Its methods may be called from any other thread.

    Args:
        account: what to serve.

    Attributes:
        account: what is served; with a key pair, if it had none.
        port: where it listens on 127.0.0.1, chosen by the system.
        clock: what every timer of the emulator asks.

    Raises:
        StartError: a function does not start; its last output is in the text.
    """

    def __init__(self, account: Account) -> None:
        settings = account.fcemu.model_copy(update={"listen": "127.0.0.1:0"})
        made = access_keys.from_environment(os.environ) or access_keys.made(secrets.token_hex(24))
        self.account = account.model_copy(update={"accessKeys": account.accessKeys or [made], "fcemu": settings})
        self._clock = _Clock()
        self.clock = KitClock(self, self._clock)
        journal = Journal(_RECORDS)
        journal.subscribe(self._note)
        self._emulator = Emulator(self.account, journal=journal, clock=self._clock, env_file=env_file(account))
        self._open: set[str] = set()
        # One that nobody holds would be closed by the garbage collector, sooner or later.
        self._connections: list[client.Connecting] = []
        self._instances: set[str] = set()
        loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=_run, args=[loop], name="fcemu", daemon=True)
        self._thread.start()
        self._loop = loop.result()
        try:
            self.call(Emulator.start)
        except BaseException:
            self.stop()
            raise
        self.port = self._emulator.port

    @classmethod
    def start(
        cls,
        configuration: str | os.PathLike[str] | Mapping[str, Any] = "trigger.yaml",
        *,
        function: str | None = None,
        **changes: Any,
    ) -> Kit:
        """Start an emulator; `with` stops it.

        Args:
            configuration: a file, or a mapping of its form.
            function: whose keys `changes` are; may be left out where there is one function.
            changes: keys of the configuration that are to have other values, as in `variants.variant`.

        Raises:
            ConfigError: the configuration cannot be used.
            StartError: a function does not start; its last output is in the text.
        """
        caller = sys._getframe(1)
        where = (caller.f_code.co_filename, caller.f_lineno)
        return cls(account_of(configuration, changes, function=function, folder=Path(), where=where))

    def stop(self) -> None:
        """Stop the functions and the emulator.

        Raises:
            FcemuError: a process of a function is left.
        """
        if not self.running:
            return
        try:
            self.call(Emulator.stop)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if left := [process for process in leftovers.started() if process.instance in self._instances]:
            names = (f"pid {process.pid} of {process.function} {process.instance}" for process in left)
            raise FcemuError(
                f"processes of functions are left: {', '.join(names)}; once this one is gone, `fcemu prune`"
            )

    @property
    def running(self) -> bool:
        """It has not been stopped."""
        return self._thread.is_alive()

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- the seam: whatever an emulator can do, a test can

    @overload
    def call(self, function: Callable[[Emulator], Coroutine[Any, Any, _T]]) -> _T: ...
    @overload
    def call(self, function: Callable[[Emulator], _T]) -> _T: ...
    def call(self, function: Callable[[Emulator], Any]) -> Any:
        """Run `function(emulator)` in the emulator's thread; returns what it, or its coroutine, returns.

        Raises:
            RuntimeError: the emulator has been stopped.
        """
        future = self._submit(function)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("the emulator has been stopped") from None
        except BaseException:
            future.cancel()  # if somebody interrupts the test
            raise

    def reset(self) -> None:
        """Begin anew: what is open is cut; sessions, records, bills and added faults are forgotten; the time is right.

        Instances live on, warm; a function that has none any more gets one, unless `fcemu.start` is lazy.

        Raises:
            StartError: that one does not start.
        """

        async def reset(emulator: Emulator) -> None:
            await emulator.reset()
            self._clock.put_right()

        self.call(reset)

    def cut_open(self, grace: float = 1.0) -> list[InvocationEnded]:
        """Cut what clients have left open, and `reset`; nothing if all is over.

        Args:
            grace: seconds that it may take to end by itself.

        Returns:
            The record of each WebSocket and request that was cut under its client.
        """
        cut: list[Record] = []
        is_over = self.call(lambda emulator: self._is_over(grace))
        clients_are_there = self._has_clients()  # or it is the functions that have not noticed yet that theirs left
        if not is_over:
            unsubscribe = self.call(lambda emulator: emulator.journal.subscribe(cut.append))
            self.reset()
            self.call(lambda emulator: unsubscribe())
        client.abandon(self._connections)
        ended = [record for record in cut if isinstance(record, InvocationEnded) and record.closed_by == "shutdown"]
        return ended if clients_are_there else []

    # ---- addresses

    @property
    def url(self) -> str:
        """Where the function answers HTTP, without a slash at the end; of several functions the first."""
        return f"http://{self._host(None)}"

    @property
    def ws_url(self) -> str:
        """Where it takes WebSockets."""
        return f"ws://{self._host(None)}"

    def url_of(self, function: str) -> str:
        """Where that function answers HTTP; one of several at `<function>.localhost`, which not every client resolves.

        Raises:
            ValueError: there is no such function.
        """
        return f"http://{self._host(function)}"

    def ws_url_of(self, function: str) -> str:
        """Where that function takes WebSockets; as `url_of`."""
        return f"ws://{self._host(function)}"

    # ---- clients

    def request(
        self,
        method: str,
        path: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | None = None,
        json: Any = None,
        function: str | None = None,
        timeout: float = 30.0,
    ) -> client.Response:
        """Send a request and wait for its answer; the journal has its record then. Redirects are not followed.

        It blocks. Where the test's own loop has to go on: `await asyncio.to_thread(fc.request, …)`.

        Args:
            path: with the query.
            json: a body to be sent as JSON.
            function: which one; without it, the first.
            timeout: seconds without a byte after which it is given up.

        Raises:
            OSError: there was no answer, or not a whole one.
        """
        sent = self._headers(headers, function)
        if json is not None:
            body, sent = dumps(json), {"Content-Type": "application/json"} | sent
        payload = body.encode() if isinstance(body, str) else body
        response = client.request(self.port, method, path, sent, payload, timeout)
        with contextlib.suppress(TimeoutError, RuntimeError):  # it was forgotten, or all is over
            self.call(lambda emulator: _ended(emulator, response.request_id))
        return response

    def connect(
        self, path: str = "/", *, headers: Mapping[str, str] | None = None, function: str | None = None, **options: Any
    ) -> client.Connecting:
        """Open a WebSocket in the running asyncio loop: `async with fc.connect() as ws`, or `ws = await fc.connect()`.

        Behind the `async with` the journal has its record.

        Args:
            path: with the query.
            function: which one; without it, the first.
            options: further arguments of aiohttp's `ClientSession.ws_connect`.

        Raises:
            aiohttp.WSServerHandshakeError: it was refused.
        """

        async def closed(request_id: str) -> None:
            with contextlib.suppress(TimeoutError):
                await self._awaitable(lambda emulator: _ended(emulator, request_id))

        options["headers"] = self._headers(headers, function)
        connecting = client.Connecting(f"ws://127.0.0.1:{self.port}{path}", options, closed)
        self._connections.append(connecting)
        return connecting

    async def expect_close(self, websocket: Any, code: int, timeout: float = 5.0) -> InvocationEnded:
        """Read a WebSocket to its end, and check how it was closed.

        Args:
            websocket: of aiohttp, or of the library `websockets`.
            code: what its client is told: 1006 without a Close frame, 1005 with one that has no code.
            timeout: seconds that it may stay open, by the machine's clock.

        Returns:
            Its record, which tells who closed it and why.

        Raises:
            AssertionError: it is open, or was closed otherwise; the text says by whom.
        """
        __tracebackhide__ = True
        try:
            async with asyncio.timeout(timeout):
                told = await client.close_code(websocket)
        except TimeoutError:
            raise AssertionError(f"the WebSocket is still open after {timeout:g} s, not closed with {code}") from None
        try:
            record = await self._awaitable(lambda emulator: _ended(emulator, client.request_id(websocket)))
        except TimeoutError:
            raise AssertionError(f"the WebSocket was closed with {told}; this emulator does not know it") from None
        if told != code:
            raise AssertionError(_as_text(f"the WebSocket was closed with {told}, not with {code}:", [record]))
        return record

    # ---- how to get in

    @property
    def access_key(self) -> AccessKey:
        """The key pair that signs: the first of the configuration's, else that of the environment, else one made."""
        return self.account.accessKeys[0]

    def sign(
        self,
        method: str,
        path: str = "/",
        *,
        scheme: Literal["acs3", "fc", "acs"] = "acs3",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The headers of a request that is signed by the emulator's time; `headers` are among them."""
        signed = self._signed(method, path, scheme, headers=headers)
        return {**(headers or {}), **dict(signed.headers)}

    def presign(self, method: str = "GET", path: str = "/", *, expires: int = signature.WINDOW) -> str:
        """The path with a signature in its query, for clients that cannot send headers.

        Args:
            expires: seconds for which it is valid.
        """
        signed = self._signed(method, path, "presigned", expires=expires)
        return signed.url.removeprefix(f"http://127.0.0.1:{self.port}")

    def token(self, *, expires: float | None = 3600, **claims: Any) -> str:
        """A token that lets in wherever a JWT does: each `jwks` has the kit's own key as well.

        Args:
            expires: seconds until its `exp`, by the emulator's time; None for a token without one.
        """
        return _key_pair().token(claims, self.clock.now(), expires)

    # ---- what goes wrong

    @contextlib.contextmanager
    def fault(self, **rule: Any) -> Iterator[Fault]:
        """Let something go wrong for as long as the block lasts: `with fc.fault(cut=True, after={"seconds": 5}):`.

        It happens to connections that are made within the block; to these also beyond it.

        Args:
            rule: keys of a rule of `fcemu.faults`.

        Yields:
            The rule, with what has become of it: how often it `matched`, and `fired`.

        Raises:
            ConfigError: the keys make no rule.
        """
        added = self.call(lambda emulator: emulator.faults.add(_rule(rule)))
        try:
            yield added
        finally:
            self.call(lambda emulator: emulator.faults.remove(added))

    # ---- what happened

    @property
    def journal(self) -> list[Record]:
        """Every record since the test began, in order."""
        return self._settled(lambda emulator: list(emulator.journal.records))

    @property
    def invocations(self) -> list[InvocationEnded]:
        """The records of the requests that are over: answered, refused, cut, or their WebSocket closed."""
        return [record for record in self.journal if isinstance(record, InvocationEnded)]

    @property
    def logs(self) -> list[str]:
        """The lines that functions have written."""
        return [record.text for record in self.journal if isinstance(record, LogLine)]

    @property
    def billing(self) -> dict[str, Bill]:
        """What each function has run up since the test began, without what still runs."""
        names = [function.functionName for function in self.account.functions]
        return self._settled(lambda emulator: {name: emulator.bill(name) for name in names})

    @property
    def instances(self) -> list[InstanceState]:
        """Every instance that accepts requests, oldest first."""
        return self._settled(lambda emulator: emulator.instances())

    @overload
    def wait_for(self, what: type[_R], *, nth: int = 1, timeout: float = 5.0) -> _R: ...
    @overload
    def wait_for(self, what: str | Callable[[Record], bool], *, nth: int = 1, timeout: float = 5.0) -> Record: ...
    def wait_for(
        self, what: type[_R] | str | Callable[[Record], bool], *, nth: int = 1, timeout: float = 5.0
    ) -> Record:
        """The first record that fits, of those that are there and those to come.

        It blocks. Where the test's own loop has to go on: `await asyncio.to_thread(fc.wait_for, …)`.

        Args:
            what: its type; or a text in a line that a function writes; or a condition, asked in the emulator's thread.
            nth: 2 for the second one, and so on.
            timeout: seconds, by the machine's clock.

        Raises:
            AssertionError: there is none in time; the text says what happened.
        """
        __tracebackhide__ = True

        def fits(record: Record) -> bool:
            if isinstance(what, str):
                return isinstance(record, LogLine) and what in record.text
            return isinstance(record, what) if isinstance(what, type) else what(record)

        try:
            return self.call(lambda emulator: _nth(emulator, fits, nth, timeout))
        except TimeoutError:
            name = what.__name__ if isinstance(what, type) else repr(what) if isinstance(what, str) else "such record"
            count = f" number {nth}" if nth > 1 else ""
            raise AssertionError(_as_text(f"no {name}{count} within {timeout:g} s, but:", self.journal)) from None

    # ---- the thread

    def _submit(self, function: Callable[[Emulator], Any]) -> Future[Any]:
        if threading.current_thread() is self._thread:
            raise RuntimeError("the emulator's own thread cannot wait for itself")
        if not self.running:
            raise RuntimeError("the emulator has been stopped")

        async def run() -> Any:
            result = function(self._emulator)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    async def _awaitable(self, function: Callable[[Emulator], Awaitable[_T]]) -> _T:
        """As `call`, for who is in another loop."""
        return cast(_T, await asyncio.wrap_future(self._submit(function)))

    def _settled(self, function: Callable[[Emulator], _T]) -> _T:
        """As `call`, once everything that a client has seen is recorded."""

        async def settled(emulator: Emulator) -> _T:
            await _settle()
            return function(emulator)

        return self.call(settled)

    def _note(self, record: Record) -> None:
        match record:
            case InvocationStarted():
                self._open.add(record.request_id)
            case InvocationEnded():
                self._open.discard(record.request_id)
            case InstanceChanged():
                self._instances.add(record.instance_id)

    async def _is_over(self, grace: float) -> bool:
        """Whether every invocation ends within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._open:
                    await asyncio.sleep(0.005)
        return not self._open

    # ---- small things

    def _has_clients(self) -> bool:
        """Whether a client has its end of a connection open."""
        connections = psutil.Process().net_connections("tcp")
        ours = (each for each in connections if each.laddr and each.laddr.port == self.port)
        return any(each.status == psutil.CONN_ESTABLISHED for each in ours)

    def _host(self, function: str | None) -> str:
        found = self.account.functions[0] if function is None else self.account.function(function)
        if found is None:
            known = ", ".join(each.functionName for each in self.account.functions)
            raise ValueError(f"there is no function {function!r}; configured: {known}")
        return report.urls(self.account, found, self.port)[1].removeprefix("http://").rstrip("/")

    def _headers(self, headers: Mapping[str, str] | None, function: str | None) -> dict[str, str]:
        """The headers, with a Host that names the function if they have none."""
        sent = dict(headers or {})
        return sent if any(name.lower() == "host" for name in sent) else {"Host": self._host(function), **sent}

    def _signed(self, method: str, path: str, scheme: signature.Scheme, **options: Any) -> signature.Signed:
        url = f"http://127.0.0.1:{self.port}{path}"
        return signature.sign(method, url, self.access_key, self.clock.now(), scheme=scheme, **options)


def account_of(
    configuration: str | os.PathLike[str] | Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    function: str | None,
    folder: Path,
    where: tuple[str, int],
) -> Account:
    """The account that a kit is to serve: as `variants.variant`, from a file as well.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    base = configuration if isinstance(configuration, Mapping) else load.load(folder / configuration).account
    account = variant(base, changes, function=function, folder=folder.absolute(), where=where, jwks=_jwks)
    missing = [each.code for each in account.functions if not os.path.isdir(each.code)]
    if missing:
        raise ConfigError([Finding(f"the folder {code} does not exist", ("code",), *where) for code in missing])
    return account


@functools.cache
def _key_pair() -> KeyPair:
    """One for all kits; made when it is wanted, because what it is made with takes long to import."""
    from fcemu.clients.tokens import KeyPair

    return KeyPair.generate()


def _jwks() -> dict[str, Any]:
    return _key_pair().jwks()


def _rule(keys: Mapping[str, Any]) -> FaultRule:
    try:
        return FaultRule.model_validate(dict(keys))
    except ValidationError as error:
        text = "; ".join(details["msg"].removeprefix("Value error, ") for details in error.errors(include_url=False))
        raise ConfigError([Finding(text, file="fc.fault(…)", line=1)]) from None


def _run(loop: Future[asyncio.AbstractEventLoop]) -> None:
    # Not the policy's kind of loop: tests may have set one of their own.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        loop.set_result(runner.get_loop())
        runner.get_loop().run_forever()


async def _settle() -> None:
    """Let everything that has come in be dealt with."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


async def _nth(emulator: Emulator, fits: Callable[[Record], bool], nth: int, timeout: float) -> Record:
    found: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
    left = nth

    def look(record: Record) -> None:
        nonlocal left
        try:
            left -= bool(fits(record))
            if not left and not found.done():
                found.set_result(record)
        except Exception as error:  # of the test's condition
            if not found.done():
                found.set_exception(error)

    for record in emulator.journal.records:
        look(record)
    unsubscribe = emulator.journal.subscribe(look)
    try:
        async with asyncio.timeout(timeout):
            return await found
    finally:
        unsubscribe()


async def _ended(emulator: Emulator, request_id: str) -> InvocationEnded:
    """The record of a request that is over for its client.

    Raises:
        TimeoutError: there is none.
    """

    def fits(record: Record) -> bool:
        return isinstance(record, InvocationEnded) and record.request_id == request_id

    return cast(InvocationEnded, await _nth(emulator, fits, 1, _RECORDED_WITHIN))


def _as_text(text: str, records: Sequence[Record]) -> str:
    return "\n".join([text, *(f"  {line}" for record in records[-20:] for line in report.as_text(record))])
