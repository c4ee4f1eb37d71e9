"""An emulator for tests: `Kit` runs it in a thread of its own, so that tests of any kind can use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from json import dumps
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

from fcemu import report
from fcemu.clients import client
from fcemu.configuration import access_keys
from fcemu.configuration.env_file import read_env_file
from fcemu.emulator import Emulator
from fcemu.errors import FcemuError
from fcemu.faults.rules import Fault
from fcemu.instances.pool import InstanceState
from fcemu.journal import InvocationEnded, Journal, LogLine, Record
from fcemu.model import AccessKey, Account
from fcemu.processes import leftovers
from fcemu.scheduling.billing import Bill
from fcemu.testing.accounts import account_for, fault_rule, token_key
from fcemu.testing.clock import KitClock, ResettableClock
from fcemu.testing.loop import LoopThread
from fcemu.testing.records import Activity, described, wait_for_end, wait_for_record
from fcemu.trigger import signature

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Record)

_RECORDS = 100_000
"""Records that the journal keeps of one test."""


class Kit:
    """An emulator in a thread of its own. Its methods may be called from any other thread.

    Args:
        account: the account to serve.

    Attributes:
        account: the account that is served; with an access key, even if the configuration has none.
        port: the port on 127.0.0.1, chosen by the system.
        clock: the clock of all timers of the emulator.

    Raises:
        StartError: a function does not start; the message has its last output.
    """

    def __init__(self, account: Account) -> None:
        settings = account.fcemu.model_copy(update={"listen": "127.0.0.1:0"})
        key = access_keys.from_environment(os.environ) or access_keys.generate(secrets.token_hex(24))
        self.account = account.model_copy(update={"accessKeys": account.accessKeys or [key], "fcemu": settings})
        self._clock = ResettableClock()
        journal = Journal(_RECORDS)
        self._activity = Activity(journal)
        self._emulator = Emulator(self.account, journal=journal, clock=self._clock, env_file=read_env_file(account))
        # Without a reference, the garbage collector would close a socket that the test still uses.
        self._sockets: list[client.PendingWebSocket] = []
        self._loop = LoopThread("fcemu")
        self.clock = KitClock(self._loop, self._clock)
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
        **overrides: Any,
    ) -> Kit:
        """Start an emulator; `with` stops it.

        Args:
            configuration: a file, or a mapping with the content of one.
            function: the function whose keys are overridden; may be omitted if there is only one.
            overrides: keys of the configuration and their new values, as for `overrides.with_overrides`.

        Raises:
            ConfigError: the configuration cannot be used.
            StartError: a function does not start; the message has its last output.
        """
        caller = sys._getframe(1)
        where = (caller.f_code.co_filename, caller.f_lineno)
        return cls(account_for(configuration, overrides, function=function, folder=Path(), where=where))

    def stop(self) -> None:
        """Stop the functions and the emulator.

        Raises:
            FcemuError: a process of a function is still running.
        """
        if not self.running:
            return
        try:
            self.call(Emulator.stop)
        finally:
            self._loop.stop()
        if left := [process for process in leftovers.started() if process.instance in self._activity.instances]:
            names = ", ".join(f"pid {process.pid} of {process.function} {process.instance}" for process in left)
            raise FcemuError(f"processes of functions are still running: {names}; after the tests, run `fcemu prune`")

    @property
    def running(self) -> bool:
        """Whether it has not been stopped."""
        return self._loop.running

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- direct access to the emulator

    @overload
    def call(self, function: Callable[[Emulator], Coroutine[Any, Any, _T]]) -> _T: ...
    @overload
    def call(self, function: Callable[[Emulator], _T]) -> _T: ...
    def call(self, function: Callable[[Emulator], object]) -> object:
        """Run `function(emulator)` in the emulator's thread. If it returns an awaitable, await it there.

        Returns:
            What the function returns, or the result of its awaitable.

        Raises:
            RuntimeError: the emulator has been stopped.
        """
        return self._loop.call(lambda: function(self._emulator))

    def reset(self) -> None:
        """Return to the state after the start, for the next test.

        Open connections are cut. Sessions, records, bills and added faults are dropped. The clock shows the real time.
        Instances keep running; a function without one gets a new one, unless `fcemu.start` is lazy.

        Raises:
            StartError: the new instance does not start.
        """

        async def reset(emulator: Emulator) -> None:
            await emulator.reset()
            self._clock.reset()

        self.call(reset)

    def cut_open(self, grace: float = 1.0) -> list[InvocationEnded]:
        """Cut the connections that clients have left open, and `reset`; do nothing if there are none.

        Args:
            grace: seconds in which they may end by themselves.

        Returns:
            The record of each WebSocket and request that was cut while its client was connected.
        """
        cut: list[Record] = []
        all_ended = self.call(lambda emulator: self._activity.ends(grace))
        # Without a connection, functions have only not noticed yet that their client is gone.
        connected = client.is_connected(self.port)
        if not all_ended:
            unsubscribe = self.call(lambda emulator: emulator.journal.subscribe(cut.append))
            self.reset()
            self.call(lambda emulator: unsubscribe())
        client.abandon(self._sockets)
        ended = [record for record in cut if isinstance(record, InvocationEnded) and record.closed_by == "shutdown"]
        return ended if connected else []

    # ---- addresses

    @property
    def url(self) -> str:
        """The HTTP address of the function, without a trailing slash; of the first one if there are several."""
        return f"http://{self._host(None)}"

    @property
    def ws_url(self) -> str:
        """The WebSocket address of the function; of the first one if there are several."""
        return f"ws://{self._host(None)}"

    def url_of(self, function: str) -> str:
        """The HTTP address of a function.

        With several functions it is `<function>.localhost`, which not every client resolves.

        Raises:
            ValueError: there is no such function.
        """
        return f"http://{self._host(function)}"

    def ws_url_of(self, function: str) -> str:
        """The WebSocket address of a function; see `url_of`."""
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
        """Send a request, and wait for its answer and its record in the journal. Redirects are not followed.

        This blocks. If the loop of your test must keep running: `await asyncio.to_thread(fc.request, …)`.

        Args:
            path: path and query.
            json: a body to send as JSON.
            function: the name of the function; the first one by default.
            timeout: seconds to wait for each part of the answer.

        Raises:
            OSError: there was no answer, or it was incomplete.
        """
        sent = self._headers(headers, function)
        if json is not None:
            body, sent = dumps(json), {"Content-Type": "application/json"} | sent
        payload = body.encode() if isinstance(body, str) else body
        response = client.request(self.port, method, path, sent, payload, timeout)
        with contextlib.suppress(TimeoutError, RuntimeError):  # after `reset`, or after `stop`
            self.call(lambda emulator: wait_for_end(emulator.journal, response.request_id))
        return response

    def connect(
        self, path: str = "/", *, headers: Mapping[str, str] | None = None, function: str | None = None, **options: Any
    ) -> client.PendingWebSocket:
        """Open a WebSocket in the running asyncio loop: `async with fc.connect() as ws`, or `ws = await fc.connect()`.

        After the `async with`, the journal has its record.

        Args:
            path: path and query.
            function: the name of the function; the first one by default.
            options: further arguments of aiohttp's `ClientSession.ws_connect`.

        Raises:
            aiohttp.WSServerHandshakeError: the handshake was refused.
        """

        async def recorded(request_id: str) -> None:
            with contextlib.suppress(TimeoutError):
                await self._await(lambda emulator: wait_for_end(emulator.journal, request_id))

        options["headers"] = self._headers(headers, function)
        socket = client.PendingWebSocket(f"ws://127.0.0.1:{self.port}{path}", options, recorded)
        self._sockets.append(socket)
        return socket

    async def expect_close(self, websocket: client.WebSocket, code: int, timeout: float = 5.0) -> InvocationEnded:
        """Read a WebSocket until it is closed, and assert its close code.

        Args:
            websocket: a WebSocket of aiohttp or of the library `websockets`.
            code: the code that the client must get: 1006 without a Close frame, 1005 for a Close frame without a code.
            timeout: seconds of real time in which it must be closed.

        Returns:
            The record of the WebSocket, which says who closed it and why.

        Raises:
            AssertionError: it is still open, or was closed with another code; the message says by whom.
        """
        __tracebackhide__ = True
        try:
            async with asyncio.timeout(timeout):
                actual = await client.close_code(websocket)
        except TimeoutError:
            raise AssertionError(f"the WebSocket is still open after {timeout:g} s, not closed with {code}") from None
        try:
            ours = (socket.request_id for socket in self._sockets if socket.opened(websocket))
            request_id = next(ours, None) or client.request_id(websocket)
            record = await self._await(lambda emulator: wait_for_end(emulator.journal, request_id))
        except TimeoutError:
            text = f"the WebSocket was closed with {actual}, but this emulator has no record of it"
            raise AssertionError(text) from None
        if actual != code:
            raise AssertionError(described(f"the WebSocket was closed with {actual}, not with {code}:", [record]))
        return record

    # ---- credentials

    @property
    def access_key(self) -> AccessKey:
        """The key that signs requests: the first in the configuration, or that of the environment, or a new one."""
        return self.account.accessKeys[0]

    def sign(
        self,
        method: str,
        path: str = "/",
        *,
        scheme: Literal["acs3", "fc", "acs"] = "acs3",
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """The headers of a signed request, including `headers`. The time of the signature is that of the emulator."""
        signed = self._signed(method, path, scheme, headers=headers)
        return {**(headers or {}), **dict(signed.headers)}

    def presign(self, method: str = "GET", path: str = "/", *, expires: int = signature.WINDOW) -> str:
        """The path with a signature in its query, for clients that cannot send headers.

        Args:
            expires: seconds for which the signature is valid.
        """
        signed = self._signed(method, path, "presigned", expires=expires)
        return signed.url.removeprefix(f"http://127.0.0.1:{self.port}")

    def token(self, *, expires: float | None = 3600, **claims: Any) -> str:
        """A token with these claims. It is accepted wherever a JWT is: every `jwks` has the kit's own key as well.

        Args:
            expires: seconds until it expires, by the emulator's clock; None for a token that does not expire.
        """
        return token_key().token(claims, self.clock.now(), expires)

    # ---- faults

    @contextlib.contextmanager
    def fault(self, **rule: Any) -> Iterator[Fault]:
        """Inject a fault while the block runs: `with fc.fault(cut=True, after={"seconds": 5}):`.

        The fault affects connections that are opened within the block, also after its end.

        Args:
            rule: keys of a rule of `fcemu.faults`.

        Yields:
            The fault; it counts how often it has `matched` and `fired`.

        Raises:
            ConfigError: the keys are not those of a valid rule.
        """
        added = self.call(lambda emulator: emulator.faults.add(fault_rule(rule)))
        try:
            yield added
        finally:
            self.call(lambda emulator: emulator.faults.remove(added))

    # ---- records

    @property
    def journal(self) -> list[Record]:
        """All records since the start of the test, in order."""
        return self._settled(lambda emulator: list(emulator.journal.records))

    @property
    def invocations(self) -> list[InvocationEnded]:
        """The records of requests that have ended: answered, refused, cut, or with their WebSocket closed."""
        return [record for record in self.journal if isinstance(record, InvocationEnded)]

    @property
    def logs(self) -> list[str]:
        """The lines that functions have printed."""
        return [record.text for record in self.journal if isinstance(record, LogLine)]

    @property
    def billing(self) -> dict[str, Bill]:
        """The bill of each function since the start of the test, without invocations that have not ended."""
        names = [function.functionName for function in self.account.functions]
        return self._settled(lambda emulator: {name: emulator.bill(name) for name in names})

    @property
    def instances(self) -> list[InstanceState]:
        """All instances that accept requests, oldest first."""
        return self._settled(lambda emulator: emulator.instances())

    @overload
    def wait_for(self, what: type[_R], *, nth: int = 1, timeout: float = 5.0) -> _R: ...
    @overload
    def wait_for(self, what: str | Callable[[Record], bool], *, nth: int = 1, timeout: float = 5.0) -> Record: ...
    def wait_for(
        self, what: type[_R] | str | Callable[[Record], bool], *, nth: int = 1, timeout: float = 5.0
    ) -> Record:
        """The first record that matches, among those in the journal and those to come.

        This blocks. If the loop of your test must keep running: `await asyncio.to_thread(fc.wait_for, …)`.

        Args:
            what: the type of the record; or text in a line that a function prints; or a condition, which is called in
                the emulator's thread.
            nth: 2 for the second record that matches, and so on.
            timeout: seconds of real time.

        Raises:
            AssertionError: there is none in time; the message has the last records.
        """
        __tracebackhide__ = True

        def matches(record: Record) -> bool:
            if isinstance(what, str):
                return isinstance(record, LogLine) and what in record.text
            return isinstance(record, what) if isinstance(what, type) else what(record)

        try:
            return self.call(lambda emulator: wait_for_record(emulator.journal, matches, nth, timeout))
        except TimeoutError:
            name = what.__name__ if isinstance(what, type) else repr(what) if isinstance(what, str) else "such record"
            count = f" number {nth}" if nth > 1 else ""
            raise AssertionError(described(f"no {name}{count} within {timeout:g} s, but:", self.journal)) from None

    # ---- the emulator's thread

    async def _await(self, function: Callable[[Emulator], Awaitable[_T]]) -> _T:
        """As `call`, without blocking the running loop of the test."""
        return await asyncio.wrap_future(self._loop.submit(lambda: function(self._emulator)))

    def _settled(self, function: Callable[[Emulator], _T]) -> _T:
        """As `call`, after everything that a client has seen is recorded."""

        async def settled(emulator: Emulator) -> _T:
            await self._loop.idle()
            return function(emulator)

        return self.call(settled)

    # ---- addresses and headers

    def _host(self, function: str | None) -> str:
        found = self.account.functions[0] if function is None else self.account.function(function)
        if found is None:
            known = ", ".join(each.functionName for each in self.account.functions)
            raise ValueError(f"there is no function {function!r}; configured: {known}")
        return report.urls(self.account, found, self.port)[1].removeprefix("http://").rstrip("/")

    def _headers(self, headers: Mapping[str, str] | None, function: str | None) -> dict[str, str]:
        """The headers, with a Host header for the function unless they have one."""
        sent = dict(headers or {})
        return sent if any(name.lower() == "host" for name in sent) else {"Host": self._host(function), **sent}

    def _signed(self, method: str, path: str, scheme: signature.Scheme, **options: Any) -> signature.Signed:
        url = f"http://127.0.0.1:{self.port}{path}"
        return signature.sign(method, url, self.access_key, self.clock.now(), scheme=scheme, **options)
